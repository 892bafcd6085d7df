package managed

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/queued"
)

// streamAttempts is how many attempts at a batch may stream.
const streamAttempts = 2

// maxTables bounds how many tables are remembered; beyond it the oldest
// memories are dropped with those that have ended.
const maxTables = 10_000

// ClientOptions configure a [Client]. Nil and the zero value are the defaults.
type ClientOptions struct {
	// Stream and Queued are the options of the two ways. Nil is their default.
	Stream *direct.ClientOptions
	Queued *queued.ClientOptions

	// QueueFor is how long a table that takes no streams is queued without
	// asking again. Default 15 minutes; at least a second.
	QueueFor time.Duration
	// ThrottleFor is the same after a refusal for want of capacity, and after a
	// stream that could not be begun. Default 10 seconds; at least a second. A
	// longer Retry-After counts.
	ThrottleFor time.Duration
}

// counts are of what a client did.
type counts struct {
	Streamed           int64 // batches that a stream brought in
	Queued             int64 // batches that the queue accepted
	FellBack           int64 // of those, after a refused stream in the same attempt
	PossibleDuplicates int64 // records queued after a stream of the same batch whose outcome was not learned
}

// Client is the managed transport for one cluster. It is safe for concurrent
// use, as [transport.Transport] says.
type Client struct {
	stream                *direct.StreamingClient
	queue                 *queued.Client
	queueFor, throttleFor time.Duration

	mu sync.Mutex
	// mu guards the following.
	queueUntil map[table]time.Time
	counts     counts
}

type table struct{ database, name string }

var (
	_ transport.Transport = (*Client)(nil)
	_ transport.Tracker   = (*Client)(nil)
	_ io.Closer           = (*Client)(nil)
)

// NewClient prepares a client; nothing is sent. Its arguments and errors are
// those of [queued.NewClient].
func NewClient(endpoint string, cred azcore.TokenCredential, opts *ClientOptions) (*Client, error) {
	var o ClientOptions
	if opts != nil {
		o = *opts
	}
	if o.QueueFor == 0 {
		o.QueueFor = 15 * time.Minute
	}
	if o.ThrottleFor == 0 {
		o.ThrottleFor = 10 * time.Second
	}
	var errs []error
	for name, v := range map[string]time.Duration{"QueueFor": o.QueueFor, "ThrottleFor": o.ThrottleFor} {
		if v < time.Second {
			errs = append(errs, &ingest.FieldError{Field: name, Value: v.String(), Rule: "must be at least 1s"})
		}
	}
	c := &Client{queueFor: o.QueueFor, throttleFor: o.ThrottleFor, queueUntil: make(map[table]time.Time)}
	var err error
	if c.stream, err = direct.NewStreamingClient(endpoint, cred, o.Stream); err != nil {
		errs = append(errs, err)
	}
	if c.queue, err = queued.NewClient(endpoint, cred, o.Queued); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// Capabilities are the queue's.
func (c *Client) Capabilities() transport.Capabilities { return c.queue.Capabilities() }

// Cadence is the queue's.
func (c *Client) Cadence() (time.Duration, int) { return c.queue.Cadence() }

// Close closes idle connections. The client has no goroutine to stop.
func (c *Client) Close() error { return errors.Join(c.stream.Close(), c.queue.Close()) }

// Figures count batches: streamed, queued, and of those fell_back after a refused
// stream in the same attempt; and records: possible_duplicates, queued after a
// stream of the same batch whose outcome was not learned. There are none before
// the first batch; with them are the queue's.
func (c *Client) Figures() []transport.Figure {
	uploads := c.queue.Figures()
	c.mu.Lock()
	s := c.counts
	c.mu.Unlock()
	if s == (counts{}) {
		return uploads
	}
	return append(uploads, []transport.Figure{{Name: "streamed", Value: s.Streamed}, {Name: "queued", Value: s.Queued}, {Name: "fell_back", Value: s.FellBack},
		{Name: "possible_duplicates", Value: s.PossibleDuplicates}}...)
}

var _ transport.Gauged = (*Client)(nil)

// Send makes one attempt: a stream, the queue, or a stream that did not get
// through and then the queue. A stream of unknown outcome is the end of its
// attempt, so that the engine counts the rows that the next one may double; that
// one comes after the engine's usual pause, and goes by the queue.
func (c *Client) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	if !c.streams(d) {
		if direct.Streamed(d.Progress) {
			c.count(func(s *counts) { s.PossibleDuplicates += d.Batch.Records() })
		}
		return c.enqueue(ctx, d)
	}
	j := &journal{Journal: d.Journal}
	attempt := *d
	attempt.Journal = j
	ack, err := c.stream.Send(ctx, &attempt)
	if err == nil {
		c.count(func(s *counts) { s.Streamed++ })
		return ack, nil
	}
	if ctx.Err() != nil || !c.fallsBack(d, err) {
		return ack, err
	}
	ack, err = c.enqueue(ctx, &attempt)
	switch {
	case err == nil:
		c.count(func(s *counts) { s.FellBack++ })
	case j.notes == 0:
		// The queue began nothing, and the stream was certainly not taken: what it
		// left in the journal must not look like one that may have been. Where this
		// cannot be written the next attempt counts too much, which is safe.
		_ = j.Journal.Note(context.WithoutCancel(ctx), nil)
	}
	return ack, err
}

// enqueue hands the batch to the queue.
func (c *Client) enqueue(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	ack, err := c.queue.Send(ctx, d)
	if err == nil {
		c.count(func(s *counts) { s.Queued++ })
	}
	return ack, err
}

func (c *Client) count(add func(*counts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.counts)
}

// streams decides whether the attempt begins with a stream. A batch of which
// the queue has a part stays there, and one with a stream that may have been
// taken goes there.
func (c *Client) streams(d *transport.Delivery) bool {
	if len(d.Progress) > 0 || d.Attempt > streamAttempts || direct.CanStream(d.Batch, d.Payload.Size()) != nil {
		return false
	}
	t := tableOf(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	until, remembered := c.queueUntil[t]
	if remembered && time.Now().Before(until) {
		return false
	}
	delete(c.queueUntil, t)
	return true
}

func tableOf(d *transport.Delivery) table {
	return table{d.Batch.Properties.Database, d.Batch.Properties.Table}
}

// fallsBack reports whether a stream that ended in err was certainly not
// taken, for a reason that the queue does not share, and remembers the reason.
func (c *Client) fallsBack(d *transport.Delivery, err error) bool {
	var e *transport.Error
	if !errors.As(err, &e) {
		return false
	}
	var pause time.Duration
	switch {
	case e.Class == transport.Throttled, e.Class == transport.Transient:
		// The queue is another service, of another host and capacity.
		pause = max(c.throttleFor, e.RetryAfter)
	case e.Class == transport.Held && e.Code == kusto.CodeStreamingOff:
		pause = c.queueFor
	case e.Class == transport.Malformed && e.Code == "413":
		return true // of this batch only
	default:
		return false
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queueUntil) >= maxTables {
		for t, until := range c.queueUntil {
			if !now.Before(until) || len(c.queueUntil) >= maxTables {
				delete(c.queueUntil, t)
			}
		}
	}
	c.queueUntil[tableOf(d)] = now.Add(pause)
	return true
}

// Track asks the queue about the batches that are with it. Nobody can be asked
// about a stream.
func (c *Client) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	var queue []transport.Pending
	var streams []transport.Verdict
	for _, p := range pending {
		if direct.Streamed(p.Progress) {
			streams = append(streams, transport.Verdict{Batch: p.Batch.ID})
		} else {
			queue = append(queue, p)
		}
	}
	if len(queue) == 0 {
		return nil, nil
	}
	verdicts, err := c.queue.Track(ctx, queue)
	if err != nil {
		verdicts = append(verdicts, streams...) // they do not wait for the queue's answers
	}
	return verdicts, err
}

// journal lets an attempt that streams and then queues announce two effects:
// the engine takes one Commit in an attempt, and counts the attempt as
// committed from then on; what follows needs to be durable only.
type journal struct {
	transport.Journal
	// Owned by the goroutine that runs the attempt.
	committed bool
	notes     int // behind the stream's Commit: the queue's
}

func (j *journal) Note(ctx context.Context, progress []byte) error {
	j.notes++
	return j.Journal.Note(ctx, progress)
}

func (j *journal) Commit(ctx context.Context, progress []byte) error {
	if j.committed {
		return j.Note(ctx, progress)
	}
	err := j.Journal.Commit(ctx, progress)
	j.committed = err == nil
	return err
}
