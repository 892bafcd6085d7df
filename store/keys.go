package store

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// A key is stored as the first 16 bytes of the SHA-256 of spool, lane and
// key, so that keys of any length cost the same and the caller's text is not
// on disk. Its value is lane, number and accept time of its record.
type keyHash [16]byte

const keyValueLen = 4 + 8 + 8

func hashKey(spool ingest.SpoolID, lane uint32, key string) keyHash {
	in := make([]byte, 0, 64)
	in = append(in, spool[:]...)
	in = binary.BigEndian.AppendUint32(in, lane)
	in = append(in, key...)
	sum := sha256.Sum256(in)
	return keyHash(sum[:])
}

func keyValue(lane uint32, seq uint64, at int64) []byte {
	v := make([]byte, 0, keyValueLen)
	v = binary.BigEndian.AppendUint32(v, lane)
	v = binary.BigEndian.AppendUint64(v, seq)
	return binary.BigEndian.AppendUint64(v, uint64(at))
}

// freshKey reads a stored key, unless it is older than before.
func freshKey(lane uint32, v []byte, before int64) (seq uint64, ok bool) {
	if len(v) != keyValueLen || binary.BigEndian.Uint32(v) != lane || int64(binary.BigEndian.Uint64(v[12:])) < before {
		return 0, false
	}
	return binary.BigEndian.Uint64(v[4:]), true
}

// findKey looks a key up where it can be: the active segment in tx, rotated
// segments whose keys are not copied yet, newest first, and the manifest.
// A file that cannot be read just now fails the lookup, so that a repeat is
// not stored twice for that; one that is damaged for good is passed over.
func (c *committer) findKey(tx *bolt.Tx, lane uint32, h keyHash, before int64) (seq uint64, ok bool, err error) {
	if seq, ok = freshKey(lane, tx.Bucket(bktKeys).Get(h[:]), before); ok {
		return seq, true, nil
	}
	for _, seg := range c.s.uncopied() {
		err := c.s.handles.view(seg, func(tx *bolt.Tx) error {
			seq, ok = freshKey(lane, tx.Bucket(bktKeys).Get(h[:]), before)
			return nil
		})
		if err != nil && !c.s.keysLost(seg) {
			return 0, false, err
		}
		if ok {
			return seq, true, nil
		}
	}
	err = viewDB(c.s.manifest.db, func(tx *bolt.Tx) error {
		seq, ok = freshKey(lane, tx.Bucket(bktKeys).Get(h[:]), before)
		return nil
	})
	return seq, ok, err
}

// uncopied lists the rotated segments with keys of their own, newest first.
func (s *Store) uncopied() []*segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*segment
	for i := len(s.withKeys) - 1; i >= 0; i-- {
		out = append(out, s.withKeys[i])
	}
	return out
}

// keysLost reports whether a segment's keys are gone, or have meanwhile been
// copied, so that not finding it open is no reason to refuse a record.
func (s *Store) keysLost(seg *segment) bool {
	s.handles.mu.Lock()
	defer s.handles.mu.Unlock()
	return seg.broken != nil
}

const keysAtOnce = 1000

// copyKeys brings the keys of a rotated segment into the manifest, a bounded
// number in each transaction; the last one marks the segment. A crash between
// two repeats the work without harm.
func (k *keeper) copyKeys(seg *segment) error {
	type stored struct{ key, value []byte }
	var from []byte
	before := time.Now().Add(-k.s.opts.KeyRetention).UnixNano()
	for {
		var chunk []stored
		more := false
		err := k.s.handles.view(seg, func(tx *bolt.Tx) error {
			cur := tx.Bucket(bktKeys).Cursor()
			for key, v := cur.Seek(from); key != nil; key, v = cur.Next() {
				if len(chunk) == keysAtOnce {
					more = true
					break
				}
				from = append(append(from[:0], key...), 0)
				if len(key) == len(keyHash{}) && len(v) == keyValueLen && int64(binary.BigEndian.Uint64(v[12:])) >= before {
					chunk = append(chunk, stored{append([]byte(nil), key...), append([]byte(nil), v...)})
				}
			}
			return nil
		})
		if err != nil && !k.s.keysLost(seg) {
			return err
		}
		if err = k.change(func(g *group) error {
			for _, c := range chunk {
				g.put(bktKeys, c.key, c.value)
				g.put(bktKeyTimes, append(append([]byte(nil), c.value[12:]...), c.key...), nil)
			}
			if !more {
				k.s.mu.RLock()
				row := seg.rowLocked(k.s)
				k.s.mu.RUnlock()
				row.Keys = false
				g.put(bktSegments, u64(seg.no), pack(&row))
				g.publish(func() { k.s.keysCopiedLocked(seg) })
			}
			return nil
		}); err != nil || !more {
			return err
		}
	}
}

// pruneKeys removes a bounded number of keys that are older than the
// retention, and reports whether there may be more.
func (k *keeper) pruneKeys() (more bool, err error) {
	before := uint64(max(time.Now().Add(-k.s.opts.KeyRetention).UnixNano(), 0))
	err = k.change(func(g *group) error {
		more = false
		var old [][]byte
		c := g.tx.Bucket(bktKeyTimes).Cursor()
		for key, _ := c.First(); len(key) == 8+len(keyHash{}) && binary.BigEndian.Uint64(key) < before; key, _ = c.Next() {
			if len(old) == keysAtOnce {
				more = true
				break
			}
			old = append(old, append([]byte(nil), key...))
		}
		for _, key := range old {
			g.del(bktKeyTimes, key)
			// The key may have been used again since: then its time is another.
			if v := g.tx.Bucket(bktKeys).Get(key[8:]); len(v) == keyValueLen && binary.BigEndian.Uint64(v[12:]) == binary.BigEndian.Uint64(key) {
				g.del(bktKeys, key[8:])
			}
		}
		return nil
	})
	return more, err
}
