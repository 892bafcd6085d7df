package ledger

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"kustospool/internal/vfs"
	"kustospool/internal/wake"
)

// Findings is what Open and Look saw besides the books.
type Findings struct {
	Size int64 // of the file
	// Suspect: one of the two meta pages is invalid, so that the file may be
	// what it was before its last change.
	Suspect bool
	// Partial: the file was too large to be read whole, and most pages of
	// history and keys were not looked at.
	Partial bool
	// Renewed is the damage for which Open wrote the file again, or Look
	// says that Open would; nil for none. The live rows are as they were.
	// HistoryLost and KeysLost say what begins anew.
	Renewed               error
	HistoryLost, KeysLost bool
	// NotShrunk is why a file that is mostly free could not be made smaller.
	NotShrunk error
}

// Open verifies the file, opens it and starts the writer, which Close ends. It
// takes the file's own lock, and expects that the caller has the spool's.
//
// A file whose damage is confined to history, keys and the list of free pages
// is written again without them, and so is one that is mostly free. backup, if it
// is not nil, is called before damage is written over, so that the caller can
// keep a copy; its error ends Open.
//
// Errors: a missing file matches fs.ErrNotExist; damage matches ErrDamaged,
// and leaves the file as it is: the caller moves it away and calls Create;
// another format is a [VersionError]; ErrFull when a damaged file cannot be
// written again; those of the file system.
func Open(fs vfs.FS, path string, opts *Options, backup func(Findings) error) (*Ledger, Findings, error) {
	o := opts.withDefaults()
	for again := false; ; again = true {
		p, found, err := prepare(fs, path, &o, backup)
		if errors.Is(err, ErrFull) && !again && o.NoSpace != nil && o.NoSpace() {
			continue
		}
		if err != nil {
			return nil, found, err
		}
		l, err := start(fs, path, &o, p)
		return l, found, err
	}
}

// prepare verifies the file, and writes it again where that is needed.
func prepare(fs vfs.FS, path string, o *Options, backup func(Findings) error) (*proof, Findings, error) {
	marked := hasDamageFlag(fs, path)
	f, err := fs.Open(path, vfs.ReadOnly)
	if err != nil {
		return nil, Findings{}, err
	}
	defer f.Close() // again, where the file is written anew
	p, err := examine(f, marked)
	if err != nil {
		return nil, Findings{}, err
	}
	found := p.findings()
	if marked && found.Renewed == nil {
		found.Renewed = errFlagged
	}
	shrink := p.worthShrinking()
	if found.Renewed == nil && !shrink {
		return p, found, nil
	}
	if found.Renewed != nil && backup != nil {
		if err := backup(found); err != nil {
			return nil, found, err
		}
	}
	fresh, history, keys, err := renew(fs, path, f, p, found.Renewed != nil, o)
	if err != nil && found.Renewed == nil {
		found.NotShrunk = err
		return p, found, nil
	}
	if err != nil {
		return nil, found, err
	}
	found.HistoryLost, found.KeysLost, found.Size = history != nil, keys != nil, fresh.size
	if found.Renewed == nil {
		found.Renewed = errors.Join(history, keys)
	}
	return fresh, found, nil
}

var errFlagged = fmt.Errorf("%w: it was met when the file was last in use", ErrDamaged)

func examine(f vfs.File, whole bool) (*proof, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return verify(f, info.Size, whole)
}

func (p *proof) findings() Findings {
	return Findings{Size: p.size, Suspect: p.suspect, Partial: p.partial, Renewed: p.damage(), HistoryLost: p.history != nil, KeysLost: p.keys != nil}
}

// start gives a verified file to bbolt.
func start(fs vfs.FS, path string, o *Options, p *proof) (*Ledger, error) {
	l := &Ledger{fs: fs, path: path, opts: *o, commit: commitBolt, mirror: *p.mirror, wake: wake.New()}
	bo := o.bolt()
	bo.InitialMmapSize = initialMap
	bo.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag&^os.O_CREATE|vfs.Direct, mode)
		l.file = f
		return f, err
	}
	err := guard(func() (err error) {
		l.db, err = bolt.Open(path, 0o600, bo)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.db.AllocSize = growth
	err = l.view(func(tx *bolt.Tx) error {
		if uint64(tx.ID()) != p.meta.txid {
			return fmt.Errorf("%w: it is at transaction %d and was at %d when it was verified", ErrDamaged, tx.ID(), p.meta.txid)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, l.db.Close())
	}
	l.measure()
	l.done.Go(l.run)
	return l, nil
}

// Look reads the live rows without changing, locking or creating anything. The
// errors are those of Open. A file that another process is writing to may look
// damaged while it does; that is tried a few times. What would change the ledger, or read
// history and keys, fails with ErrClosed; it holds no file, and needs no Close.
func Look(fs vfs.FS, path string) (*Ledger, Findings, error) {
	p, found, err := look(fs, path)
	if err != nil {
		return nil, found, err
	}
	return &Ledger{fs: fs, path: path, mirror: *p.mirror, wake: wake.New(), failure: ErrClosed, stopped: true, closed: true}, found, nil
}

func look(fs vfs.FS, path string) (*proof, Findings, error) {
	f, err := fs.Open(path, vfs.ReadOnly)
	if err != nil {
		return nil, Findings{}, err
	}
	defer f.Close()
	for range 3 {
		before, _ := readMetas(f)
		marked := hasDamageFlag(fs, path)
		p, verr := examine(f, marked)
		if verr == nil {
			found := p.findings()
			if marked && found.Renewed == nil {
				found.Renewed = errFlagged
			}
			return p, found, nil
		}
		err = verr
		if after, _ := readMetas(f); after == before {
			break
		}
	}
	return nil, Findings{}, err
}

// AssumeLane enters a lane that the log knows and the ledger does not into a
// ledger that Look gave, as Tx.RestoreLane does into the file of another.
func (l *Ledger) AssumeLane(no uint32, key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.mirror.byKey[key]; there || l.mirror.lanes[no] != nil {
		return fmt.Errorf("%w: lane %d, or its properties", ErrConflict, no)
	}
	lane, err := newLane(no, key)
	if err != nil {
		return fmt.Errorf("lane %d: %w", no, err)
	}
	l.mirror.lanes[no], l.mirror.byKey[key] = lane, no
	return nil
}

// Exists reports whether path is a file that begins as a ledger does: one of
// its meta pages is valid. It reads two pages.
func Exists(fs vfs.FS, path string) bool {
	f, err := fs.Open(path, vfs.ReadOnly)
	if err != nil {
		return false
	}
	defer f.Close()
	m, err := readMetas(f)
	_, ok := m.newest()
	return err == nil && ok
}
