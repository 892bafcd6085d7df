package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
	"kustospool/store/internal/object"
)

// deadDocument is dead/<batch>.json, which stands beside the payload.
type deadDocument struct {
	Version    int               `json:"version"`
	Batch      ingest.BatchID    `json:"batch"`
	Spool      string            `json:"spool"`
	Lane       uint32            `json:"lane"`
	First      uint64            `json:"first"`
	Last       uint64            `json:"last"`
	Properties ingest.Properties `json:"properties"`
	Guarantee  string            `json:"guarantee"`
	Confirm    string            `json:"confirm"`
	RawBytes   int64             `json:"rawBytes"`
	SealedAt   time.Time         `json:"sealedAt"`
	Attempts   int               `json:"attempts"`
	Unresolved int               `json:"unresolved,omitempty"`
	Failure    *ingest.Failure   `json:"failure,omitempty"`
	At         time.Time         `json:"at"`
	Payload    string            `json:"payload"`           // name of the payload's file
	Bytes      int64             `json:"bytes"`             // its size
	Damaged    []span            `json:"damaged,omitempty"` // records that could not be read
}

// maxDeadDocument bounds what is read of a document: properties and a failure.
const maxDeadDocument = 1 << 20

func (s *Store) deadPath(name string) string { return s.path(deadName, name) }

// DeadLetter sets a batch aside for good: its payload goes to
// dead/<batch>.data<ext>, with what there is to know of it in
// dead/<batch>.json, and then the batch becomes DeadLettered. Records that
// cannot be read are missing from the payload, listed in the document and
// counted as damage; the bytes of their frames go to quarantine/. The errors
// are those of Transition, and ErrFull when the volume has no room. A call
// that failed can be repeated.
func (s *Store) DeadLetter(ctx context.Context, id ingest.BatchID, from ingest.State, why *ingest.Failure) (Entry, error) {
	if err := s.Err(); err != nil {
		return Entry{}, err
	}
	if err := s.ledger.Check(id, from, ingest.DeadLettered); err != nil {
		return Entry{}, err
	}
	e, ok := s.ledger.Entry(id)
	if !ok {
		return Entry{}, fmt.Errorf("%w: batch %s is not live", ErrConflict, id)
	}
	payload := deadPayload(&e.Batch)
	s.undead.mu.Lock()
	delete(s.undead.left, id)
	s.undead.mu.Unlock()
	if s.opts.bugs.deadLate {
		if _, err := s.ledger.DeadLetter(ctx, id, from, why, time.Now(), 0); err != nil {
			return Entry{}, err
		}
		_, err := s.writeDead(ctx, &e, why)
		return e, err
	}
	doc, err := s.writeDead(ctx, &e, why)
	if err == nil {
		crashpoint.Reach("deadletter.written")
		e, err = s.ledger.DeadLetter(ctx, id, from, why, doc.At, int64(len(doc.Damaged)))
	} else if vfs.NoSpace(err) {
		err = fmt.Errorf("%w: writing a dead letter: %v", ErrFull, err)
	}
	if err != nil && !errors.Is(err, ErrOutcomeUnknown) {
		s.undead.mu.Lock()
		if s.undead.left == nil {
			s.undead.left = map[ingest.BatchID]string{}
		}
		s.undead.left[id] = payload
		s.undead.mu.Unlock()
		if rerr := s.clearDead(id); rerr != nil {
			s.log.Warn("a dead letter that did not become one could not be removed", "batch", id, "cause", rerr)
		}
		return Entry{}, err
	}
	return e, err
}

// deadCount is how many dead letters there were when the directory was listed
// last, and when it had changed then; zero where that is not to be relied on.
type deadCount struct {
	mu sync.Mutex // guards the rest
	n  int64
	at time.Time
}

// undead are the dead letters that did not become one and could not be taken
// away durably: by batch, the names of their payloads.
type undead struct {
	mu   sync.Mutex // guards left; held while files are removed
	left map[ingest.BatchID]string
}

// clearDead takes away what a failed DeadLetter left of a batch. It is called
// before the batch meets another fate: it would have two.
func (s *Store) clearDead(id ingest.BatchID) error {
	s.undead.mu.Lock()
	defer s.undead.mu.Unlock()
	payload, ok := s.undead.left[id]
	if !ok {
		return nil
	}
	if err := s.removeDead(id, payload); err != nil {
		return err
	}
	delete(s.undead.left, id)
	return nil
}

func deadPayload(b *ingest.Batch) string { return b.ID.String() + ".data" + b.Properties.Extension() }

func (s *Store) writeDead(ctx context.Context, e *Entry, why *ingest.Failure) (*deadDocument, error) {
	if err := s.fs.MkdirAll(s.path(deadName)); err != nil {
		return nil, err
	}
	b := &e.Batch
	doc := &deadDocument{
		Version: 1, Batch: b.ID, Spool: s.id.String(), Lane: b.Lane, First: b.First, Last: b.Last, Properties: b.Properties,
		Guarantee: b.Guarantee.String(), Confirm: b.Confirm.String(), RawBytes: b.RawBytes, SealedAt: b.SealedAt,
		Attempts: e.Attempts, Unresolved: e.Unresolved, Failure: why, At: time.Now().UTC(),
		Payload: deadPayload(b),
	}
	if why == nil {
		doc.Failure = e.Failure
	}
	err := s.writeFile(s.deadPath(doc.Payload), func(w *fileWriter) error { return s.writeReadable(ctx, w, b, doc) })
	if err != nil {
		return nil, err
	}
	crashpoint.Reach("deadletter.payload")
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, err
	}
	return doc, s.writeFile(s.deadPath(b.ID.String()+".json"), func(w *fileWriter) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// writeReadable writes what can be read of a payload, around the damage.
func (s *Store) writeReadable(ctx context.Context, w *fileWriter, b *ingest.Batch, doc *deadDocument) error {
	l := s.lanes.get(b.Lane)
	var buf []byte
	var pos object.Pos
	whole := int64(0) // behind the last whole record
	for next := b.First; next <= b.Last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !pos.Inside() {
			whole = w.end
		}
		before := next
		var err error
		buf, next, err = s.readRun(l, next, b.Last, &pos, buf[:0])
		if _, werr := w.Write(buf); werr != nil {
			return werr
		}
		if err == nil {
			continue
		}
		var damage *CorruptionError
		if !errors.As(err, &damage) {
			return err
		}
		if next == before {
			// Of a record in an object a part may have been written.
			if err := w.cut(whole); err != nil {
				return err
			}
		}
		lost := span{First: max(damage.First, next), Last: min(damage.Last, b.Last)}
		doc.Damaged = append(doc.Damaged, lost)
		if err := s.quarantineRaw(l, b, lost); err != nil {
			return err
		}
		next = lost.Last + 1
	}
	doc.Bytes = w.end
	return nil
}

// maxRaw bounds what is kept of one stretch of damage.
const maxRaw = ingest.MaxRecordBytes

// quarantineRaw copies the bytes of damaged frames and chunks to the quarantine.
func (s *Store) quarantineRaw(l *lane, b *ingest.Batch, lost span) error {
	name := s.path(quarantined, fmt.Sprintf("%s-%d.frame", b.ID, lost.First))
	return s.quarantineBytes(name, func(keep func([]byte) bool) error {
		return s.eachFrame(l, lost.First, lost.Last, func(f *found) bool {
			if o := f.object(l); o != nil {
				_ = s.objects.Salvage(&o.ref, max(lost.First, o.first)-o.first, min(lost.Last, o.last)-o.first, maxRaw, keep)
				return true
			}
			return f.err == nil || f.frame == nil || keep(f.frame.Raw)
		})
	})
}

// quarantineBytes makes a file in the quarantine of what each gives to keep, which
// says when it is enough; none if that is nothing.
func (s *Store) quarantineBytes(name string, each func(keep func([]byte) bool) error) error {
	nothing := errors.New("nothing to keep")
	err := s.writeFile(name, func(w *fileWriter) error {
		var werr error
		err := each(func(raw []byte) bool {
			_, werr = w.Write(raw[:min(int64(len(raw)), maxRaw-w.end)])
			return werr == nil && w.end < maxRaw
		})
		if err = errors.Join(err, werr); err == nil && w.end == 0 {
			err = nothing
		}
		return err
	})
	if errors.Is(err, nothing) {
		return nil
	}
	return err
}

// removeDead takes a dead letter's files away, document first: a payload
// alone is nothing that DeadLetters shows. It stays until the document is gone
// for good, which a crash might bring back.
func (s *Store) removeDead(id ingest.BatchID, payload string) error {
	if err := s.unlink(s.deadPath(id.String() + ".json")); err != nil {
		return err
	}
	return s.unlink(s.deadPath(payload))
}

// DeadLetters walks the dead letters in the order of their names. A document
// that cannot be read is an error of its own and does not end the walk.
func (s *Store) DeadLetters() iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		infos, err := s.fs.List(s.path(deadName))
		if err != nil && !vfs.Missing(err) {
			yield(DeadLetter{}, err)
			return
		}
		slices.SortFunc(infos, func(a, b vfs.Info) int { return strings.Compare(a.Name, b.Name) })
		for _, info := range infos {
			id, ok := deadID(info.Name)
			if !ok {
				continue
			}
			if _, live := s.Entry(id); live {
				continue // its dead letter is just being written
			}
			if s.Retried(id) {
				continue // its files are about to go
			}
			doc, err := s.readDead(id)
			if vfs.Missing(err) {
				continue
			}
			var d DeadLetter
			if err == nil {
				d = doc.letter()
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

func deadID(name string) (ingest.BatchID, bool) {
	text, ok := strings.CutSuffix(name, ".json")
	if !ok {
		return ingest.BatchID{}, false
	}
	id, err := ingest.ParseBatchID(text)
	return id, err == nil
}

func (s *Store) readDead(id ingest.BatchID) (*deadDocument, error) {
	f, err := s.openDead(id.String() + ".json")
	if err != nil {
		return nil, err
	}
	text, err := vfs.ReadAll(f, maxDeadDocument)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("dead letter %s: %w", id, err)
	}
	var doc deadDocument
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("dead letter %s: %v", id, err)
	}
	if doc.Batch != id || doc.Payload != filepath.Base(doc.Payload) || !strings.HasPrefix(doc.Payload, id.String()+".data") || doc.Last < doc.First {
		return nil, fmt.Errorf("dead letter %s: the document is of something else", id)
	}
	return &doc, nil
}

// openDead opens a file of a dead letter. One that has another name is refused:
// it may be anything that its user can read.
func (s *Store) openDead(name string) (vfs.File, error) {
	f, err := s.fs.Open(s.deadPath(name), vfs.ReadOnly)
	if err != nil {
		return nil, err
	}
	if err := vfs.Sole(f, s.deadPath(name)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// DeadLetter is a dead letter: its batch's row, and its payload.
type DeadLetter struct {
	Entry
	Payload string // the payload's file, below the spool's directory
	Bytes   int64  // its size
	Damaged int64  // records of the batch that could not be read and are not in it
}

func (doc *deadDocument) letter() DeadLetter {
	return DeadLetter{Entry: doc.entry(), Payload: deadName + "/" + doc.Payload, Bytes: doc.Bytes, Damaged: count(doc.Damaged)}
}

func (doc *deadDocument) entry() Entry {
	guarantee, _ := ingest.ParseGuarantee(doc.Guarantee)
	confirm, _ := ingest.ParseConfirm(doc.Confirm)
	return Entry{
		Batch: ingest.Batch{ID: doc.Batch, Lane: doc.Lane, First: doc.First, Last: doc.Last, Properties: doc.Properties,
			Guarantee: guarantee, Confirm: confirm, RawBytes: doc.RawBytes, SealedAt: doc.SealedAt},
		State: ingest.DeadLettered, Attempts: doc.Attempts, Unresolved: doc.Unresolved, Failure: doc.Failure, Updated: doc.At,
	}
}

// OpenDeadLetter opens the payload of a dead letter. Its records are as they
// stood in the batch. ErrNotFound when there is no such dead letter.
func (s *Store) OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error) {
	doc, err := s.readDead(id)
	if err == nil && s.Retried(id) {
		return nil, fmt.Errorf("%w: dead letter %s", ErrNotFound, id)
	}
	if err == nil {
		var f vfs.File
		if f, err = s.openDead(doc.Payload); err == nil {
			return &deadReader{io.NewSectionReader(f, 0, math.MaxInt64), f}, nil
		}
	}
	if vfs.Missing(err) {
		return nil, fmt.Errorf("%w: dead letter %s", ErrNotFound, id)
	}
	return nil, err
}

// deadReader can also be sought in.
type deadReader struct {
	*io.SectionReader
	io.Closer
}
