package store

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"kustospool/ingest"
)

// TestRows: what was written is read, to the nanosecond and in any year; a row
// that is cut, longer or of another version is refused.
func TestRows(t *testing.T) {
	at := time.Date(2026, 11, 26, 1, 2, 3, 456789012, time.UTC)
	for name, row := range map[string]compactRow{
		"batch": &batchRow{Last: 1 << 63, Raw: 1 << 40, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmAccepted, State: ingest.Unknown, SealedAt: at,
			Attempts: 7, Unresolved: 2, Duplicates: 12, Committed: true, Progress: []byte("progress"), Next: time.Date(9999, 12, 31, 0, 0, 0, 1, time.UTC),
			Failure: &ingest.Failure{Message: "no such table"}, Wire: 99, Updated: at.Add(1)},
		"empty batch":   &batchRow{},
		"segment":       &segmentRow{Size: 64 << 20, Txid: 12, Keys: true, Lost: true, Lanes: map[uint32]span{1: {1, 1}, 1<<32 - 1: {5, 1<<64 - 1}}},
		"empty segment": &segmentRow{Lanes: map[uint32]span{}},
	} {
		p := pack(row)
		again := reflect.New(reflect.TypeOf(row).Elem()).Interface().(compactRow)
		if err := unpack(p, again); err != nil || !reflect.DeepEqual(row, again) {
			t.Errorf("%s: %+v, then %+v, %v", name, row, again, err)
		}
		body := p[4:]
		for n := range body {
			if err := again.parse(body[:n]); err == nil {
				t.Errorf("%s: cut to %d of %d bytes it is still taken", name, n, len(body))
			}
		}
		if err := again.parse(append(append([]byte(nil), body...), 0)); err == nil {
			t.Errorf("%s: with a byte more it is still taken", name)
		}
		body[0]++
		if err := again.parse(body); err == nil {
			t.Errorf("%s: of another version it is still taken", name)
		}
	}
}

// FuzzSegmentRow: a row of any bytes is read without panic, and what is read is
// written as it was.
func FuzzSegmentRow(f *testing.F) {
	f.Add((&segmentRow{Size: 5, Txid: 3, Lanes: map[uint32]span{1: {1, 9}}}).appendTo(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		var row, again segmentRow
		if row.parse(p) != nil {
			return
		}
		if err := again.parse(row.appendTo(nil)); err != nil || !reflect.DeepEqual(row, again) {
			t.Fatalf("%+v, then %+v, %v", row, again, err)
		}
	})
}

// TestSegmentNames: a number has one name, and no other name is taken for it.
func TestSegmentNames(t *testing.T) {
	for _, no := range []uint64{1, 9, 12345678, 99999999, 100000000, 1<<64 - 1} {
		name := filepath.Base(segmentPath("dir", no))
		if got, ok := segmentNumber(name); got != no || !ok || name != fmt.Sprintf("%08d.db", no) {
			t.Errorf("%d: %s, %d, %v", no, name, got, ok)
		}
	}
	for _, name := range []string{"00000000.db", "0000001.db", "000000001.db", "0100000000.db", "+0000001.db", "00000001", "00000001.db.tmp", "x0000001.db", "18446744073709551616.db"} {
		if no, ok := segmentNumber(name); ok {
			t.Errorf("%s is taken for %d", name, no)
		}
	}
}
