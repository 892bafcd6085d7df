package engine

import (
	"context"
	"io"
	"iter"

	"kustospool/engine/internal/answers"
	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/store"
)

// Operator is the spool as package operate asks it: what answers on its socket,
// for a program that wants to answer elsewhere as well, with [operate.Handler].
func (s *Spool) Operator() operate.Spool {
	return &inUse{&operator{books: s.store, stats: s.Stats, shown: s.batches.shown, inUse: true}, s}
}

// Operator is the view as package operate asks it.
func (v *View) Operator() operate.Spool { return v.operator() }

func (v *View) operator() *operator {
	return &operator{books: v.picture, stats: v.Stats, shown: func(e store.Entry) store.Entry { return e }}
}

// operator answers questions about a spool that is open, or at rest. It changes
// nothing.
type operator struct {
	books books
	stats func() Stats
	shown func(store.Entry) store.Entry // a row as it is told to others
	inUse bool
}

var _ operate.Spool = (*operator)(nil)

// books is what a store, and a picture of one, tell.
type books interface {
	answers.HistoryBooks
	answers.ReceiptBooks
	answers.PeekBooks
	Dir() string
	FirstLive(n int) (first []store.Entry, all int)
	DeadLetters() iter.Seq2[store.DeadLetter, error]
	OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error)
	Quarantine() ([]store.SetAside, error)
}

var (
	_ books = (*store.Store)(nil)
	_ books = (*store.Picture)(nil)
)

// History implements [operate.Spool].
func (o *operator) History(ctx context.Context, q operate.HistoryQuery) (*operate.History, error) {
	return answers.History(ctx, o.books, q)
}

// Receipt implements [operate.Spool].
func (o *operator) Receipt(ctx context.Context, q operate.ReceiptQuery) (*operate.Receipt, error) {
	return answers.Receipt(ctx, o.books, o.shown, q)
}

// Peek implements [operate.Spool].
func (o *operator) Peek(ctx context.Context, q operate.PeekQuery) (*operate.Peek, error) {
	return answers.Peek(ctx, o.books, o.shown, q)
}
