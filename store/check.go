package store

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"kustospool/internal/vfs"
	"kustospool/store/internal/object"
	"kustospool/store/internal/wal"
)

// Checked is a stretch of a file that [Picture.Check] has read, or the place of
// records that are in none.
type Checked struct {
	File        string // below the spool's directory; "" where no file claims the records
	Lane        uint32 //
	First, Last uint64 // the records of it
	Waiting     int64  // how many of them are not settled: damage loses these
	Bytes       int64  // that were read
	Err         error  // why the records cannot be read; nil: they prove themselves
}

// Records is how many records the stretch has.
func (c *Checked) Records() int64 { return span{First: c.First, Last: c.Last}.Count() }

// Check reads every frame of records that the log has, and every object that they
// refer to, and proves it by its checksum, file by file. Records that are settled
// are checked as long as their frame is there; that it is gone is no damage.
// Each record is told of once. It changes nothing and counts nothing: what it
// finds, Open or the next reader of a batch finds as well. The error is that of the
// file system, and ends the walk.
//
// The dead letters are not part of it, see [Picture.DeadLetters]; the books were
// proven by [Look].
func (p *Picture) Check() iter.Seq2[Checked, error] {
	return func(yield func(Checked, error) bool) {
		s := p.s
		for _, no := range slices.Sorted(maps.Keys(s.segments)) {
			seg := s.segments[no]
			for _, lane := range slices.Sorted(maps.Keys(seg.lanes)) {
				more := true
				err := s.checkSegment(seg, s.lanes.get(lane), func(c Checked) bool {
					more = yield(c, nil)
					return more
				})
				if err != nil {
					more = yield(Checked{}, err)
					return
				}
				if !more {
					return
				}
			}
		}
		for _, l := range s.lanes.sorted() {
			for _, r := range s.unclaimed(l) {
				if !yield(Checked{Lane: l.no, First: r.First, Last: r.Last, Waiting: r.Count(), Err: errMissing}, nil) {
					return
				}
			}
		}
	}
}

// waiting are the ranges of a lane's records that are not settled, ascending.
func (s *Store) waiting(l *lane) (out []span) {
	for _, e := range s.ledger.LiveOf(l.no) {
		out = append(out, span{First: e.Batch.First, Last: e.Batch.Last})
	}
	high, _ := s.end(l.no)
	if row, ok := s.ledger.Lane(l.no); ok && row.Watermarks.Sealed < high {
		out = append(out, row.Watermarks.Pieces(span{First: row.Watermarks.Sealed + 1, Last: high})...)
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.First, b.First) })
	return out
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

// unclaimed are the waiting records of a lane that no segment says it has.
func (s *Store) unclaimed(l *lane) (out []span) {
	for _, w := range s.waiting(l) {
		next := w.First
		for _, h := range l.segs {
			if h.Last < next || h.First > w.Last {
				continue
			}
			if h.First > next {
				out = append(out, span{First: next, Last: h.First - 1})
			}
			next = h.Last + 1
		}
		if next <= w.Last {
			out = append(out, span{First: next, Last: w.Last})
		}
	}
	return out
}

// checkSegment checks the frames of a lane in one segment.
func (s *Store) checkSegment(seg *segment, l *lane, tell func(Checked) bool) error {
	file := fmt.Sprintf("%s/%08d%s", segmentsName, seg.no, segmentSuffix)
	waits := s.waiting(l)
	in := seg.lanes[l.no]
	next, more := in.First, true
	// lost tells of the waiting records among those that have no frame.
	lost := func(r span, why error) {
		for _, w := range parts(waits, r) {
			more = more && tell(Checked{File: file, Lane: l.no, First: w.First, Last: w.Last, Waiting: w.Count(), Err: why})
		}
	}
	err := s.wal.Scan(seg.no, l.no, in.First, in.Last, func(f *wal.Found) bool {
		if f.Last < next {
			return true // damage moved it here
		}
		if f.First > next {
			lost(span{First: next, Last: f.First - 1}, errMissing)
		}
		r := span{First: max(f.First, next), Last: min(f.Last, in.Last)}
		next = f.Last + 1
		switch c := (Checked{File: file, Lane: l.no, First: r.First, Last: r.Last, Waiting: count(parts(waits, r)), Bytes: f.Len, Err: f.Err}); {
		case !more:
		case f.Err != nil && f.Len == 0:
			lost(r, f.Err)
		case f.Err == nil && f.Ref != nil:
			more = s.checkObject(l, f, r, waits, tell)
		default:
			if f.Err == nil {
				c.Err = f.Each(func(uint64, []byte) bool { return true })
			}
			more = tell(c)
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
		return s.translate(err)
	}
	if next <= in.Last {
		lost(span{First: next, Last: in.Last}, errMissing)
	}
	return nil
}

// checkObject reads the object that a frame refers to. One of which all is
// settled may be gone.
func (s *Store) checkObject(l *lane, f *wal.Found, r span, waits []span, tell func(Checked) bool) bool {
	ref := object.Ref{ID: object.ID(f.Ref.Object), Size: f.Ref.Size, Records: uint64(f.Ref.Records), Bytes: f.Ref.Bytes, Separator: l.separator}
	file := objectsName + "/" + ref.ID.FileName()
	part := func(from, to uint64, n int64, err error) bool {
		p := span{First: max(from, r.First), Last: min(to, r.Last)}
		return p.First > p.Last || tell(Checked{File: file, Lane: l.no, First: p.First, Last: p.Last, Waiting: count(parts(waits, p)), Bytes: n, Err: err})
	}
	if _, err := s.fs.Stat(s.objects.FilePath(ref.ID)); vfs.Missing(err) && count(parts(waits, r)) == 0 {
		return true
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
