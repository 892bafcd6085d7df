package route

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// dying is a transport whose Track does not return.
type dying struct {
	*transporttest.TrackingFake
	die func()
}

func (d dying) Track(context.Context, []transport.Pending) ([]transport.Verdict, error) {
	d.die()
	return nil, nil
}

// A tracker that dies in the router's goroutine costs the others nothing.
func TestTrackDies(t *testing.T) {
	for name, die := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			second := transporttest.NewFake().Tracking()
			r := both(t, dying{transporttest.NewFake().Tracking(), die}, second)
			second.Verdict(transport.Verdict{Batch: ingest.BatchID{2}, State: ingest.Succeeded})
			b2 := *batch(ingest.ExactlyOnce)
			b2.ID = ingest.BatchID{2}
			vs, err := r.Track(t.Context(), []transport.Pending{
				{Batch: batch(ingest.ExactlyOnce), Progress: wrap("first", belongs, nil)}, {Batch: &b2, Progress: wrap("second", belongs, nil)}})
			if len(vs) != 1 || vs[0].Batch != b2.ID || err == nil || !strings.Contains(err.Error(), "transport first panicked") {
				t.Errorf("%v, %v", vs, err)
			}
		})
	}
}
