package main

import (
	"context"
	"errors"
	"fmt"
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
	lent    bool // data is one large record in the reader's own buffer
	ends    []int
	refused []engine.Refused // what of the input is to become dead letters
	counts  record.Counts    // of the input, from the last chunk to this one
	skipped error            // the first of what was passed over
	last    bool             // of its input
	err     error            // of the input, behind the records
	first   bool             // of its input

	// Where the input is continued behind the chunk, and behind each of its
	// records and what is refused; 0 where nothing was taken.
	at        int64
	begins    input.Beginning
	offsets   []int64
	refusedAt []int64
	head      []byte // enough of the input's beginning for a mark within the chunk
}

// intake is what is being stored in one run. It belongs to the goroutine that
// stores, until that has ended; only stored is for others to look at.
type intake struct {
	sources []input.Source
	spooled *engine.Spool
	resumed []resumption // of each source
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
			if !readChunks(ctx, i, &in.sources[i], &in.resumed[i], chunks, free) {
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

// store makes a chunk durable in one commit, with what is to become dead
// letters and with the mark of the input, and counts it; then the input's
// error, if it had one, comes to light.
func (in *intake) store(ctx context.Context, k *chunk) error {
	src, r := &in.sources[k.input], &in.resumed[k.input]
	table := in.tables[src.Format]
	if k.first {
		if err := makeRoom(ctx, in.spooled, r.name); err != nil {
			return err
		}
	}
	switch {
	case r.whole:
		in.ended(k.input)
		return nil
	case k.whole != nil:
		n, err := in.whole(ctx, table, k.whole, r)
		if err != nil {
			return err
		}
		in.add(k.input, n)
		in.ended(k.input)
		return nil
	}
	done := k.err == nil && k.last
	at, err := r.position(k.at, k.begins, done)
	if err != nil {
		return err
	}
	if len(k.ends)+len(k.refused) > 0 || done && len(at) > 0 {
		if err := in.storeAll(ctx, table, k, at); err != nil {
			return err
		}
	}
	in.cuts.cut(k.counts, int64(len(k.refused)), k.skipped)
	if done {
		in.ended(k.input)
	}
	return k.err
}

// storeAll makes a chunk durable. Where a record of it cannot be had at all,
// those before it are.
func (in *intake) storeAll(ctx context.Context, table *engine.Table, k *chunk, at []ingest.Position) error {
	records, r := k.records(), &in.resumed[k.input]
	_, err := table.IngestSorted(ctx, records, k.refused, at...)
	if err == nil {
		in.add(k.input, int64(len(records)+len(k.refused)))
	}
	if !errors.Is(err, ingest.ErrInvalid) {
		return err
	}
	refused := 0
	for i, rec := range records {
		from := refused
		for refused < len(k.refused) && k.refusedAt[refused] < k.offsets[i] {
			refused++
		}
		one, err := r.position(k.offsets[i], input.BeginningOf(k.head[:min(k.offsets[i], int64(len(k.head)))]), false)
		if err != nil {
			return err
		}
		if _, err := table.IngestSorted(ctx, [][]byte{rec}, k.refused[from:refused], one...); err != nil {
			if errors.Is(err, ingest.ErrInvalid) {
				err = &input.Error{File: in.inputs[k.input].Name, Err: fmt.Errorf("behind record %d: %w", in.inputs[k.input].Records, err)}
			}
			return err
		}
		in.add(k.input, int64(1+refused-from))
	}
	// Together they were more than one call takes.
	if _, err := table.IngestSorted(ctx, nil, k.refused[refused:], at...); err != nil {
		return err
	}
	in.add(k.input, int64(len(k.refused)-refused))
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
func (in *intake) whole(ctx context.Context, table *engine.Table, src *input.Source, r *resumption) (records int64, err error) {
	var at []ingest.Position
	if r.name != "" {
		begins, err := src.Beginning(input.BeginningBytes)
		if err != nil {
			return 0, err
		}
		if at, err = r.position(src.Size(), begins, true); err != nil {
			return 0, err
		}
	}
	if src.Archive() {
		if err := src.Changed(); err != nil {
			return 0, &input.Error{File: src.Name, Err: err}
		}
		receipt, err := table.IngestFile(ctx, src.Name, at...)
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
	_, err = table.IngestReader(ctx, b, at...)
	return 1, errors.Join(err, b.Close())
}

// report is what the report says of the inputs.
func (in *intake) report() report {
	r := in.cuts
	r.Read, r.Inputs = in.stored.Load(), in.inputs
	for i := range in.inputs {
		if in.inputs[i].Records > 0 && (i >= len(in.sources) || in.sources[i].Stream()) {
			r.repeats = true
		}
	}
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
			v.stuck = allHeld(&stats, x.begun, true)
			v.note = "spool full, waiting for room"
			if why := obstacle(&stats); why != "" {
				v.note += ": " + why
			}
		}
		before = v.n
		return v
	})
}
