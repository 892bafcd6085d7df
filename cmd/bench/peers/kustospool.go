package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	spool "kustospool/engine"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// quota is never reached: only the way in is measured.
const quota = 1 << 40

var kustospoolEngines = []engine{
	{"kustospool", "engine Table.Ingest, one table, a destination that never answers", openSpool},
	{"kustospool-all100", "engine Table.IngestAll, 100 records a call; calls are counted", openHundred},
	{"kustospool-store", "store AppendOne, one lane", openStore(1, store.Options{})},
	{"kustospool-s2", "the same, with frames compressed on disk", openStore(1, store.Options{Compression: store.S2})},
	{"kustospool-lanes1000", "store AppendOne, 1000 lanes in turn", openStore(1000, store.Options{})},
	{"kustospool-nosync", "negative control: the store with every fsync left out", openStore(1, store.Options{NoSync: true})},
}

// spoolPeer is the whole engine.
type spoolPeer struct {
	spool *spool.Spool
	table *spool.Table
}

func openSpool(ctx context.Context, dir string) (peer, error) {
	s, err := spool.Open(dir, silent{}, &spool.Options{MaxDiskBytes: quota})
	if err != nil {
		return nil, err
	}
	table, err := s.Table(properties(0))
	if err == nil {
		// The first record makes the lane.
		_, err = table.Ingest(ctx, []byte("{}"))
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &spoolPeer{s, table}, nil
}

func (p *spoolPeer) Put(ctx context.Context, data []byte) error {
	_, err := p.table.Ingest(ctx, data)
	return err
}

func (p *spoolPeer) Close() error { return p.spool.Close() }

// hundredPeer puts each record a hundred times, in one call.
type hundredPeer struct{ *spoolPeer }

func openHundred(ctx context.Context, dir string) (peer, error) {
	p, err := openSpool(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &hundredPeer{p.(*spoolPeer)}, nil
}

func (p *hundredPeer) Put(ctx context.Context, data []byte) error {
	_, err := p.table.IngestAll(ctx, slices.Repeat([][]byte{data}, 100))
	return err
}

// storePeer is the store alone.
type storePeer struct {
	store *store.Store
	lanes []uint32
	next  atomic.Uint64
}

func openStore(lanes int, opts store.Options) func(context.Context, string) (peer, error) {
	opts.MaxBytes = quota
	return func(ctx context.Context, dir string) (peer, error) {
		s, err := store.Open(dir, &opts)
		if err != nil {
			return nil, err
		}
		p := &storePeer{store: s}
		first := make([]store.Record, lanes)
		for i := range lanes {
			props := properties(i)
			lane, err := s.Lane(ctx, &props, store.FrameLimit{})
			if err != nil {
				return nil, errors.Join(err, s.Close())
			}
			p.lanes = append(p.lanes, lane)
			first[i] = store.Record{Lane: lane, Data: []byte("{}")}
		}
		// The first record of a lane makes its bucket.
		if _, err := s.Append(ctx, first); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return p, nil
	}
}

func (p *storePeer) Put(ctx context.Context, data []byte) error {
	lane := p.lanes[p.next.Add(1)%uint64(len(p.lanes))]
	_, err := p.store.AppendOne(ctx, lane, data, "")
	return err
}

func (p *storePeer) Close() error { return p.store.Close() }

func properties(table int) ingest.Properties {
	return ingest.Properties{Database: "Bench", Table: fmt.Sprintf("T%d", table), Format: ingest.JSON}
}

// silent is a destination that never answers.
type silent struct{}

var _ transport.Transport = silent{}

func (silent) Send(ctx context.Context, _ *transport.Delivery) (transport.Ack, error) {
	<-ctx.Done()
	return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Transient, Err: ctx.Err()}
}

func (silent) Capabilities() transport.Capabilities { return transport.Capabilities{ExactlyOnce: true} }
