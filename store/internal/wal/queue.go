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

// measure checks what can be checked without the lock. The size is what the
// records take in a commit at most, but for the headers of frames.
func measure(recs []Record, pos []Position) (size, records int64, err error) {
	for i := range recs {
		r := &recs[i]
		if r.Ref != nil {
			if r.Ref.Records == 0 || r.Ref.Records > maxRefRecords || r.Ref.Bytes < 0 || r.Ref.Size < 0 {
				return 0, 0, fmt.Errorf("%w: record %d: an object of %d records and %d bytes", ErrInvalid, i, r.Ref.Records, r.Ref.Bytes)
			}
			size += frameHeaderLen + refLen
			records += int64(r.Ref.Records)
		} else {
			if len(r.Data) == 0 || len(r.Data) > MaxRecordBytes {
				return 0, 0, fmt.Errorf("%w: record %d has %d bytes, must have 1 to %d", ErrInvalid, i, len(r.Data), MaxRecordBytes)
			}
			size += int64(len(r.Data)) + 5
			records++
		}
		if r.HasKey {
			size += keyLen
		}
		if i == 0 || recs[i-1].Lane != r.Lane {
			size += frameHeaderLen
		}
	}
	for i := range pos {
		p := &pos[i]
		if len(p.Name) == 0 && p.Commit == 0 || len(p.Name) > MaxNameBytes || len(p.Value) > MaxPositionBytes {
			return 0, 0, fmt.Errorf("%w: position with a name of %d bytes and a value of %d, at most %d and %d", ErrInvalid, len(p.Name), len(p.Value), MaxNameBytes, MaxPositionBytes)
		}
		size += int64(len(p.Name)+len(p.Value)) + 16
	}
	size += size/(DefaultFrameBytes/4)*frameHeaderLen + commitHeaderLen
	if size > MaxCallBytes || records > groupRecords {
		return 0, 0, fmt.Errorf("%w: a call of %d bytes and %d records, at most %d and %d", ErrInvalid, size, records, MaxCallBytes, groupRecords)
	}
	return size, records, nil
}

// admit decides whether a call may be taken, waits for a group that has room
// for it, and finds what is stored already. It returns nil when there is
// nothing to store. The caller holds mu, and does so again afterwards.
func (l *Log) admit(ctx context.Context, recs []Record, pos []Position, size, records int64, out []Appended) (*group, error) {
	for {
		if l.err != nil {
			return nil, l.err
		}
		if l.gate != nil {
			if err := l.gate.Alive(); err != nil {
				return nil, err
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g := l.open
		if g.calls == 0 || g.size+size <= groupBytes && g.records+records <= groupRecords {
			return l.check(g, recs, pos, size, records, out)
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		l.mu.Lock()
	}
}

func (l *Log) check(g *group, recs []Record, pos []Position, size, records int64, out []Appended) (*group, error) {
	old := 0
	if err := l.bounded(recs, pos); err != nil {
		return nil, err
	}
	for i := range recs {
		r := &recs[i]
		out[i] = Appended{}
		ln := l.lanes[r.Lane]
		if ln == nil {
			return nil, fmt.Errorf("%w %d", ErrNoLane, r.Lane)
		}
		if ln.next > MaxSeq-2*groupRecords || ln.bytes > maxLaneBytes-1<<50 {
			return nil, fmt.Errorf("%w in lane %d", ErrExhausted, r.Lane)
		}
		if ln.build == nil && (i == 0 || recs[i-1].Lane != r.Lane) {
			size += int64(len(ln.key)) + 32 // its definition
		}
		if r.HasKey && l.gate != nil {
			seq, ok, err := l.gate.Key(r.Lane, r.Key)
			if err != nil {
				return nil, err
			}
			if ok {
				out[i] = Appended{Seq: seq, Duplicate: true}
				old++
			}
		}
	}
	if old > 0 && old == len(recs) && len(pos) == 0 {
		return nil, nil
	}
	if len(pos) > 0 && pos[0].Commit > 0 {
		g.bare = g.bare || g.promised == 0 // positions that are kept ask nobody for room
	} else if err := l.promise(g, size); err != nil {
		return nil, err
	}
	g.size += size
	g.records += records
	return g, nil
}

// bounded refuses a call whose commit no reader would take. One that joins others is
// far below the bounds, as its group is.
func (l *Log) bounded(recs []Record, pos []Position) error {
	const most = 1 << 18
	if len(recs) <= most && len(pos) <= 1<<10 {
		return nil
	}
	extras, frames := int64(0), int64(0)
	var size, count int64
	for i := range recs {
		r := &recs[i]
		ln := l.lanes[r.Lane]
		if ln == nil {
			continue // which is told next
		}
		n := int64(len(r.Data)) + 5
		if i == 0 || recs[i-1].Lane != r.Lane || r.Ref != nil || size+n > ln.limit.Bytes || count >= ln.limit.Records {
			if i == 0 || recs[i-1].Lane != r.Lane {
				extras += int64(len(ln.key)) + 32
			}
			frames, size, count = frames+1, 0, 0
		}
		size, count = size+n, count+1
		if r.HasKey {
			extras += keyLen
		}
	}
	for i := range pos {
		extras += int64(len(pos[i].Name)+len(pos[i].Value)) + 8
	}
	if extras > maxExtras/2 || frames > maxCommitFrames/2 {
		return fmt.Errorf("%w: a call of %d frames, and %d bytes of keys, positions and lanes, at most %d and %d", ErrInvalid, frames, extras, maxCommitFrames/2, maxExtras/2)
	}
	return nil
}

// zeroStep is how far ahead a commit on fresh space writes zeros.
const zeroStep = 256 << 10

// promise asks the gate for the growth that a commit may cost, when the group
// has not been promised it yet.
func (l *Log) promise(g *group, size int64) error {
	if l.gate == nil {
		return nil
	}
	var before int64
	end := l.end
	if l.flight != nil {
		before = l.flight.promised
		end += l.flight.size
	}
	size += g.size
	grow := end + size - l.size
	if end+size+l.index > l.opts.SegmentBytes {
		// Even where the next file is large enough already it is asked for: it
		// was made ahead, without asking.
		if grow = headBytes + size - l.files.nextSize(); grow <= 0 && g.promised == 0 {
			return l.gate.Room(0)
		}
	}
	if grow <= g.promised {
		return nil
	}
	ahead := (grow + zeroStep - 1) / zeroStep * zeroStep
	if !g.bare && size <= zeroStep && l.gate.Room(before+ahead) == nil {
		g.promised = ahead
		return nil
	}
	if err := l.gate.Room(before + grow); err != nil {
		return err
	}
	g.bare, g.promised = true, grow
	return nil
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
