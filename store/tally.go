package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	bolt "go.etcd.io/bbolt"
)

// One sync for each commit.
//
// bbolt syncs twice: the pages, then the meta page that makes them count. Here
// the active segment is written without any sync of bbolt's, the meta page
// right behind the pages, and then the file is synced once; only after that are
// the records acknowledged and the next transaction begins. When the power goes
// in between, the drive may have kept the meta page and lost pages that it
// leads to. That is why a transaction says in a tally, which is a part of it,
// what the whole file holds: Open compares after an unclean stop, and goes back
// to the transaction before where it does not agree. That one is whole, because
//
//   - it was synced, meta page and all, before the next one wrote anything;
//   - the next one writes to the other meta page, and to pages that are free in
//     it: bbolt gives a page that transaction n let go of to n+1 at the
//     earliest, so to none that n itself leads to;
//
// and it is all that was acknowledged.
//
// Bits that went bad in the last transaction before an unclean stop look like
// pages that were lost in it, and go the same way, unless the manifest knows of
// its records.

// tally is a count and a sum over all entries of a segment: frames, lane
// snapshots and keys. The order in which they came does not show in it.
type tally struct {
	entries uint64
	sum     uint64
}

// The kinds of entries.
const (
	ofFrame byte = iota + 1
	ofLane
	ofKey
)

func entrySum(kind byte, key, value []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{kind, byte(len(key))})
	_, _ = h.Write(key)
	_, _ = h.Write(value)
	return h.Sum64()
}

func (t *tally) add(kind byte, key, value []byte) {
	t.entries++
	t.sum += entrySum(kind, key, value)
}

func (t *tally) remove(kind byte, key, value []byte) {
	t.entries--
	t.sum -= entrySum(kind, key, value)
}

// addFrame enters a frame by its header, which has the checksum of all of it.
func (t *tally) addFrame(value []byte) { t.add(ofFrame, nil, value[:frameHeaderLen]) }

// The stored form: transaction, entries, sum, CRC32C of these; all big endian.
const tallyLen = 28

// put makes the tally a part of the transaction.
func (t tally) put(tx *bolt.Tx) error {
	p := u64(uint64(tx.ID()))
	p = binary.BigEndian.AppendUint64(p, t.entries)
	p = binary.BigEndian.AppendUint64(p, t.sum)
	return tx.Cursor().Bucket().Put(keyTally, append(p, u32(crcOf(p))...))
}

// parseTally reads the tally of transaction txid.
func parseTally(p []byte, txid uint64) (tally, error) {
	if len(p) != tallyLen || binary.BigEndian.Uint32(p[24:]) != crcOf(p[:24]) {
		return tally{}, errors.New("no tally")
	}
	if of := binary.BigEndian.Uint64(p); of != txid {
		return tally{}, fmt.Errorf("the tally is of transaction %d, the file at %d", of, txid)
	}
	return tally{entries: binary.BigEndian.Uint64(p[8:]), sum: binary.BigEndian.Uint64(p[16:])}, nil
}
