package main

import (
	"errors"
	"path/filepath"
	"time"

	"kustospool/engine"
)

// session is one open spool and where it delivers to.
type session struct {
	c        *console
	s        *deliverySettings
	dest     *destination
	dir      string
	spool    *engine.Spool
	progress *progress

	begun  time.Time
	before engine.Stats // at begun
}

// openSession opens the spool. It owns dest from here on, and closes it when
// it fails.
func openSession(c *console, s *deliverySettings, dest *destination, opts *engine.Options) (*session, error) {
	x := &session{c: c, s: s, dest: dest, progress: newProgress(c.err, s.quiet), begun: time.Now()}
	var err error
	if x.dir, err = dest.spoolDir(c, s.spool); err == nil {
		if x.spool, err = engine.Open(x.dir, dest.transport, opts); err != nil {
			err = refusedError{err}
		}
	}
	if err != nil {
		return nil, errors.Join(err, dest.abandon(), dest.removeTemporary())
	}
	x.before = x.spool.Stats()
	return x, nil
}

// outcome is how a session ended.
type outcome struct {
	why    ending // why waiting ended; zero where nothing is to be explained
	err    error
	noWait bool // delivery was not asked for
	unread bool // input is left that was not read
}

// finish closes the spool, prints the report and what has to be said beside
// it, and returns the exit code. It is called once, whatever happened before.
func (x *session) finish(r report, o outcome) (int, error) {
	x.progress.end()
	after, lanes := x.spool.Stats(), x.spool.Lanes()
	errs := []error{o.err, x.spool.Close()}
	if x.dest.sim != nil {
		errs = append(errs, x.dest.writeRows())
	}
	errs = append(errs, x.dest.close())

	r.since(x.before, after, time.Since(x.begun))
	w := x.c.out
	if x.dest.rowsOnStdout {
		w = x.c.err
	}
	if x.s.json {
		errs = append(errs, r.writeJSON(w))
	} else {
		errs = append(errs, r.writeText(w))
	}
	if o.why != 0 {
		explain(x.c, o.why, x.dest.target, x.dir, x.s.timeout, after, lanes)
	}
	if r.firstSkipped != nil {
		x.c.note("Passed over as no record: %v", r.firstSkipped)
	}
	if r.DeadLettered > 0 {
		x.c.note("Dead letters, each with its reason: %s", deadDir(x.dir))
	}
	if after.Spooled() == 0 && after.DeadLettered == 0 {
		errs = append(errs, x.dest.removeTemporary())
	} else if x.dest.temporary != "" {
		x.c.note("The temporary spool %s is kept.", x.dir)
	}
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	code := r.code()
	switch {
	case o.noWait && code == exitPending:
		code = exitOK
	case o.unread && code == exitOK:
		code = exitPending
	}
	return code, nil
}

// deadDir is where the store keeps dead letters.
func deadDir(dir string) string { return filepath.Join(dir, "dead") }
