package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// rogue is a transport that does what a test wants in the place of some of its
// calls.
type rogue struct {
	*transporttest.Fake
	send func(n int64, ctx context.Context, d *transport.Delivery) (transport.Ack, error) // nil: the Fake's
	n    atomic.Int64

	capabilities func()
	closing      func() error
}

func (r *rogue) Capabilities() transport.Capabilities {
	if r.capabilities != nil {
		r.capabilities()
	}
	return r.Fake.Capabilities()
}

func (r *rogue) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	n := r.n.Add(1)
	if r.send == nil {
		return r.Fake.Send(ctx, d)
	}
	return r.send(n, ctx, d)
}

func (r *rogue) Close() error {
	err := r.Fake.Close()
	if r.closing != nil {
		return r.closing()
	}
	return err
}

// badError is an error whose methods cannot be called.
type badError struct{ words string }

func (e *badError) Error() string { return e.words } // of a nil pointer, a panic

type isPanics struct{}

func (isPanics) Error() string { return "fine so far" }
func (isPanics) As(any) bool   { panic("no As") }

type textExits struct{}

func (textExits) Error() string { runtime.Goexit(); return "" }

// misdeeds are what a call can do instead of returning something sensible.
var misdeeds = []struct {
	name  string
	do    func(transport.Ack) (transport.Ack, error)
	words string // in the failure that the status shows
	// fine: it is no failure, and there is one attempt
	fine bool
}{
	{name: "control: nothing", do: func(a transport.Ack) (transport.Ack, error) { return a, nil }, fine: true},
	{name: "panic", do: func(transport.Ack) (transport.Ack, error) { panic("boom at sig=SECRET&x") }, words: "Transport.Send panicked: boom at sig=REDACTED"},
	{name: "panic with an error", do: func(transport.Ack) (transport.Ack, error) { panic(errors.New("boom")) }, words: "panicked: boom"},
	{name: "panic with nil", do: func(transport.Ack) (transport.Ack, error) { panic(nil) }, words: "panicked: panic called with nil"},
	{name: "panic with what has no text", do: func(transport.Ack) (transport.Ack, error) { panic((*badError)(nil)) }, words: "panicked: <nil>"},
	{name: "nil pointer", do: func(transport.Ack) (transport.Ack, error) {
		var d *transport.Delivery
		return transport.Ack{WireBytes: int64(d.Attempt)}, nil
	}, words: "nil pointer"},
	{name: "long panic", do: func(transport.Ack) (transport.Ack, error) { panic(strings.Repeat("ü", 1<<20)) }, words: "üü"},
	{name: "goexit", do: func(a transport.Ack) (transport.Ack, error) { runtime.Goexit(); return a, nil }, words: "runtime.Goexit"},
	{name: "typed nil", do: func(a transport.Ack) (transport.Ack, error) { var e *transport.Error; return a, e }, words: "nil *transport.Error"},
	{name: "typed nil in an error", do: func(a transport.Ack) (transport.Ack, error) {
		return a, fmt.Errorf("wrapped: %w", (*transport.Error)(nil))
	}, words: "nil *transport.Error"},
	{name: "typed nil of another type", do: func(a transport.Ack) (transport.Ack, error) { var e *badError; return a, e }, words: "nil pointer"},
	{name: "typed nil of the store's", do: func(a transport.Ack) (transport.Ack, error) { var e *store.CorruptionError; return a, e }, words: "nil pointer"},
	{name: "damage elsewhere", do: func(a transport.Ack) (transport.Ack, error) {
		return a, &store.CorruptionError{Lane: 99, First: 5, Last: 4}
	}, words: "of lane 99 are damaged"},
	{name: "an As that panics", do: func(a transport.Ack) (transport.Ack, error) { return a, isPanics{} }, words: "no As"},
	{name: "a text that exits", do: func(a transport.Ack) (transport.Ack, error) { return a, textExits{} }, words: "runtime.Goexit"},
	{name: "zero class", do: func(a transport.Ack) (transport.Ack, error) {
		return a, &transport.Error{Message: "classless", RetryAfter: -time.Hour}
	}, words: "classless"},
	{name: "no such class", do: func(a transport.Ack) (transport.Ack, error) {
		return a, fmt.Errorf("x: %w", &transport.Error{Class: 99, Err: (*badError)(nil)})
	}, words: "nil pointer"},
	{name: "absurd size", do: func(a transport.Ack) (transport.Ack, error) { a.WireBytes = 1 << 62; return a, nil }, fine: true},
	{name: "negative size", do: func(a transport.Ack) (transport.Ack, error) { a.WireBytes = -1; return a, nil }, fine: true},
}

// A Send that misbehaves twice, before or after its effect, costs attempts and
// nothing else: each row is there once, the status told why, another table was
// not held up.
func TestSendMisbehaves(t *testing.T) {
	for _, m := range misdeeds {
		for _, committed := range []bool{false, true} {
			if m.fine && !committed {
				continue // an Ack without an effect is a lie, which is the control below
			}
			t.Run(fmt.Sprintf("%s committed=%v", m.name, committed), func(t *testing.T) {
				fake := transporttest.NewFake()
				var s *engine.Spool
				var rcpt ingest.Receipt
				ready := make(chan struct{})
				var mu sync.Mutex
				var told []ingest.Status
				r := &rogue{Fake: fake}
				bad := 0
				r.send = func(_ int64, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
					<-ready
					if d.Batch.Properties.Table != telemetry.Table {
						return fake.Send(ctx, d)
					}
					st, err := s.Status(ctx, rcpt.ID)
					if err != nil {
						return transport.Ack{}, err
					}
					mu.Lock()
					told = append(told, st)
					misbehave := bad < 2
					bad++
					mu.Unlock()
					if !misbehave {
						return fake.Send(ctx, d)
					}
					var ack transport.Ack
					if committed {
						if ack, err = fake.Send(ctx, d); err != nil {
							return ack, err
						}
					}
					d.Batch.ID, d.Batch.Lane, d.Batch.First = ingest.BatchID{}, 7, 99 // it is the transport's own copy
					return m.do(ack)
				}
				s = open(t, t.TempDir(), r, soon())
				rcpt = put(t, s, telemetry, row(1))[0]
				other := telemetry
				other.Table = "Other"
				put(t, s, other, row(2))
				close(ready)
				drain(t, s)
				sameRows(t, fake.AllRows(), rows(3)[1:])
				conserved(t, s)
				kept(t, fake)
				if st := s.Stats(); st.Settled.DeadLettered != 0 || st.Settled.Dropped != 0 || st.WireBytes > 1<<20 {
					t.Errorf("%+v", st)
				}
				mu.Lock()
				defer mu.Unlock()
				if m.fine {
					if len(told) != 1 {
						t.Errorf("%d attempts", len(told))
					}
					return
				}
				if len(told) != 3 {
					t.Fatalf("%d attempts, want two that misbehave and a good one", len(told))
				}
				class := "transient"
				if committed {
					class = "unknown"
				}
				for _, st := range told[1:] {
					f := st.Failure
					if f == nil || f.Class != class || !strings.Contains(f.Message, m.words) || strings.Contains(f.Message, "SECRET") || len(f.Message) > 5<<10 {
						t.Errorf("the status tells %.300v, want %s and %q", f, class, m.words)
					}
				}
			})
		}
	}
}

// The control of the test above: it can see a loss. A transport that says it
// is done and is not cannot be guarded against.
func TestLossIsSeen(t *testing.T) {
	fake := transporttest.NewFake()
	r := &rogue{Fake: fake, send: func(_ int64, _ context.Context, _ *transport.Delivery) (transport.Ack, error) {
		return transport.Ack{State: ingest.Succeeded}, nil
	}}
	s := open(t, t.TempDir(), r, soon())
	put(t, s, telemetry, row(1))
	drain(t, s)
	if got := fake.AllRows(); len(got) != 0 {
		t.Errorf("rows: %q", got)
	}
}

// An Ack that makes no sense may be of a batch that was taken over, so it is
// Unknown also without a Commit.
func TestAckMakesNoSense(t *testing.T) {
	for _, state := range []ingest.State{0, ingest.Open, ingest.Sealed, ingest.Sending, ingest.Unknown, ingest.Split, ingest.DeadLettered, ingest.Dropped, 200} {
		t.Run(state.String(), func(t *testing.T) {
			fake := transporttest.NewFake()
			r := &rogue{Fake: fake}
			r.send = func(n int64, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
				ack, err := fake.Send(ctx, d)
				if n == 1 {
					ack.State = state
				}
				return ack, err
			}
			s := open(t, t.TempDir(), r, soon())
			put(t, s, telemetry, row(1))
			drain(t, s)
			sameRows(t, fake.AllRows(), rows(2)[1:])
			if fake.Skips() != 1 {
				t.Errorf("%d attempts were skipped by their tag, want the second", fake.Skips())
			}
		})
	}
}

// A goroutine that a Send left behind writes to no journal any more, so that
// the next attempt's progress is its own.
func TestJournalOfAnAttemptThatIsOver(t *testing.T) {
	fake := transporttest.NewFake()
	var late transport.Journal
	var lateErrs []error
	r := &rogue{Fake: fake}
	r.send = func(n int64, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		if n == 1 {
			late = d.Journal
			return transport.Ack{}, errors.New("left")
		}
		lateErrs = append(lateErrs, late.Note(ctx, []byte("late")), late.Commit(ctx, []byte("late")))
		return fake.Send(ctx, d)
	}
	s := open(t, t.TempDir(), r, soon())
	put(t, s, telemetry, row(1))
	drain(t, s)
	sameRows(t, fake.AllRows(), rows(2)[1:])
	for _, err := range lateErrs {
		if err == nil || !contains(err.Error(), "attempt that is over") {
			t.Errorf("a late call got %v", err)
		}
	}
	if len(lateErrs) != 2 {
		t.Errorf("%d late calls", len(lateErrs))
	}
	kept(t, fake)
}

// What a plug does while the spool opens is an error of Open, and what it does
// in Close one of Close; both end everything.
func TestOpenAndCloseMisbehave(t *testing.T) {
	for name, do := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := &rogue{Fake: transporttest.NewFake(), capabilities: do}
			_, err := engine.Open(dir, r, nil)
			isInvalid(t, err, "must tell its capabilities")
			_, err = engine.Open(dir, &rogueTracker{rogue: rogue{Fake: transporttest.NewFake()}, cadence: do}, nil)
			isInvalid(t, err, "must tell its tracker's cadence")
			_, err = engine.Open(dir, (*rogue)(nil), nil)
			isInvalid(t, err, "must tell its capabilities")

			r = &rogue{Fake: transporttest.NewFake(), closing: func() error { do(); return nil }}
			s, err := engine.Open(dir, r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err == nil || !contains(err.Error(), "Transport.Close panicked") {
				t.Errorf("Close: %v", err)
			}
			s = open(t, dir, transporttest.NewFake(), nil) // it is closed: no lock is held
			put(t, s, telemetry, row(1))
		})
	}
	r := &rogue{Fake: transporttest.NewFake(), closing: func() error { var e *badError; return e }}
	s, err := engine.Open(t.TempDir(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil || err.Error() == "" {
		t.Errorf("Close: %v", err)
	}
}

// handler is a slog.Handler that misbehaves in every method.
type handler struct {
	do    func()
	calls *atomic.Int64
}

func (h handler) Enabled(context.Context, slog.Level) bool {
	h.calls.Add(1)
	return true
}

func (h handler) Handle(context.Context, slog.Record) error {
	h.calls.Add(1)
	h.do()
	return errors.New("and an error")
}
func (h handler) WithAttrs([]slog.Attr) slog.Handler { h.do(); return nil }
func (h handler) WithGroup(string) slog.Handler      { h.do(); return nil }

func TestLoggerMisbehaves(t *testing.T) {
	for name, do := range map[string]func(){"control: nothing": func() {}, "panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			fake := transporttest.NewFake()
			// Each of these is logged, some of them under the sender's lock.
			fake.Script(transporttest.Step{Fail: transporttest.Fail(transport.Transient)},
				transporttest.Step{Fail: transporttest.Fail(transport.Held)}, transporttest.Step{Fail: transporttest.Fail(transport.Permanent)})
			calls := new(atomic.Int64)
			o := soon()
			o.Logger = slog.New(handler{do, calls})
			s := open(t, t.TempDir(), fake, o)
			put(t, s, telemetry, row(1))
			drain(t, s)
			put(t, s, telemetry, row(2))
			drain(t, s)
			sameRows(t, fake.AllRows(), rows(3)[2:])
			if st := s.Stats(); st.Settled.DeadLettered != 1 || calls.Load() < 6 {
				t.Errorf("%d dead letters, %d calls of the handler", st.Settled.DeadLettered, calls.Load())
			}
		})
	}
	o := soon()
	o.Logger = new(slog.Logger) // it has no handler
	fake := transporttest.NewFake()
	fake.Script(transporttest.Step{Fail: transporttest.Fail(transport.Transient)})
	s := open(t, t.TempDir(), fake, o)
	put(t, s, telemetry, row(1))
	drain(t, s)
	sameRows(t, fake.AllRows(), rows(2)[1:])
}

// A wish for a pause is shown, and is obeyed for an hour at most.
func TestRetryAfterIsBounded(t *testing.T) {
	for _, class := range []transport.Class{transport.Throttled, transport.Held} {
		for wish, shown := range map[time.Duration]string{
			90 * time.Second: "asks to wait until ", 1 << 62: "1h0m0s is the most", -time.Hour: ""} {
			t.Run(fmt.Sprint(class, wish), func(t *testing.T) {
				fake := transporttest.NewFake()
				e := transporttest.Fail(class)
				e.RetryAfter = wish
				fake.Script(transporttest.Step{Fail: e})
				s := open(t, t.TempDir(), fake, soon())
				started := time.Now()
				rcpt := put(t, s, telemetry, row(1))[0]
				if err := fake.WaitEnded(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				if wish < 0 {
					drain(t, s) // as if it had wished for nothing
					return
				}
				var st ingest.Status
				for st.Failure == nil { // the attempt has ended; its result is written at once
					var err error
					if st, err = s.Status(t.Context(), rcpt.ID); err != nil {
						t.Fatal(err)
					}
					runtime.Gosched()
				}
				if !contains(st.Failure.String(), shown) {
					t.Errorf("the status says %q, want %q", st.Failure, shown)
				}
				if until := st.Failure.NotBefore; !until.Equal(st.Failure.At.Add(min(wish, time.Hour))) {
					t.Errorf("asked to wait until %v at %v", until, st.Failure.At)
				}
				for _, l := range s.Stats().Lanes {
					if most := started.Add(time.Hour + time.Minute); l.Next.After(most) {
						t.Errorf("the next attempt is at %v, after %v", l.Next, most)
					}
				}
			})
		}
	}
}
