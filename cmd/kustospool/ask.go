package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kustospool/engine"
	"kustospool/operate"
)

// asked is a spool that a command asks: one in use by its socket, one at rest
// by reading its files.
type asked struct {
	operate.Spool
	found *findings // damage that opening it would deal with; of one at rest
	close func() error
}

// ask finds whoever can tell of the spool. One at rest cannot be opened by
// others until close.
func (s *lookSettings) ask(ctx context.Context, dir string) (*asked, error) {
	found := new(findings)
	look := func(wait time.Duration) (*asked, *engine.LockedError, error) {
		v, err := engine.Look(dir, &engine.Options{Logger: slog.New(openingLog{found: found}), TrustDirectory: s.trust, LockTimeout: wait})
		if locked, ok := errors.AsType[*engine.LockedError](err); ok {
			return nil, locked, nil
		}
		if err != nil {
			return nil, nil, err
		}
		return &asked{v.Operator(), found, v.Close}, nil, nil
	}
	a, locked, err := look(1)
	if locked == nil {
		return a, err
	}
	a, silent := askProcess(ctx, locked)
	if silent == nil {
		return a, nil
	}
	// It may be about to end, or just have begun.
	a, locked, err = look(max(s.lock, 1))
	if locked == nil {
		return a, err
	}
	if a, silent = askProcess(ctx, locked); silent == nil {
		return a, nil
	}
	return nil, refusedError{fmt.Errorf("%w; it cannot be asked about it: %w; stop that process, or wait for its end", locked, silent)}
}

var errNoSocket = errors.New("it has no socket (an older version, or engine.Options.NoSocket)")

// askProcess asks the process that has a spool open.
func askProcess(ctx context.Context, e *engine.LockedError) (*asked, error) {
	if e.Socket == "" {
		return nil, errNoSocket
	}
	c, err := operate.Dial(ctx, e.Socket)
	if err != nil {
		return nil, err
	}
	return &asked{c, new(findings), func() error {
		c.Close()
		return nil
	}}, nil
}
