package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
)

// Bounds of the list of paused tables.
const (
	// MaxPaused is how many tables can be paused.
	MaxPaused = 1000
	// MaxReasonBytes bounds Pause.Reason.
	MaxReasonBytes = 256
)

// Pause says that a table's batches are not to be sent. What that means is the
// engine's business; the store keeps the list through a restart, a crash and a
// lost ledger, in a file of its own: it is the operator's word, and not of the
// books.
type Pause struct {
	Database string    `json:"database"`
	Table    string    `json:"table"`
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason,omitempty"` // the operator's words
}

// check finds a pause that cannot be kept.
func (p *Pause) check() error {
	if err := ingest.CheckName("database", p.Database); err != nil {
		return err
	}
	if err := ingest.CheckName("table", p.Table); err != nil {
		return err
	}
	if len(p.Reason) > MaxReasonBytes || !utf8.ValidString(p.Reason) {
		return &ingest.FieldError{Field: "reason", Value: fmt.Sprintf("of %d bytes", len(p.Reason)), Rule: fmt.Sprintf("must have at most %d bytes of valid UTF-8", MaxReasonBytes)}
	}
	return nil
}

func checkPaused(list []Pause) error {
	if len(list) > MaxPaused {
		return &ingest.FieldError{Field: "paused", Value: fmt.Sprintf("%d tables", len(list)), Rule: fmt.Sprintf("must have at most %d tables", MaxPaused)}
	}
	seen := map[[2]string]bool{}
	for i := range list {
		if err := list[i].check(); err != nil {
			return err
		}
		name := [2]string{list[i].Database, list[i].Table}
		if seen[name] {
			return &ingest.FieldError{Field: "paused", Value: list[i].Table, Rule: "must name a table once"}
		}
		seen[name] = true
	}
	return nil
}

// pauses is the list as it is on the disk.
type pauses struct {
	list atomic.Pointer[[]Pause] // what it points to is never changed

	mu     sync.Mutex // held by who changes list, while the file is written
	closed bool       // guarded by mu
}

func (p *pauses) get() []Pause {
	if list := p.list.Load(); list != nil {
		return *list
	}
	return nil
}

// close ends the changes, and waits for the one under way.
func (p *pauses) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

// pausedFile is the text of the file.
type pausedFile struct {
	Version int     `json:"version"`
	Paused  []Pause `json:"paused"`
}

// maxPausedFile bounds what is read of the file.
const maxPausedFile = 8 << 20

// Paused lists the tables that are paused, by name. It must not be changed.
func (s *Store) Paused() []Pause { return s.paused.get() }

// ChangePaused gives the list to change and makes what it returns durable in its
// place. change must not keep or change what it is given, nor call the store. The list is as it was where
// an error is returned: change's own; ErrClosed; one that matches [ingest.ErrInvalid]; ErrFull; that of the file system.
func (s *Store) ChangePaused(change func([]Pause) ([]Pause, error)) error {
	s.paused.mu.Lock()
	defer s.paused.mu.Unlock()
	if s.paused.closed {
		return ErrClosed
	}
	list, err := change(s.paused.get())
	if err == nil {
		list, err = sortedPaused(list)
	}
	if err != nil {
		return err
	}
	err = s.writePaused(list)
	if vfs.NoSpace(err) && s.makeRoom() {
		err = s.writePaused(list)
	}
	if err != nil {
		return noRoom(err)
	}
	s.paused.list.Store(&list)
	return nil
}

func sortedPaused(list []Pause) ([]Pause, error) {
	list = slices.SortedFunc(slices.Values(list), func(a, b Pause) int {
		return slices.Compare([]string{a.Database, a.Table}, []string{b.Database, b.Table})
	})
	return list, checkPaused(list)
}

// writePaused writes the file; an empty list has none.
func (s *Store) writePaused(list []Pause) error {
	path := s.path(pausedName)
	if len(list) == 0 {
		return s.unlink(path)
	}
	text, err := json.MarshalIndent(pausedFile{1, list}, "", "  ")
	if err != nil {
		return err
	}
	return s.writeFile(path, func(w *fileWriter) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// readPaused reads the file. A missing one is an empty list.
func (s *Store) readPaused() ([]Pause, error) {
	text, err := vfs.ReadFile(s.fs, s.path(pausedName), maxPausedFile)
	if vfs.Missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f pausedFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("%s has version %d", pausedName, f.Version)
	}
	return sortedPaused(f.Paused)
}

// loadPaused takes up the list. One that cannot be used is set aside and counted
// as damage, and no table is paused then: a device that nobody looks after must not
// stop for ever because of a bad block.
func (r *recovery) loadPaused() error {
	s := r.s
	list, err := s.readPaused()
	if err != nil {
		s.log.Error("the list of paused tables cannot be used, so that none is paused any more", "dir", s.dir, "cause", err)
		list = nil
		r.damaged++
		if !r.look {
			if err := s.quarantine(s.path(pausedName)); err != nil {
				return err
			}
		}
	}
	s.paused.list.Store(&list)
	s.measure(s.path(pausedName))
	return nil
}

// Paused is as of [Store.Paused].
func (p *Picture) Paused() []Pause { return p.s.Paused() }

// ChangePausedAt is [Store.ChangePaused] of a spool at rest: it takes the spool's
// lock, changes the list and nothing else, and lets go of it. Of the options LockTimeout and
// TrustDirectory have a meaning. Errors: also [LockedError], [UntrustedError], and one that matches
// fs.ErrNotExist where there is no spool.
func ChangePausedAt(dir string, opts *Options, change func([]Pause) ([]Pause, error)) (err error) {
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	s := &Store{dir: dir, opts: o, log: o.Logger, fs: o.files, disk: newDisk(), ballast: &ballast{path: filepath.Join(dir, ballastName)}}
	if err := s.checkPermissions(false); err != nil {
		return err
	}
	if current, _ := s.segmentFiles(); !current && !ledger.Exists(s.books(), s.ledgerPath()) {
		return fmt.Errorf("there is no spool in %s: %w", dir, fs.ErrNotExist)
	}
	if s.lock, err = lockDir(s.fs, dir, o.LockTimeout); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lock.Close()) }()
	list, err := s.readPaused()
	if err != nil {
		return err
	}
	s.paused.list.Store(&list)
	return s.ChangePaused(change)
}
