package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt writes its pages in the byte order of the machine. The layout below
// is that of v1.5.0 (internal/common: page.go, meta.go): a page header of id
// (8), flags (2), count (2), overflow (4); behind it, on pages 0 and 1, magic
// (4), version (4), page size (4), flags (4), root page (8), root sequence
// (8), freelist page (8), high-water page (8), transaction (8), FNV-64a (8).
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	pageHeaderLen  = 16
	metaLen        = 64
	flagBranch     = 0x01
	flagLeaf       = 0x02
	flagFreelist   = 0x10
	pageSizeLeast  = 1 << 10
	pageSizeMost   = 1 << 24
	freelistBigTag = 0xFFFF
)

var native = binary.NativeEndian

type boltMeta struct {
	valid    bool
	pageSize int64
	root     uint64
	freelist uint64
	high     uint64 // pages from here on are not in use
	txid     uint64
}

type boltMetas struct {
	size int64
	slot [2]boltMeta
}

// newest is the meta page that bbolt would go by.
func (m *boltMetas) newest() (boltMeta, bool) {
	a, b := m.slot[0], m.slot[1]
	switch {
	case a.valid && (!b.valid || a.txid > b.txid):
		return a, true
	case b.valid:
		return b, true
	}
	return boltMeta{}, false
}

// readMetas reads both meta pages with plain reads; invalid ones are no error.
func readMetas(path string) (boltMetas, error) {
	f, err := os.Open(path)
	if err != nil {
		return boltMetas{}, err
	}
	defer f.Close()
	return metasOf(f)
}

func metasOf(f *os.File) (boltMetas, error) {
	info, err := f.Stat()
	if err != nil {
		return boltMetas{}, err
	}
	m := boltMetas{size: info.Size()}
	if m.slot[0], err = metaAt(f, 0); err != nil {
		return m, err
	}
	// The second one stands a page further. Without the first the size of a
	// page is not known, so the possible ones are tried.
	sizes := []int64{m.slot[0].pageSize}
	if !m.slot[0].valid {
		sizes = sizes[:0]
		for s := int64(pageSizeLeast); s <= pageSizeMost; s *= 2 {
			sizes = append(sizes, s)
		}
	}
	for _, s := range sizes {
		slot, err := metaAt(f, s)
		if err != nil {
			return m, err
		}
		if slot.valid && slot.pageSize == s {
			m.slot[1] = slot
			break
		}
	}
	return m, nil
}

func metaAt(f *os.File, at int64) (boltMeta, error) {
	var p [pageHeaderLen + metaLen]byte
	if _, err := f.ReadAt(p[:], at); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return boltMeta{}, err
	}
	b := p[pageHeaderLen:]
	m := boltMeta{
		pageSize: int64(native.Uint32(b[8:])),
		root:     native.Uint64(b[16:]),
		freelist: native.Uint64(b[32:]),
		high:     native.Uint64(b[40:]),
		txid:     native.Uint64(b[48:]),
	}
	sum := fnv.New64a()
	sum.Write(b[:56])
	m.valid = native.Uint32(b) == boltMagic && native.Uint32(b[4:]) == boltVersion && native.Uint64(b[56:]) == sum.Sum64() &&
		m.pageSize >= pageSizeLeast && m.pageSize <= pageSizeMost && m.pageSize&(m.pageSize-1) == 0
	return m, nil
}

// findings is what a preflight saw of a file that may be opened.
type findings struct {
	size    int64
	meta    boltMeta
	suspect bool // one of the two meta pages is invalid
}

// preflight decides with plain reads, before bbolt maps the file, whether it
// can be opened without risk. bbolt itself compares neither the file's size
// with its high-water page nor root and free list with it, re-initialises an
// empty file, and dies of a damaged free list.
func preflight(path string) (findings, error) {
	f, err := os.Open(path)
	if err != nil {
		return findings{}, err
	}
	defer f.Close()
	metas, err := metasOf(f)
	if err != nil {
		return findings{}, err
	}
	m, ok := metas.newest()
	if !ok {
		return findings{}, fmt.Errorf("%w: no valid meta page in a file of %d bytes", errDamaged, metas.size)
	}
	found := findings{size: metas.size, meta: m, suspect: !metas.slot[0].valid || !metas.slot[1].valid}
	if m.high < 4 || m.high > uint64(metas.size/m.pageSize) {
		return found, fmt.Errorf("%w: the file has %d bytes and needs %d pages of %d", errDamaged, metas.size, m.high, m.pageSize)
	}
	if m.root < 2 || m.root >= m.high || m.freelist < 2 || m.freelist >= m.high {
		return found, fmt.Errorf("%w: root page %d or free list page %d outside of %d pages", errDamaged, m.root, m.freelist, m.high)
	}
	if err := checkRoot(f, m); err != nil {
		return found, err
	}
	_, _, err = readFreelist(f, m)
	return found, err
}

func readPageHeader(f *os.File, m boltMeta, id uint64) (flags, count uint16, overflow uint32, err error) {
	var p [pageHeaderLen]byte
	if id < 2 || id >= m.high {
		return 0, 0, 0, fmt.Errorf("%w: page %d of %d", errDamaged, id, m.high)
	}
	if _, err := f.ReadAt(p[:], int64(id)*m.pageSize); err != nil {
		return 0, 0, 0, err
	}
	flags, count, overflow = native.Uint16(p[8:]), native.Uint16(p[10:]), native.Uint32(p[12:])
	if native.Uint64(p[:]) != id || id+uint64(overflow) >= m.high {
		return 0, 0, 0, fmt.Errorf("%w: page %d holds another page", errDamaged, id)
	}
	return flags, count, overflow, nil
}

func checkRoot(f *os.File, m boltMeta) error {
	flags, _, _, err := readPageHeader(f, m, m.root)
	if err == nil && flags != flagLeaf && flags != flagBranch {
		err = fmt.Errorf("%w: root page %d is of another kind", errDamaged, m.root)
	}
	return err
}

// readFreelist reads the list of free pages as bbolt does when it opens a
// file for writing, and requires it to be sorted and inside of the file. pages
// is how many the list itself takes.
func readFreelist(f *os.File, m boltMeta) (free []uint64, pages uint64, err error) {
	flags, n, overflow, err := readPageHeader(f, m, m.freelist)
	if err != nil {
		return nil, 0, err
	}
	bad := fmt.Errorf("%w: free list in page %d", errDamaged, m.freelist)
	if flags != flagFreelist {
		return nil, 0, bad
	}
	room := (int64(overflow)+1)*m.pageSize - pageHeaderLen
	// A file has at most MaxSegmentBytes in our use, and the list is a small
	// part of it; a larger one is damage.
	if room > 64<<20 {
		return nil, 0, bad
	}
	body := make([]byte, room)
	if _, err := f.ReadAt(body, int64(m.freelist)*m.pageSize+pageHeaderLen); err != nil {
		return nil, 0, err
	}
	count := uint64(n)
	if n == freelistBigTag {
		count, body = native.Uint64(body), body[8:]
	}
	const idLen = 8
	if count > uint64(len(body))/idLen {
		return nil, 0, bad
	}
	last := uint64(1)
	for i := uint64(0); i < count; i++ {
		id := native.Uint64(body[i*idLen:])
		if id <= last || id >= m.high {
			return nil, 0, bad
		}
		free = append(free, id)
		last = id
	}
	return free, uint64(overflow) + 1, nil
}
