package main

import (
	"context"
	"hash/crc32"
	"path/filepath"

	"kustospool/cmd/bench/internal/limit"
	"kustospool/cmd/bench/internal/spools"
	"kustospool/ingest"
)

// preallocated is as much as one segment of ours.
const preallocated = 64 << 20

// floorEngines are the physical limit, in the shapes that a store may choose.
var floorEngines = []engine{
	{"append1", "a file with a group commit, one fdatasync a group: the limit", openLog(limit.Options{Syncs: 1})},
	{"append2", "the same, with a second fdatasync of a head page: a page store's limit", openLog(limit.Options{Syncs: 2})},
	{"append-prealloc", "append1 into 64 MiB of zeros written ahead, as a ring", openLog(limit.Options{Syncs: 1, Preallocate: preallocated})},
	{"append-checked", "append-prealloc, each record checked to be one JSON line and summed first, as the engine must", openChecked},
	{"append-pipelined", "append-prealloc with two groups in flight", openLog(limit.Options{Syncs: 1, Preallocate: preallocated, InFlight: 2})},
	{"append-nosync", "negative control: append1 without fdatasync", openLog(limit.Options{})},
}

type logPeer struct{ *limit.Log }

func (p logPeer) Put(ctx context.Context, data []byte) error { return p.Append(ctx, data) }

func openLog(o limit.Options) func(context.Context, string) (peer, error) {
	return func(_ context.Context, dir string) (peer, error) {
		l, err := limit.Create(filepath.Join(dir, "log"), o)
		return logPeer{l}, err
	}
}

// checkedPeer is the limit of whoever looks at the bytes that are kept: each
// record is read once to refuse what is not one JSON object on a line, and
// once for its checksum.
type checkedPeer struct {
	logPeer
	of ingest.Properties
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (p *checkedPeer) Put(ctx context.Context, data []byte) error {
	data, err := p.of.Record(data)
	if err != nil {
		return err
	}
	// The sum goes nowhere: its work is what is measured.
	_ = crc32.Checksum(data, castagnoli)
	return p.logPeer.Put(ctx, data)
}

func openChecked(_ context.Context, dir string) (peer, error) {
	l, err := limit.Create(filepath.Join(dir, "log"), limit.Options{Syncs: 1, Preallocate: preallocated})
	return &checkedPeer{logPeer{l}, spools.Properties(0)}, err
}
