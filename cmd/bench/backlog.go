package main

import (
	"context"
	"errors"

	"kustospool/cmd/bench/internal/spools"
	"kustospool/cmd/bench/telemetry"
	"kustospool/ingest"
	"kustospool/store"
)

// drainBatch is the raw size of the batches that a backlog to be drained is
// sealed in: enough of them for all processors.
const drainBatch = 8 << 20

// backlog is what fillBacklog puts into a spool.
type backlog struct {
	size  int64 // raw bytes
	batch int64 // raw bytes of a batch
	lanes int   // default 1; frames of theirs lie in turn
	frame int   // records of a frame, default backlogText
}

// backlogText is how many records of a lane differ: making them takes longer
// than storing them. Their text has to be longer than what gzip looks back, 32 KiB.
const backlogText = 4096

// fillBacklog puts telemetry into a spool at dir, sealed in batches, and gives
// their rows in the order in which they filled. Nothing is fsynced on the way:
// how fast records come in is not what is measured with it.
func fillBacklog(ctx context.Context, dir string, b backlog) (batches []store.Entry, err error) {
	b.lanes = max(b.lanes, 1)
	if b.frame == 0 {
		b.frame = backlogText
	}
	open := make(map[uint32]*store.Seal)
	var done []store.Seal
	s, err := store.Open(dir, &store.Options{MaxBytes: 1 << 40, NoSync: true, Committed: func(frames []store.Frame) {
		for _, f := range frames {
			seal := open[f.Lane]
			if seal == nil {
				seal = &store.Seal{Lane: f.Lane, First: f.First, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}
				open[f.Lane] = seal
			}
			seal.Last = f.Last
			if seal.Bytes += f.Bytes; seal.Bytes >= b.batch {
				done = append(done, *seal)
				delete(open, f.Lane)
			}
		}
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	g := telemetry.New(1)
	recs := make([]store.Record, max(b.frame, backlogText)*b.lanes)
	lanes := make([]uint32, b.lanes)
	for i := range lanes {
		props := spools.Properties(i)
		if lanes[i], err = s.Lane(ctx, &props, store.FrameLimit{}); err != nil {
			return nil, err
		}
	}
	for i := range recs {
		recs[i] = store.Record{Lane: lanes[i%b.lanes], Data: g.Append(nil)}
	}
	call := b.frame * b.lanes
	for at := 0; s.Stats().AckedBytes < b.size; at += call {
		if at+call > len(recs) {
			at = 0
		}
		if _, err := s.Append(ctx, recs[at:at+call]); err != nil {
			return nil, err
		}
	}
	for _, lane := range lanes {
		if seal := open[lane]; seal != nil {
			done = append(done, *seal)
		}
	}
	if len(done) == 0 {
		return nil, nil
	}
	return s.Seal(ctx, done)
}
