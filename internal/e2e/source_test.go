package e2e_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
)

// TestFileArrivesOnce: a compressed file of many batches, with one bad line:
// every other row is there once, blobs have the right name and messages the
// right raw size.
func TestFileArrivesOnce(t *testing.T) {
	sim := startSim(t, &kustosim.Options{FailMalformedJSON: true})
	const n, bad = 9000, 4321
	var want []string
	var text bytes.Buffer
	z := gzip.NewWriter(&text)
	for i := range n {
		rec := record(0, i)
		if i == bad {
			rec = `{"torn":`
		} else {
			want = append(want, rec)
		}
		if _, err := z.Write([]byte(rec + "\r\n")); err != nil {
			t.Fatal(err)
		}
		if padding := strings.Repeat(" \n", 300); i%100 == 0 {
			if _, err := z.Write([]byte(padding)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Large enough to be stored as objects.
	for i := n; text.Len() < 5<<20/8 && i < 6*n; i++ {
		rec := record(1, i)
		want = append(want, rec)
		if _, err := z.Write([]byte(rec + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "boats.jsonl.gz")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	o := quick()
	o.Batch.MaxBytes = 1 << 20
	o.UncheckedJSON = true // it is the service that is to find the torn line
	s := mustOpen(t, t.TempDir(), sim.Endpoint(), o)
	rcpt, err := s.IngestFile(t.Context(), ingest.Properties{Database: database, Table: tableName}, path)
	if err != nil {
		t.Fatal(err)
	}
	drain(t, s, time.Minute)
	got := rowTexts(sim)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	tally, err := s.StatusAll(t.Context(), rcpt)
	if err != nil || rcpt.Records != int64(len(want)+1) || tally.Ingested() != int64(len(want)) || tally.States[ingest.DeadLettered] != 1 {
		t.Errorf("%+v, %v; want %d records", tally, err, len(want)+1)
	}
	if st := sim.Stats(); st.RawSizeMismatch != 0 || st.Ingested < 5 {
		t.Errorf("%+v", st)
	}
	for _, blob := range sim.Blobs() {
		if !strings.HasSuffix(blob, ".json.gz") {
			t.Errorf("a blob is named %s", blob)
		}
	}
	conserved(t, s)
}
