package store

import (
	"fmt"
	"io"
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

type coldFile struct {
	file     *os.File // the database's to close
	pageSize int64
	mapping  []byte // of the whole file; nil where it may move
}

// aheadBytes is how much is asked for behind a frame that is being read, so that
// it comes while somebody compresses that one. It is about what the system
// takes from one call.
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

// newCold takes bbolt's advice about the mapping of tx's file back. The mapping
// is found by a value that lies in it.
func newCold(tx *bolt.Tx, file *os.File, size int64) *coldFile {
	info := tx.DB().Info()
	c := &coldFile{file: file, pageSize: int64(info.PageSize)}
	inside := tx.Bucket(bktMeta).Get(keyIdentity)
	if len(inside) == 0 {
		return c
	}
	first := unsafe.Pointer(&inside[0])
	if offset := int64(uintptr(first) - info.Data); offset >= 0 && offset < size {
		c.mapping = unsafe.Slice((*byte)(unsafe.Add(first, -offset)), size)
		_ = adviseSequential(c.mapping)
	}
	return c
}

// warm reads a file front to back, so that it is in the page cache, for those
// who are about to look at all of it, here and there.
func warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for {
		if _, err := f.Read((*block)[:cap(*block)]); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}
