package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
)

// childVariable makes the test binary a child that ingests: its value is
// "directory|endpoint|round".
const childVariable = "KUSTOSPOOL_E2E_CHILD"

const childWriters = 4

// runChild ingests until it is killed. For each record it prints what it is
// about to ingest before, and its receipt after: a line "try W N" and a line
// "ack W N ID", each in one write.
func runChild(spec string) int {
	parts := strings.Split(spec, "|")
	if len(parts) != 3 {
		fmt.Fprintln(os.Stderr, "bad child specification")
		return 2
	}
	round, err := strconv.Atoi(parts[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	o := quick()
	o.Batch.MaxBytes = 8 << 10
	s, err := openQueued(parts[0], parts[1], o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	var wg sync.WaitGroup
	for w := range childWriters {
		wg.Go(func() {
			for n := 0; ; n++ {
				fmt.Fprintf(os.Stdout, "try %d %d\n", w+childWriters*round, n)
				r, err := s.Ingest(context.Background(), &ingest.Request{Properties: telemetry, Data: []byte(record(w+childWriters*round, n))})
				if err != nil {
					fmt.Fprintln(os.Stderr, "ingest:", err)
					os.Exit(1)
				}
				fmt.Fprintf(os.Stdout, "ack %d %d %s\n", w+childWriters*round, n, r)
			}
		})
	}
	wg.Wait()
	return 0
}

// killed runs one child on the spool until it has acknowledged some records,
// kills it with SIGKILL a random moment later, and returns what it printed.
func killed(t *testing.T, rng *rand.Rand, dir, endpoint string, round int) (acked, tried []string, ids []ingest.ID) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", childVariable, dir, endpoint, round))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	after := 1 + rng.IntN(120) // acknowledgements
	delay := time.Duration(rng.IntN(30_000)) * time.Microsecond
	var kill sync.Once
	var timer *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 3 {
			continue // cut off by the kill
		}
		w, err1 := strconv.Atoi(f[1])
		n, err2 := strconv.Atoi(f[2])
		switch {
		case err1 != nil || err2 != nil:
		case f[0] == "try":
			tried = append(tried, record(w, n))
		case f[0] == "ack" && len(f) == 4 && len(f[3]) == ingest.IDTextLen:
			id, err := ingest.ParseID(f[3])
			if err != nil {
				t.Fatalf("receipt %q: %v", f[3], err)
			}
			acked, ids = append(acked, record(w, n)), append(ids, id)
		}
		if len(acked) >= after {
			kill.Do(func() { timer = time.AfterFunc(delay, func() { _ = cmd.Process.Kill() }) })
		}
	}
	if timer != nil {
		timer.Stop()
	}
	_ = cmd.Process.Kill()
	err = cmd.Wait()
	if len(acked) < after {
		t.Fatalf("round %d ended by itself after %d records: %v\n%s", round, len(acked), err, stderr.String())
	}
	return acked, tried, ids
}

func rounds(t *testing.T, n int) int {
	if v := os.Getenv("E2E_ROUNDS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatalf("E2E_ROUNDS: %v", err)
		}
	}
	return n
}

// TestKill kills the process that ingests and delivers, again and again, on
// one spool; the next one goes on. In the end every acknowledged record is in
// the table once.
func TestKill(t *testing.T) {
	t.Run("built-in", func(t *testing.T) { killRounds(t, nil, rounds(t, 50)) })
	t.Run("azurite", func(t *testing.T) { killRounds(t, onAzurite(t), min(rounds(t, 8), 8)) })
}

func killRounds(t *testing.T, o *kustosim.Options, n int) {
	sim := startSim(t, o)
	rng := seeded(t)
	dir := t.TempDir()
	var acked []string
	var ids []ingest.ID
	maybe := make(map[string]bool)
	for round := range n {
		a, tried, i := killed(t, rng, dir, sim.Endpoint(), round)
		acked, ids = append(acked, a...), append(ids, i...)
		for _, r := range tried {
			maybe[r] = true
		}
	}
	atKill := sim.Count(database, tableName)
	s := mustOpen(t, dir, sim.Endpoint(), quick())
	drain(t, s, 2*time.Minute)
	rows := count(sim)
	if b := check(rows, acked, maybe); !b.ok() {
		t.Fatalf("after %d kills: %s", n, b)
	}
	conserved(t, s)
	seen := make(map[ingest.ID]bool)
	for _, id := range ids {
		if seen[id] {
			t.Fatalf("receipt %s was given twice", id)
		}
		seen[id] = true
		if st, err := s.Status(t.Context(), id); err != nil || !st.State.Ingested() {
			t.Fatalf("status of acknowledged record %s: %+v, %v", id, st, err)
		}
	}
	st := s.Stats()
	t.Logf("%d kills: %d records acknowledged, %d rows when the last one died, %d at the end; %d batches ingested, %d found already there",
		n, len(acked), atKill, len(rows), st.BatchesIngested, st.BatchesSkipped)
	if st.Acked < int64(len(acked)) {
		t.Errorf("the books know of %d records, %d were acknowledged", st.Acked, len(acked))
	}

	// Negative control: a record taken out of the table must be missed.
	gone := acked[rng.IntN(len(acked))]
	delete(rows, gone)
	if b := check(rows, acked, maybe); len(b.missing) != 1 || b.missing[0] != gone {
		t.Errorf("a missing row is not seen: %s", b)
	}
}
