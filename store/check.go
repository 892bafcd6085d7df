package store

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/object"
	"kustospool/store/internal/wal"
)

// Checked is a stretch of a file that [Check.Records] has read, or the place of
// records that are in none.
type Checked struct {
	File        string // below the spool's directory; "" where no file claims the records
	Lane        uint32 //
	First, Last uint64 // the records of it
	Waiting     int64  // how many of them were not settled when the check began: damage loses these
	Bytes       int64  // that were read
	Err         error  // why the records cannot be read; nil: they prove themselves
	// Gone counts records that were settled while the check ran, and whose frames went
	// before they were read. First, Last and the rest say nothing then.
	Gone int64
}

// Records is how many records the stretch has.
func (c *Checked) Records() int64 {
	if c.Gone > 0 {
		return 0
	}
	return span{First: c.First, Last: c.Last}.Count()
}

// Check is a check of what was committed when it began. Its two walks read at their own
// pace, hold no lock while they do, and change and count nothing: what they find, Open or the next
// reader of a batch finds as well. They may be taken at the same time.
type Check struct {
	// Stats are the books at that moment. They were proven when the spool was opened.
	Stats Stats

	s       *Store
	lanes   []checkLane
	history iter.Seq2[Entry, error]
}

// History walks the rows of settled batches as they are now. A row that cannot be read is an
// error of its own and does not end the walk.
func (c *Check) History() iter.Seq2[Entry, error] { return c.history }

// checkLane is a lane as it was when a check began.
type checkLane struct {
	*lane
	high  uint64
	waits []span // records that were not settled, ascending
	told  []span // what the walk has told of
}

// Check begins a check. What is settled and given back while it runs is not read, and is told as such.
func (s *Store) Check() *Check {
	c := &Check{s: s, history: s.ledger.History()}
	live := map[uint32][]span{}
	marks := map[uint32]*ledger.Watermarks{}
	c.Stats = s.stats(func(v *ledger.View, rows []*ledger.Lane) {
		for _, row := range rows {
			marks[row.No] = &row.Watermarks
		}
		v.Batches(func(no uint32, entries []*Entry) bool {
			for _, e := range entries {
				live[no] = append(live[no], span{First: e.Batch.First, Last: e.Batch.Last})
			}
			return true
		})
	}, func(_ int, _ int64, l *lane) {
		c.lanes = append(c.lanes, checkLane{lane: l, high: l.high})
	})
	slices.SortFunc(c.lanes, func(a, b checkLane) int { return cmp.Compare(a.no, b.no) })
	for i := range c.lanes {
		l := &c.lanes[i]
		l.waits = waitingOf(live[l.no], marks[l.no], l.high)
	}
	return c
}

// Check is as of [Store.Check].
func (p *Picture) Check() *Check {
	c := p.s.Check()
	c.Stats, c.history = p.Stats(), p.Settled()
	return c
}

// Records reads every frame of records that the log has, and every object that they
// refer to, and proves it by its checksum, file by file. Records that are settled
// are checked as long as their frame is there; that it is gone is no damage.
// Each record is told of once. The error is that of the file system, and ends the walk.
func (c *Check) Records() iter.Seq2[Checked, error] {
	return func(yield func(Checked, error) bool) {
		s, lanes := c.s, slices.Clone(c.lanes)
		s.mu.RLock()
		numbers := slices.Sorted(maps.Keys(s.segments))
		s.mu.RUnlock()
		for _, no := range numbers {
			for i := range lanes {
				in, ok := c.held(no, &lanes[i])
				if !ok {
					continue
				}
				more := true
				err := c.segment(no, &lanes[i], in, func(part Checked) bool {
					more = yield(part, nil)
					return more
				})
				if err != nil {
					yield(Checked{}, err)
					return
				}
				if !more {
					return
				}
			}
		}
		for i := range lanes {
			l := &lanes[i]
			for _, r := range l.untold() {
				more := true
				c.missing(l, "", r, errMissing, func(part Checked) bool {
					more = yield(part, nil)
					return more
				})
				if !more {
					return
				}
			}
		}
	}
}

// held is what a segment had of a lane when the check began; nothing where it is given
// back by now.
func (c *Check) held(no uint64, l *checkLane) (in span, ok bool) {
	c.s.mu.RLock()
	defer c.s.mu.RUnlock()
	if seg := c.s.segments[no]; seg != nil {
		in, ok = seg.lanes[l.no]
	}
	in.Last = min(in.Last, l.high)
	return in, ok && in.First <= in.Last
}

// missing tells of the records that waited among those that have no frame. What was
// settled meanwhile may be gone, and is told without an error.
func (c *Check) missing(l *checkLane, file string, r span, why error, tell func(Checked) bool) bool {
	waited := parts(l.waits, r)
	if len(waited) == 0 {
		return true
	}
	still := c.s.waiting(l.lane)
	for _, w := range waited {
		l.tell(w)
		lost := parts(still, w)
		if n := w.Count() - count(lost); n > 0 && !tell(Checked{Lane: l.no, Gone: n}) {
			return false
		}
		for _, p := range lost {
			if !tell(Checked{File: file, Lane: l.no, First: p.First, Last: p.Last, Waiting: p.Count(), Err: why}) {
				return false
			}
		}
	}
	return true
}

// waitingOf are the records that are in live batches, or behind the watermark.
func waitingOf(live []span, m *ledger.Watermarks, high uint64) []span {
	out := slices.Clone(live)
	if m != nil && m.Sealed < high {
		out = append(out, m.Pieces(span{First: m.Sealed + 1, Last: high})...)
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.First, b.First) })
	return out
}

// waiting are the ranges of a lane's records that are not settled, ascending.
func (s *Store) waiting(l *lane) []span {
	var live []span
	var marks *ledger.Watermarks
	s.ledger.Look(func(v *ledger.View) {
		row, entries := v.Lane(l.no)
		if row != nil {
			marks = &row.Watermarks
		}
		for _, e := range entries {
			live = append(live, span{First: e.Batch.First, Last: e.Batch.Last})
		}
	})
	high, _ := s.end(l.no)
	return waitingOf(live, marks, high)
}

// parts are what r shares with the ranges.
func parts(ranges []span, r span) (out []span) {
	i, _ := slices.BinarySearchFunc(ranges, r.First, func(w span, seq uint64) int { return cmp.Compare(w.Last, seq) })
	for ; i < len(ranges) && ranges[i].First <= r.Last; i++ {
		out = append(out, span{First: max(ranges[i].First, r.First), Last: min(ranges[i].Last, r.Last)})
	}
	return out
}

func count(ranges []span) (n int64) {
	for _, r := range ranges {
		n += r.Count()
	}
	return n
}

// untold are the waiting records of a lane that were not told of: no segment says that it
// has them, or the one that had them is given back by now.
func (l *checkLane) untold() (out []span) {
	slices.SortFunc(l.told, func(a, b span) int { return cmp.Compare(a.First, b.First) })
	for _, w := range l.waits {
		next := w.First
		for _, t := range parts(l.told, w) {
			if t.First > next {
				out = append(out, span{First: next, Last: t.First - 1})
			}
			next = max(next, t.Last+1)
		}
		if next <= w.Last {
			out = append(out, span{First: next, Last: w.Last})
		}
	}
	return out
}

// tell notes that records were told of.
func (l *checkLane) tell(r span) {
	if n := len(l.told); n > 0 && l.told[n-1].Last+1 == r.First {
		l.told[n-1].Last = r.Last
		return
	}
	l.told = append(l.told, r)
}

// segment checks the frames of a lane in one segment.
func (c *Check) segment(no uint64, l *checkLane, in span, tell func(Checked) bool) error {
	file := fmt.Sprintf("%s/%08d%s", segmentsName, no, segmentSuffix)
	next, more := in.First, true
	lost := func(r span, why error) {
		more = more && c.missing(l, file, r, why, tell)
	}
	err := c.s.wal.Scan(no, l.no, in.First, in.Last, func(f *wal.Found) bool {
		if f.Last < next {
			return true // damage moved it here
		}
		if f.First > next {
			lost(span{First: next, Last: f.First - 1}, errMissing)
		}
		r := span{First: max(f.First, next), Last: min(f.Last, in.Last)}
		next = f.Last + 1
		switch part := (Checked{File: file, Lane: l.no, First: r.First, Last: r.Last, Waiting: count(parts(l.waits, r)), Bytes: f.Len, Err: f.Err}); {
		case !more:
		case f.Err != nil && f.Len == 0:
			lost(r, f.Err)
		case f.Err == nil && f.Ref != nil:
			more = c.object(l, f, r, tell)
		default:
			l.tell(r)
			if f.Err == nil {
				part.Err = f.Each(func(uint64, []byte) bool { return true })
			}
			more = tell(part)
		}
		return more
	})
	switch {
	case !more:
		return nil
	case errors.Is(err, wal.ErrNoSegment), errors.Is(err, wal.ErrDamaged), vfs.Missing(err):
		// The file is gone, or is not what its name says.
		if next <= in.Last {
			lost(span{First: next, Last: in.Last}, err)
		}
		return nil
	case err != nil:
		return c.s.translate(err)
	}
	if next <= in.Last {
		lost(span{First: next, Last: in.Last}, errMissing)
	}
	return nil
}

// object reads the object that a frame refers to. One of which all is settled may be
// gone, also by the time it is read.
func (c *Check) object(l *checkLane, f *wal.Found, r span, tell func(Checked) bool) bool {
	s, waits := c.s, l.waits
	ref := object.Ref{ID: object.ID(f.Ref.Object), Size: f.Ref.Size, Records: uint64(f.Ref.Records), Bytes: f.Ref.Bytes, Separator: l.separator}
	file := objectsName + "/" + ref.ID.FileName()
	part := func(from, to uint64, n int64, err error) bool {
		p := span{First: max(from, r.First), Last: min(to, r.Last)}
		if p.First > p.Last {
			return true
		}
		l.tell(p)
		return tell(Checked{File: file, Lane: l.no, First: p.First, Last: p.Last, Waiting: count(parts(waits, p)), Bytes: n, Err: err})
	}
	gone := func() error {
		if _, err := s.fs.Stat(s.objects.FilePath(ref.ID)); vfs.Missing(err) {
			return err
		}
		return nil
	}
	if err := gone(); err != nil {
		return c.missing(l, file, r, err, tell)
	}
	var (
		pos   object.Pos
		buf   []byte
		bytes int64
		sound = uint64(0) // records from here on to n are proven, and not told of
		n     = uint64(0)
	)
	for n < ref.Records {
		var err error
		buf, n, err = s.objects.Read(&ref, n, ref.Records-1, &pos, buf[:0], runBytes)
		bytes += int64(len(buf))
		if err == nil {
			continue
		}
		var damage *object.DamageError
		bad := span{First: n, Last: ref.Records - 1}
		if errors.As(err, &damage) {
			bad = span{First: max(damage.First, sound), Last: damage.Last}
		}
		if why := gone(); why != nil {
			if sound < bad.First && !part(f.First+sound, f.First+bad.First-1, bytes, nil) {
				return false
			}
			rest := span{First: max(f.First+bad.First, r.First), Last: r.Last}
			return rest.First > rest.Last || c.missing(l, file, rest, why, tell)
		}
		if bad.First > sound && !part(f.First+sound, f.First+bad.First-1, bytes, nil) {
			return false
		}
		if !part(f.First+bad.First, f.First+bad.Last, 0, err) {
			return false
		}
		bytes, n = 0, bad.Last+1
		sound = n
	}
	return sound >= n || part(f.First+sound, f.First+n-1, bytes, nil)
}
