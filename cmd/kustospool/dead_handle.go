package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/quantity"
	"kustospool/internal/visible"
)

// handledLetter is what retry or drop would do, or did, about a dead letter, in
// the form of --json.
type handledLetter struct {
	ID       ingest.BatchID `json:"id"`
	Database string         `json:"database"`
	Table    string         `json:"table"`
	Records  int64          `json:"records"` // of the dead letter
	Bytes    int64          `json:"bytes"`

	ToDatabase string `json:"to_database,omitempty"`
	ToTable    string `json:"to_table,omitempty"`
	ToRecords  int64  `json:"to_records,omitempty"` // stored again
	Receipt    string `json:"receipt,omitempty"`    // for them
	From       string `json:"from,omitempty"`       // the file with the repaired records

	Done  bool   `json:"done"`
	Error string `json:"error,omitempty"`
}

// handledLetters sums up what retry or drop did, or would do.
type handledLetters struct {
	letters          int
	records, stored  int64
	failed           int
	verb, done, plan string // in words
}

func (h *handledLetters) add(l *handledLetter) {
	if l.Error != "" {
		h.failed++
		return
	}
	h.letters++
	h.records += l.Records
	h.stored += l.ToRecords
}

func (h *handledLetters) code() int {
	if h.failed > 0 {
		return exitFailed
	}
	return exitOK
}

// repaired names the files with repaired records, by dead letter. It is nil where
// --from is not given.
func (s *deadSettings) repaired(chosen []engine.DeadLetter) (map[ingest.BatchID]string, error) {
	if s.from == "" {
		return nil, nil
	}
	info, err := os.Stat(s.from)
	switch {
	case err != nil:
		return nil, usagef("--from %s: %w", s.from, err)
	case !info.IsDir() && len(chosen) != 1:
		return nil, usagef("--from %s: a file is for one dead letter, and %d are meant; name one by its ID", s.from, len(chosen))
	case !info.IsDir():
		return map[ingest.BatchID]string{chosen[0].Batch.ID: s.from}, nil
	}
	files := map[ingest.BatchID]string{}
	for i := range chosen {
		file := filepath.Join(s.from, path.Base(chosen[i].Payload))
		if _, err := os.Stat(file); err == nil {
			files[chosen[i].Batch.ID] = file
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, usagef("--from %s: %w", s.from, err)
		}
	}
	if len(files) == 0 {
		return nil, usagef("--from %s: no file in it has the name that dead export gives to one of the dead letters that are meant", s.from)
	}
	return files, nil
}

// how is the retry of one dead letter; end must be called.
func (s *deadSettings) how(file string) (how *engine.Retry, end func(), err error) {
	how = &engine.Retry{Database: s.toDB, Table: s.toTable, MappingReference: s.toMapping, NoMapping: s.noMapping, AcceptDoubles: s.doubles}
	if file == "" {
		return how, func() {}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	how.Records = f
	return how, func() { _ = f.Close() }, nil // it was only read
}

func (s *deadSettings) retry(ctx context.Context, c *console, box deadReader, handler deadHandler, chosen []engine.DeadLetter) (int, error) {
	files, err := s.repaired(chosen)
	if err != nil {
		return 0, err
	}
	sum := handledLetters{verb: "retry", done: "stored again", plan: "would be stored again"}
	lines := 0
	for i := range chosen {
		d := &chosen[i]
		file := files[d.Batch.ID]
		if files != nil && file == "" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		line, err := s.retryOne(ctx, box, handler, d, file)
		if err != nil {
			line.Error = inFlags(err)
			if d.InDoubt() && !s.doubles {
				line.Error += "; --accept-doubles sends them all the same"
			}
		}
		sum.add(&line)
		if lines++; s.apply || line.Error != "" || s.limit == 0 || lines <= s.limit {
			if err := s.tellOf(c, &line, &sum); err != nil {
				return 0, err
			}
		}
	}
	return sum.code(), s.sumUp(c, &sum)
}

// retryOne plans the retry of a dead letter, or makes it.
func (s *deadSettings) retryOne(ctx context.Context, box deadReader, handler deadHandler, d *engine.DeadLetter, file string) (handledLetter, error) {
	p := &d.Batch.Properties
	line := handledLetter{ID: d.Batch.ID, Database: p.Database, Table: p.Table, Records: d.Batch.Records(), Bytes: d.Bytes, From: file}
	how, end, err := s.how(file)
	if err != nil {
		return line, err
	}
	defer end()
	if !s.apply {
		plan, err := box.PlanRetry(ctx, d.Batch.ID, how)
		line.ToDatabase, line.ToTable, line.ToRecords = plan.To.Database, plan.To.Table, plan.Records
		return line, errors.Join(err, plan.Refused)
	}
	done, err := handler.RetryDeadLetter(ctx, d.Batch.ID, how)
	if err != nil {
		return line, err
	}
	line.ToDatabase, line.ToTable, line.ToRecords = done.To.Database, done.To.Table, done.Receipt.Records
	line.Done = true
	if !done.Before {
		line.Receipt = done.Receipt.String()
	}
	return line, nil
}

func (s *deadSettings) drop(ctx context.Context, c *console, handler deadHandler, chosen []engine.DeadLetter) (int, error) {
	sum := handledLetters{verb: "drop", done: "dropped", plan: "would be dropped"}
	for i := range chosen {
		d := &chosen[i]
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		p := &d.Batch.Properties
		line := handledLetter{ID: d.Batch.ID, Database: p.Database, Table: p.Table, Records: d.Batch.Records(), Bytes: d.Bytes}
		if s.apply {
			if err := handler.RemoveDeadLetter(d.Batch.ID); err != nil {
				line.Error = inFlags(err)
			} else {
				line.Done = true
			}
		}
		sum.add(&line)
		if s.apply || s.limit == 0 || i < s.limit {
			if err := s.tellOf(c, &line, &sum); err != nil {
				return 0, err
			}
		}
	}
	return sum.code(), s.sumUp(c, &sum)
}

// tellOf prints a line about one dead letter.
func (s *deadSettings) tellOf(c *console, l *handledLetter, sum *handledLetters) error {
	if s.json {
		return json.NewEncoder(c.out).Encode(l)
	}
	what := sum.plan
	if l.Done {
		what = sum.done
	}
	switch {
	case l.Error != "":
		what = "not: " + visible.String(l.Error)
	case l.ToTable != "":
		what = fmt.Sprintf("%d %s for %s.%s", l.ToRecords, what, visible.String(l.ToDatabase), visible.String(l.ToTable))
	case sum.verb == "retry":
		what = "was " + what + " before; now it is gone"
	}
	if l.From != "" {
		what += ", from " + visible.String(l.From)
	}
	if l.Receipt != "" {
		what += ", receipt " + l.Receipt
	}
	_, err := fmt.Fprintf(c.out, "%s  %s.%s  %s (%s): %s\n", l.ID, visible.String(l.Database), visible.String(l.Table), count(l.Records, "record"), quantity.Size(l.Bytes), what)
	return err
}

// sumUp prints the counts.
func (s *deadSettings) sumUp(c *console, sum *handledLetters) error {
	if s.json {
		return nil
	}
	what := sum.plan
	if s.apply {
		what = sum.done
	}
	text := lettersIn(sum.letters, sum.records) + " " + what
	if sum.verb == "retry" {
		text += fmt.Sprintf(", as %d", sum.stored)
	}
	if sum.failed > 0 {
		text += fmt.Sprintf("; %d not", sum.failed)
	}
	if !s.apply {
		text += ". Nothing was changed; --apply does it"
	}
	_, err := fmt.Fprintln(c.out, text+".")
	return err
}
