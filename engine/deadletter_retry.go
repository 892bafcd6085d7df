package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"kustospool/engine/internal/lifecycle"
	"kustospool/engine/internal/lock"
	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/store"
)

// ErrHandled is returned for a dead letter that another call deals with now.
var ErrHandled = errors.New("engine: the dead letter is being dealt with by another call")

// Retried is a dead letter that was retried.
type Retried struct {
	Batch   ingest.BatchID    // of the dead letter that was
	To      ingest.Properties // where its records go now
	Receipt ingest.Receipt    // for them, as of any ingestion
	// Before is set where an earlier call had stored the records, in this process
	// or in one that ended before it could take the dead letter away. Nothing
	// was stored again, and there is no receipt.
	Before bool
}

// RetryDeadLetter stores the records of a dead letter again and takes it away.
// They become part of new batches with IDs and tags of their own, and are
// delivered as others are; the old batch was refused, and is not sent any more.
// Its records stay counted as dead-lettered, and those that are stored count as
// acknowledged once more. The receipt that the records once had goes on to say that they
// were dead-lettered; the one in Retried is for what becomes of them now.
//
// A repeat cannot double them: that they are stored is durable in the same
// commit as they are, before the dead letter's files go. Where the process ends
// between the two, the next Open takes the files away.
//
// All of the records are stored or none. They are checked as new ones are; for
// what is no record, or what the service cannot read, Retry.Records are those
// that were repaired. Errors: those of IngestReader, [ErrInDoubt],
// [ErrNotFound] when there is no such dead letter, [ErrHandled]. After any of
// them but [ErrOutcomeUnknown] the dead letter is as it was.
func (s *Spool) RetryDeadLetter(ctx context.Context, id ingest.BatchID, how *Retry) (Retried, error) {
	if how == nil {
		how = new(Retry)
	}
	if err := s.admit(ctx); err != nil {
		return Retried{}, err
	}
	done, err := s.letters.take(id)
	if err != nil {
		return Retried{}, err
	}
	defer done()
	if s.store.Retried(id) {
		return Retried{Batch: id, Before: true}, s.endRetry(ctx, id, lifecycle.Retried)
	}
	found, err := s.store.FindDeadLetter(id)
	if err != nil {
		return Retried{}, err
	}
	d := deadLetter(&found)
	row, do, err := decideRetry(&found, how)
	switch {
	case err != nil:
		return Retried{}, err
	case !do.Has(lifecycle.Append):
		return Retried{}, inDoubt(&d)
	}
	to, err := how.to(&d)
	if err != nil {
		return Retried{}, err
	}
	in, end, err := records(s.store, &d, how)
	if err != nil {
		return Retried{}, err
	}
	defer end()
	if n := row.PossibleDuplicates - found.PossibleDuplicates; n > 0 && !s.letters.isCounted(id) {
		if err := s.store.CountPossibleDuplicates(ctx, n); err != nil {
			return Retried{}, err
		}
		s.letters.setCounted(id, true) // this call may be refused, and given again
	}
	rcpt, err := s.storeAgain(ctx, to, in, store.DeadLetterMark(id))
	if err != nil {
		return Retried{}, err
	}
	s.letters.setCounted(id, false)
	crashpoint.Reach("retry.stored")
	s.events.handled(id, "retried") // it is none any more, whatever becomes of its files
	s.log.Info("retried a dead letter", "database", to.Database, "table", to.Table, "batch", id, "records", rcpt.Records)
	if err := s.endRetry(context.WithoutCancel(ctx), id, lifecycle.Retried); err != nil {
		s.log.Warn("the files of a dead letter that was retried are still there; the next Open takes them away", "batch", id, "err", err)
	}
	return Retried{Batch: id, To: to, Receipt: rcpt}, nil
}

// storeAgain makes records durable with the mark that says so.
func (s *Spool) storeAgain(ctx context.Context, p ingest.Properties, in io.Reader, mark ingest.Position) (ingest.Receipt, error) {
	if !p.ByReference {
		return s.ingestSources(ctx, p, []ingest.Position{mark}, func(i *intake) error {
			i.options.OnBadRecord = StopAtBadRecord
			return i.take(in, "")
		})
	}
	data, err := readBlob(in)
	if err != nil {
		return ingest.Receipt{}, err
	}
	if data, err = s.check(&p, data, ""); err != nil {
		return ingest.Receipt{}, err
	}
	l, err := s.lane(ctx, &p)
	if err != nil {
		return ingest.Receipt{}, err
	}
	rcpts, err := s.ingestAll(ctx, []store.Record{{Lane: l.id, Data: data}}, mark)
	if err != nil {
		return ingest.Receipt{}, err
	}
	return rcpts[0], nil
}

// endRetry takes away a dead letter whose records are stored again.
func (s *Spool) endRetry(ctx context.Context, id ingest.BatchID, why lifecycle.Kind) error {
	row := store.Entry{Batch: ingest.Batch{ID: id}, State: ingest.DeadLettered}
	_, do, err := lifecycle.Decide(row, lifecycle.Event{Kind: why, Again: true})
	if err != nil || !do.Has(lifecycle.TakeAway) {
		return err
	}
	return s.store.EndRetry(ctx, id)
}

// endRetries makes up for what a process could not do before it ended. What
// cannot be done now either is no reason not to open the spool.
func (s *Spool) endRetries() {
	for _, id := range s.store.RetriedDeadLetters() {
		if err := s.endRetry(context.Background(), id, lifecycle.Found); err != nil {
			s.log.Warn("the files of a dead letter that was retried are still there", "batch", id, "err", err)
		}
	}
}

// RemoveDeadLetter deletes a dead letter that nobody wants any more, and its
// records with it. The counters keep it, and Stats counts it as handled. It needs
// no room on the volume. [ErrNotFound] when there is none, [ErrHandled].
func (s *Spool) RemoveDeadLetter(id ingest.BatchID) error {
	done, err := s.letters.take(id)
	if err != nil {
		return err
	}
	defer done()
	if s.store.Retried(id) {
		return fmt.Errorf("%w: dead letter %s", ErrNotFound, id)
	}
	found, err := s.store.FindDeadLetter(id)
	if err != nil {
		return err
	}
	_, do, err := lifecycle.Decide(found.Entry, lifecycle.Event{Kind: lifecycle.GivenUp})
	if err != nil || !do.Has(lifecycle.TakeAway) {
		return err
	}
	if err := s.store.RemoveDeadLetter(id); err != nil {
		return err
	}
	s.letters.setCounted(id, false)
	s.events.handled(id, "removed")
	s.log.Info("removed a dead letter", "database", found.Batch.Properties.Database, "table", found.Batch.Properties.Table, "batch", id, "records", found.Batch.Records())
	return nil
}

// letters are the dead letters that calls deal with now.
type letters struct {
	mu      lock.Mutex // guards the rest
	now     map[ingest.BatchID]bool
	counted map[ingest.BatchID]bool // their records are in the counter of possible duplicates, and not stored again yet
}

func (l *letters) init() {
	l.mu.Name = "letters"
	l.now, l.counted = make(map[ingest.BatchID]bool), make(map[ingest.BatchID]bool)
}

func (l *letters) isCounted(id ingest.BatchID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counted[id]
}

func (l *letters) setCounted(id ingest.BatchID, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if is {
		l.counted[id] = true
	} else {
		delete(l.counted, id)
	}
}

// ownNames refuses the names that are for the marks of dead letters, but of those that are
// being retried: a source of such a name would make an end of a dead letter.
func (l *letters) ownNames(at []ingest.Position) error {
	for i := range at {
		id, mark := store.IsDeadLetterMark(at[i].Name)
		if !mark {
			continue
		}
		l.mu.Lock()
		retried := l.now[id]
		l.mu.Unlock()
		if !retried {
			return badName(at[i].Name)
		}
	}
	return nil
}

func badName(name string) error {
	return &ingest.FieldError{Field: "position", Value: fmt.Sprintf("named %.40q", name), Rule: `must not have a name that begins with "\x00dead/"`}
}

// take keeps other calls away from a dead letter until done.
func (l *letters) take(id ingest.BatchID) (done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now[id] {
		return nil, fmt.Errorf("%w: %s", ErrHandled, id)
	}
	l.now[id] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.now, id)
	}, nil
}
