package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
)

// A dead letter that was dealt with goes in steps, and Open makes up for those
// that a crash prevented. One that is given up is renamed first: its document
// has another name from then on, and only then its files go. One that is
// retried has its records in the log again before that, by a commit that
// carries [DeadLetterMark]: as long as there is that position, the dead letter
// is none any more, and its records are not appended a second time.

// deadMark begins the names of these positions. Positions does not show them, and
// the engine lets no source be called so.
const deadMark = "\x00dead/"

// handledSuffix is what the name of a document gets when its dead letter is
// dealt with.
const handledSuffix = ".handled"

// DeadLetterMark is the position that goes with the records of a dead letter
// when they are appended again. [Store.EndRetry] removes it.
func DeadLetterMark(id ingest.BatchID) Position {
	return Position{Name: deadMark + id.String(), Value: []byte{}}
}

// IsDeadLetterMark reports whether a position is the mark of a dead letter, and of which;
// the ID is zero where the name is like that of a mark and is none.
func IsDeadLetterMark(name string) (id ingest.BatchID, is bool) {
	text, is := strings.CutPrefix(name, deadMark)
	if is {
		id, _ = ingest.ParseBatchID(text) // zero where it is none
	}
	return id, is
}

// Retried reports whether the records of a dead letter are in the log again.
func (s *Store) Retried(id ingest.BatchID) bool {
	_, ok := s.Position(deadMark + id.String())
	return ok
}

// RetriedDeadLetters lists those of which files or the mark are left.
func (s *Store) RetriedDeadLetters() (ids []ingest.BatchID) {
	for _, pos := range s.allPositions() {
		if text, ok := strings.CutPrefix(pos.Name, deadMark); ok {
			if id, err := ingest.ParseBatchID(text); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// EndRetry removes the files of a dead letter whose records are in the log
// again, and then the mark. It can be repeated; ErrConflict for one that has no
// mark. The other errors are those of the file system and of Append.
func (s *Store) EndRetry(ctx context.Context, id ingest.BatchID) error {
	if !s.Retried(id) {
		return fmt.Errorf("%w: the records of dead letter %s are not in the log again", ErrConflict, id)
	}
	s.forgetDeadCount() // the mark came without a change of the directory
	if s.opts.bugs.markEarly {
		if err := s.RemovePosition(ctx, deadMark+id.String()); err != nil {
			return err
		}
		return s.takeAway(id)
	}
	if err := s.takeAway(id); err != nil {
		return err
	}
	crashpoint.Reach("handled.gone")
	return s.RemovePosition(ctx, deadMark+id.String())
}

// RemoveDeadLetter deletes a dead letter that is not wanted any more. The
// counters keep it. It needs no room on the volume. ErrNotFound when there is none.
func (s *Store) RemoveDeadLetter(id ingest.BatchID) error {
	if _, err := s.FindDeadLetter(id); err != nil {
		return err
	}
	if _, live := s.Entry(id); live {
		return fmt.Errorf("%w: batch %s is still live", ErrConflict, id)
	}
	return s.takeAway(id)
}

// takeAway removes the files of a dead letter that is dealt with: it is none
// any more as soon as its document has another name.
func (s *Store) takeAway(id ingest.BatchID) error {
	document := s.deadPath(id.String() + ".json")
	if err := s.fs.Rename(document, document+handledSuffix); err != nil && !vfs.Missing(err) {
		return err
	}
	s.disk.set(document, 0)
	s.measure(document + handledSuffix)
	if err := s.syncDir(s.path(deadName)); err != nil && !vfs.Missing(err) {
		return err
	}
	crashpoint.Reach("handled.renamed")
	return s.removeHandled(id)
}

// removeHandled removes what there is of a dead letter that is dealt with; the
// document last, by whose name it is known.
func (s *Store) removeHandled(id ingest.BatchID) error {
	infos, err := s.fs.List(s.path(deadName))
	if err != nil {
		if vfs.Missing(err) {
			return nil
		}
		return err
	}
	var payload []string
	for _, info := range infos {
		if rest, ok := strings.CutPrefix(info.Name, id.String()+"."); ok && strings.HasPrefix(rest, "data") && info.Regular {
			payload = append(payload, s.deadPath(info.Name))
		}
	}
	if err := s.unlink(payload...); err != nil {
		return err
	}
	crashpoint.Reach("handled.payload")
	return s.unlink(s.deadPath(id.String() + ".json" + handledSuffix))
}

// handledDeadLetters ends what a crash has left of dead letters that are dealt with.
func (r *recovery) handledDeadLetters() error {
	s := r.s
	infos, err := s.fs.List(s.path(deadName))
	if err != nil {
		return err
	}
	for _, info := range infos {
		name, ok := strings.CutSuffix(info.Name, handledSuffix)
		id, document := deadID(name)
		// Where the document is there again, it is of a batch that came back.
		if !ok || !document || !info.Regular || slices.ContainsFunc(infos, func(i vfs.Info) bool { return i.Name == name }) {
			continue
		}
		if err := s.removeHandled(id); err != nil {
			return err
		}
	}
	return nil
}

// FindDeadLetter finds a dead letter. ErrNotFound when there is none.
func (s *Store) FindDeadLetter(id ingest.BatchID) (DeadLetter, error) {
	doc, err := s.readDead(id)
	if vfs.Missing(err) || err == nil && s.Retried(id) {
		return DeadLetter{}, fmt.Errorf("%w: dead letter %s", ErrNotFound, id)
	}
	if err != nil {
		return DeadLetter{}, err
	}
	return doc.letter(), nil
}

// CountPossibleDuplicates adds records that may be at the destination already
// to the counter, before they are appended again. Errors: those of Transition.
func (s *Store) CountPossibleDuplicates(ctx context.Context, records int64) error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.translate(s.ledger.Do(ctx, func(tx *ledger.Tx) error { tx.Count(0, 0, records); return nil }))
}

// forgetDeadCount has the dead letters counted anew.
func (s *Store) forgetDeadCount() {
	s.dead.mu.Lock()
	defer s.dead.mu.Unlock()
	s.dead.at = time.Time{}
}
