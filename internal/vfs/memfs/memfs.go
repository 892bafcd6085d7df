package memfs

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"kustospool/internal/vfs"
)

// Op is a kind of call.
type Op int

// The kinds of calls. A cut counts those from Create to MkdirAll.
const (
	Open Op = iota
	Create
	Write
	Truncate
	Sync
	Rename
	Remove
	SyncDir
	Lock
	MkdirAll
	Read
	List
	ops
)

// ErrOff is what every call gets after the power is gone.
var ErrOff = errors.New("memfs: the power is off")

// FS is a file system in memory. All methods may be called at the same time;
// with calls at the same time their order, and so the outcome, is not the seed's.
type FS struct {
	mu    sync.Mutex // guards all below, nodes and directories too
	rng   *rand.Rand
	dirs  map[string]*dir
	locks map[string]bool
	calls [ops]int
	fails map[Op]map[int]error
	cut   int // changing calls until the power goes; 0: never
	off   bool
	limit int64 // 0: none
	made  uint64
}

var _ vfs.FS = (*FS)(nil)

// New gives an empty file system with the root directory "/".
func New(seed uint64) *FS {
	return &FS{
		rng: rand.New(rand.NewPCG(seed, 0x6b757374)), dirs: map[string]*dir{"/": newDir()},
		locks: map[string]bool{}, fails: map[Op]map[int]error{},
	}
}

// begin counts a call, and says whether it fails. The caller holds the lock.
func (f *FS) begin(op Op) error {
	if f.off {
		return ErrOff
	}
	f.calls[op]++
	if err := f.fails[op][f.calls[op]]; err != nil {
		delete(f.fails[op], f.calls[op])
		return err
	}
	if op >= Create && op <= MkdirAll && f.cut > 0 {
		if f.cut--; f.cut == 0 {
			f.off = true
			// Half of the time the call had its effect before the power went.
			if f.rng.IntN(2) == 0 {
				return ErrOff
			}
		}
	}
	return nil
}

// end keeps the answer of the call at which the power went.
func (f *FS) end() error {
	if f.off {
		return ErrOff
	}
	return nil
}

func failed(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// lookup finds the directory of a name and what the name leads to, if anything.
func (f *FS) lookup(name string) (d *dir, base string, n *node, err error) {
	name = filepath.Clean(name)
	parent, base := filepath.Split(name)
	d = f.dirs[filepath.Clean(parent)]
	if d == nil {
		return nil, base, nil, fs.ErrNotExist
	}
	return d, base, d.names[base], nil
}

// Open opens a file, see [vfs.FS].
func (f *FS) Open(name string, mode vfs.Mode) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	op := Open
	if mode == vfs.Create {
		op = Create
	}
	if err := f.begin(op); err != nil {
		return nil, failed("open", name, err)
	}
	d, base, n, err := f.lookup(name)
	if err != nil {
		return nil, failed("open", name, err)
	}
	_, isDir := f.dirs[filepath.Clean(name)]
	switch {
	case mode == vfs.Create && (n != nil || isDir):
		return nil, failed("open", name, fs.ErrExist)
	case mode == vfs.Create:
		n = f.newNode()
		d.change(change{set: base, node: n})
	case isDir:
		return nil, failed("open", name, vfs.ErrNotRegular)
	case n == nil:
		return nil, failed("open", name, fs.ErrNotExist)
	}
	if err := f.end(); err != nil {
		return nil, failed("open", name, err)
	}
	n.open++
	return &file{fs: f, n: n, name: name, readOnly: mode == vfs.ReadOnly}, nil
}

// Rename gives a file another name.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(Rename); err != nil {
		return failed("rename", from, err)
	}
	d, base, n, err := f.lookup(from)
	if err != nil {
		return failed("rename", from, err)
	}
	d2, base2, _, err := f.lookup(to)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return failed("rename", from, err)
	}
	if d == d2 {
		d.change(change{del: base, set: base2, node: n})
		return f.end()
	}
	m := &move{}
	d2.change(change{set: base2, node: n, move: m})
	d.change(change{del: base, move: m})
	return f.end()
}

// Remove unlinks a file.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(Remove); err != nil {
		return failed("remove", name, err)
	}
	d, base, n, err := f.lookup(name)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return failed("remove", name, err)
	}
	d.change(change{del: base})
	return f.end()
}

// Stat says what a name leads to.
func (f *FS) Stat(name string) (vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off {
		return vfs.Info{}, failed("stat", name, ErrOff)
	}
	if _, ok := f.dirs[filepath.Clean(name)]; ok {
		return vfs.Info{Name: filepath.Base(name), Dir: true, Links: 1, Owner: -1, Allocated: -1}, nil
	}
	_, _, n, err := f.lookup(name)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return vfs.Info{}, failed("stat", name, err)
	}
	return f.info(n, filepath.Base(name)), nil
}

// List lists a directory, the files in the order of their making.
func (f *FS) List(name string) ([]vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(List); err != nil {
		return nil, failed("list", name, err)
	}
	name = filepath.Clean(name)
	d := f.dirs[name]
	if d == nil {
		return nil, failed("list", name, fs.ErrNotExist)
	}
	var out []vfs.Info
	for base, n := range d.names {
		out = append(out, f.info(n, base))
	}
	slices.SortFunc(out, func(a, b vfs.Info) int { return cmp.Compare(a.ID[1], b.ID[1]) })
	for _, sub := range slices.Sorted(maps.Keys(f.dirs)) {
		if sub != name && filepath.Dir(sub) == name {
			out = append(out, vfs.Info{Name: filepath.Base(sub), Dir: true, Links: 1, Owner: -1, Allocated: -1})
		}
	}
	return out, nil
}

// MkdirAll makes a directory. Like its parents it is durable at once: a store
// makes its directories before there is anything to lose.
func (f *FS) MkdirAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(MkdirAll); err != nil {
		return failed("mkdir", name, err)
	}
	for name = filepath.Clean(name); f.dirs[name] == nil; name = filepath.Dir(name) {
		f.dirs[name] = newDir()
	}
	return f.end()
}

// RemoveDir takes a directory away from under whoever uses it.
func (f *FS) RemoveDir(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.dirs, filepath.Clean(name))
}

// SyncDir makes the names in a directory durable.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[filepath.Clean(name)]
	if err := f.begin(SyncDir); err != nil {
		if d != nil && !errors.Is(err, ErrOff) {
			f.settle(d, f.rng)
		}
		return failed("syncdir", name, err)
	}
	if d == nil {
		return failed("syncdir", name, fs.ErrNotExist)
	}
	d.sync()
	f.finishMoves()
	return f.end()
}

// Lock takes the lock of a file, see [vfs.FS].
func (f *FS) Lock(name string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(Lock); err != nil {
		return nil, failed("lock", name, err)
	}
	name = filepath.Clean(name)
	if f.locks[name] {
		return nil, vfs.ErrLocked
	}
	d, base, n, err := f.lookup(name)
	if err != nil {
		return nil, failed("lock", name, err)
	}
	if n == nil {
		n = f.newNode()
		d.change(change{set: base, node: n})
	}
	if err := f.end(); err != nil {
		return nil, failed("lock", name, err)
	}
	f.locks[name] = true
	n.open++
	return &file{fs: f, n: n, name: name, lock: true}, nil
}

// settle decides what becomes durable of a directory.
func (f *FS) settle(d *dir, rng *rand.Rand) {
	d.settle(rng)
	f.finishMoves()
}

// finishMoves gives the other end of each move that was decided the same outcome.
func (f *FS) finishMoves() {
	for _, d := range f.dirs {
		d.finishMoves()
	}
}

func (f *FS) newNode() *node {
	f.made++
	return &node{id: f.made}
}

func (f *FS) info(n *node, base string) vfs.Info {
	info := vfs.Info{Name: base, Size: int64(len(n.data)), Regular: true, Owner: -1, Allocated: -1, ID: [2]uint64{1, n.id}}
	for _, d := range f.dirs {
		for _, other := range d.names {
			if other == n {
				info.Links++
			}
		}
	}
	return info
}

// used is the room that all files take, unlinked ones too while they are open.
func (f *FS) used() (sum int64) {
	seen := map[*node]bool{}
	for _, d := range f.dirs {
		for _, n := range d.names {
			if !seen[n] {
				seen[n] = true
				sum += int64(len(n.data))
			}
		}
	}
	return sum
}

// room says how many of the bytes that a file is to grow by there is room for.
func (f *FS) room(grow int64) (int64, error) {
	if f.limit == 0 || grow <= 0 {
		return grow, nil
	}
	if left := f.limit - f.used(); left < grow {
		return max(left, 0), syscall.ENOSPC
	}
	return grow, nil
}
