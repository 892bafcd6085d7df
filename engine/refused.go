package engine

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"

	"kustospool/engine/internal/lock"
	"kustospool/ingest"
	"kustospool/ingest/record"
	"kustospool/store"
)

// BadRecordPolicy says what becomes of bad records: bytes of a source that are no
// record, such as a torn line of JSON or a quote that is never closed. Sources are
// [Spool.IngestReader], [Spool.IngestFile] and [Table.Writer]. A bad record that is
// given to Ingest is refused whatever the policy.
type BadRecordPolicy uint8

const (
	// StopAtBadRecord refuses the whole source, with a [*RecordError]; a Writer
	// takes nothing after it.
	StopAtBadRecord BadRecordPolicy = iota + 1
	// SkipBadRecords passes over them and counts them (Receipt.Bad).
	SkipBadRecords
	// DeadLetterBadRecords makes each durable with the source, as a batch of its own
	// that becomes a dead letter at once. It counts as acknowledged and as
	// dead-lettered, and its reason names source and line.
	DeadLetterBadRecords
)

// String is "stop", "skip" or "dead-letter".
func (p BadRecordPolicy) String() string {
	switch p {
	case StopAtBadRecord:
		return "stop"
	case SkipBadRecords:
		return "skip"
	case DeadLetterBadRecords:
		return "dead-letter"
	}
	return fmt.Sprintf("bad record policy(%d)", uint8(p))
}

// ParseBadRecordPolicy reads what String writes.
func ParseBadRecordPolicy(s string) (BadRecordPolicy, error) {
	for p := StopAtBadRecord; p <= DeadLetterBadRecords; p++ {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, &ingest.FieldError{Field: "bad record policy", Value: fmt.Sprintf("%.64q", s), Rule: "must be stop, skip or dead-letter"}
}

// RecordError is about one bad record of a source, or about the whole source. It
// matches [ingest.ErrInvalid].
type RecordError struct {
	Source string // the file's path, with that in the archive behind a slash; empty for a reader
	Line   int64  // from 1; 0 where the error is about the whole source
	Err    error
}

// Error is source, line and rule, in the form editors understand.
func (e *RecordError) Error() string {
	switch {
	case e.Source == "" && e.Line == 0:
		return e.Err.Error()
	case e.Source == "":
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	case e.Line == 0:
		return fmt.Sprintf("%s: %v", e.Source, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.Source, e.Line, e.Err)
}

// reason is the error without the bytes themselves, which a dead letter holds.
func (e *RecordError) reason(fault *record.Fault) string {
	place := RecordError{Source: e.Source, Line: e.Line, Err: fault}
	return place.Error()
}

// Unwrap is the rule.
func (e *RecordError) Unwrap() error { return e.Err }

// Is makes every RecordError match [ingest.ErrInvalid].
func (e *RecordError) Is(target error) bool { return target == ingest.ErrInvalid }

// Refused is data that is not to be delivered, and why.
type Refused struct {
	Data []byte // 1 to [ingest.MaxRecordBytes] bytes
	// Why is the dead letter's reason. It should name where Data is from. At most
	// 1024 bytes of it are kept.
	Why string
}

// maxWhy bounds a reason.
const maxWhy = 1024

// DeadLetter makes data durable that is not to be delivered, each piece as a dead
// letter. A piece counts as acknowledged at once, and as dead-lettered as soon as
// its files are written. All of it is stored or nothing; the errors are those of
// IngestAll.
func (t *Table) DeadLetter(ctx context.Context, refused ...Refused) ([]ingest.Receipt, error) {
	return t.IngestSorted(ctx, nil, refused)
}

// IngestSorted is IngestAll of the records and DeadLetter of the refused in one
// transaction, with the positions: all of it is stored or nothing. It returns the
// receipts of the records, followed by those of the refused.
func (t *Table) IngestSorted(ctx context.Context, records [][]byte, refused []Refused, at ...ingest.Position) ([]ingest.Receipt, error) {
	if len(refused) == 0 {
		return t.IngestAll(ctx, records, at...)
	}
	if err := t.s.admit(ctx); err != nil {
		return nil, err
	}
	checked := make([][]byte, len(records))
	for i, data := range records {
		var err error
		if checked[i], err = t.s.check(&t.p, data, ""); err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
	}
	return t.storeSorted(ctx, checked, refused, at)
}

// storeSorted is IngestSorted of records that were checked.
func (t *Table) storeSorted(ctx context.Context, records [][]byte, refused []Refused, at []ingest.Position) ([]ingest.Receipt, error) {
	recs := make([]store.Record, 0, len(records)+len(refused))
	if len(records) > 0 {
		l, err := t.found(ctx)
		if err != nil {
			return nil, err
		}
		for _, data := range records {
			recs = append(recs, store.Record{Lane: l.id, Data: data})
		}
	}
	if len(refused) > 0 {
		p := refusedProperties(&t.p)
		for i := range refused { // before there is a lane for them
			data, err := p.Record(refused[i].Data)
			if err != nil {
				return nil, fmt.Errorf("refused record %d: %w", i, err)
			}
			recs = append(recs, store.Record{Data: data})
		}
		l, err := t.s.lane(ctx, &p)
		if err != nil {
			return nil, err
		}
		for i := len(records); i < len(recs); i++ {
			recs[i].Lane = l.id
		}
	}
	forget := t.s.refusals.note(refused)
	receipts, err := t.s.ingestAll(ctx, recs, at...)
	if err != nil {
		forget()
	}
	return receipts, err
}

// refusedProperties are those of the lane whose records become dead letters.
func refusedProperties(p *ingest.Properties) ingest.Properties {
	refused := *p
	refused.Refused = true
	return refused
}

// refusals remembers why records were refused, from before they are appended
// until their dead letters are written. The key is their content, because they
// have no number yet. Equal records may get each other's reasons; none is lost.
type refusals struct {
	seed maphash.Seed
	mu   lock.Mutex // guards why
	why  map[uint64][]string
}

func (r *refusals) init() {
	r.mu.Name = "refusals"
	r.seed = maphash.MakeSeed()
	r.why = make(map[uint64][]string)
}

// note remembers the reasons; forget undoes it.
func (r *refusals) note(refused []Refused) (forget func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range refused {
		why := refused[i].Why
		if len(why) > maxWhy {
			why = why[:maxWhy] + "..."
		}
		key := maphash.Bytes(r.seed, refused[i].Data)
		r.why[key] = append(r.why[key], why)
	}
	return func() {
		for i := range refused {
			r.take(refused[i].Data)
		}
	}
}

// take forgets a reason and returns it; empty where there is none.
func (r *refusals) take(data []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := maphash.Bytes(r.seed, data)
	all := r.why[key]
	if len(all) == 0 {
		return ""
	}
	if r.why[key] = all[1:]; len(all) == 1 {
		delete(r.why, key)
	}
	return all[0]
}

// refusedIntake collects the bad records of a source, as an intake collects the
// good ones.
type refusedIntake struct {
	small   [][]byte
	noted   []Refused // the data of each is in small, or a copy
	objects []*store.Object
}

// bad applies the policy to a piece that is no record.
func (in *intake) bad(piece record.Piece, name string) error {
	err := &RecordError{Source: name, Line: piece.Line, Err: ingest.BadRecord(piece.Data, piece.Fault)}
	if piece.Fault.Fatal || in.options.OnBadRecord == StopAtBadRecord {
		return err
	}
	if in.options.OnBadRecord == SkipBadRecords {
		return nil
	}
	r := &in.refused
	data := bytes.Clone(piece.Data)
	r.noted = append(r.noted, Refused{Data: data, Why: err.reason(piece.Fault)})
	if len(in.objects) == 0 && len(r.objects) == 0 && in.smallBytes+len(data) <= smallSource {
		r.small = append(r.small, data)
		in.smallBytes += len(data) + 64
		return nil
	}
	if len(in.objects) == 0 && len(r.objects) == 0 {
		if err := in.spill(); err != nil {
			return err
		}
	}
	return in.storeRefused(data)
}

// spillRefused moves what was kept in memory into objects.
func (in *intake) spillRefused() error {
	small := in.refused.small
	in.refused.small = nil
	for _, data := range small {
		if err := in.storeRefused(data); err != nil {
			return err
		}
	}
	return nil
}

func (in *intake) storeRefused(data []byte) error {
	p := refusedProperties(in.p)
	o, err := in.objectOf(&p)
	if err != nil {
		return err
	}
	in.refused.objects = append(in.refused.objects, o)
	return in.write(o, data)
}

// rule is what a record of p is, with what its table leaves unchecked.
func (s *Spool) rule(p *ingest.Properties) record.Rule {
	r := p.Rule()
	if r.Cut == record.JSONLines || r.Cut == record.Documents {
		r.Unchecked = s.opts.UncheckedJSON || len(s.opts.Tables) > 0 && s.opts.Tables[TableName{p.Database, p.Table}].UncheckedJSON
	}
	return r
}
