package engine

import (
	"context"
	"io"
	"sync"
	"time"

	"kustospool/engine/internal/lifecycle"
	"kustospool/ingest"
	"kustospool/store"
)

// refuseTogether is how many dead letters are written at the same time: each
// waits for the disk several times, and they share the commits of the ledger.
const refuseTogether = 16

// refuser writes the dead letters of what was refused, beside the sealer and
// the sender: an input that is full of it delays no other table, and a
// destination that is down does not delay it. What cannot be written now, for
// want of room on the volume, goes to the sender, which tries again.
type refuser struct {
	s    *Spool
	wake chan struct{} // holds at most one token

	mu    sync.Mutex    // guards queue
	queue []store.Entry // sealed
}

func newRefuser(s *Spool) *refuser { return &refuser{s: s, wake: make(chan struct{}, 1)} }

func (r *refuser) add(e store.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, e)
	signal(r.wake)
}

func (r *refuser) take() []store.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.queue), refuseTogether)
	some := r.queue[:n:n]
	if r.queue = r.queue[n:]; len(r.queue) == 0 {
		r.queue = nil
	}
	return some
}

// run ends with ctx; what is left is sealed, and the next Open finds it.
func (r *refuser) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for some := r.take(); len(some) > 0 && ctx.Err() == nil; some = r.take() {
			var wg sync.WaitGroup
			for _, e := range some {
				wg.Go(func() {
					if err := r.s.refuse(ctx, e); err != nil {
						r.s.sender.add(e)
					}
				})
			}
			wg.Wait()
		}
	}
}

// refuse dead-letters a batch of a lane of refused records, from Sealed.
func (s *Spool) refuse(ctx context.Context, e store.Entry) error {
	data, err := s.readPayload(&e.Batch)
	if err != nil {
		// Damaged; the store sets aside what it can.
		return s.setAside(ctx, e, &ingest.Failure{Class: "damaged", Code: "damaged", Message: err.Error(), At: time.Now()})
	}
	noted := s.refusals.take(data)
	why := noted
	if why == "" {
		why = "refused before this process began; where it stood is not known any more"
		p := e.Batch.Properties
		p.Refused = false
		if _, err := s.rule(&p).Check(data); err != nil {
			why += ": " + err.Error()
		}
	}
	err = s.setAside(ctx, e, &ingest.Failure{Class: "malformed", Code: "BadRecord", Message: why, At: time.Now()})
	if err != nil && noted != "" {
		s.refusals.note([]Refused{{Data: data, Why: noted}}) // for the next time
	}
	return err
}

func (s *Spool) setAside(ctx context.Context, e store.Entry, why *ingest.Failure) error {
	_, err := s.happened(ctx, e.Batch.ID, lifecycle.Event{Kind: lifecycle.BadRecord, Failure: why})
	return err
}

func (s *Spool) readPayload(b *ingest.Batch) ([]byte, error) {
	r := s.store.Payload(b).Open()
	defer r.Close()
	return io.ReadAll(r)
}
