package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
)

// deaf is a transport that does not hear that it is cut off.
type deaf struct {
	sends    atomic.Int64
	begun    chan struct{} // holds one for each call
	released chan struct{}
	tracks   bool // it is Track that is deaf
}

func newDeaf(tracks bool) *deaf {
	return &deaf{begun: make(chan struct{}, 100), released: make(chan struct{}), tracks: tracks}
}

func (d *deaf) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

func (d *deaf) Send(ctx context.Context, to *transport.Delivery) (transport.Ack, error) {
	d.sends.Add(1)
	if err := to.Journal.Commit(ctx, nil); err != nil {
		return transport.Ack{}, err
	}
	if !d.tracks {
		d.begun <- struct{}{}
		<-d.released
	}
	return transport.Ack{State: ingest.Accepted}, nil
}

func (d *deaf) Track(_ context.Context, pending []transport.Pending) (out []transport.Verdict, err error) {
	if d.tracks {
		d.begun <- struct{}{}
		<-d.released
	}
	for _, p := range pending {
		out = append(out, transport.Verdict{Batch: p.Batch.ID, State: ingest.Succeeded})
	}
	return out, nil
}

func (d *deaf) Cadence() (time.Duration, int) { return time.Millisecond, 100 }

// Close and Shutdown end whatever the transport does. The spool stays locked
// until it has returned, so that no second attempt meets the first.
func TestADeafTransportDoesNotHoldClose(t *testing.T) {
	for _, tracks := range []bool{false, true} {
		for _, end := range []struct {
			name  string
			most  time.Duration
			close func(*engine.Spool) error
		}{
			{"Close", 5 * time.Second, (*engine.Spool).Close},
			{"Shutdown", 8 * time.Second, func(s *engine.Spool) error {
				ctx, cancel := context.WithTimeout(context.Background(), 7*time.Second)
				defer cancel()
				return s.Shutdown(ctx)
			}},
			{"Shutdown, cancelled", time.Second, func(s *engine.Spool) error {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				return s.Shutdown(ctx)
			}},
		} {
			synctest.Test(t, func(t *testing.T) {
				dir, d, o := t.TempDir(), newDeaf(tracks), soon()
				o.CloseTimeout = 5 * time.Second
				s, err := engine.Open(dir, d, o)
				if err != nil {
					t.Fatal(err)
				}
				r := put(t, s, telemetry, row(1))[0]
				<-d.begun
				waited := make(chan error, 1)
				go func() {
					_, err := s.Wait(context.Background(), r.ID)
					waited <- err
				}()
				synctest.Wait()
				before := time.Now()
				err = end.close(s)
				var held *engine.NotClosedError
				if !errors.As(err, &held) || held.Sends+held.Questions != 1 || (held.Questions == 1) != tracks {
					t.Fatalf("%s: %v", end.name, err)
				}
				if took := time.Since(before); took > end.most {
					t.Errorf("%s took %v", end.name, took)
				}
				if err := <-waited; !errors.Is(err, engine.ErrClosed) {
					t.Errorf("Wait: %v", err)
				}
				if _, err := s.Ingest(t.Context(), request(telemetry, row(2))); !errors.Is(err, engine.ErrClosed) {
					t.Errorf("Ingest: %v", err)
				}
				_, err = engine.Open(dir, newDeaf(tracks), soon())
				var locked *engine.LockedError
				if !errors.As(err, &locked) || !strings.Contains(err.Error(), "have not returned") {
					t.Errorf("a second spool: %v", err)
				}

				close(d.released)
				if err := s.Close(); err != nil {
					t.Errorf("Close, when all has returned: %v", err)
				}
				s = open(t, dir, d, soon())
				drain(t, s)
				if st := s.Stats(); st.Settled.Ingested != 1 || d.sends.Load() != 1 {
					t.Errorf("%+v after %d attempts", st.Settled, d.sends.Load())
				}
			})
		}
	}
}
