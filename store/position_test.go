package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/store"
)

// TestPositions: a position comes with its records or not at all, is what the
// last call said, in the next process too and after its segment is gone, and is
// listed and removed.
func TestPositions(t *testing.T) {
	dir := t.TempDir()
	opts := &store.Options{SegmentBytes: store.MinSegmentBytes, NoSync: true}
	s := openStore(t, dir, opts)
	lane := laneOf(t, s, jsonTable("t"))
	put := func(name, value string) error {
		_, err := s.AppendWith(ctx, []store.Record{{Lane: lane, Data: []byte(strings.Repeat("x", 3000))}}, []store.Position{{Name: name, Value: []byte(value)}})
		return err
	}
	for i := range 100 {
		if err := put(fmt.Sprint("file", i%3), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		all := s.Positions()
		if len(all) != 3 || string(all[0].Value) != "99" || string(all[1].Value) != "97" || string(all[2].Value) != "98" {
			t.Errorf("positions %v", all)
		}
	}
	check()
	s = reopen(t, s, dir, opts)
	check()
	for _, e := range sealAll(t, s) {
		settle(t, s, e.Batch.ID)
	}
	s = reopen(t, s, dir, opts)
	check()
	if err := s.RemovePosition(ctx, "file1"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemovePosition(ctx, "file1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	s = reopen(t, s, dir, opts)
	if _, ok := s.Position("file1"); ok || len(s.Positions()) != 2 {
		t.Errorf("after the removal: %v", s.Positions())
	}
	if _, err := s.AppendWith(ctx, nil, []store.Position{{Name: "alone", Value: []byte{}}}); err != nil {
		t.Error(err)
	}
	if p, ok := s.Position("alone"); !ok || len(p.Value) != 0 {
		t.Errorf("%v, %v", p, ok)
	}
	before := s.Stats().Acked
	for _, bad := range []store.Position{{}, {Name: "n"}, {Name: "\xff", Value: []byte{}}, {Name: strings.Repeat("n", store.MaxPositionName+1), Value: []byte{}},
		{Name: "n", Value: make([]byte, store.MaxPositionBytes+1)}} {
		if _, err := s.AppendWith(ctx, []store.Record{{Lane: lane, Data: []byte("x")}}, []store.Position{bad}); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%.20q: %v", bad.Name, err)
		}
	}
	for i := 0; ; i++ {
		err := put(fmt.Sprint("many", i), "x")
		if errors.Is(err, ingest.ErrInvalid) && i == store.MaxPositions-3 {
			break
		}
		if before++; err != nil || i > store.MaxPositions {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if st := checkBooks(t, s); st.Acked != before {
		t.Errorf("%d acknowledged, want %d", st.Acked, before)
	}
}

// TestLargeRecords: records above 1 MiB are kept in chunks, alone, with small
// ones, with keys, and in any format; memory on the way out is a chunk's.
func TestLargeRecords(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane, whole := laneOf(t, s, jsonTable("t")), laneOf(t, s, parquetTable("u"))
	large := func(c string, n int) []byte { return []byte(strings.Repeat(c, n)) }
	recs := []store.Record{
		{Lane: lane, Data: []byte("small")},
		{Lane: lane, Data: large("a", 2<<20)},
		{Lane: lane, Data: large("b", 3<<20)},
		{Lane: whole, Data: large("p", 5<<20)},
		{Lane: lane, Data: large("k", 2<<20), Key: "key"},
		{Lane: lane, Data: []byte("end")},
	}
	got, err := s.Append(ctx, recs)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{1, 2, 3, 1, 4, 5} {
		if got[i].Seq != want || got[i].Duplicate {
			t.Errorf("record %d: %+v, want %d", i, got[i], want)
		}
	}
	if n := len(objectNames(t, dir)); n != 3 {
		t.Errorf("%d objects, want one for two neighbours and two more", n)
	}
	again, err := s.AppendOne(ctx, lane, recs[4].Data, "key")
	if err != nil || !again.Duplicate || again.Seq != 4 {
		t.Errorf("the repeat: %+v, %v", again, err)
	}
	if n := len(objectNames(t, dir)); n != 3 {
		t.Errorf("%d objects after the repeat", n)
	}
	s = reopen(t, s, dir, nil)
	for _, e := range sealAll(t, s) {
		var want strings.Builder
		for _, r := range recs {
			if r.Lane == e.Batch.Lane {
				want.Write(r.Data)
				if r.Lane == lane {
					want.WriteByte('\n')
				}
			}
		}
		if got := payloadOf(t, s, &e.Batch); got != want.String() {
			t.Errorf("lane %d: %d bytes, want %d", e.Batch.Lane, len(got), want.Len())
		}
		settle(t, s, e.Batch.ID)
	}
	reopen(t, s, dir, nil)
	if n := len(objectNames(t, dir)); n != 0 {
		t.Errorf("%d objects after all is settled", n)
	}
}

// TestSmallDisk: a fresh spool takes little, and one of 32 MiB is of use.
func TestSmallDisk(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "x")
	if used := diskUse(t, dir); used > 8<<20 || used != s.Stats().DiskBytes {
		t.Errorf("a fresh spool takes %d bytes, and says %d", used, s.Stats().DiskBytes)
	}
	dir = t.TempDir()
	s = openStore(t, dir, &store.Options{MaxBytes: 32 << 20, NoSync: true})
	lane = laneOf(t, s, jsonTable("t"))
	data := []byte(strings.Repeat("x", 10_000))
	for round := range 4 {
		n := 0
		for ; ; n++ {
			_, err := s.AppendOne(ctx, lane, data, "")
			if errors.Is(err, store.ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if used := diskUse(t, dir); n < 100 || used > 32<<20 {
			t.Errorf("round %d: %d records, %d bytes", round, n, used)
		}
		if round == 0 && n < 1800 {
			t.Errorf("only %d records of 10 KB fit into 32 MiB", n)
		}
		for _, e := range sealAll(t, s) {
			settle(t, s, e.Batch.ID)
		}
		// The active segment, the next one and two kept to be written again.
		waitFor(t, s, func(st store.Stats) bool { return st.DiskBytes < 20<<20 })
	}
}

// TestBallastOfAnySize: one that is found is taken for what it is.
func TestBallastOfAnySize(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, &store.Options{SegmentBytes: 64 << 20})
	size := fileSize(dir + "/ballast")
	s = reopen(t, s, dir, &store.Options{SegmentBytes: 1 << 20})
	if now := fileSize(dir + "/ballast"); now != size || size == 0 {
		t.Errorf("%d bytes, were %d", now, size)
	}
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "x")
}
