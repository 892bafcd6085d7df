// Package answers tells an operator what the books of a spool say of its batches and
// records: what became of settled batches ([History]) and of the records of a receipt
// ([Receipt]), and which records wait ([Peek]). The books are those of a store that is
// in use, or of a picture of one at rest.
//
// It changes nothing and keeps nothing between two questions. An answer is bounded, as
// package operate says; to make one takes memory for the live batches of a lane, and
// Receipt's for each batch that has some of its records. A long walk ends with its
// context. A question that makes no sense gets an error that matches [ingest.ErrInvalid]
// and names the field. What of the history cannot be read is counted by History, and
// forgotten for Receipt; a record that cannot be read has its place in a Peek.
//
// What a process knows beside the books (rates, pauses, who is in trouble) and what
// changes a spool are the engine's to answer.
package answers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/store"
)

// Named are books whose lanes are asked for by the names of their tables.
type Named interface {
	ID() ingest.SpoolID
	Lanes() []uint32
	LaneProperties(lane uint32) (ingest.Properties, bool)
}

// Limit is a query's limit, within what one answer has.
func Limit(field string, n, usual, most int) (int, error) {
	switch {
	case n < 0:
		return 0, &ingest.FieldError{Field: field, Value: fmt.Sprint(n), Rule: "must not be negative"}
	case n == 0:
		return usual, nil
	}
	return min(n, most), nil
}

// Lanes are the lanes of a table that is named as TABLE or DB.TABLE; all of
// them where the name is empty. The error matches [ingest.ErrInvalid] and says which
// tables there are.
func Lanes(books Named, name string) ([]uint32, error) {
	all := books.Lanes()
	if name == "" {
		return all, nil
	}
	var lanes []uint32
	tables, databases := map[string]bool{}, map[string]bool{}
	for _, id := range all {
		p, _ := books.LaneProperties(id)
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

// Batch is a row of the ledger as an answer shows it.
func Batch(e *store.Entry) operate.Batch {
	b, p := &e.Batch, &e.Batch.Properties
	return operate.Batch{ID: b.ID.String(), Database: p.Database, Table: p.Table, State: e.State.String(), Records: b.Records(), RawBytes: e.DataBytes(),
		Attempts: e.Attempts, SealedAt: b.SealedAt, Updated: e.Updated, NextAttempt: e.NextAttempt, Failure: e.Failure}
}

func settledOf(books identified, e *store.Entry) operate.SettledBatch {
	b := &e.Batch
	return operate.SettledBatch{Batch: Batch(e), IngestBy: b.IngestBy(), WireBytes: e.WireBytes, Unresolved: e.Unresolved,
		PossibleDuplicates: e.PossibleDuplicates, First: id(books, b.Lane, b.First), Last: id(books, b.Lane, b.Last)}
}

// identified is a spool, whose identity is part of its records' own.
type identified interface{ ID() ingest.SpoolID }

func id(books identified, lane uint32, seq uint64) string {
	return ingest.NewID(books.ID(), lane, seq).String()
}

// ended is the context's error, within a long walk.
func ended(ctx context.Context, n int) error {
	if n%1024 != 0 {
		return nil
	}
	return ctx.Err()
}
