package store_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// What follows writes the files of a spool as docs/on-disk-format.md has them,
// by another hand than the store's: with checksums that are right, and whatever
// numbers somebody likes to put under them.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// craftedSegment is a segment in the making.
type craftedSegment struct {
	spool          []byte
	no, generation uint64
	data           []byte
	chain          uint32
}

func be32(p []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(p, n) }
func be64(p []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(p, n) }
func uv(p []byte, n ...uint64) []byte {
	for _, n := range n {
		p = binary.AppendUvarint(p, n)
	}
	return p
}

// summed adds the CRC32C of what there is.
func summed(p []byte) []byte { return be32(p, crc32.Checksum(p, castagnoli)) }

func newSegment(spool []byte, no, generation uint64) *craftedSegment {
	s := &craftedSegment{spool: spool, no: no, generation: generation}
	s.data = append(s.head(0, 0, 0), make([]byte, 4096-56)...)
	return s
}

// head is the head; flags 1 is a compacted segment.
func (s *craftedSegment) head(flags byte, first, last uint64) []byte {
	p := append([]byte("kspL"), 3, flags, 0, 0)
	p = append(p, s.spool...)
	return summed(be32(be64(be64(be64(be64(p, s.no), s.generation), first), last), 0))
}

func (s *craftedSegment) seed() uint32 { return uint32(s.generation ^ s.generation>>32) }

// craftedFrame is what a frame's header says.
type craftedFrame struct {
	codec         byte
	lane, count   uint32
	first         uint64
	before, bytes uint64
	body          []byte
}

// records is a body of codec 0.
func records(data ...string) (body []byte) {
	for _, d := range data {
		body = append(uv(body, uint64(len(d))), d...)
	}
	return body
}

// one is a frame of one record that the harness of TestCorpus knows for a
// stranger's.
func one(lane uint32, first uint64) craftedFrame {
	return craftedFrame{lane: lane, count: 1, first: first, bytes: 6, body: records("after")}
}

func (s *craftedSegment) frame(f craftedFrame) []byte {
	p := append([]byte("kspF"), 2, f.codec, 0, 0)
	p = append(p, s.spool...)
	p = be32(be32(p, f.lane), f.count)
	p = be64(be64(be64(be64(p, f.first), f.before), f.bytes), 1_700_000_000_000_000_000)
	p = be32(p, uint32(len(f.body)))
	sum := crc32.Update(crc32.Update(s.seed(), castagnoli, f.body), castagnoli, p)
	return append(be32(p, sum), f.body...)
}

// commit adds a commit of frames and extras.
func (s *craftedSegment) commit(number uint64, extras []byte, frames ...craftedFrame) {
	var body, heads []byte
	for _, f := range frames {
		p := s.frame(f)
		heads, body = append(heads, p[:64]...), append(body, p...)
	}
	p := append([]byte("kspC"), 1, 0, 0, 0)
	p = be64(be64(be64(be64(p, s.generation), s.no), number), 1_700_000_000_000_000_000)
	p = be32(be32(be32(be32(p, uint32(60+len(body)+len(extras))), uint32(len(extras))), uint32(len(frames))), s.chain)
	sum := crc32.Update(s.seed(), castagnoli, p)
	sum = crc32.Update(crc32.Update(sum, castagnoli, heads), castagnoli, extras)
	s.chain = sum
	s.data = append(append(append(s.data, be32(p, sum)...), body...), extras...)
}

func extraLane(no uint32, key string) []byte {
	return append(uv([]byte{1}, uint64(no), 1, uint64(len(key))), key...)
}

func extraKeys(lane uint32, seq uint64, n int) []byte {
	p := uv([]byte{2}, uint64(n))
	for i := range n {
		p = append(be64(be32(p, lane), seq+uint64(i)), make([]byte, 8)...)
		p = be64(p, uint64(i))
	}
	return p
}

func extraPosition(name, value string) []byte {
	p := append(uv([]byte{3}, uint64(len(name))), name...)
	return append(uv(append(p, 1), uint64(len(value))), value...)
}

// seal puts an index behind the commits and the seal into the head.
func (s *craftedSegment) seal(flags byte, first, last uint64, lanes, refs uint32, body []byte) {
	end := uint64(len(s.data))
	p := append([]byte("kspI"), 1, flags, 0, 0)
	p = be64(be64(be64(be64(be64(p, s.generation), s.no), end), first), last)
	p = be32(be32(be32(be32(p, s.chain), lanes), refs), uint32(64+len(body)+4))
	p = summed(append(p, body...))
	s.data = append(s.data, p...)
	copy(s.data[512:], summed(be64(be64(be64(append([]byte("kspS"), 1, 0, 0, 0), s.generation), end), uint64(len(p)))))
}

// craftedChunk is what a chunk of an object says of itself.
type craftedChunk struct {
	flags         byte
	first, before uint64
	count, bytes  uint32
	body          []byte
}

func chunkOf(spool, id []byte, c craftedChunk) []byte {
	p := append([]byte("kspO"), 2, c.flags, 0, 0)
	p = append(append(p, spool...), id...)
	p = be32(be32(be32(be64(be64(p, c.first), c.before), c.count), c.bytes), uint32(len(c.body)))
	return append(be32(p, crc32.Update(crc32.Checksum(p, castagnoli), castagnoli, c.body)), c.body...)
}

// The numbers of the state's row, in their order behind version and "clean".
const (
	stateEpoch = iota
	stateHighestNo
	stateActiveNo
	stateActiveGeneration
	stateActiveEnd
	stateActiveCommit
	stateActiveChain
	stateLanes
	statePositions
	stateHistory
	stateIngested
	stateSkipped
	stateHandedOver
	stateDeadLettered
	stateDropped
	stateDamaged = stateIngested + 14
	stateCensus  = stateIngested + 16
	stateTxid    = stateCensus + 2*11
	stateNumbers = stateTxid + 1
)

var ledgerBuckets = []string{"meta", "lanes", "marks", "segments", "settled", "batches", "objects", "positions", "history", "by-time", "keys", "key-times"}

// craftedLedger is a ledger under somebody's hand.
type craftedLedger struct {
	t     *testing.T
	tx    *bolt.Tx
	state []uint64
}

// craftLedger changes rows of a ledger so that it proves itself all the same.
func craftLedger(t *testing.T, file []byte, change func(*craftedLedger)) []byte {
	t.Helper()
	path := t.TempDir() + "/manifest.db"
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		c := &craftedLedger{t: t, tx: tx}
		body := c.get("meta", []byte("state"))
		clean, rest := body[1], body[2:]
		for range stateNumbers {
			n, w := binary.Uvarint(rest)
			if w <= 0 {
				t.Fatal("the state has another form")
			}
			c.state, rest = append(c.state, n), rest[w:]
		}
		if len(rest) > 0 {
			t.Fatal("the state has another form")
		}
		change(c)
		c.state[stateTxid] = uint64(tx.ID())
		c.put("meta", []byte("state"), uv([]byte{1, clean}, c.state...))
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *craftedLedger) bucket(name string) (int, *bolt.Bucket) {
	for i, n := range ledgerBuckets {
		if n == name {
			return i, c.tx.Bucket([]byte(name))
		}
	}
	c.t.Fatal("no bucket ", name)
	return 0, nil
}

// get gives a row's body, nil for none.
func (c *craftedLedger) get(bucket string, key []byte) []byte {
	_, b := c.bucket(bucket)
	if v := b.Get(key); v != nil {
		return append([]byte{}, v[4:]...)
	}
	return nil
}

// first gives the first row of a bucket.
func (c *craftedLedger) first(bucket string) (key, body []byte) {
	_, b := c.bucket(bucket)
	k, v := b.Cursor().First()
	if k == nil {
		c.t.Fatal("no row in ", bucket)
	}
	return append([]byte{}, k...), append([]byte{}, v[4:]...)
}

func (c *craftedLedger) put(bucket string, key, body []byte) {
	i, b := c.bucket(bucket)
	if old := b.Get(key); old != nil && i > 0 {
		c.census(i, -1, old)
	}
	sum := crc32.Checksum(be32(be32(nil, uint32(i)), uint32(len(key))), castagnoli)
	sum = crc32.Update(crc32.Update(sum, castagnoli, key), castagnoli, body)
	value := append(be32(nil, sum), body...)
	if i > 0 {
		c.census(i, 1, value)
	}
	if err := b.Put(key, value); err != nil {
		c.t.Fatal(err)
	}
}

func (c *craftedLedger) census(bucket int, sign int64, value []byte) {
	at := stateCensus + 2*(bucket-1)
	c.state[at] += uint64(sign)
	c.state[at+1] += uint64(sign * int64(binary.BigEndian.Uint32(value)))
}

// numbersOf reads the uvarints of a row's body behind skip bytes.
func numbersOf(body []byte, skip int) (out []uint64) {
	for rest := body[skip:]; len(rest) > 0; {
		n, w := binary.Uvarint(rest)
		if w <= 0 {
			return out
		}
		out, rest = append(out, n), rest[w:]
	}
	return out
}

// craftMeta changes both meta pages of a bbolt file, and their sums.
func craftMeta(file []byte, change func(page []byte)) {
	for _, at := range []int{16, 4096 + 16} {
		m := file[at : at+64]
		change(m)
		h := fnv.New64a()
		h.Write(m[:56])
		binary.NativeEndian.PutUint64(m[56:], h.Sum64())
	}
}
