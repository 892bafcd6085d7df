package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"kustospool/engine/internal/plug"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// Idle is a spool that is open to be repaired: it seals nothing and delivers
// nothing. What is stored in it waits for the next [Open]. It is for tools, at a
// spool that no program has open. Its methods may be called at the same time.
type Idle struct{ s *Spool }

// OpenIdle opens the spool in dir without a transport. Unlike [Look] it repairs
// what a crash has left, as Open does, and it can change dead letters. Of the
// options, which may be nil, Batch, MaxDiskBytes, SegmentBytes, UncheckedJSON,
// Tables, StatusRetention, TrustDirectory, LockTimeout and Logger have a
// meaning. A spool that is full is not waited for: [ErrFull]. Nothing is created:
// where there is no spool the error matches fs.ErrNotExist. Other errors are
// those of Open.
func OpenIdle(dir string, opts *Options) (*Idle, error) {
	o := opts.withDefaults()
	o.Full = RejectNew
	nowhere, err := plug.New(idleTransport{}, o.Logger)
	if err != nil {
		return nil, err
	}
	if err := o.validate(capabilitiesBy(nowhere)); err != nil {
		return nil, err
	}
	// A look tells whether there is a spool, and makes none.
	p, err := store.Look(dir, &store.Options{TrustDirectory: o.TrustDirectory, LockTimeout: o.LockTimeout})
	var damaged *store.LedgerError
	switch {
	case err == nil:
		err = p.Close()
	case errors.As(err, &damaged):
		err = nil
	}
	if err != nil {
		return nil, ownError(err)
	}
	s := newSpool(o, nowhere)
	s.stop = func() {}
	if s.store, err = store.Open(dir, s.storeOptions(nil)); err != nil {
		return nil, ownError(err)
	}
	if err := s.recoverLanes(); err != nil {
		return nil, errors.Join(fmt.Errorf("engine: opening %s: %w", dir, err), s.store.Close())
	}
	s.endRetries()
	return &Idle{s}, nil
}

// Close closes the spool.
func (i *Idle) Close() error { return i.s.Close() }

// Stats is as of [Spool.Stats].
func (i *Idle) Stats() Stats { return i.s.Stats() }

// DeadLetters is as of [Spool.DeadLetters].
func (i *Idle) DeadLetters() iter.Seq2[DeadLetter, error] { return i.s.DeadLetters() }

// OpenDeadLetter is as of [Spool.OpenDeadLetter].
func (i *Idle) OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error) {
	return i.s.OpenDeadLetter(id)
}

// PlanRetry is as of [Spool.PlanRetry].
func (i *Idle) PlanRetry(ctx context.Context, id ingest.BatchID, how *Retry) (RetryPlan, error) {
	return i.s.PlanRetry(ctx, id, how)
}

// RetryDeadLetter is as of [Spool.RetryDeadLetter].
func (i *Idle) RetryDeadLetter(ctx context.Context, id ingest.BatchID, how *Retry) (Retried, error) {
	return i.s.RetryDeadLetter(ctx, id, how)
}

// RemoveDeadLetter is as of [Spool.RemoveDeadLetter].
func (i *Idle) RemoveDeadLetter(id ingest.BatchID) error { return i.s.RemoveDeadLetter(id) }

// idleTransport is that of a spool that delivers nothing. What its tables can
// have is for the program to say that delivers.
type idleTransport struct{}

func (idleTransport) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true, Blobs: true}
}

func (idleTransport) Send(context.Context, *transport.Delivery) (transport.Ack, error) {
	return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Transient, Message: "this spool delivers nothing"}
}
