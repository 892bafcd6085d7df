package engine

import (
	"context"
	"io"
	"sync"
	"time"

	"kustospool/engine/internal/lifecycle"
	"kustospool/ingest"
	"kustospool/ingest/record"
	"kustospool/store"
)

// refuseTogether is how many dead letters are written at the same time: each
// waits for the disk several times, and they share the commits of the ledger.
const refuseTogether = 16

// refuser writes the dead letters of what was refused, beside the sealer and
// the dispatcher: an input that is full of it delays no other table, and a
// destination that is down does not delay it. What cannot be written now, for
// want of room on the volume, goes to the dispatcher, which tries again.
type refuser struct {
	queue    refusedQueue
	batches  *batches
	payloads payloads
	refusals *refusals
	rule     func(*ingest.Properties) record.Rule
	wake     <-chan struct{}
}

// refusedQueue is where the refuser's work is.
type refusedQueue interface {
	TakeRefused(n int) []store.Entry
	Retry(store.Entry)
}

// run ends with ctx; what is left is sealed, and the next Open finds it.
func (r *refuser) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for some := r.queue.TakeRefused(refuseTogether); len(some) > 0 && ctx.Err() == nil; some = r.queue.TakeRefused(refuseTogether) {
			var wg sync.WaitGroup
			for _, e := range some {
				wg.Go(func() {
					if err := r.refuse(ctx, e); err != nil {
						r.queue.Retry(e)
					}
				})
			}
			wg.Wait()
		}
	}
}

// refuse dead-letters a batch of a lane of refused records, from Sealed.
func (r *refuser) refuse(ctx context.Context, e store.Entry) error {
	data, err := r.readPayload(&e.Batch)
	if err != nil {
		// Damaged; the store sets aside what it can.
		return r.setAside(ctx, e, &ingest.Failure{Class: "damaged", Code: "damaged", Message: err.Error(), At: time.Now()})
	}
	noted := r.refusals.take(data)
	why := noted
	if why == "" {
		why = "refused before this process began; where it stood is not known any more"
		p := e.Batch.Properties
		p.Refused = false
		if _, err := r.rule(&p).Check(data); err != nil {
			why += ": " + err.Error()
		}
	}
	err = r.setAside(ctx, e, &ingest.Failure{Class: "malformed", Code: "BadRecord", Message: why, At: time.Now()})
	if err != nil && noted != "" {
		r.refusals.note([]Refused{{Data: data, Why: noted}}) // for the next time
	}
	return err
}

func (r *refuser) setAside(ctx context.Context, e store.Entry, why *ingest.Failure) error {
	_, err := r.batches.happened(ctx, e.Batch.ID, lifecycle.Event{Kind: lifecycle.BadRecord, Failure: why})
	return err
}

func (r *refuser) readPayload(b *ingest.Batch) ([]byte, error) {
	in := r.payloads.Payload(b).Open()
	defer in.Close()
	return io.ReadAll(in)
}
