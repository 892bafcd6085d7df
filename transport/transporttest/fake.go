package transporttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// Fake is a transport and its destination in memory, for tests of what uses
// transports. Without a script every attempt succeeds.
//
// It is safe for use by many goroutines, starts none, and waits only for
// contexts, timers and the channels of its script, so it works inside a
// testing/synctest bubble if it is made there.
//
// A Fake answers Succeeded or Skipped. [Fake.Tracking] is the same destination
// as a transport that answers Accepted and tells the outcome through Track.
type Fake struct {
	// immutable after construction
	caps transport.Capabilities

	// mu guards everything below.
	mu      sync.Mutex
	steps   []Step
	byTable map[Table][]Step
	decide  func(*transport.Delivery) (Step, bool)
	down    *transport.Error
	poison  func(record []byte) bool

	sends      []*Send
	inFlight   map[ingest.BatchID]bool
	maxFlight  int
	seen       map[ingest.BatchID]seen
	ended      int
	kept       []Kept
	copies     map[ingest.BatchID]int // of kept
	rows       map[Table]int          // of kept
	outcomes   map[ingest.BatchID]outcome
	skips      int
	violations []string
	closed     bool
	changed    chan struct{} // closed and replaced when sends, kept or outcomes change
}

// seen is what must be the same in every attempt at a batch.
type seen struct {
	batch   ingest.Batch
	attempt int
	payload []byte
}

// Kept is one copy of a batch at the destination.
type Kept struct {
	Batch   ingest.Batch
	Payload []byte
	At      time.Time
}

// NewFake makes an empty destination that keeps exactly-once.
func NewFake() *Fake { return NewFakeWith(transport.Capabilities{ExactlyOnce: true}) }

// NewFakeWith makes an empty destination of these capabilities. Without
// ExactlyOnce it refuses batches that want it, and keeps every repeat.
func NewFakeWith(caps transport.Capabilities) *Fake {
	return &Fake{caps: caps, byTable: map[Table][]Step{}, inFlight: map[ingest.BatchID]bool{},
		seen: map[ingest.BatchID]seen{}, outcomes: map[ingest.BatchID]outcome{},
		copies: map[ingest.BatchID]int{}, rows: map[Table]int{}, changed: make(chan struct{})}
}

var _ transport.Transport = (*Fake)(nil)

// Capabilities are what the Fake was made with.
func (f *Fake) Capabilities() transport.Capabilities { return f.caps }

// Script appends steps for the next attempts, one each, whatever their table.
func (f *Fake) Script(steps ...Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps = append(f.steps, steps...)
}

// ScriptTable appends steps for the next attempts at one table. They go
// before those of Script.
func (f *Fake) ScriptTable(table Table, steps ...Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byTable[table] = append(f.byTable[table], steps...)
}

// Decide asks a function for the step of each attempt; where it answers false
// the script goes on. It may be called by many goroutines at once.
func (f *Fake) Decide(decide func(*transport.Delivery) (Step, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide = decide
}

// Down makes every attempt fail with this error, without using up the script,
// until it is called with nil. Track fails with it as well.
func (f *Fake) Down(err *transport.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

// Poison makes the destination refuse a batch as Malformed when it holds a
// record, without its newline, for which bad is true.
func (f *Fake) Poison(bad func(record []byte) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.poison = bad
}

// Send makes one attempt, as the script has it.
func (f *Fake) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	return f.send(ctx, d, false)
}

func (f *Fake) send(ctx context.Context, d *transport.Delivery, tracked bool) (transport.Ack, error) {
	s, step := f.begin(d)
	ack, err := f.attempt(ctx, d, s, step, tracked)
	f.end(s, ack, err)
	return ack, err
}

// begin books the attempt and picks its step.
func (f *Fake) begin(d *transport.Delivery) (*Send, Step) {
	f.mu.Lock()
	decide := f.decide
	f.mu.Unlock()
	var decided bool
	var step Step
	if decide != nil {
		step, decided = decide(d)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	id := d.Batch.ID
	s := &Send{Batch: *d.Batch, Attempt: d.Attempt, Progress: slices.Clone(d.Progress), Started: time.Now()}
	f.sends = append(f.sends, s)
	if f.closed {
		f.violate("batch %v is sent after Close", id)
	}
	if f.inFlight[id] {
		f.violate("batch %v is sent twice at once", id)
	}
	f.inFlight[id] = true
	f.maxFlight = max(f.maxFlight, len(f.inFlight))
	last, repeat := f.seen[id]
	if repeat && !reflect.DeepEqual(last.batch, *d.Batch) {
		f.violate("batch %v was %+v and is now %+v", id, last.batch, *d.Batch)
	}
	if d.Attempt <= last.attempt {
		f.violate("batch %v: attempt %d comes after attempt %d", id, d.Attempt, last.attempt)
	}
	f.seen[id] = seen{*d.Batch, d.Attempt, last.payload}

	table := TableOf(d.Batch.Properties)
	switch {
	case f.down != nil:
		step = Step{Fail: f.down}
	case decided:
	case len(f.byTable[table]) > 0:
		step, f.byTable[table] = f.byTable[table][0], f.byTable[table][1:]
	case len(f.steps) > 0:
		step, f.steps = f.steps[0], f.steps[1:]
	}
	f.notifyLocked()
	return s, step
}

func (f *Fake) end(s *Send, ack transport.Ack, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.inFlight, s.Batch.ID)
	f.ended++
	s.Ended, s.Ack, s.Err = time.Now(), ack, err
	f.notifyLocked()
}

// attempt is the step at work. mu is not held: it waits, and calls the journal.
func (f *Fake) attempt(ctx context.Context, d *transport.Delivery, s *Send, step Step, tracked bool) (transport.Ack, error) {
	if err := wait(ctx, step.Wait); err != nil {
		return transport.Ack{}, err
	}
	if step.Delay > 0 {
		select {
		case <-time.After(step.Delay):
		case <-ctx.Done():
			return transport.Ack{}, ctx.Err()
		}
	}
	if err := ctx.Err(); err != nil {
		return transport.Ack{}, err
	}
	if step.Fail != nil {
		return transport.Ack{}, step.Fail
	}
	if d.Batch.Guarantee == ingest.ExactlyOnce && !f.caps.ExactlyOnce {
		return transport.Ack{}, &transport.Error{Op: "fake send", Class: transport.Permanent, Message: "exactly-once is not to be had here"}
	}
	if d.Batch.Properties.ByReference && !f.caps.Blobs {
		return transport.Ack{}, &transport.Error{Op: "fake send", Class: transport.Permanent, Message: "blobs by reference are not taken here"}
	}
	if err := d.Journal.Note(ctx, []byte("upload")); err != nil {
		return transport.Ack{}, err
	}
	payload, err := f.read(ctx, d)
	if err != nil {
		return transport.Ack{}, fmt.Errorf("fake upload: %w", err)
	}
	f.mu.Lock()
	s.Payload = payload
	poisoned := f.poisonedLocked(d.Batch, payload)
	f.mu.Unlock()
	if step.Before != nil {
		if err := step.Before(d); err != nil {
			return transport.Ack{}, err
		}
	}
	if err := d.Journal.Commit(ctx, []byte("enqueue")); err != nil {
		return transport.Ack{}, err
	}
	if poisoned && step.Refuse == nil {
		step.Refuse = &transport.Error{Op: "fake ingest", Class: transport.Malformed, Code: "BadRequest_InvalidRecord", Message: "a record is malformed"}
	}
	state := f.effect(d.Batch, payload, s, step)
	if err := wait(ctx, step.WaitKept); err != nil {
		return transport.Ack{}, err
	}
	switch {
	case step.LoseRequest || step.LoseReply:
		return transport.Ack{}, &transport.Error{Op: "fake enqueue", Class: transport.Unknown, Message: "connection reset"}
	case tracked:
		return transport.Ack{State: ingest.Accepted, WireBytes: int64(len(payload))}, nil
	case step.Refuse != nil:
		return transport.Ack{}, step.Refuse
	default:
		return transport.Ack{State: state, WireBytes: int64(len(payload))}, nil
	}
}

// effect is what the destination does with the batch.
func (f *Fake) effect(b *ingest.Batch, payload []byte, s *Send, step Step) ingest.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.notifyLocked()
	s.Committed = true
	if step.LoseRequest {
		return 0
	}
	present := b.Guarantee == ingest.ExactlyOnce && f.copies[b.ID] > 0
	state := ingest.Succeeded
	switch {
	case present:
		f.skips++
		state = ingest.Skipped
	case step.Refuse != nil:
		state = ingest.DeadLettered
	default:
		f.kept = append(f.kept, Kept{Batch: *b, Payload: payload, At: time.Now()})
		f.copies[b.ID]++
		f.rows[TableOf(b.Properties)] += len(Split(b.Properties, payload))
	}
	o := outcome{verdict: transport.Verdict{Batch: b.ID, State: state}, gate: step.Verdicts}
	if state == ingest.DeadLettered {
		o.verdict.Failure = step.Refuse
	}
	f.outcomes[b.ID] = o
	return state
}

// read takes the payload in and checks it against the batch and against the
// attempts before.
func (f *Fake) read(ctx context.Context, d *transport.Delivery) ([]byte, error) {
	r := d.Payload.Open()
	defer r.Close()
	var buf bytes.Buffer
	piece := make([]byte, 32<<10)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := r.Read(piece)
		buf.Write(piece[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := d.Batch.ID
	if n := int64(buf.Len()); n != d.Payload.Size() || n != d.Batch.RawBytes {
		f.violate("batch %v has %d bytes, its payload says %d and its RawBytes %d", id, n, d.Payload.Size(), d.Batch.RawBytes)
	}
	last := f.seen[id]
	if last.payload != nil && !bytes.Equal(last.payload, buf.Bytes()) {
		f.violate("batch %v has other bytes than in an attempt before", id)
	}
	last.payload = buf.Bytes()
	f.seen[id] = last
	return buf.Bytes(), nil
}

func (f *Fake) poisonedLocked(b *ingest.Batch, payload []byte) bool {
	return f.poison != nil && slices.ContainsFunc(Split(b.Properties, payload), func(rec string) bool { return f.poison([]byte(rec)) })
}

func (f *Fake) violate(format string, args ...any) {
	f.violations = append(f.violations, fmt.Sprintf(format, args...))
}

// Close marks the end: an engine must not send after it.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		f.violate("Close is called twice")
	}
	f.closed = true
	return nil
}

var _ io.Closer = (*Fake)(nil)

// wait waits for a gate; a nil gate is open.
func wait(ctx context.Context, gate <-chan struct{}) error {
	if gate == nil {
		return nil
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
