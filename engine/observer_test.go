package engine_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/transporttest"
)

// TestCloseTellsOfAnObserver that does not return: the files are closed and free for
// another process, the rest is handed over when it returns, and nothing is left then.
func TestCloseTellsOfAnObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, b := t.TempDir(), &books{hold: make(chan struct{})}
		o := soon()
		o.Observer, o.CloseTimeout = b, 5*time.Second
		s, err := engine.Open(dir, transporttest.NewFake(), o)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, telemetry, rows(3)...)
		drain(t, s)
		st := s.Stats()
		for range 2 {
			before := time.Now()
			err = s.Close()
			var left *engine.NotClosedError
			if !errors.As(err, &left) || !left.Observer || left.Sends+left.Questions != 0 || !strings.Contains(err.Error(), "Observer.Observe") {
				t.Fatalf("Close: %v", err)
			}
			if took := time.Since(before); took != o.CloseTimeout {
				t.Errorf("Close took %v", took)
			}
		}
		again := open(t, dir, transporttest.NewFake(), soon())
		if n := again.Stats().Settled.Ingested; n != 3 {
			t.Errorf("%d records are delivered", n)
		}
		close(b.hold)
		if err := s.Close(); err != nil {
			t.Errorf("Close, when Observe has returned: %v", err)
		}
		for _, w := range b.against(st) {
			t.Error(w)
		}
	})
}

// TestCallsAreTimed: all of few, and one in sixteen of those beyond 512 at a time.
func TestCallsAreTimed(t *testing.T) {
	for _, tt := range []struct{ calls, timed int }{{512, 512}, {1000, 512 + 1000/16 - 512/16}} {
		synctest.Test(t, func(t *testing.T) {
			var got engine.Durations
			o := soon()
			o.Observer = observer(func(ev engine.Event) {
				if ev, ok := ev.(engine.CallsReturned); ok {
					got.Merge(&ev.Took)
				}
			})
			s := open(t, t.TempDir(), transporttest.NewFake(), o)
			for range 3 { // each time has its own share
				got = engine.Durations{}
				for i := range tt.calls { // while the clock stands still
					if _, err := s.IngestAll(t.Context(), []*ingest.Request{request(telemetry, row(i))}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if n := got.Count(); n != int64(tt.timed) {
					t.Errorf("%d of %d calls are timed, want %d", n, tt.calls, tt.timed)
				}
			}
		})
	}
}

type observer func(engine.Event)

func (o observer) Observe(ev engine.Event) { o(ev) }
