package route

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// codeNotConfigured marks the error about a batch whose transport is not there.
const codeNotConfigured = "TransportNotConfigured"

// idleCadence is the cadence where no transport has a tracker: a batch of
// unknown outcome is then sent again when its grace has passed.
const (
	idleEvery  = 5 * time.Second
	idleAtMost = 1000
)

// Router leads batches to transports. It is safe for concurrent use.
type Router struct {
	// Immutable after New.
	opts     Options
	trackers map[string]transport.Tracker
	every    time.Duration
	atMost   int
}

var (
	_ transport.Router  = (*Router)(nil)
	_ transport.Tracker = (*Router)(nil)
	_ transport.Gauged  = (*Router)(nil)
	_ io.Closer         = (*Router)(nil)
)

// New makes a router. All broken rules are reported at once; the error matches
// [ingest.ErrInvalid], and no transport is closed then.
func New(opts Options) (*Router, error) {
	r := &Router{opts: opts.clone(), trackers: make(map[string]transport.Tracker)}
	if err := r.opts.validate(); err != nil {
		return nil, err
	}
	for name, t := range r.opts.Transports {
		tracker, ok := t.(transport.Tracker)
		if !ok {
			continue
		}
		every, atMost := tracker.Cadence()
		if len(r.trackers) == 0 {
			r.every, r.atMost = every, atMost
		}
		r.every, r.atMost = min(r.every, every), min(r.atMost, atMost)
		r.trackers[name] = tracker
	}
	if len(r.trackers) == 0 {
		r.every, r.atMost = idleEvery, idleAtMost
	}
	return r, nil
}

// way is how a batch goes.
type way struct {
	name     string
	state    byte
	progress []byte // of the transport
}

// way decides who has the batch: the transport that it belongs to, or the one
// that the rules name. Of a free batch the progress is kept where the
// transport is still the same, so that an upload is not repeated.
//
// An at-least-once batch of a transport that can be asked about nothing, a
// stream, is free as well: when its next attempt comes the engine has already
// counted its rows as possibly doubled, and no transport knows better.
func (r *Router) way(p *ingest.Properties, g ingest.Guarantee, progress []byte) way {
	name, state, own, ok := unwrap(progress)
	if !ok && len(progress) > 0 { // written before there was a router
		name, state, own = r.opts.Before, belongs, progress
	}
	if state == belongs && !(g == ingest.AtLeastOnce && r.mute(name)) {
		return way{name, belongs, own}
	}
	w := way{name: r.opts.rule(p), state: free}
	if w.name == name {
		w.progress = own
	}
	return w
}

// mute reports whether the transport is there and has no tracker.
func (r *Router) mute(name string) bool {
	_, there := r.opts.Transports[name]
	return there && r.trackers[name] == nil
}

// Destination is the name of the transport that has the batch.
func (r *Router) Destination(p *ingest.Properties, g ingest.Guarantee, progress []byte) string {
	return r.way(p, g, progress).name
}

// CapabilitiesOf are those of one transport. One that is not configured takes
// nothing, and so breaks nothing: what it began waits, with that as the reason.
func (r *Router) CapabilitiesOf(name string) transport.Capabilities {
	if t, ok := r.opts.Transports[name]; ok {
		return t.Capabilities()
	}
	return transport.Capabilities{ExactlyOnce: true, Blobs: true}
}

// Capabilities are what all of the transports can keep.
func (r *Router) Capabilities() transport.Capabilities {
	all := transport.Capabilities{ExactlyOnce: true, Blobs: true}
	for _, t := range r.opts.Transports {
		c := t.Capabilities()
		all.ExactlyOnce = all.ExactlyOnce && c.ExactlyOnce
		all.Blobs = all.Blobs && c.Blobs
		if c.MaxBatchBytes > 0 && (all.MaxBatchBytes == 0 || c.MaxBatchBytes < all.MaxBatchBytes) {
			all.MaxBatchBytes = c.MaxBatchBytes
		}
	}
	return all
}

func (r *Router) notConfigured(name string) *transport.Error {
	return &transport.Error{Op: "route", Class: transport.Held, Code: codeNotConfigured,
		Message: fmt.Sprintf("the batch was begun by transport %q, which is not configured; it may be in the table, so it waits until that transport is there again", name)}
}

// Send makes one attempt by the transport that has the batch.
func (r *Router) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	w := r.way(&d.Batch.Properties, d.Batch.Guarantee, d.Progress)
	t, ok := r.opts.Transports[w.name]
	if !ok {
		return transport.Ack{}, r.notConfigured(w.name)
	}
	j := &journal{Journal: d.Journal, name: w.name, state: w.state}
	attempt := *d
	attempt.Progress, attempt.Journal = w.progress, j
	ack, err := t.Send(ctx, &attempt)
	var e *transport.Error
	switch {
	case err == nil && ack.State == ingest.Accepted && r.trackers[w.name] == nil:
		ack.State = ingest.HandedOver // nobody there will ever tell
	case errors.As(err, &e) && e.Class != transport.Unknown && j.committed && w.state == free:
		// Nothing came of this attempt, and there was none before that something
		// could have come of. A release that fails to be written leaves the batch
		// with the transport, which is safe.
		_ = j.release(ctx)
	}
	return ack, err
}

// Track asks each transport about the batches that it has, all at the same
// time. A batch of a transport that is not configured is part of the error.
func (r *Router) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	lists := make(map[string][]transport.Pending)
	for _, p := range pending {
		w := r.way(&p.Batch.Properties, p.Batch.Guarantee, p.Progress)
		lists[w.name] = append(lists[w.name], transport.Pending{Batch: p.Batch, Progress: w.progress})
	}
	var (
		asking sync.WaitGroup
		mu     sync.Mutex
		// mu guards the following.
		verdicts []transport.Verdict
		errs     []error
	)
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		if _, ok := r.opts.Transports[name]; !ok {
			mu.Lock()
			errs = append(errs, r.notConfigured(name))
			mu.Unlock()
			continue
		}
		tracker := r.trackers[name]
		if tracker == nil {
			continue
		}
		asking.Go(func() {
			var vs []transport.Verdict
			err := transport.Guard("Tracker.Track of transport "+name, func() (err error) {
				vs, err = tracker.Track(ctx, lists[name])
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			verdicts = append(verdicts, vs...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	asking.Wait()
	return verdicts, errors.Join(errs...)
}

// Cadence is the shortest pause and the smallest number among the transports.
func (r *Router) Cadence() (every time.Duration, atMost int) { return r.every, r.atMost }

// Figures are those of all transports, each with the transport's name and a
// point before it.
func (r *Router) Figures() []transport.Figure {
	var all []transport.Figure
	for _, name := range slices.Sorted(maps.Keys(r.opts.Transports)) {
		if g, ok := r.opts.Transports[name].(transport.Gauged); ok {
			for _, f := range g.Figures() {
				f.Name = name + "." + f.Name
				all = append(all, f)
			}
		}
	}
	return all
}

// Close closes every transport that can be closed.
func (r *Router) Close() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(r.opts.Transports)) {
		if c, ok := r.opts.Transports[name].(io.Closer); ok {
			if err := c.Close(); err != nil {
				errs = append(errs, fmt.Errorf("transport %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}
