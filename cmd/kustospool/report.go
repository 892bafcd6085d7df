package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kustospool/engine"
	"kustospool/ingest/record"
	"kustospool/internal/quantity"
	"kustospool/internal/visible"
)

// report is what one run did. The counts are differences over the run, except
// Spooled, which is what the spool holds at its end. Ingested includes the
// records that the service had already; HandedOver are those of a spool that
// waits for acceptance only. The bytes are of what was delivered. For a spool
// that was empty before,
//
//	Acked == Ingested + HandedOver + DeadLettered + Dropped + Spooled
type report struct {
	Read               int64   `json:"read"`
	Acked              int64   `json:"acked"`
	Ingested           int64   `json:"ingested"`
	DeadLettered       int64   `json:"dead_lettered"`
	Spooled            int64   `json:"spooled"`
	Batches            int64   `json:"batches"`
	RawBytes           int64   `json:"raw_bytes"`
	CompressedBytes    int64   `json:"compressed_bytes"`
	PossibleDuplicates int64   `json:"possible_duplicates"`
	Seconds            float64 `json:"seconds"`

	Skipped    int64 `json:"skipped,omitempty"`     // of Ingested: found in the table already
	HandedOver int64 `json:"handed_over,omitempty"` // accepted; outcome not asked for
	Dropped    int64 `json:"dropped,omitempty"`     // by the full policy
	Blank      int64 `json:"blank_lines,omitempty"` // passed over in the input
	Damaged    int64 `json:"damaged,omitempty"`     // damage found while it ran: files and frames

	// AtStart is there where damage was found when the spool was opened.
	AtStart *foundAtStart `json:"at_start,omitempty"`
	// DeadLetters is how many batches are in the spool's dead letters, those of
	// earlier runs included.
	DeadLetters int64 `json:"dead_letters,omitempty"`
	// Inputs say how much of each input is stored, in the order of the command.
	Inputs []inputReport `json:"inputs,omitempty"`

	BadSkipped int64 `json:"bad_records_skipped,omitempty"` // no records, and passed over
	BadDead    int64 `json:"bad_records_dead,omitempty"`    // no records; of Read, Acked and DeadLettered
	Headers    int64 `json:"headers,omitempty"`             // dropped from the input
	Marks      int64 `json:"byte_order_marks,omitempty"`    // cut away

	repeats bool // something is stored that the same command would store again

	firstSkipped error // where the first of BadSkipped is, and why

	// Transport is what the transport told of itself at the end, by name.
	Transport map[string]int64 `json:"transport,omitempty"`
}

// foundAtStart is what opening a damaged spool came to.
type foundAtStart struct {
	Damage []string `json:"damage"` // what was found, in the store's words
	// PossibleDuplicates are those in the spool's books when it was open. Where
	// the books were lost they begin anew with what may have been sent before.
	PossibleDuplicates int64 `json:"possible_duplicates"`
}

// cut adds what was cut out of an input: of the bad records so many were
// refused, and the rest passed over.
func (r *report) cut(c record.Counts, refused int64, skipped error) {
	r.Blank += c.Blank
	r.Headers += c.Headers
	r.Marks += c.Marks
	r.BadDead += refused
	r.BadSkipped += c.Bad - refused
	if r.firstSkipped == nil {
		r.firstSkipped = skipped
	}
}

// since fills in what changed between two snapshots of the spool.
func (r *report) since(before, after engine.Stats, elapsed time.Duration) {
	r.Acked = after.Acked - before.Acked
	r.Skipped = after.Settled.Skipped - before.Settled.Skipped
	r.Ingested = after.Settled.Ingested - before.Settled.Ingested + r.Skipped
	r.HandedOver = after.Settled.HandedOver - before.Settled.HandedOver
	r.DeadLettered = after.Settled.DeadLettered - before.Settled.DeadLettered
	r.Dropped = after.Settled.Dropped - before.Settled.Dropped
	r.Spooled = after.Waiting.Records
	r.Batches = after.SettledBatches.Batches() - before.SettledBatches.Batches()
	r.RawBytes = after.RawBytes - before.RawBytes
	r.CompressedBytes = after.WireBytes - before.WireBytes
	r.PossibleDuplicates = after.Duplicates.Possible - before.Duplicates.Possible
	r.Damaged = after.Disk.Damaged - before.Disk.Damaged
	for _, f := range after.Transport {
		if r.Transport == nil {
			r.Transport = make(map[string]int64)
		}
		r.Transport[f.Name] = f.Value
	}
	r.Seconds = float64(elapsed.Round(time.Millisecond).Milliseconds()) / 1000
}

// code is the exit code of a run with this report. What was not stored counts
// for more than what became of the rest.
func (r *report) code(o outcome, err error) int {
	// Whether the last records are stored is not known; that nothing is would be
	// the wrong guess.
	stored := r.Acked > 0 || errors.Is(err, engine.ErrOutcomeUnknown)
	switch {
	case r.changed():
		return exitChanged
	case o.unread && stored:
		return exitPart
	case o.unread:
		return exitUsage
	case err != nil, r.DeadLettered > 0, r.Dropped > 0:
		return exitFailed
	case r.Spooled > 0 && !o.noWait:
		return exitPending
	}
	return exitOK
}

func (r *report) writeJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// writeText writes aligned lines. Counts that are rarely there are left out
// when they are 0.
func (r *report) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, n int64, remark string) {
		fmt.Fprintf(t, "%s\t%d\t %s\n", name, n, remark)
	}
	rare := func(name string, n int64, remark string) {
		if n != 0 {
			line(name, n, remark)
		}
	}
	line("records read", r.Read, "")
	rare("blank lines", r.Blank, "passed over")
	rare("headers", r.Headers, "dropped")
	rare("byte order marks", r.Marks, "cut away")
	rare("bad records", r.BadSkipped, "passed over")
	rare("bad records", r.BadDead, "of those read; in the dead letters")
	line("acked (durable)", r.Acked, "")
	line("ingested", r.Ingested, "")
	rare("of them skipped", r.Skipped, "the table had them already")
	rare("handed over", r.HandedOver, "accepted; the outcome was not asked for")
	line("dead-lettered", r.DeadLettered, "")
	rare("dropped", r.Dropped, "by the policy for a full spool")
	line("still spooled", r.Spooled, "")
	line("batches", r.Batches, "")
	line("raw bytes", r.RawBytes, quantity.Size(r.RawBytes))
	line("compressed bytes", r.CompressedBytes, quantity.Size(r.CompressedBytes))
	line("possible duplicates", r.PossibleDuplicates, "")
	rare("damage found", r.Damaged, "while it ran")
	rare("dead letters", r.DeadLetters, "batches in the spool, those of earlier runs included")
	for _, name := range slices.Sorted(maps.Keys(r.Transport)) {
		if strings.HasSuffix(name, "_throttled") {
			rare("refused", r.Transport[name], "by the cluster for want of capacity, and sent again")
		}
	}
	fmt.Fprintf(t, "seconds\t%.3f\t\n", r.Seconds)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range r.remarks(false) {
		if _, err := fmt.Fprintln(w, visible.String(line)); err != nil {
			return err
		}
	}
	return nil
}

// remarks are the lines behind the numbers: inputs that are not whole or have
// changed, or were stored by an earlier run unless quiet, and damage.
func (r *report) remarks(quiet bool) []string {
	lines := r.unfinished(quiet)
	if r.AtStart != nil {
		for _, what := range r.AtStart.Damage {
			lines = append(lines, "damage found when the spool was opened: "+what)
		}
		if n := r.AtStart.PossibleDuplicates; n > 0 {
			lines = append(lines, fmt.Sprintf("possible duplicates in its books then: %d", n))
		}
	}
	return lines
}
