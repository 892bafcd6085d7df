package ledger

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// maxRowBytes bounds a row, so that the reader's buffers are bounded.
const maxRowBytes = 16 << 20

// Tx is a transaction in the making: what it reads is the ledger with its own
// changes, and those of the changes before it in the same group, applied. Its
// methods are called from within the function that Do was given, on the
// writer's goroutine. A method that returns an error has changed nothing.
type Tx struct {
	l  *Ledger
	tx *bolt.Tx

	state     state
	lanes     overlay[uint32, Lane]
	byKey     map[string]uint32 // lanes that are new
	entries   overlay[ingest.BatchID, Entry]
	segments  overlay[uint64, Segment]
	tombs     overlay[uint64, Tombstone]
	objects   overlay[ObjectID, Object]
	positions overlay[string, Position]

	touched bool     // the state or a row changed
	writes  int      // changes so far, to tell whether a refused one had begun
	err     error    // a failed write; the group cannot be committed
	settled []Entry  // batches that reached their end
	afters  []func() // run once the commit is durable
}

// begin starts a group over the mirror, which only the writer changes.
func (l *Ledger) begin() *Tx {
	m := &l.mirror
	return &Tx{l: l, state: m.state, lanes: over(m.lanes), byKey: map[string]uint32{}, entries: over(m.entries), segments: over(m.segments),
		tombs: over(m.tombs), objects: over(m.objects), positions: over(m.positions)}
}

func (tx *Tx) change() { tx.touched, tx.writes = true, tx.writes+1 }

// put stores a row and keeps the census.
func (tx *Tx) put(b bucket, key, body []byte) {
	tx.change()
	if tx.err != nil {
		return
	}
	if len(body) > maxRowBytes {
		tx.err = &ingest.FieldError{Field: "row", Value: fmt.Sprintf("of %d bytes in %s", len(body), b), Rule: fmt.Sprintf("must have at most %d bytes", maxRowBytes)}
		return
	}
	bkt, value := tx.tx.Bucket(bucketNames[b]), sealRow(b, key, body)
	if old := bkt.Get(key); old != nil {
		if bytes.Equal(old, value) {
			return
		}
		if tx.err = tx.count(b, old); tx.err != nil {
			return
		}
	}
	if b != bktMeta {
		tx.state.census.add(b, value)
	}
	tx.err = bkt.Put(key, value)
}

// del removes a row, which may be missing.
func (tx *Tx) del(b bucket, key []byte) {
	tx.change()
	if tx.err != nil {
		return
	}
	bkt := tx.tx.Bucket(bucketNames[b])
	if old := bkt.Get(key); old != nil {
		if tx.err = tx.count(b, old); tx.err == nil {
			tx.err = bkt.Delete(key)
		}
	}
}

// count takes a row's old value out of the census.
func (tx *Tx) count(b bucket, old []byte) error {
	if len(old) < sumLen {
		return fmt.Errorf("%w: a row of %s without a checksum", ErrDamaged, b)
	}
	if b != bktMeta {
		tx.state.census.remove(b, old)
	}
	return nil
}

// get reads a row of the buckets that are not mirrored; nil if there is none.
func (tx *Tx) get(b bucket, key []byte) ([]byte, error) {
	value := tx.tx.Bucket(bucketNames[b]).Get(key)
	if value == nil {
		return nil, nil
	}
	body, err := openRow(b, key, value)
	if err != nil {
		return nil, fmt.Errorf("%w: a row of %s: %v", ErrDamaged, b, err)
	}
	return body, nil
}

// State is the state as this transaction would leave it.
func (tx *Tx) State() State { return tx.state.State }

// SetState changes Epoch, Clean, Active and HighestNo; the other fields are
// the ledger's own. HighestNo does not shrink.
func (tx *Tx) SetState(s State) {
	tx.change()
	own := &tx.state.State
	own.Epoch, own.Clean, own.Active, own.HighestNo = s.Epoch, s.Clean, s.Active, max(own.HighestNo, s.HighestNo)
}

// Count adds to the counters that no batch moves. None of them is negative.
func (tx *Tx) Count(damaged, suspect, possibleDuplicates int64) {
	tx.change()
	c := &tx.state.counters
	for n, more := range map[*int64]int64{&c.Damaged: damaged, &c.Suspect: suspect, &c.PossibleDuplicates: possibleDuplicates} {
		*n = min(*n, maxCount-max(more, 0)) + max(more, 0)
	}
}

// After runs fn once the transaction is durable and the mirror shows it, on
// the writer's goroutine and without a lock. It must not wait for the ledger.
func (tx *Tx) After(fn func()) { tx.afters = append(tx.afters, fn) }
