package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

var testSpool = ingest.SpoolID{1, 2, 3, 4, 5, 6, 7, 8}

// testClock ticks a second a call, so that settle times differ.
func testClock() func() time.Time {
	at := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	return func() time.Time {
		at = at.Add(time.Second)
		return at
	}
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "manifest.db") }

func mustCreate(t testing.TB, path string) {
	t.Helper()
	if err := Create(vfs.OS, path, &Books{Spool: testSpool, State: State{Clean: true}}, &Options{NoSync: true}); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, path string, opts *Options) *Ledger {
	t.Helper()
	if opts == nil {
		opts = &Options{}
	}
	opts.NoSync = true
	if opts.Clock == nil {
		opts.Clock = testClock()
	}
	l, found, err := Open(vfs.OS, path, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if found.Renewed != nil || found.Suspect {
		t.Fatalf("a sound file was found %+v", found)
	}
	return l
}

func newLedger(t testing.TB, opts *Options) *Ledger {
	t.Helper()
	path := newPath(t)
	mustCreate(t, path)
	l := mustOpen(t, path, opts)
	t.Cleanup(func() { l.Close() })
	return l
}

func do(t testing.TB, l *Ledger, fn func(*Tx) error) {
	t.Helper()
	if err := l.Do(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func props(i int) *ingest.Properties {
	return &ingest.Properties{Database: "db", Table: fmt.Sprintf("table%d", i), Format: ingest.CSV}
}

func addLane(t testing.TB, l *Ledger, i int) uint32 {
	t.Helper()
	var no uint32
	do(t, l, func(tx *Tx) error {
		lane, err := tx.AddLane(props(i))
		no = lane.No
		return err
	})
	return no
}

// ends is a log in which every lane has so many records of ten bytes.
func ends(high uint64) Ends {
	return func(uint32) (uint64, int64) { return high, int64(high) * 10 }
}

// evenly divides bytes by records.
func evenly(_ uint32, pieces []Span, bytes int64) []int64 {
	out := make([]int64, len(pieces))
	for i, p := range pieces {
		out[i] = p.Count() * 10
	}
	return out
}

func seal(lane uint32, first, last uint64) Seal {
	return Seal{Lane: lane, First: first, Last: last, Bytes: int64(last-first+1) * 10, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}
}

func mustSeal(t testing.TB, l *Ledger, lane uint32, first, last uint64) Entry {
	t.Helper()
	out, err := l.Seal(context.Background(), []Seal{seal(lane, first, last)}, ends(last), evenly)
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func move(t testing.TB, l *Ledger, e Entry, to ...ingest.State) Entry {
	t.Helper()
	for _, s := range to {
		var err error
		if e, err = l.Transition(context.Background(), e.Batch.ID, e.State, func(e *Entry) { e.State = s }); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func timeUnixNano(n int64) time.Time { return time.Unix(0, n) }

// books is the mirror as Books.
func (m *mirror) books() *Books {
	b := &Books{Spool: m.spool, State: m.state.State, Counters: m.state.counters, Lanes: sorted(m.lanes), Segments: sorted(m.segments),
		Tombstones: sorted(m.tombs), Objects: sortedObjects(m.objects)}
	for _, l := range b.Lanes {
		for _, e := range m.live[l.No] {
			b.Entries = append(b.Entries, *e)
		}
	}
	for _, p := range sorted(m.positions) {
		if p.Value != nil {
			b.Positions = append(b.Positions, p)
		}
	}
	return b
}

// readBooks is what Look reads, as Books.
func readBooks(path string) (*Books, Findings, error) {
	l, found, err := Look(vfs.OS, path)
	if err != nil {
		return nil, found, err
	}
	return l.mirror.books(), found, nil
}
