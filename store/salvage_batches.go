package store

import (
	"cmp"
	"slices"

	"kustospool/ingest"
	"kustospool/store/internal/wal"
)

// What the live batches say of a salvage.

// divide tells the lost records of batches of which an attempt may have arrived from the
// others.
func (v *salvager) divide() {
	for no, lost := range v.lost {
		var doubt []span
		for _, e := range v.s.ledger.LiveOf(no) {
			if e.Unresolved > 0 || e.State != ingest.Sealed && (e.State != ingest.Sending || e.Committed) {
				for _, r := range lost {
					doubt = append(doubt, parts([]span{{First: e.Batch.First, Last: e.Batch.Last}}, r)...)
				}
			}
		}
		v.doubt[no] = append(v.doubt[no], doubt...)
		slices.SortFunc(doubt, func(a, b span) int { return cmp.Compare(a.First, b.First) })
		v.sure[no] = without(lost, doubt)
	}
}

// without are the records of some ranges that are not in others, which ascend.
func without(some, others []span) (out []span) {
	for _, r := range some {
		next := r.First
		for _, o := range parts(others, r) {
			if o.First > next {
				out = append(out, span{First: next, Last: o.First - 1})
			}
			next = o.Last + 1
		}
		if next <= r.Last {
			out = append(out, span{First: next, Last: r.Last})
		}
	}
	return out
}

// fits reports whether batches can have the records of a file back. One that was sealed
// after they were lost was sealed with the size of the others: it would break when it is read.
func (v *salvager) fits(log *wal.Log, infos []wal.SegmentInfo) (fits bool, err error) {
	s := v.s
	for no, lost := range v.lost {
		l := s.lanes.get(no)
		for _, e := range s.ledger.LiveOf(no) {
			b := span{First: e.Batch.First, Last: e.Batch.Last}
			if !slices.ContainsFunc(lost, func(r span) bool { return b.Overlap(r) > 0 }) {
				continue
			}
			there, back := int64(0), int64(0)
			if err := s.eachFrame(l, b.First, b.Last, func(f *found) bool {
				there += s.partOf(l, f, b.First, b.Last).Bytes
				return true
			}); err != nil {
				return false, err
			}
			for _, info := range infos {
				if err := log.Scan(info.No, no, b.First, b.Last, func(w *wal.Found) bool {
					if w.Err == nil {
						back += s.partOf(l, &found{span: span{First: w.First, Last: w.Last}, frame: w}, b.First, b.Last).Bytes
					}
					return true
				}); err != nil {
					return false, err
				}
			}
			if back > 0 && there+back > e.Batch.RawBytes {
				return false, nil
			}
		}
	}
	return true, nil
}
