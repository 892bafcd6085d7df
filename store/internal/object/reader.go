package object

import (
	"errors"
	"fmt"
	"io"

	"kustospool/internal/vfs"
)

// DamageError says which records of an object cannot be read, counted from 0.
type DamageError struct {
	ID          ID
	First, Last uint64
	Err         error
}

// Error names the object and the cause.
func (e *DamageError) Error() string { return fmt.Sprintf("object %s: %v", e.ID, e.Err) }

// Unwrap gives the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// Ref is an object as those know it who refer to it.
type Ref struct {
	ID        ID
	Size      int64  // of the file
	Records   uint64 // at least 1
	Bytes     int64  // what they add to a payload
	Separator int64  // as it was given to New
}

// Pos is where a reader of an object goes on. The zero value is the beginning
// of whatever object is read next.
type Pos struct {
	id     ID
	off    int64
	first  uint64 // records before off
	before int64
	inside bool // off is inside of record number first
}

// Inside reports whether the reader stands inside of a record.
func (p *Pos) Inside() bool { return p.inside }

// chunkCursor reads the chunks of one object in order.
type chunkCursor struct {
	d      *Dir
	o      *Ref
	f      vfs.File
	at     Pos
	raw    [chunkHeaderLen]byte
	header header
}

// open opens an object's file at pos, if pos is in it and not behind the record number from.
func (d *Dir) open(o *Ref, pos Pos, from uint64) (*chunkCursor, error) {
	f, err := d.FS.Open(d.path(o.ID), vfs.ReadOnly)
	if err != nil {
		return nil, err
	}
	w := &chunkCursor{d: d, o: o, f: f, at: Pos{id: o.ID}}
	if pos.id == o.ID && pos.first <= from {
		w.at = pos
	}
	return w, nil
}

// next reads the header of the chunk at the position. The error is io.EOF behind the last one.
func (w *chunkCursor) next() error {
	if w.at.off >= w.o.Size {
		return io.EOF
	}
	if _, err := w.f.ReadAt(w.raw[:], w.at.off); err != nil {
		return notEOF(err)
	}
	h, err := parseHeader(w.d.Spool, w.o.ID, w.raw[:])
	switch {
	case err != nil:
	case h.first != w.at.first || h.before != w.at.before || w.at.off+chunkHeaderLen+int64(h.body) > w.o.Size || h.last() >= w.o.Records:
		err = errChunk
	case h.flags == chunkPart && int64(h.bytes) != int64(h.body)+w.o.Separator:
		err = errors.New("the chunk is of another kind of object")
	}
	w.header = h
	return err
}

// body reads the chunk's body behind buf and proves it.
func (w *chunkCursor) body(buf []byte) ([]byte, error) {
	n := len(buf)
	need := n + w.header.body
	if cap(buf) < need {
		grown := make([]byte, n, need+need/8)
		copy(grown, buf)
		buf = grown
	}
	buf = buf[:need]
	if _, err := w.f.ReadAt(buf[n:], w.at.off+chunkHeaderLen); err != nil {
		return buf[:n], notEOF(err)
	}
	if err := prove(w.raw[:], buf[n:]); err != nil {
		return buf[:n], err
	}
	return buf, nil
}

// skip moves behind the chunk.
func (w *chunkCursor) skip() {
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

// Read appends the records from..last of an object, counted from 0, to buf, as
// they stand in a payload: each followed by a newline where there is a
// separator. It stops behind about limit bytes, which may be inside of a
// record. It goes on at pos, and moves it. next is the first record that is
// not, or not wholly, in buf. What cannot be read is a [DamageError], and of
// the record that it hits this call adds nothing to buf; a file that cannot be
// opened for another reason than its absence or kind is the error of the file system.
func (d *Dir) Read(o *Ref, from, last uint64, pos *Pos, buf []byte, limit int) (out []byte, next uint64, err error) {
	end := o.Records - 1
	last = min(last, end)
	whole := len(buf) // behind the last whole record
	damaged := func(first, to uint64, cause error) ([]byte, uint64, error) {
		*pos = Pos{}
		return buf[:whole], max(first, from), &DamageError{ID: o.ID, First: first, Last: to, Err: cause}
	}
	w, err := d.open(o, *pos, from)
	if vfs.Missing(err) || errors.Is(err, vfs.ErrNotRegular) {
		return damaged(0, end, err)
	}
	if err != nil {
		return buf, from, err
	}
	defer w.f.Close()
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for from <= last && len(buf) < limit {
		if err := w.next(); err != nil {
			return damaged(min(w.at.first, from), end, notEOF(err))
		}
		h := &w.header
		switch {
		case h.last() < from:
		case h.flags&chunkPart != 0:
			if buf, err = w.body(buf); err != nil {
				return damaged(h.first, h.first, err)
			}
			if h.flags == chunkPart && o.Separator > 0 {
				buf = append(buf, '\n')
			}
			from += uint64(h.count)
		default:
			if *block, err = w.body((*block)[:0]); err == nil {
				err = h.each(*block, func(n uint64, data []byte) bool {
					if n >= from && n <= last {
						buf = append(buf, data...)
						if o.Separator > 0 {
							buf = append(buf, '\n')
						}
					}
					return n < last
				})
			}
			if err != nil {
				return damaged(h.first, h.last(), err)
			}
			from = min(h.last(), last) + 1
		}
		if h.flags&chunkMore == 0 {
			whole = len(buf)
		}
		if h.last() < last || h.flags&chunkMore != 0 {
			w.skip()
		} else {
			w.at = Pos{}
		}
	}
	*pos = w.at
	return buf, from, nil
}

// Offset is how many payload bytes of an object stand before a record.
func (d *Dir) Offset(o *Ref, n uint64) (before int64, err error) {
	if n == 0 {
		return 0, nil
	}
	if n >= o.Records {
		return o.Bytes, nil
	}
	w, err := d.open(o, Pos{}, 0)
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
	return before, w.header.each(body, func(k uint64, data []byte) bool {
		if k < n {
			before += int64(len(data)) + o.Separator
		}
		return k < n
	})
}

// Salvage hands out the raw bytes of the chunks that hold records first..last,
// as far as the file has any: for what could not be read and is set aside. It
// stops when fn returns false, and behind limit bytes.
func (d *Dir) Salvage(o *Ref, first, last uint64, limit int64, fn func(raw []byte) bool) error {
	w, err := d.open(o, Pos{}, 0)
	if vfs.Missing(err) || errors.Is(err, vfs.ErrNotRegular) {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.f.Close()
	end := o.Size
	for w.next() == nil && w.header.last() < first {
		w.skip()
	}
	from := w.at.off
	for w.next() == nil && w.header.first <= last {
		w.skip()
		end = w.at.off
	}
	if w.at.off < o.Size && w.header.first <= last {
		end = o.Size // the way to the next chunk is broken
	}
	end = min(end, from+limit)
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for from < end {
		buf := (*block)[:min(int64(cap(*block)), end-from)]
		n, err := w.f.ReadAt(buf, from)
		if n == 0 || !fn(buf[:n]) {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		from += int64(n)
	}
	return nil
}
