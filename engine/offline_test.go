package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/engine"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// A program that is started again and again while nothing can be sent, and
// drains each time, leaves few batches: one that it tried to send, and what joins
// behind it. The control seals each time, as a drain once did.
func TestStartsWithoutANetworkJoinOneBatch(t *testing.T) {
	const starts = 6
	for name, c := range map[string]struct {
		end  func(*engine.Spool, context.Context) error
		want int64
	}{
		"drain": {(*engine.Spool).Drain, 2},
		"control": {func(s *engine.Spool, ctx context.Context) error {
			return errors.Join(s.Flush(ctx), s.Drain(ctx))
		}, starts},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, dir, o := transporttest.NewFake(), t.TempDir(), soon()
				o.Batch.MaxAge, o.RetryMin, o.RetryMax = time.Hour, time.Second, 10*time.Second
				fake.Down(&transport.Error{Op: "upload", Class: transport.Transient, Message: "no route to host"})
				for n := range starts {
					s, err := engine.Open(dir, fake, o)
					if err != nil {
						t.Fatal(err)
					}
					put(t, s, telemetry, row(n))
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					undrained := new(engine.NotDrainedError)
					if err := c.end(s, ctx); !errors.As(err, &undrained) || undrained.Records != int64(n+1) {
						t.Fatal(err)
					}
					cancel()
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				}
				fake.Down(nil)
				s := open(t, dir, fake, o)
				began := time.Now()
				drain(t, s)
				if took := time.Since(began); took > time.Minute {
					t.Errorf("the drain waited for the age: %v", took)
				}
				if n := s.Stats().SettledBatches.Ingested; n != c.want {
					t.Errorf("%d batches, want %d", n, c.want)
				}
				if n := s.Stats().Settled.Ingested; n != starts {
					t.Errorf("%d records", n)
				}
			})
		})
	}
}

// A table whose batches cannot leave does not keep a drain from sealing and
// delivering what is open behind a batch of another.
func TestDrainSealsBehindWhatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, o := transporttest.NewFake(), soon()
		o.Batch.MaxAge, o.Batch.MaxRecords = time.Hour, 2
		o.RetryMin, o.RetryMax = time.Second, 10*time.Second
		dead := telemetry
		dead.Table = "Missing"
		fake.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
			if d.Batch.Properties.Table == dead.Table {
				return transporttest.Step{Fail: transporttest.Fail(transport.Held)}, true
			}
			return transporttest.Step{}, false
		})
		s := open(t, t.TempDir(), fake, o)
		put(t, s, dead, row(1), row(2), row(3))
		put(t, s, telemetry, row(1), row(2), row(3))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Drain(ctx); err == nil {
			t.Fatal("drained a table that is missing")
		}
		for _, l := range s.Stats().Lanes {
			switch open := l.Waiting.Open; {
			case l.Properties.Table == dead.Table && (l.Waiting.Records != 3 || open != 1):
				t.Errorf("%+v waits for the missing table", l.Waiting)
			case l.Properties.Table != dead.Table && l.Waiting.Records != 0:
				t.Errorf("%+v waits", l.Waiting)
			}
		}
	})
}
