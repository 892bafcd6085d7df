package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/quantity"
	"kustospool/internal/visible"
	"kustospool/operate"
)

// letterStatus is a dead letter, in the form of --json. Records and raw_bytes
// are the batch's; payload_records and payload_bytes are what can be sent again.
type letterStatus struct {
	operate.Batch
	Format         ingest.Format `json:"format"`
	Mapping        string        `json:"mapping,omitempty"` // name, or the mapping itself
	Payload        string        `json:"payload"`           // file below the spool
	PayloadRecords int64         `json:"payload_records"`
	PayloadBytes   int64         `json:"payload_bytes"`
	Damaged        int64         `json:"damaged,omitempty"` // records that are missing in it
	InDoubt        bool          `json:"in_doubt,omitempty"`

	Beginning string `json:"beginning,omitempty"` // of the payload, where it is text; show has it
	Cut       bool   `json:"cut,omitempty"`       // there is more of it
}

func letterOf(d *engine.DeadLetter) letterStatus {
	p := &d.Batch.Properties
	b := operate.Batch{ID: d.Batch.ID.String(), Database: p.Database, Table: p.Table, State: d.State.String(), Records: d.Batch.Records(),
		RawBytes: d.DataBytes, Attempts: d.Attempts, SealedAt: d.Batch.SealedAt, Updated: d.Updated, NextAttempt: d.NextAttempt, Failure: d.Failure}
	out := letterStatus{Batch: b, Format: p.Format, Mapping: p.MappingReference, Payload: d.Payload,
		PayloadRecords: d.Records(), PayloadBytes: d.Bytes, Damaged: d.Damaged, InDoubt: d.InDoubt()}
	if p.Mapping != "" {
		out.Mapping = p.Mapping
	}
	return out
}

func said(f *ingest.Failure) string {
	if f == nil {
		return ""
	}
	return visible.String(f.String())
}

func tableOf(p *ingest.Properties) string {
	return visible.String(p.Database) + "." + visible.String(p.Table)
}

func (s *deadSettings) list(c *console, chosen []engine.DeadLetter) error {
	shown := s.shown(c, chosen)
	if s.json {
		e := json.NewEncoder(c.out)
		for i := range shown {
			if err := e.Encode(letterOf(&shown[i])); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	if len(shown) > 0 {
		fmt.Fprintln(t, "SET ASIDE\tID\tTABLE\tRECORDS\tSIZE\tSAID")
	}
	for i := range shown {
		d := &shown[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", d.Updated.Format(time.RFC3339), d.Batch.ID, tableOf(&d.Batch.Properties), d.Batch.Records(), quantity.Size(d.Bytes), said(d.Failure))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var records int64
	for i := range chosen {
		records += chosen[i].Batch.Records()
	}
	if len(chosen) == 0 {
		_, err := fmt.Fprintln(c.out, "No dead letter waits that was asked for.")
		return err
	}
	_, err := fmt.Fprintf(c.out, "%s. See kustospool help dead for what can be done about them.\n", lettersIn(len(chosen), records))
	return err
}

// beginningBytes is how much of a payload show shows.
const beginningBytes = 4 << 10

func (s *deadSettings) show(c *console, box deadReader, chosen []engine.DeadLetter) error {
	shown := s.shown(c, chosen)
	for i := range shown {
		d := &shown[i]
		text, err := beginning(box, d)
		if err != nil {
			return err
		}
		if s.json {
			out := letterOf(d)
			out.Cut = int64(len(text)) < d.Bytes
			if utf8.Valid(text) {
				out.Beginning = string(text)
			}
			if err := json.NewEncoder(c.out).Encode(out); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		if err := writeLetter(c.out, d, text); err != nil {
			return err
		}
	}
	return nil
}

// beginning reads the first bytes of a payload, cut between characters.
func beginning(box deadReader, d *engine.DeadLetter) ([]byte, error) {
	in, err := box.OpenDeadLetter(d.Batch.ID)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(in, beginningBytes))
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, fmt.Errorf("dead letter %s: %w", d.Batch.ID, err)
	}
	if int64(len(text)) < d.Bytes {
		for n := 0; n < utf8.UTFMax && len(text) > 0 && !utf8.Valid(text); n++ {
			text = text[:len(text)-1]
		}
	}
	return text, nil
}

func writeLetter(w io.Writer, d *engine.DeadLetter, text []byte) error {
	p := &d.Batch.Properties
	l := letterOf(d)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "dead letter\t%s\ntable\t%s (%s)\n", d.Batch.ID, tableOf(p), p.Format)
	if l.Mapping != "" {
		fmt.Fprintf(t, "mapping\t%s\n", visible.String(l.Mapping))
	}
	fmt.Fprintf(t, "set aside\t%s, after %s\nsealed\t%s\nsaid\t%s\n", d.Updated.Format(time.RFC3339), count(int64(d.Attempts), "attempt"), d.Batch.SealedAt.Format(time.RFC3339), said(d.Failure))
	fmt.Fprintf(t, "records\t%d (%s)\npayload\t%s\n", d.Records(), quantity.Size(d.Bytes), d.Payload)
	if d.Damaged > 0 {
		fmt.Fprintf(t, "damaged\t%s more could not be read; what is left of them is in quarantine/%s-*.frame\n", count(d.Damaged, "record"), d.Batch.ID)
	}
	if d.InDoubt() {
		fmt.Fprintf(t, "in doubt\tof %d attempts the outcome was never learned: the records may be in the table\n", d.Unresolved)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(text) == 0 {
		return nil
	}
	more := ""
	if int64(len(text)) < d.Bytes {
		more = fmt.Sprintf("... %s in all\n", quantity.Size(d.Bytes))
	}
	if !utf8.Valid(text) {
		_, err := fmt.Fprintln(w, "its records are no text; see kustospool dead export")
		return err
	}
	lines := visible.Lines(string(text))
	if lines[len(lines)-1] != '\n' {
		lines += "\n"
	}
	_, err := fmt.Fprintf(w, "\n%s%s", lines, more)
	return err
}

// exported is a file that export wrote, in the form of --json.
type exported struct {
	ID   ingest.BatchID `json:"id"`
	File string         `json:"file"`
	letterStatus
}

// export writes payloads to files that are named after their dead letters.
func (s *deadSettings) export(ctx context.Context, c *console, box deadReader, chosen []engine.DeadLetter) (int, error) {
	if err := mustBeDir(s.out); err != nil {
		return 0, err
	}
	code := exitOK
	n, records := 0, int64(0)
	for i := range chosen {
		d := &chosen[i]
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		file := filepath.Join(s.out, path.Base(d.Payload))
		if err := exportTo(ctx, file, box, d); err != nil {
			if errors.Is(err, fs.ErrExist) {
				err = fmt.Errorf("%s is there already, and is not overwritten", file)
			}
			c.note("kustospool dead export: %s", err)
			code = exitFailed
			continue
		}
		n++
		records += d.Records()
		if s.json {
			if err := json.NewEncoder(c.out).Encode(exported{d.Batch.ID, file, letterOf(d)}); err != nil {
				return 0, err
			}
		} else if _, err := fmt.Fprintf(c.out, "%s\t%s of %s: %s\n", visible.String(file), count(d.Records(), "record"), tableOf(&d.Batch.Properties), said(d.Failure)); err != nil {
			return 0, err
		}
	}
	if !s.json {
		fmt.Fprintf(c.out, "%s exported. Repair the files, and: kustospool dead retry --from %s --apply\n", lettersIn(n, records), visible.String(s.out))
	}
	return code, nil
}

// exportTo writes a payload to a new file. What it could not write whole it removes.
func exportTo(ctx context.Context, file string, box deadReader, d *engine.DeadLetter) (err error) {
	in, err := box.OpenDeadLetter(d.Batch.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, &untilDone{ctx, in})
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// untilDone reads until its context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
