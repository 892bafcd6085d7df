package store

import (
	"encoding/binary"
	"time"

	bolt "go.etcd.io/bbolt"
)

// prunedAtOnce bounds the rows that one change removes, so that pruning never
// makes a long transaction. It is more than one settled batch adds.
const prunedAtOnce = 32

// remember stages the history row of a settled batch, and prunes as many old
// ones as keeps the history within its bounds.
func (g *group) remember(e *Entry) {
	row := rowOf(e)
	row.Progress, row.Next = nil, time.Time{}
	key := rowKey(e.Batch.Lane, e.Batch.First)
	g.put(bktHistory, key, pack(row))
	g.put(bktByTime, timeKey(e.Updated, key), nil)
	g.state.History++
	g.pruneHistory(e.Updated.Add(-g.s.opts.HistoryRetention))
	g.saveState()
}

// pruneHistory removes the oldest rows that are too old or too many.
func (g *group) pruneHistory(before time.Time) {
	if g.err != nil {
		return
	}
	c := g.tx.Bucket(bktByTime).Cursor()
	var old [][]byte
	surplus := g.state.History - int64(g.s.opts.HistoryRows)
	for k, _ := c.First(); k != nil && len(old) < prunedAtOnce; k, _ = c.Next() {
		if int64(len(old)) >= surplus && (len(k) < 8 || binary.BigEndian.Uint64(k) >= uint64(max(before.UnixNano(), 0))) {
			break
		}
		old = append(old, append([]byte(nil), k...))
	}
	for _, k := range old {
		g.del(bktByTime, k)
		if len(k) == 20 {
			g.del(bktHistory, k[8:])
		}
		g.state.History--
	}
}

// readManifest runs fn in a read transaction on the manifest, under guard.
func (s *Store) readManifest(fn func(*bolt.Tx) error) error {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return ErrClosed
	}
	return viewDB(s.manifest.db, fn)
}

// History walks the rows of settled batches, oldest first, until yield
// returns false. It reads a bounded number of rows at a time, so it shows
// neither a moment nor a lock. A row that cannot be read is an error of its
// own and does not end the walk.
func (s *Store) History(yield func(Entry, error) bool) {
	const atOnce = 256
	type row struct {
		e   *Entry
		err error
	}
	var from []byte
	for {
		var rows []row
		err := s.readManifest(func(tx *bolt.Tx) error {
			c, history := tx.Bucket(bktByTime).Cursor(), tx.Bucket(bktHistory)
			k, _ := c.Seek(from)
			for ; k != nil && len(rows) < atOnce; k, _ = c.Next() {
				from = append(append(from[:0], k...), 0)
				if len(k) != 20 {
					continue
				}
				e, err := decodeRow(s.id, k[8:], history.Get(k[8:]), s.LaneProperties)
				rows = append(rows, row{e, err})
			}
			return nil
		})
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, r := range rows {
			var e Entry
			if r.e != nil {
				e = *r.e
			}
			if !yield(e, r.err) {
				return
			}
		}
		if len(rows) < atOnce {
			return
		}
	}
}
