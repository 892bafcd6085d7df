package direct

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// operationsAtMost is how many operations stand in one question, and
// longestOperation how long one is taken to hold its share of the capacity
// when nobody has said how it ended: the service lets a command run for an hour.
const (
	operationsAtMost = 64
	longestOperation = time.Hour
)

// accepted reads the reply to an async command: the id of its operation. The
// id is made durable before anything else is done. Where it is lost all the
// same, the request id finds the command in the log once it has ended.
func (c *Client) accepted(ctx context.Context, d *transport.Delivery, p *progress, t *kusto.Table, id string) (transport.Ack, error) {
	if len(t.Rows) > 0 {
		p.Operation = t.Text(0, "OperationId")
	}
	if _, ok := p.operation(); !ok {
		return transport.Ack{}, &transport.Error{Op: opIngest, Class: transport.Unknown, Code: "NoOperation", RequestID: id,
			Message: "the reply to the async command names no operation"}
	}
	if err := d.Journal.Note(context.WithoutCancel(ctx), p.encode()); err != nil {
		return transport.Ack{}, fmt.Errorf("journal: %w", err)
	}
	return transport.Ack{State: ingest.Accepted}, nil
}

// operations adds to found what the cluster says of the batches' operations,
// under the request ids that began them. It forgets an operation six hours
// after its end; the log of commands knows it for a month.
func (c *Client) operations(ctx context.Context, db string, list []transport.Pending, found map[string]logged) error {
	var ids []uuid.UUID
	request := make(map[uuid.UUID]string)
	for _, p := range list {
		progress := decodeProgress(p.Progress)
		if id, ok := progress.operation(); ok {
			ids = append(ids, id)
			request[id] = progress.latest()
		}
	}
	for chunk := range slices.Chunk(ids, operationsAtMost) {
		t, err := c.ask(ctx, db, showOperations(chunk))
		if err != nil {
			return err
		}
		for i := range t.Rows { // of an operation with several rows the last one holds
			id, err := uuid.Parse(t.Text(i, "OperationId"))
			if err == nil && request[id] != "" {
				found[request[id]] = logged{t.Text(i, "State"), t.Text(i, "Status")}
			}
		}
	}
	return nil
}

// underWay holds the slots of operations that were accepted and have not ended.
type underWay struct {
	mu    sync.Mutex // guards slots
	slots map[ingest.BatchID]heldSlot
}

type heldSlot struct {
	slot
	since time.Time
}

func (u *underWay) hold(id ingest.BatchID, s slot, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if old, ok := u.slots[id]; ok {
		old.release(neither)
	}
	u.slots[id] = heldSlot{s, now}
}

// ended gives the slot of a batch's operation back, if there is one; a zero
// result says that it has not ended.
func (u *underWay) ended(id ingest.BatchID, r result) {
	if r == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if s, ok := u.slots[id]; ok {
		delete(u.slots, id)
		s.release(r)
	}
}

// expire gives back the slots of operations that nobody has asked about for
// too long.
func (u *underWay) expire(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, s := range u.slots {
		if now.Sub(s.since) > longestOperation {
			delete(u.slots, id)
			s.release(neither)
		}
	}
}

// seenVerdict is what a verdict says of the capacity; zero while the operation
// is under way.
func seenVerdict(v transport.Verdict) result {
	switch {
	case v.State.Ingested():
		return passed
	case v.State != ingest.DeadLettered:
		return 0
	case v.Failure.Class == transport.Throttled:
		return refused
	}
	return neither
}
