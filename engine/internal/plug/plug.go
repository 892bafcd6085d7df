package plug

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// Plug is the caller's transport as the engine uses it. Its methods may be called
// by many goroutines.
type Plug struct {
	t   transport.Transport
	log *slog.Logger

	caps   transport.Capabilities
	every  time.Duration // from the tracker's Cadence
	atMost int

	sending, asking atomic.Int64 // calls of Send and Track that have not returned

	mu    sync.Mutex      // guards known
	known map[string]bool // destinations of the router
}

// maxDestinations bounds what a router may name. Each costs memory for as long
// as the spool is open.
const maxDestinations = 1000

// maxBlobBytes is more than any storage holds in one blob: a larger size is wrong.
const maxBlobBytes = 1 << 50

// New asks what the transport can do. The error says that it could not say, and
// matches [ingest.ErrInvalid]. log hears of panics.
func New(t transport.Transport, log *slog.Logger) (*Plug, error) {
	p := &Plug{t: t, log: log, every: time.Hour, atMost: 1, known: make(map[string]bool)}
	if err := p.call("Transport.Capabilities", func() error {
		p.caps = t.Capabilities()
		return nil
	}); err != nil {
		return nil, &ingest.FieldError{Field: "transport", Value: fmt.Sprintf("%T", t), Rule: "must tell its capabilities: " + err.Error()}
	}
	if tracker := p.tracker(); tracker != nil {
		if err := p.call("Tracker.Cadence", func() error {
			p.every, p.atMost = tracker.Cadence()
			return nil
		}); err != nil {
			return nil, &ingest.FieldError{Field: "transport", Value: fmt.Sprintf("%T", t), Rule: "must tell its tracker's cadence: " + err.Error()}
		}
		p.every = min(max(p.every, time.Millisecond), time.Hour)
		p.atMost = max(p.atMost, 1)
	}
	return p, nil
}

func (p *Plug) tracker() transport.Tracker {
	t, _ := p.t.(transport.Tracker)
	return t
}

func (p *Plug) router() transport.Router {
	r, _ := p.t.(transport.Router)
	return r
}

// Tracks reports whether it can be asked for outcomes.
func (p *Plug) Tracks() bool { return p.tracker() != nil }

// Routes reports whether it has more than one destination, a [transport.Router].
func (p *Plug) Routes() bool { return p.router() != nil }

// Capabilities are those of a transport that is no router.
func (p *Plug) Capabilities() transport.Capabilities { return p.caps }

// Cadence is how long to wait between two questions about a batch, from a millisecond
// to an hour, and how many batches one question may be about, at least 1.
func (p *Plug) Cadence() (every time.Duration, atMost int) { return p.every, p.atMost }

// UnderWay counts the calls of Send and of Track that have not returned.
func (p *Plug) UnderWay() (sends, questions int) {
	return int(p.sending.Load()), int(p.asking.Load())
}

// call guards one call. The stack goes to the log, and the words to whoever
// shows the error.
func (p *Plug) call(what string, f func() error) error { return p.told(transport.Guard(what, f)) }

func (p *Plug) told(err error) error {
	if bad, ok := errors.AsType[*transport.PanicError](err); ok && bad.Stack != "" {
		p.log.Error("a plug panicked; the engine goes on", "call", bad.Call, "panic", bad.Words, "stack", bad.Stack)
	}
	return err
}

// Send is the transport's. Its error, and the error's text, are of the engine's
// own types.
func (p *Plug) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	batch := *d.Batch
	j := &attemptJournal{to: d.Journal}
	theirs := *d
	theirs.Batch, theirs.Progress, theirs.Journal = &batch, slices.Clone(d.Progress), j
	var ack transport.Ack
	var sent error
	p.sending.Add(1)
	defer p.sending.Add(-1)
	err := p.call("Transport.Send", func() error {
		var err error
		if ack, err = p.t.Send(ctx, &theirs); err != nil {
			sent = plainSendError(err, d.Batch)
		}
		return nil
	})
	j.end()
	if err != nil {
		return transport.Ack{}, err
	}
	// No format is that much larger on the wire than it is: the figure is wrong.
	if most := 16*d.Batch.RawBytes + 1<<20; ack.WireBytes < 0 || ack.WireBytes > most {
		ack.WireBytes = 0
	}
	if !d.Batch.Properties.ByReference || ack.BlobBytes < 0 || ack.BlobBytes > maxBlobBytes {
		ack.BlobBytes = 0
	}
	return ack, sent
}

// plainSendError is an error of Send without anything of the plug's in it that
// is called later. It is called in the plug's own goroutine.
func plainSendError(err error, b *ingest.Batch) error {
	damage, ok := errors.AsType[*store.CorruptionError](err)
	if ok && damage != nil && damage.Lane == b.Lane && damage.Last >= b.First && damage.First <= b.Last && damage.First <= damage.Last {
		return damage
	}
	e, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return errors.New(transport.Classify(err, false).Message)
	}
	var class transport.Class // none, for Classify to say
	if e != nil {
		class = e.Class
	}
	plain := transport.Classify(err, false)
	plain.Class, plain.Err = class, nil
	return plain
}

// attemptJournal is the journal of one attempt, for as long as that lasts: a
// goroutine that a transport left behind must not write into the next one's.
type attemptJournal struct {
	mu    sync.Mutex // guards to
	to    transport.Journal
	ended bool
}

var errAttemptOver = errors.New("engine: the transport used the Journal of an attempt that is over")

func (j *attemptJournal) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = true
}

// Note implements [transport.Journal].
func (j *attemptJournal) Note(ctx context.Context, progress []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		return errAttemptOver
	}
	return j.to.Note(ctx, progress)
}

// Commit implements [transport.Journal].
func (j *attemptJournal) Commit(ctx context.Context, progress []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		return errAttemptOver
	}
	return j.to.Commit(ctx, progress)
}

// Track is Tracker.Track, with verdicts that can be relied on: of batches that
// were asked about, one of each, with a state that a verdict may have and, of a
// failure, with an error that Classify has seen. Of what else it answered the
// error tells.
func (p *Plug) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	asked := make(map[ingest.BatchID]bool, len(pending)) // false once there is a verdict
	theirs := make([]transport.Pending, len(pending))
	for i, q := range pending {
		asked[q.Batch.ID] = true
		batch := *q.Batch
		theirs[i] = transport.Pending{Batch: &batch, Progress: slices.Clone(q.Progress)}
	}
	var verdicts []transport.Verdict
	var senseless, failed error
	p.asking.Add(1)
	defer p.asking.Add(-1)
	err := p.call("Tracker.Track", func() error {
		vs, err := p.tracker().Track(ctx, theirs)
		for _, v := range vs {
			bad := ""
			switch open, known := asked[v.Batch]; {
			case !known:
				bad = "nobody asked about it"
			case !open:
				continue // the first one counts
			case v.State == ingest.DeadLettered:
				failure := error(v.Failure)
				if v.Failure == nil {
					failure = &transport.Error{Op: "track", Message: "the ingestion failed, and the tracker does not say how"}
				}
				v.Failure = transport.Classify(failure, false)
				v.Failure.Err = nil
			case v.State == 0 || v.State == ingest.Unknown || v.State == ingest.Accepted || v.State.Ingested():
				if v.Failure != nil {
					v.Failure = transport.Classify(v.Failure, false)
					v.Failure.Err = nil
				}
			default:
				bad = fmt.Sprintf("%s is no state of a verdict", v.State)
			}
			if bad != "" {
				senseless = &transport.Error{Op: "track", Message: fmt.Sprintf("an answer about batch %s makes no sense: %s", v.Batch, bad)}
				continue
			}
			if v.State != 0 {
				asked[v.Batch] = false
			}
			verdicts = append(verdicts, v)
		}
		if err != nil {
			plain := transport.Classify(err, false)
			plain.Err = nil
			failed = plain
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case failed != nil || senseless == nil:
		return verdicts, failed
	}
	// It was asked, and it answered. What is to be done about batches of which
	// nothing can be said must not wait until it makes sense.
	for _, q := range pending {
		if asked[q.Batch.ID] {
			verdicts = append(verdicts, transport.Verdict{Batch: q.Batch.ID})
		}
	}
	return verdicts, senseless
}

// Figures is Gauged.Figures; nil where there are none.
func (p *Plug) Figures() (list []transport.Figure) {
	g, ok := p.t.(transport.Gauged)
	if !ok {
		return nil
	}
	if p.call("Gauged.Figures", func() error {
		list = g.Figures()
		return nil
	}) != nil {
		return nil
	}
	return list
}

// Close is io.Closer's.
func (p *Plug) Close() error {
	c, ok := p.t.(io.Closer)
	if !ok {
		return nil
	}
	return p.call("Transport.Close", func() error {
		err := c.Close()
		if err != nil {
			_ = err.Error() // what has no text, a nil pointer say, shows it here and not to the caller
		}
		return err
	})
}
