package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// prunedKeysAtOnce bounds the keys that one transaction removes.
const prunedKeysAtOnce = 1000

// PutKeys enters keys. One that is there already is replaced, unless it is as
// new. At most some thousand at a time keep a transaction short.
func (tx *Tx) PutKeys(keys []Key) {
	for i := range keys {
		k := keys[i]
		k.At = max(k.At, 0)
		if body, err := tx.get(bktKeys, k.Hash[:]); err != nil {
			tx.l.flagDamage()
		} else if body != nil {
			old, err := decodeKey(k.Hash[:], body)
			if err == nil && old.At >= k.At {
				continue
			}
			tx.del(bktKeyTimes, keyTime(&old))
		}
		tx.put(bktKeys, k.Hash[:], encodeKey(&k))
		tx.put(bktKeyTimes, keyTime(&k), nil)
	}
}

func keyTime(k *Key) []byte { return append(u64(uint64(k.At)), k.Hash[:]...) }

// FindKey looks a key of a lane up. One that was accepted before `before`,
// Unix time in nanoseconds, is not found. An error that matches ErrDamaged
// says that its row cannot be read, now or later in this run.
func (l *Ledger) FindKey(lane uint32, h KeyHash, before int64) (seq uint64, ok bool, err error) {
	err = l.view(func(tx *bolt.Tx) error {
		value := tx.Bucket(bucketNames[bktKeys]).Get(h[:])
		if value == nil {
			return nil
		}
		body, err := openRow(bktKeys, h[:], value)
		var k Key
		if err == nil {
			k, err = decodeKey(h[:], body)
		}
		if err != nil {
			return fmt.Errorf("%w: a row of %s: %v", ErrDamaged, bktKeys, err)
		}
		if k.Lane == lane && k.At >= before {
			seq, ok = k.Seq, true
		}
		return nil
	})
	return seq, ok, err
}

// PruneKeys removes a bounded number of keys that were accepted before a time,
// and reports whether there may be more.
func (l *Ledger) PruneKeys(ctx context.Context, before time.Time) (more bool, err error) {
	err = l.Do(ctx, func(tx *Tx) error {
		var old [][]byte
		more = false
		c := tx.tx.Bucket(bucketNames[bktKeyTimes]).Cursor()
		for key, _ := c.First(); len(key) == keyLen[bktKeyTimes] && binary.BigEndian.Uint64(key) < timeOrder(before); key, _ = c.Next() {
			if len(old) == prunedKeysAtOnce {
				more = true
				break
			}
			old = append(old, append([]byte(nil), key...))
		}
		for _, key := range old {
			tx.del(bktKeyTimes, key)
			tx.del(bktKeys, key[8:])
		}
		return nil
	})
	return more, err
}
