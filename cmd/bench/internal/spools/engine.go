package spools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"kustospool/cmd/bench/internal/load"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
)

// EngineOptions of [OpenEngine].
type EngineOptions struct {
	Space  Space
	Tables int // from 1; records go to them in turn
	// Transport, where it is set, is the destination on fresh space, in place
	// of one that never answers. Recycled space has one that takes.
	Transport transport.Transport
	// Engine's MaxDiskBytes and, on recycled space, Batch.MaxBytes are set by OpenEngine.
	Engine engine.Options
}

// Engine is the whole way in. Put and PutAll may be called from many goroutines.
type Engine struct {
	spool  *engine.Spool
	tables []*engine.Table
	next   atomic.Uint64
}

// OpenEngine opens a spool in dir, which on recycled space is empty.
func OpenEngine(ctx context.Context, dir string, o EngineOptions) (_ *Engine, err error) {
	if o.Tables < 1 {
		return nil, fmt.Errorf("spools: %d tables, want at least 1", o.Tables)
	}
	o.Engine.MaxDiskBytes = Quota
	var to transport.Transport = Silent{}
	switch {
	case o.Space == Recycled:
		to = Taking{}
		o.Engine.Batch.MaxBytes = takeBytes
	case o.Transport != nil:
		to = o.Transport
	}
	s := &Engine{}
	if s.spool, err = engine.Open(dir, to, &o.Engine); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for i := range o.Tables {
		table, err := s.spool.Table(Properties(i))
		if err != nil {
			return nil, err
		}
		s.tables = append(s.tables, table)
		// The first record of a table makes its lane, which is not what is measured.
		if _, err := table.Ingest(ctx, []byte("{}")); err != nil {
			return nil, err
		}
	}
	if o.Space == Fresh {
		return s, nil
	}
	return s, s.recycle(ctx, dir)
}

// recycle fills segments and has each taken before the next is filled.
func (s *Engine) recycle(ctx context.Context, dir string) error {
	recs := load.Records(fillCall/fillRecord, fillRecord, 2)
	for range rounds {
		for filled := 0; filled < takeBytes; filled += fillCall {
			if err := s.PutAll(ctx, recs); err != nil {
				return err
			}
		}
		if err := s.spool.Drain(ctx); err != nil {
			return err
		}
	}
	return quiet(ctx, dir, func() int64 { return s.spool.Stats().Disk.Bytes })
}

// table is the next one.
func (s *Engine) table() *engine.Table { return s.tables[s.next.Add(1)%uint64(len(s.tables))] }

// Put ingests one record.
func (s *Engine) Put(ctx context.Context, data []byte) error {
	_, err := s.table().Ingest(ctx, data)
	return err
}

// PutAll ingests records in one call, all or none.
func (s *Engine) PutAll(ctx context.Context, records [][]byte) error {
	_, err := s.table().IngestAll(ctx, records)
	return err
}

// PutHundred ingests the record a hundred times in one call.
func (s *Engine) PutHundred(ctx context.Context, data []byte) error {
	return s.PutAll(ctx, slices.Repeat([][]byte{data}, 100))
}

// Stats are the engine's.
func (s *Engine) Stats() engine.Stats { return s.spool.Stats() }

// Close closes the spool.
func (s *Engine) Close() error { return s.spool.Close() }

// Silent is a destination that never answers.
type Silent struct{}

var _ transport.Transport = Silent{}

// Send waits for its end.
func (Silent) Send(ctx context.Context, _ *transport.Delivery) (transport.Ack, error) {
	<-ctx.Done()
	return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Transient, Err: ctx.Err()}
}

// Capabilities are those of a queue with tags.
func (Silent) Capabilities() transport.Capabilities { return transport.Capabilities{ExactlyOnce: true} }

// Taking is a destination that has every batch at once, without reading it.
type Taking struct{}

var _ transport.Transport = Taking{}

// Send commits, as a transport must before rows may appear, and is done.
func (Taking) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	if err := d.Journal.Commit(ctx, nil); err != nil {
		return transport.Ack{}, &transport.Error{Op: "commit", Class: transport.Transient, Err: err}
	}
	return transport.Ack{State: ingest.Succeeded}, nil
}

// Capabilities are those of a queue with tags.
func (Taking) Capabilities() transport.Capabilities { return transport.Capabilities{ExactlyOnce: true} }
