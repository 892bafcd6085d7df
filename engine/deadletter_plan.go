package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"kustospool/engine/internal/lifecycle"
	"kustospool/engine/internal/plug"
	"kustospool/ingest"
	"kustospool/ingest/content"
	"kustospool/ingest/record"
	"kustospool/store"
)

// Retry says how the records of a dead letter are to be sent. The zero value,
// and nil, mean: as they stand, to where they were to go.
type Retry struct {
	// Database and Table are where they go; empty means as before.
	Database, Table string
	// MappingReference names another mapping, which must fit the format; NoMapping
	// leaves the mapping out.
	MappingReference string
	NoMapping        bool
	// Records are the records after somebody has repaired them, in the format of
	// the dead letter. They take the place of all that it holds. Nil means that
	// they are as they stand. It is read to its end and not closed.
	Records io.Reader
	// AcceptDoubles retries a dead letter whose records may be at the destination
	// already; see [ErrInDoubt].
	AcceptDoubles bool
}

// to gives the properties of the new batch.
func (r *Retry) to(d *DeadLetter) (ingest.Properties, error) {
	p := d.Batch.Properties
	p.Refused = false
	if r.Database != "" {
		p.Database = r.Database
	}
	if r.Table != "" {
		p.Table = r.Table
	}
	switch {
	case r.NoMapping && r.MappingReference != "":
		return p, &ingest.FieldError{Field: "mapping reference", Value: r.MappingReference, Rule: "must not be given where no mapping is wanted"}
	case r.NoMapping:
		p.MappingReference, p.Mapping = "", ""
	case r.MappingReference != "":
		p.MappingReference, p.Mapping = r.MappingReference, ""
	}
	return p, p.Validate()
}

// ErrInDoubt is returned for the retry of a dead letter of which an attempt has
// an unknown outcome: its records may be at the destination, and sent under a new
// batch they would be there twice. [Retry].AcceptDoubles sends them all the same,
// and they are counted as possible duplicates.
var ErrInDoubt = errors.New("engine: the records of the dead letter may be at the destination already")

// RetryPlan is what a retry would do.
type RetryPlan struct {
	Letter  DeadLetter
	To      ingest.Properties // of the new batch
	Records int64             // that would be stored again
	Bytes   int64             // their payload
	// Refused says why nothing would be done: [ErrInDoubt], or an error that matches
	// [ingest.ErrInvalid] and names the record. Nil where the retry can be made.
	Refused error
}

// PlanRetry tells what RetryDeadLetter with the same Retry would do, and does
// nothing; it reads Retry.Records to their end. [ErrNotFound] when there is no
// such dead letter; other errors are those of the file system.
func (s *Spool) PlanRetry(ctx context.Context, id ingest.BatchID, how *Retry) (RetryPlan, error) {
	return planRetry(ctx, s.store, id, how, s.rule)
}

// letterBox is where dead letters are.
type letterBox interface {
	FindDeadLetter(ingest.BatchID) (store.DeadLetter, error)
	OpenDeadLetter(ingest.BatchID) (io.ReadCloser, error)
}

func planRetry(ctx context.Context, box letterBox, id ingest.BatchID, how *Retry, rule func(*ingest.Properties) record.Rule) (RetryPlan, error) {
	if how == nil {
		how = new(Retry)
	}
	found, err := box.FindDeadLetter(id)
	if err != nil {
		return RetryPlan{}, err
	}
	plan := RetryPlan{Letter: deadLetter(&found)}
	if _, do, err := decideRetry(&found, how); err != nil || do == 0 {
		plan.Refused = errors.Join(err, inDoubt(&plan.Letter))
		return plan, nil
	}
	if plan.To, plan.Refused = how.to(&plan.Letter); plan.Refused != nil {
		return plan, nil
	}
	in, end, err := records(box, &plan.Letter, how)
	if err != nil {
		return plan, err
	}
	defer end()
	r := &contextReader{ctx, in}
	plan.Records, plan.Bytes, err = countRecords(r, &plan.To, rule(&plan.To))
	if errors.Is(err, ingest.ErrInvalid) {
		plan.Refused, err = err, nil
	}
	return plan, err
}

// decideRetry asks the table about a dead letter that is not retried yet.
func decideRetry(d *store.DeadLetter, how *Retry) (store.Entry, lifecycle.Effect, error) {
	return lifecycle.Decide(d.Entry, lifecycle.Event{Kind: lifecycle.Retried, AcceptDoubles: how.AcceptDoubles})
}

func inDoubt(d *DeadLetter) error {
	return fmt.Errorf("%w: of %d attempts at batch %s the outcome was never learned", ErrInDoubt, d.Unresolved, d.Batch.ID)
}

// records opens what is to be stored again.
func records(box letterBox, d *DeadLetter, how *Retry) (io.Reader, func(), error) {
	if how.Records != nil {
		return plug.Reader(how.Records), func() {}, nil
	}
	if d.Bytes == 0 {
		return nil, nil, &ingest.FieldError{Field: "dead letter", Value: d.Batch.ID.String(),
			Rule: "has no record that could be read from the disk; give repaired ones, or remove it"}
	}
	f, err := box.OpenDeadLetter(d.Batch.ID)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { _ = f.Close() }, nil // it was only read
}

// countRecords checks records as a retry would, and counts them.
func countRecords(r io.Reader, p *ingest.Properties, rule record.Rule) (n, bytes int64, err error) {
	if p.ByReference {
		data, err := readBlob(r)
		if err == nil {
			data, err = p.RecordBy(rule, data)
		}
		return 1, int64(len(data)), err
	}
	if p.ZipPattern == "" {
		r = content.NewReader(r, p.Format)
	}
	if !p.Concatenates() {
		bytes, err = io.Copy(io.Discard, r)
		if err == nil && bytes == 0 {
			_, err = p.Record(nil)
		}
		return 1, bytes, err
	}
	scan := record.NewReader(r, rule)
	for {
		piece, err := scan.Next()
		switch {
		case err == io.EOF && n == 0:
			return 0, 0, &ingest.FieldError{Field: "source", Rule: "must hold at least one record"}
		case err == io.EOF:
			return n, bytes, nil
		case err != nil:
			if m, ok := errors.AsType[*content.Mismatch](err); ok {
				err = &RecordError{Err: &ingest.FieldError{Field: "source", Rule: m.Error()}}
			}
			return n, bytes, err
		case piece.Kind == record.Bad:
			return n, bytes, &RecordError{Line: piece.Line, Err: ingest.BadRecord(piece.Data, piece.Fault)}
		}
		n++
		bytes += int64(len(piece.Data)) + 1
	}
}

// readBlob reads the address of a blob.
func readBlob(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBlobRecord+1))
	if err == nil && len(data) > maxBlobRecord {
		err = &ingest.FieldError{Field: "source", Rule: fmt.Sprintf("must be the address of a blob, of at most %d bytes", maxBlobRecord)}
	}
	return data, err
}

// maxBlobRecord is more than any address of a blob takes.
const maxBlobRecord = 64 << 10

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
