package engine

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/store"
)

// History tells of settled batches. It walks the whole history, and holds no
// more of it than the answer has.
func (o *operator) History(ctx context.Context, q operate.HistoryQuery) (*operate.History, error) {
	most, err := limit("limit", q.Limit, operate.MaxHistory, operate.MaxHistory)
	if err != nil {
		return nil, err
	}
	lanes, err := o.tables(q.Table)
	if err != nil {
		return nil, err
	}
	out := &operate.History{Batches: []operate.SettledBatch{}}
	var newest oldestFirst
	n := 0
	for e, err := range o.books.Settled() {
		if err := ended(ctx, n); err != nil {
			return nil, err
		}
		n++
		switch {
		case err != nil:
			if out.Unreadable++; out.Error == "" {
				out.Error = err.Error()
			}
			continue
		case e.Updated.Before(q.Since), q.Table != "" && !slices.Contains(lanes, e.Batch.Lane):
			continue
		case !q.Before.IsZero() && !comesBefore(&e, q.Before, q.BeforeID):
			continue
		}
		heap.Push(&newest, e)
		if len(newest) > most {
			heap.Pop(&newest)
			out.More++
		}
	}
	slices.SortFunc(newest, func(a, b store.Entry) int { return -settledOrder(&a, &b) })
	for i := range newest {
		out.Batches = append(out.Batches, o.settledOf(&newest[i]))
	}
	return out, nil
}

// settledOrder is the order in which batches were settled, with one of those
// of the same moment.
func settledOrder(a, b *store.Entry) int {
	return cmp.Or(a.Updated.Compare(b.Updated), strings.Compare(a.Batch.ID.String(), b.Batch.ID.String()))
}

// comesBefore reports whether a batch is older than the one of a time and an ID.
func comesBefore(e *store.Entry, at time.Time, id string) bool {
	return cmp.Or(e.Updated.Compare(at), strings.Compare(e.Batch.ID.String(), id)) < 0
}

// oldestFirst is a heap of settled batches.
type oldestFirst []store.Entry

func (h oldestFirst) Len() int           { return len(h) }
func (h oldestFirst) Less(i, j int) bool { return settledOrder(&h[i], &h[j]) < 0 }
func (h oldestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *oldestFirst) Push(x any)        { *h = append(*h, x.(store.Entry)) }
func (h *oldestFirst) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// Receipt tells what became of the records of a receipt.
func (o *operator) Receipt(ctx context.Context, q operate.ReceiptQuery) (*operate.Receipt, error) {
	r, err := ingest.ParseReceipt(q.Receipt)
	if err != nil {
		return nil, err
	}
	lane, first, last := r.ID.Lane(), r.ID.Seq(), r.ID.Seq()+uint64(r.Records)-1
	props, known := o.books.LaneProperties(lane)
	sealed, end := o.books.LaneMarks(lane)
	bad := func(rule string) error {
		return &ingest.FieldError{Field: "receipt", Value: q.Receipt, Rule: rule}
	}
	table := props.Database + "." + props.Table
	switch {
	case r.ID.Spool() != o.books.ID():
		return nil, bad("is of spool " + r.ID.Spool().String() + ", and this one is " + o.books.ID().String())
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
	for _, e := range o.books.LiveOf(lane) {
		if touches(&e) {
			batches = append(batches, o.shown(e))
		}
	}
	n := 0
	for e, err := range o.books.Settled() {
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
		out.Parts = append(out.Parts, operate.Fate{First: o.id(lane, from), Last: o.id(lane, to), Number: from, Records: n, State: state, Batch: b})
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
		b := o.settledOf(e)
		part(from, to, e.State.String(), &b)
		next = to + 1
	}
	if next <= last {
		between(next, last)
	}
	return out, nil
}
