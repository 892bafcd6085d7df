package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
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

func (s *Store) deadPath(name string) string { return filepath.Join(s.dir, deadName, name) }

// DeadLetter sets a batch aside for good: its payload goes to
// dead/<batch>.data<ext>, with what there is to know of it in
// dead/<batch>.json, and then the batch becomes DeadLettered. Records that
// cannot be read are missing from the payload, listed in the document and
// counted as damage; the bytes of their frames go to quarantine/. The errors
// are those of Transition, and ErrFull when the volume has no room. A call
// that failed can be repeated.
func (s *Store) DeadLetter(ctx context.Context, id ingest.BatchID, from ingest.State, why *ingest.Failure) (Entry, error) {
	e, ok := s.Entry(id)
	if !ok {
		return Entry{}, expect(nil, id, from)
	}
	if err := expect(&e, id, from); err != nil {
		return Entry{}, err
	}
	if !from.CanBecome(ingest.DeadLettered) {
		return Entry{}, &TransitionError{Batch: id, From: from, To: ingest.DeadLettered}
	}
	if err := s.Err(); err != nil {
		return Entry{}, err
	}
	doc, err := s.writeDead(ctx, &e, why)
	if err != nil {
		if isNoSpace(err) {
			err = fmt.Errorf("%w: writing a dead letter: %v", ErrFull, err)
		}
		return Entry{}, err
	}
	crashpoint.Reach("deadletter.written")
	var out Entry
	err = s.manifest.do(ctx, func(g *group) error {
		old := g.entry(id)
		if err := expect(old, id, from); err != nil {
			return err
		}
		e := *old
		e.State, e.Updated = ingest.DeadLettered, doc.At
		if why != nil {
			e.Failure = why
		}
		g.counters.Damaged += int64(len(doc.Damaged))
		g.settle(&e)
		out = e
		return nil
	})
	if err != nil {
		if errors.Is(err, ErrConflict) {
			s.removeDead(id, doc.Payload)
		}
		return Entry{}, err
	}
	return out, nil
}

func (s *Store) writeDead(ctx context.Context, e *Entry, why *ingest.Failure) (*deadDocument, error) {
	if err := os.MkdirAll(filepath.Join(s.dir, deadName), 0o700); err != nil {
		return nil, err
	}
	b := &e.Batch
	doc := &deadDocument{
		Version: 1, Batch: b.ID, Spool: s.id.String(), Lane: b.Lane, First: b.First, Last: b.Last, Properties: b.Properties,
		Guarantee: b.Guarantee.String(), Confirm: b.Confirm.String(), RawBytes: b.RawBytes, SealedAt: b.SealedAt,
		Attempts: e.Attempts, Unresolved: e.Unresolved, Failure: why, At: time.Now().UTC(),
		Payload: b.ID.String() + ".data" + b.Properties.Extension(),
	}
	if why == nil {
		doc.Failure = e.Failure
	}
	err := s.writeFile(s.deadPath(doc.Payload), func(w io.Writer) error { return s.writeReadable(ctx, w, b, doc) })
	if err != nil {
		return nil, err
	}
	crashpoint.Reach("deadletter.payload")
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, err
	}
	return doc, s.writeFile(s.deadPath(b.ID.String()+".json"), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// writeReadable writes what can be read of a payload, around the damage.
func (s *Store) writeReadable(ctx context.Context, w io.Writer, b *ingest.Batch, doc *deadDocument) error {
	l := s.lanes.get(b.Lane)
	var buf []byte
	var pos objectPos
	for next := b.First; next <= b.Last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		buf, next, err = s.readRun(l, next, b.Last, &pos, buf[:0])
		if _, werr := w.Write(buf); werr != nil {
			return werr
		}
		doc.Bytes += int64(len(buf))
		if err == nil {
			continue
		}
		var damage *CorruptionError
		if !errors.As(err, &damage) {
			return err
		}
		lost := span{max(damage.First, next), min(damage.Last, b.Last)}
		doc.Damaged = append(doc.Damaged, lost)
		if err := s.keepRaw(l, b, lost); err != nil {
			return err
		}
		next = lost.Last + 1
	}
	return nil
}

// keepRaw copies the bytes of damaged frames to the quarantine.
func (s *Store) keepRaw(l *lane, b *ingest.Batch, lost span) error {
	var raw []byte
	_, _, err := s.scanRun(l, lost.First, lost.Last, func(f *foundFrame) bool {
		if f.err != nil {
			raw = append(raw, f.raw[:min(len(f.raw), maxFrameBody)]...)
		}
		return len(raw) < maxFrameBody
	})
	if err != nil || len(raw) == 0 {
		return err
	}
	if err := os.MkdirAll(filepath.Join(s.dir, quarantined), 0o700); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%d.frame", b.ID, lost.First)
	return s.writeFile(filepath.Join(s.dir, quarantined, name), func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
}

// writeFile makes a file whole or not at all: temporary name, fsync, rename,
// fsync of the directory.
func (s *Store) writeFile(path string, fill func(io.Writer) error) (err error) {
	temp := path + tempSuffix
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp)
		}
	}()
	err = fill(f)
	if err == nil && !s.opts.NoSync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = renameDurably(temp, path); err != nil {
		return err
	}
	s.disk.measure(path)
	return nil
}

// removeDead takes a dead letter's files away, document first: a payload
// alone is nothing that DeadLetters shows.
func (s *Store) removeDead(id ingest.BatchID, payload string) error {
	err := errors.Join(s.unlink(s.deadPath(id.String()+".json")), s.unlink(s.deadPath(payload)))
	return err
}

// DeadLetters walks the dead letters in the order of their names. A document
// that cannot be read is an error of its own and does not end the walk.
func (s *Store) DeadLetters() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		names, err := os.ReadDir(filepath.Join(s.dir, deadName))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			yield(Entry{}, err)
			return
		}
		for _, n := range names {
			id, ok := deadID(n.Name())
			if !ok {
				continue
			}
			if _, live := s.Entry(id); live {
				continue // its dead letter is just being written
			}
			doc, err := s.readDead(id)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			var e Entry
			if err == nil {
				e = doc.entry()
			}
			if !yield(e, err) {
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
	f, err := os.Open(s.deadPath(id.String() + ".json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxDeadDocument))
	if err != nil {
		return nil, err
	}
	var doc deadDocument
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("dead letter %s: %v", id, err)
	}
	if doc.Batch != id || doc.Payload != filepath.Base(doc.Payload) || doc.Last < doc.First {
		return nil, fmt.Errorf("dead letter %s: the document is of something else", id)
	}
	return &doc, nil
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
	if err == nil {
		var f *os.File
		if f, err = os.Open(s.deadPath(doc.Payload)); err == nil {
			return f, nil
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: dead letter %s", ErrNotFound, id)
	}
	return nil, err
}

// RemoveDeadLetter deletes a dead letter, once it was sent again or is not
// wanted any more. The counters keep it. ErrNotFound when there is none.
func (s *Store) RemoveDeadLetter(id ingest.BatchID) error {
	doc, err := s.readDead(id)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: dead letter %s", ErrNotFound, id)
	}
	if err != nil {
		return err
	}
	if _, live := s.Entry(id); live {
		return fmt.Errorf("%w: batch %s is still live", ErrConflict, id)
	}
	return s.removeDead(id, doc.Payload)
}
