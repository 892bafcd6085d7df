package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/ingest"
)

// TestLostLedgerKeepsPositions: segments with newer positions are given back, or
// written again without them, and then the ledger is lost. What the segments
// that are left say of positions is not believed, where it is not true any more;
// the keys of records that are there are known.
func TestLostLedgerKeepsPositions(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprint("compacted ", compacted), func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(dir, Manual(&Options{NoSync: true, SegmentBytes: MinSegmentBytes}))
			if err != nil {
				t.Fatal(err)
			}
			lane := func(table string) uint32 {
				no, err := s.Lane(ctx, &ingest.Properties{Database: "D", Table: table, Format: ingest.JSON}, FrameLimit{})
				if err != nil {
					t.Fatal(err)
				}
				return no
			}
			dead, busy := lane("dead"), lane("busy")
			put := func(lane uint32, data, key string, positions ...Position) {
				t.Helper()
				if _, err := s.AppendWith(ctx, []Record{{Lane: lane, Data: []byte(data), Key: key}}, positions); err != nil {
					t.Fatal(err)
				}
			}
			fill := func() {
				for range 40 {
					put(busy, strings.Repeat("b", 2000), "")
				}
				Upkeep(s)
			}
			put(dead, "first", "key 1", Position{Name: "older", Value: []byte("1")}, Position{Name: "gone", Value: []byte("1")}, Position{Name: "again", Value: []byte("1")}, Position{Name: "idle", Value: []byte("1")})
			fill()
			put(busy, "b", "", Position{Name: "older", Value: []byte("2")}, Position{Name: "again", Value: []byte("2")})
			for _, name := range []string{"gone", "again"} {
				if err := s.RemovePosition(ctx, name); err != nil {
					t.Fatal(err)
				}
			}
			put(busy, "b", "", Position{Name: "again", Value: []byte("3")})
			if compacted {
				put(dead, "second", "key 2")
			}
			fill()
			fill()
			sealOpen(t, s)
			for _, e := range s.Live() {
				if e.Batch.Lane == dead {
					continue
				}
				for _, step := range [][2]ingest.State{{ingest.Sealed, ingest.Sending}, {ingest.Sending, ingest.Succeeded}} {
					if _, err := s.Transition(ctx, e.Batch.ID, step[0], func(e *Entry) { e.State = step[1] }); err != nil {
						t.Fatal(err)
					}
				}
			}
			Upkeep(s)
			if n, err := CompactAll(s); err != nil || compacted && n < 2 {
				t.Fatalf("%d segments compacted, %v", n, err)
			}
			want := fmt.Sprint(s.Positions())
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, ledgerName)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				s, err = Open(dir, Manual(&Options{NoSync: true, SegmentBytes: MinSegmentBytes}))
				if err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(s.Positions()); got != want {
					t.Errorf("the positions are %s, were %s", got, want)
				}
				for i := range 2 {
					if i == 1 && !compacted {
						continue
					}
					a, err := s.AppendOne(ctx, dead, []byte("once more"), fmt.Sprint("key ", i+1))
					if err != nil || !a.Duplicate || a.Seq != uint64(i+1) {
						t.Errorf("key %d: %+v, %v", i+1, a, err)
					}
				}
				// The same records wait, and what waits was told as sent again.
				if st := s.Stats(); st.PossibleDuplicates != st.Open+st.Sealed || st.Open+st.Sealed != st.Acked {
					t.Errorf("%+v", st)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
