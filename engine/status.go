package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// Status tells what became of a record, in this process or in any that opened
// the spool before. It does not use the network. A failed ingestion is a
// Status; the error is [ErrNotFound] for an ID of another spool, of a record
// never acknowledged, or of one settled longer ago than StatusRetention.
func (s *Spool) Status(ctx context.Context, id ingest.ID) (ingest.Status, error) {
	if err := ctx.Err(); err != nil {
		return ingest.Status{}, err
	}
	if id.Spool() != s.store.ID() {
		return ingest.Status{}, fmt.Errorf("%w: %s was issued by another spool", ErrNotFound, id)
	}
	e, err := s.store.Find(id.Lane(), id.Seq())
	if err != nil {
		return ingest.Status{}, err
	}
	return StatusOf(id, s.batches.shown(e)), nil
}

// StatusOf is a record's status, given the ledger row of its batch.
func StatusOf(id ingest.ID, e store.Entry) ingest.Status {
	return ingest.Status{ID: id, State: e.State, Batch: e.Batch.ID, Attempts: e.Attempts, Updated: e.Updated, Failure: e.Failure}
}

// Wait returns when the record's state is final. The error is ctx's, Status's,
// or [ErrClosed]: it means that the answer could not be learned, not that the
// ingestion failed; for that see [ingest.Status.Err].
func (s *Spool) Wait(ctx context.Context, id ingest.ID) (ingest.Status, error) {
	if _, err := s.Status(ctx, id); err != nil {
		return ingest.Status{}, err // before anything is kept for its lane
	}
	for {
		changed := s.changes.of(id.Lane())
		st, err := s.Status(ctx, id)
		if err != nil || st.State.Final() {
			return st, err
		}
		select {
		case <-changed:
		case <-s.store.Failed():
			return st, s.store.Err()
		case <-s.changes.closed():
			return st, ErrClosed
		case <-ctx.Done():
			return st, ctx.Err()
		}
	}
}

// Stats is a snapshot of the spool. The counters of records and batches are
// those of the spool's whole life, across restarts; the others are of now.
type Stats struct {
	store.Stats

	Sending   int             // attempts under way
	Awaiting  int             // batches that are accepted, or may be, and await their outcome
	Attempts  int64           // begun by this process
	Unhealthy *ingest.Failure // what the destination last failed with; nil when it is well

	// WaitingForRoom is how many calls of Ingest, or of its relatives, found the
	// spool full and wait for room (Options.Full) at this moment.
	WaitingForRoom int

	// Transport is what the transport tells of itself ([transport.Gauged]): how
	// much of a cluster's capacity is in use, say. Nil where it tells nothing.
	Transport []transport.Figure
}

// Spooled is the number of records that are acknowledged and not yet final.
func (s Stats) Spooled() int64 { return s.Open + s.Sealed }

// Stats takes a snapshot.
func (s *Spool) Stats() Stats {
	st := Stats{Stats: s.store.Stats(), WaitingForRoom: int(s.waitingForRoom.Load()), Transport: s.transport.figures()}
	s.tracking.mu.Lock()
	st.Awaiting = len(s.tracking.batches)
	st.Unhealthy = s.tracking.unhealthyLocked()
	s.tracking.mu.Unlock()
	s.sender.mu.Lock()
	defer s.sender.mu.Unlock()
	st.Sending = s.sender.inFlight
	st.Attempts = s.sender.begun
	if f := s.sender.unhealthyLocked(); f != nil {
		st.Unhealthy = f
	}
	return st
}

// Lanes tells what each lane that has something spooled waits for, in the
// order in which the lanes were first used.
func (s *Spool) Lanes() []LaneStatus {
	byLane := make(map[uint32]*LaneStatus)
	at := func(lane uint32) *LaneStatus {
		if byLane[lane] == nil {
			byLane[lane] = &LaneStatus{Properties: s.laneByID(lane).properties}
		}
		return byLane[lane]
	}
	s.sealer.mu.Lock()
	for _, id := range s.store.Lanes() {
		if span, ok := s.sealer.open.Open(id); ok {
			at(id).Open = int64(span.Last - span.First + 1)
		}
	}
	s.sealer.mu.Unlock()
	for _, e := range s.store.Live() {
		l := at(e.Batch.Lane)
		if s.batches.shown(e).State == ingest.Sealed {
			l.Queued++
		} else {
			l.InFlight++
		}
		if e.Failure != nil && (l.Failure == nil || e.Failure.At.After(l.Failure.At)) {
			l.Failure = e.Failure
		}
	}
	s.sender.mu.Lock()
	moving := make(map[uint32]bool) // by another way than the one that holds back
	for key, q := range s.sender.lanes {
		l := byLane[key.lane]
		switch {
		case l == nil:
		case !q.held && len(q.queue) > 0:
			moving[key.lane] = true
			fallthrough
		default:
			l.Held = l.Held || q.held
			if q.notBefore.After(l.Next) {
				l.Next = q.notBefore
			}
			if q.failure != nil && (l.Failure == nil || !q.failure.At.Before(l.Failure.At)) {
				l.Failure = q.failure
			}
		}
	}
	for lane := range moving {
		byLane[lane].Held = false
	}
	s.sender.mu.Unlock()

	ids := make([]uint32, 0, len(byLane))
	for id := range byLane {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, cmp.Compare[uint32])
	out := make([]LaneStatus, len(ids))
	for i, id := range ids {
		out[i] = *byLane[id]
	}
	return out
}
