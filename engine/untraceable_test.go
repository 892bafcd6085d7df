package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// doubtful is a transport with a tracker whose first attempt has an unknown
// outcome.
type doubtful struct {
	*transporttest.TrackingFake
	untraceable bool
}

func (d doubtful) Send(ctx context.Context, del *transport.Delivery) (transport.Ack, error) {
	if del.Attempt > 1 {
		return d.TrackingFake.Send(ctx, del)
	}
	if err := del.Journal.Commit(ctx, []byte("1")); err != nil {
		return transport.Ack{}, err
	}
	return transport.Ack{}, &transport.Error{Op: "stream", Class: transport.Unknown, Message: "502", Untraceable: d.untraceable}
}

// An attempt that nobody can be asked about is repeated after the usual pause,
// and is counted; the control is one that is looked for, for as long as the grace
// lasts.
func TestUntraceableAttemptDoesNotWaitForTheGrace(t *testing.T) {
	for name, untraceable := range map[string]bool{"untraceable": true, "control": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := transporttest.NewFake()
				o := soon()
				o.Guarantee, o.UnknownGrace = ingest.AtLeastOnce, 10*time.Minute
				o.RetryMin, o.RetryMax = time.Second, 10*time.Second
				s := open(t, t.TempDir(), doubtful{fake.Tracking(), untraceable}, o)
				began := time.Now()
				put(t, s, telemetry, row(1))
				drainLong(t, s)
				took := time.Since(began)
				if untraceable && took > 5*time.Second || !untraceable && took < 10*time.Minute {
					t.Errorf("took %v", took)
				}
				if n := s.Stats().Duplicates.Possible; n != 1 {
					t.Errorf("%d possible duplicates", n)
				}
			})
		})
	}
}
