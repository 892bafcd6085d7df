package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/internal/vfs"
	"kustospool/store/internal/wal"
)

var (
	firstSeed = flag.Uint64("seed", 1, "seed of the first history")
	histories = flag.Int("histories", 2000, "number of histories, each with the next seed")
)

// TestHistories lives through random histories of a whole store on a strict file
// system: appends, batches, upkeep, calls that fail, volumes that fill, power
// cuts and killed processes at any call of the file system and at either side
// of any transaction of the ledger, while it recovers too. After each of them
// the store must open and must be what a model says: nothing that was
// acknowledged is lost, nothing is there that was not appended.
//
// A history is decided by its seed alone. One that fails is replayed by
//
//	go test ./store -run 'TestHistories$' -seed=S -histories=1 -v
func TestHistories(t *testing.T) {
	t.Logf("first seed %d", *firstSeed)
	run := &campaign{first: *firstSeed, count: *histories}
	if testing.Short() {
		run.count = min(run.count, 50)
	}
	if err := run.run(t); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d histories: %d stores opened, %d opens cut off, %d power cuts, %d kills, %d calls refused for a fault",
		run.count, run.opened.Load(), run.broken.Load(), run.cuts.Load(), run.kills.Load(), run.refusals.Load())
}

// names are those of objects and batches, which have a random part.
var names = regexp.MustCompile(`[0-9a-f-]{32,36}`)

// logged are lines that the store logs, which a history has when it is alone.
var logged = regexp.MustCompile(`(?m)^\t+time=.*\n`)

// TestHistoriesRepeat: the same seed gives the same history, with a log and
// without one.
func TestHistoriesRepeat(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+20; seed++ {
		var traces [2]string
		for i := range traces {
			h := newHistory(seed, scratch(t), &campaign{count: i})
			synctest.Test(t, func(t *testing.T) {
				if err := h.live(); err != nil {
					t.Error(err)
				}
			})
			traces[i] = logged.ReplaceAllString(names.ReplaceAllString(strings.Join(h.trace, "\n")+"\n", ""), "")
		}
		if traces[0] != traces[1] {
			t.Errorf("seed %d: two runs differ:\n%s", seed, difference(traces[0], traces[1]))
		}
	}
}

func difference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range as {
		if i == len(bs) || as[i] != bs[i] {
			return fmt.Sprintf("line %d\n%s\n%s", i, as[i], strings.Join(bs[i:min(i+1, len(bs))], ""))
		}
	}
	return "the second goes on"
}

// campaign is a run of histories, with or without a planted fault.
type campaign struct {
	first uint64
	count int
	fault *planted

	opened, broken, cuts, kills, refusals atomic.Int64
	done                                  atomic.Int64 // histories that were begun
}

// planted is a defect that the campaign must notice.
type planted struct {
	name   string
	files  func(vfs.FS) vfs.FS // a file system that cheats
	log    []string            // bugs of the log
	door   bugs
	ledger bool // a transaction is durable only with the next one
}

// run lives the histories, on all processors, and returns the first failure.
func (c *campaign) run(t *testing.T) error {
	// Like a machine, each goroutine has a ledger's file of its own.
	base := scratch(t)
	var failure atomic.Pointer[error]
	t.Run("histories", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(base, fmt.Sprint(i))
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				for failure.Load() == nil {
					n := c.done.Add(1)
					if n > int64(c.count) {
						return
					}
					if n%10_000 == 0 {
						t.Logf("%d histories", n)
					}
					h := newHistory(c.first+uint64(n)-1, dir, c)
					var err error
					synctest.Test(t, func(*testing.T) { err = h.live() })
					if err != nil {
						err = h.report(err)
						failure.CompareAndSwap(nil, &err)
						return
					}
					if c.count == 1 && testing.Verbose() {
						t.Log(strings.Join(h.trace, "\n"))
					}
				}
			})
		}
	})
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}

// scratch is a directory for files that need not last, in memory where the
// system has such.
func scratch(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "histories"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// history is one life of a spool.
type history struct {
	seed        uint64
	rng         *rand.Rand
	dir         string // for the ledger's file
	c           *campaign
	opts        Options
	rig         *rig
	s           *Store // nil while there is none
	w           *world
	maybe       []*world // other worlds that it may be
	faulty      bool     // faults are about: calls may be refused
	tight       bool     // the quota is small
	large       bool     // records above a frame's size are about
	unique      int
	generations uint64
	sides       uint64 // other sides of transactions that were looked at
	trace       []string
}

func newHistory(seed uint64, dir string, c *campaign) *history {
	h := &history{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x686973746f7279)), dir: dir, c: c, rig: newRig(seed, dir)}
	h.tight, h.large = h.rng.IntN(6) == 0, h.rng.IntN(20) == 0
	h.w = newWorld(1 + h.rng.IntN(3))
	h.opts = Options{SegmentBytes: MinSegmentBytes, OpenSegments: 1 + h.rng.IntN(2), NoSync: false, manual: true}
	if h.tight {
		h.opts.MaxBytes = 2*MinSegmentBytes + reserveBytes + slackBytes
		_ = h.rig.fs.MkdirAll("/spool/" + quarantined)
		h.rig.fs.Put("/spool/"+quarantined+"/filler", make([]byte, 600_000))
	}
	if h.rng.IntN(3) == 0 {
		h.opts.Compression = S2
	}
	if f := c.fault; f != nil {
		h.rig.wrap, h.opts.bugs, h.rig.forget = f.files, f.door, f.ledger
	}
	h.opts.tune = func(o *wal.Options) {
		o.Inline(h.generation)
		if c.fault != nil {
			for _, name := range c.fault.log {
				o.Plant(name)
			}
		}
	}
	if c.count == 1 {
		h.opts.Logger = slog.New(slog.NewTextHandler(traceWriter{h}, nil))
	}
	h.rig.put(nil)
	return h
}

// generation is a number for a segment's file, which is not drawn from the
// history's own luck: how often it is asked depends on what the store does.
func (h *history) generation() uint64 {
	h.generations++
	return h.seed<<20 | h.generations
}

// traceWriter has what the store logs in the trace.
type traceWriter struct{ h *history }

func (w traceWriter) Write(p []byte) (int, error) {
	w.h.note("\t%s", bytes.TrimSpace(p))
	return len(p), nil
}

func (h *history) note(format string, args ...any) {
	h.trace = append(h.trace, fmt.Sprintf(format, args...))
}

// report says how a failed history went and is replayed, first and last, for
// who sees one end of it.
func (h *history) report(err error) error {
	tail := h.trace[max(0, len(h.trace)-40):]
	replay := fmt.Sprintf("replay: go test ./store -run 'TestHistories$' -seed=%d -histories=1 -v", h.seed)
	return fmt.Errorf("seed %d: %w\n%s\n%s\n%s", h.seed, err, replay, strings.Join(tail, "\n"), replay)
}

// live is a history: sessions, each of which ends in a way of its own.
func (h *history) live() (err error) {
	defer func() {
		if h.s != nil {
			h.rig.cut()
			err = errors.Join(err, ignoreOff(h.s.Close()))
		}
	}()
	for range 2 + h.rng.IntN(4) {
		if err := h.begin(); err != nil {
			return err
		}
		if err := h.session(); err != nil {
			return err
		}
		if err := h.end(); err != nil {
			return err
		}
	}
	h.faulty = false
	h.rig.calm()
	if err := h.open(); err != nil {
		return err
	}
	if h.rng.IntN(6) == 0 {
		return h.lose()
	}
	return h.last()
}

// begin opens the store, at times with faults ahead.
func (h *history) begin() error {
	h.rot()
	for range 3 {
		if h.rng.IntN(3) > 0 {
			break
		}
		h.arm()
		err := h.tryOpen()
		h.note("open with a fault ahead: %v", err)
		if err != nil {
			h.c.broken.Add(1)
			if !h.rig.fs.Off() && !h.faulty {
				return fmt.Errorf("opening failed: %w", err)
			}
			if err := h.fall(); err != nil {
				return err
			}
			continue
		}
		h.rig.calm()
		if !h.rig.fs.Off() {
			return h.look()
		}
		if err := h.fall(); err != nil {
			return err
		}
	}
	h.faulty = false
	h.rig.calm()
	return h.open()
}

// rot flips a bit of the index of a segment, at times. All that it says can be
// read from the segment, so nobody may notice.
func (h *history) rot() {
	if h.rng.IntN(4) > 0 {
		return
	}
	infos, err := h.rig.fs.List("/spool/" + segmentsName)
	if err != nil || len(infos) == 0 {
		return
	}
	slices.SortFunc(infos, func(a, b vfs.Info) int { return strings.Compare(a.Name, b.Name) })
	name := "/spool/" + segmentsName + "/" + infos[h.rng.IntN(len(infos))].Name
	data, err := h.rig.fs.Contents(name)
	if err != nil || len(data) < 4096 || !strings.HasSuffix(name, segmentSuffix) {
		return
	}
	// The seal in the head leads to it; a commit may stand there by now.
	const seal = 512
	at := binary.BigEndian.Uint64(data[seal+16:])
	if string(data[seal:seal+4]) != "kspS" || at+64 > uint64(len(data)) || string(data[at:at+4]) != "kspI" {
		return
	}
	index := data[at:]
	// Its head may be all that a torn write left of it.
	n := min(int64(len(index)), int64(binary.BigEndian.Uint32(index[60:])))
	if n == 0 {
		return
	}
	i, bit := h.rng.Int64N(n), h.rng.IntN(8)
	index[i] ^= 1 << bit
	h.rig.fs.Put(name, data)
	h.note("bit %d of byte %d of the index of %s rots", bit, i, name)
}

func (h *history) tryOpen() (err error) {
	o := h.opts
	o.files, o.books, o.step = h.rig.files(), h.rig.ledger, h.rig.step
	o.fault = h.rig.fault
	h.s, err = Open("/spool", &o)
	return err
}

// open opens the store where nothing stands in the way, so that it must open.
func (h *history) open() error {
	if err := h.tryOpen(); err != nil {
		return fmt.Errorf("opening failed: %w", err)
	}
	h.note("opened")
	return h.look()
}

// look finds the world that the store shows.
func (h *history) look() error {
	h.c.opened.Add(1)
	var errs []error
	for _, w := range append([]*world{h.w}, h.maybe...) {
		err := w.check(h.s)
		if err == nil {
			if len(errs) > 0 {
				h.note("what was under way was stored")
			}
			h.w, h.maybe = w, nil
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (h *history) session() error {
	if h.rng.IntN(2) == 0 {
		h.arm()
	}
	for range 5 + h.rng.IntN(40) {
		if h.over() {
			return nil
		}
		total := 0
		for _, o := range operations {
			total += o.share
		}
		k, i := h.rng.IntN(total), 0
		for ; k >= operations[i].share; i++ {
			k -= operations[i].share
		}
		if err := operations[i].do(h); err != nil {
			return err
		}
		if h.rng.IntN(60) == 0 {
			h.arm()
		}
	}
	if h.over() || h.rng.IntN(5) > 0 {
		return nil
	}
	// The log is given back in whole, and what remains are the books.
	if err := h.drain(); err != nil || h.over() {
		return err
	}
	h.s.upkeep(40)
	h.note("all settled and given back")
	return nil
}

// sleep lets the time go by after which a sparse segment is written again, and
// a ballast is tried for.
func (h *history) sleep() error {
	time.Sleep(2 * compactAfter)
	h.s.upkeep(4)
	h.note("some time")
	return nil
}

// end ends a session: by a close, by the end of the process, by a power cut.
func (h *history) end() error {
	if h.over() || h.rng.IntN(3) > 0 {
		if !h.rig.fs.Off() && !h.rig.under && h.rng.IntN(4) == 0 {
			// A store that failed may be closed and opened on the spot.
			return h.close()
		}
		return h.fall()
	}
	if err := h.close(); err != nil {
		return err
	}
	switch h.rng.IntN(3) {
	case 0:
		return nil
	default:
		return h.fall()
	}
}

func (h *history) close() error {
	err := h.s.Close()
	failed := h.s.Err() != nil
	h.s = nil
	h.note("closed: %v", err)
	if err != nil && !h.faulty && !failed && !h.rig.fs.Off() {
		return fmt.Errorf("closing failed: %w", err)
	}
	if h.rig.fs.Off() {
		return h.fall()
	}
	return nil
}

// fall ends the process or cuts the power. Where that is beside a transaction
// of the ledger, what either side leaves is looked at.
func (h *history) fall() error {
	kill := h.rng.IntN(3) == 0
	h.rig.note()
	if !h.rig.fs.Off() {
		h.rig.cut()
	}
	if h.s != nil {
		if err := ignoreOff(h.s.Close()); err != nil {
			return fmt.Errorf("closing after a cut: %w", err)
		}
		h.s = nil
	}
	next, other := h.rig.fallen(kill, h.dir)
	h.rig, h.faulty = next, false
	if kill {
		h.c.kills.Add(1)
	} else {
		h.c.cuts.Add(1)
	}
	h.note("fallen, killed %v, both sides %v", kill, other != nil)
	if other == nil {
		return nil
	}
	h.sides++
	b := &history{seed: h.seed, rng: rand.New(rand.NewPCG(h.seed, h.sides)), dir: h.dir, c: h.c, opts: h.opts, tight: h.tight, large: h.large, rig: other, w: h.w.clone(), unique: h.unique + 1<<20}
	for _, w := range h.maybe {
		b.maybe = append(b.maybe, w.clone())
	}
	err := b.side()
	h.note("the other side:\n\t%s", strings.Join(b.trace, "\n\t"))
	if err != nil {
		return fmt.Errorf("the other side of the transaction: %w", err)
	}
	return nil
}

// side lives through what the other side of a transaction would have left.
func (h *history) side() (err error) {
	defer func() {
		if h.s != nil {
			h.rig.cut()
			err = errors.Join(err, ignoreOff(h.s.Close()))
		}
	}()
	if err := h.open(); err != nil {
		return err
	}
	for range 3 {
		if err := h.append(); err != nil {
			return err
		}
	}
	return h.last()
}

// last looks at an open store once more, after its upkeep and another start.
func (h *history) last() error {
	h.s.upkeep(100)
	if err := h.close(); err != nil {
		return err
	}
	if err := h.open(); err != nil {
		return err
	}
	if err := h.endRetries(); err != nil {
		return err
	}
	if err := h.drain(); err != nil {
		return err
	}
	h.s.upkeep(100)
	if err := h.w.check(h.s); err != nil {
		return err
	}
	if err := h.leaks(); err != nil {
		return err
	}
	return h.close()
}

// leaks looks for files that nobody needs, in a store in which all is settled.
func (h *history) leaks() error {
	letters, aside := 0, 0
	if h.tight {
		aside = 1 // the filler
	}
	for _, d := range h.w.dead {
		if letters += 2; d.unsure {
			letters = 1 << 20
		}
	}
	for _, c := range []struct {
		dir string
		max int
	}{{objectsName, 0}, {quarantined, aside}, {deadName, letters}, {segmentsName, 2 + wal.DefaultRecycledFiles}} {
		infos, err := h.rig.fs.List("/spool/" + c.dir)
		if err != nil {
			return err
		}
		if len(infos) > c.max {
			return fmt.Errorf("%d files are left in %s/, want at most %d; one is %s", len(infos), c.dir, c.max, infos[0].Name)
		}
	}
	return nil
}

// ignoreOff drops the errors that a close after a cut has.
func ignoreOff(error) error { return nil }
