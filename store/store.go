package store

import (
	"context"
	"errors"
	"io"
	"iter"

	"kustospool/ingest"
)

// Store is an open spool.
type Store struct{ id ingest.SpoolID }

var errSkeleton = errors.New("not there yet")

// Open opens the spool in dir, and creates it where dir is empty or missing.
func Open(dir string, opts *Options) (*Store, error) { return nil, errSkeleton }

// Close stops.
func (s *Store) Close() error { return nil }

// ID is the spool's identity.
func (s *Store) ID() ingest.SpoolID { return s.id }

// Err is the failed state.
func (s *Store) Err() error { return nil }

// Lane interns p.
func (s *Store) Lane(ctx context.Context, p *ingest.Properties, lim FrameLimit) (uint32, error) {
	return 0, errSkeleton
}

// LaneProperties gives a lane's properties.
func (s *Store) LaneProperties(lane uint32) (ingest.Properties, bool) {
	return ingest.Properties{}, false
}

// Lanes lists the lanes.
func (s *Store) Lanes() []uint32 { return nil }

// Append stores records.
func (s *Store) Append(ctx context.Context, recs []Record) ([]Appended, error) {
	return nil, errSkeleton
}

// AppendOne stores one record.
func (s *Store) AppendOne(ctx context.Context, lane uint32, data []byte, key string) (Appended, error) {
	return Appended{}, errSkeleton
}

// Room is closed when disk space is reclaimed.
func (s *Store) Room() <-chan struct{} { return nil }

// Unsealed walks frames.
func (s *Store) Unsealed() iter.Seq2[Frame, error] { return func(func(Frame, error) bool) {} }

// Seal makes batches.
func (s *Store) Seal(ctx context.Context, seals []Seal) ([]Entry, error) { return nil, errSkeleton }

// Live lists live batches.
func (s *Store) Live() []Entry { return nil }

// Entry gives a live batch.
func (s *Store) Entry(id ingest.BatchID) (Entry, bool) { return Entry{}, false }

// Transition changes a row.
func (s *Store) Transition(ctx context.Context, id ingest.BatchID, from ingest.State, apply func(*Entry)) (Entry, error) {
	return Entry{}, errSkeleton
}

// Split replaces a batch.
func (s *Store) Split(ctx context.Context, id ingest.BatchID, from ingest.State, cuts []uint64, why *ingest.Failure) ([]Entry, error) {
	return nil, errSkeleton
}

// DeadLetter sets a batch aside.
func (s *Store) DeadLetter(ctx context.Context, id ingest.BatchID, from ingest.State, why *ingest.Failure) (Entry, error) {
	return Entry{}, errSkeleton
}

// DeadLetters walks the dead letters.
func (s *Store) DeadLetters() iter.Seq2[Entry, error] { return func(func(Entry, error) bool) {} }

// Find tells the fate of one record.
func (s *Store) Find(lane uint32, seq uint64) (Entry, error) { return Entry{}, errSkeleton }

// Payload is a batch's bytes.
type Payload struct{}

// Payload gives the payload.
func (s *Store) Payload(b *ingest.Batch) *Payload { return &Payload{} }

// Open starts reading.
func (p *Payload) Open() io.ReadCloser { return nil }

// Size is the raw size.
func (p *Payload) Size() int64 { return 0 }

// Stats is a snapshot.
func (s *Store) Stats() Stats { return Stats{} }
