package memfs

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// node is a file: what is read of it, what is durable of it, and what may
// become durable by itself.
type node struct {
	id      uint64
	open    int
	data    []byte
	durable []byte
	// dirty has, for each sector written since the last Sync, what stood in it
	// after each of the writes.
	dirty map[int64][][]byte
	sizes []int64 // the sizes since the last Sync
}

func (n *node) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	end := off + int64(len(p))
	if end > int64(len(n.data)) {
		n.resize(end)
	}
	copy(n.data[off:], p)
	for s := off / sector; s*sector < end; s++ {
		n.touch(s)
	}
}

// touch notes what stands in a sector now.
func (n *node) touch(s int64) {
	if n.dirty == nil {
		n.dirty = map[int64][][]byte{}
	}
	version := make([]byte, sector)
	if s*sector < int64(len(n.data)) {
		copy(version, n.data[s*sector:])
	}
	n.dirty[s] = append(n.dirty[s], version)
}

func (n *node) resize(size int64) {
	if size <= int64(len(n.data)) {
		n.data = n.data[:size:size]
	} else {
		n.data = append(n.data, make([]byte, size-int64(len(n.data)))...)
	}
	n.sizes = append(n.sizes, size)
}

// truncate makes zeros of what it cuts off, should the file grow again.
func (n *node) truncate(size int64) {
	old := int64(len(n.data))
	n.resize(size)
	if size < old {
		for s := size / sector; s*sector < old; s++ {
			n.touch(s)
		}
	}
}

func (n *node) sync() {
	n.apply(func(versions [][]byte) []byte { return versions[len(versions)-1] }, int64(len(n.data)))
}

// settle decides by chance what becomes durable. What does not never will.
func (n *node) settle(rng *rand.Rand) {
	size := int64(len(n.durable))
	if k := rng.IntN(len(n.sizes) + 1); k > 0 {
		size = n.sizes[k-1]
	}
	// Sometimes next to nothing reaches the disk, sometimes all but a little.
	odds := []int{1, 2, 8, 16}[rng.IntN(4)]
	few := rng.IntN(2) == 0
	n.apply(func(versions [][]byte) []byte {
		if (rng.IntN(odds) == 0) != few && odds > 1 {
			return nil
		}
		k := rng.IntN(len(versions) + 1)
		if odds == 16 && !few {
			k = len(versions)
		}
		if k == 0 {
			return nil
		}
		return versions[k-1]
	}, size)
}

// apply makes durable what pick chooses for each sector, in order.
func (n *node) apply(pick func([][]byte) []byte, size int64) {
	grown := n.durable
	for _, s := range slices.Sorted(maps.Keys(n.dirty)) {
		version := pick(n.dirty[s])
		if version == nil {
			continue
		}
		if end := (s + 1) * sector; end > int64(len(grown)) {
			grown = append(grown, make([]byte, end-int64(len(grown)))...)
		}
		copy(grown[s*sector:], version)
	}
	if size > int64(len(grown)) {
		grown = append(grown, make([]byte, size-int64(len(grown)))...)
	}
	// What lies beyond the end is not there when the file grows again.
	n.durable = grown[:size:size]
	n.dirty, n.sizes = nil, nil
}

// dir is the names of files in a directory.
type dir struct {
	names   map[string]*node
	durable map[string]*node
	pending []change
}

// change is one change of a directory: a name goes, a name is set, or both at once.
type change struct {
	del, set string
	node     *node
	move     *move // when it is one half of a move between directories
}

// move is what the two halves of a move share: it is durable as a whole or not.
type move struct{ decided, durable bool }

func newDir() *dir { return &dir{names: map[string]*node{}, durable: map[string]*node{}} }

func (d *dir) change(c change) {
	c.to(d.names)
	d.pending = append(d.pending, c)
}

func (c change) to(names map[string]*node) {
	if c.del != "" {
		delete(names, c.del)
	}
	if c.set != "" {
		// No file has two names, whatever came before.
		maps.DeleteFunc(names, func(_ string, n *node) bool { return n == c.node })
		names[c.set] = c.node
	}
}

// decide makes a change durable, or drops it.
func (d *dir) decide(c change, durable bool) {
	if c.move != nil {
		if c.move.decided {
			durable = c.move.durable
		}
		c.move.decided, c.move.durable = true, durable
	}
	if durable {
		c.to(d.durable)
	}
}

// sync makes all changes durable.
func (d *dir) sync() {
	for _, c := range d.pending {
		d.decide(c, true)
	}
	d.durable, d.pending = maps.Clone(d.names), nil
}

// settle decides by chance which changes become durable: those up to one of
// them, as a journal keeps them, or any of them.
func (d *dir) settle(rng *rand.Rand) {
	keep := rng.IntN(len(d.pending) + 1)
	journal := rng.IntN(2) == 0
	for i, c := range d.pending {
		d.decide(c, journal && i < keep || !journal && rng.IntN(2) == 0)
	}
	d.pending = nil
}

// finishMoves decides the halves of moves whose other half was decided.
func (d *dir) finishMoves() {
	kept := d.pending[:0:0]
	for _, c := range d.pending {
		if c.move != nil && c.move.decided {
			d.decide(c, c.move.durable)
		} else {
			kept = append(kept, c)
		}
	}
	d.pending = kept
}

func baseOf(name string) string { return filepath.Base(name) }
