package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kustospool/internal/vfs/memfs"
)

// lockedGate is what a door tells of keys, to many callers.
type lockedGate struct {
	mu   sync.Mutex
	keys map[laneKey]uint64
}

func (g *lockedGate) Room(int64) error { return nil }
func (g *lockedGate) Alive() error     { return nil }
func (g *lockedGate) Key(lane uint32, k KeyHash) (uint64, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seq, ok := g.keys[laneKey{lane, k}]
	return seq, ok, nil
}

func (g *lockedGate) committed(c *Commit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range c.Keys {
		g.keys[laneKey{k.Lane, k.Hash}] = k.Seq
	}
}

// said is what a caller was told of a record.
type said struct {
	rec Record
	out Appended
	err error
}

// TestManyCallersAndFaults has many callers at work while the volume is full
// again and again, segments are rotated, and at last the log is closed, or its
// disk fails, under them. What each was told must be so after a power cut.
func TestManyCallersAndFaults(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 6
	}
	for range rounds {
		seed := rand.Uint64N(1e9)
		if manyCallers(t, seed); t.Failed() {
			t.Fatalf("seed %d; what the scheduler does is not in it", seed)
		}
	}
}

func manyCallers(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	disk := memfs.New(seed)
	g := &lockedGate{keys: map[laneKey]uint64{}}
	// A sync lets others run, as one of a disk does.
	o := options(&slowFS{FS: disk, sync: func(string) error { yield(20); return nil }})
	o.Gate, o.Committed = g, g.committed
	l, _ := open(t, o, Known{})
	const lanes = 3
	callers := 2 + rng.IntN(6)
	for no := range uint32(lanes) {
		if err := l.AddLane(Lane{No: no + 1, Key: fmt.Sprint(no), Separator: 1}); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	all := make([][]said, callers)
	for c := range callers {
		luck := rand.New(rand.NewPCG(seed, uint64(c+2)))
		wg.Go(func() {
			for i := 0; ; i++ {
				yield(luck.IntN(80)) // at times nobody else is there
				recs := make([]Record, 1+luck.IntN(3))
				for j := range recs {
					key := byte(luck.IntN(60))
					recs[j] = Record{
						Lane: uint32(luck.IntN(lanes)) + 1, HasKey: luck.IntN(2) == 0, Key: KeyHash{key},
						Data: fmt.Appendf(nil, "key %d, %d/%d/%d %s", key, c, i, j, strings.Repeat("d", luck.IntN(2000))),
					}
				}
				out := make([]Appended, len(recs))
				err := l.Append(t.Context(), recs, nil, out)
				for j := range recs {
					all[c] = append(all[c], said{recs[j], out[j], err})
				}
				if errors.Is(err, ErrClosed) || errors.Is(err, ErrFailed) {
					return
				}
			}
		})
	}
	for range 20 + rng.IntN(60) {
		disk.Fail(memfs.Write, 1+rng.IntN(6), syscall.ENOSPC)
		if rng.IntN(8) == 0 {
			if err := l.Rotate(); err != nil && !errors.Is(err, ErrNoSpace) {
				t.Error(err)
			}
		}
		yield(rng.IntN(200))
	}
	if rng.IntN(3) == 0 {
		disk.Fail(memfs.Sync, 1+rng.IntN(3), syscall.EIO)
	}
	if _, err := l.Close(); err != nil && !errors.Is(err, ErrFailed) && !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	wg.Wait()
	l, r := open(t, options(disk.Crash()), Known{})
	if len(r.Damage) > 0 || r.TailMissing || len(r.ForeignFiles) > 0 {
		t.Errorf("damage %+v, doubt %v, strangers %+v", r.Damage, r.TailMissing, r.ForeignFiles)
	}
	found := map[uint32]map[uint64]string{}
	stored := map[string]bool{}
	for no := range uint32(lanes) {
		found[no+1] = contents(t, l, no+1)
		for _, data := range found[no+1] {
			stored[data] = true
		}
	}
	closeLog(t, l)
	for _, s := range slices.Concat(all...) {
		got := found[s.rec.Lane][s.out.Seq]
		switch {
		case s.err == nil && s.out.Duplicate:
			if key, _, _ := strings.Cut(string(s.rec.Data), ","); !strings.HasPrefix(got, key+",") {
				t.Errorf("lane %d: %.20q is called a duplicate of record %d, which is %.20q", s.rec.Lane, s.rec.Data, s.out.Seq, got)
			}
		case s.err == nil && got != string(s.rec.Data):
			t.Errorf("lane %d: record %d is %.20q, want %.20q", s.rec.Lane, s.out.Seq, got, s.rec.Data)
		case s.err != nil && !errors.Is(s.err, ErrUnknown) && stored[string(s.rec.Data)]:
			t.Errorf("lane %d: %.20q was refused (%v) and is stored", s.rec.Lane, s.rec.Data, s.err)
		}
	}
}

// yield lets other goroutines run.
func yield(times int) {
	for range times {
		runtime.Gosched()
	}
}
