package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kustospool/engine/internal/lifecycle"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// MaxIngestAllBytes and MaxIngestAllRecords bound one IngestAll, which is one
// transaction and held in memory as a whole.
const (
	MaxIngestAllBytes   = ingest.MaxRecordBytes
	MaxIngestAllRecords = 1 << 20
)

// Ingest makes one record durable and returns its receipt. When it returns
// nil the record is on stable storage and will be delivered, in this process
// or a later one. It never waits for the network.
//
// Errors, and what they say of the record: [ingest.ErrInvalid], [ErrClosed],
// [ErrFull], [ErrFailed] and ctx's own error mean not stored;
// [ErrOutcomeUnknown] means that it may be. ctx bounds the wait for room and
// for the commit to begin; a commit that has begun is waited for.
func (s *Spool) Ingest(ctx context.Context, req *ingest.Request) (ingest.Receipt, error) {
	if req == nil {
		return ingest.Receipt{}, &ingest.FieldError{Field: "request", Rule: "must not be nil"}
	}
	if err := s.admit(ctx); err != nil {
		return ingest.Receipt{}, err
	}
	l := s.lanes.known(&req.Properties)
	if l == nil {
		if err := req.Properties.Validate(); err != nil {
			return ingest.Receipt{}, err
		}
	}
	data, err := s.check(&req.Properties, req.Data, req.Key)
	if err != nil {
		return ingest.Receipt{}, err
	}
	if l == nil {
		if l, err = s.lane(ctx, &req.Properties); err != nil {
			return ingest.Receipt{}, err
		}
	}
	rec := store.Record{Lane: l.id, Data: data, Key: req.Key}
	if req.Position == nil {
		return s.ingestOne(ctx, rec)
	}
	rcpts, err := s.ingestAll(ctx, []store.Record{rec}, *req.Position)
	if err != nil {
		return ingest.Receipt{}, err
	}
	return rcpts[0], nil
}

// IngestAll makes all of the requests durable in one transaction, or none of
// them. Its errors are those of Ingest; one bad request refuses them all, and
// the error names its index. Of positions with the same name the last one
// counts. At most MaxIngestAllRecords and, together,
// MaxIngestAllBytes.
func (s *Spool) IngestAll(ctx context.Context, reqs []*ingest.Request) ([]ingest.Receipt, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	recs := make([]store.Record, len(reqs))
	for i, req := range reqs {
		if req == nil {
			return nil, &ingest.FieldError{Field: fmt.Sprintf("request %d", i), Rule: "must not be nil"}
		}
		if s.lanes.known(&req.Properties) == nil {
			if err := req.Properties.Validate(); err != nil {
				return nil, fmt.Errorf("request %d: %w", i, err)
			}
		}
		data, err := s.check(&req.Properties, req.Data, req.Key)
		if err != nil {
			return nil, fmt.Errorf("request %d: %w", i, err)
		}
		recs[i] = store.Record{Data: data, Key: req.Key}
	}
	// Only now, when all are known to be good, may new lanes be made.
	for i, req := range reqs {
		l, err := s.lane(ctx, &req.Properties)
		if err != nil {
			return nil, fmt.Errorf("request %d: %w", i, err)
		}
		recs[i].Lane = l.id
	}
	var at []ingest.Position
	for _, req := range reqs {
		if req.Position != nil {
			at = slices.DeleteFunc(at, func(p ingest.Position) bool { return p.Name == req.Position.Name })
			at = append(at, *req.Position)
		}
	}
	return s.ingestAll(ctx, recs, at...)
}

// Position gives a source's position as it was stored last, in this process
// or an earlier one; false for a name that has none.
func (s *Spool) Position(name string) (ingest.Position, bool) { return s.store.Position(name) }

// Positions lists the positions by name. There are at most 1024.
func (s *Spool) Positions() []ingest.Position { return s.store.Positions() }

// RemovePosition forgets a position, durably. ErrNotFound when there is none;
// its other errors are those of Ingest.
func (s *Spool) RemovePosition(ctx context.Context, name string) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	if _, mark := store.IsDeadLetterMark(name); mark {
		return badName(name)
	}
	return s.store.RemovePosition(ctx, name)
}

// admit refuses a record before anything is done for it.
func (s *Spool) admit(ctx context.Context) error {
	if s.closing.Load() {
		return ErrClosed
	}
	return ctx.Err()
}

// check refuses a bad record of valid properties, and gives what to store of a
// good one. It changes nothing.
func (s *Spool) check(p *ingest.Properties, data []byte, key string) ([]byte, error) {
	caps, err := s.kept(p)
	if err != nil {
		return nil, err
	}
	if p.ByReference && !caps.Blobs {
		return nil, errDataOnly
	}
	if data, err = p.RecordBy(s.rule(p), data); err != nil {
		return nil, err
	}
	if len(key) > ingest.MaxKeyBytes {
		return nil, &ingest.FieldError{Field: "key", Value: fmt.Sprintf("of %d bytes", len(key)),
			Rule: fmt.Sprintf("must have at most %d bytes", ingest.MaxKeyBytes)}
	}
	return data, fitsBatch(caps, data)
}

// fitsBatch refuses a record that the transport takes in no batch.
func fitsBatch(caps transport.Capabilities, data []byte) error {
	if limit := caps.MaxBatchBytes; limit > 0 && int64(len(data)) >= limit {
		return &ingest.FieldError{Field: "data", Value: fmt.Sprintf("of %d bytes", len(data)),
			Rule: fmt.Sprintf("the transport takes less than %d bytes in one batch", limit)}
	}
	return nil
}

// fitsAtAll refuses what would not fit into an empty spool. It would wait for ever,
// or drop all other records in vain.
func (s *Spool) fitsAtAll(bytes int64) error {
	most := s.opts.MaxDiskBytes - 5<<20 // what the store keeps in reserve
	if bytes <= most {
		return nil
	}
	return &ingest.FieldError{Field: "data", Value: fmt.Sprintf("of %d bytes", bytes),
		Rule: fmt.Sprintf("does not fit into a spool of %d bytes (MaxDiskBytes); at most %d do", s.opts.MaxDiskBytes, max(most, 0))}
}

func (s *Spool) ingestOne(ctx context.Context, rec store.Record) (ingest.Receipt, error) {
	if err := s.fitsAtAll(int64(len(rec.Data))); err != nil {
		return ingest.Receipt{}, err
	}
	called := s.events.called()
	a, err := s.store.AppendOne(ctx, rec.Lane, rec.Data, rec.Key)
	if errors.Is(err, ErrFull) {
		err = s.whenRoom(ctx, func() (err error) {
			a, err = s.store.AppendOne(ctx, rec.Lane, rec.Data, rec.Key)
			return err
		})
	}
	if err != nil {
		return ingest.Receipt{}, err
	}
	s.noRoom.stored()
	s.events.returned(called)
	return s.receipt(rec.Lane, a), nil
}

func (s *Spool) ingestAll(ctx context.Context, recs []store.Record, at ...ingest.Position) ([]ingest.Receipt, error) {
	if len(recs) == 0 && len(at) == 0 {
		return nil, nil
	}
	if err := s.letters.ownNames(at); err != nil {
		return nil, err
	}
	total := int64(0)
	for _, r := range recs {
		total += int64(len(r.Data))
	}
	if err := s.fitsAtAll(total); err != nil {
		return nil, err
	}
	if total > MaxIngestAllBytes || len(recs) > MaxIngestAllRecords {
		return nil, &ingest.FieldError{Field: "requests", Value: fmt.Sprintf("of %d records and %d bytes", len(recs), total),
			Rule: fmt.Sprintf("at most %d records and %d bytes in one call", MaxIngestAllRecords, MaxIngestAllBytes)}
	}
	called := s.events.called()
	appended, err := s.store.AppendWith(ctx, recs, at)
	if errors.Is(err, ErrFull) {
		err = s.whenRoom(ctx, func() (err error) {
			appended, err = s.store.AppendWith(ctx, recs, at)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	s.noRoom.stored()
	s.events.returned(called)
	receipts := make([]ingest.Receipt, len(appended))
	for i, a := range appended {
		receipts[i] = s.receipt(recs[i].Lane, a)
	}
	return receipts, nil
}

func (s *Spool) receipt(lane uint32, a store.Appended) ingest.Receipt {
	if a.Duplicate {
		s.repeated.Add(1)
	}
	return ingest.Receipt{ID: ingest.NewID(s.store.ID(), lane, a.Seq), Records: 1, Duplicate: a.Duplicate}
}

// dropPause is how long to wait for room after a batch was dropped before the next
// is. Space is reclaimed in the background, a whole segment at a time.
const dropPause = 200 * time.Millisecond

// roomRecheck is how often a blocked caller tries again by itself. Where the volume
// is full, other programs may make room, and nobody tells.
const roomRecheck = 5 * time.Second

// whenRoom repeats an append that found the spool full, as the full policy
// says. The signal is taken before the append is tried again, so that room
// made in between is not missed.
func (s *Spool) whenRoom(ctx context.Context, try func() error) (err error) {
	s.waitingForRoom.Add(1)
	defer s.waitingForRoom.Add(-1)
	began := time.Now()
	defer func() { s.events.waited(began, err) }()
	for {
		if s.closing.Load() {
			return ErrClosed
		}
		room := s.store.Room()
		err := try()
		if !errors.Is(err, ErrFull) {
			return err
		}
		s.noRoom.met("policy", s.opts.Full, "quota", s.opts.MaxDiskBytes, "cause", err)
		if s.opts.Full == RejectNew {
			return err
		}
		var dropping chan<- struct{}
		if s.opts.Full == DropOldest {
			dropping = s.dropping
		} else {
			s.sealForRoom(ctx)
		}
		select {
		case <-room:
		case <-time.After(roomRecheck):
		case dropping <- struct{}{}:
			err = s.dropForRoom(ctx, room)
			<-s.dropping
			if err != nil {
				return err
			}
		case <-s.changes.closed():
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sealForRoom seals what is open when there is no sealed batch. Only delivery makes
// room, and a spool smaller than a batch would wait for the batch's age each time
// it is full. An error is the sealer's to log; the caller goes on waiting.
func (s *Spool) sealForRoom(ctx context.Context) {
	if st := s.store.Stats(); st.Open > 0 && st.Sealed == 0 {
		_ = s.Flush(ctx)
	}
}

// dropForRoom drops the oldest batches, a segment's worth, and waits for the room.
// One caller at a time is here: a thousand callers that find the spool full must
// not drop a thousand batches.
func (s *Spool) dropForRoom(ctx context.Context, room <-chan struct{}) error {
	select {
	case <-room: // the one before made it
		return nil
	default:
	}
	// Space comes back a segment at a time.
	for freed := int64(0); freed < s.opts.SegmentBytes; {
		n, err := s.dropOldest(ctx)
		if err != nil {
			return err
		}
		if n == 0 && freed == 0 {
			return ErrFull
		}
		if n == 0 {
			break
		}
		freed += n
	}
	select {
	case <-room:
	case <-time.After(dropPause):
	case <-s.changes.closed():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// dropOldest gives up the oldest batch that is not under way, and says how
// large it was, 0 when there was none. Where none is sealed it seals what is
// open first.
func (s *Spool) dropOldest(ctx context.Context) (bytes int64, err error) {
	id, ok := s.live.TakeOldest()
	if !ok {
		if err := s.Flush(ctx); err != nil {
			return 0, err
		}
		if id, ok = s.live.TakeOldest(); !ok {
			return 0, nil
		}
	}
	c, err := s.batches.happened(ctx, id, lifecycle.Event{Kind: lifecycle.NoRoom,
		Failure: &ingest.Failure{Class: "policy", Code: "drop-oldest", Message: "the spool was full", At: time.Now()}})
	if err != nil {
		if e, live := s.batches.row(id); live {
			s.live.Retry(e)
		}
		return 0, err
	}
	return max(c.entry.Batch.RawBytes, 1), nil
}
