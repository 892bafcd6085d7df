package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/operate"
)

// follower is a spool as operate asks it, through the ends and the beginnings of the
// processes that have it open: it asks the one that answers, finds the next one when
// that is gone, and reads the files while there is none. It changes nothing by itself:
// what changes something is done by the process that has the spool open, or refused
// with the command that does it at rest.
//
// A question that gets no answer is asked again, of whoever has the spool then, mostTries
// times in all. What changes something is never repeated: where no answer comes, the error says that it may
// have been done.
//
// Errors are those of [operate.Spool]. It has no goroutine of its own. Its methods may be
// called at the same time; at most mostAsked wait for the process at once.
type follower struct {
	dir    string
	asking chan struct{} // a place for each call that waits for the process
	rest   rest

	mu     sync.Mutex // guards what follows; held for memory only
	client *operate.Client
	socket string // where the process last said that it answers; empty: not looked yet
	closed bool
}

var (
	_ operate.Spool      = (*follower)(nil)
	_ operate.Controller = (*follower)(nil)
	_ operate.DeadKeeper = (*follower)(nil)
	_ operate.Checker    = (*follower)(nil)
)

// mostTries is how often a question is asked: programs that end and begin all the time may
// cut off some of its answers.
const mostTries = 5

// mostAsked leaves room on the socket, which takes operate.MaxClients, for others.
const mostAsked = 4

func newFollower(dir string, trust bool) (*follower, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &follower{dir: abs, asking: make(chan struct{}, mostAsked), rest: rest{dir: abs, trust: trust, settle: settleTime, turn: make(chan struct{}, 1)}}, nil
}

// Close hangs up. Calls must have ended.
func (f *follower) Close() {
	f.mu.Lock()
	c := f.client
	f.client, f.closed = nil, true
	f.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// process is a client of the process that has the spool open; nil where nobody answers.
func (f *follower) process(ctx context.Context) *operate.Client {
	f.mu.Lock()
	c, socket := f.client, f.socket
	f.mu.Unlock()
	if c != nil || socket == "" {
		return c
	}
	c, err := operate.Dial(ctx, socket)
	if err != nil {
		return nil
	}
	return f.keep(c)
}

// keep makes c the client, unless another call was faster.
func (f *follower) keep(c *operate.Client) *operate.Client {
	f.mu.Lock()
	kept := f.client
	if kept == nil && !f.closed {
		f.client, kept = c, c
	}
	f.mu.Unlock()
	if kept != c {
		c.Close()
	}
	return kept
}

// answersAt takes note of where a process is to be asked.
func (f *follower) answersAt(socket string) {
	f.mu.Lock()
	f.socket = socket
	f.mu.Unlock()
}

// lose forgets a client that does not answer, and gives its process, or the next one,
// time before its files are read.
func (f *follower) lose(c *operate.Client) {
	f.mu.Lock()
	lost := f.client == c
	if lost {
		f.client = nil
	}
	f.mu.Unlock()
	if lost {
		c.Close()
		f.rest.settleFrom(time.Now())
	}
}

// answered says whether err, of a client, is a process's answer, or the caller's end.
func answered(ctx context.Context, err error) bool {
	return err == nil || ctx.Err() != nil || errors.Is(err, ingest.ErrInvalid) || errors.As(err, new(*operate.Error))
}

// place waits for a place among those who ask the process.
func (f *follower) place(ctx context.Context) (leave func(), err error) {
	select {
	case f.asking <- struct{}{}:
		return func() { <-f.asking }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask asks a question that changes nothing.
func ask[A any](ctx context.Context, f *follower, process func(*operate.Client) (A, error), atRest func(context.Context) (A, error)) (A, error) {
	var none A
	var lost error
	for range mostTries {
		c := f.process(ctx)
		if c == nil {
			a, err := atRest(ctx)
			if !errors.Is(err, errAnswers) {
				return a, err
			}
			lost = err
			continue
		}
		leave, err := f.place(ctx)
		if err != nil {
			return none, err
		}
		a, err := process(c)
		leave()
		if answered(ctx, err) {
			return a, err
		}
		f.lose(c)
		lost = err
		if errors.Is(err, context.DeadlineExceeded) {
			break // it is there, and too slow
		}
	}
	return none, &operate.Error{Code: operate.Failed, Message: "no process that has the spool open has answered: " + lost.Error()}
}

// change has the process do something, once. verb is what the command calls it.
func change[A any](ctx context.Context, f *follower, verb string, do func(*operate.Client) (A, error)) (A, error) {
	var none A
	// A question finds out whether the client that is kept still leads anywhere.
	if _, err := f.Status(ctx, operate.StatusQuery{Limit: 1}); err != nil {
		return none, err
	}
	c := f.process(ctx)
	if c == nil {
		return none, f.needsProcess(operate.Conflict, verb)
	}
	leave, err := f.place(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	a, err := do(c)
	if answered(ctx, err) {
		return a, err
	}
	f.lose(c)
	return none, &operate.Error{Code: operate.Failed, Message: "no answer came, so it may have been done or not: look before you do it again: " + err.Error()}
}

// needsProcess refuses what cannot be had of a spool at rest from here.
func (f *follower) needsProcess(code operate.Code, verb string) error {
	return &operate.Error{Code: code, Message: fmt.Sprintf("no process has the spool open. Of a spool at rest this is done by a command: kustospool %s --spool %s", verb, shellWord(f.dir))}
}

// Status tells what the spool holds.
func (f *follower) Status(ctx context.Context, q operate.StatusQuery) (*operate.Status, error) {
	s, err := ask(ctx, f, func(c *operate.Client) (*operate.Status, error) { return c.Status(ctx, q) },
		func(ctx context.Context) (*operate.Status, error) { return f.statusAtRest(ctx, q) })
	if err != nil {
		return nil, err
	}
	s.Spool = f.dir // a process may know it by another name
	return s, nil
}

// History lists settled batches.
func (f *follower) History(ctx context.Context, q operate.HistoryQuery) (*operate.History, error) {
	return ask(ctx, f, func(c *operate.Client) (*operate.History, error) { return c.History(ctx, q) },
		func(ctx context.Context) (out *operate.History, err error) {
			return out, f.read(ctx, "history", func(ctx context.Context, s restSpool) error {
				out, err = s.History(ctx, q)
				return err
			})
		})
}

// Peek shows waiting records.
func (f *follower) Peek(ctx context.Context, q operate.PeekQuery) (*operate.Peek, error) {
	return ask(ctx, f, func(c *operate.Client) (*operate.Peek, error) { return c.Peek(ctx, q) },
		func(ctx context.Context) (out *operate.Peek, err error) {
			return out, f.read(ctx, "peek TABLE", func(ctx context.Context, s restSpool) error {
				out, err = s.Peek(ctx, q)
				return err
			})
		})
}

// Receipt tells what became of the records of a receipt.
func (f *follower) Receipt(ctx context.Context, q operate.ReceiptQuery) (*operate.Receipt, error) {
	return ask(ctx, f, func(c *operate.Client) (*operate.Receipt, error) { return c.Receipt(ctx, q) },
		func(ctx context.Context) (out *operate.Receipt, err error) {
			return out, f.read(ctx, "status RECEIPT", func(ctx context.Context, s restSpool) error {
				out, err = s.Receipt(ctx, q)
				return err
			})
		})
}

// ListDead lists dead letters.
func (f *follower) ListDead(ctx context.Context, q operate.DeadQuery) (*operate.DeadList, error) {
	return ask(ctx, f, func(c *operate.Client) (*operate.DeadList, error) { return c.ListDead(ctx, q) },
		func(ctx context.Context) (out *operate.DeadList, err error) {
			return out, f.read(ctx, "dead list", func(ctx context.Context, s restSpool) error {
				out, err = s.ListDead(ctx, q)
				return err
			})
		})
}

// DeadPayload reads a piece of a dead letter.
func (f *follower) DeadPayload(ctx context.Context, q operate.DeadPayloadQuery) (*operate.DeadPayload, error) {
	return ask(ctx, f, func(c *operate.Client) (*operate.DeadPayload, error) { return c.DeadPayload(ctx, q) },
		func(ctx context.Context) (out *operate.DeadPayload, err error) {
			return out, f.read(ctx, "dead show ID", func(ctx context.Context, s restSpool) error {
				out, err = s.DeadPayload(ctx, q)
				return err
			})
		})
}

// RetryDead retries a dead letter, or tells what that would do.
func (f *follower) RetryDead(ctx context.Context, q operate.RetryDead) (*operate.RetriedDead, error) {
	return change(ctx, f, "dead retry ID", func(c *operate.Client) (*operate.RetriedDead, error) { return c.RetryDead(ctx, q) })
}

// DropDead deletes a dead letter.
func (f *follower) DropDead(ctx context.Context, q operate.DropDead) (*operate.DroppedDead, error) {
	return change(ctx, f, "dead drop ID", func(c *operate.Client) (*operate.DroppedDead, error) { return c.DropDead(ctx, q) })
}

// Pause pauses a table.
func (f *follower) Pause(ctx context.Context, q operate.PauseQuery) (*operate.Paused, error) {
	return change(ctx, f, "pause TABLE", func(c *operate.Client) (*operate.Paused, error) { return c.Pause(ctx, q) })
}

// Resume resumes a table.
func (f *follower) Resume(ctx context.Context, q operate.TableQuery) (*operate.Resumed, error) {
	return change(ctx, f, "resume TABLE", func(c *operate.Client) (*operate.Resumed, error) { return c.Resume(ctx, q) })
}

// Retry has a table tried now.
func (f *follower) Retry(ctx context.Context, q operate.TableQuery) (*operate.Retried, error) {
	return change(ctx, f, "retry TABLE", func(c *operate.Client) (*operate.Retried, error) { return c.Retry(ctx, q) })
}

// StartCheck begins a check.
func (f *follower) StartCheck(ctx context.Context) (*operate.Check, error) {
	return change(ctx, f, "check", func(c *operate.Client) (*operate.Check, error) { return c.StartCheck(ctx) })
}

// Check says how far a check is. Its number is of one process: of the next one there is
// none, or another.
func (f *follower) Check(ctx context.Context, q operate.CheckQuery) (*operate.Check, error) {
	return ask(ctx, f, func(c *operate.Client) (*operate.Check, error) { return c.Check(ctx, q) },
		func(context.Context) (*operate.Check, error) {
			return nil, f.needsProcess(operate.Unsupported, "check")
		})
}
