package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/internal/kustosim"
)

// manyRecords is a file of n records of 100 bytes each.
func manyRecords(t *testing.T, n int) string {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "{\"n\":%8d,\"pad\":\"%s\"}\n", i, strings.Repeat("x", 75))
	}
	return write(t, "many.json", b.String())
}

// The smallest spool, and more than it holds.
const (
	smallSpool = "16MiB"
	tooMany    = 200_000
)

// A spool that is full because its target cannot be reached says so, and the
// run ends in time.
func TestSend_FullSpoolEndsInTime(t *testing.T) {
	file := manyRecords(t, tooMany)
	spool := filepath.Join(t.TempDir(), "s")
	begun := time.Now()
	got := kustospool(t, "", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", spool,
		"--max-disk", smallSpool, "--timeout", "1500ms", "--json", file)
	r := decode[report](t, got.out)
	if got.code != exitPart || r.Acked == 0 || r.Acked >= tooMany || r.Spooled != r.Acked || len(r.Inputs) != 1 || r.Inputs[0].Whole || r.Inputs[0].Records != r.Acked {
		t.Errorf("code %d, %+v", got.code, r)
	}
	for _, want := range []string{
		fmt.Sprintf(" of %d records, ", tooMany), "spool full, waiting for room: D.T: transient: ", "connection refused",
		"The spool is full, and there was no room for the rest of the input within 1.5s.",
		fmt.Sprintf("%s: %d records stored, not all of it", file, r.Acked),
		"kustospool drain --to http://127.0.0.1:1 --spool " + spool,
	} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in %s", want, got.stderr)
		}
	}
	if took := time.Since(begun); took < 1500*time.Millisecond {
		t.Errorf("ended after %s, before --timeout", took)
	}

	// Again: as a rule nothing at all fits any more, and the code says whether
	// this run, and not an earlier one, has stored something.
	got = kustospool(t, "", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", spool,
		"--max-disk", smallSpool, "--timeout", "500ms", "--json", file)
	before := r.Acked
	r = decode[report](t, got.out)
	code, says := exitUsage, "Nothing of the input was stored."
	if r.Acked > 0 {
		code, says = exitPart, "A part of the input is stored"
	}
	if before += r.Acked; got.code != code || r.Spooled != before || !strings.Contains(got.stderr, says) {
		t.Errorf("code %d, %+v: %s", got.code, r, got.stderr)
	}

	// With a target there is room again.
	out := t.TempDir()
	got = kustospool(t, "", "drain", "--to", "dir:"+out, "--spool", spool, "--max-disk", smallSpool, "--json")
	if r = decode[report](t, got.out); got.code != exitOK || r.Ingested != before {
		t.Errorf("code %d, %+v: %s", got.code, r, got.stderr)
	}
}

// A target that delivers makes the room that a small spool needs.
func TestSend_MoreThanTheSpoolHolds(t *testing.T) {
	got := kustospool(t, "", "send", "--to", "sim:", "--database", "D", "--table", "T", "--spool", filepath.Join(t.TempDir(), "s"),
		"--max-disk", smallSpool, "--timeout", "50s", "--json", manyRecords(t, tooMany))
	if r := decode[report](t, got.out); got.code != exitOK || r.Read != tooMany || r.Ingested != tooMany || !r.Inputs[0].Whole {
		t.Errorf("code %d, %+v: %s", got.code, r, got.stderr)
	}
}

// A full spool in which everything waits for an operator does not wait with it,
// even without --timeout.
func TestSend_FullSpoolOfAMissingTable(t *testing.T) {
	sim := simulator(t, nil)
	if err := sim.CreateTable("D", "Other"); err != nil {
		t.Fatal(err)
	}
	got := kustospool(t, "", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", filepath.Join(t.TempDir(), "s"),
		"--max-disk", smallSpool, manyRecords(t, tooMany))
	if got.code != exitPart || !strings.Contains(got.stderr, "The spool is full, and all that is in it waits for somebody to act:\n  D.T: held: BadRequest_TableNotExist") ||
		!strings.Contains(got.out, "many.json: ") || !strings.Contains(got.out, " stored, not all of it\n") {
		t.Errorf("%+v", got)
	}
}

func TestSend_EmptyInputSaysSo(t *testing.T) {
	empty, blank, one := write(t, "empty.json", ""), write(t, "blank.csv", "\n\r\n"), write(t, "one.json", "{}\n")
	base := []string{"send", "--to", "dir:" + t.TempDir(), "--database", "D", "--table", "T", "--spool", filepath.Join(t.TempDir(), "s")}
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{empty}, empty + ": holds no record.\n"},
		{[]string{"-"}, "-: holds no record.\n"},
		{[]string{blank, one, empty}, blank + ": holds no record.\n" + empty + ": holds no record.\n"},
		{[]string{"-q", empty}, ""},
		{[]string{one}, ""},
		{[]string{"-q", one}, ""},
		{[]string{"--again", one}, ""},
	} {
		got := kustospool(t, "", append(base, tc.args...)...)
		if got.code != exitOK || got.stderr != tc.says {
			t.Errorf("%q: code %d, %q", tc.args, got.code, got.stderr)
		}
	}
	r := decode[report](t, kustospool(t, "", append(base, "--json", "--again", empty, one)...).out)
	if len(r.Inputs) != 2 || r.Inputs[0] != (inputReport{Name: empty, Whole: true}) || r.Inputs[1] != (inputReport{Name: one, Records: 1, Whole: true}) {
		t.Errorf("%+v", r.Inputs)
	}
}

// -q leaves errors, and the report where it is asked for.
func TestSend_Quiet(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // the default spool's place is told, and not when quiet
	t.Setenv("HOME", t.TempDir())
	one := write(t, "one.json", "{}\n")
	to := []string{"send", "--again", "--to", "dir:" + t.TempDir(), "--database", "D", "--table", "T", one}
	if got := kustospool(t, "", to...); got.code != exitOK || !strings.Contains(got.stderr, "Spool: ") || got.out == "" {
		t.Errorf("not quiet: %+v", got)
	}
	if got := kustospool(t, "", append(to, "-q")...); got.code != exitOK || got.stderr != "" || got.out != "" {
		t.Errorf("quiet: %+v", got)
	}
	got := kustospool(t, "", append(to, "-q", "--json")...)
	if r := decode[report](t, got.out); got.code != exitOK || got.stderr != "" || r.Ingested != 1 {
		t.Errorf("quiet, with a report: %+v", got)
	}
	got = kustospool(t, "", "send", "-q", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", filepath.Join(t.TempDir(), "s"), "--timeout", "300ms", one)
	if got.code != exitPending || !strings.HasPrefix(got.stderr, "Not delivered within 300ms.\n") || got.out != "" {
		t.Errorf("quiet, and not delivered: %+v", got)
	}
	got = kustospool(t, "", append(to, "-q", "/none/such.json")...)
	if got.code != exitUsage || got.stderr != "kustospool send: /none/such.json: no such file or directory\n" {
		t.Errorf("quiet, and wrong: %+v", got)
	}
}

// A drain that delivers all says what earlier runs have left behind.
func TestDrain_SaysThatThereAreDeadLetters(t *testing.T) {
	sim := simulator(t, &kustosim.Options{AutoCreate: true})
	end := sim.IngestFault("D", "T", kustosim.IngestFault{Kind: kustosim.FailPermanent})
	spool := filepath.Join(t.TempDir(), "s")
	got := kustospool(t, "{\"a\":1}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", spool, "--json", "-")
	if r := decode[report](t, got.out); got.code != exitFailed || r.DeadLettered != 1 || r.DeadLetters != 1 || !strings.Contains(got.stderr, "Dead letters, each with its reason: "+filepath.Join(spool, "dead")+"\n  kustospool dead list --spool "+spool+"\n") {
		t.Fatalf("%+v", got)
	}
	end()
	got = kustospool(t, "", "drain", "--to", sim.Endpoint(), "--spool", spool)
	if got.code != exitOK || !strings.Contains(squeeze(got.out), "dead letters 1 batches in the spool, those of earlier runs included") ||
		!strings.Contains(got.stderr, "The spool holds dead letters of earlier runs, 1, each with its reason: "+filepath.Join(spool, "dead")) {
		t.Errorf("%+v", got)
	}
	got = kustospool(t, "", "drain", "--to", sim.Endpoint(), "--spool", spool, "--json", "-q")
	if r := decode[report](t, got.out); got.code != exitOK || r.DeadLettered != 0 || r.DeadLetters != 1 || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	// Once they are dealt with nothing is said.
	files, err := filepath.Glob(filepath.Join(spool, "dead", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	got = kustospool(t, "", "drain", "--to", sim.Endpoint(), "--spool", spool, "--json")
	if r := decode[report](t, got.out); got.code != exitOK || r.DeadLetters != 0 || got.stderr != "" {
		t.Errorf("%+v", got)
	}
}

// A run that finds its spool damaged says so, and what may come twice of it.
func TestDrain_SaysWhatDamageItFound(t *testing.T) {
	spool := filepath.Join(t.TempDir(), "s")
	got := kustospool(t, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", spool, "--no-wait", "-")
	if got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	f, err := os.OpenFile(filepath.Join(spool, "manifest.db"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(bytes.Repeat([]byte("x"), 8192), 0)
	if cerr := f.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	got = kustospool(t, "", "drain", "--to", "dir:"+t.TempDir(), "--spool", spool, "--json")
	r := decode[report](t, got.out)
	if got.code != exitOK || r.Ingested != 3 || r.AtStart == nil || len(r.AtStart.Damage) == 0 || r.AtStart.PossibleDuplicates != 3 {
		t.Fatalf("code %d, %+v, %+v: %s", got.code, r, r.AtStart, got.stderr)
	}
	if !strings.Contains(got.stderr, "damage found when the spool was opened: "+r.AtStart.Damage[0]+"\n") || !strings.Contains(got.stderr, "possible duplicates in its books then: 3\n") {
		t.Errorf("says %q", got.stderr)
	}
	// The next one has nothing to say.
	got = kustospool(t, "", "drain", "--to", "dir:"+t.TempDir(), "--spool", spool)
	if got.code != exitOK || strings.Contains(got.out+got.stderr, "damage") {
		t.Errorf("%+v", got)
	}
}

// The next run waits for a spool in use, and is told who has it.
func TestSend_WaitsForASpoolInUse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	spool, err := engine.Open(dir, idle{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	stderr, says := io.Pipe()
	var out bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"send", "--to", "dir:" + t.TempDir(), "--database", "D", "--table", "T", "--spool", dir, "--lock-timeout", "1m", "--json", "-"},
			strings.NewReader("{}\n"), &out, says)
		_ = says.Close()
	}()
	lines := bufio.NewReader(stderr)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("spool %s is in use by pid %d ", dir, os.Getpid()); !strings.HasPrefix(first, want) || !strings.HasSuffix(first, "Waiting up to 1m0s for it (--lock-timeout).\n") {
		t.Errorf("says %q", first)
	}
	if err := spool.Close(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if code := <-ended; code != exitOK || err != nil || len(rest) > 0 {
		t.Errorf("code %d, %v, then says %q", code, err, rest)
	}
	if r := decode[report](t, out.String()); r.Ingested != 1 {
		t.Errorf("%+v", r)
	}
}

// An interrupt ends the waiting for a spool in use.
func TestSend_InterruptedWhileWaitingForASpool(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	spool, err := engine.Open(dir, idle{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	stderr, says := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"drain", "--to", "dir:" + t.TempDir(), "--spool", dir, "--lock-timeout", "1h"}, nil, io.Discard, says)
		_ = says.Close()
	}()
	lines := bufio.NewReader(stderr)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	interrupt()
	rest, err := io.ReadAll(lines)
	if code := <-ended; code != exitUsage || err != nil || !strings.Contains(string(rest), "is in use by pid") {
		t.Errorf("code %d, %v: %s", code, err, rest)
	}
}
