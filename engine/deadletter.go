package engine

import (
	"io"
	"iter"
	"slices"
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
	// DataBytes is the size of the data before compression: Batch.RawBytes, or of a
	// blob by reference the blob's, as the transport learned it when it was sent;
	// 0 until then, and where it could not.
	DataBytes int64
}

func batchStatus(e *store.Entry) BatchStatus {
	return BatchStatus{Batch: e.Batch, State: e.State, Attempts: e.Attempts, Updated: e.Updated, NextAttempt: e.NextAttempt, Failure: e.Failure, DataBytes: e.DataBytes()}
}

// DeadLetter is a batch that was set aside, with its payload and the reason:
// Failure says why, Updated since when.
type DeadLetter struct {
	BatchStatus
	Payload string // its file, below the spool's directory, with a slash
	Bytes   int64  // size of the payload
	// Damaged is how many records of the batch could not be read from the disk any
	// more. They are missing in the payload; what is left of their bytes is in
	// quarantine/, in files that begin with the batch's ID.
	Damaged int64
	// Unresolved is how many attempts at the batch have an outcome that was never
	// learned. Where there is one, its records may be at the destination all the same.
	Unresolved int
}

// Records is how many records the payload has.
func (d *DeadLetter) Records() int64 { return d.Batch.Records() - d.Damaged }

// InDoubt reports whether its records may be at the destination.
func (d *DeadLetter) InDoubt() bool { return d.Unresolved > 0 }

func deadLetter(d *store.DeadLetter) DeadLetter {
	return DeadLetter{BatchStatus: batchStatus(&d.Entry), Payload: d.Payload, Bytes: d.Bytes, Damaged: d.Damaged, Unresolved: d.Unresolved}
}

func deadLetters(all iter.Seq2[store.DeadLetter, error]) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for d, err := range all {
			if !yield(deadLetter(&d), err) {
				return
			}
		}
	}
}

// DeadLetterFilter selects dead letters. A zero field selects all; the others
// must all fit.
type DeadLetterFilter struct {
	Database, Table string
	Batches         []ingest.BatchID
	// Code is the code or the class of the failure: "BadRecord", "malformed".
	Code string
	// From and Before bound the time at which it was set aside; From is within.
	From, Before time.Time
}

// Match reports whether the filter selects a dead letter.
func (f *DeadLetterFilter) Match(d *DeadLetter) bool {
	p := &d.Batch.Properties
	switch {
	case f.Database != "" && f.Database != p.Database,
		f.Table != "" && f.Table != p.Table,
		len(f.Batches) > 0 && !slices.Contains(f.Batches, d.Batch.ID),
		!f.From.IsZero() && d.Updated.Before(f.From),
		!f.Before.IsZero() && !d.Updated.Before(f.Before):
		return false
	}
	return f.Code == "" || d.Failure != nil && (d.Failure.Code == f.Code || d.Failure.Class == f.Code)
}

// DeadLetters walks the dead letters in the order of their batch IDs: batches
// that the service refuses for good, what [BadRecordPolicy] set aside, and what
// of damaged data could be read. One that cannot be read is an error of its own
// and does not end the walk. What may be done about one: [Spool.RetryDeadLetter]
// and [Spool.RemoveDeadLetter].
func (s *Spool) DeadLetters() iter.Seq2[DeadLetter, error] {
	return deadLetters(s.store.DeadLetters())
}

// OpenDeadLetter opens the records of a dead letter as they stood in the batch.
// [ErrNotFound] when there is no such dead letter.
func (s *Spool) OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error) {
	return s.store.OpenDeadLetter(id)
}
