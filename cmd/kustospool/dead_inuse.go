package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/quantity"
	"kustospool/operate"
)

// deadInUse are the dead letters of a spool that another process has open. It
// does what is asked of it.
type deadInUse struct {
	ctx    context.Context // of the command
	client *operate.Client
}

var _ deadHandler = (*deadInUse)(nil)

func (d *deadInUse) Close() error {
	d.client.Close()
	return nil
}

// DeadLetters asks for the list, a page at a time.
func (d *deadInUse) DeadLetters() iter.Seq2[engine.DeadLetter, error] {
	return func(yield func(engine.DeadLetter, error) bool) {
		q := operate.DeadQuery{}
		for {
			page, err := d.client.ListDead(d.ctx, q)
			if err != nil {
				yield(engine.DeadLetter{}, err)
				return
			}
			for _, text := range page.Unreadable {
				if !yield(engine.DeadLetter{}, errors.New(text)) {
					return
				}
			}
			for i := range page.Letters {
				if !yield(letterFrom(&page.Letters[i]), nil) {
					return
				}
			}
			if q.After = page.Next; q.After == "" {
				return
			}
		}
	}
}

func letterFrom(l *operate.DeadLetter) engine.DeadLetter {
	return engine.DeadLetter{
		BatchStatus: engine.BatchStatus{State: ingest.DeadLettered, Attempts: l.Attempts, Updated: l.Updated, Failure: l.Failure, DataBytes: l.RawBytes,
			Batch: ingest.Batch{ID: l.ID, Lane: l.Lane, First: l.First, Last: l.Last, Properties: l.Properties, RawBytes: l.RawBytes, SealedAt: l.SealedAt}},
		Payload: l.Payload, Bytes: l.Bytes, Damaged: l.Damaged, Unresolved: l.Unresolved,
	}
}

// OpenDeadLetter reads a payload, a piece at a time.
func (d *deadInUse) OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error) {
	r := &payloadInUse{d: d, id: id.String()}
	return r, r.fill() // so that what is not there shows here
}

type payloadInUse struct {
	d      *deadInUse
	id     string
	offset uint64
	ahead  []byte
	end    bool
}

func (r *payloadInUse) fill() error {
	piece, err := r.d.client.DeadPayload(r.d.ctx, operate.DeadPayloadQuery{ID: r.id, Offset: r.offset})
	if err != nil {
		return err
	}
	r.ahead, r.end = piece.Data, piece.End
	r.offset += uint64(len(piece.Data))
	return nil
}

func (r *payloadInUse) Read(p []byte) (int, error) {
	for len(r.ahead) == 0 {
		if r.end {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.ahead)
	r.ahead = r.ahead[n:]
	return n, nil
}

func (r *payloadInUse) Close() error { return nil }

// query is a retry as it is sent.
func (d *deadInUse) query(id ingest.BatchID, how *engine.Retry, apply bool) (operate.RetryDead, error) {
	q := operate.RetryDead{ID: id.String(), Apply: apply, Database: how.Database, Table: how.Table, MappingReference: how.MappingReference,
		NoMapping: how.NoMapping, AcceptDoubles: how.AcceptDoubles}
	if how.Records == nil {
		return q, nil
	}
	var err error
	q.Records, err = io.ReadAll(io.LimitReader(how.Records, operate.MaxRepaired+1))
	switch {
	case err != nil:
		return q, err
	case len(q.Records) > operate.MaxRepaired:
		return q, fmt.Errorf("the repaired records have more than %s, which the process that has the spool open does not take; retry them while none has", quantity.Size(operate.MaxRepaired))
	case len(q.Records) == 0:
		return q, errors.New("there are no repaired records in the file; to give the dead letter up, drop it")
	}
	return q, nil
}

// PlanRetry asks what a retry would do.
func (d *deadInUse) PlanRetry(ctx context.Context, id ingest.BatchID, how *engine.Retry) (engine.RetryPlan, error) {
	q, err := d.query(id, how, false)
	if err != nil {
		return engine.RetryPlan{}, err
	}
	a, err := d.client.RetryDead(ctx, q)
	if err != nil {
		return engine.RetryPlan{}, err
	}
	plan := engine.RetryPlan{To: ingest.Properties{Database: a.Database, Table: a.Table}, Records: a.Records, Bytes: a.Bytes}
	if a.Refused != "" {
		plan.Refused = errors.New(a.Refused)
	}
	return plan, nil
}

// RetryDeadLetter has it retried.
func (d *deadInUse) RetryDeadLetter(ctx context.Context, id ingest.BatchID, how *engine.Retry) (engine.Retried, error) {
	q, err := d.query(id, how, true)
	if err != nil {
		return engine.Retried{}, err
	}
	a, err := d.client.RetryDead(ctx, q)
	if err != nil {
		return engine.Retried{}, err
	}
	done := engine.Retried{Batch: id, To: ingest.Properties{Database: a.Database, Table: a.Table}, Before: a.Before}
	if !a.Before {
		done.Receipt, err = ingest.ParseReceipt(strings.TrimSpace(a.Receipt))
	}
	return done, err
}

// RemoveDeadLetter has it deleted.
func (d *deadInUse) RemoveDeadLetter(id ingest.BatchID) error {
	_, err := d.client.DropDead(d.ctx, operate.DropDead{ID: id.String()})
	return err
}
