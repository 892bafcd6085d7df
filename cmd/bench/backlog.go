package main

import (
	"context"
	"errors"

	"kustospool/cmd/bench/telemetry"
	"kustospool/ingest"
	"kustospool/store"
)

// drainBatch is the raw size of the batches that a backlog to be drained is
// sealed in: enough of them for all processors.
const drainBatch = 8 << 20

// fillBacklog puts about size bytes of telemetry into a spool at dir, sealed
// in batches of a raw size, and gives their rows. Nothing is fsynced on the way: how fast
// records come in is not what is measured with it.
func fillBacklog(ctx context.Context, dir string, size, batch int64) (batches []store.Entry, err error) {
	var open, done []store.Seal
	s, err := store.Open(dir, &store.Options{MaxBytes: 1 << 40, NoSync: true, Committed: func(frames []store.Frame) {
		for _, f := range frames {
			if n := len(open); n == 0 {
				open = append(open, store.Seal{Lane: f.Lane, First: f.First, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
			}
			open[0].Last = f.Last
			if open[0].Bytes += f.Bytes; open[0].Bytes >= batch {
				done, open = append(done, open[0]), open[:0]
			}
		}
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	lane, err := s.Lane(ctx, &ingest.Properties{Database: "Bench", Table: "T", Format: ingest.JSON}, store.FrameLimit{})
	if err != nil {
		return nil, err
	}
	// The same few thousand records again and again: making them takes longer than storing them.
	g := telemetry.New(1)
	recs := make([]store.Record, 4096)
	for i := range recs {
		recs[i] = store.Record{Lane: lane, Data: g.Append(nil)}
	}
	for s.Stats().AckedBytes < size {
		if _, err := s.Append(ctx, recs); err != nil {
			return nil, err
		}
	}
	if done = append(done, open...); len(done) == 0 {
		return nil, nil
	}
	return s.Seal(ctx, done)
}
