package object

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
)

var (
	// ErrEmpty is returned by Finish for an object without a byte.
	ErrEmpty = errors.New("the object is empty")
	// ErrTooMany is returned by Record beyond MaxRecords.
	ErrTooMany = fmt.Errorf("an object has at most %d records", MaxRecords)

	errUse = errors.New("object: the call does not fit the object")
)

// Writer is an object in the making. It is for one goroutine. Discard must be
// called in the end, whatever happened, unless Keep was.
type Writer struct {
	d         *Dir
	id        ID
	temp      string
	separator int64
	f         vfs.File

	buf      *[]byte // the chunk under construction, its header's room included
	chunk    header
	records  uint64
	bytes    int64
	size     int64 // of the file
	finished bool  // complete under its final name
	broken   error // why it never will be
	retained bool
}

// New begins an object. separator is what a record adds to a payload beside
// itself, 0 or 1; with 0 the object is one record, given by Write, with 1 its
// records are given by Record. The error is that of the file system.
func (d *Dir) New(separator int64) (*Writer, error) {
	w := &Writer{d: d, separator: separator}
	if _, err := rand.Read(w.id[:]); err != nil {
		return nil, err
	}
	w.temp = d.path(w.id) + tempSuffix
	var err error
	if w.f, err = d.FS.Open(w.temp, vfs.Create); err != nil {
		return nil, err
	}
	w.buf = blocks.Get().(*[]byte)
	w.begin()
	return w, nil
}

// ID is the object's identity.
func (w *Writer) ID() ID { return w.id }

// Records is the number of records so far.
func (w *Writer) Records() int64 {
	if w.separator == 0 && w.bytes > 0 {
		return 1
	}
	return int64(w.records)
}

// Bytes is what the object adds to a payload so far, separators included.
func (w *Writer) Bytes() int64 { return w.bytes }

// Size is the size of the file so far; of a finished object, for good.
func (w *Writer) Size() int64 { return w.size }

// begin starts the next chunk.
func (w *Writer) begin() {
	*w.buf = append((*w.buf)[:0], make([]byte, chunkHeaderLen)...)
	w.chunk = header{first: w.records, before: w.bytes}
}

func (w *Writer) room() int { return chunkHeaderLen + ChunkBytes - len(*w.buf) }

// Record adds one record. On an error of Dir.Room, or for want of space,
// nothing of it was added, and the call can be repeated.
func (w *Writer) Record(data []byte) error {
	switch {
	case w.separator == 0 || w.finished || w.broken != nil:
		return errors.Join(errUse, w.broken)
	case len(data) == 0:
		return ErrEmpty
	case w.records >= MaxRecords:
		return ErrTooMany
	}
	if w.chunk.count > 0 && (w.chunk.flags != 0 || w.room() < binary.MaxVarintLen32+len(data)) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(data) > ChunkBytes {
		return w.large(data)
	}
	*w.buf = binary.AppendUvarint(*w.buf, uint64(len(data)))
	*w.buf = append(*w.buf, data...)
	w.add(int64(len(data)) + w.separator)
	return nil
}

// add counts a record that ends in the chunk.
func (w *Writer) add(n int64) {
	w.chunk.count++
	w.chunk.bytes += uint32(n)
	w.records++
	w.bytes += n
}

// large adds a record in pieces. The chunk under construction is empty. When
// there is no room for a piece, those before it are taken back.
func (w *Writer) large(data []byte) error {
	size, bytes := w.size, w.bytes
	for len(data) > ChunkBytes {
		*w.buf = append(*w.buf, data[:ChunkBytes]...)
		w.chunk.flags, w.chunk.bytes = chunkPart|chunkMore, ChunkBytes
		w.bytes += ChunkBytes
		data = data[ChunkBytes:]
		if err := w.flush(); err != nil {
			w.size, w.bytes = size, bytes
			w.d.sized(w.temp, size)
			w.begin()
			return err
		}
	}
	*w.buf = append(*w.buf, data...)
	w.chunk.flags = chunkPart
	w.add(int64(len(data)) + w.separator)
	return nil
}

// Write adds bytes to the one record of an object without a separator. On an
// error of Dir.Room, or for want of space, it says how many it took, and can
// be called with the rest.
func (w *Writer) Write(p []byte) (n int, err error) {
	if w.separator != 0 || w.finished || w.broken != nil {
		return 0, errors.Join(errUse, w.broken)
	}
	for n < len(p) {
		if w.room() == 0 {
			w.chunk.flags = chunkPart | chunkMore
			if err := w.flush(); err != nil {
				return n, err
			}
		}
		k := min(w.room(), len(p)-n)
		*w.buf = append(*w.buf, p[n:n+k]...)
		w.chunk.bytes += uint32(k)
		w.bytes += int64(k)
		n += k
	}
	return n, nil
}

// flush writes the chunk under construction and begins the next. After an
// error all is as before.
func (w *Writer) flush() error {
	if w.d.Room != nil {
		if err := w.d.Room(int64(len(*w.buf))); err != nil {
			return err
		}
	}
	w.chunk.put(*w.buf, w.d.Spool, w.id)
	if _, err := w.f.WriteAt(*w.buf, w.size); err != nil {
		return err
	}
	w.size += int64(len(*w.buf))
	w.d.sized(w.temp, w.size)
	w.begin()
	return nil
}

// Finish makes the file complete and durable under its final name; the
// directory is for Dir.Sync. It can be repeated after an error of Dir.Room, or
// for want of space.
func (w *Writer) Finish() error {
	if w.finished || w.broken != nil {
		return w.broken
	}
	if w.bytes == 0 {
		return ErrEmpty
	}
	if len(*w.buf) > chunkHeaderLen {
		if w.separator == 0 {
			w.chunk.flags, w.chunk.count = chunkPart, 1
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	// What a failed sync leaves is unknown, and the next one would not tell.
	if w.broken = w.complete(); w.broken != nil {
		return w.broken
	}
	w.finished = true
	if w.separator == 0 {
		w.records = 1
	}
	return nil
}

func (w *Writer) complete() error {
	// Pieces of a record that was taken back may lie behind the end.
	if err := w.f.Truncate(w.size); err != nil {
		return err
	}
	if !w.d.NoSync {
		if err := w.f.Sync(); err != nil {
			return fmt.Errorf("flushing an object to disk: %w", err)
		}
	}
	err := w.f.Close()
	w.release()
	if err != nil {
		return err
	}
	crashpoint.Reach("object.written")
	if err := w.d.FS.Rename(w.temp, w.d.path(w.id)); err != nil {
		return err
	}
	w.d.sized(w.temp, 0)
	w.d.sized(w.d.path(w.id), w.size)
	return nil
}

// release lets go of file and buffer.
func (w *Writer) release() {
	w.f = nil
	if w.buf != nil {
		blocks.Put(w.buf)
		w.buf = nil
	}
}

// Retain makes Discard leave the file: somebody refers to it.
func (w *Writer) Retain() { w.retained = true }

// Discard removes the file, unless Keep was called. A second call does nothing.
func (w *Writer) Discard() error {
	var errs []error
	if w.f != nil {
		errs = append(errs, w.f.Close())
		w.release()
	}
	if w.broken == nil {
		w.broken = errUse
	}
	if w.retained {
		return errors.Join(errs...)
	}
	w.retained = true
	return errors.Join(append(errs, w.d.remove(w.temp), w.d.remove(w.d.path(w.id)))...)
}
