package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/internal/kustosim"
)

// A spool with records of one target is not delivered to another by a slip of
// --to; that it can be, when it is asked for, is the control.
func TestSend_SpoolOfAnotherTarget(t *testing.T) {
	a, b := "dir:"+t.TempDir(), "dir:"+t.TempDir()
	down := "http://127.0.0.1:1"
	spool := filepath.Join(t.TempDir(), "spool")
	send := func(to string, more ...string) result {
		return kustospool(t, "{}\n", append([]string{"send", "--to", to, "--database", "D", "--table", "T", "--spool", spool, "--json"}, more...)...)
	}
	if got := send(down, "--no-wait"); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	if was, err := readTarget(spool); err != nil || was != down {
		t.Errorf("target %q, %v", was, err)
	}
	got := send(a)
	if got.code != exitUsage || !strings.Contains(got.stderr, "\n  kustospool drain --to "+down+" --spool "+spool+"\n") || !strings.Contains(got.stderr, "--retarget") {
		t.Errorf("%+v", got)
	}
	if n, err := spooledIn(spool, false); n != 1 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
	// The control: it is delivered where that is asked for.
	got = send(a, "--retarget")
	if r := decode[report](t, got.out); got.code != exitOK || r.Ingested != 2 {
		t.Errorf("%+v", got)
	}
	// An empty spool is free for any target.
	if got = send(b); got.code != exitOK {
		t.Errorf("%+v", got)
	}
	if was, err := readTarget(spool); err != nil || was != b {
		t.Errorf("target %q, %v", was, err)
	}
	// Drain is explicit.
	if got := send(down, "--no-wait"); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	if got := kustospool(t, "", "drain", "--to", a, "--spool", spool); got.code != exitOK {
		t.Errorf("%+v", got)
	}
	// A damaged file is no permission.
	if err := os.WriteFile(filepath.Join(spool, targetFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := send(a); got.code != exitUsage || !strings.Contains(got.stderr, targetFile) {
		t.Errorf("%+v", got)
	}
}

// The database may stand in the address, as in a connection string; another one
// beside it is refused.
func TestDatabaseOfAnAddress(t *testing.T) {
	sim := simulator(t, &kustosim.Options{AutoCreate: true})
	to := sim.Endpoint() + "/D;Fed=True"
	spool := filepath.Join(t.TempDir(), "spool")
	for _, args := range [][]string{nil, {"--database", "D"}} {
		if got := kustospool(t, "{}\n", append([]string{"send", "--to", to, "--table", "T", "--spool", spool}, args...)...); got.code != exitOK {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if n := sim.Count("D", "T"); n != 2 {
		t.Errorf("%d rows", n)
	}
	got := kustospool(t, "{}\n", "send", "--to", to, "--table", "T", "--spool", spool, "--database", "E")
	if got.code != exitUsage || !strings.Contains(got.stderr, `the database "D", and --database "E"`) {
		t.Errorf("%+v", got)
	}
	if got = kustospool(t, "", "drain", "--to", to, "--spool", spool); got.code != exitOK {
		t.Errorf("drain: %+v", got)
	}
}

// A default spool that another spelling made is found, and a second one is
// named.
func TestDefaultSpoolsOfOlderSpellings(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	t.Setenv("LocalAppData", cache)
	of := func(spelling string) string {
		dir, _, err := target{kind: toDirectory, name: spelling}.defaultSpool()
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	c, err := parseTarget("https://private-c.we.kusto.windows.net/db;Fed=True")
	if err != nil {
		t.Fatal(err)
	}
	spoolAt := func(dir string) {
		got := kustospool(t, "{}\n", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", dir, "--no-wait")
		if got.code != exitOK {
			t.Fatalf("%+v", got)
		}
	}
	want := func(dir string, others ...string) {
		t.Helper()
		got, older, err := c.defaultSpool()
		if err != nil || got != dir || strings.Join(older, " ") != strings.Join(others, " ") {
			t.Errorf("%s and %v, %v; want %s and %v", got, older, err, dir, others)
		}
	}
	canonical, ingest, port := of("https://c.we.kusto.windows.net"), of("https://ingest-c.we.kusto.windows.net"), of("https://c.we.kusto.windows.net:443")
	want(canonical)
	spoolAt(port)
	want(port)
	spoolAt(ingest)
	want(ingest, port)
	spoolAt(canonical)
	want(canonical, ingest, port)
}
