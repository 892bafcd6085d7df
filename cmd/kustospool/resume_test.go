package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
)

// resuming is a spool into which runs send, and which is delivered at the end.
type resuming struct {
	t     *testing.T
	spool string
}

func (x *resuming) send(args ...string) (report, result) {
	x.t.Helper()
	got := kustospool(x.t, "", append([]string{"send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", x.spool, "--no-wait", "--json"}, args...)...)
	if !strings.HasPrefix(got.out, "{") {
		x.t.Fatalf("no report: %+v", got)
	}
	return decode[report](x.t, got.out), got
}

// rows drains the spool and gives how often each value of n came, of rows that
// are {"n":...}, and of csv by their first column.
func (x *resuming) rows() map[int]int {
	x.t.Helper()
	sim := simulator(x.t, nil)
	if err := sim.CreateTable("D", "T", kustosim.Column{Name: "n", Type: "long"}); err != nil {
		x.t.Fatal(err)
	}
	if got := kustospool(x.t, "", "drain", "--to", sim.Endpoint(), "--spool", x.spool); got.code != exitOK && got.code != exitFailed {
		x.t.Fatalf("%+v", got)
	}
	counts := make(map[int]int)
	for _, row := range sim.Rows("D", "T") {
		var v struct {
			N int `json:"n"`
		}
		if err := json.Unmarshal(row, &v); err != nil {
			x.t.Fatalf("%s: %v", row, err)
		}
		counts[v.N]++
	}
	return counts
}

// once reports what is not there once of 0 to n-1.
func once(counts map[int]int, n int) error {
	var missing, doubled int
	for i := range n {
		switch counts[i] {
		case 0:
			missing++
		case 1:
		default:
			doubled++
		}
	}
	if missing > 0 || doubled > 0 || len(counts) != n {
		return fmt.Errorf("of %d records %d are missing and %d there more than once; %d different ones in all", n, missing, doubled, len(counts))
	}
	return nil
}

// numbered are lines of JSON or csv with the numbers from..to-1.
func numbered(format string, from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, format, n)
	}
	return b.String()
}

const jsonLine, csvLine = "{\"n\":%d}\n", "%d\n"

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSend_Resumes sends a file, changes it and sends it again: what the
// second run stores is told, and what the table has in the end.
func TestSend_Resumes(t *testing.T) {
	head := numbered(jsonLine, 0, 20_000) // more than the beginning that is compared
	for _, tc := range []struct {
		name, file   string
		before, then string
		args, again  []string // of both runs, and of the second
		records      int64    // that the second run stores
		earlier      bool
		code         int
		says         string
		rows         int // each once; -1 does not look
	}{
		{"same", "a.json", "{\"n\":0}\n", "{\"n\":0}\n", nil, nil, 0, true, exitOK, "", 1},
		{"grew", "a.json", numbered(jsonLine, 0, 3), numbered(jsonLine, 0, 5), nil, nil, 2, false, exitOK, "", 5},
		{"grew, and is large", "a.json", head, head + numbered(jsonLine, 20_000, 20_001), nil, nil, 1, false, exitOK, "", 20_001},
		{"its last line got its end", "a.json", "{\"n\":0}", "{\"n\":0}\r\n{\"n\":1}", nil, nil, 1, false, exitOK, "", 2},
		{"its last line grew", "a.csv", "1\n7", "1\n78\n", nil, nil, 0, false, exitUsage, "has changed before byte 3", -1},
		{"its beginning changed", "a.json", "{\"n\":0}\n", "{\"n\":1}\n{\"n\":2}\n", nil, nil, 2, false, exitOK, "", 3},
		{"shrank behind its beginning", "a.json", head, numbered(jsonLine, 0, 15_000), nil, nil, 0, false, exitUsage, "ends before byte", -1},
		{"a header", "a.csv", "n\n0\n1\n", "n\n0\n1\n2\n", []string{"--skip-header"}, nil, 1, false, exitOK, "", 3},
		{"only a header", "a.csv", "n\n", "n\n0\n", []string{"--skip-header"}, nil, 1, false, exitOK, "", 1},
		{"empty", "a.csv", "", "0\n", nil, nil, 1, false, exitOK, "", 1},
		{"gzip", "a.json.gz", packed(t, numbered(jsonLine, 0, 3)), packed(t, numbered(jsonLine, 0, 5)), nil, nil, 2, false, exitOK, "", 5},
		{"gzip, the same", "a.json.gz", packed(t, head), packed(t, head), nil, nil, 0, true, exitOK, "", 20_000},
		{"documents", "a.json", "[{\"n\":0},\n{\"n\":1}]", "[{\"n\":0},\n{\"n\":1}] [{\"n\":2}]", []string{"--format", "multijson"}, nil, 1, false, exitOK, "", 3},
		{"an archive", "a.json.zip", zipOf(t, "{\"n\":0}\n"), zipOf(t, "{\"n\":0}\n"), nil, nil, 0, true, exitOK, "", 1},
		{"another archive", "a.json.zip", zipOf(t, "{\"n\":0}\n"), zipOf(t, numbered(jsonLine, 1, 9)), nil, nil, 8, false, exitOK, "", 9},
		{"an object", "a.parquet", "PAR1", "PAR1", nil, nil, 0, true, exitOK, "", -1},
		{"--again", "a.json", "{\"n\":0}\n", "{\"n\":0}\n", nil, []string{"--again"}, 1, false, exitOK, "", -1},
		{"another mapping", "a.json", "{\"n\":0}\n", "{\"n\":0}\n", nil, []string{"--mapping-reference", "m"}, 1, false, exitOK, "", -1},
		{"dead letters", "a.json", "{\"n\":0}\nbad\n{\"n\":1}\n", "{\"n\":0}\nbad\n{\"n\":1}\nworse\n{\"n\":2}\n", []string{"--on-bad-record", "dead-letter"}, nil, 2, false, exitOK, "", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := &resuming{t, filepath.Join(t.TempDir(), "s")}
			path := write(t, tc.file, tc.before)
			// A bad record may be a dead letter before the command ends, or after that.
			wanted := func(r report, code int) int {
				if r.DeadLettered > 0 {
					return exitFailed
				}
				return code
			}
			if r, got := x.send(append(tc.args, path)...); got.code != wanted(r, exitOK) {
				t.Fatalf("%+v", got)
			}
			if err := os.WriteFile(path, []byte(tc.then), 0o600); err != nil {
				t.Fatal(err)
			}
			r, got := x.send(append(slices.Concat(tc.args, tc.again), path)...)
			if code := wanted(r, tc.code); got.code != code || r.Acked != tc.records || len(r.Inputs) != 1 || r.Inputs[0].Records != tc.records || r.Inputs[0].Earlier != tc.earlier || !strings.Contains(got.stderr, tc.says) {
				t.Errorf("code %d, want %d: %+v\n%s", got.code, code, r, got.stderr)
			}
			if tc.rows >= 0 {
				if err := once(x.rows(), tc.rows); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Another file under the same name that begins as the old one is refused: it
// may be the old one, copied, or not.
func TestSend_AnotherFileThatBeginsAlike(t *testing.T) {
	x := &resuming{t, filepath.Join(t.TempDir(), "s")}
	text := numbered(jsonLine, 0, 20_000)
	path := write(t, "a.json", text)
	x.send(path)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if r, got := x.send(path); got.code != exitUsage || r.Acked != 0 || !strings.Contains(got.stderr, "is another file than the one that an earlier run has stored") {
		t.Errorf("%+v", got)
	}
	if r, got := x.send("--again", path); got.code != exitOK || r.Acked != 20_000 {
		t.Errorf("%+v", got)
	}
}

// Of two files the one is stored and the other is not; of a pipe nothing is
// remembered; and the same file named twice is sent twice, and no more.
func TestSend_ResumesTwoFiles(t *testing.T) {
	x := &resuming{t, filepath.Join(t.TempDir(), "s")}
	a, b := write(t, "a.json", numbered(jsonLine, 0, 2)), write(t, "b.json", numbered(jsonLine, 2, 5))
	x.send(a)
	r, got := x.send(a, b)
	if got.code != exitOK || r.Acked != 3 || !r.Inputs[0].Earlier || r.Inputs[1].Earlier {
		t.Errorf("%+v", got)
	}
	if err := once(x.rows(), 5); err != nil {
		t.Error(err)
	}
	if r, got := x.send(a, a); r.Acked != 2 || !r.Inputs[0].Earlier || r.Inputs[1].Records != 2 {
		t.Errorf("%+v", got)
	}
	if r, got := x.send(a, a); r.Acked != 0 {
		t.Errorf("%+v", got)
	}
	text := kustospool(t, "", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", x.spool, "--no-wait", a)
	if text.code != exitOK || !strings.Contains(text.out, a+": already stored by an earlier run\n") {
		t.Errorf("%+v", text)
	}
	for range 2 {
		got := kustospool(t, "{\"n\":7}\n", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", x.spool, "--no-wait", "--json", "-")
		if r := decode[report](t, got.out); r.Acked != 1 {
			t.Errorf("a pipe: %+v", got)
		}
	}
}

// A full spool cuts the run; the next one goes on where it ended.
func TestSend_ResumesAfterAFullSpool(t *testing.T) {
	x := &resuming{t, filepath.Join(t.TempDir(), "s")}
	file := write(t, "many.json", numbered("{\"n\":%d,\"pad\":\""+strings.Repeat("x", 60)+"\"}\n", 0, tooMany))
	args := []string{"--max-disk", smallSpool, "--timeout", "300ms", file}
	r, got := x.send(args...)
	if got.code != exitPart || r.Acked == 0 || !strings.Contains(got.stderr, "the same command again goes on behind it") {
		t.Fatalf("%+v", got)
	}
	first := r.Acked
	sim := simulator(t, nil)
	if err := sim.CreateTable("D", "T", kustosim.Column{Name: "n", Type: "long"}); err != nil {
		t.Fatal(err)
	}
	got = kustospool(t, "", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", x.spool, "--max-disk", smallSpool, "--json", "--retarget", file)
	if r = decode[report](t, got.out); got.code != exitOK || r.Acked != tooMany-first || r.Inputs[0].EarlierBytes == 0 {
		t.Fatalf("%+v", got)
	}
	if rows := sim.Count("D", "T"); rows != tooMany {
		t.Errorf("%d rows", rows)
	}
}

// TestSend_Killed kills a send with SIGKILL at 20 random crash points, and continues
// it each time by the same command: in the end every row is there once, and
// every bad record is one dead letter.
func TestSend_Killed(t *testing.T) {
	records := 100_000
	if v := os.Getenv("SEND_KILL_RECORDS"); v != "" {
		var err error
		if records, err = strconv.Atoi(v); err != nil || records < 1000 {
			t.Fatalf("SEND_KILL_RECORDS %q must be a number of at least 1000", v)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("SEND_KILL_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("SEND_KILL_SEED %q must be a number", v)
		}
	}
	t.Logf("SEND_KILL_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var text strings.Builder
	bad := 0
	for n := range records {
		fmt.Fprintf(&text, jsonLine, n)
		if n%(records/50) == 7 {
			fmt.Fprintf(&text, "torn %d\n", n)
			bad++
		}
	}
	file := write(t, "many.json", text.String())
	x := &resuming{t, filepath.Join(t.TempDir(), "s")}
	run := func(at string) (killed bool) {
		proc := process(t, "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", x.spool, "--no-wait", "-q", "--on-bad-record", "dead-letter", file)
		proc.Env = append(proc.Env, dieAt+"="+at)
		out, err := proc.CombinedOutput()
		code := proc.ProcessState.ExitCode()
		if code != -1 && code != exitOK && code != exitFailed {
			t.Fatalf("%s: code %d, %v: %s", at, code, err, out)
		}
		return code == -1
	}
	// The points are those of the log, where records are stored, and of what is
	// written about a bad one. One that is not reached lets the run end.
	points := []string{"wal.sealed", "wal.written", "wal.synced", "append.committed", "deadletter.payload", "deadletter.written", "manifest.staged", "manifest.committed"}
	kills, ended := 0, 0
	for kills < 20 {
		if run(fmt.Sprintf("%s:%d", points[rng.IntN(len(points))], 1+rng.IntN(4))) {
			kills++
		} else if ended++; ended > 20 {
			t.Fatalf("%d runs ended by themselves and %d were killed", ended, kills)
		}
	}
	r, got := x.send("--on-bad-record", "dead-letter", file)
	if !r.Inputs[0].Whole {
		t.Fatalf("%+v", got)
	}
	t.Logf("%d kills, %d runs that did not come to theirs; the last run began behind byte %d of %d, and stored %d records",
		kills, ended, r.Inputs[0].EarlierBytes, text.Len(), r.Acked)
	counts := x.rows()
	if err := once(counts, records); err != nil {
		t.Error(err)
	}
	if n := len(readDeadLetters(t, x.spool)); n != bad {
		t.Errorf("%d dead letters, want %d", n, bad)
	}
	// Negative control: what is sent again is seen.
	x.send("--again", "--on-bad-record", "dead-letter", file)
	for n, c := range x.rows() {
		counts[n] += c
	}
	if once(counts, records) == nil {
		t.Error("doubled rows are not seen")
	}
}

// A spool remembers a bounded number of files, and forgets the finished ones
// first, the oldest of them before others.
func TestMakeRoom(t *testing.T) {
	spool, err := engine.Open(filepath.Join(t.TempDir(), "s"), idle{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	table, err := spool.Table(ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var at []ingest.Position
	for i := range maxMarks {
		// The first one is not finished; those behind it are ever newer.
		value, err := json.Marshal(mark{Done: i > 0, At: begun.Add(time.Duration(i) * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, ingest.Position{Name: fmt.Sprintf("%s%04d", markPrefix, i), Value: value})
	}
	at = append(at, ingest.Position{Name: "another's", Value: []byte("x")})
	if _, err := table.Ingest(t.Context(), []byte("{}"), at...); err != nil {
		t.Fatal(err)
	}
	if err := makeRoom(t.Context(), spool, at[5].Name); err != nil || len(spool.Positions()) != maxMarks+1 {
		t.Errorf("a known file needs no room: %v, %d", err, len(spool.Positions()))
	}
	if err := makeRoom(t.Context(), spool, "send/new"); err != nil {
		t.Fatal(err)
	}
	if _, ok := spool.Position(at[1].Name); ok || len(spool.Positions()) != maxMarks {
		t.Errorf("the oldest finished file is remembered: %v; %d positions", ok, len(spool.Positions()))
	}
}
