package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"kustospool/engine"
	"kustospool/operate"
)

// How a spool at rest is read without keeping a program from opening it. Open waits a
// second for the lock unless it is told otherwise, so the lock is held for less than
// half of that, and only when something has changed since.
const (
	// mostHeld is how long a look may take. It reads nothing behind that.
	mostHeld = 400 * time.Millisecond
	// restShare is the share of the time for which the lock is held at most, one in so many.
	restShare = 20
	// settleTime is how long a process that is gone may take to come back before its
	// files are read.
	settleTime = 2 * time.Second
	// muteTime is how long a process that has the spool may take until it answers, and for
	// how long it is left alone when it did not.
	muteTime = time.Second
	// lookForProcess is how often a call that waits sees whether a process answers again.
	lookForProcess = 50 * time.Millisecond
)

// errAnswers says that a process answers: it is to be asked.
var errAnswers = errors.New("a process has the spool open")

// rest is what is known of a spool at rest.
type rest struct {
	dir    string
	trust  bool
	settle time.Duration // settleTime, and less in tests
	turn   chan struct{} // held by who looks, one at a time; guards seen and its fields

	seen sight

	mu        sync.Mutex // guards what follows; held for memory only
	notBefore time.Time  // of the next look
}

// sight is what a look saw.
type sight struct {
	trace  string // of the files then; empty: nothing was seen
	status *operate.Status
	err    error // in place of status; it counts until the next look may be made
}

// settleFrom puts off the next look.
func (r *rest) settleFrom(now time.Time) { r.putOff(now.Add(r.settle)) }

func (r *rest) putOff(until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until.After(r.notBefore) {
		r.notBefore = until
	}
}

// early says how long it is until a look may be made.
func (r *rest) early() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Until(r.notBefore)
}

// trace is what the file system tells of a spool's files without the spool's lock. Whoever
// opens a spool, or changes something of one at rest, changes it.
func (r *rest) trace() string {
	var out strings.Builder
	for _, name := range []string{"", "lock", "manifest.db", "paused.json", "segments", "objects", "dead", "quarantine"} {
		if info, err := os.Lstat(filepath.Join(r.dir, name)); err == nil {
			fmt.Fprintf(&out, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
	}
	return out.String()
}

// read has a spool at rest asked, with its lock held for mostHeld at most. command is
// what reads it without that bound.
func (f *follower) read(ctx context.Context, command string, ask func(context.Context, restSpool) error) error {
	r := &f.rest
	if err := f.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-r.turn }()
	if err := f.waitForLook(ctx); err != nil {
		return err
	}
	return f.look(ctx, command, ask)
}

// takeTurn waits until nobody else looks.
func (f *follower) takeTurn(ctx context.Context) error {
	select {
	case f.rest.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitForLook waits until a look may be made; errAnswers where a process answers meanwhile.
func (f *follower) waitForLook(ctx context.Context) error {
	for {
		if f.process(ctx) != nil {
			return errAnswers
		}
		early := f.rest.early()
		if early <= 0 {
			return ctx.Err()
		}
		select {
		case <-time.After(min(early, lookForProcess)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look has the spool asked. A process that has it and does not answer may have just begun, or
// be about to end: it is given a moment. The caller has the turn.
func (f *follower) look(ctx context.Context, command string, ask func(context.Context, restSpool) error) error {
	for began := time.Now(); ; {
		err := f.lookOnce(ctx, command, ask)
		mute, ok := errors.AsType[muteError](err)
		if !ok {
			return err
		}
		if time.Since(began) > muteTime {
			f.rest.putOff(time.Now().Add(muteTime))
			return &operate.Error{Code: operate.Conflict, Message: mute.Error()}
		}
		select {
		case <-time.After(lookForProcess):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lookOnce takes the spool's lock, asks, and lets go of it.
func (f *follower) lookOnce(ctx context.Context, command string, ask func(context.Context, restSpool) error) error {
	r := &f.rest
	began := time.Now()
	held, cancel := context.WithTimeout(ctx, mostHeld)
	defer cancel()
	found := new(findings)
	v, err := engine.LookContext(held, f.dir, &engine.Options{Logger: slog.New(openingLog{found: found}), TrustDirectory: r.trust, LockTimeout: 1})
	if locked, ok := errors.AsType[*engine.LockedError](err); ok {
		return f.inUse(ctx, locked)
	}
	if err == nil {
		f.answersAt(filepath.Join(f.dir, operate.SocketName)) // the look has seen that its directory can be trusted
		err = ask(held, restSpool{v.Operator().(readable), found})
		err = errors.Join(err, v.Close())
	}
	// From here on the lock is free.
	r.putOff(time.Now().Add(restShare * time.Since(began)))
	if err != nil && held.Err() != nil && ctx.Err() == nil {
		return &operate.Error{Code: operate.Unsupported, Message: fmt.Sprintf("reading the spool takes longer than %s, for which it may be kept from its program here: kustospool %s --spool %s", mostHeld, command, shellWord(f.dir))}
	}
	return err
}

// muteError is a process that has a spool open and cannot be asked.
type muteError struct {
	locked *engine.LockedError
	why    error
}

func (e muteError) Error() string {
	return fmt.Sprintf("%v; it cannot be asked about it: %v; wait for its end, or stop it", e.locked, e.why)
}

// inUse finds the process that has the lock.
func (f *follower) inUse(ctx context.Context, locked *engine.LockedError) error {
	if locked.Socket == "" {
		return muteError{locked, errNoSocket}
	}
	c, err := operate.Dial(ctx, locked.Socket)
	if err != nil {
		return muteError{locked, err}
	}
	f.answersAt(locked.Socket)
	f.keep(c)
	return errAnswers
}

// readable is what can be asked of a spool at rest.
type readable interface {
	operate.Spool
	operate.DeadReader
}

// restSpool is a spool that is looked at, with what the look has heard.
type restSpool struct {
	readable
	found *findings
}

// Status also tells of the damage that the look found.
func (s restSpool) Status(ctx context.Context, q operate.StatusQuery) (*operate.Status, error) {
	out, err := s.readable.Status(ctx, q)
	if err != nil {
		return nil, err
	}
	if found := s.found.end(); len(found) > 0 {
		out.Found = append(out.Found, found...)
		out.Troubles = operate.Diagnose(out)
	}
	return out, nil
}

// statusAtRest is what the last look saw, for as long as nothing changes.
func (f *follower) statusAtRest(ctx context.Context, q operate.StatusQuery) (*operate.Status, error) {
	r := &f.rest
	if err := f.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { <-r.turn }()
	now := r.trace()
	// A status counts until something changes, and an error until the next look may be made.
	if r.seen.trace != now || r.seen.status == nil && (r.seen.err == nil || r.early() <= 0) {
		if err := f.waitForLook(ctx); err != nil {
			return nil, err
		}
		now = r.trace() // before the look: what changes meanwhile is looked at again
		var seen *operate.Status
		err := f.look(ctx, "status", func(ctx context.Context, s restSpool) (err error) {
			seen, err = s.Status(ctx, operate.StatusQuery{Limit: operate.MaxListed})
			return err
		})
		if errors.Is(err, errAnswers) || ctx.Err() != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		r.seen = sight{now, seen, err}
	}
	if r.seen.err != nil {
		return nil, r.seen.err
	}
	return statusNow(r.seen.status, q, time.Now())
}

// statusNow is a status of a spool at rest that was made earlier, as it is now, with as
// much as q asks for.
func statusNow(seen *operate.Status, q operate.StatusQuery, now time.Time) (*operate.Status, error) {
	most := q.Limit
	switch {
	case most < 0:
		return nil, &operate.Error{Code: operate.Invalid, Message: fmt.Sprintf("limit %d: must not be negative", most)}
	case most == 0:
		most = operate.DefaultListed
	}
	out := *seen
	out.At = now.UTC()
	out.Cut = maps.Clone(seen.Cut)
	if out.Cut == nil {
		out.Cut = map[string]int{}
	}
	out.Batches = headOf(seen.Batches, most, out.Cut, "batches")
	out.Dead = headOf(seen.Dead, most, out.Cut, "dead_letters")
	out.Quarantine = headOf(seen.Quarantine, most, out.Cut, "quarantine")
	out.Lanes = append([]operate.Lane{}, seen.Lanes...)
	out.Counters.OldestSeconds = ageOf(out.Counters.Oldest, now)
	for i := range out.Lanes {
		out.Lanes[i].OldestSeconds = ageOf(out.Lanes[i].Oldest, now)
	}
	return &out, nil
}

func ageOf(at, now time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return max(0, now.Sub(at).Seconds())
}

// headOf is the beginning of a list, which is the caller's, and counts the rest.
func headOf[T any](list []T, most int, cut map[string]int, name string) []T {
	if more := len(list) - most; more > 0 {
		cut[name] += more
		list = list[:most]
	}
	return append([]T{}, list...)
}
