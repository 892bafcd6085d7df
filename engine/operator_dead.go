package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"kustospool/engine/internal/answers"
	"kustospool/ingest"
	"kustospool/operate"
)

var (
	_ operate.DeadReader = (*operator)(nil)
	_ operate.DeadKeeper = (*inUse)(nil)
)

// maxUnreadable is how many dead letters that cannot be read one answer tells of.
const maxUnreadable = 20

// ListDead lists dead letters.
func (o *operator) ListDead(ctx context.Context, q operate.DeadQuery) (*operate.DeadList, error) {
	most, err := answers.Limit("limit", q.Limit, operate.MaxDead, operate.MaxDead)
	if err != nil {
		return nil, err
	}
	filter := DeadLetterFilter{Code: q.Code, From: q.Since, Before: q.Before}
	out := &operate.DeadList{Letters: []operate.DeadLetter{}}
	for d, err := range deadLetters(o.books.DeadLetters()) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			if q.After == "" && len(out.Unreadable) < maxUnreadable {
				out.Unreadable = append(out.Unreadable, err.Error())
			}
			continue
		}
		b, p := &d.Batch, &d.Batch.Properties
		if b.ID.String() <= q.After || !filter.Match(&d) || q.Table != "" && q.Table != p.Table && q.Table != p.Database+"."+p.Table {
			continue
		}
		if len(out.Letters) == most {
			out.Next = out.Letters[most-1].ID.String()
			break
		}
		out.Letters = append(out.Letters, operate.DeadLetter{ID: b.ID, Properties: *p, Lane: b.Lane, First: b.First, Last: b.Last, RawBytes: d.DataBytes,
			SealedAt: b.SealedAt, Attempts: d.Attempts, Unresolved: d.Unresolved, Updated: d.Updated, Failure: d.Failure, Payload: d.Payload, Bytes: d.Bytes, Damaged: d.Damaged})
	}
	return out, nil
}

// DeadPayload reads a piece of a payload.
func (o *operator) DeadPayload(_ context.Context, q operate.DeadPayloadQuery) (*operate.DeadPayload, error) {
	id, err := deadID(q.ID)
	if err != nil {
		return nil, err
	}
	in, err := o.books.OpenDeadLetter(id)
	if err != nil {
		return nil, deadError(err)
	}
	defer in.Close() // it is only read
	if s, ok := in.(io.Seeker); ok {
		_, err = s.Seek(int64(min(q.Offset, 1<<62)), io.SeekStart)
	} else if q.Offset > 0 {
		err = errors.New("engine: a payload that can only be read from its beginning")
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(in, operate.MaxDeadBytes))
	return &operate.DeadPayload{Data: data, End: len(data) < operate.MaxDeadBytes}, err
}

// RetryDead retries a dead letter, or tells what that would do.
func (o *inUse) RetryDead(ctx context.Context, q operate.RetryDead) (*operate.RetriedDead, error) {
	id, err := deadID(q.ID)
	if err != nil {
		return nil, err
	}
	if len(q.Records) > operate.MaxRepaired {
		return nil, &operate.Error{Code: operate.TooLarge, Message: fmt.Sprintf("the repaired records have more than %d bytes; retry them while no process has the spool open", operate.MaxRepaired)}
	}
	how := &Retry{Database: q.Database, Table: q.Table, MappingReference: q.MappingReference, NoMapping: q.NoMapping, AcceptDoubles: q.AcceptDoubles}
	if q.Records != nil {
		how.Records = bytes.NewReader(q.Records)
	}
	if !q.Apply {
		plan, err := o.spool.PlanRetry(ctx, id, how)
		if err != nil {
			return nil, deadError(err)
		}
		out := &operate.RetriedDead{Database: plan.To.Database, Table: plan.To.Table, Records: plan.Records, Bytes: plan.Bytes}
		if plan.Refused != nil {
			out.Refused = plan.Refused.Error()
		}
		return out, nil
	}
	done, err := o.spool.RetryDeadLetter(ctx, id, how)
	if err != nil {
		return nil, deadError(err)
	}
	out := &operate.RetriedDead{Database: done.To.Database, Table: done.To.Table, Records: done.Receipt.Records, Before: done.Before}
	if !done.Before {
		out.Receipt = done.Receipt.String()
	}
	return out, nil
}

// DropDead deletes a dead letter.
func (o *inUse) DropDead(_ context.Context, q operate.DropDead) (*operate.DroppedDead, error) {
	id, err := deadID(q.ID)
	if err != nil {
		return nil, err
	}
	if err := o.spool.RemoveDeadLetter(id); err != nil {
		return nil, deadError(err)
	}
	return &operate.DroppedDead{ID: q.ID}, nil
}

func deadID(text string) (ingest.BatchID, error) {
	id, err := ingest.ParseBatchID(text)
	if err != nil {
		return id, &ingest.FieldError{Field: "id", Value: fmt.Sprintf("%.64q", text), Rule: "must be the ID of a dead letter"}
	}
	return id, nil
}

// deadError is an error in the codes of the protocol.
func deadError(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return &operate.Error{Code: operate.NotFound, Message: err.Error()}
	case errors.Is(err, ErrInDoubt), errors.Is(err, ErrHandled):
		return &operate.Error{Code: operate.Conflict, Message: err.Error()}
	}
	return err
}
