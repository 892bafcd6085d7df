package store

import "kustospool/store/internal/wal"

// What is here lets the tests outside of the package do the upkeep themselves,
// so that what is on the disk depends on their calls alone.

// Manual makes a store leave its upkeep to Upkeep.
func Manual(o *Options) *Options {
	o.manual = true
	o.tune = func(w *wal.Options) { w.Inline(nil) }
	return o
}

// Upkeep does what there is to do.
func Upkeep(s *Store) { s.upkeep(1000) }

// CompactAll writes each rotated segment again that is worth it, and says how
// many were.
func CompactAll(s *Store) (n int, err error) {
	s.mu.RLock()
	var segs []*segment
	for _, seg := range s.segments {
		if seg.rotated && seg.listed && !seg.leaving && !seg.lost && seg.live > 0 {
			segs = append(segs, seg)
		}
	}
	s.mu.RUnlock()
	for _, seg := range segs {
		before := seg.info.Generation
		if err := s.compact(seg); err != nil {
			return n, err
		}
		if seg.info.Generation != before {
			n++
		}
	}
	return n, nil
}
