package store

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// foundObject is a frame that refers to an object, copied out of its
// transaction.
type foundObject struct {
	span
	objectRef
	segment uint64
	bytes   int64
}

// object is the object that a found frame refers to; false where it has its
// records itself.
func (f *foundFrame) object() (foundObject, bool) {
	if f.err != nil || f.h.codec != codecObject {
		return foundObject{}, false
	}
	ref, err := f.h.objectRef(f.body)
	if err != nil {
		return foundObject{}, false
	}
	return foundObject{span: span{f.h.first, f.h.last()}, objectRef: ref, segment: f.segment, bytes: f.h.bytes}, true
}

// objectPos is where a reader of an object goes on. The zero value is the
// beginning of whatever object is read next.
type objectPos struct {
	id     objectID
	off    int64
	first  uint64 // records before off, those begun included
	before int64
	inside bool // off is inside of a record
}

// chunkWalk reads the chunks of one object in order.
type chunkWalk struct {
	s      *Store
	o      *foundObject
	f      *os.File
	at     objectPos
	raw    [chunkHeaderLen]byte
	header chunkHeader
}

// openObject opens an object's file at pos, if pos is in it and not behind the
// record number from.
func (s *Store) openObject(o *foundObject, pos objectPos, from uint64) (*chunkWalk, error) {
	f, err := os.Open(s.objectPath(o.id))
	if err != nil {
		return nil, err
	}
	w := &chunkWalk{s: s, o: o, f: f, at: objectPos{id: o.id}}
	if pos.id == o.id && pos.first <= from {
		w.at = pos
	}
	return w, nil
}

// next reads the header of the chunk at the position. The error is io.EOF
// behind the last one.
func (w *chunkWalk) next() error {
	if w.at.off >= w.o.size {
		return io.EOF
	}
	if _, err := w.f.ReadAt(w.raw[:], w.at.off); err != nil {
		return notEOF(err)
	}
	h, err := parseChunkHeader(w.s.id, w.o.id, w.raw[:])
	if err == nil && (h.first != w.at.first || h.before != w.at.before || w.at.off+chunkHeaderLen+int64(h.body) > w.o.size) {
		err = errChunk
	}
	w.header = h
	return err
}

// body reads the chunk's body behind buf and proves it.
func (w *chunkWalk) body(buf []byte) ([]byte, error) {
	n := len(buf)
	need := n + w.header.body
	if cap(buf) < need {
		grown := make([]byte, n, need)
		copy(grown, buf)
		buf = grown
	}
	buf = buf[:need]
	if _, err := w.f.ReadAt(buf[n:], w.at.off+chunkHeaderLen); err != nil {
		return buf[:n], notEOF(err)
	}
	if err := proveChunk(w.raw[:], buf[n:]); err != nil {
		return buf[:n], err
	}
	return buf, nil
}

// skip moves behind the chunk.
func (w *chunkWalk) skip() {
	w.at.off += chunkHeaderLen + int64(w.header.body)
	w.at.first += uint64(w.header.count)
	w.at.before += int64(w.header.bytes)
	w.at.inside = w.header.flags&chunkMore != 0
}

// notEOF keeps the early end of a file from passing for a normal one.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the file ends early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// readObject appends the records from..last of an object to buf, about
// runBytes of them, as they stand in a payload. It goes on at pos and moves
// it. next is the first record that is not, or not wholly, in buf.
func (s *Store) readObject(l *lane, o *foundObject, from, last uint64, pos *objectPos, buf []byte) (out []byte, next uint64, err error) {
	last = min(last, o.Last)
	damaged := func(first, end uint64, cause error) ([]byte, uint64, error) {
		*pos = objectPos{}
		s.objectDamaged(l, o.id)
		return buf, max(first, from), &CorruptionError{Segment: o.segment, Lane: l.no, First: first, Last: end, Err: fmt.Errorf("object %s: %w", o.id.fileName(), cause)}
	}
	w, err := s.openObject(o, *pos, from-o.First)
	if errors.Is(err, os.ErrNotExist) {
		return damaged(o.First, o.Last, err)
	}
	if err != nil {
		return buf, from, err
	}
	defer w.f.Close()
	block := blocks.Get().(*[]byte)
	defer putBlock(block)
	for from <= last && len(buf) < runBytes {
		if err := w.next(); err != nil {
			return damaged(from, o.Last, notEOF(err))
		}
		h := &w.header
		switch {
		case o.First+h.last() < from:
		case h.flags&chunkPart != 0:
			if buf, err = w.body(buf); err != nil {
				return damaged(o.First+h.first, o.First+h.first, err)
			}
			from += uint64(h.count)
		default:
			if *block, err = w.body((*block)[:0]); err == nil {
				err = h.eachRecord(*block, func(n uint64, data []byte) bool {
					if o.First+n >= from && o.First+n <= last {
						buf = append(buf, data...)
						if l.separator > 0 {
							buf = append(buf, '\n')
						}
					}
					return o.First+n < last
				})
			}
			if err != nil {
				return damaged(o.First+h.first, o.First+h.last(), err)
			}
			if from = o.First + h.last() + 1; from > last+1 {
				from = last + 1
			}
		}
		if o.First+h.last() < last || h.flags&chunkMore != 0 {
			w.skip()
		} else {
			w.at = objectPos{}
		}
	}
	*pos = w.at
	return buf, from, nil
}

// offsetIn is how many payload bytes of an object stand before a record.
func (s *Store) offsetIn(l *lane, o *foundObject, seq uint64) (before int64, err error) {
	n := seq - o.First
	if n == 0 {
		return 0, nil
	}
	if seq > o.Last {
		return o.bytes, nil
	}
	w, err := s.openObject(o, objectPos{}, 0)
	if err != nil {
		return 0, err
	}
	defer w.f.Close()
	for {
		if err := w.next(); err != nil {
			return 0, notEOF(err)
		}
		if w.header.last() >= n {
			break
		}
		w.skip()
	}
	if w.header.first == n {
		// The neighbour of a damaged chunk can be told without reading that.
		return w.header.before, nil
	}
	body, err := w.body(nil)
	if err != nil {
		return 0, err
	}
	before = w.header.before
	return before, w.header.eachRecord(body, func(k uint64, data []byte) bool {
		if k < n {
			before += int64(len(data)) + l.separator
		}
		return k < n
	})
}
