package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// lastMoment is how long Shutdown goes on when its context has ended, at most:
// the attempts that it cuts off have that to end in order.
const lastMoment = time.Second

// NotClosedError is returned by Close and Shutdown when calls of the transport, or of
// the observer, have not returned in time. Those of the transport cannot be given up:
// what they still send would meet the next attempt at the same batch. Until they
// return the spool's lock is held, and Open refuses the directory with a
// [*LockedError] that says so; then the spool closes by itself. Another Close waits
// for it again. The observer is waited for last: the files are closed by then, the
// lock is free, and only its goroutine is left.
type NotClosedError struct {
	Sends     int  // calls of Transport.Send
	Questions int  // calls of Tracker.Track
	Observer  bool // Observer.Observe; then the directory can be opened
}

// Error says what is waited for.
func (e *NotClosedError) Error() string {
	if e.Observer {
		return "engine: the spool's files are closed, but Observer.Observe has not returned; its goroutine is left until it has"
	}
	if e.Sends+e.Questions == 0 {
		return "engine: the spool is still closing; its lock is held until it has"
	}
	return fmt.Sprintf("engine: the spool is not closed: %d calls of Transport.Send and %d of Tracker.Track have not returned; its lock is held until they have", e.Sends, e.Questions)
}

// Shutdown refuses new records, drains, and closes. When ctx ends before all
// is delivered it closes all the same and returns a [*NotDrainedError]; what
// is left is durable. It returns when ctx ends, or up to a second later, whatever
// the transport does; see [NotClosedError].
func (s *Spool) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	return errors.Join(s.Drain(ctx), s.close(ctx))
}

// Close stops now: it refuses new records, cuts off the attempts under way,
// joins every goroutine, and closes the transport and the store. What is not
// delivered stays on disk. Further calls return the first one's error.
//
// A transport that does not return when it is cut off, or an observer that does
// not return, makes Close return a [*NotClosedError] after Options.CloseTimeout.
func (s *Spool) Close() error { return s.close(context.Background()) }

func (s *Spool) close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		s.closing.Store(true)
		s.stop()
		go s.finish()
	})
	timeout := time.NewTimer(s.opts.CloseTimeout)
	defer timeout.Stop()
	select {
	case <-s.closed:
		return s.closeErr
	case <-timeout.C:
	case <-ctx.Done():
		timeout.Reset(min(lastMoment, s.opts.CloseTimeout))
		select {
		case <-s.closed:
			return s.closeErr
		case <-timeout.C:
		}
	}
	err := &NotClosedError{Observer: s.events.waitedFor()}
	err.Sends, err.Questions = s.transport.UnderWay()
	s.changes.close()
	if !err.Observer { // then the lock is another's
		s.store.SayWhy(err.Error())
	}
	return err
}

// finish joins every goroutine and closes what the spool owns. It runs in a
// goroutine of its own, which ends when the last call of the transport, and of the
// observer, returns.
func (s *Spool) finish() {
	s.running.Wait()
	s.checks.end()
	silence(s.server, s.log)
	transportErr := s.transport.Close()
	s.closeErr = errors.Join(s.store.Close(), transportErr)
	s.events.end()
	s.changes.close()
	s.log.Info("closed the spool", "spool", s.store.ID())
	close(s.closed)
}
