package ledger

import (
	"bytes"
	"fmt"
	"io"
)

// pageVerifier reads the trees of a file with plain reads, without bbolt and without a
// mapping, so that no page, whatever it holds, can do more than be refused.
// It accepts what bbolt v1.5.0 writes and nothing else (node.go, inode.go,
// bucket.go): elements whose data follow each other without a hole, keys that
// ascend, a branch's keys equal to the first ones below it, leaves that are
// all equally deep, no page twice. Each page is read once at most, so that the
// time is bounded by the file's size, and the depth of the recursion by
// depthMost.
type pageVerifier struct {
	f    io.ReaderAt
	m    meta
	seen []uint64 // a bit for each page in use

	branches [depthMost + 1][]byte // a buffer for each depth of a tree
	leaf     []byte
}

const (
	depthMost = 16 // a tree of two keys a page reaches this with 65,536 pages, a real one never

	elementLen      = 16
	elementBucket   = 0x01
	bucketHeader    = 16      // root page, sequence
	boltKeyMost     = 1 << 15 // bbolt.MaxKeySize
	leafBytesMost   = maxRowBytes + 1<<20
	branchBytesMost = 64 << 10 // unless one page is more
)

func newPageVerifier(f io.ReaderAt, m meta) *pageVerifier {
	return &pageVerifier{f: f, m: m, seen: make([]uint64, m.high/64+1)}
}

func bad(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w: page %d: %s", ErrDamaged, id, fmt.Sprintf(format, args...))
}

// claim notes that pages are in use; one that is twice is damage.
func (w *pageVerifier) claim(first, n uint64) error {
	for id := first; id < first+n; id++ {
		if id >= w.m.high {
			return bad(id, "behind the last one")
		}
		if w.seen[id/64]&(1<<(id%64)) != 0 {
			return bad(id, "in use twice")
		}
		w.seen[id/64] |= 1 << (id % 64)
	}
	return nil
}

// unclaimed is the first page that is not in use.
func (w *pageVerifier) unclaimed() (uint64, bool) {
	for id := range w.m.high {
		if w.seen[id/64]&(1<<(id%64)) == 0 {
			return id, true
		}
	}
	return 0, false
}

// header reads a page's header and claims its pages.
func (w *pageVerifier) header(id uint64) (flags, count uint16, pages uint64, err error) {
	if id < 2 || id >= w.m.high {
		return 0, 0, 0, bad(id, "outside of the file's %d pages", w.m.high)
	}
	var p [pageHeaderLen]byte
	if _, err := w.f.ReadAt(p[:], int64(id)*w.m.pageSize); err != nil {
		return 0, 0, 0, err
	}
	if native.Uint64(p[:]) != id {
		return 0, 0, 0, bad(id, "holds page %d", native.Uint64(p[:]))
	}
	pages = uint64(native.Uint32(p[12:])) + 1
	if pages > w.m.high-id {
		return 0, 0, 0, bad(id, "reaches beyond the last one")
	}
	return native.Uint16(p[8:]), native.Uint16(p[10:]), pages, w.claim(id, pages)
}

// entryFunc gets an element of a leaf. What it gets is valid during the call.
type entryFunc func(key, value []byte, isBucket bool) error

// tree is the walk over one bucket.
type tree struct {
	w         *pageVerifier
	entry     entryFunc
	skip      bool // leave the leaves unread
	last      []byte
	any       bool
	leafDepth int // of the first leaf; 0 before it
}

// tree walks the bucket whose root page this is. With skip it reads branch
// pages and claims the first page of each leaf.
func (w *pageVerifier) tree(root uint64, skip bool, entry entryFunc) error {
	t := &tree{w: w, entry: entry, skip: skip}
	return t.page(root, nil, 1)
}

// page walks a page. first is the key that led to it.
func (t *tree) page(id uint64, first []byte, depth int) error {
	w := t.w
	if depth > depthMost {
		return bad(id, "too deep in the tree")
	}
	if t.skip && t.leafDepth == depth {
		// What is as deep as a leaf is one, so it need not be read. How many
		// pages it takes stays unknown.
		if id < 2 || id >= w.m.high {
			return bad(id, "outside of the file's %d pages", w.m.high)
		}
		return w.claim(id, 1)
	}
	flags, count, pages, err := w.header(id)
	if err != nil {
		return err
	}
	if flags != flagLeaf && flags != flagBranch {
		return bad(id, "is no page of a tree")
	}
	if flags == flagLeaf {
		if t.leafDepth == 0 {
			t.leafDepth = depth
		}
		if t.leafDepth != depth {
			return bad(id, "leaves are not equally deep")
		}
		if t.skip {
			return nil
		}
	}
	if count == 0 {
		return bad(id, "is empty")
	}
	size := int64(pages) * w.m.pageSize
	buf, most := &w.leaf, int64(leafBytesMost)
	if flags == flagBranch {
		buf, most = &w.branches[depth], branchBytesMost
	}
	if pages > 1 && size > most {
		return bad(id, "is larger than any row")
	}
	if int64(cap(*buf)) < size {
		*buf = make([]byte, size)
	}
	p := (*buf)[:size]
	if _, err := w.f.ReadAt(p, int64(id)*w.m.pageSize); err != nil {
		return err
	}
	var end int
	if flags == flagBranch {
		end, err = t.branch(id, p, int(count), first, depth)
	} else {
		end, err = t.leaf(id, p, int(count), first)
	}
	if err == nil && int64(pages) != (int64(end)+w.m.pageSize-1)/w.m.pageSize {
		err = bad(id, "takes %d pages for %d bytes", pages, end)
	}
	return err
}

// place gives a part of a page, which must begin where the part before it ended.
func place(id uint64, p []byte, element int, pos, size uint32, at int) ([]byte, error) {
	if int64(element)+int64(pos) != int64(at) || int64(at)+int64(size) > int64(len(p)) {
		return nil, bad(id, "an element out of its place")
	}
	return p[at : at+int(size)], nil
}

// begin is where the data of a page's elements begin.
func begin(id uint64, p []byte, count int) (int, error) {
	at := pageHeaderLen + count*elementLen
	if at > len(p) {
		return 0, bad(id, "cannot have %d elements", count)
	}
	return at, nil
}

func (t *tree) branch(id uint64, p []byte, count int, first []byte, depth int) (end int, err error) {
	at, err := begin(id, p, count)
	if err != nil {
		return 0, err
	}
	for i := range count {
		element := pageHeaderLen + i*elementLen
		e := p[element:]
		k, err := place(id, p, element, native.Uint32(e), native.Uint32(e[4:]), at)
		if err != nil {
			return 0, err
		}
		at += len(k)
		if len(k) == 0 || len(k) > boltKeyMost || t.any && bytes.Compare(t.last, k) >= 0 {
			return 0, bad(id, "keys that do not ascend")
		}
		if i == 0 && first != nil && !bytes.Equal(k, first) {
			return 0, bad(id, "does not begin with the key that leads to it")
		}
		if err := t.page(native.Uint64(e[8:]), k, depth+1); err != nil {
			return 0, err
		}
		if t.skip && (!t.any || bytes.Compare(t.last, k) < 0) {
			// The leaves below do not tell their keys.
			t.last, t.any = append(t.last[:0], k...), true
		}
	}
	return at, nil
}

func (t *tree) leaf(id uint64, p []byte, count int, first []byte) (end int, err error) {
	at, err := begin(id, p, count)
	if err != nil {
		return 0, err
	}
	for i := range count {
		element := pageHeaderLen + i*elementLen
		e := p[element:]
		flags, pos, ksize, vsize := native.Uint32(e), native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
		k, err := place(id, p, element, pos, ksize, at)
		if err != nil {
			return 0, err
		}
		at += len(k)
		if int64(at)+int64(vsize) > int64(len(p)) {
			return 0, bad(id, "a value beyond its end")
		}
		v := p[at : at+int(vsize)]
		at += len(v)
		if len(k) == 0 || len(k) > boltKeyMost || t.any && bytes.Compare(t.last, k) >= 0 {
			return 0, bad(id, "keys that do not ascend")
		}
		if i == 0 && first != nil && !bytes.Equal(k, first) {
			return 0, bad(id, "does not begin with the key that leads to it")
		}
		if flags&^elementBucket != 0 {
			return 0, bad(id, "an element of an unknown kind")
		}
		t.last, t.any = append(t.last[:0], k...), true
		if err := t.entry(k, v, flags == elementBucket); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// bucket walks a bucket by its entry in the root tree: a tree of its own, or,
// where it is small, a page inside of the value.
func (w *pageVerifier) bucket(v []byte, skip bool, entry entryFunc) error {
	if len(v) < bucketHeader || native.Uint64(v[8:]) != 0 {
		return bad(w.m.root, "a bucket without a root, or with a sequence")
	}
	if root := native.Uint64(v); root != 0 {
		if len(v) != bucketHeader {
			return bad(w.m.root, "a bucket with a root of two kinds")
		}
		return w.tree(root, skip, entry)
	}
	p := v[bucketHeader:]
	if len(p) < pageHeaderLen || native.Uint64(p) != 0 || native.Uint16(p[8:]) != flagLeaf || native.Uint32(p[12:]) != 0 {
		return bad(w.m.root, "a bucket that is none")
	}
	t := &tree{w: w, entry: entry}
	end, err := t.leaf(w.m.root, p, int(native.Uint16(p[10:])), nil)
	if err == nil && end != len(p) {
		err = bad(w.m.root, "a bucket with %d bytes too many", len(p)-end)
	}
	return err
}

// freelist claims the pages of the free list and those in it.
func (w *pageVerifier) freelist() (free uint64, err error) {
	id := w.m.freelist
	flags, n, pages, err := w.header(id)
	if err != nil {
		return 0, err
	}
	if flags != flagFreelist {
		return 0, bad(id, "is no free list")
	}
	const idLen = 8
	at, end := int64(id)*w.m.pageSize+pageHeaderLen, int64(id+pages)*w.m.pageSize
	count := uint64(n)
	if n == 0xFFFF {
		// More than the header can say: the first element does.
		var p [idLen]byte
		if _, err := w.f.ReadAt(p[:], at); err != nil {
			return 0, err
		}
		count = native.Uint64(p[:])
		at += idLen
		if count < 0xFFFF {
			return 0, bad(id, "a long free list of %d pages", count)
		}
	}
	if count > uint64(end-at)/idLen {
		return 0, bad(id, "cannot list %d pages", count)
	}
	last := uint64(1)
	var buf [64 << 10]byte
	for rest := count; rest > 0; {
		chunk := buf[:min(rest*idLen, uint64(len(buf)))]
		if _, err := w.f.ReadAt(chunk, at); err != nil {
			return 0, err
		}
		at += int64(len(chunk))
		rest -= uint64(len(chunk)) / idLen
		for i := 0; i < len(chunk); i += idLen {
			page := native.Uint64(chunk[i:])
			if page <= last || page >= w.m.high {
				return 0, bad(id, "lists page %d behind %d", page, last)
			}
			last = page
			if err := w.claim(page, 1); err != nil {
				return 0, err
			}
		}
	}
	return count, nil
}
