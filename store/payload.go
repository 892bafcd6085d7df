package store

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"kustospool/ingest"
	"kustospool/store/internal/object"
)

// runBytes is about how much a read copies at a time.
const runBytes = 1 << 20

// Payload is the bytes of one batch, to be read as often as needed. A format
// that concatenates has its records ended by a newline each; any other has
// the one record as it was given.
type Payload struct {
	s     *Store
	lane  *lane
	batch ingest.Batch
}

// Payload gives access to a batch's bytes. They can be read until the batch
// is settled; after that reading fails with ErrNotFound. The batch is one
// that Seal, Split or Live gave.
func (s *Store) Payload(b *ingest.Batch) *Payload {
	return &Payload{s: s, lane: s.lanes.get(b.Lane), batch: *b}
}

// Size is the batch's raw size in bytes.
func (p *Payload) Size() int64 { return p.batch.RawBytes }

// Open starts reading at the first byte. The reader copies about 1 MiB of
// verified frames at a time, and holds no lock or file while its caller works. It ends in io.EOF after exactly Size bytes, or in a
// [CorruptionError]. It is for one goroutine; it implements io.WriterTo.
func (p *Payload) Open() io.ReadCloser {
	return &payloadReader{p: p, next: p.batch.First, left: p.batch.RawBytes}
}

type payloadReader struct {
	p      *Payload
	next   uint64 // the first record that is not in buf
	left   int64  // bytes that Size promises and were not handed out
	buf    []byte // verified, not handed out
	block  *[]byte
	pos    object.Pos
	err    error
	closed bool
}

var blocks = sync.Pool{New: func() any { b := make([]byte, 0, runBytes+runBytes/4); return &b }}

// blockKept bounds what goes back into the pool.
const blockKept = 4 << 20

// putBlock gives a block back, if there is one.
func putBlock(b *[]byte) {
	if b != nil && cap(*b) <= blockKept {
		blocks.Put(b)
	}
}

func (r *payloadReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

func (r *payloadReader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return written, err
		}
		n, err := w.Write(r.buf)
		written += int64(n)
		r.buf = r.buf[n:]
		if err != nil {
			return written, err
		}
	}
}

func (r *payloadReader) Close() error {
	r.closed = true
	r.drop()
	return nil
}

func (r *payloadReader) drop() {
	putBlock(r.block)
	r.block, r.buf = nil, nil
}

var errReaderClosed = errors.New("read of a closed payload")

// fill makes sure that buf is not empty.
func (r *payloadReader) fill() error {
	switch {
	case r.closed:
		return errReaderClosed
	case len(r.buf) > 0:
		return nil
	case r.err != nil:
		return r.err
	case r.p.lane == nil:
		return ErrNotFound
	}
	if r.next > r.p.batch.Last {
		r.err = io.EOF
		if r.left != 0 {
			r.err = &CorruptionError{Lane: r.p.lane.no, First: r.p.batch.First, Last: r.p.batch.Last,
				Err: fmt.Errorf("the payload misses its size by %d bytes", r.left)}
		}
		r.drop()
		return r.err
	}
	if r.block == nil {
		r.block = blocks.Get().(*[]byte)
	}
	out, next, err := r.p.s.readRun(r.p.lane, r.next, r.p.batch.Last, &r.pos, (*r.block)[:0])
	*r.block, r.buf, r.next = out, out, next
	r.left -= int64(len(out))
	if err != nil {
		if _, live := r.p.s.Entry(r.p.batch.ID); !live && !errors.Is(err, ErrClosed) {
			err = fmt.Errorf("%w: batch %s is settled", ErrNotFound, r.p.batch.ID)
		}
		r.err = err
		if len(out) == 0 {
			return err
		}
	}
	return nil
}

// readRun appends records of a lane from..last to buf, about runBytes of
// them, as they stand in a payload. next is the first one not in buf, or not
// wholly: of a record in an object it may be a part, and pos says where the
// next run goes on. When it comes upon damage it returns what it has, and the
// error.
func (s *Store) readRun(l *lane, from, last uint64, pos *object.Pos, buf []byte) (out []byte, next uint64, err error) {
	var damage *CorruptionError
	var in *objectAt
	err = s.eachFrame(l, from, last, func(f *found) bool {
		if f.err != nil {
			damage = f.err
			return false
		}
		if in = f.object(l); in != nil {
			return false
		}
		whole := len(buf)
		if rerr := f.frame.Each(func(seq uint64, data []byte) bool {
			if seq >= from && seq <= last {
				buf = append(buf, data...)
				if l.separator > 0 {
					buf = append(buf, '\n')
				}
			}
			return seq < last
		}); rerr != nil {
			buf = buf[:whole]
			damage = &CorruptionError{Segment: f.segment, Lane: l.no, First: f.First, Last: f.Last, Err: rerr}
			return false
		}
		from = f.Last + 1
		return from <= last && len(buf) < runBytes
	})
	switch {
	case err == nil && damage != nil:
		err = damage
	case err == nil && in != nil && len(buf) < runBytes:
		return s.readObject(l, in, from, last, pos, buf)
	}
	return buf, min(from, last+1), err
}
