package store

import (
	"crypto/rand"
	"errors"
	"fmt"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
)

func (r *recovery) ledgerOptions() *ledger.Options {
	s := r.s
	return &ledger.Options{
		NoSync: s.opts.NoSync, LockTimeout: s.opts.LockTimeout,
		HistoryRetention: s.opts.HistoryRetention, HistoryRows: s.opts.HistoryRows,
		NoSpace: s.makeRoom, Settled: s.settled, Step: s.opts.step, Fault: s.opts.fault,
		Failed: func(err error) { _ = s.fail(err) },
		Size:   func(n int64) { s.disk.set(s.path(ledgerName), n) },
	}
}

// openLedger opens the ledger. It creates one where there is nothing yet, and
// sets a damaged one aside, to be rebuilt.
func (r *recovery) openLedger() error {
	s := r.s
	l, found, err := ledger.Open(s.books(), s.ledgerPath(), r.ledgerOptions(), r.backupLedger)
	var version *ledger.VersionError
	switch {
	case errors.As(err, &version):
		return &VersionError{Dir: s.dir, Version: version.Version, Known: version.Known}
	case err == nil:
		s.ledger = l
		r.clean = l.State().Clean && !found.Suspect
		r.note(found)
		s.setID(l.Spool())
		return r.prepare()
	}
	current, _ := s.segmentFiles()
	switch {
	case vfs.Missing(err) && !current:
		if err := r.prepare(); err != nil {
			return err
		}
		return r.createLedger()
	case vfs.Missing(err):
		err = fmt.Errorf("it is missing")
	case errors.Is(err, ledger.ErrDamaged) || errors.Is(err, vfs.ErrNotRegular):
	default:
		return err
	}
	s.log.Error("the ledger is damaged; rebuilding it from the log", "dir", s.dir, "cause", err)
	if err := r.prepare(); err != nil {
		return err
	}
	return r.rebuild()
}

func (r *recovery) createLedger() error {
	var id ingest.SpoolID
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	r.clean = true
	return r.adoptLedger(&ledger.Books{Spool: id, State: ledger.State{Clean: true}})
}

// adoptLedger makes a ledger of these books and opens it.
func (r *recovery) adoptLedger(b *ledger.Books) error {
	s := r.s
	if err := ledger.Create(s.books(), s.ledgerPath(), b, r.ledgerOptions()); err != nil {
		return err
	}
	l, _, err := ledger.Open(s.books(), s.ledgerPath(), r.ledgerOptions(), nil)
	if err != nil {
		return err
	}
	s.ledger = l
	s.setID(l.Spool())
	return nil
}

// note tells and counts what opening the ledger found. Damage for which the ledger was
// written again is in its counters since then; a look writes nothing again.
func (r *recovery) note(f ledger.Findings) {
	if f.Suspect {
		r.suspect++
	}
	if f.Renewed != nil {
		r.s.log.Error("a part of the ledger is damaged and begins anew", "dir", r.s.dir, "history", f.HistoryLost, "keys", f.KeysLost, "cause", f.Renewed)
		if r.look {
			r.damaged++
		}
	}
}

// backupLedger copies a ledger that is about to be written again to the
// quarantine.
func (r *recovery) backupLedger(ledger.Findings) error {
	s := r.s
	if err := s.fs.MkdirAll(s.path(quarantined)); err != nil {
		return err
	}
	from, err := s.books().Open(s.ledgerPath(), vfs.ReadOnly)
	if err != nil {
		return err
	}
	defer from.Close()
	return s.writeFile(s.quarantineName(ledgerName), func(w *fileWriter) error {
		_, err := copyAll(w, from)
		return err
	})
}

func (s *Store) setID(id ingest.SpoolID) { s.id, s.objects.Spool = id, id }
