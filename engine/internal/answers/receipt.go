package answers

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/store"
)

// ReceiptBooks are those that Receipt reads.
type ReceiptBooks interface {
	ID() ingest.SpoolID
	LaneProperties(lane uint32) (ingest.Properties, bool)
	LaneMarks(lane uint32) (sealed, end uint64)
	LiveOf(lane uint32) []store.Entry
	Settled() iter.Seq2[store.Entry, error]
}

// Receipt tells what became of the records of a receipt. shown is a live row as it is
// told to others.
func Receipt(ctx context.Context, books ReceiptBooks, shown func(store.Entry) store.Entry, q operate.ReceiptQuery) (*operate.Receipt, error) {
	r, err := ingest.ParseReceipt(q.Receipt)
	if err != nil {
		return nil, err
	}
	lane, first, last := r.ID.Lane(), r.ID.Seq(), r.ID.Seq()+uint64(r.Records)-1
	props, known := books.LaneProperties(lane)
	sealed, end := books.LaneMarks(lane)
	bad := func(rule string) error {
		return &ingest.FieldError{Field: "receipt", Value: q.Receipt, Rule: rule}
	}
	table := props.Database + "." + props.Table
	switch {
	case r.ID.Spool() != books.ID():
		return nil, bad("is of spool " + r.ID.Spool().String() + ", and this one is " + books.ID().String())
	case !known:
		return nil, bad(fmt.Sprintf("the spool has no lane %d", lane))
	case first == 0 || last > end || last < first:
		return nil, bad(fmt.Sprintf("its records must be among the %d that the spool was given for %s", end, table))
	}
	out := &operate.Receipt{Receipt: r.String(), Table: table, Records: r.Records, States: map[string]int64{}, Parts: []operate.Fate{}}
	touches := func(e *store.Entry) bool {
		return e.Batch.Lane == lane && e.Batch.First <= last && e.Batch.Last >= first
	}
	// The live ones first: what is settled meanwhile is then found twice, and not
	// left out.
	var batches []store.Entry
	for _, e := range books.LiveOf(lane) {
		if touches(&e) {
			batches = append(batches, shown(e))
		}
	}
	n := 0
	for e, err := range books.Settled() {
		if err := ended(ctx, n); err != nil {
			return nil, err
		}
		n++
		if err == nil && touches(&e) && e.State != ingest.Split {
			batches = append(batches, e)
		}
	}
	slices.SortStableFunc(batches, func(a, b store.Entry) int {
		return cmp.Or(cmp.Compare(a.Batch.First, b.Batch.First), -cmp.Compare(a.Batch.Last, b.Batch.Last), b.Updated.Compare(a.Updated))
	})
	// part tells of neighbouring records that share a fate.
	part := func(from, to uint64, state string, b *operate.SettledBatch) {
		n := int64(to - from + 1)
		out.States[state] += n
		if len(out.Parts) == operate.MaxParts {
			out.More++
			return
		}
		out.Parts = append(out.Parts, operate.Fate{First: id(books, lane, from), Last: id(books, lane, to), Number: from, Records: n, State: state, Batch: b})
	}
	// between tells of records that no batch has: they are open, or their batch is forgotten.
	between := func(from, to uint64) {
		if settled := min(to, sealed); from <= settled {
			part(from, settled, operate.Forgotten, nil)
			from = settled + 1
		}
		if from <= to {
			part(from, to, ingest.Open.String(), nil)
		}
	}
	next := first
	for i := range batches {
		e := &batches[i]
		from, to := max(e.Batch.First, next), min(e.Batch.Last, last)
		if from > to {
			continue
		}
		if next < from {
			between(next, from-1)
		}
		b := settledOf(books, e)
		part(from, to, e.State.String(), &b)
		next = to + 1
	}
	if next <= last {
		between(next, last)
	}
	return out, nil
}
