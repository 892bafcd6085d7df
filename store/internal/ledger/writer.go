package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// change is one entry of the writer's queue.
type change struct {
	stage  func(*Tx) error
	joined atomic.Uint32 // 0 waiting, 1 part of a group, 2 given up by its caller
	err    error         // valid once done is closed
	done   chan struct{}
}

// Do runs fn as a transaction, together with the changes that wait beside it,
// and returns nil when it is durable. When ctx ends while the change still
// waits it is not made; later, its outcome is waited for.
//
// An error of fn refuses this change alone, and nothing of it is kept. fn may
// run more than once, so what it does to anything but the Tx must bear that;
// only the last run counts. A panic of fn is taken for one of bbolt's, and fails
// the ledger. Errors: those of fn, ErrFull, ErrFailed,
// ErrOutcomeUnknown, ErrClosed, or ctx's.
func (l *Ledger) Do(ctx context.Context, fn func(*Tx) error) error {
	c, err := l.enqueue(fn)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if c.joined.CompareAndSwap(0, 2) {
			return ctx.Err()
		}
		<-c.done
	}
	return c.err
}

func (l *Ledger) enqueue(fn func(*Tx) error) (*change, error) {
	c := &change{stage: fn, done: make(chan struct{})}
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	if l.stopped {
		return nil, ErrClosed
	}
	l.queue = append(l.queue, c)
	l.signal()
	return c, nil
}

func (l *Ledger) signal() { l.wake.Raise() }

// run is the writer. What waits when a commit ends is the next transaction.
func (l *Ledger) run() {
	for range l.wake {
		l.queueMu.Lock()
		todo, stopped := l.queue, l.stopped
		l.queue = nil
		l.queueMu.Unlock()
		if len(todo) > 0 {
			l.group(todo)
			l.signal()
		} else if stopped {
			return
		}
	}
}

// group makes one transaction of the changes and answers each of them.
func (l *Ledger) group(todo []*change) {
	members := todo[:0]
	for _, c := range todo {
		if c.joined.CompareAndSwap(0, 1) {
			members = append(members, c)
		}
	}
	tx, err := l.attempt(members)
	if errors.Is(err, ErrFull) && l.opts.NoSpace != nil && l.opts.NoSpace() {
		tx, err = l.attempt(members)
	}
	if err == nil {
		l.publish(tx)
	}
	for _, c := range members {
		if c.err == nil {
			c.err = err
		}
		close(c.done)
	}
}

// attempt makes the transaction. When it fails nothing of the group is
// visible, so that it may be made again. A change that was refused after it
// had begun to write is left out, and the others are made anew.
func (l *Ledger) attempt(members []*change) (*Tx, error) {
	for _, c := range members {
		c.err = nil
	}
	for {
		if err := l.Err(); err != nil {
			return nil, err
		}
		tx := l.begin()
		again := false
		err := guard(func() (err error) {
			again, err = l.transact(tx, members)
			return err
		})
		if errors.Is(err, ErrDamaged) {
			if tx.tx != nil && !abandon(tx.tx) {
				l.unclosable.Store(true)
			}
			l.flagDamage()
			return nil, l.fail(err)
		}
		if err != nil || !again {
			return tx, err
		}
	}
}

func (l *Ledger) transact(tx *Tx, members []*change) (again bool, err error) {
	if tx.tx, err = l.db.Begin(true); err != nil {
		return false, l.fail(err)
	}
	for _, c := range members {
		if c.err != nil {
			continue
		}
		before := tx.writes
		c.err = c.stage(tx)
		if errors.Is(tx.err, ingest.ErrInvalid) { // a row that is too large
			c.err, tx.err = tx.err, nil
		}
		if c.err != nil && tx.writes != before && tx.err == nil {
			return true, tx.rollback()
		}
	}
	if tx.touched && tx.err == nil {
		tx.state.txid = uint64(tx.tx.ID())
		tx.put(bktMeta, keyState, encodeState(&tx.state))
	}
	if tx.err != nil {
		err := tx.err
		if errors.Is(err, ErrDamaged) {
			return false, err
		}
		return false, errors.Join(l.fail(err), tx.rollback())
	}
	if !tx.touched {
		return false, tx.rollback()
	}
	l.step(Before)
	crashpoint.Reach("manifest.staged")
	err = l.commitTx(tx.tx)
	var ce *commitError
	switch {
	case err == nil:
		tx.tx = nil
		l.step(After)
		crashpoint.Reach("manifest.committed")
		return false, nil
	case !errors.As(err, &ce):
		return false, err
	}
	tx.tx = nil
	if ce.space {
		return false, fmt.Errorf("%w: writing the ledger: %v", ErrFull, err)
	}
	_ = l.fail(err)
	if ce.unknown {
		return false, fmt.Errorf("%w: writing the ledger: %v", ErrOutcomeUnknown, err)
	}
	return false, l.Err()
}

func (tx *Tx) rollback() error {
	err := tx.tx.Rollback()
	tx.tx = nil
	return err
}

func (l *Ledger) fault(s Step) error {
	if l.opts.Fault == nil {
		return nil
	}
	return l.opts.Fault(s)
}

func (l *Ledger) step(s Step) {
	if l.opts.Step != nil {
		l.opts.Step(s)
	}
}

// commitBolt is how a transaction is committed; tests put a failing one in its place.
func commitBolt(tx *bolt.Tx) error { return tx.Commit() }
