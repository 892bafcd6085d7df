package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// A process that stops inside an attempt leaves the batch in a state from
// which the next one goes on: before the commit point it is sent again, after
// it it is looked for.
func TestRecoveryOfAnAttemptCutOff(t *testing.T) {
	cases := []struct {
		name      string
		step      transporttest.Step
		recovered ingest.State // right after the next process opens
		arrived   bool         // the first attempt had its effect
	}{
		{"before the commit point", transporttest.Step{Wait: make(chan struct{})}, ingest.Sealed, false},
		{"after its effect", transporttest.Step{WaitKept: make(chan struct{})}, ingest.Unknown, true},
		{"after the commit point, request lost", transporttest.Step{LoseRequest: true}, ingest.Unknown, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, fake := t.TempDir(), transporttest.NewFake()
				// Channels of the table were made outside of the bubble.
				if c.step.Wait != nil {
					c.step.Wait = make(chan struct{})
				}
				if c.step.WaitKept != nil {
					c.step.WaitKept = make(chan struct{})
				}
				fake.Script(c.step)
				o := soon()
				o.UnknownGrace = time.Hour
				o.RetryMin, o.RetryMax = 2*time.Hour, 2*time.Hour // whatever is sent at once is sent without a pause
				s := open(t, dir, fake.Tracking(), o)
				r := put(t, s, telemetry, row(1))[0]
				time.Sleep(100 * time.Millisecond)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}

				held := fake.Tracking() // the same destination, of which nothing is heard
				s = open(t, dir, silent{held}, o)
				st, err := s.Status(t.Context(), r.ID)
				if err != nil || st.State != c.recovered && !(c.recovered == ingest.Sealed && st.State != ingest.Unknown) {
					t.Fatalf("recovered as %+v, %v", st, err)
				}
				time.Sleep(2 * time.Hour)
				sameRows(t, fake.AllRows(), []string{row(1)})
				if want := 1; c.arrived && fake.Skips() != want {
					t.Errorf("%d repeats skipped, want %d", fake.Skips(), want)
				}
			})
		})
	}
}

// silent is a transport whose tracker knows nothing and whose Close leaves the
// destination open for the next process.
type silent struct{ *transporttest.TrackingFake }

func (silent) Close() error { return nil }

func (s silent) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	return nil, nil
}

// What was open when the process ended is sealed by the next one, by the age
// it already has.
func TestRecoveryOfOpenRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := soon()
		o.Batch.MaxAge = time.Hour
		s := open(t, dir, transporttest.NewFake(), o)
		put(t, s, telemetry, rows(20)...)
		parquet := telemetry
		parquet.Format = ingest.Parquet
		time.Sleep(50 * time.Minute)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fake := transporttest.NewFake()
		s = open(t, dir, fake, o)
		time.Sleep(9 * time.Minute)
		if n := len(fake.AllRows()); n != 0 {
			t.Fatalf("%d rows sent before their age", n)
		}
		put(t, s, telemetry, row(20))
		time.Sleep(2 * time.Minute)
		sameRows(t, fake.AllRows(), rows(21))
		if n := len(fake.Kept()); n != 1 {
			t.Errorf("%d batches", n)
		}
	})
}

func TestOpenOptions(t *testing.T) {
	onceOnly := transporttest.NewFakeWith(transport.Capabilities{})
	_, err := engine.Open(t.TempDir(), onceOnly, nil)
	if !errors.Is(err, engine.ErrGuarantee) {
		t.Errorf("exactly-once over a transport that cannot: %v", err)
	}
	s, err := engine.Open(t.TempDir(), onceOnly, &engine.Options{Guarantee: ingest.AtLeastOnce})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = engine.Open(t.TempDir(), transporttest.NewFake(), &engine.Options{Senders: 1000, MaxUnconfirmed: -1, Full: 9, RetryMin: time.Hour,
		Tables: map[engine.TableName]engine.TableOptions{{Database: "x"}: {Guarantee: 7}}})
	for _, part := range []string{"Senders 1000", "MaxUnconfirmed -1", "Full", "RetryMax", "Tables", "Guarantee"} {
		isInvalid(t, err, part)
	}
	if _, err := engine.Open(t.TempDir(), nil, nil); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("nil transport: %v", err)
	}
}
