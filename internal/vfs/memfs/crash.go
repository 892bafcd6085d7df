package memfs

import (
	"bytes"
	"cmp"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
)

// Fail makes the nth call of a kind from now, counted from 1, fail with err.
func (f *FS) Fail(op Op, nth int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails[op] == nil {
		f.fails[op] = map[int]error{}
	}
	f.fails[op][f.calls[op]+nth] = err
}

// Calls is how many calls of a kind there were.
func (f *FS) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Limit bounds the sizes of all files together; 0 takes the bound away.
func (f *FS) Limit(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = bytes
}

// Used is the sizes of all files together.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used()
}

// CutAfter cuts the power at the nth call from now, counted from 1, that
// changes something. That call may have had its effect; it and all later
// ones fail with ErrOff. Crash then tells what is left. 0 takes it back.
func (f *FS) CutAfter(nth int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = nth
}

// Off reports whether the power is gone.
func (f *FS) Off() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.off
}

// Calm takes back what Fail, CutAfter and Limit have in store.
func (f *FS) Calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.fails)
	f.cut, f.limit = 0, 0
}

// Crash cuts the power, if it is not gone yet, and gives the file system as it
// is found afterwards. Handles of the old one, and its locks, are dead.
func (f *FS) Crash() *FS { return f.after(true) }

// Kill ends the process that used the file system: its handles and locks are
// dead, what it wrote is there, and what was not durable is not yet.
func (f *FS) Kill() *FS { return f.after(false) }

func (f *FS) after(power bool) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
	next := New(f.rng.Uint64())
	next.limit, next.made = f.limit, f.made
	clones := map[*node]*node{}
	clone := func(n *node) *node {
		if c := clones[n]; c != nil {
			return c
		}
		c := &node{id: n.id, data: bytes.Clone(n.data), durable: bytes.Clone(n.durable), sizes: slices.Clone(n.sizes)}
		c.dirty = make(map[int64][][]byte, len(n.dirty))
		for s, versions := range n.dirty {
			c.dirty[s] = slices.Clone(versions)
		}
		if power {
			c.settle(next.rng)
			c.data = bytes.Clone(c.durable)
		}
		clones[n] = c
		return c
	}
	// In the order of their making: names can have a random part, which must
	// not decide over the outcome.
	for _, n := range f.nodes() {
		clone(n)
	}
	cloneAll := func(names map[string]*node) map[string]*node {
		out := make(map[string]*node, len(names))
		for _, name := range slices.Sorted(maps.Keys(names)) {
			out[name] = clone(names[name])
		}
		return out
	}
	moves := map[*move]*move{}
	for _, path := range slices.Sorted(maps.Keys(f.dirs)) {
		d := f.dirs[path]
		nd := &dir{durable: d.durable, names: d.names, pending: slices.Clone(d.pending)}
		for i, c := range nd.pending {
			if c.move != nil {
				if moves[c.move] == nil {
					moves[c.move] = &move{}
				}
				nd.pending[i].move = moves[c.move]
			}
		}
		if power {
			nd.durable = maps.Clone(d.durable)
			nd.settle(next.rng)
			nd.durable = cloneAll(nd.durable)
			nd.names = maps.Clone(nd.durable)
		} else {
			nd.durable, nd.names = cloneAll(nd.durable), cloneAll(nd.names)
			for i, c := range nd.pending {
				if c.node != nil {
					nd.pending[i].node = clone(c.node)
				}
			}
		}
		next.dirs[path] = nd
	}
	return next
}

// nodes lists all files that have a name, or would have one after a crash.
func (f *FS) nodes() (all []*node) {
	for _, d := range f.dirs {
		all = slices.AppendSeq(all, maps.Values(d.names))
		all = slices.AppendSeq(all, maps.Values(d.durable))
		for _, c := range d.pending {
			if c.node != nil {
				all = append(all, c.node)
			}
		}
	}
	slices.SortFunc(all, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
	return slices.Compact(all)
}

// Contents gives a copy of a file's bytes, for a test to look at.
func (f *FS) Contents(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _, n, err := f.lookup(name)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, failed("read", name, err)
	}
	return bytes.Clone(n.data), nil
}

// Put gives a file these bytes, durably and without a call being counted: a
// test damages a file with it, or brings back an old one.
func (f *FS) Put(name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	parent, base := filepath.Split(name)
	d := f.dirs[filepath.Clean(parent)]
	if d == nil {
		d = newDir()
		f.dirs[filepath.Clean(parent)] = d
	}
	n := d.names[base]
	if n == nil {
		n = f.newNode()
	}
	n.data, n.durable, n.dirty, n.sizes = bytes.Clone(data), bytes.Clone(data), nil, nil
	d.names[base], d.durable[base] = n, n
}

// Delete takes a file away, durably and without a call being counted.
func (f *FS) Delete(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d, base, _, err := f.lookup(name); err == nil {
		delete(d.names, base)
		delete(d.durable, base)
	}
}
