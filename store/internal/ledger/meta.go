package ledger

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
)

// bbolt writes its pages in the byte order of the machine. The layout below
// is that of v1.5.0 (internal/common: page.go, meta.go): a page header of id
// (8), flags (2), count (2), overflow (4); behind it, on pages 0 and 1, magic
// (4), version (4), page size (4), flags (4), root page (8), root sequence
// (8), freelist page (8), high-water page (8), transaction (8), FNV-64a (8).
const (
	boltMagic     = 0xED0CDAED
	boltVersion   = 2
	pageHeaderLen = 16
	metaLen       = 64
	flagBranch    = 0x01
	flagLeaf      = 0x02
	flagFreelist  = 0x10
	pageSizeLeast = 1 << 10
	pageSizeMost  = 1 << 16 // what operating systems have
)

var native = binary.NativeEndian

// meta is a meta page: one of the two roots of the file.
type meta struct {
	valid    bool
	pageSize int64
	root     uint64
	freelist uint64
	high     uint64 // pages from here on are not in use
	txid     uint64
}

type metas struct{ slot [2]meta }

// newest is the meta page that bbolt would go by.
func (m *metas) newest() (meta, bool) {
	a, b := m.slot[0], m.slot[1]
	switch {
	case a.valid && (!b.valid || a.txid > b.txid):
		return a, true
	case b.valid:
		return b, true
	}
	return meta{}, false
}

// readMetas reads both meta pages; invalid ones are no error.
func readMetas(f io.ReaderAt) (m metas, err error) {
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

func metaAt(f io.ReaderAt, at int64) (meta, error) {
	var p [pageHeaderLen + metaLen]byte
	if _, err := f.ReadAt(p[:], at); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return meta{}, err
	}
	b := p[pageHeaderLen:]
	m := meta{
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
