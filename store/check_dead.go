package store

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

// CheckedDead is a dead letter, or a file of one, as [Check.DeadLetters] found it.
type CheckedDead struct {
	File    string // below the spool's directory
	Entry   Entry  // what its document says; zero where that cannot be read
	Records int64  // in its payload: those of the batch without those that were damaged before
	Bytes   int64  // that were read
	Err     error  // what is wrong
}

// DeadLetters reads every dead letter: that its document says what a document must,
// and that its payload is there with the size that the document gives and can be
// read. A payload has no checksum. A payload without a document is told as well; what a live batch has left in
// the directory, or a dead letter that was dealt with, is not, since Open takes it away. It changes nothing.
func (c *Check) DeadLetters() iter.Seq2[CheckedDead, error] {
	return func(yield func(CheckedDead, error) bool) {
		s := c.s
		infos, err := s.fs.List(s.path(deadName))
		if err != nil && !vfs.Missing(err) {
			yield(CheckedDead{}, err)
			return
		}
		slices.SortFunc(infos, func(a, b vfs.Info) int { return strings.Compare(a.Name, b.Name) })
		documents := map[ingest.BatchID]bool{}
		for _, info := range infos {
			if id, ok := deadID(strings.TrimSuffix(info.Name, handledSuffix)); ok {
				documents[id] = true
			}
		}
		for _, info := range infos {
			id, document := deadID(info.Name)
			if !document {
				text, _, _ := strings.Cut(info.Name, ".data")
				if id, err = ingest.ParseBatchID(text); err != nil || documents[id] {
					continue
				}
			}
			if _, live := s.Entry(id); live || s.Retried(id) {
				continue
			}
			letter := CheckedDead{File: deadName + "/" + info.Name}
			if document {
				s.checkDead(id, &letter)
			} else {
				letter.Err = errors.New("the payload has no document")
			}
			if letter.Err != nil && s.cameOrWent(id, info.Name, document) {
				continue
			}
			if !yield(letter, nil) {
				return
			}
		}
	}
}

func (s *Store) checkDead(id ingest.BatchID, c *CheckedDead) {
	doc, err := s.readDead(id)
	if err != nil {
		c.Err = err
		return
	}
	c.Entry = doc.entry()
	c.Records = span{First: doc.First, Last: doc.Last}.Count() - count(doc.Damaged)
	f, err := s.openDead(doc.Payload)
	if err != nil {
		c.Err = fmt.Errorf("payload %s: %w", doc.Payload, err)
		return
	}
	c.Bytes, err = io.Copy(io.Discard, io.NewSectionReader(f, 0, math.MaxInt64))
	if err = errors.Join(err, f.Close()); err != nil {
		c.Err = fmt.Errorf("payload %s: %w", doc.Payload, err)
	} else if c.Bytes != doc.Bytes {
		c.Err = fmt.Errorf("payload %s: it has %d bytes, and its document says %d", doc.Payload, c.Bytes, doc.Bytes)
	}
}

// cameOrWent reports whether a file of a dead letter is another matter by now than it was
// when the directory was listed: the letter was removed, or got its document, meanwhile.
func (s *Store) cameOrWent(id ingest.BatchID, name string, document bool) bool {
	if _, err := s.fs.Stat(s.deadPath(name)); vfs.Missing(err) {
		return true
	}
	_, err := s.fs.Stat(s.deadPath(id.String() + ".json"))
	return !document && err == nil
}
