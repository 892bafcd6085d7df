package ledger

import (
	"bytes"
	"fmt"
	"slices"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// PutSegment adds the row of a rotated segment, or replaces it. ErrNotFound
// for records of an unknown lane; ErrConflict while a tombstone of the number
// stands, whose file is another one.
func (tx *Tx) PutSegment(s Segment) error {
	if s.No == 0 || s.Size < 0 || s.End < 0 || s.Index < 0 {
		return &ingest.FieldError{Field: "segment", Value: fmt.Sprint(s.No), Rule: "must have a number and no negative sizes"}
	}
	for lane, r := range s.Lanes {
		if tx.lanes.get(lane) == nil {
			return noLane(lane)
		}
		if r.First == 0 || r.Last < r.First {
			return &ingest.FieldError{Field: "segment", Value: fmt.Sprint(s.No), Rule: fmt.Sprintf("must not have %d..%d of lane %d", r.First, r.Last, lane)}
		}
	}
	if tx.tombs.get(s.No) != nil {
		return fmt.Errorf("%w: segment %d is settled", ErrConflict, s.No)
	}
	tx.segments.over[s.No] = &s
	tx.state.HighestNo = max(tx.state.HighestNo, s.No)
	tx.put(bktSegments, u64(s.No), encodeSegment(&s))
	return nil
}

// SettleSegment replaces a segment's row by a tombstone, after which its file
// may go. ErrConflict while it holds records that are open or in a live batch,
// or keys or positions that are not in the ledger; ErrNotFound for no row.
func (tx *Tx) SettleSegment(no uint64) error {
	s := tx.segments.get(no)
	if s == nil {
		return fmt.Errorf("%w: no row of segment %d", ErrNotFound, no)
	}
	if s.Keys || s.Positions {
		return fmt.Errorf("%w: segment %d has keys or positions that the ledger lacks", ErrConflict, no)
	}
	for lane, r := range s.Lanes {
		if n := tx.unsettled(lane, r); n > 0 {
			return fmt.Errorf("%w: segment %d has %d records of lane %d that are not settled", ErrConflict, no, n, lane)
		}
	}
	crashpoint.Reach("segment.settle")
	tx.segments.over[no] = nil
	tx.tombs.over[no] = &Tombstone{No: no, Generation: s.Generation}
	tx.del(bktSegments, u64(no))
	tx.put(bktTombstones, u64(no), encodeTombstone(Tombstone{No: no, Generation: s.Generation}))
	return nil
}

// unsettled counts the numbers of a range that are in a live batch, or behind
// what is sealed and no gap.
func (tx *Tx) unsettled(lane uint32, r Span) int64 {
	l := tx.lanes.get(lane)
	if l == nil {
		return r.Count()
	}
	n := overlapping(tx.l.mirror.live[lane], r, func(e *Entry) bool {
		_, changed := tx.entries.over[e.Batch.ID]
		return changed
	})
	for _, e := range tx.entries.over {
		if e != nil && e.Batch.Lane == lane {
			n += r.Overlap(Span{e.Batch.First, e.Batch.Last})
		}
	}
	if first := max(r.First, l.Watermarks.Sealed+1); first <= r.Last {
		n += l.Watermarks.Records(Span{first, r.Last})
	}
	return n
}

// ForgetSegment removes a tombstone, once the file is gone, or has become
// another segment, durably. ErrNotFound when there is none.
func (tx *Tx) ForgetSegment(no uint64) error {
	if tx.tombs.get(no) == nil {
		return fmt.Errorf("%w: segment %d has no tombstone", ErrNotFound, no)
	}
	tx.tombs.over[no] = nil
	tx.del(bktTombstones, u64(no))
	return nil
}

// PutObject adds an object's row, or replaces it. ErrNotFound for an unknown lane.
func (tx *Tx) PutObject(o Object) error {
	if tx.lanes.get(o.Lane) == nil {
		return noLane(o.Lane)
	}
	if o.First == 0 || o.Last < o.First || o.Size < 0 {
		return &ingest.FieldError{Field: "object", Value: fmt.Sprintf("%x", o.ID), Rule: "must have records and no negative size"}
	}
	tx.objects.over[o.ID] = &o
	tx.put(bktObjects, o.ID[:], encodeObject(&o))
	return nil
}

// DeleteObject removes an object's row, once its file is gone. ErrConflict
// while its records are not settled, ErrNotFound when there is no row.
func (tx *Tx) DeleteObject(id ObjectID) error {
	o := tx.objects.get(id)
	if o == nil {
		return fmt.Errorf("%w: no row of object %x", ErrNotFound, id)
	}
	if n := tx.unsettled(o.Lane, Span{o.First, o.Last}); n > 0 {
		return fmt.Errorf("%w: object %x has %d records that are not settled", ErrConflict, id, n)
	}
	tx.objects.over[id] = nil
	tx.del(bktObjects, id[:])
	return nil
}

// Segments lists the rows of rotated segments by number.
func (l *Ledger) Segments() []Segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return sorted(l.mirror.segments)
}

// Tombstones lists the settled segments whose files may still be there, by number.
func (l *Ledger) Tombstones() []Tombstone {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return sorted(l.mirror.tombs)
}

// Objects lists the rows of objects by ID.
func (l *Ledger) Objects() []Object {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return sortedObjects(l.mirror.objects)
}

func sortedObjects(rows map[ObjectID]*Object) []Object {
	out := make([]Object, 0, len(rows))
	for _, o := range rows {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b Object) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}
