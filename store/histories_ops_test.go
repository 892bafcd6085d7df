package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"kustospool/ingest"
	"kustospool/internal/vfs/memfs"
	"kustospool/store/internal/ledger"
)

// operations are what a history is made of, with their shares.
var operations = []struct {
	share int
	do    func(*history) error
}{
	{24, (*history).append}, {8, (*history).appendObjects}, {12, (*history).seal}, {16, (*history).transition}, {4, (*history).divide},
	{5, (*history).deadLetter}, {2, (*history).removeDead}, {3, (*history).drain}, {9, (*history).keep}, {2, (*history).sleep}, {4, (*history).read},
	{2, (*history).removePosition}, {1, (*history).makeLane},
}

// outcome enters what a call has done: done(w) makes the world in which it was
// carried out. Where nobody can know, both worlds go on.
func (h *history) outcome(what string, err error, done func(*world)) error {
	h.note("%s: %v", what, err)
	switch {
	case h.rig.fs.Off() || errors.Is(err, ErrOutcomeUnknown):
		// The call may have said that all is well after the ledger's disk was
		// off, which the ledger cannot know.
		c := h.w.clone()
		done(c)
		h.maybe = append(h.maybe, c)
		return nil
	case err == nil:
		done(h.w)
		return nil
	}
	return h.refused(what, err)
}

// refused is fine where faults are about, and else is a defect.
func (h *history) refused(what string, err error) error {
	if h.faulty || h.rig.fs.Off() || h.tight && errors.Is(err, ErrFull) {
		h.c.refusals.Add(1)
		return nil
	}
	return fmt.Errorf("%s was refused without a reason: %w", what, err)
}

func (h *history) append() error {
	made := h.made()
	if len(made) == 0 {
		return h.makeLane()
	}
	n := 1 + h.rng.IntN(8)
	if h.rng.IntN(3) == 0 {
		n = 1
	}
	size := []int{1, 1, 30, 200, 2000, 9000}[h.rng.IntN(6)]
	if h.tight {
		size *= 5
	}
	var recs []wanted
	for range n {
		r := wanted{lane: made[h.rng.IntN(len(made))]}
		r.data = h.data(size)
		if h.large && h.rng.IntN(40) == 0 {
			r.data = h.data(0) + strings.Repeat("L", DefaultFrameBytes+h.rng.IntN(10_000))
		}
		if h.rng.IntN(4) == 0 {
			r.key = fmt.Sprint("k", h.rng.IntN(keyNames))
		}
		recs = append(recs, r)
	}
	positions := h.positions()
	var in []Record
	for _, r := range recs {
		in = append(in, Record{Lane: h.w.lanes[r.lane].no, Data: []byte(r.data), Key: r.key})
	}
	got, err := h.s.AppendWith(ctx, in, positions)
	if err == nil {
		h.note("append of %d records of about %d bytes: %v", n, size, got)
		return h.answered(h.w.add(recs, positions), got)
	}
	return h.outcome(fmt.Sprintf("append of %d records of about %d bytes", n, size), err, func(w *world) { w.add(recs, positions) })
}

var ctx = context.Background()

// answered compares the numbers that were given with those that are due.
func (h *history) answered(want, got []Appended) error {
	if !slices.Equal(want, got) {
		return fmt.Errorf("appended records got numbers %v, want %v", got, want)
	}
	return nil
}

// data is unlike any other record's.
func (h *history) data(size int) string {
	h.unique++
	text := fmt.Sprintf("{%d.%d}", h.seed, h.unique)
	return text + strings.Repeat(string(rune('a'+h.unique%26)), h.rng.IntN(size+1))
}

func (h *history) positions() []Position {
	if h.rng.IntN(5) > 0 {
		return nil
	}
	h.unique++
	return []Position{{Name: fmt.Sprint("p", h.rng.IntN(3)), Value: fmt.Appendf(nil, "%d", h.unique)}}
}

func (h *history) appendObjects() error {
	made := h.made()
	if len(made) == 0 {
		return nil
	}
	var recs []wanted
	var objects []*Object
	defer func() {
		for _, o := range objects {
			if err := o.Discard(); err != nil {
				h.note("discard: %v", err)
			}
		}
	}()
	for range 1 + h.rng.IntN(3) {
		lane := made[h.rng.IntN(len(made))]
		l := h.w.lanes[lane]
		o, err := h.s.NewObject(l.no)
		if err != nil {
			return h.refused("new object", err)
		}
		objects = append(objects, o)
		for range 1 + h.rng.IntN(4) {
			r := wanted{lane: lane, data: h.data(300)}
			if l.concat {
				err = o.Record([]byte(r.data))
			} else {
				_, err = o.Write([]byte(r.data))
			}
			if err != nil {
				return h.refused("record of an object", err)
			}
			recs = append(recs, r)
			if !l.concat {
				break
			}
		}
	}
	if h.rng.IntN(8) == 0 {
		h.note("objects discarded")
		return nil
	}
	positions := h.positions()
	got, err := h.s.AppendObjects(ctx, objects, positions)
	if err == nil {
		h.note("append of %d objects: %v", len(objects), got)
		want, i := h.w.add(recs, positions), 0
		for j, o := range objects {
			if got[j] != want[i] {
				return fmt.Errorf("object %d got number %v, want %v", j, got[j], want[i])
			}
			i += int(o.Records())
		}
		return nil
	}
	return h.outcome(fmt.Sprintf("append of %d objects", len(objects)), err, func(w *world) { w.add(recs, positions) })
}

func (h *history) seal() error {
	var seals []Seal
	var places []place
	for i, l := range h.w.lanes {
		if l.mark == l.high() || h.rng.IntN(3) == 0 {
			continue
		}
		first := l.mark + 1
		last := first + h.rng.Uint64N(l.high()-l.mark)
		if h.rng.IntN(2) == 0 {
			last = l.high()
		}
		seals = append(seals, Seal{Lane: l.no, First: first, Last: last, Bytes: l.bytes(first, last), Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
		places = append(places, place{i, first})
	}
	if len(seals) == 0 {
		return nil
	}
	_, err := h.s.Seal(ctx, seals)
	return h.outcome(fmt.Sprintf("seal %v", seals), err, func(w *world) {
		for i, p := range places {
			w.seal(p, seals[i].Last)
		}
	})
}

// pick finds a live batch, or none.
func (h *history) pick() (p place, id ingest.BatchID, ok bool) {
	all := h.w.places()
	if len(all) == 0 {
		return p, id, false
	}
	p = all[h.rng.IntN(len(all))]
	return p, h.id(p), true
}

func (h *history) id(p place) ingest.BatchID {
	e, ok := h.s.ledger.EntryAt(h.w.lanes[p.lane].no, p.first)
	if !ok {
		return ingest.BatchID{}
	}
	return e.Batch.ID
}

func (h *history) transition() error {
	p, id, ok := h.pick()
	if !ok {
		return nil
	}
	from := h.w.live[p].state
	var to []ingest.State
	for _, s := range ingest.States() {
		if from.CanBecome(s) && s != ingest.Split && s != ingest.DeadLettered {
			to = append(to, s)
		}
	}
	next := to[h.rng.IntN(len(to))]
	_, err := h.s.Transition(ctx, id, from, func(e *Entry) { e.State = next; e.Attempts++ })
	return h.outcome(fmt.Sprintf("batch %v from %s to %s", p, from, next), err, func(w *world) { w.move(p, next) })
}

func (h *history) divide() error {
	p, id, ok := h.pick()
	b := h.w.live[p]
	if !ok || b.last == p.first || !b.state.CanBecome(ingest.Split) {
		return nil
	}
	at := p.first + 1 + h.rng.Uint64N(b.last-p.first)
	_, err := h.s.Split(ctx, id, b.state, []uint64{at}, nil)
	return h.outcome(fmt.Sprintf("split %v at %d", p, at), err, func(w *world) { w.cut(p, at) })
}

func (h *history) deadLetter() error {
	p, id, ok := h.pick()
	b := h.w.live[p]
	if !ok || !b.state.CanBecome(ingest.DeadLettered) {
		return nil
	}
	_, err := h.s.DeadLetter(ctx, id, b.state, &ingest.Failure{Class: "permanent"})
	return h.outcome(fmt.Sprintf("dead letter %v", p), err, func(w *world) { w.settle(p, ingest.DeadLettered) })
}

// removeDead removes a dead letter, or retries it. After an error of the removal,
// or a cut, a crash may bring it back any time later.
func (h *history) removeDead() error {
	all := h.w.graves()
	if len(all) == 0 {
		return nil
	}
	p := all[h.rng.IntN(len(all))]
	d := h.w.dead[p]
	if d.unsure {
		return nil
	}
	id := ingest.NewBatchID(h.s.id, h.w.lanes[p.lane].no, p.first, d.last)
	if p.first%2 == 0 {
		return h.retryDead(p, id)
	}
	err := h.s.RemoveDeadLetter(id)
	h.note("remove dead letter %v: %v", p, err)
	if err == nil && !h.rig.fs.Off() {
		delete(h.w.dead, p)
		return nil
	}
	d.unsure = true
	h.w.dead[p] = d
	if h.rig.fs.Off() {
		return nil
	}
	return h.refused("removal of a dead letter", err)
}

// drain settles all there is, so that segments and objects are given back.
func (h *history) drain() error {
	if err := h.sealAll(); err != nil {
		return err
	}
	for _, p := range h.w.places() {
		for from := h.w.live[p].state; ; from = h.w.live[p].state {
			next := ingest.Dropped
			if !from.CanBecome(next) {
				next = ingest.Sealed
			}
			if h.over() {
				return nil
			}
			_, err := h.s.Transition(ctx, h.id(p), from, func(e *Entry) { e.State = next })
			if err := h.outcome(fmt.Sprintf("drain %v", p), err, func(w *world) { w.move(p, next) }); err != nil {
				return err
			}
			if _, live := h.w.live[p]; err != nil || !live {
				break
			}
		}
	}
	return nil
}

func (h *history) sealAll() error {
	var seals []Seal
	var places []place
	for i, l := range h.w.lanes {
		if l.mark < l.high() {
			seals = append(seals, Seal{Lane: l.no, First: l.mark + 1, Last: l.high(), Bytes: l.bytes(l.mark+1, l.high()), Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
			places = append(places, place{i, l.mark + 1})
		}
	}
	if len(seals) == 0 {
		return nil
	}
	_, err := h.s.Seal(ctx, seals)
	return h.outcome("seal of all", err, func(w *world) {
		for i, p := range places {
			w.seal(p, seals[i].Last)
		}
	})
}

// over reports whether the store takes no more calls.
func (h *history) over() bool { return h.rig.fs.Off() || h.s.Err() != nil }

// keep lets the background do some of its work.
func (h *history) keep() error {
	n := 1 + h.rng.IntN(12)
	h.s.upkeep(n)
	h.note("upkeep of %d steps", n)
	return nil
}

// read reads a live batch, in whole or in part. A disk that cannot be read may say so.
func (h *history) read() error {
	_, id, ok := h.pick()
	if !ok {
		return nil
	}
	e, ok := h.s.Entry(id)
	if !ok {
		return fmt.Errorf("batch %s is not live", id)
	}
	if h.rng.IntN(4) == 0 {
		r := h.s.Payload(&e.Batch).Open()
		var b [10]byte
		_, _ = io.ReadFull(r, b[:])
		return r.Close()
	}
	if err := h.w.checkPayload(h.s, &e.Batch); err != nil && !h.faulty {
		return err
	}
	return nil
}

func (h *history) removePosition() error {
	name := fmt.Sprint("p", h.rng.IntN(3))
	_, known := h.w.positions[name]
	err := h.s.RemovePosition(ctx, name)
	if !known {
		if !errors.Is(err, ErrNotFound) && !h.over() {
			return fmt.Errorf("removal of a position that is not there: %w", err)
		}
		return nil
	}
	if err == nil && !h.rig.fs.Off() {
		h.note("position %s removed", name)
		delete(h.w.positions, name)
		return nil
	}
	return h.outcome("removal of position "+name, err, func(w *world) { delete(w.positions, name) })
}

func (h *history) makeLane() error {
	i := h.rng.IntN(len(h.w.lanes))
	l := h.w.lanes[i]
	if l.no != 0 {
		return nil
	}
	next := uint32(1)
	for _, l := range h.w.lanes {
		next = max(next, l.no+1)
	}
	no, err := h.s.Lane(ctx, l.props(), FrameLimit{Bytes: 8 << 10})
	if err == nil && no != next {
		return fmt.Errorf("lane %s got number %d, want %d", l.name, no, next)
	}
	return h.outcome("lane "+l.name, err, func(w *world) { w.lanes[i].no = next })
}

// made lists the lanes that there are.
func (h *history) made() (out []int) {
	for i, l := range h.w.lanes {
		if l.no != 0 {
			out = append(out, i)
		}
	}
	return out
}

// arm prepares a fault that the next calls will meet.
func (h *history) arm() {
	f := h.rig.fs
	switch k := h.rng.IntN(12); {
	case k < 4:
		n := 1 + h.rng.IntN([]int{4, 15, 60}[h.rng.IntN(3)])
		f.CutAfter(n)
		h.note("the power will go at call %d", n)
	case k < 6:
		h.rig.steps, h.rig.beside = 1+h.rng.IntN(6), h.rng.IntN(2)
		h.note("the power will go beside transaction %d", h.rig.steps)
	case k < 9:
		ops := []memfs.Op{memfs.Open, memfs.Create, memfs.Write, memfs.Write, memfs.Truncate, memfs.Sync, memfs.Sync, memfs.Rename, memfs.Remove, memfs.SyncDir, memfs.SyncDir, memfs.List}
		op, err := ops[h.rng.IntN(len(ops))], error(syscall.EIO)
		if h.rng.IntN(2) == 0 {
			err = syscall.ENOSPC
		}
		n := 1 + h.rng.IntN(6)
		f.Fail(op, n, err)
		h.faulty = true
		h.note("call %d of kind %d will fail with %v", n, op, err)
	case k < 11:
		r := h.rig
		r.refuse, r.side, r.refusal = 1+h.rng.IntN(8), []ledger.Step{ledger.Before, ledger.After}[h.rng.IntN(2)], syscall.ENOSPC
		if h.rng.IntN(2) == 0 {
			r.refusal = syscall.EIO
		}
		h.faulty = true
		h.note("transaction %d will fail on side %d with %v", r.refuse, r.side, r.refusal)
	default:
		room := int64(h.rng.IntN(400_000))
		f.Limit(f.Used() + room)
		h.faulty = true
		h.note("the volume has room for %d bytes", room)
	}
}
