package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// asCommand makes this test binary the command.
const asCommand = "KUSTOSPOOL_TEST_AS_COMMAND"

// dieAt has such a command killed at a crash point, POINT:N for the nth time
// that it is reached.
const dieAt = "KUSTOSPOOL_TEST_DIE_AT"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		if point, nth, ok := strings.Cut(os.Getenv(dieAt), ":"); ok {
			n, err := strconv.Atoi(nth)
			if err != nil {
				panic(err)
			}
			crashpoint.Arm(point, n, func() {
				if self, err := os.FindProcess(os.Getpid()); err != nil || self.Kill() != nil {
					panic("the process cannot be killed")
				}
				select {} // nothing behind the point happens
			})
		}
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// process is the command as a process of its own. Nothing of the test's
// environment decides what it shows.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "NO_COLOR" && name != "TERM" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, asCommand+"=1", "TERM=xterm")
	return cmd
}

// result is what a run of the command left.
type result struct {
	code        int
	out, stderr string
}

// command runs the command in this process, with text on standard input.
func kustospool(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return kustospoolUntil(t, t.Context(), stdin, args...)
}

func kustospoolUntil(t *testing.T, ctx context.Context, stdin string, args ...string) result {
	t.Helper()
	var out, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &out, &stderr)
	return result{code, out.String(), stderr.String()}
}

// write makes a file in a directory of the test's own and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun_HelpAndUnknown(t *testing.T) {
	for _, tc := range []struct {
		args   string
		code   int
		out    string // standard output holds it; empty: there is none
		stderr string
	}{
		{args: "", code: exitUsage, stderr: "Commands:"},
		{args: "help", code: exitOK, out: "status"},
		{args: "--help", code: exitOK, out: "Commands:"},
		{args: "help send", code: exitOK, out: "--mapping-reference"},
		{args: "send --help", code: exitOK, out: "Examples:"},
		{args: "drain -h", code: exitOK, out: "Exit codes:"},
		{args: "status --help", code: exitOK, out: "--limit"},
		{args: "sim --help", code: exitOK, out: "--auto-create"},
		{args: "help nope", code: exitUsage, stderr: `no command "nope"`},
		{args: "nope", code: exitUsage, stderr: `no command "nope"`},
		{args: "send --nope", code: exitUsage, stderr: "unknown flag: --nope"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			got := kustospool(t, "", strings.Fields(tc.args)...)
			if got.code != tc.code || !strings.Contains(got.out, tc.out) || (got.out == "") != (tc.out == "") || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestSend_BadInput holds that every mistake is exit code 2 with a message
// that names it, and that not even a spool directory comes of it.
func TestSend_BadInput(t *testing.T) {
	good := write(t, "good.json", "{}\n")
	bad := write(t, "bad.json", "{}\n{}\n{\"a\":\n1}\n")
	worse := write(t, "worse.json.gz", "{}")
	foreign := filepath.Dir(write(t, "letter.txt", "dear all"))
	plainFile := write(t, "file", "x")
	hugeMapping := write(t, "mapping.json", "["+strings.Repeat(" ", ingest.MaxMappingBytes)+"]")
	long := write(t, "long.json", "{}\n"+strings.Repeat("1", ingest.MaxRecordBytes+1)+"\n")
	empty := write(t, "empty.parquet", "")
	base := []string{"--database", "D", "--table", "T"}
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"no target", []string{good}, "--to is missing"},
		{"typo in scheme", []string{"--to", "htps://c.kusto.windows.net", good}, `"htps://c.kusto.windows.net": must begin with https://`},
		{"one slash", []string{"--to", "https:/c.kusto.windows.net", good}, "must name a host"},
		{"no scheme", []string{"--to", "c.kusto.windows.net", good}, "must begin with https://"},
		{"typo in domain", []string{"--to", "https://c.kusto.windws.net", good}, "windws"},
		{"http to elsewhere", []string{"--to", "http://c.kusto.windows.net", good}, "http is for this machine"},
		{"password in URL", []string{"--to", "https://u:hunter2@c.kusto.windows.net", good}, "user name or password"},
		{"query in URL", []string{"--to", "https://c.kusto.windows.net?database=D", good}, "must have no query"},
		{"unknown source of outcomes", []string{"--to", "sim:", "--outcomes", "queue", good}, `--outcomes "queue": must be table, peek or take`},
		{"unknown protocol", []string{"--to", "sim:", "--protocol", "v3", good}, `--protocol "v3": must be auto, queue or rest`},
		{"sim with address", []string{"--to", "sim:8080", good}, "sim: takes nothing"},
		{"dir without path", []string{"--to", "dir:", good}, "names no directory"},
		{"unknown auth", []string{"--to", "https://c.kusto.windows.net", "--auth", "magic", good}, `--auth "magic"`},
		{"no auth for a cluster", []string{"--to", "https://c.kusto.windows.net", "--auth", "none", good}, "--auth none is for a simulator"},
		{"empty database", []string{"--to", "sim:", "--database", "", good}, "--database \"\": must not be empty"},
		{"table not UTF-8", []string{"--to", "sim:", "--table", "T\xff", good}, "must be valid UTF-8"},
		{"unknown format", []string{"--to", "sim:", "--format", "xml", good}, `send: --format "xml": must be one of`},
		{"format not told", []string{"--to", "sim:", plainFile}, "does not tell the format"},
		{"two mappings", []string{"--to", "sim:", "--mapping", "[{}]", "--mapping-reference", "m", good}, "exclude each other"},
		{"mapping no JSON", []string{"--to", "sim:", "--mapping", "{", good}, "must be a JSON array"},
		{"mapping file missing", []string{"--to", "sim:", "--mapping", "@/none/such", good}, "--mapping: open /none/such"},
		{"mapping too large", []string{"--to", "sim:", "--mapping", "@" + hugeMapping, good}, "must have at most 32768 bytes"},
		{"bad creation time", []string{"--to", "sim:", "--creation-time", "yesterday", good}, "--creation-time"},
		{"empty tag", []string{"--to", "sim:", "--tag", "", good}, "--tag"},
		{"guarantee", []string{"--to", "sim:", "--guarantee", "twice", good}, "send: --guarantee \"twice\": must be exactly-once or at-least-once"},
		{"confirm", []string{"--to", "sim:", "--confirm", "maybe", good}, "must be ingested or accepted"},
		{"batch bytes", []string{"--to", "sim:", "--batch-bytes", "1", good}, "--batch-bytes 1: "},
		{"senders", []string{"--to", "sim:", "--senders", "1000", good}, "--senders 1000: must be from 1 to 256"},
		{"max disk", []string{"--to", "sim:", "--max-disk", "1MiB", good}, "--max-disk 1048576: must be at least 16777216 bytes, 16 MiB"},
		{"lock timeout", []string{"--to", "sim:", "--lock-timeout", "-1s", good}, "--lock-timeout -1s: must not be negative"},
		{"timeout", []string{"--to", "sim:", "--timeout", "-1s", good}, "must not be negative"},
		{"header of json", []string{"--to", "sim:", "--skip-header", good}, "has no header line"},
		{"missing file", []string{"--to", "sim:", good, "/none/such.json"}, "/none/such.json: "},
		{"directory", []string{"--to", "sim:", "--format", "json", foreign}, "is a directory"},
		{"stdin twice", []string{"--to", "sim:", "-", "-"}, "read only once"},
		{"newline in record", []string{"--to", "sim:", good, bad}, "bad.json:3: a json record is one line"},
		{"not gzip", []string{"--to", "sim:", worse}, "worse.json.gz: is not gzip data"},
		{"all bad inputs at once", []string{"--to", "sim:", bad, worse}, "bad.json:3: a json record is one line and must not hold a newline; give --format multijson for arrays and for documents of several lines or several in one line\n"},
		{"record too long", []string{"--to", "sim:", long}, "long.json:2: a record may have at most 67108864 bytes"},
		{"empty object", []string{"--to", "sim:", empty}, "empty.parquet: is empty"},
		{"rows of a cluster", []string{"--to", "dir:" + foreign, "--rows-out", "-", good}, "--rows-out reads the rows of --to sim: only"},
		{"two uses of stdout", []string{"--to", "sim:", "--rows-out", "-", "--json", good}, "both want standard output"},
		{"foreign spool directory", []string{"--to", "sim:", "--spool", foreign, good}, `is not empty and not a spool (it holds "letter.txt")`},
		{"spool is a file", []string{"--to", "sim:", "--spool", plainFile, good}, plainFile},
		{"unwritable spool", []string{"--to", "sim:", "--spool", filepath.Join(plainFile, "spool"), good}, plainFile},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spool := filepath.Join(t.TempDir(), "spool")
			// Later flags win, so a case overrides what it is about.
			args := append([]string{"send", "--spool", spool}, base...)
			got := kustospool(t, "{}\n", append(args, tc.args...)...)
			if got.code != exitUsage || !strings.Contains(got.stderr, tc.want) || got.out != "" {
				t.Errorf("code %d, stdout %q, stderr %q, want %q", got.code, got.out, got.stderr, tc.want)
			}
			if strings.Contains(got.stderr, "hunter2") {
				t.Errorf("the message repeats a secret: %q", got.stderr)
			}
			if _, err := os.Stat(spool); err == nil {
				t.Error("a spool was created")
			}
		})
	}
	if files, _ := os.ReadDir(foreign); len(files) != 1 {
		t.Errorf("the foreign directory was touched: %v", files)
	}
}

func TestDrainAndStatus_BadInput(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, tc := range []struct{ args, want string }{
		{"drain", "--to is missing"},
		{"drain --to sim:", "--spool is missing"},
		{"drain --to sim: --spool " + none, "there is no spool in"},
		{"drain --to sim: x.json", "takes no files"},
		{"status", "name the spool"},
		{"status --to sim: --spool x", "there is no spool in x"},
		{"status --spool " + none, "there is no spool in"},
		{"status --spool x --limit -1", "--limit"},
		{"sim extra", "takes no arguments"},
		{"sim --listen 192.0.2.1:0", "loopback"},
		{"sim --table Demo", "must be DB.TABLE"},
		{"sim --table .T", "database"},
		{"sim --table D.T(a", "not closed"},
		{"sim --table D.T(a)", "NAME:TYPE"},
		{"sim --table D.T(a:nope)", "nope"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			got := kustospool(t, "", strings.Fields(tc.args)...)
			if got.code != exitUsage || !strings.Contains(got.stderr, tc.want) {
				t.Errorf("got %+v, want %q", got, tc.want)
			}
		})
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("looking for a spool created one")
	}
}
