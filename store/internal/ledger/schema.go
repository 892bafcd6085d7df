package ledger

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// bucket is one of the file's buckets.
type bucket int

// The buckets. Those before firstRest are read whole at Open and mirrored in
// memory; the rest is read row by row.
const (
	bktMeta       bucket = iota // keyHead -> head, keyState -> state, counters, census
	bktLanes                    // lane -> key text
	bktWatermarks               // lane -> Watermarks
	bktSegments                 // number -> Segment
	bktTombstones               // number -> generation: tombstones
	bktBatches                  // lane, first -> batch
	bktObjects                  // id -> Object
	bktPositions                // name -> position
	bktHistory                  // lane, first -> batch
	bktByTime                   // settled at, lane, first -> nothing
	bktKeys                     // hash -> lane, seq, accepted at
	bktKeyTimes                 // accepted at, hash -> nothing
	bucketCount
	firstRest = bktHistory
)

var bucketNames = [bucketCount][]byte{
	[]byte("meta"), []byte("lanes"), []byte("marks"), []byte("segments"), []byte("settled"), []byte("batches"), []byte("objects"),
	[]byte("positions"), []byte("history"), []byte("by-time"), []byte("keys"), []byte("key-times"),
}

// Keys of bktMeta.
var (
	keyHead  = []byte("head")
	keyState = []byte("state")

	// What formats before 3 have there, without a checksum.
	oldKeyIdentity = []byte("identity")
	oldKeyVersion  = []byte("version")
)

// keyLen is the length of a bucket's keys; 0 where it varies.
var keyLen = [bucketCount]int{bktLanes: 4, bktWatermarks: 4, bktSegments: 8, bktTombstones: 8, bktBatches: 12, bktObjects: 16,
	bktHistory: 12, bktByTime: 20, bktKeys: 16, bktKeyTimes: 24}

func (b bucket) String() string { return string(bucketNames[b]) }

func bucketOf(name []byte) (bucket, bool) {
	for b, n := range bucketNames {
		if string(n) == string(name) {
			return bucket(b), true
		}
	}
	return 0, false
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// rowKey orders batches by lane, then by first record.
func rowKey(lane uint32, first uint64) []byte {
	return binary.BigEndian.AppendUint64(u32(lane), first)
}

// timeKey orders an index by time; tail makes it unique.
func timeKey(t time.Time, tail []byte) []byte {
	return append(u64(timeOrder(t)), tail...)
}

// timeOrder is a time as a key: years before 1970 are all alike.
func timeOrder(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }

var crcTable = crc32.MakeTable(crc32.Castagnoli)

const sumLen = 4

// rowSum is CRC32C over what a row is and where: bucket, key and body.
func rowSum(b bucket, key, body []byte) uint32 {
	var head [8]byte
	binary.BigEndian.PutUint32(head[:], uint32(b))
	binary.BigEndian.PutUint32(head[4:], uint32(len(key)))
	sum := crc32.Update(0, crcTable, head[:])
	sum = crc32.Update(sum, crcTable, key)
	return crc32.Update(sum, crcTable, body)
}

// seal puts the checksum before a row's body.
func sealRow(b bucket, key, body []byte) []byte {
	p := make([]byte, sumLen, sumLen+len(body))
	binary.BigEndian.PutUint32(p, rowSum(b, key, body))
	return append(p, body...)
}

var errRow = errors.New("row checksum mismatch")

// openRow checks a row and gives its body.
func openRow(b bucket, key, value []byte) ([]byte, error) {
	if n := keyLen[b]; n != 0 && n != len(key) {
		return nil, errRowForm
	}
	if len(value) < sumLen || binary.BigEndian.Uint32(value) != rowSum(b, key, value[sumLen:]) {
		return nil, errRow
	}
	return value[sumLen:], nil
}

// census is how many rows each bucket has, and the sum of their checksums. It
// is what tells that a page is of an older transaction, or is missing.
type census [bucketCount]struct{ Rows, Sum uint64 }

func (c *census) add(b bucket, value []byte) {
	c[b].Rows++
	c[b].Sum += uint64(binary.BigEndian.Uint32(value))
}

func (c *census) remove(b bucket, value []byte) {
	c[b].Rows--
	c[b].Sum -= uint64(binary.BigEndian.Uint32(value))
}
