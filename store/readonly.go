package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/object"
	"kustospool/store/internal/wal"
)

// Picture is a spool as Look found it: what a Store would give right after
// Open. It holds the spool's lock until Close, so that no process opens the
// spool meanwhile. Its methods may be called at the same time.
type Picture struct {
	s                *Store
	damaged, suspect int64 // found by the look, and not in the counters yet
}

// LedgerError is returned by Look for a spool whose ledger is missing or
// damaged. Open would set it aside and make it anew from the log.
type LedgerError struct {
	Dir      string
	Err      error // what is wrong with it
	Segments int   // segments of the log that it would be made from
	Records  int64 // in them: all of these would be open again
}

// Error says what is wrong, and what Open would do.
func (e *LedgerError) Error() string {
	return fmt.Sprintf("the ledger of spool %s cannot be read: %v; opening the spool would set it aside and make it anew from %d segments: %d records in them would be sent again; nothing was changed",
		e.Dir, e.Err, e.Segments, e.Records)
}

// Unwrap gives the cause.
func (e *LedgerError) Unwrap() error { return e.Err }

// Look reads the spool in dir and changes nothing: it makes, writes, renames and
// removes no file, whatever state the spool is in. It reads the books, and those segments of the
// log that the books do not list, as Open does. While it lasts, and until the
// Picture is closed, it holds the lock of the spool, whose file keeps what is written in it; a spool
// without a lock file is open in no process.
//
// Damage is counted in Stats as Open would count it, and told to Options.Logger;
// of the other options SegmentBytes, LockTimeout, OpenSegments and TrustDirectory have a
// meaning; the superuser need not set the last one. Errors: [UntrustedError], [LockedError] for a spool that a process has open, [LedgerError], [VersionError], one that matches
// fs.ErrNotExist where there is no spool, and those of the file system.
func Look(dir string, opts *Options) (*Picture, error) {
	return LookContext(context.Background(), dir, opts)
}

// LookContext is Look for a holder of the lock who must let go of it in time: once ctx
// has ended no more of the spool's files is read, by the look or through the Picture,
// and what was under way ends with ctx's error.
func LookContext(ctx context.Context, dir string, opts *Options) (*Picture, error) {
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	o.files = unchanged{o.files, ctx}
	s := &Store{
		dir: dir, opts: o, log: o.Logger, fs: o.files, lanes: newLaneTable(), disk: newDisk(), failed: make(chan struct{}),
		segments: map[uint64]*segment{},
	}
	s.objects = &object.Dir{FS: s.fs, Path: s.path(objectsName), NoSync: true}
	if err := s.checkPermissions(true); err != nil {
		return nil, err
	}
	if s.lock, err = lookLock(s.fs, dir, &o); err != nil {
		return nil, err
	}
	p, err := s.look(ctx)
	if ended := ctx.Err(); ended != nil {
		// What it found since may be for want of bytes that are there.
		return nil, errors.Join(fmt.Errorf("looking at %s: %w", dir, ended), s.endLook())
	}
	if err != nil {
		return nil, errors.Join(err, s.endLook())
	}
	return p, nil
}

// lookLock takes the lock of a spool that has one, and writes nothing into it.
func lookLock(fsys vfs.FS, dir string, o *Options) (vfs.File, error) {
	if _, err := fsys.Stat(filepath.Join(dir, lockName)); vfs.Missing(err) {
		return nil, nil
	}
	return waitLock(fsys, dir, o.LockTimeout)
}

func (s *Store) look(ctx context.Context) (*Picture, error) {
	r := &recovery{s: s, look: true}
	current, old := s.segmentFiles()
	if old && !current {
		return nil, &VersionError{Dir: s.dir, Version: 2, Known: ledger.FormatVersion}
	}
	l, found, err := ledger.Look(unchanged{s.books(), ctx}, s.ledgerPath())
	var version *ledger.VersionError
	switch {
	case errors.As(err, &version):
		return nil, &VersionError{Dir: s.dir, Version: version.Version, Known: version.Known}
	case vfs.Missing(err) && !current:
		return nil, fmt.Errorf("there is no spool in %s: %w", s.dir, err)
	case vfs.Missing(err), errors.Is(err, ledger.ErrDamaged), errors.Is(err, vfs.ErrNotRegular):
		return nil, r.lookWithout(err)
	case err != nil:
		return nil, err
	}
	s.ledger = l
	r.clean = l.State().Clean && !found.Suspect
	r.note(found)
	s.setID(l.Spool())
	s.disk.set(s.ledgerPath(), found.Size)
	for _, step := range []func() error{r.openLog, r.quarantineOrphanLanes, r.restoreLanes, r.mirror, r.foreignFiles, r.damage, r.missing, r.loadObjects, r.loadPaused, r.account} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("looking at %s: %w", s.dir, err)
		}
	}
	s.measure(s.path(ballastName))
	p := &Picture{s: s, damaged: r.damaged, suspect: r.suspect}
	for _, seg := range s.segments {
		p.damaged += seg.damage
	}
	return p, nil
}

// lookWithout says what the log has, for which there are no books.
func (r *recovery) lookWithout(cause error) error {
	s := r.s
	id, _, err := wal.Identify(s.fs, s.path(segmentsName))
	if err != nil && !vfs.Missing(err) {
		return err
	}
	s.setID(ingest.SpoolID(id))
	if err := r.startLog(wal.Known{}); err != nil {
		return err
	}
	if err := r.quarantineOrphanLanes(); err != nil {
		return err
	}
	infos := r.inLog()
	out := &LedgerError{Dir: s.dir, Err: cause, Segments: len(infos)}
	for _, l := range r.log.Lanes {
		marks, err := r.rebuiltWatermarks(l, infos)
		if err != nil {
			return err
		}
		out.Records += marks.Acked(marks.High)
	}
	return out
}

func (s *Store) endLook() error {
	var errs []error
	if s.wal != nil {
		_, err := s.wal.Close()
		errs = append(errs, err)
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// ID is the spool's identity.
func (p *Picture) ID() ingest.SpoolID { return p.s.id }

// Stats are the books, with the damage that was found. Its DiskBytes are those of the
// files as they are.
func (p *Picture) Stats() Stats {
	st := p.s.Stats()
	st.Damaged += p.damaged
	st.Suspect += p.suspect
	return st
}

// Snapshot is as of [Store.Snapshot], with Stats as they are here.
func (p *Picture) Snapshot() (Stats, []LaneStats) {
	st, lanes := p.s.Snapshot()
	st.Damaged += p.damaged
	st.Suspect += p.suspect
	return st, lanes
}

// FreeBytes is as of [Store.FreeBytes].
func (p *Picture) FreeBytes() (int64, bool) { return p.s.FreeBytes() }

// WaitingDeadLetters is as of [Store.WaitingDeadLetters].
func (p *Picture) WaitingDeadLetters() int64 { return p.s.WaitingDeadLetters() }

// Lanes is as of [Store.Lanes].
func (p *Picture) Lanes() []uint32 { return p.s.Lanes() }

// LaneProperties is as of [Store.LaneProperties].
func (p *Picture) LaneProperties(lane uint32) (ingest.Properties, bool) {
	return p.s.LaneProperties(lane)
}

// Unsealed is as of [Store.Unsealed].
func (p *Picture) Unsealed() iter.Seq2[Frame, error] { return p.s.Unsealed() }

// Live is as of [Store.Live].
func (p *Picture) Live() []Entry { return p.s.Live() }

// DeadLetters is as of [Store.DeadLetters].
func (p *Picture) DeadLetters() iter.Seq2[DeadLetter, error] { return p.s.DeadLetters() }

// FindDeadLetter is as of [Store.FindDeadLetter].
func (p *Picture) FindDeadLetter(id ingest.BatchID) (DeadLetter, error) {
	return p.s.FindDeadLetter(id)
}

// OpenDeadLetter is as of [Store.OpenDeadLetter].
func (p *Picture) OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error) {
	return p.s.OpenDeadLetter(id)
}

// Close lets go of the spool's lock and files.
func (p *Picture) Close() error { return p.s.endLook() }

// unchanged is a file system that nothing can be changed in, and that nothing can be
// read from once ctx has ended. Of a lock file that is there the lock can be taken.
type unchanged struct {
	vfs.FS
	ctx context.Context // of the look; it is over with it
}

var errUnchanged = errors.New("a look changes nothing")

func (u unchanged) Open(name string, mode vfs.Mode) (vfs.File, error) {
	if mode != vfs.ReadOnly {
		return nil, errUnchanged
	}
	if err := u.ctx.Err(); err != nil {
		return nil, err
	}
	f, err := u.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return untilEnded{f, u.ctx}, nil
}

// List fails once the look is over.
func (u unchanged) List(dir string) ([]vfs.Info, error) {
	if err := u.ctx.Err(); err != nil {
		return nil, err
	}
	return u.FS.List(dir)
}

// untilEnded is a file that is read until a look is over.
type untilEnded struct {
	vfs.File
	ctx context.Context
}

// ReadAt fails once the look is over.
func (f untilEnded) ReadAt(p []byte, off int64) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (unchanged) Rename(string, string) error { return errUnchanged }
func (unchanged) Remove(string) error         { return errUnchanged }
func (unchanged) MkdirAll(string) error       { return errUnchanged }
func (unchanged) SyncDir(string) error        { return errUnchanged }
