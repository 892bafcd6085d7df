package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kustospool/engine/internal/live"
	"kustospool/engine/internal/plug"
	"kustospool/engine/internal/retry"
	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/store"
	"kustospool/transport"
)

// Spool is an open spool directory and everything that works on it. All of
// its methods may be called from many goroutines.
//
// Its goroutines, and what each owns:
//
//	sealer      one; cuts batches out of the lanes' open ranges
//	dispatcher  one, and one goroutine for each attempt under way
//	refuser     one, and one goroutine for each dead letter that is being written
//	            of what was refused before it could be sent
//	server      one, and one or two for each client of the socket
//	tracker     one, and one goroutine for each question under way, one a
//	            destination; asks for outcomes and resolves unknown attempts
//	events      one, where there is an observer; hands events over to it
//
// Close ends and joins them all; one more does that, and ends as soon as the
// last call of the transport has returned. The store has goroutines of its own
// and joins them in its Close.
type Spool struct {
	// Immutable after Open.
	store     *store.Store
	transport *plug.Plug
	opts      Options
	log       *slog.Logger

	batches  *batches
	lanes    laneIndex
	live     *live.Mirror
	sealer   *sealer
	attempts *attempts
	changes  changes
	rates    *rates
	refusals refusals
	events   *events
	letters  letters
	dropping chan struct{} // held by the one caller that drops batches for room
	pausing  chan struct{} // held by the one caller that changes what is paused
	checks   checks
	server   *operate.Server // answers on the socket; nil where there is none

	waitingForRoom atomic.Int64 // callers that found the spool full
	noRoom         noRoom       // the trouble that they are in, for the log
	repeated       atomic.Int64 // requests whose key was stored before

	closing   atomic.Bool // intake has ended
	stop      context.CancelFunc
	running   sync.WaitGroup
	closeOnce sync.Once
	closed    chan struct{} // closed when closeErr is set
	closeErr  error
}

// Open opens the spool in dir, creating it if the directory is missing or
// empty, and starts to deliver through tr what it holds. It works on the disk
// only: an unreachable destination does not make it fail.
//
// The spool owns tr from here on: if it is an [io.Closer], Close closes it.
//
// Errors: options or dir break a rule ([ingest.ErrInvalid], [ErrForeign],
// [ErrUntrusted]),
// tr cannot keep the wanted guarantee ([ErrGuarantee]) or take the blobs that
// wait ([ErrNoBlobs]), another process has the spool open ([*LockedError]), the disk fails. tr is not
// closed then.
func Open(dir string, tr transport.Transport, opts *Options) (*Spool, error) {
	if tr == nil {
		return nil, &ingest.FieldError{Field: "transport", Rule: "must not be nil"}
	}
	o := opts.withDefaults()
	guarded, err := plug.New(tr, o.Logger)
	if err != nil {
		return nil, err
	}
	if err := o.validate(capabilitiesBy(guarded)); err != nil {
		return nil, err
	}
	s := newSpool(o, guarded)
	grace := s.unknownGrace()
	news := newNews()
	opened := time.Now()
	s.events = newEvents(o.Observer, o.Logger)
	st, err := store.Open(dir, s.storeOptions(news.committed))
	if err != nil {
		return nil, ownError(err)
	}
	s.store = st
	found := statsOf(st.Snapshot())
	found.Spool, found.Disk.Quota, found.Disk.Free = st.ID(), o.MaxDiskBytes, -1
	found.DeadLetters = deadLetterStats(&found, st.WaitingDeadLetters())
	s.events.begin(&found)
	s.live.SetPaused(st.Paused())
	s.batches = newBatches(st, s.live, s.changes.fire, s.events, o.Logger)
	refuser := &refuser{queue: s.live, batches: s.batches, payloads: st, refusals: &s.refusals, rule: s.rule, wake: s.live.ToRefuse}
	s.attempts = &attempts{batches: s.batches, events: s.events, transport: guarded, payloads: st, refuser: refuser, tell: s.changes.fire, log: o.Logger,
		timeout: o.AttemptTimeout, retryMin: o.RetryMin, retryMax: o.RetryMax, grace: grace}
	ledgerTrouble := &trouble{log: o.Logger, begun: "cannot write the batch ledger; records stay in the spool, and delivery waits", over: "the batch ledger can be written again"}
	s.attempts.ledgerTrouble = ledgerTrouble
	q := s.sealer
	q.books, q.queue, q.news, q.emptied, q.closed = s.batches, s.live, news, s.live.Emptied, s.changes.closed()
	q.ledgerTrouble, q.retryMin, q.retryMax = ledgerTrouble, o.RetryMin, o.RetryMax
	dispatcher := &dispatcher{queue: s.live, attempts: s.attempts, wake: s.live.ToSend}
	tracker := &tracker{questions: s.live, books: s.batches, events: s.events, asker: guarded, wake: s.live.ToAsk, ledgerTrouble: ledgerTrouble}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("engine: recovering %s: %w", dir, err), st.Close())
	}

	s.endRetries()

	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.running.Go(func() { s.sealer.run(ctx) })
	s.running.Go(func() { dispatcher.run(ctx) })
	s.running.Go(func() { refuser.run(ctx) })
	s.running.Go(func() { tracker.run(ctx) })
	s.server = s.answer()
	s.events.start(opened)
	s.opened(dir, &found)
	return s, nil
}

// newSpool makes a spool without its store, and starts nothing.
func newSpool(o Options, to *plug.Plug) *Spool {
	every, atMost := to.Cadence()
	s := &Spool{transport: to, opts: o, log: o.Logger, dropping: make(chan struct{}, 1), pausing: make(chan struct{}, 1), closed: make(chan struct{}), rates: newRates()}
	s.noRoom.log, s.noRoom.begun, s.noRoom.over = o.Logger, "the spool is full", "the spool has room again"
	s.lanes.init()
	s.changes.init()
	s.refusals.init()
	s.letters.init()
	s.live = live.New(live.Options{Senders: o.Senders, MaxUnconfirmed: o.MaxUnconfirmed, FreshShare: o.FreshShare, FreshFor: o.FreshFor, RetryMin: o.RetryMin, RetryMax: o.RetryMax,
		Pace:  live.Pace{Tracks: to.Tracks(), Every: every, AtMost: atMost, Verdict: o.VerdictTimeout, Grace: s.unknownGrace()},
		Route: to.Destination, Order: o.liveOrder, Properties: s.lanes.propertiesOf, Because: becauseOf, Log: o.Logger})
	s.sealer = newSealer(&s.lanes)
	return s
}

// storeOptions are those of the store; committed may be nil.
func (s *Spool) storeOptions(committed func([]store.Frame)) *store.Options {
	o := &s.opts
	compression := store.NoCompression
	if o.CompressOnDisk {
		compression = store.S2
	}
	return &store.Options{
		SegmentBytes:     o.SegmentBytes,
		CommitInterval:   o.CommitInterval,
		Compression:      compression,
		MaxBytes:         o.MaxDiskBytes,
		HistoryRetention: o.StatusRetention,
		TrustDirectory:   o.TrustDirectory,
		LockTimeout:      o.LockTimeout,
		Timed:            s.events.timed,
		Committed: func(frames []store.Frame) {
			s.events.committed(frames) // first: what follows from it comes behind it
			if committed != nil {
				committed(frames)
			}
		},
		Settled: func(e store.Entry) {
			s.rates.settled(e)
			s.events.settled(e)
		},
		Logger: o.Logger,
	}
}

// opened tells what Open found: a spool in order has one line.
func (s *Spool) opened(dir string, found *Stats) {
	args := []any{"dir", dir, "spool", found.Spool}
	if found.Waiting.Records > 0 {
		args = append(args, "waiting", found.Waiting.Records, "batches", found.Batches.Live())
	}
	if oldest := found.Waiting.Oldest; !oldest.IsZero() { // of what is in no batch it is not known yet
		args = append(args, "oldest", oldest)
	}
	if n := found.DeadLetters.Waiting; n > 0 {
		args = append(args, "dead_letters", n)
	}
	s.log.Info("opened the spool", args...)
}

// unknownGrace is how long an unknown attempt is looked for. Where nobody can
// be asked there is nothing to wait for but the usual pause.
func (s *Spool) unknownGrace() func(attempts int) time.Duration {
	least, most, grace := s.opts.RetryMin, s.opts.RetryMax, s.opts.UnknownGrace
	if s.transport.Tracks() {
		return func(int) time.Duration { return grace }
	}
	return func(attempts int) time.Duration { return retry.Delay(attempts, least, most) }
}

// ID is the spool's identity, part of every receipt it issues.
func (s *Spool) ID() ingest.SpoolID { return s.store.ID() }

// Flush seals every record acknowledged so far into batches, whatever their
// size and age, and returns when that is durable. It does not wait for the
// batches to be delivered.
func (s *Spool) Flush(ctx context.Context) error { return s.sealer.flush(ctx, false) }

// Drain seals what is open and waits until no record is spooled: each is
// ingested, handed over, dead-lettered or dropped. Records that others ingest
// meanwhile are drained too. When ctx ends first the error is a
// [*NotDrainedError]; nothing is lost by that.
//
// What is open in a table is sealed once no batch of the table is left to send:
// where nothing can be sent it stays open, and later records join it.
func (s *Spool) Drain(ctx context.Context) error {
	s.sealer.drains.Add(1)
	defer s.sealer.drains.Add(-1)
	for first, flush := true, true; ; first = false {
		changed := s.changes.any()
		if flush {
			if err := s.sealer.flush(ctx, first); err != nil {
				if ctx.Err() != nil {
					return &NotDrainedError{Records: s.spooled(), Err: context.Cause(ctx)}
				}
				return err
			}
		}
		st := s.store.Stats()
		if st.Open+st.Sealed == 0 {
			return nil
		}
		flush = st.Sealed == 0 // what others ingested meanwhile, all at once
		if flush {
			continue
		}
		select {
		case <-changed:
		case <-s.store.Failed():
			return s.store.Err()
		case <-s.changes.closed():
			return ErrClosed
		case <-ctx.Done():
			return &NotDrainedError{Records: s.spooled(), Err: context.Cause(ctx)}
		}
	}
}

// recoverLanes makes the lanes of the store known.
func (s *Spool) recoverLanes() error {
	for _, id := range s.store.Lanes() {
		p, _ := s.store.LaneProperties(id)
		o, err := s.tableOptions(&p)
		if err != nil {
			return err
		}
		s.addLane(id, o)
	}
	return nil
}

// recover gives every batch of the ledger back to whoever moves it next, and
// the sealer what is in no batch yet.
func (s *Spool) recover() error {
	if err := s.recoverLanes(); err != nil {
		return err
	}
	for frame, err := range s.store.Unsealed() {
		if err != nil {
			return err
		}
		if err := s.keepsOpen(frame.Lane); err != nil {
			return err
		}
		s.sealer.takeIn(frame)
	}
	for _, e := range s.store.Live() {
		caps, err := s.transport.CapabilitiesOf(s.transport.Destination(&e))
		if err != nil {
			return fmt.Errorf("where batch %s of table %s goes cannot be told: %w", e.Batch.ID, e.Batch.Properties.Table, err)
		}
		if e.Batch.Guarantee == ingest.ExactlyOnce && !caps.ExactlyOnce {
			return fmt.Errorf("%w: batch %s of table %s waits to be sent exactly once", ErrGuarantee, e.Batch.ID, e.Batch.Properties.Table)
		}
		if err := canSend(&e.Batch.Properties, caps); err != nil {
			return err
		}
		queue, err := s.attempts.found(context.Background(), &e)
		if err != nil {
			return err
		}
		s.live.Add(queue...)
	}
	return nil
}
