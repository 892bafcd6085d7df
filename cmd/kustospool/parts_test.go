package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/operate"
)

func TestByteSize(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int64 // -1: refused
		text string
	}{
		{"1048576", 1 << 20, "1MiB"}, {"100MB", 100e6, "100000000"}, {"64 MiB", 64 << 20, "64MiB"}, {"8gib", 8 << 30, "8GiB"},
		{"3KB", 3000, "3000"}, {"5B", 5, "5"}, {"0", 0, ""},
		{"", -1, ""}, {"-1", -1, ""}, {"1.5GB", -1, ""}, {"9999999999GiB", -1, ""}, {"12QB", -1, ""}, {"MB", -1, ""},
	} {
		var b byteSize
		err := b.Set(tc.in)
		if (err != nil) != (tc.want < 0) || err == nil && (int64(b) != tc.want || b.String() != tc.text) {
			t.Errorf("%q: %d, %q, %v", tc.in, int64(b), b.String(), err)
		}
	}
}

func TestShortBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 13825125: "13.2 MiB", 1 << 40: "1 TiB", 1 << 50: "1.02e+03 TiB", 1023 << 10: "0.999 MiB"} {
		if got := shortBytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	abs, err := filepath.Abs("x")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]target{
		"sim:":                            {kind: toSimulator, name: "sim:", text: "sim:"},
		"dir:x":                           {kind: toDirectory, name: "dir:" + abs, text: "dir:" + abs, dir: abs},
		"https://C.Kusto.Windows.net/":    {kind: toCluster, name: "https://c.kusto.windows.net", text: "https://c.kusto.windows.net", endpoint: "https://c.kusto.windows.net"},
		"http://127.0.0.1:8080":           {kind: toCluster, name: "http://127.0.0.1:8080", text: "http://127.0.0.1:8080", endpoint: "http://127.0.0.1:8080", loopback: true},
		"http://[::1]:8080":               {kind: toCluster, name: "http://[::1]:8080", text: "http://[::1]:8080", endpoint: "http://[::1]:8080", loopback: true},
		"http://localhost":                {kind: toCluster, name: "http://localhost", text: "http://localhost", endpoint: "http://localhost", loopback: true},
		"https://trd-1.z0.kusto.fabric.x": {kind: toCluster, name: "https://trd-1.z0.kusto.fabric.x", text: "https://trd-1.z0.kusto.fabric.x", endpoint: "https://trd-1.z0.kusto.fabric.x"},
	} {
		got, err := parseTarget(in)
		got.given = ""
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	one, _ := parseTarget("https://a.kusto.windows.net")
	two, _ := parseTarget("https://b.kusto.windows.net")
	first, _, err1 := one.defaultSpool()
	again, _, _ := one.defaultSpool()
	second, _, err2 := two.defaultSpool()
	if err1 == nil && err2 == nil && (first != again || first == second) {
		t.Errorf("default spools %q, %q, %q", first, again, second)
	}
}

func TestParseTable(t *testing.T) {
	got, err := parseTable("Demo.Some.Table( a:long , b : dynamic)")
	want := tableSpec{"Demo", "Some.Table", []kustosim.Column{{Name: "a", Type: "long"}, {Name: "b", Type: "dynamic"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"": "''", "/var/spool": "/var/spool", "it's here": `'it'\''s here'`, "https://h:1": "https://h:1", "$HOME": "'$HOME'", "ü": "'ü'"} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestAllHeld(t *testing.T) {
	begun := time.Now()
	said := func(at time.Time) *ingest.Failure { return &ingest.Failure{Class: "held", Message: "no table", At: at} }
	now := begun.Add(time.Second)
	queued := func(n int64) engine.LaneStats {
		return engine.LaneStats{Waiting: engine.Backlog{Records: n}, Batches: engine.Batches{Sealed: n}}
	}
	open := engine.LaneStats{Waiting: engine.Backlog{Records: 1, Open: 1}}
	behind := engine.LaneStats{Waiting: engine.Backlog{Records: 2, Open: 1}, Batches: engine.Batches{Sealed: 1}}
	heldBack := func(l engine.LaneStats, at time.Time) engine.LaneStats {
		l.Held, l.Failure = true, said(at)
		return l
	}
	underWay := engine.LaneStats{Waiting: engine.Backlog{Records: 1}, Batches: engine.Batches{Accepted: 1}}
	held := heldBack(queued(3), now)
	for _, tc := range []struct {
		name  string
		lanes []engine.LaneStats
		full  bool
		want  bool
	}{
		{"nothing left", nil, false, false},
		{"held", []engine.LaneStats{held, held}, false, true},
		{"one has nothing waiting", []engine.LaneStats{held, {}}, false, true},
		{"one moves", []engine.LaneStats{held, queued(1)}, false, false},
		{"one under way", []engine.LaneStats{heldBack(underWay, now)}, false, false},
		{"one has open records", []engine.LaneStats{heldBack(open, now)}, false, false},
		{"one has open records behind its batches", []engine.LaneStats{heldBack(behind, now)}, false, true},
		{"one has open records, in a full spool", []engine.LaneStats{heldBack(open, now)}, true, true},
		{"another has open records, in a full spool", []engine.LaneStats{held, open}, true, false},
		{"not tried in this run", []engine.LaneStats{heldBack(queued(1), begun.Add(-time.Hour))}, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := allHeld(&engine.Stats{Lanes: tc.lanes}, begun, tc.full); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestObstacle(t *testing.T) {
	lane := func(table string, held bool) engine.LaneStats {
		return engine.LaneStats{Waiting: engine.Backlog{Records: 1}, Properties: ingest.Properties{Database: "D", Table: table}, Held: held,
			Failure: &ingest.Failure{Class: "held", Code: "BadRequest_TableNotExist", Message: "no such table"}}
	}
	if got := obstacle(&engine.Stats{}); got != "" {
		t.Errorf("nothing: %q", got)
	}
	if got, want := obstacle(&engine.Stats{Unhealthy: &ingest.Failure{Class: "transient", Message: "refused"}}), "transient: refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got := obstacle(&engine.Stats{Lanes: []engine.LaneStats{{}, lane("A", true), lane("B", false)}})
	if want := "D.A waits: held: BadRequest_TableNotExist: no such table (and 1 more tables)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReport(t *testing.T) {
	before := engine.Stats{Acked: 10, Waiting: engine.Backlog{Records: 5}, Settled: engine.Settled{Ingested: 5},
		SettledBatches: engine.SettledBatches{Ingested: 1}, RawBytes: 100, WireBytes: 10}
	after := engine.Stats{Acked: 110, Waiting: engine.Backlog{Records: 10, Open: 4}, RawBytes: 5100, WireBytes: 510,
		Settled:        engine.Settled{Ingested: 80, Skipped: 10, DeadLettered: 2, Dropped: 1, HandedOver: 7},
		SettledBatches: engine.SettledBatches{Ingested: 4, Skipped: 2, HandedOver: 1, DeadLettered: 1, Dropped: 1, Split: 3},
		Duplicates:     engine.Duplicates{Possible: 3}}
	r := report{Read: 100, Blank: 8}
	r.since(before, after, 1234567890*time.Nanosecond)
	want := report{Read: 100, Acked: 100, Ingested: 85, DeadLettered: 2, Spooled: 10, Batches: 8, RawBytes: 5000, CompressedBytes: 500,
		PossibleDuplicates: 3, Seconds: 1.235, Skipped: 10, HandedOver: 7, Dropped: 1, Blank: 8}
	if !reflect.DeepEqual(r, want) {
		t.Fatalf("got %+v\nwant %+v", r, want)
	}

	var out bytes.Buffer
	if err := r.writeJSON(&out); err != nil {
		t.Fatal(err)
	}
	var keys map[string]json.Number
	if err := json.Unmarshal(out.Bytes(), &keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range strings.Fields("read acked ingested dead_lettered spooled batches raw_bytes compressed_bytes possible_duplicates seconds") {
		if _, ok := keys[k]; !ok {
			t.Errorf("--json has no %q: %s", k, out.String())
		}
	}
	out.Reset()
	if err := r.writeText(&out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"records read  100", "dead-lettered    2", "compressed bytes  500"} {
		if !strings.Contains(squeeze(out.String()), squeeze(line)) {
			t.Errorf("no %q in\n%s", line, out.String())
		}
	}

	whole, changed := []inputReport{{Whole: true}}, []inputReport{{Whole: true}, {Whole: true, Change: "grew"}}
	for _, tc := range []struct {
		name string
		r    report
		o    outcome
		err  error
		want int
	}{
		{"all is well", report{Acked: 1, Inputs: whole}, outcome{}, nil, exitOK},
		{"undelivered", report{Spooled: 1}, outcome{why: timedOut}, nil, exitPending},
		{"undelivered, and not to be", report{Spooled: 1}, outcome{noWait: true}, nil, exitOK},
		{"dead-lettered", report{DeadLettered: 1}, outcome{}, nil, exitFailed},
		{"dropped and undelivered", report{Dropped: 1, Spooled: 1}, outcome{}, nil, exitFailed},
		{"an error", report{Acked: 1}, outcome{}, io.ErrUnexpectedEOF, exitFailed},
		{"a part", report{Acked: 1, Spooled: 1}, outcome{unread: true}, io.ErrUnexpectedEOF, exitPart},
		{"a part, and dead letters", report{Acked: 1, DeadLettered: 1}, outcome{unread: true, why: interrupted}, nil, exitPart},
		{"nothing", report{Spooled: 7}, outcome{unread: true}, io.ErrUnexpectedEOF, exitUsage},
		{"nothing, or something", report{}, outcome{unread: true}, fmt.Errorf("x: %w", engine.ErrOutcomeUnknown), exitPart},
		{"changed", report{Acked: 1, Inputs: changed}, outcome{}, nil, exitChanged},
		{"changed and undelivered", report{Acked: 1, Spooled: 1, Inputs: changed}, outcome{noWait: true}, nil, exitChanged},
	} {
		if got := tc.r.code(tc.o, tc.err); got != tc.want {
			t.Errorf("%s: code %d, want %d", tc.name, got, tc.want)
		}
	}
}

// squeeze makes every run of spaces one.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestInFlags(t *testing.T) {
	senders := &ingest.FieldError{Field: "Options.Senders", Value: "1000", Rule: "must be from 1 to 256"}
	room := &ingest.FieldError{Field: "data", Value: "of 9 bytes", Rule: "does not fit into a spool of 8 bytes (MaxDiskBytes)"}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{senders, "--senders 1000: must be from 1 to 256"},
		{usageError{errors.Join(senders, &ingest.FieldError{Field: "max age", Value: "-1s", Rule: "must be positive"})}, "--senders 1000: must be from 1 to 256\n--batch-age -1s: must be positive"},
		{fmt.Errorf("a.json: %w", room), "a.json: data of 9 bytes: does not fit into a spool of 8 bytes (--max-disk)"},
		{io.EOF, "EOF"},
		{budgetError(t, "25:00-06:00", 0), "--window 25:00-06:00: must be two different times of a day in UTC, such as 22:00-06:00"},
		{budgetError(t, "", 20000), "--budget-day 20000: must be 0 for no bound, or at least 65536"},
	} {
		if got := inFlags(tc.err); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

// budgetError is what the flags of a budget are refused with.
func budgetError(t *testing.T, window string, day int64) error {
	s := &deliverySettings{spool: t.TempDir(), budget: budgetSettings{day: byteSize(day)}}
	if window != "" {
		s.budget.windows = []string{window}
	}
	_, err := s.meter(target{kind: toCluster})
	return err
}

func TestCredential(t *testing.T) {
	cluster := target{kind: toCluster, text: "https://c.kusto.windows.net"}
	local := target{kind: toCluster, name: "http://127.0.0.1:1", text: "http://127.0.0.1:1", loopback: true}
	for _, name := range []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"} {
		t.Setenv(name, "")
	}
	for _, tc := range []struct {
		auth string
		t    target
		env  map[string]string
		none bool   // no credential, no error
		err  string // part of the error
	}{
		{auth: "none", t: local, none: true},
		{auth: "default", t: local, none: true},
		{auth: "default", t: cluster},
		{auth: "azcli", t: cluster},
		{auth: "workload", t: cluster, err: "--auth"},
		{auth: "workload", t: cluster, env: map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "/none/such", "AZURE_CLIENT_ID": "i", "AZURE_TENANT_ID": "t"}},
		{auth: "managed-identity", t: cluster},
		{auth: "client-secret", t: cluster, err: "set AZURE_CLIENT_SECRET"},
		{auth: "client-secret", t: cluster, env: map[string]string{"AZURE_CLIENT_SECRET": "s", "AZURE_CLIENT_ID": "i", "AZURE_TENANT_ID": "t"}},
		{auth: "client-certificate", t: cluster, err: "set AZURE_CLIENT_CERTIFICATE_PATH"},
		{auth: "client-certificate", t: cluster, env: map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": "/none/such.pem"}, err: "/none/such.pem"},
		{auth: "none", t: cluster, err: "asks for a token"},
		{auth: "x", t: cluster, err: "must be one of"},
	} {
		t.Run(tc.auth, func(t *testing.T) {
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			cred, err := identity{auth: tc.auth}.credential(tc.t)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || codeOf(err) != exitUsage {
					t.Errorf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil || (cred == nil) != tc.none {
				t.Errorf("credential %v, error %v", cred, err)
			}
		})
	}
}

// A sovereign cluster's credential goes to its own login service.
func TestLoginOf(t *testing.T) {
	t.Setenv("AZURE_AUTHORITY_HOST", "")
	for host, want := range map[string]string{
		"c.westeurope.kusto.windows.net":          "",
		"c.usgovvirginia.kusto.usgovcloudapi.net": "https://login.microsoftonline.us/",
		"c.chinaeast2.kusto.chinacloudapi.cn":     "https://login.chinacloudapi.cn/",
		"w.kusto.azuresynapse.azure.cn":           "https://login.chinacloudapi.cn/",
		"kusto.usgovcloudapi.net.example.org":     "",
	} {
		at := target{kind: toCluster, endpoint: "https://" + host}
		if got := loginOf(at).Cloud.ActiveDirectoryAuthorityHost; got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	t.Setenv("AZURE_AUTHORITY_HOST", "https://login.example.org/")
	if got := loginOf(target{endpoint: "https://c.kusto.usgovcloudapi.net"}).Cloud.ActiveDirectoryAuthorityHost; got != "" {
		t.Errorf("AZURE_AUTHORITY_HOST does not decide: %q", got)
	}
}

// A rate is read at a glance, a large one too.
func TestRateText(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.0 / 600: "0.00167", 0.5: "0.5", 12.345: "12.3", 999.4: "999", 999.6: "1000", 12345.6: "12346", 2.5e6: "2500000"} {
		if got := few(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	empty := 90.0
	if got := rateText(&operate.Rate{Records: 12345, Bytes: 2 << 20}, &empty); got != "12345 records/s, 2 MiB/s, empty in 1m30s" {
		t.Error(got)
	}
	if got := rateText(&operate.Rate{}, nil); got != "0 records/s, 0 B/s; not emptying" {
		t.Error(got)
	}
}
