package engine_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// within waits for a record's outcome, and fails the test when it takes longer.
func within(t *testing.T, s *engine.Spool, r ingest.Receipt, limit time.Duration) ingest.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	st, err := s.Wait(ctx, r.ID)
	if err != nil {
		t.Errorf("after %v still %s: %v", limit, st.State, err)
	}
	return st
}

// A table of which nothing is ever heard must not use up what may be awaited.
func TestASilentTableDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		never := make(chan struct{})
		fake.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
			if d.Batch.Properties.Table != "Silent" {
				return transporttest.Step{}, false
			}
			return transporttest.Step{Verdicts: never}, true
		})
		o := soon()
		o.Batch.MaxRecords, o.MaxUnconfirmed = 1, 10
		s := open(t, t.TempDir(), fake.Tracking(), o)
		silent := telemetry
		silent.Table = "Silent"
		put(t, s, silent, rows(20)...)
		time.Sleep(time.Minute)
		within(t, s, put(t, s, telemetry, row(1))[0], time.Minute)
	})
}

// A lane that is held back waits for the batch that probes, and not for the
// verdicts of batches sent before.
func TestALaneHeldBackDoesNotWaitForOldVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Script(transporttest.Step{Verdicts: make(chan struct{})}, transporttest.Step{Refuse: transporttest.Fail(transport.Transient)})
		o := soon()
		o.Batch.MaxRecords = 1
		s := open(t, t.TempDir(), fake.Tracking(), o)
		put(t, s, telemetry, row(1))
		time.Sleep(time.Minute)
		within(t, s, put(t, s, telemetry, row(2))[0], time.Minute)
	})
}

// An attempt of unknown outcome is sent again only after the destination has
// answered a question about it once, however long the question was impossible.
func TestNothingIsSentAgainUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Script(transporttest.Step{LoseReply: true})
		o := soon()
		o.Guarantee = ingest.AtLeastOnce
		o.UnknownGrace = time.Minute
		o.RetryMin, o.RetryMax = time.Second, 10*time.Second
		s := open(t, t.TempDir(), fake.Tracking(), o)
		put(t, s, telemetry, row(1))
		time.Sleep(500 * time.Millisecond) // before the first question
		fake.Down(transporttest.Fail(transport.Transient))
		time.Sleep(10 * time.Minute)
		fake.Down(nil)
		drainLong(t, s)
		sameRows(t, fake.AllRows(), []string{row(1)})
	})
}

// The time the service has for its verdict goes on while the process is down.
func TestVerdictTimeoutSpansRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fake := t.TempDir(), transporttest.NewFake()
		never := make(chan struct{})
		fake.Decide(func(*transport.Delivery) (transporttest.Step, bool) { return transporttest.Step{Verdicts: never}, true })
		o := soon()
		o.VerdictTimeout = 72 * time.Hour
		for range 4 { // a laptop, shut every two days
			s := open(t, dir, silent{fake.Tracking()}, o)
			if s.Stats().Acked == 0 {
				put(t, s, telemetry, row(1))
			}
			time.Sleep(48 * time.Hour)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(fake.Sends()); n < 2 {
			t.Errorf("%d attempts in 8 days with a timeout of 3", n)
		}
	})
}

// What was sealed for exactly-once is not given to a transport that cannot
// keep it, which would refuse it for good.
func TestABacklogIsNotGivenToALesserTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fake := t.TempDir(), transporttest.NewFake()
		fake.Down(transporttest.Fail(transport.Transient))
		s := open(t, dir, fake, soon())
		put(t, s, telemetry, rows(10)...)
		if err := errors.Join(s.Flush(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		o := soon()
		o.Guarantee = ingest.AtLeastOnce
		if _, err := engine.Open(dir, transporttest.NewFakeWith(transport.Capabilities{}), o); !errors.Is(err, engine.ErrGuarantee) {
			t.Errorf("Open: %v", err)
		}
	})
}

// Rows that a lost reply left in the table are counted when the batch is split.
func TestASplitCountsTheRowsAtRisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Script(transporttest.Step{LoseReply: true}, transporttest.Step{Fail: transporttest.Fail(transport.Malformed)})
		s := open(t, t.TempDir(), fake, soon())
		put(t, s, telemetry, rows(10)...)
		drain(t, s)
		doubled := len(fake.AllRows()) - 10
		if st := s.Stats(); doubled == 0 || st.Duplicates.Possible < int64(doubled) {
			t.Errorf("%d rows doubled, %d counted", doubled, st.Duplicates.Possible)
		}
	})
}

// A record that an empty spool could not hold is refused, and drops nothing.
func TestWhatNeverFitsIsRefusedAtOnce(t *testing.T) {
	for _, policy := range []engine.FullPolicy{engine.BlockCaller, engine.RejectNew, engine.DropOldest} {
		synctest.Test(t, func(t *testing.T) {
			fake := transporttest.NewFake()
			fake.Down(transporttest.Fail(transport.Transient))
			s := open(t, t.TempDir(), fake, small(policy))
			put(t, s, telemetry, rows(20)...)
			_, err := s.Ingest(t.Context(), request(telemetry, `{"x":"`+strings.Repeat("x", 10<<20)+`"}`))
			isInvalid(t, err, "MaxDiskBytes")
			_, err = s.IngestReader(t.Context(), telemetry, strings.NewReader(strings.Repeat(padded(1)+"\n", 4<<10)))
			isInvalid(t, err, "MaxDiskBytes")
			if n := s.Stats().Settled.Dropped; n != 0 {
				t.Errorf("%v: %d records dropped for what never fits", policy, n)
			}
		})
	}
}

// A whole object is held to the transport's limit, as a stream too.
func TestAnObjectOverTheTransportsLimitIsRefused(t *testing.T) {
	fake := transporttest.NewFakeWith(transport.Capabilities{ExactlyOnce: true, MaxBatchBytes: 2000})
	s := open(t, t.TempDir(), fake, soon())
	p := telemetry
	p.Format = ingest.Parquet
	_, err := s.IngestReader(t.Context(), p, bytes.NewReader(make([]byte, 100<<10)))
	isInvalid(t, err, "2000 bytes")
}

// A clock that was ahead when a record came does not hold it open.
func TestAClockSetBackHoldsNothingUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1000 * 24 * time.Hour) // the bubble's clock runs ahead of the next one's
		o := soon()
		o.Batch.MaxAge = time.Hour
		s := open(t, dir, transporttest.NewFake(), o)
		put(t, s, telemetry, row(1))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		o := soon()
		o.Batch.MaxAge = time.Hour
		s := open(t, dir, fake, o)
		time.Sleep(2 * time.Hour)
		sameRows(t, fake.AllRows(), []string{row(1)})
		conserved(t, s)
	})
}
