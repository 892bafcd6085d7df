package store_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/store"
)

// held is what a store holds after a crash, read record by record.
type holding struct {
	data  map[[2]uint64]string // lane, number -> record, of what is open or live
	fates map[[2]uint64]ingest.State
}

// holdings reads a store. Everything in it must be readable.
func holdings(t testing.TB, s *store.Store, acks []ack) *holding {
	t.Helper()
	h := &holding{data: map[[2]uint64]string{}, fates: map[[2]uint64]ingest.State{}}
	sealAll(t, s)
	for _, e := range s.Live() {
		data := strings.Split(strings.TrimSuffix(payloadOf(t, s, &e.Batch), "\n"), "\n")
		if int64(len(data)) != e.Batch.Records() {
			t.Fatalf("batch of %d records has %d lines", e.Batch.Records(), len(data))
		}
		for i, d := range data {
			h.data[[2]uint64{uint64(e.Batch.Lane), e.Batch.First + uint64(i)}] = d
		}
	}
	for _, a := range acks {
		if e, err := s.Find(a.lane, a.seq); err == nil {
			h.fates[[2]uint64{uint64(a.lane), a.seq}] = e.State
		}
	}
	return h
}

// missing checks acknowledgements against what a store holds.
func (h *holding) missing(acks []ack) (problems []string) {
	seen := map[[2]uint64]string{}
	for _, a := range acks {
		at := [2]uint64{uint64(a.lane), a.seq}
		if old, twice := seen[at]; twice && old != a.data {
			problems = append(problems, fmt.Sprintf("number given out twice: %v", a))
		}
		seen[at] = a.data
		state, known := h.fates[at]
		switch data, here := h.data[at]; {
		case !known:
			problems = append(problems, fmt.Sprintf("acknowledged and lost: %v", a))
		case here && data != a.data:
			problems = append(problems, fmt.Sprintf("holds %.20q in place of %v", data, a))
		case !here && !state.Final():
			problems = append(problems, fmt.Sprintf("state %s, and no data: %v", state, a))
		}
	}
	return problems
}

// runWorkload runs a child until it ends, or kills it after so many acks.
func runWorkload(t *testing.T, dir string, killAfter int, env ...string) (acks []ack, died bool) {
	t.Helper()
	cmd := child(t, "workload", dir, env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if a, ok := parseAck(lines.Text()); ok {
			acks = append(acks, a)
		}
		if len(acks) == killAfter {
			_ = cmd.Process.Kill()
		}
	}
	_, _ = io.Copy(io.Discard, out)
	err = cmd.Wait()
	if stderr.Len() > 0 {
		t.Fatalf("child: %s", stderr.String())
	}
	exit, ok := err.(*exec.ExitError)
	return acks, ok && !exit.Success()
}

func checkAfterCrash(t *testing.T, dir string, acks []ack) {
	t.Helper()
	s := openStore(t, dir, crashOptions())
	st := checkBooks(t, s)
	if st.Damaged != 0 || st.Suspect != 0 {
		t.Errorf("a crash was taken for damage: %+v", st)
	}
	if problems := holdings(t, s, acks).missing(acks); len(problems) > 0 {
		t.Errorf("%d problems, the first: %s", len(problems), problems[0])
	}
	checkBooks(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

var crashPoints = []string{
	"create.written", "create.renamed", "wal.prepared", "wal.sealed", "wal.written", "wal.synced", "append.committed", "wal.rotating", "rotate.rotated",
	"segment.listed", "segment.settle", "commit.begin", "manifest.staged", "manifest.committed", "seal", "transition", "settle", "split",
	"unlink.forgotten", "unlink.removed", "deadletter.payload", "deadletter.written", "object.written", "object.renamed", "object.forgotten",
}

// TestCrashAtEveryPoint kills a child at each named step, early and later,
// and opens what it left behind.
func TestCrashAtEveryPoint(t *testing.T) {
	for _, point := range crashPoints {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var acks []ack
			for round, nth := range []int{1, 4} {
				got, died := runWorkload(t, dir, -1, envPoint+"="+point, fmt.Sprint(envNth, "=", nth), fmt.Sprint(envRound, "=", round))
				if !died {
					t.Fatalf("round %d: the point was never reached", round)
				}
				acks = append(acks, got...)
				checkAfterCrash(t, dir, acks)
			}
		})
	}
}

// TestCrashAtRandom kills a child wherever it is, again and again, on the
// same spool.
func TestCrashAtRandom(t *testing.T) {
	dir := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var acks []ack
	for round := range 6 {
		got, _ := runWorkload(t, dir, 1+rng.IntN(childProducers*childRecords-50), fmt.Sprint(envRound, "=", round))
		acks = append(acks, got...)
		checkAfterCrash(t, dir, acks)
	}
	if len(acks) == 0 {
		t.Error("nothing was ever acknowledged")
	}
}

// TestLossWouldBeSeen is the negative control of the crash tests: an
// acknowledgement that came before its append must be found missing.
func TestLossWouldBeSeen(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	lane := laneOf(t, s, jsonTable("t"))
	seq := appendOne(t, s, lane, "stored")
	good := ack{lane, seq, "stored"}
	for _, c := range []struct {
		name string
		acks []ack
		want int
	}{
		{"all there", []ack{good}, 0},
		{"acknowledged before it was stored", []ack{good, {lane, seq + 1, "lost"}}, 1},
		{"other bytes", []ack{{lane, seq, "forged"}}, 1},
		{"a number given out twice", []ack{good, {lane, seq, "other"}}, 2},
	} {
		if problems := holdings(t, s, c.acks).missing(c.acks); len(problems) != c.want {
			t.Errorf("%s: %d problems %v, want %d", c.name, len(problems), problems, c.want)
		}
	}
}
