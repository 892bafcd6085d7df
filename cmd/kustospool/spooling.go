package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"kustospool/cmd/kustospool/internal/input"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/ingest/record"
)

// A chunk is what one IngestAll makes durable: enough for the fsync not to
// matter, and little enough for progress to move.
const (
	chunkBytes   = 1 << 20
	chunkRecords = 1000
	chunkRefused = 100
)

// chunk is a run of records of one input, or a whole input that is one object.
// The records lie one after the other in data and end at ends.
type chunk struct {
	whole   *input.Source
	format  ingest.Format
	data    []byte
	ends    []int
	refused []engine.Refused // what of the input is to become dead letters
	counts  record.Counts    // of the input, from the last chunk to this one
	skipped error            // the first of what was passed over
	err     error            // of the input, behind the records
}

func (k *chunk) records() [][]byte {
	out := make([][]byte, len(k.ends))
	begin := 0
	for i, end := range k.ends {
		out[i] = k.data[begin:end:end]
		begin = end
	}
	return out
}

// spoolAll makes the records of all inputs durable, in their order. One
// goroutine reads ahead of the one that stores, so that the disk is never
// waited for twice. r.Read and r.Blank count as it goes.
//
// The reading goroutine is joined, unless it may be waiting for a stream: a
// read of standard input cannot be broken off, and the process ends next.
func spoolAll(ctx context.Context, tables map[ingest.Format]*engine.Table, sources []input.Source, r *report, p *progress) error {
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan *chunk)
	free := make(chan *chunk, 2)
	free <- new(chunk)
	free <- new(chunk)
	go func() {
		defer close(chunks)
		for i := range sources {
			if !readChunks(ctx, &sources[i], chunks, free) {
				return
			}
		}
	}()
	defer func() {
		cancel()
		if !slices.ContainsFunc(sources, func(s input.Source) bool { return s.Stream() }) {
			for range chunks {
				// Nothing of it was acknowledged or counted.
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case k, ok := <-chunks:
			if !ok {
				return ctx.Err()
			}
			if err := ingestChunk(ctx, tables[k.format], k, r); err != nil {
				return err
			}
			p.at(r.Read, "")
			free <- k
		}
	}
}

// ingestChunk makes a chunk durable and counts it; then the input's error, if it
// had one, comes to light.
func ingestChunk(ctx context.Context, table *engine.Table, k *chunk, r *report) error {
	if k.whole != nil {
		return ingestWhole(ctx, table, k.whole, r)
	}
	records := k.records()
	if last := len(records) - 1; last > 0 && len(records[last]) > chunkBytes {
		// A large record goes alone: together they may be more than one call takes.
		if _, err := table.IngestAll(ctx, records[:last]); err != nil {
			return err
		}
		r.Read += int64(last)
		records = records[last:]
	}
	if len(records) > 0 {
		if _, err := table.IngestAll(ctx, records); err != nil {
			return err
		}
		r.Read += int64(len(records))
	}
	if len(k.refused) > 0 {
		if _, err := table.DeadLetter(ctx, k.refused...); err != nil {
			return err
		}
		r.Read += int64(len(k.refused))
	}
	r.cut(k.counts, int64(len(k.refused)), k.skipped)
	return k.err
}

// ingestWhole makes an object durable, of whatever size, or all that an archive
// holds.
func ingestWhole(ctx context.Context, table *engine.Table, src *input.Source, r *report) error {
	if src.Archive() {
		receipt, err := table.IngestFile(ctx, src.Name)
		bad, isBad := errors.AsType[*engine.RecordError](err)
		switch {
		case ctx.Err() != nil, errors.Is(err, engine.ErrFull), errors.Is(err, engine.ErrFailed), errors.Is(err, engine.ErrOutcomeUnknown):
			return err // the spool's, not the file's
		case isBad:
			return &input.Error{File: bad.Source, Line: bad.Line, Err: bad.Err}
		case err != nil:
			return &input.Error{File: src.Name, Err: err}
		}
		refused := int64(0)
		if src.OnBadRecord == engine.DeadLetterBadRecords {
			refused = receipt.Bad
		}
		r.Read += receipt.Records + refused
		r.cut(record.Counts{Bad: receipt.Bad, Blank: receipt.Blank, Marks: receipt.Marks}, refused, nil)
		return nil
	}
	b, err := src.Bytes()
	if err != nil {
		return err
	}
	_, err = table.IngestReader(ctx, b)
	if err == nil {
		r.Read++
	}
	return errors.Join(err, b.Close())
}

// readChunks reads one input to its end, and reports whether to go on with
// the next.
func readChunks(ctx context.Context, src *input.Source, chunks chan<- *chunk, free <-chan *chunk) bool {
	if src.Whole() || src.Archive() {
		select {
		case <-free:
			return give(ctx, chunks, &chunk{format: src.Format, whole: src})
		case <-ctx.Done():
			return false
		}
	}
	r, err := src.Open()
	if err != nil {
		give(ctx, chunks, &chunk{format: src.Format, err: err})
		return false
	}
	for {
		var k *chunk
		select {
		case k = <-free:
		case <-ctx.Done():
			return false
		}
		*k = chunk{format: src.Format, data: k.data[:0], ends: k.ends[:0], refused: k.refused[:0]}
		if cap(k.data) > 4*chunkBytes {
			k.data = nil // one large record is no reason to keep its room
		}
		before, skippedBefore := r.Counts(), r.FirstSkipped()
		err := fill(k, r, src.Stream())
		k.counts = r.Counts().Sub(before)
		if skippedBefore == nil {
			k.skipped = r.FirstSkipped()
		}
		ended := err == io.EOF
		if ended {
			err = r.Close()
		} else if err != nil {
			err = errors.Join(err, r.Close())
		}
		k.err = err
		if !give(ctx, chunks, k) || err != nil {
			return false
		}
		if ended {
			return true
		}
	}
}

// fill reads records into k until it is full, or until the next record of a
// stream may be long in coming.
func fill(k *chunk, r *input.Reader, stream bool) error {
	for len(k.data) < chunkBytes && len(k.ends) < chunkRecords {
		rec, err := r.Next()
		if err != nil {
			return err
		}
		if rec.Why != "" {
			k.refused = append(k.refused, engine.Refused{Data: bytes.Clone(rec.Data), Why: rec.Why})
			if len(k.refused) == chunkRefused || len(rec.Data) > chunkBytes {
				return nil
			}
		} else {
			k.data = append(k.data, rec.Data...)
			k.ends = append(k.ends, len(k.data))
		}
		if stream && !r.Ready() {
			return nil
		}
	}
	return nil
}

func give(ctx context.Context, chunks chan<- *chunk, k *chunk) bool {
	select {
	case chunks <- k:
		return true
	case <-ctx.Done():
		return false
	}
}
