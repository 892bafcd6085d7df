package engine

import (
	"context"
	"io"
	"iter"

	"kustospool/ingest"
	"kustospool/store"
)

// View is a spool at rest, as [Look] found it. Until Close no process can open
// the spool. Its methods may be called at the same time.
type View struct{ picture *store.Picture }

// Look reads the spool in dir and changes no byte of it: it repairs nothing and
// delivers nothing. It is for tools; a program that has the spool open calls
// [Spool.Stats]. Of the options, which may be nil, three have a meaning: Logger
// hears of damage that Open would deal with; TrustDirectory and LockTimeout are as of Open.
//
// Errors: [*LockedError] for a spool that a process has open, one that matches
// fs.ErrNotExist where there is none, one that says what Open would do where
// the ledger is damaged, and those of the file system.
func Look(dir string, opts *Options) (*View, error) {
	return LookContext(context.Background(), dir, opts)
}

// LookContext is Look for who must let go of the spool in time, so as to keep no process
// from opening it: once ctx has ended none of the spool's files is read any more, by the
// look or through the View, and what was under way ends with ctx's error. The lock is
// held until Close all the same.
func LookContext(ctx context.Context, dir string, opts *Options) (*View, error) {
	o := opts.withDefaults()
	p, err := store.LookContext(ctx, dir, &store.Options{Logger: o.Logger, TrustDirectory: o.TrustDirectory, LockTimeout: o.LockTimeout})
	if err != nil {
		return nil, ownError(err)
	}
	// What is in no batch yet is known once it was walked.
	for _, err := range p.Unsealed() {
		if ended := ctx.Err(); ended != nil {
			err = ended
		}
		if err != nil {
			_ = p.Close() // it was only read
			return nil, err
		}
	}
	return &View{p}, nil
}

// Stats is a snapshot of the spool. Rates, and whatever else is of a process
// that delivers, are zero in it.
func (v *View) Stats() Stats {
	st := statsOf(v.picture.Snapshot())
	st.Spool, st.Disk.Free = v.picture.ID(), freeBytes(v.picture)
	st.DeadLetters = deadLetterStats(&st, v.picture.WaitingDeadLetters())
	st.showPaused(v.picture.Paused())
	return st
}

// Batches lists the batches that are not final, by lane and first record.
func (v *View) Batches() []BatchStatus {
	live := v.picture.Live()
	out := make([]BatchStatus, len(live))
	for i := range live {
		out[i] = batchStatus(&live[i])
	}
	return out
}

// DeadLetters is as of [Spool.DeadLetters].
func (v *View) DeadLetters() iter.Seq2[DeadLetter, error] {
	return deadLetters(v.picture.DeadLetters())
}

// OpenDeadLetter is as of [Spool.OpenDeadLetter].
func (v *View) OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error) {
	return v.picture.OpenDeadLetter(id)
}

// PlanRetry is as of [Spool.PlanRetry]. It knows no Options.UncheckedJSON, and
// checks all of them.
func (v *View) PlanRetry(ctx context.Context, id ingest.BatchID, how *Retry) (RetryPlan, error) {
	return planRetry(ctx, v.picture, id, how, (*ingest.Properties).Rule)
}

// Close lets go of the spool.
func (v *View) Close() error { return v.picture.Close() }
