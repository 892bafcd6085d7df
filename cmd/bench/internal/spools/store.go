package spools

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"kustospool/cmd/bench/internal/load"
	"kustospool/store"
)

// StoreOptions of [OpenStore].
type StoreOptions struct {
	Space Space
	Lanes int // from 1; records go to them in turn
	// Store's MaxBytes and Committed are set by OpenStore.
	Store store.Options
}

// Store is the store alone. Put may be called from many goroutines.
type Store struct {
	store *store.Store
	lanes []uint32
	next  atomic.Uint64
	taker *taker // nil on fresh space
}

// OpenStore opens a store in dir, which is empty.
func OpenStore(ctx context.Context, dir string, o StoreOptions) (_ *Store, err error) {
	if o.Lanes < 1 {
		return nil, fmt.Errorf("spools: %d lanes, want at least 1", o.Lanes)
	}
	s := &Store{}
	o.Store.MaxBytes = Quota
	if o.Space == Recycled {
		s.taker = newTaker()
		o.Store.Committed = s.taker.committed
	}
	if s.store, err = store.Open(dir, &o.Store); err != nil {
		return nil, err
	}
	if s.taker != nil {
		s.taker.start(s.store)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	first := make([]store.Record, o.Lanes)
	for i := range first {
		props := Properties(i)
		lane, err := s.store.Lane(ctx, &props, store.FrameLimit{})
		if err != nil {
			return nil, err
		}
		s.lanes = append(s.lanes, lane)
		first[i] = store.Record{Lane: lane, Data: []byte("{}")}
	}
	if _, err := s.store.Append(ctx, first); err != nil {
		return nil, err
	}
	if s.taker == nil {
		return s, nil
	}
	return s, s.recycle(ctx, dir)
}

// recycle fills segments and has each taken before the next is filled.
func (s *Store) recycle(ctx context.Context, dir string) error {
	recs := make([]store.Record, fillCall/fillRecord)
	for i, data := range load.Records(len(recs), fillRecord, 2) {
		recs[i].Data = data
	}
	lane := 0
	for range rounds {
		for filled := 0; filled < takeBytes; filled += fillCall {
			for i := range recs {
				recs[i].Lane = s.lanes[lane%len(s.lanes)]
				lane++
			}
			if _, err := s.store.Append(ctx, recs); err != nil {
				return err
			}
		}
		if err := s.taker.take(ctx); err != nil {
			return err
		}
	}
	return quiet(ctx, dir, func() int64 { return s.store.Stats().DiskBytes })
}

// Put stores one record.
func (s *Store) Put(ctx context.Context, data []byte) error {
	_, err := s.store.AppendOne(ctx, s.lanes[s.next.Add(1)%uint64(len(s.lanes))], data, "")
	return err
}

// Stats are the store's books.
func (s *Store) Stats() store.Stats { return s.store.Stats() }

// Close joins the taker and closes the store. The error is also that of a
// batch that could not be taken.
func (s *Store) Close() error {
	var taking error
	if s.taker != nil {
		taking = s.taker.stop()
	}
	return errors.Join(taking, s.store.Close())
}
