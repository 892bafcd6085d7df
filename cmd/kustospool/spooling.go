package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"kustospool/cmd/kustospool/internal/input"
	"kustospool/cmd/kustospool/internal/snapshot"
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
	chunksAhead  = 2 // one is filled while one is stored
)

// chunk is a run of records of one input, or a whole input that is one object.
// The records lie one after the other in data and end at ends.
type chunk struct {
	input   int // its place in the command
	whole   *input.Source
	data    []byte
	ends    []int
	large   []byte           // a record behind those, in the reader's own buffer
	refused []engine.Refused // what of the input is to become dead letters
	counts  record.Counts    // of the input, from the last chunk to this one
	skipped error            // the first of what was passed over
	last    bool             // of its input
	err     error            // of the input, behind the records
}

// intake is what is being stored in one run. It belongs to the goroutine that
// stores, until that has ended; only stored is for others to look at.
type intake struct {
	sources []input.Source
	tables  map[ingest.Format]*engine.Table
	inputs  []inputReport // of the sources, and behind them those of blobs
	cuts    report        // what was cut out of the inputs
	stored  atomic.Int64  // records
}

// add counts records of an input.
func (in *intake) add(i int, records int64) {
	in.inputs[i].Records += records
	in.stored.Add(records)
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

// spool makes the records of all sources durable, in their order. One
// goroutine reads ahead of the one that stores, so that the disk is never
// waited for twice.
//
// The reading goroutine is joined, unless it may be waiting for a stream: a
// read of standard input cannot be broken off, and the process ends next.
func (in *intake) spool(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan *chunk)
	free := make(chan *chunk, chunksAhead)
	for range chunksAhead {
		free <- new(chunk)
	}
	go func() {
		defer close(chunks)
		for i := range in.sources {
			if !readChunks(ctx, i, &in.sources[i], chunks, free) {
				return
			}
		}
	}()
	defer func() {
		cancel()
		if !slices.ContainsFunc(in.sources, func(s input.Source) bool { return s.Stream() }) {
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
			if err := in.store(ctx, k); err != nil {
				if ctx.Err() == nil {
					in.failed(k.input, err)
				}
				return err
			}
			free <- k
		}
	}
}

// store makes a chunk durable and counts it; then the input's error, if it
// had one, comes to light.
func (in *intake) store(ctx context.Context, k *chunk) error {
	table := in.tables[in.sources[k.input].Format]
	if k.whole != nil {
		n, err := in.whole(ctx, table, k.whole)
		if err != nil {
			return err
		}
		in.add(k.input, n)
		in.ended(k.input)
		return nil
	}
	if err := in.storeAll(ctx, table, k.input, k.records()); err != nil {
		return err
	}
	if k.large != nil {
		// It goes alone: together they may be more than one call takes.
		if err := in.storeAll(ctx, table, k.input, [][]byte{k.large}); err != nil {
			return err
		}
	}
	if len(k.refused) > 0 {
		if _, err := table.DeadLetter(ctx, k.refused...); err != nil {
			return err
		}
		in.add(k.input, int64(len(k.refused)))
	}
	in.cuts.cut(k.counts, int64(len(k.refused)), k.skipped)
	if k.err == nil && k.last {
		in.ended(k.input)
	}
	return k.err
}

// storeAll makes records of an input durable. Where one of them cannot be had
// at all, those before it are.
func (in *intake) storeAll(ctx context.Context, table *engine.Table, i int, records [][]byte) error {
	_, err := table.IngestAll(ctx, records)
	if err == nil {
		in.add(i, int64(len(records)))
	}
	if !errors.Is(err, ingest.ErrInvalid) {
		return err
	}
	for _, rec := range records {
		if _, err := table.Ingest(ctx, rec); err != nil {
			if errors.Is(err, ingest.ErrInvalid) {
				err = &input.Error{File: in.inputs[i].Name, Err: fmt.Errorf("behind record %d: %w", in.inputs[i].Records, err)}
			}
			return err
		}
		in.add(i, 1)
	}
	return nil
}

// ended notes that all of an input is stored, and whether it is still what was
// checked.
func (in *intake) ended(i int) {
	in.inputs[i].Whole = true
	if change := in.sources[i].Changed(); change != nil {
		in.inputs[i].Change = change.Error()
	}
}

// failed notes why an input is not stored to its end.
func (in *intake) failed(i int, err error) {
	in.inputs[i].Why = inFlags(err)
	var (
		change *snapshot.ChangeError
		bad    *input.Error
	)
	// After an error of its own nobody reads the input any more.
	if errors.As(err, &change) || errors.As(err, &bad) && errors.As(in.sources[i].Changed(), &change) {
		in.inputs[i].Change = change.Error()
	}
}

// whole makes an object durable, of whatever size, or all that an archive
// holds.
func (in *intake) whole(ctx context.Context, table *engine.Table, src *input.Source) (records int64, err error) {
	if src.Archive() {
		if err := src.Changed(); err != nil {
			return 0, &input.Error{File: src.Name, Err: err}
		}
		receipt, err := table.IngestFile(ctx, src.Name)
		bad, isBad := errors.AsType[*engine.RecordError](err)
		switch {
		case ctx.Err() != nil, errors.Is(err, engine.ErrFull), errors.Is(err, engine.ErrFailed), errors.Is(err, engine.ErrOutcomeUnknown):
			return 0, err // the spool's, not the file's
		case isBad:
			return 0, &input.Error{File: bad.Source, Line: bad.Line, Err: bad.Err}
		case err != nil:
			return 0, &input.Error{File: src.Name, Err: err}
		}
		refused := int64(0)
		if src.OnBadRecord == engine.DeadLetterBadRecords {
			refused = receipt.Bad
		}
		in.cuts.cut(record.Counts{Bad: receipt.Bad, Blank: receipt.Blank, Marks: receipt.Marks}, refused, nil)
		return receipt.Records + refused, nil
	}
	b, err := src.Bytes()
	if err != nil {
		return 0, err
	}
	_, err = table.IngestReader(ctx, b)
	return 1, errors.Join(err, b.Close())
}

// readChunks reads one input to its end, and reports whether to go on with
// the next.
func readChunks(ctx context.Context, place int, src *input.Source, chunks chan<- *chunk, free chan *chunk) bool {
	if src.Whole() || src.Archive() {
		select {
		case <-free:
			return give(ctx, chunks, &chunk{input: place, whole: src})
		case <-ctx.Done():
			return false
		}
	}
	r, err := src.Open()
	if err != nil {
		give(ctx, chunks, &chunk{input: place, err: err})
		return false
	}
	for {
		var k *chunk
		select {
		case k = <-free:
		case <-ctx.Done():
			return false
		}
		*k = chunk{input: place, data: k.data[:0], ends: k.ends[:0], refused: k.refused[:0]}
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
		k.err, k.last = err, ended
		large := k.large != nil
		if !give(ctx, chunks, k) || err != nil {
			return false
		}
		if ended {
			return true
		}
		if large && !allStored(ctx, free) {
			return false
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
		} else if len(rec.Data) > chunkBytes {
			k.large = rec.Data
			return nil
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

// report is what the report says of the inputs.
func (in *intake) report() report {
	r := in.cuts
	r.Read, r.Inputs = in.stored.Load(), in.inputs
	return r
}

// spoolAll runs work, which stores the input, to its end or to one of the
// other endings: there is no room in the spool for as long as --timeout says,
// or none can come because all that is in it waits for an operator.
func (x *session) spoolAll(ctx context.Context, in *intake, expect int64, work func(context.Context) error) (ending, error) {
	before := int64(-1)
	return attend(ctx, x.c.begin("spooled", "records", expect), &x.patience, work, func() view {
		v := view{n: in.stored.Load()}
		stats := x.spool.Stats()
		if v.waiting = stats.WaitingForRoom > 0 && v.n == before; v.waiting {
			lanes := x.spool.Lanes()
			v.stuck = allHeld(lanes, x.begun, true)
			v.note = "spool full, waiting for room"
			if why := obstacle(stats, lanes); why != "" {
				v.note += ": " + why
			}
		}
		before = v.n
		return v
	})
}
