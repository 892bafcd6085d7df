package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// Each class of error that says nothing against the payload waits, for much
// longer than retry budgets usually are, and loses nothing.
func TestAnOutageIsNotPoison(t *testing.T) {
	for _, class := range []transport.Class{transport.Transient, transport.Throttled, transport.Unauthorized, transport.Held} {
		t.Run(class.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := transporttest.NewFake()
				fake.Down(transporttest.Fail(class))
				o := soon()
				o.RetryMin, o.RetryMax = time.Second, time.Minute
				s := open(t, t.TempDir(), fake, o)
				r := put(t, s, telemetry, row(1))[0]
				time.Sleep(5 * time.Hour)
				st := state(t, s, r, ingest.Sealed)
				if st.Failure == nil || st.Failure.Class != class.String() {
					t.Errorf("status does not say why: %+v", st)
				}
				if tries := len(fake.Sends()); tries < 50 || tries > 2000 {
					t.Errorf("%d attempts in five hours", tries)
				}
				fake.Down(nil)
				drainLong(t, s)
				state(t, s, r, ingest.Succeeded)
				sameRows(t, fake.AllRows(), []string{row(1)})
				kept(t, fake)
			})
		})
	}
}

func TestAnOutageIsProbedByOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		o := soon()
		o.Batch = batching.Policy{MaxRecords: 1}
		o.RetryMin, o.RetryMax = time.Second, time.Minute
		o.Senders = 8
		fake.Down(transporttest.Fail(transport.Transient))
		s := open(t, t.TempDir(), fake, o)
		for lane := range 20 {
			p := telemetry
			p.Table = fmt.Sprint("T", lane)
			put(t, s, p, rows(10)...)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		// The first volley, then about one probe for each pause of up to a minute.
		if n := len(fake.Sends()); n > 8+100 {
			t.Fatalf("%d attempts in ten minutes of outage", n)
		}
		fake.Down(nil)
		drain(t, s)
		if n := fake.MaxInFlight(); n > 8 {
			t.Errorf("%d attempts at once, 8 allowed", n)
		}
		if n := len(fake.AllRows()); n != 200 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Script(transporttest.Step{Fail: transporttest.Throttle(time.Hour)})
		s := open(t, t.TempDir(), fake, soon())
		put(t, s, telemetry, row(1))
		begin := time.Now()
		drainLong(t, s)
		if took := time.Since(begin); took < time.Hour || took > time.Hour+time.Minute {
			t.Fatalf("delivered after %v", took)
		}
	})
}

func drainLong(t testing.TB, s *engine.Spool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestOneDeadTableNeverDelaysAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		dead := telemetry
		dead.Table = "Dead"
		fake.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
			if d.Batch.Properties.Table == "Dead" {
				return transporttest.Step{Fail: &transport.Error{Op: "ingestion", Class: transport.Held,
					Code: "BadRequest_TableNotExist", Message: "Table 'Dead' was not found"}}, true
			}
			return transporttest.Step{}, false
		})
		o := soon()
		o.Batch.MaxRecords = 1
		o.RetryMin, o.RetryMax = time.Second, time.Minute
		s := open(t, t.TempDir(), fake, o)
		held := put(t, s, dead, rows(30)...)[0]
		good := put(t, s, telemetry, rows(30)...)
		begin := time.Now()
		for _, r := range good {
			if st, err := s.Wait(t.Context(), r.ID); err != nil || st.State != ingest.Succeeded {
				t.Fatal(st, err)
			}
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the good table took %v", took)
		}
		time.Sleep(time.Hour)
		st := state(t, s, held, ingest.Sealed)
		if st.Failure == nil || st.Failure.Code != "BadRequest_TableNotExist" || !strings.Contains(st.Failure.Message, "was not found") {
			t.Errorf("the service's words are not in the status: %+v", st)
		}
		var lane *engine.LaneStats
		for _, l := range s.Stats().Lanes {
			if l.Properties.Table == "Dead" {
				lane = &l
			}
		}
		if lane == nil || !lane.Held || lane.Batches.Sealed != 30 || lane.Failure == nil {
			t.Errorf("lane %+v", lane)
		}
		conserved(t, s)
		fake.Decide(nil)
		drainLong(t, s)
		if n := len(fake.Rows(transporttest.TableOf(dead))); n != 30 {
			t.Errorf("%d rows after the table came", n)
		}
	})
}

func TestABadRecordEndsAloneInTheDeadLetters(t *testing.T) {
	for _, tracked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			fake := transporttest.NewFake()
			fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), `"n":37,`) })
			var tr transport.Transport = fake
			if tracked {
				tr = fake.Tracking()
			}
			o := soon()
			o.Batch.MaxAge = time.Hour
			s := open(t, t.TempDir(), tr, o)
			receipts := put(t, s, telemetry, rows(100)...)
			drain(t, s)
			for i, r := range receipts {
				want := ingest.Succeeded
				if i == 37 {
					want = ingest.DeadLettered
				}
				if st := state(t, s, r, want); (st.Err() != nil) != (i == 37) {
					t.Errorf("Err of %+v: %v", st, st.Err())
				}
			}
			if st := s.Stats(); st.Settled.DeadLettered != 1 || st.Settled.Ingested != 99 {
				t.Errorf("%+v", st)
			}
			conserved(t, s)
			kept(t, fake)
		})
	}
}

func TestPermanentRefusalDeadLettersTheBatchUnsplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Script(transporttest.Step{Refuse: &transport.Error{Op: "ingestion", Class: transport.Permanent, Code: "X", Message: "never"}})
		s := open(t, t.TempDir(), fake.Tracking(), soon())
		r := put(t, s, telemetry, rows(10)...)
		drain(t, s)
		st := state(t, s, r[9], ingest.DeadLettered)
		if st.Failure == nil || st.Failure.Code != "X" || len(fake.Sends()) != 1 {
			t.Errorf("%+v after %d attempts", st, len(fake.Sends()))
		}
	})
}

// An attempt whose reply is lost is looked for, and not sent again when it is
// found.
func TestLostReplyIsResolvedByTheTracker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Script(transporttest.Step{LoseReply: true})
		o := soon()
		o.UnknownGrace = time.Hour
		s := open(t, t.TempDir(), fake.Tracking(), o)
		r := put(t, s, telemetry, row(1))[0]
		drain(t, s)
		state(t, s, r, ingest.Succeeded)
		if n := len(fake.Sends()); n != 1 {
			t.Errorf("%d attempts", n)
		}
		sameRows(t, fake.AllRows(), []string{row(1)})
	})
}

// What a lost reply may double is counted in at-least-once mode, and is not
// doubled in exactly-once mode.
func TestLostRepliesWithoutATracker(t *testing.T) {
	for _, g := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
		t.Run(g.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := transporttest.NewFake()
				n := 0
				fake.Decide(func(*transport.Delivery) (transporttest.Step, bool) {
					n++
					return transporttest.Step{LoseReply: n%3 == 0}, true
				})
				o := soon()
				o.Senders = 1
				o.Batch.MaxRecords = 5
				o.Guarantee = g
				s := open(t, t.TempDir(), fake, o)
				put(t, s, telemetry, rows(100)...)
				drain(t, s)
				doubled := len(fake.AllRows()) - 100
				st := s.Stats()
				if g == ingest.ExactlyOnce && (doubled != 0 || fake.Skips() == 0) {
					t.Errorf("%d rows doubled, %d repeats skipped", doubled, fake.Skips())
				}
				if g == ingest.AtLeastOnce && (doubled == 0 || st.Duplicates.Possible < int64(doubled)) {
					t.Errorf("%d rows doubled, %d counted as possible", doubled, st.Duplicates.Possible)
				}
				conserved(t, s)
				kept(t, fake)
			})
		})
	}
}

// A request that never arrived leaves the batch unknown until the grace is
// over; then it is sent again.
func TestLostRequestIsSentAgainAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Script(transporttest.Step{LoseRequest: true})
		o := soon()
		o.UnknownGrace = time.Hour
		s := open(t, t.TempDir(), fake.Tracking(), o)
		r := put(t, s, telemetry, row(1))[0]
		time.Sleep(50 * time.Minute)
		state(t, s, r, ingest.Unknown)
		if n := len(fake.Sends()); n != 1 {
			t.Fatalf("sent %d times before the grace was over", n)
		}
		time.Sleep(11 * time.Minute)
		drain(t, s)
		state(t, s, r, ingest.Succeeded)
		sameRows(t, fake.AllRows(), []string{row(1)})
	})
}

// halfAsked can never be asked about all tables.
type halfAsked struct {
	transport.Transport
	answers bool // and says of all but the table Closed that they were asked about
}

func (h *halfAsked) Cadence() (time.Duration, int) { return 5 * time.Second, 64 }

func (h *halfAsked) Track(_ context.Context, pending []transport.Pending) (verdicts []transport.Verdict, err error) {
	for _, p := range pending {
		if h.answers && p.Batch.Properties.Table != "Closed" {
			verdicts = append(verdicts, transport.Verdict{Batch: p.Batch.ID})
		}
	}
	return verdicts, &transport.Error{Op: "track", Class: transport.Unauthorized, Message: "not the table Closed"}
}

// A table that nobody may ask about does not keep a lost batch of another from
// being sent again. Without the word that it was asked about, that one waits.
func TestATableThatCannotBeAskedAbout(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			fake := transporttest.NewFake()
			fake.Script(transporttest.Step{LoseRequest: true}, transporttest.Step{LoseRequest: true})
			o := soon()
			o.RetryMin, o.RetryMax = time.Second, time.Minute
			s := open(t, t.TempDir(), &halfAsked{Transport: fake, answers: answers}, o)
			closed := telemetry
			closed.Table = "Closed"
			waits, goes := put(t, s, closed, row(1))[0], put(t, s, telemetry, row(2))[0]
			time.Sleep(time.Hour)
			state(t, s, waits, ingest.Unknown)
			if answers {
				state(t, s, goes, ingest.Succeeded)
			} else {
				state(t, s, goes, ingest.Unknown)
			}
		})
	}
}

// refusing says of every batch that nobody may ask about it, as long as no more
// than so many attempts were made. silent: it only fails.
type refusing struct {
	*transporttest.TrackingFake
	attempts int
	silent   bool
	until    time.Time // zero: for ever
}

func (r *refusing) Track(ctx context.Context, pending []transport.Pending) (verdicts []transport.Verdict, err error) {
	if len(r.Sends()) > r.attempts || !r.until.IsZero() && time.Now().After(r.until) {
		return r.TrackingFake.Track(ctx, pending)
	}
	for _, p := range pending {
		if !r.silent {
			verdicts = append(verdicts, transport.Verdict{Batch: p.Batch.ID, State: ingest.Unknown})
		}
	}
	return verdicts, transporttest.Fail(transport.Unauthorized)
}

// A batch that is accepted, or may be, and about which nobody may ask is sent
// again after the grace and not after the time for a verdict: under its tag, or
// counted. Control: where the question only fails it waits, and so it does where
// the right comes in time.
func TestWhatNobodyMayAskAboutIsSentAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		guarantee ingest.Guarantee
		step      transporttest.Step
		silent    bool
		granted   time.Duration
		after     time.Duration
		state     ingest.State
		sends     int
		rows      int
		possible  int64
	}{
		"accepted, too early":        {guarantee: ingest.ExactlyOnce, after: 9 * time.Minute, state: ingest.Accepted, sends: 1, rows: 1},
		"accepted":                   {guarantee: ingest.ExactlyOnce, after: 13 * time.Minute, state: ingest.Skipped, sends: 2, rows: 1},
		"accepted, at least once":    {guarantee: ingest.AtLeastOnce, after: 13 * time.Minute, state: ingest.Succeeded, sends: 2, rows: 2, possible: 1},
		"lost request":               {guarantee: ingest.ExactlyOnce, step: transporttest.Step{LoseRequest: true}, after: 13 * time.Minute, state: ingest.Succeeded, sends: 2, rows: 1},
		"lost reply, at least once":  {guarantee: ingest.AtLeastOnce, step: transporttest.Step{LoseReply: true}, after: 13 * time.Minute, state: ingest.Succeeded, sends: 2, rows: 2, possible: 1},
		"control: the asking fails":  {guarantee: ingest.AtLeastOnce, silent: true, after: 24 * time.Hour, state: ingest.Accepted, sends: 1, rows: 1},
		"control: granted in time":   {guarantee: ingest.AtLeastOnce, granted: 8 * time.Minute, after: time.Hour, state: ingest.Succeeded, sends: 1, rows: 1},
		"control: granted, no word ": {guarantee: ingest.AtLeastOnce, step: transporttest.Step{Verdicts: make(chan struct{})}, granted: 8 * time.Minute, after: time.Hour, state: ingest.Accepted, sends: 1, rows: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := transporttest.NewFake()
				if tt.step.Verdicts != nil {
					tt.step.Verdicts = make(chan struct{}) // of this bubble
				}
				fake.Script(tt.step)
				tr := &refusing{TrackingFake: fake.Tracking(), attempts: 1, silent: tt.silent}
				if tt.granted > 0 {
					tr.until = time.Now().Add(tt.granted)
				}
				o := soon()
				o.Guarantee = tt.guarantee
				o.UnknownGrace = 10 * time.Minute
				o.RetryMin, o.RetryMax = time.Second, time.Minute
				s := open(t, t.TempDir(), tr, o)
				r := put(t, s, telemetry, row(1))[0]
				time.Sleep(tt.after)
				synctest.Wait()
				state(t, s, r, tt.state)
				if n := len(fake.Sends()); n != tt.sends {
					t.Errorf("%d attempts, want %d", n, tt.sends)
				}
				if n := len(fake.AllRows()); n != tt.rows {
					t.Errorf("%d rows, want %d", n, tt.rows)
				}
				if n := s.Stats().Duplicates.Possible; n != tt.possible {
					t.Errorf("%d possible duplicates, want %d", n, tt.possible)
				}
				kept(t, fake)
			})
		})
	}
}

func TestAVerdictThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		never := make(chan struct{})
		fake.Script(transporttest.Step{Verdicts: never})
		o := soon()
		o.VerdictTimeout = 24 * time.Hour
		s := open(t, t.TempDir(), fake.Tracking(), o)
		r := put(t, s, telemetry, row(1))[0]
		time.Sleep(23 * time.Hour)
		state(t, s, r, ingest.Accepted)
		close(never)
		time.Sleep(2 * time.Hour)
		if st, err := s.Wait(t.Context(), r.ID); err != nil || !st.State.Ingested() {
			t.Fatal(st, err)
		}
		sameRows(t, fake.AllRows(), []string{row(1)})
	})
}

func TestConfirmAcceptedSettlesAtHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Decide(func(*transport.Delivery) (transporttest.Step, bool) {
			return transporttest.Step{Verdicts: make(chan struct{})}, true
		})
		o := soon()
		o.Confirm = ingest.ConfirmAccepted
		s := open(t, t.TempDir(), fake.Tracking(), o)
		r := put(t, s, telemetry, row(1))[0]
		drain(t, s)
		state(t, s, r, ingest.HandedOver)
		if st := s.Stats(); st.Settled.HandedOver != 1 || st.Settled.Ingested != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAwaitedBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		outcome := make(chan struct{})
		fake.Decide(func(*transport.Delivery) (transporttest.Step, bool) {
			return transporttest.Step{Verdicts: outcome}, true
		})
		o := soon()
		o.Batch.MaxRecords, o.MaxUnconfirmed, o.Senders = 1, 5, 3
		s := open(t, t.TempDir(), fake.Tracking(), o)
		put(t, s, telemetry, rows(40)...)
		time.Sleep(time.Minute)
		if st := s.Stats(); st.Batches.UnderWay() > 5 || len(fake.Sends()) > 5 {
			t.Fatalf("%d outcomes awaited, 5 allowed", st.Batches.UnderWay())
		}
		close(outcome)
		drain(t, s)
		sameRows(t, fake.AllRows(), rows(40))
	})
}

func TestStoppingIsNotFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fake := t.TempDir(), transporttest.NewFake()
		fake.Script(transporttest.Step{Wait: make(chan struct{})}) // never answers
		s := open(t, dir, fake, soon())
		r := put(t, s, telemetry, row(1))[0]
		time.Sleep(time.Minute)
		state(t, s, r, ingest.Sending)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.Shutdown(ctx)
		if left, ok := errors.AsType[*engine.NotDrainedError](err); !ok || left.Records != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Shutdown: %v", err)
		}
		if !fake.Closed() {
			t.Error("the transport is not closed")
		}
		if _, err := s.Ingest(t.Context(), request(telemetry, row(2))); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("Ingest after Shutdown: %v", err)
		}
		next := transporttest.NewFake()
		s = open(t, dir, next, soon())
		drain(t, s)
		state(t, s, r, ingest.Succeeded)
		sameRows(t, next.AllRows(), []string{row(1)})
	})
}

func TestShutdownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		o := soon()
		o.Batch.MaxAge = time.Hour
		s := open(t, t.TempDir(), fake, o)
		put(t, s, telemetry, rows(10)...)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		sameRows(t, fake.AllRows(), rows(10))
	})
}
