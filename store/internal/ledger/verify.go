package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
)

const (
	// wholeUpTo is the size up to which a file is read whole. Of a larger one
	// the leaves of history and keys are left unread: they are found damaged
	// when they are met, and no live row depends on them.
	wholeUpTo = 64 << 20
	// sizeMost bounds what is used of a file: 64 GiB, for the account of its pages,
	// and 1 GiB where an int has 32 bits, for a map of it.
	sizeMost = 1 << 30 << (^uint(0) >> 63 * 6)
	// bucketsMost bounds what is kept of the root tree. All formats have fewer.
	bucketsMost = 64
)

// proof is what reading a file has shown. Everything that is mirrored is whole
// and belongs together; what the errors say costs history, keys or the list of
// free pages, and nothing else.
type proof struct {
	size    int64
	meta    meta
	suspect bool // one of the two meta pages is invalid
	partial bool // leaves of history and keys were left unread
	free    uint64
	roots   [bucketCount][]byte // the buckets' entries in the root tree
	mirror  *mirror

	history, keys, pages error
}

// verify reads a file of size bytes, and decides whether bbolt may have it.
// bbolt itself compares neither the file's size with its high-water page nor
// root and free list with it, goes in circles where pages do, and dies of a
// damaged free list.
//
// Errors: one that matches ErrDamaged, a VersionError, or that of reading.
func verify(f io.ReaderAt, size int64, whole bool) (*proof, error) {
	p := &proof{size: size, partial: !whole && size > wholeUpTo}
	err := p.run(f)
	if err != nil && !errors.Is(err, ErrDamaged) && unreadable(err) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// unreadable tells a place of the file that cannot be read from a file that
// cannot be read just now.
func unreadable(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EIO)
}

func (p *proof) run(f io.ReaderAt) error {
	if err := p.metaPage(f); err != nil {
		return err
	}
	w := newPageVerifier(f, p.meta)
	if err := w.claim(0, 2); err != nil {
		return err
	}
	if err := p.rootTree(w); err != nil {
		return err
	}
	ld := newLoader()
	for b := bktMeta; b < firstRest; b++ {
		err := w.bucket(p.roots[b], false, func(key, value []byte, isBucket bool) error {
			if isBucket {
				return errRowForm
			}
			return ld.row(b, key, value)
		})
		if err != nil {
			return inBucket(b, err)
		}
	}
	if err := ld.check(); err != nil {
		return err
	}
	if at := ld.m.state.txid; at != p.meta.txid {
		return fmt.Errorf("%w: the state is of transaction %d and the file of %d", ErrDamaged, at, p.meta.txid)
	}
	p.mirror = ld.m
	p.rest(w)
	return nil
}

// inBucket says where damage is. What is no error of reading and no version is
// damage.
func inBucket(b bucket, err error) error {
	var version *VersionError
	var errno syscall.Errno
	if errors.As(err, &version) || errors.Is(err, ErrDamaged) || unreadable(err) || errors.As(err, &errno) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, b, err)
}

// metaPage finds the meta page that bbolt would go by.
func (p *proof) metaPage(f io.ReaderAt) error {
	metas, err := readMetas(f)
	if err != nil {
		return err
	}
	m, ok := metas.newest()
	if !ok {
		return fmt.Errorf("%w: no valid meta page in a file of %d bytes", ErrDamaged, p.size)
	}
	p.meta = m
	for i, slot := range metas.slot {
		if !slot.valid {
			p.suspect = true
		} else if slot.txid%2 != uint64(i) {
			return bad(uint64(i), "a meta page out of its place")
		}
	}
	switch {
	case m.txid > maxCommitNo:
		return fmt.Errorf("%w: transaction %d", ErrDamaged, m.txid)
	case m.high > sizeMost/uint64(m.pageSize):
		return fmt.Errorf("%w: %d pages of %d bytes", ErrDamaged, m.high, m.pageSize)
	case m.high < 4 || m.high > uint64(p.size/m.pageSize):
		return fmt.Errorf("%w: the file has %d bytes and needs %d pages of %d", ErrDamaged, p.size, m.high, m.pageSize)
	}
	return nil
}

// rootTree reads which buckets there are, and tells another format apart.
func (p *proof) rootTree(w *pageVerifier) error {
	found := map[string][]byte{}
	err := w.tree(w.m.root, false, func(key, value []byte, isBucket bool) error {
		if !isBucket || len(found) == bucketsMost || len(value) > int(w.m.pageSize) {
			return bad(w.m.root, "is no root of buckets")
		}
		found[string(key)] = append([]byte{}, value...)
		return nil
	})
	if err != nil {
		return err
	}
	if err := otherFormat(w, found[bktMeta.String()]); err != nil {
		return err
	}
	for name, root := range found {
		if b, ok := bucketOf([]byte(name)); ok {
			p.roots[b] = root
		} else {
			return fmt.Errorf("%w: a bucket of an unknown name", ErrDamaged)
		}
	}
	for b, root := range p.roots {
		if root == nil {
			return fmt.Errorf("%w: no bucket %s", ErrDamaged, bucket(b))
		}
	}
	return nil
}

// otherFormat recognises the ledger of a format before 3, by two rows without
// a checksum, and of any other, by its head. It comes before all that a format
// decides: which buckets there are, and what their rows look like.
func otherFormat(w *pageVerifier, root []byte) error {
	if len(root) < bucketHeader {
		return nil
	}
	identity, version := false, uint32(0)
	w = newPageVerifier(w.f, w.m) // of its own: where meta has pages they are claimed once more
	err := w.bucket(root, false, func(key, value []byte, _ bool) error {
		switch {
		case string(key) == string(oldKeyIdentity) && len(value) == 8:
			identity = true
		case string(key) == string(oldKeyVersion) && len(value) == 4:
			version = binary.BigEndian.Uint32(value)
		case string(key) == string(keyHead):
			if body, err := openRow(bktMeta, key, value); err == nil {
				if h, err := decodeHead(body); err == nil && h.Version != FormatVersion {
					return &VersionError{Version: h.Version, Known: FormatVersion}
				}
			}
		}
		return nil
	})
	if err == nil && identity && version > 0 && version < FormatVersion {
		err = &VersionError{Version: version, Known: FormatVersion}
	}
	if _, ok := errors.AsType[*VersionError](err); ok {
		return err
	}
	return nil
}

// rest looks at what the mirror does not need: history, keys, and whether each
// page is in use once or free once.
func (p *proof) rest(w *pageVerifier) {
	var counts census
	p.history = p.restBuckets(w, &counts, bktHistory, bktByTime)
	if p.history == nil && !p.partial && uint64(p.mirror.state.History) != counts[bktHistory].Rows {
		p.history = fmt.Errorf("%w: the history has %d rows, not %d", ErrDamaged, counts[bktHistory].Rows, p.mirror.state.History)
	}
	p.keys = p.restBuckets(w, &counts, bktKeys, bktKeyTimes)
	p.free, p.pages = w.freelist()
	if p.pages == nil && p.history == nil && p.keys == nil && !p.partial {
		if id, any := w.unclaimed(); any {
			p.pages = bad(id, "neither in use nor free")
		}
	}
}

func (p *proof) restBuckets(w *pageVerifier, counts *census, pair ...bucket) error {
	for _, b := range pair {
		err := w.bucket(p.roots[b], p.partial, func(key, value []byte, isBucket bool) error {
			if isBucket {
				return errRowForm
			}
			if err := checkRest(b, key, value, p.mirror); err != nil {
				return err
			}
			counts.add(b, value)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", b, err)
		}
		if !p.partial && counts[b] != p.mirror.state.census[b] {
			return fmt.Errorf("%w: %s has %d rows and should have %d others", ErrDamaged, b, counts[b].Rows, p.mirror.state.census[b].Rows)
		}
	}
	if !p.partial && counts[pair[0]].Rows != counts[pair[1]].Rows {
		return fmt.Errorf("%w: %s and %s do not agree", ErrDamaged, pair[0], pair[1])
	}
	return nil
}

// checkRest checks a row that is not mirrored.
func checkRest(b bucket, key, value []byte, m *mirror) error {
	body, err := openRow(b, key, value)
	if err != nil {
		return err
	}
	switch b {
	case bktHistory:
		e, err := decodeBatch(key, body)
		if err != nil {
			return err
		}
		if m.lanes[e.Batch.Lane] == nil || !e.State.Final() {
			return errRowForm
		}
	case bktKeys:
		_, err = decodeKey(key, body)
	default:
		if len(body) != 0 {
			return errRowForm
		}
	}
	return err
}

// damage is why the file has to be written again; nil if it has not.
func (p *proof) damage() error { return errors.Join(p.history, p.keys, p.pages) }

// shrinkFrom is the size of a file that is worth to be written again when most
// of it is free: a bbolt file never shrinks by itself, and its free list is
// part of every commit.
const shrinkFrom = 4 << 20

// foreignTail is more than bbolt makes a file larger by than it uses: somebody else
// did.
const foreignTail = 256 << 20

func (p *proof) worthShrinking() bool {
	if p.size-int64(p.meta.high)*p.meta.pageSize > foreignTail {
		return true // and it may be more than can be mapped
	}
	return p.size >= shrinkFrom && int64(p.free)*p.meta.pageSize >= p.size/2
}
