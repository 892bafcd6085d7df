package e2e_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/records"
)

// waysIn are the ways of a program to hand over a text of records.
var waysIn = []struct {
	name string
	take func(t *testing.T, table *engine.Table, text string, recs []string) error
}{
	{"Ingest", func(t *testing.T, table *engine.Table, _ string, recs []string) error {
		data := make([][]byte, len(recs))
		for i, rec := range recs {
			if data[i] = []byte(rec); i < 100 { // the same check, a flush to disk each
				if _, err := table.Ingest(t.Context(), data[i]); err != nil {
					return err
				}
			}
		}
		if len(data) <= 100 {
			return nil
		}
		_, err := table.IngestAll(t.Context(), data[100:])
		return err
	}},
	{"Writer", func(t *testing.T, table *engine.Table, text string, _ []string) error {
		w := table.Writer(t.Context())
		for i, size := 0, 1; i < len(text); size = size*7%65_521 + 1 { // pieces of any size
			n := min(size, len(text)-i)
			if _, err := io.WriteString(w, text[i:i+n]); err != nil {
				return err
			}
			i += n
		}
		return w.Close()
	}},
	{"IngestReader", func(t *testing.T, table *engine.Table, text string, _ []string) error {
		_, err := table.IngestReader(t.Context(), iotest.HalfReader(strings.NewReader(text)))
		return err
	}},
	{"IngestFile", func(t *testing.T, table *engine.Table, text string, _ []string) error {
		path := filepath.Join(t.TempDir(), "a.text.gz")
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			return err
		}
		_, err := table.IngestFile(t.Context(), path)
		return err
	}},
	{"zip", func(t *testing.T, table *engine.Table, text string, _ []string) error {
		path := filepath.Join(t.TempDir(), "a.zip")
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, name := range []string{"sub/", "sub/._a", "sub/a"} {
			w, err := z.Create(name)
			if err == nil && name == "sub/a" {
				_, err = io.WriteString(w, text)
			}
			if err != nil {
				return err
			}
		}
		_ = z.Close()
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			return err
		}
		_, err := table.IngestFile(t.Context(), path)
		return err
	}},
}

// TestRecordsArriveByEveryWay: the rows are those that the simulator's parser
// makes of the same text, value by value, whatever the way in.
func TestRecordsArriveByEveryWay(t *testing.T) {
	const chunk = 10_000
	count, seed := records.Count(t)
	for _, format := range []ingest.Format{ingest.CSV, ingest.JSON} {
		source := records.New(seed)
		for first := 0; first < count/2; first += chunk {
			text, recs := source.Text(string(format), first, min(chunk, count/2-first))
			parsed, err := kustosim.Parse([]byte(text), format)
			if err != nil || len(parsed) != len(recs) {
				t.Fatalf("%s: %d rows of %d records, %v", format, len(parsed), len(recs), err)
			}
			want := texts(parsed)
			sim, err := kustosim.Start(nil)
			if err != nil {
				t.Fatal(err)
			}
			o := quick()
			o.Batch.MaxBytes = 200 << 10 // several, one of them cut in the middle of everything
			s, err := openQueued(t.TempDir(), sim.Endpoint(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, way := range waysIn {
				if err := sim.CreateTable(database, way.name); err != nil {
					t.Fatal(err)
				}
				table, err := s.Table(ingest.Properties{Database: database, Table: way.name, Format: format})
				if err == nil {
					err = way.take(t, table, text, recs)
				}
				if err != nil {
					t.Fatalf("%s by %s: %v", format, way.name, err)
				}
			}
			drain(t, s, time.Minute)
			for _, way := range waysIn {
				if got := texts(sim.Rows(database, way.name)); !slices.Equal(got, want) {
					t.Errorf("%s by %s: %d rows, want %d; they differ", format, way.name, len(got), len(want))
				}
			}
			conserved(t, s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := sim.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// texts are rows in the order of their text: batches overtake each other.
func texts(rows []kustosim.Row) []string {
	out := make([]string, len(rows))
	for i, row := range rows {
		out[i] = string(row)
	}
	slices.Sort(out)
	return out
}
