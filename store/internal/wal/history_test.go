package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
)

// history is one life of a log on the strict file system: calls, rotations,
// settled segments, faults, crashes, also while it recovers, all drawn from a seed.
// It keeps by itself what the log has promised.
type history struct {
	rng  *rand.Rand
	seed uint64
	bugs bugs
	// A planted bug: two groups are in flight. The first is written and its sync
	// left to the second: early says that this is so now, held is what is to be
	// told of them then.
	two, early bool
	held       []Commit

	fs   *memfs.FS
	log  *Log
	err  error // what was found wrong
	told []string

	lanes   map[uint32]*historyLane
	keys    map[laneKey]uint64
	where   map[string][]byte // positions that were acknowledged
	pending [][]oneCall       // commits whose outcome is unknown, in their order

	books   books
	nextNo  int
	open    bool
	dropped bool // a compaction has left positions out
}

// books is what a ledger would keep. It is never lost but by its own account.
type books struct {
	rows    map[uint64]SegmentInfo
	tombs   map[uint64]Tombstone
	keys    map[laneKey]uint64
	where   map[string][]byte
	mark    LogEnd
	highest uint64
}

type historyLane struct {
	no      uint32
	records []string
	settled map[uint64]bool // by their number
	maybe   map[uint64]bool // and may come back
}

// oneCall is a call as it was made.
type oneCall struct {
	recs []Record
	pos  []Position
	out  []Appended
	err  error
}

func (h *history) wrong(format string, args ...any) {
	if h.err == nil {
		what := fmt.Sprintf(format, args...)
		replay := fmt.Sprintf("go test ./store/internal/wal -run 'TestHistories$' -histories=1 -seed=%d", h.seed)
		// First and last, for who sees one end of it.
		h.err = fmt.Errorf("%s\n%s\n%s\n%s\n%s", what, replay, strings.Join(h.told[max(0, len(h.told)-400):], "\n"), what, replay)
	}
}

func (h *history) tell(format string, args ...any) {
	h.told = append(h.told, fmt.Sprintf(format, args...))
}

// Key, Room and Alive make it the log's gate.
func (h *history) Room(int64) error { return nil }
func (h *history) Alive() error     { return nil }
func (h *history) Key(lane uint32, k KeyHash) (uint64, bool, error) {
	seq, ok := h.books.keys[laneKey{lane, k}]
	return seq, ok, nil
}

func (h *history) options() Options {
	return Options{
		FS: h.fs, Dir: "/d", Spool: spool, SegmentBytes: MinSegmentBytes, RecycledFiles: 1 + int(h.seed%3), Gate: h, Compress: h.seed%4 == 0,
		Committed: func(c *Commit) {
			if h.early || h.held != nil {
				h.held = append(h.held, Commit{Keys: slices.Clone(c.Keys), Positions: slices.Clone(c.Positions)})
			} else {
				h.books.take(c)
			}
		},
		Rotated: func(i SegmentInfo) {
			h.tell("rotated %d", i.No)
			h.books.rows[i.No] = i
		},
		bugs: h.bugs, inline: true, generation: h.rng.Uint64,
	}
}

func (b *books) take(c *Commit) {
	for _, k := range c.Keys {
		b.keys[laneKey{k.Lane, k.Hash}] = k.Seq
	}
	for _, p := range c.Positions {
		b.setPosition(p)
	}
}

func (b *books) setPosition(p Position) {
	if p.Value == nil {
		delete(b.where, p.Name)
	} else {
		b.where[p.Name] = append([]byte{}, p.Value...)
	}
}

// runHistory makes and checks one life.
func runHistory(seed uint64, planted bugs) error { return newHistory(seed, planted).live() }

func newHistory(seed uint64, planted bugs) *history {
	h := &history{
		rng: rand.New(rand.NewPCG(seed, 77)), seed: seed, bugs: planted, fs: memfs.New(seed), lanes: map[uint32]*historyLane{},
		keys: map[laneKey]uint64{}, where: map[string][]byte{},
	}
	h.books = books{rows: map[uint64]SegmentInfo{}, tombs: map[uint64]Tombstone{}, keys: map[laneKey]uint64{}, where: map[string][]byte{}}
	for no := range uint32(4) {
		h.lanes[no+1] = &historyLane{no: no + 1, settled: map[uint64]bool{}, maybe: map[uint64]bool{}}
	}
	return h
}

func (h *history) live() error {
	h.reopen(false)
	for range 20 + h.rng.IntN(60) {
		if h.err != nil {
			break
		}
		h.step()
	}
	if h.err == nil {
		h.stop(h.rng.IntN(3))
		h.reopen(false)
	}
	if h.open {
		_, _ = h.log.Close()
	}
	return h.err
}

func (h *history) step() {
	switch n := h.rng.IntN(100); {
	case n < 55:
		h.call(1)
	case n < 65:
		h.call(2 + h.rng.IntN(4))
	case n < 72:
		h.tell("turn")
		h.log.files.maintain(false)
	case n < 77:
		h.tell("rotate")
		if err := h.log.Rotate(); err != nil {
			h.afterError(err)
		}
	case n < 82:
		h.settle()
	case n < 84:
		h.compact()
	case n < 88:
		h.fault()
	case n < 94:
		cut := 1 + h.rng.IntN(12)
		h.tell("cut after %d", cut)
		h.fs.CutAfter(cut)
	default:
		h.stop(h.rng.IntN(3))
		h.reopen(true)
	}
	if h.err == nil && h.fs.Off() {
		h.stop(2)
		h.reopen(true)
	}
}

// fault has one of the next calls of the file system fail.
func (h *history) fault() {
	ops := []memfs.Op{memfs.Write, memfs.Sync, memfs.SyncDir, memfs.Rename, memfs.Create, memfs.Truncate, memfs.Remove, memfs.Open}
	op, nth := ops[h.rng.IntN(len(ops))], 1+h.rng.IntN(4)
	err := syscall.EIO
	if h.rng.IntN(2) == 0 && op != memfs.Sync {
		err = syscall.ENOSPC
	}
	h.tell("fail %d, op %d: %v", nth, op, err)
	h.fs.Fail(op, nth, err)
}

func (h *history) makeCall() oneCall {
	var c oneCall
	for range 1 + h.rng.IntN(4) {
		h.nextNo++
		size := h.rng.IntN(300)
		if h.rng.IntN(6) == 0 {
			size = h.rng.IntN(20000)
		}
		r := Record{Lane: 1 + uint32(h.rng.IntN(4)), Data: fmt.Appendf(nil, "%d:%d:%s", h.seed, h.nextNo, strings.Repeat(string(rune('a'+h.nextNo%26)), size))}
		if h.rng.IntN(3) == 0 {
			r.HasKey, r.Key = true, KeyHash{byte(h.rng.IntN(40)), 1}
		}
		c.recs = append(c.recs, r)
	}
	if h.rng.IntN(4) == 0 && !c.recs[0].HasKey { // so that the records tell whether it is there
		p := Position{Name: fmt.Sprint("p", h.rng.IntN(3))}
		if h.rng.IntN(4) > 0 {
			p.Value = fmt.Appendf(nil, "at %d%s", h.nextNo, strings.Repeat("p", h.rng.IntN(MaxPositionBytes-20)))
		}
		c.pos = append(c.pos, p)
	}
	c.out = make([]Appended, len(c.recs))
	return c
}

// call makes n calls that share a commit; the last one of several comes
// while the others are written.
func (h *history) call(n int) {
	calls := make([]oneCall, n)
	for i := range calls {
		calls[i] = h.makeCall()
	}
	if n == 1 {
		c := &calls[0]
		c.err = h.log.Append(context.Background(), c.recs, c.pos, c.out)
		h.afterError(h.outcome(calls))
		return
	}
	l := h.log
	join := func(c *oneCall) *group {
		size, records, err := measure(c.recs, c.pos)
		var g *group
		if err == nil {
			g, err = l.admit(context.Background(), c.recs, c.pos, size, records, c.out)
		}
		if c.err = err; err == nil && g != nil {
			l.take(g, c.recs, c.pos, c.out)
			if g.outcome == nil {
				g.outcome = &outcome{done: make(chan struct{})}
			}
			return g
		}
		return nil
	}
	groups := make([]*outcome, n)
	l.mu.Lock()
	l.busy = true
	for i := range calls[:n-1] {
		if g := join(&calls[i]); g != nil {
			groups[i] = g.outcome
		}
	}
	g := l.open
	l.takeOpen()
	if g2 := join(&calls[n-1]); g2 != nil {
		groups[n-1] = g2.outcome
	}
	file := vfs.File(nil) // of the first group, when it was not synced
	for {
		h.early = h.two && l.open.calls > 0
		l.opts.bugs.skipSync = h.bugs.skipSync || h.early
		l.mu.Unlock()
		l.commit(g)
		l.mu.Lock()
		if h.early && g.err == nil {
			file = l.w.file
		}
		l.done(g)
		if g = l.open; g.calls == 0 {
			break
		}
		l.takeOpen()
	}
	l.busy, h.early, l.opts.bugs.skipSync = false, false, h.bugs.skipSync
	l.mu.Unlock()
	if file != nil {
		h.syncFirst(file, groups)
	}
	for i, o := range groups {
		if o != nil {
			calls[i].err = o.err
		}
	}
	failure := h.outcome(calls[:n-1])
	h.afterError(cmp.Or(failure, h.outcome(calls[n-1:])))
}

// syncFirst ends the first of two groups in flight. The sync of the second was
// for both, if it came to that and they are in one file.
func (h *history) syncFirst(file vfs.File, groups []*outcome) {
	var err error
	if last := groups[len(groups)-1]; last != nil {
		err = last.err
	}
	if !errors.Is(err, ErrFailed) && (err != nil || file != h.log.w.file) {
		err = file.Sync()
	}
	held := h.held
	h.held = nil
	if err == nil {
		for i := range held {
			h.books.take(&held[i])
		}
		return
	}
	err = fmt.Errorf("%w: %w", ErrUnknown, h.log.fail(err))
	for _, o := range groups {
		if o != nil && o.err == nil {
			o.err = err
		}
	}
}

// outcome books what the answers of one commit say.
func (h *history) outcome(calls []oneCall) (failure error) {
	var unknown []oneCall
	for i := range calls {
		c := &calls[i]
		if c.err != nil {
			failure = c.err
			if errors.Is(c.err, ErrUnknown) {
				unknown = append(unknown, *c)
			}
			continue
		}
		h.book(c)
	}
	if unknown != nil {
		h.pending = append(h.pending, unknown)
	}
	h.tell("%d calls: %v; active %d at %d, commit %d", len(calls), failure, h.log.w.seg.info.No, h.log.w.seg.info.End, h.log.w.number)
	return failure
}

// book enters an acknowledged call.
func (h *history) book(c *oneCall) {
	for i, r := range c.recs {
		k := laneKey{r.Lane, r.Key}
		old, known := h.keys[k]
		if c.out[i].Duplicate {
			if !r.HasKey || !known || old != c.out[i].Seq {
				h.wrong("record %.30q is called a duplicate of %d, the key has %d", r.Data, c.out[i].Seq, old)
			}
			continue
		}
		ln := h.lanes[r.Lane]
		if r.HasKey {
			if known {
				h.wrong("record %.30q is stored though its key has %d", r.Data, old)
			}
			h.keys[k] = c.out[i].Seq
		}
		if c.out[i].Seq != uint64(len(ln.records)+1) {
			h.wrong("lane %d: record %.30q has number %d, want %d", ln.no, r.Data, c.out[i].Seq, len(ln.records)+1)
		}
		ln.records = append(ln.records, string(r.Data))
	}
	for _, p := range c.pos {
		if p.Value == nil {
			delete(h.where, p.Name)
		} else {
			h.where[p.Name] = p.Value
		}
	}
}

func (h *history) afterError(err error) {
	if err == nil || errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrFailed) {
		return
	}
	if !errors.Is(err, ErrFailed) && !errors.Is(err, ErrClosed) {
		h.wrong("unexpected error: %v", err)
		return
	}
	if h.fs.Off() {
		return
	}
	h.stop(h.rng.IntN(3))
	h.reopen(true)
}

// settle settles the oldest segment that has a row, as a door would: tombstone,
// recycle, row away. The books may stop between any two of these.
func (h *history) settle() {
	if len(h.books.rows) == 0 {
		return
	}
	no := sortedKeys(h.books.rows)[0]
	row := h.books.rows[no]
	h.tell("settle %d", no)
	for lane, s := range row.Lanes {
		for seq := s.First; seq <= s.Last; seq++ {
			h.lanes[lane].settled[seq] = true
		}
	}
	h.books.tombs[no] = Tombstone{no, row.Generation}
	delete(h.books.rows, no)
	h.books.highest = max(h.books.highest, no)
	if err := h.log.Recycle(no); err != nil {
		h.tell("recycle: %v", err)
		return
	}
	if h.rng.IntN(3) > 0 {
		delete(h.books.tombs, no)
	}
}

// compact settles all of a segment but one lane, and has it written anew.
func (h *history) compact() {
	if len(h.books.rows) == 0 {
		return
	}
	nos := sortedKeys(h.books.rows)
	no := nos[h.rng.IntN(len(nos))]
	row := h.books.rows[no]
	stays := 1 + uint32(h.rng.IntN(4))
	old := row.Lanes
	info, err := h.log.Compact(no, func(f Frame) bool { return f.Lane == stays })
	h.tell("compact %d to lane %d: %d bytes of %d, %v", no, stays, info.Size, row.Size, err)
	if err == nil && info.Generation == row.Generation {
		return
	}
	h.dropped = true
	// What was dropped may come back until the new file's name is durable.
	for lane, s := range old {
		if lane != stays {
			for seq := s.First; seq <= s.Last; seq++ {
				h.lanes[lane].settled[seq] = true
				h.lanes[lane].maybe[seq] = err != nil
			}
		}
	}
	if err == nil && h.rng.IntN(2) == 0 {
		h.books.rows[no] = info
		return
	}
	// The books stop before they have it.
	h.stop(h.rng.IntN(3))
	h.reopen(true)
}
