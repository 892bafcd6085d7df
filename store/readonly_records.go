package store

import (
	"errors"
	"iter"
	"time"

	"kustospool/ingest"
	"kustospool/store/internal/object"
)

// Waiting is a record that is not settled, as [Store.Waiting] shows it.
type Waiting struct {
	Seq  uint64
	Last uint64 // of the records that Err is about; Seq itself otherwise
	At   time.Time
	// Data is the record without a separator, valid until the next one. Of a record of more
	// than 1 MiB it is a beginning, and Cut is true.
	Data []byte
	Cut  bool
	Err  error // a [CorruptionError]: Seq..Last cannot be read
}

// Waiting walks the records of a lane that are not settled, in order, from one
// number on. Damage is told in its place, and the walk goes on behind it. The
// error is that of the file system, and ends the walk. What is settled meanwhile is
// left out or not; a caller that stops in the walk keeps a file of the log from
// being given back, and nothing else.
func (s *Store) Waiting(lane uint32, from uint64) iter.Seq2[Waiting, error] {
	return func(yield func(Waiting, error) bool) {
		tell := func(w Waiting) bool { return w.Err != nil && s.settledBy(lane, &w) || yield(w, nil) }
		l := s.lanes.get(lane)
		if l == nil {
			yield(Waiting{}, ErrNotFound)
			return
		}
		for _, r := range s.waiting(l) {
			if r.Last < from {
				continue
			}
			r.First = max(r.First, from)
			more := true
			var failed error
			err := s.eachFrame(l, r.First, r.Last, func(f *found) bool {
				more, failed = s.peekFrame(l, f, r, tell)
				return more
			})
			if err = errors.Join(err, failed); err != nil {
				yield(Waiting{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// settledBy narrows what cannot be read to what still waits, and reports whether
// nothing of it does: its files may be gone because it is settled.
func (s *Store) settledBy(lane uint32, w *Waiting) bool {
	l := s.lanes.get(lane)
	still := parts(s.waiting(l), span{First: w.Seq, Last: w.Last})
	if len(still) == 0 {
		return true
	}
	w.Seq, w.Last = still[0].First, still[len(still)-1].Last
	return false
}

// Waiting is as of [Store.Waiting].
func (p *Picture) Waiting(lane uint32, from uint64) iter.Seq2[Waiting, error] {
	return p.s.Waiting(lane, from)
}

// peekFrame tells of the records of a frame that are in r.
func (s *Store) peekFrame(l *lane, f *found, r span, tell func(Waiting) bool) (more bool, failed error) {
	if f.err != nil {
		return tell(Waiting{Seq: max(f.First, r.First), Last: min(f.Last, r.Last), Err: f.err}), nil
	}
	at := time.Unix(0, f.frame.At).UTC()
	if o := f.object(l); o != nil {
		return s.peekObject(l, o, r, at, tell)
	}
	more = true
	err := f.frame.Each(func(seq uint64, data []byte) bool {
		if seq >= r.First && seq <= r.Last {
			more = tell(Waiting{Seq: seq, Last: seq, At: at, Data: data})
		}
		return more && seq < r.Last
	})
	if more && err != nil {
		return tell(Waiting{Seq: max(f.First, r.First), Last: min(f.Last, r.Last),
			Err: &CorruptionError{Segment: f.segment, Lane: l.no, First: f.First, Last: f.Last, Err: err}}), nil
	}
	return more, nil
}

// peekObject tells of the records of an object that are in r, of a long one the
// beginning.
func (s *Store) peekObject(l *lane, o *objectAt, r span, at time.Time, tell func(Waiting) bool) (more bool, err error) {
	more = true
	last := min(o.last, r.Last)
	for next := max(o.first, r.First); more && next <= last; {
		err := s.objects.Each(&o.ref, next-o.first, last-o.first, runBytes, func(n uint64, data []byte, cut bool) bool {
			seq := o.first + n
			next = seq + 1
			more = tell(Waiting{Seq: seq, Last: seq, At: at, Data: data, Cut: cut})
			return more
		})
		var damage *object.DamageError
		switch {
		case err == nil:
			return more, nil
		case !errors.As(err, &damage):
			return false, err
		}
		to := min(o.first+damage.Last, last)
		more = tell(Waiting{Seq: next, Last: to,
			Err: &CorruptionError{Segment: o.segment, Lane: l.no, First: next, Last: to, Err: err}})
		next = to + 1
	}
	return more, nil
}

// Find tells the fate of a record that is not settled, as [Store.Find] does:
// the live batch that it is in, or an Entry of state Open. ErrNotFound for any other;
// of settled ones see History.
func (p *Picture) Find(lane uint32, seq uint64) (Entry, error) {
	l := p.s.lanes.get(lane)
	if l == nil {
		return Entry{}, ErrNotFound
	}
	if e, ok := p.s.ledger.EntryAt(lane, seq); ok {
		return e, nil
	}
	if high, _ := p.s.end(lane); seq == 0 || seq > high {
		return Entry{}, ErrNotFound
	}
	row, _ := p.s.ledger.Lane(lane)
	if _, gap := row.Watermarks.GapAt(seq); gap || seq <= row.Watermarks.Sealed {
		return Entry{}, ErrNotFound
	}
	return Entry{Batch: ingest.Batch{Lane: lane, Properties: l.props}, State: ingest.Open}, nil
}

// Settled walks the rows of settled batches, by lane and first record. A row that
// cannot be read is an error of its own and does not end the walk; a page that
// cannot does.
func (p *Picture) Settled() iter.Seq2[Entry, error] { return p.s.ledger.LookHistory() }

// LaneMarks says where a lane stands: records up to sealed are in a batch or were,
// and those behind it, up to end, are in none. Both are 0 for a lane without records.
func (s *Store) LaneMarks(lane uint32) (sealed, end uint64) {
	if row, ok := s.ledger.Lane(lane); ok {
		sealed = row.Watermarks.Sealed
	}
	end, _ = s.end(lane)
	return sealed, max(sealed, end)
}

// LaneMarks is as of [Store.LaneMarks].
func (p *Picture) LaneMarks(lane uint32) (sealed, end uint64) { return p.s.LaneMarks(lane) }
