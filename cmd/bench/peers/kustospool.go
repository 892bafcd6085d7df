package main

import (
	"context"

	"kustospool/cmd/bench/internal/spools"
	"kustospool/store"
)

// quota is never reached: only the way in is measured.
const quota = spools.Quota

// The names without -recycled are on fresh space, as those of the peers are:
// nothing is taken, every segment is new.
var kustospoolEngines = []engine{
	{"kustospool", "engine Table.Ingest, one table, a destination that never answers: fresh space", openEngine(spools.Fresh, 1, (*spools.Engine).Put)},
	{"kustospool-recycled", "the same with a destination that takes at once: space that was written before", openEngine(spools.Recycled, 1, (*spools.Engine).Put)},
	{"kustospool-all100", "engine Table.IngestAll, 100 records a call; calls are counted", openEngine(spools.Fresh, 1, (*spools.Engine).PutHundred)},
	{"kustospool-store", "store AppendOne, one lane, fresh space", openStore(spools.Fresh, 1, store.Options{})},
	{"kustospool-store-recycled", "the same with everything sealed and settled in the background", openStore(spools.Recycled, 1, store.Options{})},
	{"kustospool-s2", "kustospool-store with frames compressed on disk", openStore(spools.Fresh, 1, store.Options{Compression: store.S2})},
	{"kustospool-lanes1000", "store AppendOne, 1000 lanes in turn, fresh space", openStore(spools.Fresh, 1000, store.Options{})},
	{"kustospool-lanes1000-recycled", "the same with a batch of each lane sealed and settled for each 64 MiB", openStore(spools.Recycled, 1000, store.Options{})},
	{"kustospool-nosync", "negative control: the store with every fsync left out", openStore(spools.Fresh, 1, store.Options{NoSync: true})},
}

// enginePeer is the whole engine, by one of its calls.
type enginePeer struct {
	*spools.Engine
	put func(*spools.Engine, context.Context, []byte) error
}

func (p enginePeer) Put(ctx context.Context, data []byte) error { return p.put(p.Engine, ctx, data) }

func openEngine(space spools.Space, tables int, put func(*spools.Engine, context.Context, []byte) error) func(context.Context, string) (peer, error) {
	return func(ctx context.Context, dir string) (peer, error) {
		s, err := spools.OpenEngine(ctx, dir, spools.EngineOptions{Space: space, Tables: tables})
		if err != nil {
			return nil, err
		}
		return enginePeer{s, put}, nil
	}
}

// openStore opens the store alone.
func openStore(space spools.Space, lanes int, opts store.Options) func(context.Context, string) (peer, error) {
	return func(ctx context.Context, dir string) (peer, error) {
		s, err := spools.OpenStore(ctx, dir, spools.StoreOptions{Space: space, Lanes: lanes, Store: opts})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}
