package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/internal/visible"
	"kustospool/operate"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// TestCommandsOfASpoolInUse: a spool that another process has open can be asked
// everything that can be asked of one at rest, and status is then the same as at rest.
func TestCommandsOfASpoolInUse(t *testing.T) {
	sim := simspool.Start(t, &kustosim.Options{})
	base, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	dir := filepath.Join(base, "spool")
	child := process(t, "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--format", "json", "--spool", dir, "--batch-age", "50ms")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = child.Process.Kill()
			_ = child.Wait()
		}
	})
	for i := range 3 {
		if _, err := fmt.Fprintf(stdin, "{\"n\":%d}\n", i+1); err != nil {
			t.Fatal(err)
		}
	}
	// Its table is missing, so that its records wait for as long as the input does not end.
	var st operate.Status
	for {
		got := kustospool(t, "", "status", "--spool", dir, "--json")
		if got.code == exitOK {
			st = decode[operate.Status](t, got.out)
		}
		if len(st.Troubles) > 0 && len(st.Batches) > 0 {
			break
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	if !st.InUse || st.Counters.Acked == 0 || st.Counters.QuotaBytes == 0 || st.Spool != dir {
		t.Errorf("status %+v", st)
	}
	if tr := st.Troubles[0]; tr.Kind != operate.MissingTable || tr.Table != "D.T" || tr.Code != "BadRequest_DatabaseNotExist" || tr.Since.IsZero() || tr.Records == 0 {
		t.Errorf("trouble %+v", tr)
	}
	receipt := decode[peeked](t, kustospool(t, "", "peek", "T", "--spool", dir, "--json", "--limit", "1").out).ID
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"status"}, exitOK, "missing-table, table D.T"},
		{[]string{"status", receipt}, exitOK, "from number 1 on, batch " + st.Batches[0].ID},
		{[]string{"peek", "T"}, exitOK, `{"n":1}`},
		{[]string{"peek", "T", "--json", "--limit", "1"}, exitOK, `"record":{"n":1}`},
		{[]string{"peek", "X"}, exitUsage, "must be one of the spool's: D.T"},
		{[]string{"history"}, exitOK, "OUTCOME"},
		{[]string{"status", "--nagios"}, nagiosWarning, "missing-table, table D.T"},
		{[]string{"status", "x"}, exitUsage, "must be 32 characters long"},
	} {
		got := kustospool(t, "", append(tc.args, "--spool", dir)...)
		if got.code != tc.code || !strings.Contains(got.out+got.stderr, tc.says) {
			t.Errorf("%q in use: %+v", tc.args, got)
		}
	}
	// It goes on after an interrupt, and what the files say is what it said.
	if err := child.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // its code is of no interest here
	ended = true
	before := filesOf(t, dir)
	rest := decode[operate.Status](t, kustospool(t, "", "status", "--spool", dir, "--json").out)
	if rest.InUse || rest.Counters.Acked < st.Counters.Acked || len(rest.Lanes) != 1 || rest.Troubles[0].Kind != operate.NotRunning || rest.Troubles[1].Kind != operate.MissingTable {
		t.Errorf("at rest %+v", rest)
	}
	for _, args := range [][]string{{"status"}, {"status", receipt}, {"status", "--nagios"}, {"peek", "T"}, {"history"}} {
		kustospool(t, "", append(args, "--spool", dir)...)
	}
	if !maps.Equal(before, filesOf(t, dir)) {
		t.Error("looking at the spool at rest changed it")
	}
	_ = stdin.Close()
}

// TestKilledOwner: the socket that a killed process leaves behind misleads nobody.
func TestKilledOwner(t *testing.T) {
	base, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	dir := filepath.Join(base, "spool")
	child := process(t, "send", "--to", "dir:"+base+"/out", "--database", "D", "--table", "T", "--format", "json", "--spool", dir)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Lstat(filepath.Join(dir, operate.SocketName)); err == nil {
			break
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	_ = child.Process.Kill()
	var exit *exec.ExitError
	if err := child.Wait(); err == nil {
		t.Fatal("it ended well", exit)
	}
	if _, err := os.Lstat(filepath.Join(dir, operate.SocketName)); err != nil {
		t.Fatal("the killed process took its socket along")
	}
	before := filesOf(t, dir)
	if got := kustospool(t, "", "status", "--spool", dir); got.code != exitOK || !strings.Contains(got.out, "at rest") {
		t.Errorf("%+v", got)
	}
	if !maps.Equal(before, filesOf(t, dir)) {
		t.Error("status changed the spool")
	}
	spool, err := engine.Open(dir, idle{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := kustospool(t, "", "status", "--spool", dir); got.code != exitOK || !strings.Contains(got.out, "in use") {
		t.Errorf("%+v", got)
	}
	if err := spool.Close(); err != nil {
		t.Fatal(err)
	}
}

// A process that keeps silent is named, and what can be done.
func TestSilentOwner(t *testing.T) {
	dir := t.TempDir()
	spool, err := engine.Open(dir, idle{}, &engine.Options{NoSocket: true})
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	for _, args := range [][]string{{"status"}, {"peek", "T"}, {"history"}} {
		got := kustospool(t, "", append(args, "--spool", dir, "--lock-timeout", "0")...)
		if got.code != exitUsage || !strings.Contains(got.stderr, fmt.Sprint("in use by pid ", os.Getpid())) || !strings.Contains(got.stderr, "it has no socket") {
			t.Errorf("%q: %+v", args, got)
		}
	}
	got := kustospool(t, "", "status", "--spool", dir, "--lock-timeout", "0", "--nagios")
	if got.code != nagiosUnknownCode || !strings.HasPrefix(got.out, "KUSTOSPOOL UNKNOWN - ") || strings.Count(got.out, "\n") != 1 || got.stderr != "" {
		t.Errorf("%+v", got)
	}
}

// TestWatch: it goes on until it is interrupted, over the end of the process that
// had the spool.
func TestWatch(t *testing.T) {
	base, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	spool, err := engine.Open(base+"/s", transporttest.NewFakeWith(transport.Capabilities{ExactlyOnce: true}), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int)
	go func() {
		code := run(ctx, []string{"status", "--spool", base + "/s", "--watch", "--json", "--every", "100ms"}, strings.NewReader(""), w, io.Discard)
		w.Close()
		ended <- code
	}()
	d := json.NewDecoder(r)
	next := func() (st operate.Status) {
		t.Helper()
		if err := d.Decode(&st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	if !next().InUse {
		t.Error("not in use")
	}
	if err := spool.Close(); err != nil {
		t.Fatal(err)
	}
	for next().InUse {
	}
	stop()
	if _, err := io.Copy(io.Discard, io.MultiReader(d.Buffered(), r)); err != nil {
		t.Error(err)
	}
	if code := <-ended; code != exitOK {
		t.Errorf("code %d", code)
	}
}

// TestWatchLinesFit: whatever there is to show, it fits, and the worst is seen.
func TestWatchLinesFit(t *testing.T) {
	s := &operate.Status{Spool: "/var/spool/fleet", InUse: true, Rate: &operate.Rate{}}
	for i := range 100 {
		s.Lanes = append(s.Lanes, operate.Lane{Database: "D", Table: fmt.Sprint("a table with a long name, of many ", i), Open: 5,
			Failure: &ingest.Failure{Class: "held", Code: "BadRequest_TableNotExist", Message: strings.Repeat("words ", 100)}})
	}
	s.Troubles = operate.Diagnose(s)
	for _, rows := range []int{2, 5, 10, 24, 60, 200} {
		for _, columns := range []int{10, 40, 80, 200} {
			lines := watchLines(s, nil, columns, rows)
			if rows >= 10 && len(lines) > rows-1 {
				t.Errorf("%d x %d: %d lines", columns, rows, len(lines))
			}
			if rows >= 24 && columns >= 80 && (!strings.Contains(strings.Join(lines, "\n"), "missing-table") || !strings.Contains(lines[len(lines)-1], "more tables")) {
				t.Errorf("%d x %d:\n%s", columns, rows, strings.Join(lines, "\n"))
			}
		}
	}
	if got := watchLines(nil, fmt.Errorf("gone"), 80, 24); got[1] != "gone" {
		t.Errorf("%q", got)
	}
}

// TestNagios: the code, the words and the performance data, by bound and trouble.
func TestNagios(t *testing.T) {
	held := []operate.Lane{{Database: "D", Table: "T|x", Open: 1, Failure: &ingest.Failure{Class: "held", Message: "no\x1b[2J"}}}
	for _, tc := range []struct {
		name   string
		args   []string
		status operate.Status
		code   int
		says   string
	}{
		{"well", nil, operate.Status{InUse: true, Counters: operate.Counters{Acked: 7, FreeBytes: -1}}, nagiosOK,
			"KUSTOSPOOL OK - 0 records wait, the oldest for 0s | waiting=0;;;0; oldest=0s;3600;86400;0; dead_letters=0;1;;0; disk=0B;;;0; acked=7c;;;0; ingested=0c;;;0; dead_lettered=0c;;;0; dropped=0c;;;0;\n"},
		{"old", nil, operate.Status{InUse: true, Counters: operate.Counters{OldestSeconds: 3600, FreeBytes: -1}}, nagiosWarning, "WARNING - the oldest record waits for 1h0m |"},
		{"older", nil, operate.Status{InUse: true, Counters: operate.Counters{OldestSeconds: 86400, FreeBytes: -1}}, nagiosCritical, "CRITICAL - the oldest record waits for 1d0h |"},
		{"by flag", []string{"--critical-age", "1m"}, operate.Status{InUse: true, Counters: operate.Counters{OldestSeconds: 60, FreeBytes: -1}}, nagiosCritical, ";60;0;"},
		{"many", []string{"--warn-waiting", "5"}, operate.Status{InUse: true, Counters: operate.Counters{Open: 5, FreeBytes: -1}}, nagiosWarning, "5 records wait |"},
		{"full", nil, operate.Status{InUse: true, Counters: operate.Counters{DiskBytes: 80, QuotaBytes: 100, FreeBytes: -1}}, nagiosWarning, "80% of the room are used | waiting=0;;;0; oldest=0s;3600;86400;0; dead_letters=0;1;;0; disk=80B;80;95;0;100"},
		{"dead", nil, operate.Status{InUse: true, Counters: operate.Counters{DeadWaiting: 1, FreeBytes: -1}}, nagiosWarning, "1 dead letter waits |"},
		{"dead and no matter", []string{"--warn-dead", "0"}, operate.Status{InUse: true, Counters: operate.Counters{DeadWaiting: 1, FreeBytes: -1}}, nagiosOK, "OK"},
		{"held", nil, operate.Status{InUse: true, Lanes: held, Counters: operate.Counters{FreeBytes: -1}}, nagiosWarning, "table-held, table D.T/x: "},
		{"damaged", nil, operate.Status{InUse: true, Counters: operate.Counters{QuarantinedFiles: 2, FreeBytes: -1}}, nagiosCritical, "damaged: 2 files"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs, settings := flagSet(statusCommand())
			if err := fs.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			tc.status.Troubles = operate.Diagnose(&tc.status)
			var out strings.Builder
			code, err := settings.(*statusSettings).bounds.judge(&visible.Writer{W: &out}, &tc.status)
			if err != nil || code != tc.code || !strings.Contains(out.String(), tc.says) || strings.Count(out.String(), "\n") != 1 || strings.Count(out.String(), "|") != 1 || strings.Contains(out.String(), "\x1b") {
				t.Errorf("code %d, %v: %s", code, err, out.String())
			}
		})
	}
}

// Flags that do not go together, or make no sense, are told.
func TestStatusUsage(t *testing.T) {
	dir := makeSample(t).dir
	for _, args := range [][]string{{"--watch", "--nagios"}, {"x", "--watch"}, {"--every", "1ms"}, {"--limit", "-1"}, {"--warn-age", "-1s"}, {"a", "b"}} {
		got := kustospool(t, "", append([]string{"status", "--spool", dir}, args...)...)
		if got.code != exitUsage && got.code != nagiosUnknownCode {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if got := kustospool(t, "", "status", "--spool", dir, "--every", (50 * time.Millisecond).String()); !strings.Contains(got.stderr, "--every 50ms: must be at least 100ms") {
		t.Errorf("%+v", got)
	}
}
