package engine

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

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
	Dir() string
	ID() ingest.SpoolID
	Lanes() []uint32
	LaneProperties(lane uint32) (ingest.Properties, bool)
	LaneMarks(lane uint32) (sealed, end uint64)
	FirstLive(n int) (first []store.Entry, all int)
	LiveOf(lane uint32) []store.Entry
	DeadLetters() iter.Seq2[store.DeadLetter, error]
	OpenDeadLetter(id ingest.BatchID) (io.ReadCloser, error)
	Quarantine() ([]store.SetAside, error)
	Waiting(lane uint32, from uint64) iter.Seq2[store.Waiting, error]
	Settled() iter.Seq2[store.Entry, error]
}

var (
	_ books = (*store.Store)(nil)
	_ books = (*store.Picture)(nil)
)

// limit is a query's limit, within what one answer has.
func limit(field string, n, usual, most int) (int, error) {
	switch {
	case n < 0:
		return 0, &ingest.FieldError{Field: field, Value: fmt.Sprint(n), Rule: "must not be negative"}
	case n == 0:
		return usual, nil
	}
	return min(n, most), nil
}

// tables are the lanes of a table that is named as TABLE or DB.TABLE; all of
// them where the name is empty.
func (o *operator) tables(name string) ([]uint32, error) {
	all := o.books.Lanes()
	if name == "" {
		return all, nil
	}
	var lanes []uint32
	tables, databases := map[string]bool{}, map[string]bool{}
	for _, id := range all {
		p, _ := o.books.LaneProperties(id)
		full := p.Database + "." + p.Table
		tables[full] = true
		if name == full || name == p.Table {
			lanes = append(lanes, id)
			databases[p.Database] = true
		}
	}
	bad := func(rule string) error {
		return &ingest.FieldError{Field: "table", Value: fmt.Sprintf("%q", name), Rule: rule}
	}
	switch {
	case len(lanes) == 0 && len(tables) == 0:
		return nil, bad("the spool has no table")
	case len(lanes) == 0:
		return nil, bad("must be one of the spool's: " + names(tables))
	case len(databases) > 1:
		return nil, bad("is in the databases " + names(databases) + "; name it as DB.TABLE")
	}
	return lanes, nil
}

// names lists some of a set.
func names(set map[string]bool) string {
	const most = 20
	list := slices.Sorted(maps.Keys(set))
	if more := len(list) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), more)
	}
	return strings.Join(list, ", ")
}

func batchOf(e *store.Entry) operate.Batch {
	b, p := &e.Batch, &e.Batch.Properties
	return operate.Batch{ID: b.ID.String(), Database: p.Database, Table: p.Table, State: e.State.String(), Records: b.Records(), RawBytes: e.DataBytes(),
		Attempts: e.Attempts, SealedAt: b.SealedAt, Updated: e.Updated, NextAttempt: e.NextAttempt, Failure: e.Failure}
}

func (o *operator) settledOf(e *store.Entry) operate.SettledBatch {
	b := &e.Batch
	return operate.SettledBatch{Batch: batchOf(e), IngestBy: b.IngestBy(), WireBytes: e.WireBytes, Unresolved: e.Unresolved,
		PossibleDuplicates: e.PossibleDuplicates, First: o.id(b.Lane, b.First), Last: o.id(b.Lane, b.Last)}
}

func (o *operator) id(lane uint32, seq uint64) string {
	return ingest.NewID(o.books.ID(), lane, seq).String()
}

// ended is the context's error, within a long walk.
func ended(ctx context.Context, n int) error {
	if n%1024 != 0 {
		return nil
	}
	return ctx.Err()
}
