package answers

import (
	"context"
	"iter"
	"regexp"
	"slices"

	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/store"
)

// PeekBooks are those that Peek reads.
type PeekBooks interface {
	Named
	LiveOf(lane uint32) []store.Entry
	Waiting(lane uint32, from uint64) iter.Seq2[store.Waiting, error]
}

// Peek tells of records that wait, as many as one answer has. What settles
// meanwhile is in it or not. shown is a live row as it is told to others.
func Peek(ctx context.Context, books PeekBooks, shown func(store.Entry) store.Entry, q operate.PeekQuery) (*operate.Peek, error) {
	most, err := Limit("limit", q.Limit, operate.MaxPeek, operate.MaxPeek)
	if err != nil {
		return nil, err
	}
	match, err := regexp.Compile(q.Grep)
	if err != nil {
		return nil, &ingest.FieldError{Field: "grep", Value: q.Grep, Rule: "must be a regular expression: " + err.Error()}
	}
	if q.Table == "" {
		return nil, &ingest.FieldError{Field: "table", Rule: "must name a table"}
	}
	lanes, err := Lanes(books, q.Table)
	if err != nil {
		return nil, err
	}
	slices.Sort(lanes)
	out := &operate.Peek{Records: []operate.WaitingRecord{}}
	size, looked, n := 0, 0, 0
	for _, lane := range lanes {
		from := q.From
		if lane < q.Lane {
			continue
		} else if lane == q.Lane {
			from = max(from, q.Seq)
		}
		p, _ := books.LaneProperties(lane)
		fates := &fates{live: books.LiveOf(lane)}
		for w, err := range books.Waiting(lane, from) {
			if err == nil {
				err = ended(ctx, n)
			}
			if err != nil {
				return nil, err
			}
			n++
			if len(out.Records) == most || len(out.Records) > 0 && size+len(w.Data) > operate.MaxPeekBytes || looked > operate.MaxPeekLook {
				out.Next = &operate.Place{Lane: lane, Seq: w.Seq}
				return out, nil
			}
			looked += len(w.Data)
			if q.Grep != "" && (w.Err != nil || !match.Match(w.Data)) {
				continue
			}
			size += len(w.Data)
			r := operate.WaitingRecord{Database: p.Database, Table: p.Table, Format: string(p.Format), Reference: p.ByReference,
				Lane: lane, Seq: w.Seq, ID: id(books, lane, w.Seq), At: w.At, State: ingest.Open.String(), Data: slices.Clone(w.Data), Cut: w.Cut}
			if w.Err != nil {
				r.Error, r.Last = w.Err.Error(), w.Last
			}
			if e := fates.of(w.Seq); e != nil {
				row := shown(*e)
				r.State, r.Batch = row.State.String(), row.Batch.ID.String()
			}
			out.Records = append(out.Records, r)
		}
	}
	return out, nil
}

// fates finds the live batches of the records of a lane, which are asked for in
// their order.
type fates struct {
	live []store.Entry // by first record
}

func (f *fates) of(seq uint64) *store.Entry {
	for len(f.live) > 0 && f.live[0].Batch.Last < seq {
		f.live = f.live[1:]
	}
	if len(f.live) > 0 && f.live[0].Batch.First <= seq {
		return &f.live[0]
	}
	return nil
}
