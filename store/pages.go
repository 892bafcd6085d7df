package store

import (
	"bytes"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// pageWalk reads the tree that a meta page leads to with plain reads, without
// bbolt and without a mapping, so that no page, whatever it holds, can do more
// than be refused. It also keeps the account of pages: each is in the tree
// once, in the free list once, or is the free list; none is left over.
type pageWalk struct {
	f    *os.File
	m    boltMeta
	seen []uint64 // a bit for each page

	// entry gets every key that is not a bucket, with the keys of the buckets
	// that it is in, outermost first. What it gets is valid during the call.
	entry func(buckets [][]byte, key, value []byte)
}

const (
	treeDepthMost = 32 // a tree of two keys a page is less deep
	pageBytesMost = 128 << 20

	elementLen   = 16
	leafIsBucket = 0x01
	bucketHeader = 16 // root page, sequence
)

func (w *pageWalk) bad(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w: page %d: %s", errDamaged, id, fmt.Sprintf(format, args...))
}

// claim notes that pages are in use; one that is twice is damage.
func (w *pageWalk) claim(first, n uint64) error {
	for id := first; id < first+n; id++ {
		if id >= w.m.high {
			return w.bad(id, "behind the last one")
		}
		if w.seen[id/64]&(1<<(id%64)) != 0 {
			return w.bad(id, "in use twice")
		}
		w.seen[id/64] |= 1 << (id % 64)
	}
	return nil
}

// run walks everything.
func (w *pageWalk) run() error {
	w.seen = make([]uint64, w.m.high/64+1)
	if err := w.claim(0, 2); err != nil {
		return err
	}
	if err := w.tree(w.m.root, nil, 0); err != nil {
		return err
	}
	free, list, err := readFreelist(w.f, w.m)
	if err != nil {
		return err
	}
	if err := w.claim(w.m.freelist, list); err != nil {
		return err
	}
	for _, id := range free {
		if err := w.claim(id, 1); err != nil {
			return err
		}
	}
	for id := range w.m.high {
		if w.seen[id/64]&(1<<(id%64)) == 0 {
			return w.bad(id, "neither in use nor free")
		}
	}
	return nil
}

// tree walks the bucket whose root page this is.
func (w *pageWalk) tree(root uint64, buckets [][]byte, depth int) error {
	var last []byte
	return w.page(root, buckets, &last, depth)
}

// page walks a page of a tree. last is the key before its first one, and
// becomes its last one: the keys of a tree ascend.
func (w *pageWalk) page(id uint64, buckets [][]byte, last *[]byte, depth int) error {
	if depth > treeDepthMost {
		return w.bad(id, "too deep in the tree")
	}
	flags, _, overflow, err := readPageHeader(w.f, w.m, id)
	if err != nil {
		return err
	}
	if err := w.claim(id, uint64(overflow)+1); err != nil {
		return err
	}
	size := (int64(overflow) + 1) * w.m.pageSize
	if size > pageBytesMost {
		return w.bad(id, "larger than any record")
	}
	p := make([]byte, size)
	if _, err := w.f.ReadAt(p, int64(id)*w.m.pageSize); err != nil {
		return err
	}
	switch flags {
	case flagBranch:
		return w.branch(id, p, buckets, last, depth)
	case flagLeaf:
		return w.leaf(id, p, buckets, last, depth)
	}
	return w.bad(id, "of another kind")
}

// element gives the bounds of one of a page's elements: where its key begins.
// It stands pos bytes behind the element.
func element(i int, pos uint32) (at int64) {
	return int64(pageHeaderLen+i*elementLen) + int64(pos)
}

// count is how many elements a page has, and where what they lead to begins.
func (w *pageWalk) count(id uint64, p []byte) (n int, begin int64, err error) {
	n = int(native.Uint16(p[10:]))
	begin = element(n, 0)
	if begin > int64(len(p)) {
		return 0, 0, w.bad(id, "cannot have %d elements", n)
	}
	return n, begin, nil
}

// key is a key of a page, after a check that it ascends, and that it stands
// behind what came before it: bytes that two elements share would be walked
// twice, and so would what is in them, again and again.
func (w *pageWalk) key(id uint64, p []byte, at int64, size uint32, last []byte, behind int64) ([]byte, error) {
	if at < behind || at+int64(size) > int64(len(p)) {
		return nil, w.bad(id, "a key out of its place")
	}
	k := p[at : at+int64(size)]
	if last != nil && bytes.Compare(last, k) >= 0 {
		return nil, w.bad(id, "keys that do not ascend")
	}
	return k, nil
}

func (w *pageWalk) branch(id uint64, p []byte, buckets [][]byte, last *[]byte, depth int) error {
	n, end, err := w.count(id, p)
	if err != nil {
		return err
	}
	if n == 0 {
		return w.bad(id, "a branch without leaves")
	}
	for i := range n {
		e := p[pageHeaderLen+i*elementLen:]
		at, ksize := element(i, native.Uint32(e)), native.Uint32(e[4:])
		k, err := w.key(id, p, at, ksize, *last, end)
		if err != nil {
			return err
		}
		end = at + int64(ksize)
		before := *last
		if err := w.page(native.Uint64(e[8:]), buckets, last, depth+1); err != nil {
			return err
		}
		if *last == nil || bytes.Compare(*last, k) < 0 || bytes.Equal(*last, before) {
			return w.bad(id, "a page below that does not belong here")
		}
	}
	return nil
}

func (w *pageWalk) leaf(id uint64, p []byte, buckets [][]byte, last *[]byte, depth int) error {
	n, end, err := w.count(id, p)
	if err != nil {
		return err
	}
	for i := range n {
		e := p[pageHeaderLen+i*elementLen:]
		at, ksize, vsize := element(i, native.Uint32(e[4:])), native.Uint32(e[8:]), native.Uint32(e[12:])
		k, err := w.key(id, p, at, ksize, *last, end)
		if err != nil {
			return err
		}
		*last = bytes.Clone(k)
		at += int64(ksize)
		if end = at + int64(vsize); end > int64(len(p)) {
			return w.bad(id, "a value beyond its end")
		}
		v := p[at:end]
		if native.Uint32(e)&leafIsBucket == 0 {
			w.entry(buckets, k, v)
			continue
		}
		if err := w.bucket(id, v, append(buckets[:len(buckets):len(buckets)], *last), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// bucket walks a bucket that a leaf holds: a tree of its own, or, where it is
// small, a page inside of the value.
func (w *pageWalk) bucket(id uint64, v []byte, buckets [][]byte, depth int) error {
	if len(v) < bucketHeader {
		return w.bad(id, "a bucket without a root")
	}
	if root := native.Uint64(v); root != 0 {
		return w.tree(root, buckets, depth)
	}
	inline := v[bucketHeader:]
	if len(inline) < pageHeaderLen || native.Uint16(inline[8:]) != flagLeaf || depth > treeDepthMost {
		return w.bad(id, "a bucket that is none")
	}
	var last []byte
	return w.leaf(id, inline, buckets, &last, depth)
}

// branches walks the branch pages of a tree, and of its leaves no more than what
// kind they are.
func (w *pageWalk) branches(id uint64, depth int) error {
	flags, _, overflow, err := readPageHeader(w.f, w.m, id)
	switch {
	case err != nil:
		return err
	case flags == flagLeaf:
		return nil
	case flags != flagBranch || depth > treeDepthMost || overflow > 0:
		return w.bad(id, "not of this tree")
	}
	if err := w.claim(id, 1); err != nil {
		return err
	}
	p := make([]byte, w.m.pageSize)
	if _, err := w.f.ReadAt(p, int64(id)*w.m.pageSize); err != nil {
		return err
	}
	n, _, err := w.count(id, p)
	if err != nil {
		return err
	}
	for i := range n {
		if err := w.branches(native.Uint64(p[pageHeaderLen+i*elementLen+8:]), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// checkWays makes sure that bbolt can go through a file's buckets without going
// in a circle, which it would do until the process has no memory left, and no
// guard could stop. It reads branch pages, and of others the first bytes. The
// nested buckets of frames are left out: see leafAt. The file is open as tx's.
func checkWays(tx *bolt.Tx, f *os.File, m boltMeta, buckets ...[]byte) error {
	w := pageWalk{f: f, m: m, seen: make([]uint64, m.high/64+1)}
	if err := w.branches(m.root, 0); err != nil {
		return err
	}
	for _, name := range buckets {
		if b := tx.Bucket(name); b != nil && b.Root() != 0 {
			if err := w.branches(uint64(b.Root()), 0); err != nil {
				return err
			}
		}
	}
	return nil
}
