package wal

import (
	"context"
	"fmt"
)

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
