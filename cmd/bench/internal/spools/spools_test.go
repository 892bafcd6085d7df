package spools

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kustospool/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSpaces: on recycled space what was put before is taken and its segments
// are given back; on fresh space everything waits.
func TestSpaces(t *testing.T) {
	for _, space := range []Space{Fresh, Recycled} {
		t.Run(space.String(), func(t *testing.T) {
			t.Run("store", func(t *testing.T) {
				s, err := OpenStore(t.Context(), t.TempDir(), StoreOptions{Space: space, Lanes: 3, Store: store.Options{NoSync: true}})
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(s.Put(t.Context(), []byte("{}")), s.Put(t.Context(), []byte("{}"))); err != nil {
					t.Error(err)
				}
				st := s.Stats()
				check(t, space, st.Acked, st.Ingested, st.Segments, 3+2)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			t.Run("engine", func(t *testing.T) {
				s, err := OpenEngine(t.Context(), t.TempDir(), EngineOptions{Space: space, Tables: 3})
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(s.Put(t.Context(), []byte("{}")), s.PutHundred(t.Context(), []byte("{}"))); err != nil {
					t.Error(err)
				}
				st := s.Stats()
				check(t, space, st.Acked, st.Settled.Ingested, st.Disk.Segments, 3+101)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func check(t *testing.T, space Space, acked, ingested int64, segments int, put int64) {
	t.Helper()
	filled := int64(0)
	if space == Recycled {
		filled = rounds * takeBytes / fillRecord
	}
	if acked != filled+put {
		t.Errorf("%d records acknowledged, want %d", acked, filled+put)
	}
	if ingested < filled || ingested > acked || space == Fresh && ingested != 0 {
		t.Errorf("%d records taken of %d; %d were to be", ingested, acked, filled)
	}
	if segments >= rounds {
		t.Errorf("%d segments: nothing was given back", segments)
	}
}

// TestQuiet: a size that changes is waited for, one that never rests is not.
func TestQuiet(t *testing.T) {
	for name, changes := range map[string]int64{"rests after a while": 20, "never rests": 10_000} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				begun, size := time.Now(), int64(0)
				err := quiet(t.Context(), dir, func() int64 { size = min(size+1, changes); return size })
				want := min(time.Duration(changes-1)*quietLook+quietFor, patience)
				if took := time.Since(begun); err != nil || took < want-quietLook || took > want+quietLook {
					t.Errorf("quiet after %v, %v; want %v", took, err, want)
				}
			})
		})
	}
}

func TestOpen_Refuses(t *testing.T) {
	if _, err := OpenStore(t.Context(), t.TempDir(), StoreOptions{}); err == nil {
		t.Error("a store without lanes is opened")
	}
	if _, err := OpenEngine(t.Context(), t.TempDir(), EngineOptions{}); err == nil {
		t.Error("an engine without tables is opened")
	}
}

// TestTaker_TellsWhatItCouldNotTake: or a row for recycled space would be one
// of fresh space, and nobody would know.
func TestTaker_TellsWhatItCouldNotTake(t *testing.T) {
	s, err := OpenStore(t.Context(), t.TempDir(), StoreOptions{Space: Recycled, Lanes: 1, Store: store.Options{NoSync: true}})
	if err != nil {
		t.Fatal(err)
	}
	// A range that is not the lane's next.
	s.taker.committed([]store.Frame{{Lane: s.lanes[0], First: 1, Last: 1, Bytes: takeBytes}})
	s.taker.done.Wait()
	if err := s.Close(); !errors.Is(err, store.ErrConflict) {
		t.Errorf("closing: %v; want %v", err, store.ErrConflict)
	}
}
