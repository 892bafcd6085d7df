package main

import (
	"context"
	"errors"
	"log/slog"
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
	patience patience

	begun  time.Time
	before engine.Stats // at begun
	found  []string     // the damage that was found when the spool was opened
}

// openSession opens the spool. It owns dest from here on, and closes it when
// it fails.
func openSession(ctx context.Context, c *console, s *deliverySettings, dest *destination, opts *engine.Options) (*session, error) {
	x := &session{c: c, s: s, dest: dest, patience: s.patience()}
	var err error
	if x.dir, err = dest.spoolDir(c, s.spool); err == nil {
		err = x.open(ctx, opts)
	}
	if err != nil {
		return nil, errors.Join(err, dest.abandon(), dest.removeTemporary())
	}
	return x, nil
}

// open opens the spool, and waits for one that another process has open.
func (x *session) open(ctx context.Context, opts *engine.Options) error {
	o, found := *opts, new(findings)
	var next slog.Handler
	if o.Logger != nil {
		next = o.Logger.Handler()
	}
	o.Logger = slog.New(openingLog{next, found})
	defer func() { x.found = found.end() }()
	asked := time.Now()
	for told := false; ; told = true {
		x.begun = time.Now()
		err := x.checkTarget()
		if err == nil {
			if x.spool, err = engine.Open(x.dir, x.dest.transport, &o); err == nil {
				x.before = x.spool.Stats() // at once: it delivers from now on
				if err = x.keepTarget(); err != nil {
					return refusedError{errors.Join(err, x.spool.Close())}
				}
				return nil
			}
		}
		var locked *engine.LockedError
		left := x.s.lock - time.Since(asked)
		if !errors.As(err, &locked) || left <= 0 || ctx.Err() != nil {
			return refusedError{err}
		}
		if !told {
			x.c.tell("%v. Waiting up to %s for it (--lock-timeout).", err, x.s.lock)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(lookEvery, left)):
		}
	}
}

// outcome is how a session ended.
type outcome struct {
	why    ending // why the work ended; zero where it is done, or failed
	err    error
	noWait bool // delivery was not asked for
	unread bool // input is left that was not stored
}

// finish closes the spool, prints the report and what has to be said beside
// it, and returns the exit code, which counts beside an error as well. It is
// called once, whatever happened before.
func (x *session) finish(r report, o outcome) (int, error) {
	after := x.spool.Stats()
	errs := []error{o.err, x.spool.Close()}
	if x.dest.sim != nil {
		errs = append(errs, x.dest.writeRows())
	}
	errs = append(errs, x.dest.close())

	r.since(x.before, after, time.Since(x.begun))
	r.DeadLetters = after.DeadLetters.Waiting
	if len(x.found) > 0 {
		r.AtStart = &foundAtStart{x.found, x.before.Duplicates.Possible}
	}
	w := x.c.out
	if x.dest.rowsOnStdout {
		w = x.c.err
	}
	switch {
	case x.s.json:
		errs = append(errs, r.writeJSON(w))
	case !x.c.quiet:
		errs = append(errs, r.writeText(w))
	}
	x.remark(&r, o, &after)
	if after.Waiting.Records == 0 && after.Settled.DeadLettered == 0 {
		errs = append(errs, x.dest.removeTemporary())
	} else if x.dest.temporary != "" {
		x.c.note("The temporary spool %s is kept.", x.dir)
	}
	err := errors.Join(errs...)
	return r.code(o, err), err
}

// remark says on standard error what the report's numbers do not.
func (x *session) remark(r *report, o outcome, after *engine.Stats) {
	c := x.c
	for i := range r.Inputs {
		if in := &r.Inputs[i]; in.Whole && in.Records == 0 && !in.Earlier && in.EarlierBytes == 0 {
			c.tell("%s: holds no record.", in.Name)
		}
	}
	if r.firstSkipped != nil {
		c.note("Passed over as no record: %v", r.firstSkipped)
	}
	if x.s.json || c.quiet { // otherwise the report has them
		for _, line := range r.remarks(c.quiet) {
			c.note("%s", line)
		}
	}
	if o.why > done {
		x.explain(o, after)
	}
	switch {
	case o.unread && r.Acked == 0:
		c.note("Nothing of the input was stored.")
	case o.unread && x.dest.temporary != "":
		c.note("A part of the input is stored, in %s.", shellWord(x.dir))
	case o.unread && r.repeats:
		c.note("A part of the input is stored, in %s: the same command again goes on behind that of files, and would send that of pipes and blobs twice.", shellWord(x.dir))
	case o.unread:
		c.note("A part of the input is stored, in %s: the same command again goes on behind it.", shellWord(x.dir))
	}
	switch {
	case r.DeadLettered > 0:
		c.note("Dead letters, each with its reason: %s\n  kustospool dead list --spool %s", deadDir(x.dir), shellWord(x.dir))
	case r.DeadLetters > 0:
		c.tell("The spool holds dead letters of earlier runs, %d, each with its reason: %s", r.DeadLetters, deadDir(x.dir))
	}
}

// deadDir is where the store keeps dead letters.
func deadDir(dir string) string { return filepath.Join(dir, "dead") }
