package engine

import (
	"io"
	"iter"
	"time"

	"kustospool/ingest"
	"kustospool/store"
)

// BatchStatus is what is known of one batch.
type BatchStatus struct {
	Batch    ingest.Batch
	State    ingest.State
	Attempts int       // begun
	Updated  time.Time // when the state was reached, or the batch last changed
	// NextAttempt is not before when the batch is attempted again; zero where
	// that is now or never.
	NextAttempt time.Time
	// Failure is what was last said against it; nil where nothing was.
	Failure *ingest.Failure
}

func batchStatus(e *store.Entry) BatchStatus {
	return BatchStatus{Batch: e.Batch, State: e.State, Attempts: e.Attempts, Updated: e.Updated, NextAttempt: e.NextAttempt, Failure: e.Failure}
}

func batchStatuses(entries iter.Seq2[store.Entry, error]) iter.Seq2[BatchStatus, error] {
	return func(yield func(BatchStatus, error) bool) {
		for e, err := range entries {
			if !yield(batchStatus(&e), err) {
				return
			}
		}
	}
}

// DeadLetters walks the dead letters in the order of their batch IDs: batches
// that the service refuses for good, what [BadRecordPolicy] set aside, and what
// of damaged data could be read. Failure says why, Updated since when. One that
// cannot be read is an error of its own and does not end the walk.
func (s *Spool) DeadLetters() iter.Seq2[BatchStatus, error] {
	return batchStatuses(s.store.DeadLetters())
}

// OpenDeadLetter opens the records of a dead letter as they stood in the batch.
// [ErrNotFound] when there is no such dead letter.
func (s *Spool) OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error) {
	return s.store.OpenDeadLetter(id)
}

// RemoveDeadLetter deletes a dead letter that was dealt with: repaired and
// ingested again, say, or given up. The counters keep it, and Stats counts it as
// handled. [ErrNotFound] when there is none.
func (s *Spool) RemoveDeadLetter(id ingest.BatchID) error {
	if err := s.store.RemoveDeadLetter(id); err != nil {
		return err
	}
	s.events.send(DeadLetterHandled{At: time.Now(), Batch: id})
	return nil
}
