package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// sparseSpool has a dead lane with a record in each segment and a busy one with
// the rest, and settles what is the busy lane's.
type sparseSpool struct {
	*Store
	dead uint32
	want map[[2]uint64]string // the dead lane's records
}

func newSparseSpool(t *testing.T, dir string, quota int64, records int) *sparseSpool {
	t.Helper()
	s, err := Open(dir, &Options{NoSync: true, SegmentBytes: 1 << 20, MaxBytes: quota})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	lane := func(table string) uint32 {
		no, err := s.Lane(ctx, &ingest.Properties{Database: "D", Table: table, Format: ingest.JSON}, FrameLimit{})
		if err != nil {
			t.Fatal(err)
		}
		return no
	}
	sp := &sparseSpool{Store: s, dead: lane("dead"), want: map[[2]uint64]string{}}
	busy := lane("busy")
	var seals []Seal
	for i := range records {
		recs := []Record{{Lane: sp.dead, Data: fmt.Appendf(nil, "dead %d", i)}}
		for range 200 {
			recs = append(recs, Record{Lane: busy, Data: []byte(strings.Repeat("b", 1000))})
		}
		out, err := s.Append(ctx, recs)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sp.want[[2]uint64{uint64(sp.dead), out[0].Seq}] = string(recs[0].Data)
		seals = append(seals, Seal{Lane: busy, First: out[1].Seq, Last: out[200].Seq, Bytes: 200 * 1001, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
	}
	if _, err := s.Seal(ctx, seals); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Live() {
		for _, step := range [][2]ingest.State{{ingest.Sealed, ingest.Sending}, {ingest.Sending, ingest.Accepted}, {ingest.Accepted, ingest.Succeeded}} {
			if _, err := s.Transition(ctx, e.Batch.ID, step[0], func(e *Entry) { e.State = step[1] }); err != nil {
				t.Fatal(err)
			}
		}
	}
	return sp
}

// settled waits until the maintenance has nothing to do, inside of a bubble.
func (sp *sparseSpool) settled() {
	sp.maintenance.signal()
	synctest.Wait()
}

// TestCompact: a lane that is not delivered does not keep the files of one that
// is. In a spool with room that is looked at after a while, under pressure at
// once; the records are whole, then and after the next open.
func TestCompact(t *testing.T) {
	for _, c := range []struct {
		name    string
		quota   int64
		records int
		wait    time.Duration
		most    int64 // bytes on disk after it
	}{
		{"after a while", 1 << 30, 80, compactAfter + time.Second, 4 << 20},
		// As many as there is room for, and no more is done than takes the pressure off.
		{"under pressure", 40 << 20, 1000, 0, 28 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				sp := newSparseSpool(t, dir, c.quota, c.records)
				if acked := sp.Stats().AckedBytes; c.wait == 0 && acked < 30<<20 {
					t.Errorf("only %d bytes came in", acked)
				}
				sp.settled()
				before := sp.Stats()
				if c.wait > 0 && before.DiskBytes < 10<<20 {
					t.Errorf("%d bytes before anything was sparse for long", before.DiskBytes)
				}
				time.Sleep(c.wait)
				sp.settled()
				st := sp.Stats()
				if st.DiskBytes > c.most || st.Segments != before.Segments {
					t.Errorf("%d bytes in %d segments, were %d in %d", st.DiskBytes, st.Segments, before.DiskBytes, before.Segments)
				}
				t.Logf("%d segments, %d bytes, then %d", st.Segments, before.DiskBytes, st.DiskBytes)
				if err := sp.Close(); err != nil {
					t.Fatal(err)
				}
				s, err := Open(dir, &Options{NoSync: true, SegmentBytes: 1 << 20, MaxBytes: c.quota})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if got := readRecords(t, s); !maps.Equal(got, sp.want) {
					t.Errorf("%d records of the dead lane, want %d", len(got), len(sp.want))
				}
				if st := s.Stats(); st.Damaged != 0 || st.Suspect != 0 {
					t.Errorf("taken for damage: %+v", st)
				}
			})
		})
	}
}

// TestCompactCrash: a crash at each step leaves one file or the other, and the
// manifest can be lost as well.
func TestCompactCrash(t *testing.T) {
	for _, point := range []string{"wal.compacted", "compact.exchanged"} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprint(point, " manifest lost ", lost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dir, copied := t.TempDir(), t.TempDir()
					sp := newSparseSpool(t, dir, 1<<30, 80)
					defer sp.Close()
					sp.settled()
					crashpoint.Arm(point, 2, func() {
						if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
							t.Error(err)
						}
					})
					defer crashpoint.Arm("", 0, nil)
					time.Sleep(compactAfter + time.Second)
					sp.settled()
					if lost {
						if err := os.Remove(filepath.Join(copied, ledgerName)); err != nil {
							t.Fatal(err)
						}
					}
					s, err := Open(copied, &Options{NoSync: true, SegmentBytes: 1 << 20})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					got := readRecords(t, s)
					maps.DeleteFunc(got, func(at [2]uint64, _ string) bool { return lost && at[0] != uint64(sp.dead) })
					if !maps.Equal(got, sp.want) {
						t.Errorf("%d records of the dead lane, want %d", len(got), len(sp.want))
					}
				})
			})
		}
	}
}

// readRecords reads all records that wait, by lane and number.
func readRecords(t *testing.T, s *Store) map[[2]uint64]string {
	t.Helper()
	sealOpen(t, s)
	out := map[[2]uint64]string{}
	for _, e := range s.Live() {
		for i, line := range strings.Split(strings.TrimSuffix(read(t, s, &e.Batch), "\n"), "\n") {
			out[[2]uint64{uint64(e.Batch.Lane), e.Batch.First + uint64(i)}] = line
		}
	}
	return out
}

// TestCompactDamaged: a segment whose wanted frames are damaged is tried once,
// and not each minute for ever; the others are written again all the same.
func TestCompactDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		sp := newSparseSpool(t, dir, 1<<30, 40)
		defer sp.Close()
		sp.settled()
		damaged := 0
		files, err := filepath.Glob(filepath.Join(dir, segmentsName, "*"+segmentSuffix))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if i := bytes.Index(data, []byte("dead 7")); i > 0 {
				data[i]++
				damaged++
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		if damaged != 1 {
			t.Fatalf("%d of %d files have the record", damaged, len(files))
		}
		time.Sleep(compactAfter + time.Second)
		for range files {
			sp.settled()
		}
		sp.mu.Lock()
		defer sp.mu.Unlock()
		tried := 0
		for _, seg := range sp.segments {
			if seg.solid > 0 {
				tried++
			}
		}
		if again := sp.sparseLocked(time.Now().Add(time.Hour)); tried != 1 || again != nil {
			t.Errorf("%d segments were found damaged, and %+v would be tried again", tried, again)
		}
	})
}
