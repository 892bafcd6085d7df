package main

import (
	"bytes"
	"context"
	"errors"
	"io"

	"kustospool/cmd/kustospool/internal/input"
	"kustospool/engine"
)

// readChunks reads one input to its end, behind what an earlier run has stored
// of it, and reports whether to go on with the next.
func readChunks(ctx context.Context, place int, src *input.Source, resumed *resumption, chunks chan<- *chunk, free chan *chunk) bool {
	if resumed.whole || src.Whole() || src.Archive() {
		select {
		case <-free:
			return give(ctx, chunks, &chunk{input: place, whole: src, first: true})
		case <-ctx.Done():
			return false
		}
	}
	r, err := src.Open()
	if err == nil && resumed.from > 0 {
		if err = r.SkipTo(resumed.from); err != nil {
			err = errors.Join(err, r.Close())
		}
	}
	if err != nil {
		give(ctx, chunks, &chunk{input: place, err: err})
		return false
	}
	at, first := resumed.from, true
	var ahead *input.Item
	for {
		var k *chunk
		select {
		case k = <-free:
		case <-ctx.Done():
			return false
		}
		if k.lent {
			k.data = nil
		}
		*k = chunk{input: place, data: k.data[:0], ends: k.ends[:0], offsets: k.offsets[:0], at: at, first: first}
		before, skippedBefore := r.Counts(), r.FirstSkipped()
		ahead, err = fill(k, r, src.Stream(), ahead)
		k.counts = r.Counts().Sub(before)
		if skippedBefore == nil {
			k.skipped = r.FirstSkipped()
		}
		at, first = k.at, false
		if resumed.name != "" {
			k.head, k.begins = r.Head(), r.Beginning(k.at)
		}
		ended := err == io.EOF
		if ended {
			err = r.Close()
		} else if err != nil {
			err = errors.Join(err, r.Close())
		}
		k.err, k.last = err, ended
		lent := k.lent
		if !give(ctx, chunks, k) || err != nil {
			return false
		}
		if ended {
			return true
		}
		if lent && !allStored(ctx, free) {
			return false
		}
	}
}

// fill reads records into k until it is full, or until the next record of a
// stream may be long in coming. A large record goes alone, because together
// they may be more than one call takes: it is given back where k has some
// already, and comes as ahead to the next chunk.
func fill(k *chunk, r *input.Reader, stream bool, ahead *input.Item) (*input.Item, error) {
	size := 0
	for size < chunkBytes && len(k.ends) < chunkRecords && len(k.refused) < chunkRefused {
		var rec input.Item
		if ahead != nil {
			rec, ahead = *ahead, nil
		} else {
			var err error
			if rec, err = r.Next(); err != nil {
				return nil, err
			}
		}
		if size > 0 && len(rec.Data) > chunkBytes {
			return &rec, nil
		}
		size += len(rec.Data)
		k.at = r.Offset()
		if rec.Why != "" {
			k.refused = append(k.refused, engine.Refused{Data: bytes.Clone(rec.Data), Why: rec.Why})
			k.refusedAt = append(k.refusedAt, k.at)
		} else {
			if len(k.ends) == 0 && len(rec.Data) > chunkBytes {
				k.data, k.lent = rec.Data, true
			} else {
				k.data = append(k.data, rec.Data...)
			}
			k.ends = append(k.ends, len(k.data))
			k.offsets = append(k.offsets, k.at)
		}
		if stream && !r.Ready() {
			return nil, nil
		}
	}
	return nil, nil
}

// allStored waits until no chunk is being stored: the last one has a record that
// the reader's next call would overwrite. A copy of it would be one more record in memory.
func allStored(ctx context.Context, free chan *chunk) bool {
	var all [chunksAhead]*chunk
	for i := range all {
		select {
		case all[i] = <-free:
		case <-ctx.Done():
			return false
		}
	}
	for _, k := range all {
		free <- k
	}
	return true
}

func give(ctx context.Context, chunks chan<- *chunk, k *chunk) bool {
	select {
	case chunks <- k:
		return true
	case <-ctx.Done():
		return false
	}
}
