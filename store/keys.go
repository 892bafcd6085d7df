package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// A key is stored as the first 16 bytes of the SHA-256 of spool, lane and
// key, so that keys of any length cost the same and the caller's text is not
// on disk.
func hashKey(spool ingest.SpoolID, lane uint32, key string) wal.KeyHash {
	in := make([]byte, 0, 64)
	in = append(in, spool[:]...)
	in = binary.BigEndian.AppendUint32(in, lane)
	in = append(in, key...)
	sum := sha256.Sum256(in)
	return wal.KeyHash(sum[:])
}

const (
	// keysAtOnce are how many keys one transaction moves to the ledger; the
	// maintenance begins when there are so many.
	keysAtOnce = 4096
	// maxFreshKeys bounds the keys in memory: beyond it calls with a key wait
	// for the ledger. They take about 100 bytes each.
	maxFreshKeys = 1 << 16
)

// freshKeys are the keys of durable records that the ledger does not have yet.
// The log has them; after a crash Open finds them there.
type freshKeys struct {
	mu    sync.Mutex // guards all below
	seqs  map[wal.KeyHash]wal.KeyAt
	order []wal.KeyAt   // as they were committed
	less  chan struct{} // closed when some were moved
}

// add takes keys, and reports whether it is time to move some.
func (k *freshKeys) add(keys []wal.KeyAt) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seqs == nil {
		k.seqs = map[wal.KeyHash]wal.KeyAt{}
	}
	for _, key := range keys {
		k.seqs[key.Hash] = key
	}
	before := len(k.order)
	k.order = append(k.order, keys...)
	return before < keysAtOnce && len(k.order) >= keysAtOnce
}

func (k *freshKeys) find(h wal.KeyHash) (wal.KeyAt, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.seqs[h]
	return key, ok
}

func (k *freshKeys) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.order)
}

// first gives some of the oldest keys.
func (k *freshKeys) first() []wal.KeyAt {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.order[:min(len(k.order), keysAtOnce)]
}

// moved forgets the oldest n keys, which the ledger has.
func (k *freshKeys) moved(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.order[:n] {
		if k.seqs[key.Hash] == key {
			delete(k.seqs, key.Hash)
		}
	}
	if k.order = k.order[n:]; len(k.order) == 0 {
		k.order, k.seqs = nil, nil
	}
	if k.less != nil {
		close(k.less)
		k.less = nil
	}
}

// wait waits while there are too many keys.
func (k *freshKeys) wait(ctx context.Context, failed <-chan struct{}) error {
	for {
		k.mu.Lock()
		if len(k.order) < maxFreshKeys {
			k.mu.Unlock()
			return nil
		}
		if k.less == nil {
			k.less = make(chan struct{})
		}
		less := k.less
		k.mu.Unlock()
		select {
		case <-less:
		case <-failed:
			return nil // the append says so
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flushKeys moves keys to the ledger, a bounded number in each transaction,
// until at most left are there. One by one would rewrite a page for each. A
// crash between two repeats the work without harm.
func (s *Store) flushKeys(ctx context.Context, left int) error {
	for s.keys.count() > left {
		keys := s.keys.first()
		rows := make([]ledger.Key, 0, len(keys))
		before := s.keysFrom()
		for _, k := range keys {
			if k.At >= before {
				rows = append(rows, ledger.Key{Hash: ledger.KeyHash(k.Hash), Lane: k.Lane, Seq: k.Seq, At: k.At})
			}
		}
		if err := s.ledger.Do(ctx, func(tx *ledger.Tx) error { tx.PutKeys(rows); return nil }); err != nil {
			return err
		}
		s.keys.moved(len(keys))
	}
	return nil
}

// keysFrom is the accept time of the oldest record whose key counts.
func (s *Store) keysFrom() int64 { return time.Now().Add(-s.opts.KeyRetention).UnixNano() }

// gate is what the log asks before it takes records.
type gate struct{ s *Store }

// Room is ErrFull where the quota or the volume is exhausted.
func (g gate) Room(grow int64) error {
	if !g.s.fits(grow) {
		return ErrFull
	}
	return nil
}

// Key looks a key up in memory and in the ledger.
func (g gate) Key(lane uint32, h wal.KeyHash) (seq uint64, ok bool, err error) {
	before := g.s.keysFrom()
	if k, ok := g.s.keys.find(h); ok {
		return k.Seq, k.At >= before && k.Lane == lane, nil
	}
	return g.s.ledger.FindKey(lane, ledger.KeyHash(h), before)
}

// Alive is the store's own failure.
func (g gate) Alive() error { return g.s.Err() }
