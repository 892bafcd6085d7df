package wal

import (
	"context"
	"fmt"
)

const (
	// groupBytes and groupRecords bound what one group takes, unless a single
	// call is larger.
	groupBytes   = 8 << 20
	groupRecords = 1 << 30

	// How the committer gathers: all that came to the last group and those that
	// wait by now, when that is at most gatherAll; else up to gatherSome. It
	// gives up after gatherIdle turns without anybody coming. With many producers
	// half of them run while the disk works for the others.
	gatherAll  = 160
	gatherSome = 64
	gatherIdle = 8
)

// Append stores all of the records and positions or nothing, in one commit, and
// answers in out, which must be as long as recs. The data is copied before the
// call waits. ctx counts until then: a call whose records were taken waits for
// its outcome.
//
// Errors: ErrInvalid, ErrNoLane, ErrNoSpace, ErrUnknown, ErrFailed, ErrClosed, the
// Gate's, and ctx's.
func (l *Log) Append(ctx context.Context, recs []Record, pos []Position, out []Appended) error {
	if len(out) != len(recs) {
		return fmt.Errorf("%w: %d answers for %d records", ErrInvalid, len(out), len(recs))
	}
	size, records, err := measure(recs, pos)
	if err != nil {
		return err
	}
	l.mu.Lock()
	g, err := l.admit(ctx, recs, pos, size, records, out)
	if err != nil || g == nil {
		l.mu.Unlock()
		return err
	}
	l.take(g, recs, pos, out)
	return l.joined(g)
}

// RestatePositions stores once more what positions there are, before segments go
// that have them: all those that commits up to through made and that count,
// with the numbers of their commits. When the ledger is lost, nothing else that
// those commits said of positions counts. It takes room without asking the Gate.
//
// Errors: those of Append.
func (l *Log) RestatePositions(ctx context.Context, through uint64, all []Position) error {
	return l.Append(ctx, nil, append([]Position{{Commit: through}}, all...), nil)
}

// AppendOne is Append for one record, without the slices.
func (l *Log) AppendOne(ctx context.Context, r Record) (Appended, error) {
	var recs [1]Record
	var out [1]Appended
	recs[0] = r
	if err := l.Append(ctx, recs[:], nil, out[:]); err != nil {
		return Appended{}, err
	}
	return out[0], nil
}

// take copies a call into the group.
func (l *Log) take(g *group, recs []Record, pos []Position, out []Appended) {
	g.calls++
	for i := range recs {
		r := &recs[i]
		if out[i].Duplicate {
			continue
		}
		if r.HasKey {
			if seq, ok := l.underWay(g, r); ok {
				out[i] = Appended{Seq: seq, Duplicate: true}
				continue
			}
		}
		ln := l.lanes[r.Lane]
		if r.Ref != nil {
			out[i].Seq = l.putRef(g, ln, r.Ref)
		} else {
			out[i].Seq = l.put(g, ln, r.Data)
		}
		if r.HasKey {
			if g.keyed == nil {
				g.keyed = map[laneKey]uint64{}
			}
			g.keyed[laneKey{r.Lane, r.Key}] = out[i].Seq
			g.keys = append(g.keys, KeyAt{Hash: r.Key, Lane: r.Lane, Seq: out[i].Seq})
		}
	}
	for i := range pos {
		p := Position{Name: pos[i].Name, Commit: pos[i].Commit}
		if pos[i].Value != nil {
			p.Value = append([]byte{}, pos[i].Value...)
		}
		g.pos = append(g.pos, p)
	}
}

// underWay finds a key in the commits that Committed was not called with yet.
func (l *Log) underWay(g *group, r *Record) (uint64, bool) {
	if l.opts.bugs.forgetDuplicate {
		return 0, false
	}
	k := laneKey{r.Lane, r.Key}
	if seq, ok := g.keyed[k]; ok {
		return seq, true
	}
	if l.flight != nil {
		seq, ok := l.flight.keyed[k]
		return seq, ok
	}
	return 0, false
}

// joined waits for the outcome of a group that the caller is in. A lone caller,
// when nobody commits and nobody else was in the last group, commits by itself: two
// hand-overs fewer. It unlocks mu.
func (l *Log) joined(g *group) error {
	if !l.busy && l.last <= 1 && l.opts.CommitInterval == 0 {
		l.busy, l.lone = true, true
		l.takeOpen()
		l.mu.Unlock()
		l.commit(g)
		err := g.err
		l.mu.Lock()
		l.lone = false
		l.done(g)
		l.release()
		l.mu.Unlock()
		return err
	}
	if g.outcome == nil {
		g.outcome = &outcome{done: make(chan struct{})}
	}
	first := !l.busy
	l.busy = true
	o := g.outcome
	full := g.size >= groupBytes
	l.mu.Unlock()
	if first || full && l.opts.CommitInterval > 0 {
		l.signal()
	}
	<-o.done
	return o.err
}

func (l *Log) signal() { l.wake.Raise() }

// takeOpen closes the open group. The caller holds mu.
func (l *Log) takeOpen() {
	g := l.open
	l.flight = g
	l.last = g.calls
	for _, b := range g.frames {
		b.lane.build = nil
	}
	l.open = l.newGroup()
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

func (l *Log) newGroup() *group {
	if n := len(l.idle); n > 0 {
		g := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return g
	}
	return new(group)
}

// Buffers of frames that are kept for reuse.
const (
	keptBuilds     = 4096
	keptBuildBytes = 4 << 20
)

// done answers those who wait for a group, and keeps its buffers. The caller
// holds mu.
func (l *Log) done(g *group) {
	if l.flight == g {
		l.flight = nil
	}
	for _, b := range g.frames {
		if len(l.builds) < keptBuilds && l.buildBytes+cap(b.buf) <= keptBuildBytes {
			l.buildBytes += cap(b.buf)
			l.builds = append(l.builds, b)
		}
	}
	if g.outcome != nil {
		g.outcome.err = g.err
		close(g.outcome.done)
	}
	g.reset()
	l.idle = append(l.idle, g)
}

// release lets the next one commit. The caller holds mu and is the one who
// was busy.
func (l *Log) release() {
	switch {
	case l.open.calls > 0:
		l.signal()
	default:
		l.busy = false
		if l.drained != nil {
			close(l.drained)
			l.drained = nil
		}
	}
}
