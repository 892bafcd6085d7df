package store

import (
	"context"
	"errors"
	"fmt"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/store/internal/object"
	"kustospool/store/internal/wal"
)

// Object is a payload in the making that is too large for a segment: a file
// of its own, written as a stream, of which nothing is acknowledged until
// [Store.AppendObjects]. Memory is about one chunk, 1 MiB. It is for one
// goroutine. Discard must be called in the end, whatever happened.
type Object struct {
	s *Store
	l *lane
	w *object.Writer
}

// NewObject begins an object of a lane. The error is that of the file system,
// ErrNotFound for an unknown lane, ErrFull or ErrFailed.
func (s *Store) NewObject(lane uint32) (*Object, error) {
	l := s.lanes.get(lane)
	if l == nil {
		return nil, fmt.Errorf("%w: no lane %d", ErrNotFound, lane)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	w, err := s.objects.New(l.separator)
	if err != nil {
		return nil, noRoom(err)
	}
	return &Object{s: s, l: l, w: w}, nil
}

// objectError gives an error of an object in the door's own words.
func (s *Store) objectError(err error) error {
	switch {
	case errors.Is(err, object.ErrEmpty):
		return recordSize(0)
	case errors.Is(err, object.ErrTooMany):
		return &ingest.FieldError{Field: "object", Rule: fmt.Sprintf("must have at most %d records", object.MaxRecords)}
	}
	return noRoom(err)
}

// Records is the number of records so far.
func (o *Object) Records() int64 { return o.w.Records() }

// Bytes is what the object adds to a payload so far, separators included.
func (o *Object) Bytes() int64 { return o.w.Bytes() }

// Room reports whether one more record of n bytes may join: an object has at
// most 2^24 records, and at most limit payload bytes unless it is one record.
func (o *Object) Room(n int, limit int64) bool {
	return o.w.Records() == 0 || o.w.Records() < object.MaxRecords && o.w.Bytes()+int64(n)+o.l.separator <= limit
}

// Record adds one record, as [Store.Append] would take it, to an object of a
// lane whose format concatenates. ErrFull means that it was not added, and
// that the call can be repeated once there is room.
func (o *Object) Record(data []byte) error {
	if len(data) == 0 || len(data) > ingest.MaxRecordBytes {
		return recordSize(len(data))
	}
	if err := o.s.Err(); err != nil {
		return err
	}
	if err := o.w.Record(data); err != nil {
		return o.s.objectError(err)
	}
	return nil
}

// Write adds bytes to the one record of an object of any other lane. On
// ErrFull it says how many it took, and can be called with the rest.
func (o *Object) Write(p []byte) (n int, err error) {
	if err := o.s.Err(); err != nil {
		return 0, err
	}
	if n, err = o.w.Write(p); err != nil {
		err = o.s.objectError(err)
	}
	return n, err
}

// Discard removes the file, unless AppendObjects has stored it or may have.
func (o *Object) Discard() error {
	err := o.w.Discard()
	o.s.disk.reclaimed()
	return err
}

// AppendObjects stores all of the objects or none, in one transaction, and
// answers with the number of the first record of each; the numbers of one
// lane's objects follow each other. All of it is on stable storage when it
// returns nil: first the files, then the frames that refer to them. The errors
// are those of Append. After ErrFull it can be called again. positions, if any,
// become durable with the objects, as in AppendWith.
func (s *Store) AppendObjects(ctx context.Context, objects []*Object, positions []Position) ([]Appended, error) {
	if len(objects) == 0 && len(positions) == 0 {
		return nil, s.Err()
	}
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var carried []wal.Position
	if len(positions) > 0 {
		list, drop, err := s.carry(positions)
		if err != nil {
			return nil, err
		}
		defer drop()
		carried = list
	}
	b := s.newAppendCall(len(objects))
	defer s.scratch.Put(b)
	for _, o := range objects {
		if err := o.w.Finish(); err != nil {
			return nil, s.objectError(err)
		}
		b.recs = append(b.recs, wal.Record{Lane: o.l.no, Ref: refOf(o.w)})
	}
	if err := s.objects.Sync(); err != nil {
		return nil, err
	}
	crashpoint.Reach("object.renamed")
	err := s.send(ctx, b, carried)
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		for _, o := range objects {
			o.w.Retain()
		}
	}
	if err != nil {
		return nil, err
	}
	out := make([]Appended, len(objects))
	for i, a := range b.out {
		out[i] = Appended(a)
	}
	return out, nil
}
