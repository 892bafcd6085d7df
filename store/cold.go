package store

import (
	"fmt"
	"os"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// A segment that this process did not write is read from the disk. Touching
// pages of a mapping that are not there keeps a processor waiting for each, where
// a read lets it go and the system reads on behind it; and bbolt tells the
// system not to read ahead in its mapping, so that a cold file came at a tenth of
// the disk's speed. So the frames that stand alone, which are nearly all of a
// loaded spool, are read with plain reads, by the page that bbolt has them in,
// and for the rest bbolt's advice is taken back.

// coldFile is the file of such a segment.
type coldFile struct {
	file     *os.File // the database's to close
	pageSize int64
	mapping  []byte // of the whole file; nil where it may move
}

// aheadBytes is how much is asked for behind a frame that is being read, so that
// it comes while somebody compresses that one. Four times as much was no faster.
const aheadBytes = 2 << 20

// frame reads a frame that is the value of a nested bucket, over buf. root is
// the bucket's root page.
func (c *coldFile) frame(root uint64, buf []byte) ([]byte, error) {
	var head [pageHeaderLen + elementLen]byte
	at := int64(root) * c.pageSize
	if _, err := c.file.ReadAt(head[:], at); err != nil {
		return nil, err
	}
	e := head[pageHeaderLen:]
	from := at + element(0, native.Uint32(e[4:])) + int64(native.Uint32(e[8:]))
	size := int64(native.Uint32(e[12:]))
	if native.Uint64(head[:]) != root || native.Uint16(head[8:]) != flagLeaf || native.Uint16(head[10:]) != 1 ||
		native.Uint32(e)&leafIsBucket != 0 || size > frameHeaderLen+maxFrameBody {
		return nil, fmt.Errorf("page %d is not that of a frame", root)
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := c.file.ReadAt(buf, from); err != nil {
		return nil, err
	}
	next := (from + size) / c.pageSize * c.pageSize
	if end := min(next+aheadBytes, int64(len(c.mapping))); next < end {
		_ = adviseWanted(c.mapping[next:end]) // where it is not taken, reading is slower and no less right
	}
	return buf, nil
}

// newCold takes bbolt's advice about the mapping of tx's file back.
func newCold(tx *bolt.Tx, file *os.File) *coldFile {
	c := &coldFile{file: file, pageSize: int64(tx.DB().Info().PageSize)}
	if c.mapping = mapped(tx, 0, tx.Size()); c.mapping != nil {
		_ = adviseSequential(c.mapping)
	}
	return c
}

// mapped gives a part of the mapping of tx's file, found by a key that lies in
// it; nil where there is none. It must be called under guard.
func mapped(tx *bolt.Tx, from, size int64) []byte {
	inside, _ := tx.Cursor().First()
	if len(inside) == 0 || from < 0 || from+size > tx.Size() {
		return nil
	}
	first := unsafe.Pointer(&inside[0])
	offset := int64(uintptr(first) - tx.DB().Info().Data)
	if offset < 0 || offset >= tx.Size() {
		return nil // in memory: this transaction writes, and has changed its page
	}
	return unsafe.Slice((*byte)(unsafe.Add(first, from-offset)), size)
}

// leafAt reports whether a page is a leaf, which is all that a frame's own bucket
// has: bbolt would follow a branch there wherever it leads, in a circle as well.
// It must be called under guard.
func leafAt(tx *bolt.Tx, root uint64) bool {
	header := mapped(tx, int64(root)*int64(tx.DB().Info().PageSize), pageHeaderLen)
	return header != nil && native.Uint64(header) == root && native.Uint16(header[8:]) == flagLeaf
}

// nestedFrame is the value of a frame's own bucket; nil where there is none.
func nestedFrame(tx *bolt.Tx, b *bolt.Bucket) []byte {
	if b == nil || b.Root() != 0 && !leafAt(tx, uint64(b.Root())) {
		return nil
	}
	return b.Get(keyFrame)
}

// warm reads a file front to back, so that it is in the page cache, for those
// who are about to look at all of it, here and there. What cannot be read they
// will meet themselves.
func warm(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for err == nil {
		_, err = f.Read((*block)[:cap(*block)])
	}
}
