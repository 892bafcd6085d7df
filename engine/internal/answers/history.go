package answers

import (
	"cmp"
	"container/heap"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"kustospool/operate"
	"kustospool/store"
)

// HistoryBooks are those that History reads.
type HistoryBooks interface {
	Named
	Settled() iter.Seq2[store.Entry, error]
}

// History tells of settled batches. It walks the whole history, and holds no
// more of it than the answer has.
func History(ctx context.Context, books HistoryBooks, q operate.HistoryQuery) (*operate.History, error) {
	most, err := Limit("limit", q.Limit, operate.MaxHistory, operate.MaxHistory)
	if err != nil {
		return nil, err
	}
	lanes, err := Lanes(books, q.Table)
	if err != nil {
		return nil, err
	}
	out := &operate.History{Batches: []operate.SettledBatch{}}
	var newest oldestFirst
	n := 0
	for e, err := range books.Settled() {
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
		out.Batches = append(out.Batches, settledOf(books, &newest[i]))
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
