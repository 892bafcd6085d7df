package store

import (
	"errors"
	"slices"

	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
)

// reclaim gives segments back in which every record is settled. The ledger's
// tombstone is durable before the file changes, so that what a crash leaves of
// it is known for what it is, and goes when that cannot happen any more.
func (s *Store) reclaim(segs []*segment) error {
	if err := s.restatePositions(segs); err != nil {
		return err
	}
	err := s.ledger.Do(background, func(tx *ledger.Tx) error {
		st := tx.State()
		for _, seg := range segs {
			if s.opts.bugs.skipTombstone {
				continue
			}
			if err := tx.SettleSegment(seg.no); err != nil {
				return err
			}
			// The numbers of commits go on from here, whatever is left of the
			// log; and nobody misses the segment that was active at the start.
			st.Active.LastCommit = max(st.Active.LastCommit, seg.info.LastCommit)
			if st.Active.No == seg.no {
				st.Active = ledger.Active{LastCommit: st.Active.LastCommit}
			}
		}
		tx.SetState(st)
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Reach("unlink.forgotten")
	s.mu.Lock()
	for _, seg := range segs {
		seg.leaving = true
		s.forgetLocked(seg)
	}
	s.mu.Unlock()
	// A tombstone whose file could not be given back is the next Open's.
	var gone []uint64
	var errs []error
	for _, seg := range segs {
		if seg.lost {
			s.wal.Forget(seg.no)
		} else if err := s.wal.Recycle(seg.no); err != nil {
			errs = append(errs, s.translate(err))
			continue
		}
		gone = append(gone, seg.no)
		crashpoint.Reach("unlink.removed")
	}
	s.disk.reclaimed()
	errs = append(errs, s.ledger.Do(background, func(tx *ledger.Tx) error {
		for _, no := range gone {
			if err := tx.ForgetSegment(no); err != nil {
				return err
			}
		}
		return nil
	}))
	return errors.Join(errs...)
}

// dropObjects gives settled objects back: first the ledger forgets them, then
// their files go. A damaged one goes to the quarantine. A file that cannot be
// removed is in nobody's books any more, and the next Open's.
func (s *Store) dropObjects(spent []*liveObject) error {
	s.mu.RLock()
	var rows []ledger.ObjectID
	for _, o := range spent {
		if o.saved {
			rows = append(rows, ledger.ObjectID(o.id))
		}
	}
	s.mu.RUnlock()
	err := s.ledger.Do(background, func(tx *ledger.Tx) error {
		for _, id := range rows {
			if err := tx.DeleteObject(id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.spent = slices.Clone(s.spent[len(spent):])
	s.mu.Unlock()
	crashpoint.Reach("object.forgotten")
	var errs []error
	for _, o := range spent {
		s.mu.RLock()
		damaged := o.damaged
		s.mu.RUnlock()
		if !damaged {
			errs = append(errs, s.objects.Remove(o.id))
			continue
		}
		if err := s.quarantine(s.objects.FilePath(o.id)); err != nil && !vfs.Missing(err) {
			errs = append(errs, err)
		}
	}
	s.disk.reclaimed()
	return errors.Join(append(errs, s.objects.Sync())...)
}
