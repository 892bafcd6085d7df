package transporttest

import (
	"context"
	"time"

	"kustospool/transport"
)

// outcome is what Track has to say of a batch.
type outcome struct {
	verdict transport.Verdict
	gate    <-chan struct{} // nil, or open when it is closed
}

// Tracking is the Fake as a transport with a Tracker: every attempt that
// passes its Commit is Accepted, and Track tells the outcome.
func (f *Fake) Tracking() *TrackingFake {
	return &TrackingFake{Fake: f, every: time.Second, atMost: 100}
}

// TrackingFake is a [Fake] whose outcomes come through Track. Of a batch that
// it never saw, or whose [Step.Verdicts] is not closed, Track says nothing.
type TrackingFake struct {
	*Fake

	// immutable once in use
	every  time.Duration
	atMost int
}

var (
	_ transport.Transport = (*TrackingFake)(nil)
	_ transport.Tracker   = (*TrackingFake)(nil)
)

// SetCadence sets what Cadence answers; one second and 100 batches at first.
// Call it before use.
func (f *TrackingFake) SetCadence(every time.Duration, atMost int) { f.every, f.atMost = every, atMost }

// Cadence is what SetCadence set.
func (f *TrackingFake) Cadence() (time.Duration, int) { return f.every, f.atMost }

// Send makes one attempt, as the script has it.
func (f *TrackingFake) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	return f.send(ctx, d, true)
}

// Track tells the outcomes that are ready.
func (f *TrackingFake) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		f.violate("Track is called after Close")
	}
	if len(pending) > f.atMost {
		f.violate("Track is asked about %d batches, at most %d were allowed", len(pending), f.atMost)
	}
	if f.down != nil {
		return nil, f.down
	}
	var verdicts []transport.Verdict
	for _, p := range pending {
		o, ok := f.outcomes[p.Batch.ID]
		if !ok {
			continue
		}
		select {
		case <-o.gate: // blocks for ever when nil
			verdicts = append(verdicts, o.verdict)
		default:
			if o.gate == nil {
				verdicts = append(verdicts, o.verdict)
			}
		}
	}
	return verdicts, nil
}

// Verdict sets what Track says of a batch from now on, for outcomes that the
// script cannot know: the truth about a lost request, say.
func (f *TrackingFake) Verdict(v transport.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outcomes[v.Batch] = outcome{verdict: v}
	f.notifyLocked()
}
