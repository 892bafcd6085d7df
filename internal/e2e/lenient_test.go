package e2e_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
)

// TestNothingIngestedIsMissing: under a service that passes over a malformed
// line without a word, and lets an open quote take its neighbours, everything
// that the engine reports as ingested is a row, whatever was given to it.
func TestNothingIngestedIsMissing(t *testing.T) {
	seed := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("RECORDS_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("RECORDS_SEED=%d", seed)
	for _, tc := range []struct {
		format  ingest.Format
		good    string // with its number
		bad     []string
		checked bool
	}{
		{ingest.JSON, `{"n":%d}`, []string{`{"n":`, `[{"n":1}]`, `{"n":1}{"n":2}`, `12`, `null`, `"x"`, `{]`, `{`, `}`, `text`, `{"a":"`}, true},
		{ingest.CSV, `%d,"a,""b"""`, []string{`x,"abc`, `"`, `"",""x,"y`}, true},
		{ingest.JSON, `{"n":%d}`, []string{`{"n":`, `12`}, false}, // the control: without the check rows are missing
	} {
		t.Run(fmt.Sprintf("%s checked=%v", tc.format, tc.checked), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			sim := startSim(t, nil)
			o := quick()
			o.UncheckedJSON = !tc.checked
			o.OnBadRecord = engine.DeadLetterBadRecords
			s := mustOpen(t, t.TempDir(), sim.Endpoint(), o)
			table, err := s.Table(ingest.Properties{Database: database, Table: tableName, Format: tc.format})
			if err != nil {
				t.Fatal(err)
			}
			good, refused := 0, int64(0)
			for range 30 {
				var lines []string
				for range rnd.IntN(20) {
					if rnd.IntN(5) == 0 {
						lines = append(lines, tc.bad[rnd.IntN(len(tc.bad))])
						continue
					}
					lines = append(lines, fmt.Sprintf(tc.good, good))
					good++
				}
				if rnd.IntN(2) == 0 && tc.format == ingest.JSON {
					// In a text of csv an open quote may find its end in a later line.
					r, err := table.IngestReader(t.Context(), strings.NewReader(strings.Join(lines, "\n")))
					if err != nil && len(lines) > 0 {
						t.Fatal(err)
					}
					refused += r.Bad
					continue
				}
				for _, line := range lines {
					_, err := table.Ingest(t.Context(), []byte(line))
					if isBad := slices.Contains(tc.bad, line); tc.checked && isBad != errors.Is(err, ingest.ErrInvalid) || err != nil && !isBad {
						t.Fatalf("%q: %v", line, err)
					}
				}
			}
			drain(t, s, time.Minute)
			st, rows := s.Stats(), int64(len(sim.Rows(database, tableName)))
			if missing := st.Settled.Ingested + st.Settled.Skipped - rows; (missing == 0) != tc.checked || tc.checked && rows != int64(good) {
				t.Errorf("%d reported as ingested, %d rows, %d good; %+v", st.Settled.Ingested, rows, good, st)
			}
			if tc.checked && tc.format == ingest.JSON && st.Settled.DeadLettered < refused {
				t.Errorf("%d refused, %d dead letters", refused, st.Settled.DeadLettered)
			}
			conserved(t, s)
		})
	}
}
