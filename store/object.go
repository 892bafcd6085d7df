package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// maxObjectRecords bounds the records of one object, so that the numbers of a
// lane cannot run away within one segment.
const maxObjectRecords = 1 << 24

// Object is a payload in the making that is too large for a segment: a file
// of its own, written as a stream, of which nothing is acknowledged until
// [Store.AppendObjects]. Memory is about one chunk, 1 MiB, or one record. It
// is for one goroutine. Discard must be called in the end, whatever happened.
type Object struct {
	s    *Store
	l    *lane
	id   objectID
	temp string
	path string
	f    *os.File

	buf      []byte // the chunk under construction, its header's room included
	chunk    chunkHeader
	records  uint64
	bytes    int64
	size     int64 // of the file
	part     bool  // one record, written in pieces
	finished bool  // complete under its final name
	broken   error // why it never will be
	kept     bool  // the file is the store's now
}

// NewObject begins an object of a lane. The error is that of the file system,
// ErrNotFound for an unknown lane, or ErrFailed.
func (s *Store) NewObject(lane uint32) (*Object, error) {
	l := s.lanes.get(lane)
	if l == nil {
		return nil, fmt.Errorf("%w: no lane %d", ErrNotFound, lane)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	o := &Object{s: s, l: l, part: l.separator == 0}
	if _, err := rand.Read(o.id[:]); err != nil {
		return nil, err
	}
	o.path = s.objectPath(o.id)
	o.temp = o.path + tempSuffix
	var err error
	if o.f, err = os.OpenFile(o.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, noRoom(err)
	}
	o.begin()
	return o, nil
}

func (s *Store) objectPath(id objectID) string {
	return filepath.Join(s.dir, objectsName, id.fileName())
}

// noRoom makes ErrFull of an error for want of space.
func noRoom(err error) error {
	if isNoSpace(err) {
		return fmt.Errorf("%w: %v", ErrFull, err)
	}
	return err
}

// Records is the number of records so far.
func (o *Object) Records() int64 {
	if o.part && o.bytes > 0 {
		return 1
	}
	return int64(o.records)
}

// Bytes is what the object adds to a payload so far, separators included.
func (o *Object) Bytes() int64 { return o.bytes }

// Room reports whether one more record of n bytes may join: an object has at
// most 2^24 records, and at most limit payload bytes unless it is one record.
func (o *Object) Room(n int, limit int64) bool {
	return o.records == 0 || o.records < maxObjectRecords && o.bytes+int64(n)+o.l.separator <= limit
}

// begin starts the next chunk.
func (o *Object) begin() {
	o.buf = append(o.buf[:0], make([]byte, chunkHeaderLen)...)
	o.chunk = chunkHeader{first: o.records, before: o.bytes}
}

// Record adds one record, as [Store.Append] would take it, to an object of a
// lane whose format concatenates. ErrFull means that it was not added, and
// that the call can be repeated once there is room.
func (o *Object) Record(data []byte) error {
	if o.part || o.finished {
		return errors.New("store: Record on an object that takes none")
	}
	if len(data) == 0 || len(data) > ingest.MaxRecordBytes {
		return recordSize(len(data))
	}
	if o.records >= maxObjectRecords {
		return &ingest.FieldError{Field: "object", Rule: fmt.Sprintf("must have at most %d records", maxObjectRecords)}
	}
	if o.chunk.count > 0 && len(o.buf)+binary.MaxVarintLen32+len(data) > chunkHeaderLen+chunkBytes {
		if err := o.flush(); err != nil {
			return err
		}
	}
	o.buf = binary.AppendUvarint(o.buf, uint64(len(data)))
	o.buf = append(o.buf, data...)
	n := int64(len(data)) + o.l.separator
	o.chunk.count++
	o.chunk.bytes += uint32(n)
	o.records++
	o.bytes += n
	return nil
}

// Write adds bytes to the one record of an object of any other lane. On
// ErrFull it says how many it took, and can be called with the rest.
func (o *Object) Write(p []byte) (n int, err error) {
	if !o.part || o.finished {
		return 0, errors.New("store: Write on an object of records")
	}
	for n < len(p) {
		room := chunkHeaderLen + chunkBytes - len(o.buf)
		if room == 0 {
			o.chunk.flags = chunkPart | chunkMore
			if err := o.flush(); err != nil {
				return n, err
			}
			continue
		}
		k := min(room, len(p)-n)
		o.buf = append(o.buf, p[n:n+k]...)
		o.chunk.bytes += uint32(k)
		o.bytes += int64(k)
		n += k
	}
	return n, nil
}

// flush writes the chunk under construction and begins the next. After ErrFull
// all is as before.
func (o *Object) flush() error {
	if err := o.s.Err(); err != nil {
		return err
	}
	if !o.s.fits(int64(len(o.buf))) {
		return ErrFull
	}
	putChunkHeader(o.buf, o.s.id, o.id, &o.chunk)
	if _, err := o.f.WriteAt(o.buf, o.size); err != nil {
		return noRoom(err)
	}
	o.size += int64(len(o.buf))
	o.s.disk.set(o.temp, o.size)
	o.begin()
	return nil
}

// finish makes the file complete and durable under its final name; the
// directory is the caller's to sync. It can be repeated after ErrFull.
func (o *Object) finish() error {
	if o.finished || o.broken != nil {
		return o.broken
	}
	if o.bytes == 0 {
		return recordSize(0)
	}
	if len(o.buf) > chunkHeaderLen {
		if o.part {
			o.chunk.flags, o.chunk.count = chunkPart, 1
		}
		if err := o.flush(); err != nil {
			return err
		}
	}
	if !o.s.opts.NoSync {
		if err := o.f.Sync(); err != nil {
			// What a failed fsync leaves is unknown, and the next one would not
			// tell. It must not pass for ErrFull, after which one tries again.
			o.broken = fmt.Errorf("flushing an object to disk: %w", err)
			return o.broken
		}
	}
	err := o.f.Close()
	o.f, o.buf = nil, nil
	if err != nil {
		o.broken = err
		return err
	}
	crashpoint.Reach("object.written")
	if err := os.Rename(o.temp, o.path); err != nil {
		o.broken = err
		return err
	}
	o.s.disk.set(o.temp, 0)
	o.s.disk.set(o.path, o.size)
	o.finished = true
	if o.part {
		o.records = 1
	}
	return nil
}

// Discard removes the file, unless AppendObjects has stored it or may have.
func (o *Object) Discard() error {
	if o.kept {
		return nil
	}
	o.kept = true
	var errs []error
	if o.f != nil {
		errs = append(errs, o.f.Close())
	}
	for _, path := range []string{o.temp, o.path} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		o.s.disk.set(path, 0)
	}
	o.s.disk.reclaimed()
	return errors.Join(errs...)
}

// AppendObjects stores all of the objects or none, in one transaction, and
// answers with the number of the first record of each; the numbers of one
// lane's objects follow each other. All of it is on stable storage when it
// returns nil: first the files, then the frames that refer to them. The errors
// are those of Append. After ErrFull it can be called again.
func (s *Store) AppendObjects(ctx context.Context, objects []*Object) ([]Appended, error) {
	if len(objects) == 0 {
		return nil, s.Err()
	}
	w := s.waiters.get()
	for _, o := range objects {
		if err := o.finish(); err != nil {
			s.waiters.put(w)
			return nil, err
		}
	}
	if !s.opts.NoSync {
		if err := syncDir(filepath.Join(s.dir, objectsName)); err != nil {
			s.waiters.put(w)
			return nil, err
		}
	}
	crashpoint.Reach("object.renamed")
	w.recs, w.out = make([]Record, len(objects)), make([]Appended, len(objects))
	for i, o := range objects {
		w.recs[i] = Record{Lane: o.l.no, object: o}
	}
	out := w.out
	err := s.append(ctx, w)
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		for _, o := range objects {
			o.kept = true
		}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func recordSize(n int) error {
	return &ingest.FieldError{Field: "data", Value: fmt.Sprintf("of %d bytes", n), Rule: fmt.Sprintf("must have 1 to %d bytes", ingest.MaxRecordBytes)}
}

// frame is the frame that refers to a finished object.
func (o *Object) frame(spool ingest.SpoolID, lane uint32, first uint64, before, at int64, buf []byte) ([]byte, frameHeader) {
	var b frameBuilder
	b.start(buf, lane, first, before)
	b.h.codec = codecObject
	b.buf = objectRef{id: o.id, size: o.size}.append(b.buf)
	b.h.count, b.h.bytes = uint32(o.records), o.bytes
	return b.finish(spool, at), b.h
}
