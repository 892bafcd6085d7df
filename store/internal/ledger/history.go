package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

// prunedAtOnce bounds the rows that one settled batch removes, so that pruning
// never makes a long transaction. It is more than one adds.
const prunedAtOnce = 32

// remember stages the history row of a settled batch, and prunes as many old
// ones as keeps the history within its bounds.
func (tx *Tx) remember(e *Entry) {
	row := *e
	row.Progress, row.NextAttempt = nil, time.Time{}
	key := rowKey(e.Batch.Lane, e.Batch.First)
	if old, err := tx.get(bktHistory, key); err != nil {
		tx.l.flagDamage()
	} else if old != nil {
		// Books that fell back to an older state can settle a batch again.
		if was, err := decodeBatch(key, old); err == nil {
			tx.del(bktByTime, timeKey(was.Updated, key))
			tx.state.History--
		}
	}
	tx.put(bktHistory, key, encodeBatch(&row))
	tx.put(bktByTime, timeKey(e.Updated, key), nil)
	tx.state.History++
	tx.pruneHistory(e.Updated.Add(-tx.l.opts.HistoryRetention))
}

// pruneHistory removes the oldest rows that are too old or too many.
func (tx *Tx) pruneHistory(before time.Time) {
	if tx.err != nil {
		return
	}
	c := tx.tx.Bucket(bucketNames[bktByTime]).Cursor()
	var old [][]byte
	surplus := tx.state.History - int64(tx.l.opts.HistoryRows)
	for k, _ := c.First(); len(k) == keyLen[bktByTime] && len(old) < prunedAtOnce; k, _ = c.Next() {
		if int64(len(old)) >= surplus && binary.BigEndian.Uint64(k) >= timeOrder(before) {
			break
		}
		old = append(old, bytes.Clone(k))
	}
	for _, k := range old {
		tx.del(bktByTime, k)
		tx.del(bktHistory, k[8:])
		tx.state.History--
	}
}

// entryOf reads a batch's row and fills in what it leaves out.
func entryOf(b bucket, spool ingest.SpoolID, key, value []byte, lane func(uint32) (Lane, bool)) (*Entry, error) {
	body, err := openRow(b, key, value)
	if err != nil {
		return nil, err
	}
	e, err := decodeBatch(key, body)
	if err != nil {
		return nil, err
	}
	l, ok := lane(e.Batch.Lane)
	if !ok {
		return nil, fmt.Errorf("row of the unknown lane %d", e.Batch.Lane)
	}
	e.Batch.Properties = l.Properties
	e.Batch.ID = ingest.NewBatchID(spool, e.Batch.Lane, e.Batch.First, e.Batch.Last)
	return e, nil
}

// FindHistory finds the history row of the batch that a record was settled with.
// ErrNotFound when there is none, or none any more; ErrDamaged when it cannot
// be read.
func (l *Ledger) FindHistory(lane uint32, seq uint64) (Entry, error) {
	var found *Entry
	err := l.view(func(tx *bolt.Tx) (err error) {
		c := tx.Bucket(bucketNames[bktHistory]).Cursor()
		want := rowKey(lane, seq)
		k, v := c.Seek(want)
		if k == nil {
			k, v = c.Last()
		} else if !bytes.Equal(k, want) {
			k, v = c.Prev()
		}
		if len(k) != len(want) || binary.BigEndian.Uint32(k) != lane {
			return ErrNotFound
		}
		if found, err = entryOf(bktHistory, l.Spool(), k, v, l.Lane); err != nil {
			return fmt.Errorf("%w: a row of the history: %v", ErrDamaged, err)
		}
		return nil
	})
	if err != nil {
		return Entry{}, err
	}
	if found.Batch.Last < seq {
		return Entry{}, ErrNotFound
	}
	return *found, nil
}

// historyAtOnce is how many rows a walk reads in one transaction.
const historyAtOnce = 256

// History walks the rows of settled batches, oldest first. It reads a bounded
// number of rows at a time, so it shows neither a moment nor a lock. A row
// that cannot be read is an error of its own and does not end the walk.
func (l *Ledger) History() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var from []byte
		for more := true; more; {
			rows := make([]*Entry, 0, historyAtOnce)
			errs := make([]error, 0, historyAtOnce)
			err := l.view(func(tx *bolt.Tx) error {
				c, history := tx.Bucket(bucketNames[bktByTime]).Cursor(), tx.Bucket(bucketNames[bktHistory])
				k, _ := c.Seek(from)
				for ; k != nil && len(rows) < historyAtOnce; k, _ = c.Next() {
					from = append(append(from[:0], k...), 0)
					if len(k) != keyLen[bktByTime] {
						continue
					}
					e, err := entryOf(bktHistory, l.Spool(), k[8:], history.Get(k[8:]), l.Lane)
					if err != nil {
						e, err = &Entry{}, fmt.Errorf("%w: a row of the history: %v", ErrDamaged, err)
					}
					rows, errs = append(rows, e), append(errs, err)
				}
				return nil
			})
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for i, e := range rows {
				if !yield(*e, errs[i]) {
					return
				}
			}
			more = len(rows) == historyAtOnce
		}
	}
}

// errSkipped ends a walk whose caller wants no more.
var errSkipped = errors.New("the walk was ended")

// LookHistory walks the rows of settled batches of a ledger that [Look] gave, by
// lane and first record. It reads the file and changes nothing. A row that cannot
// be read is an error of its own and does not end the walk; a page that cannot be
// read, or a file that is another by now, does.
func (l *Ledger) LookHistory() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := l.lookHistory(yield); err != nil && !errors.Is(err, errSkipped) {
			yield(Entry{}, err)
		}
	}
}

func (l *Ledger) lookHistory(yield func(Entry, error) bool) error {
	f, err := l.fs.Open(l.path, vfs.ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p := &proof{size: info.Size}
	if err := p.metaPage(f); err != nil {
		return err
	}
	if p.meta.txid != l.mirror.state.txid {
		return fmt.Errorf("%w: the file was changed since it was looked at", ErrDamaged)
	}
	w := newPageVerifier(f, p.meta)
	if err := w.claim(0, 2); err != nil {
		return err
	}
	if err := p.rootTree(w); err != nil {
		return err
	}
	return w.bucket(p.roots[bktHistory], false, func(key, value []byte, isBucket bool) error {
		e, err := &Entry{}, errRowForm
		if !isBucket {
			e, err = entryOf(bktHistory, l.Spool(), key, value, l.Lane)
		}
		if err != nil {
			e, err = &Entry{}, fmt.Errorf("%w: a row of the history: %v", ErrDamaged, err)
		}
		if !yield(*e, err) {
			return errSkipped
		}
		return nil
	})
}
