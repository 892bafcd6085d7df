package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kustospool/internal/kustosim"
)

// TestSim_ServesASender runs the simulator's command beside a sender's and
// does what its announcement says.
func TestSim_ServesASender(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	pr, pw := io.Pipe()
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		code := run(ctx, []string{"sim", "--table", "Demo.Telemetry", "--table", "Demo.Typed(a:long,b:string)"}, strings.NewReader(""), pw, &stderr)
		pw.Close()
		ended <- code
	}()
	lines := bufio.NewScanner(pr)
	if !lines.Scan() {
		t.Fatalf("the simulator said nothing: %s", stderr.String())
	}
	endpoint, ok := strings.CutPrefix(lines.Text(), "listening on ")
	if !ok {
		t.Fatalf("first line %q", lines.Text())
	}
	said := make(chan string, 1)
	go func() {
		var b strings.Builder
		for lines.Scan() {
			b.WriteString(lines.Text() + "\n")
		}
		said <- b.String()
	}()

	for _, send := range []struct{ table, in string }{
		{"Telemetry", "{\"x\":[1,2.50]}\n{\"x\":\"é\"}\n"},
		{"Typed", "{\"a\":1,\"b\":\"é\"}\n"},
	} {
		args := []string{"send", "--to", endpoint, "--database", "Demo", "--table", send.table, "--spool", filepath.Join(t.TempDir(), "s")}
		if send.table == "Typed" {
			args = append(args, "--mapping", `[{"column":"a","Properties":{"Path":"$.a"}},{"column":"b","Properties":{"Path":"$.b"}}]`)
		}
		if got := kustospool(t, send.in, args...); got.code != exitOK {
			t.Fatalf("send: %+v", got)
		}
		if rows := get(t, endpoint+"/sim/rows?db=Demo&table="+send.table); rows != send.in {
			t.Errorf("%s: rows %q, want %q", send.table, rows, send.in)
		}
	}
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("code %d: %s", code, stderr.String())
	}
	if text := <-said; !regexp.MustCompile(`curl -s '` + regexp.QuoteMeta(endpoint) + `/sim/rows\?db=Demo&table=Telemetry'`).MatchString(text) {
		t.Errorf("it does not tell how to read rows:\n%s", text)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", res.StatusCode, err, body)
	}
	return string(body)
}

func TestSim_BadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"exclude each other":  {"--prefer-rest", "--no-rest"},
		"TOKEN=ROLE":          {"--principal", "secret"},
		"must be TOKEN=ROLE":  {"--principal", "secret=Emperor"},
		"ContainerRights":     {"--container-rights", "rl"},
		"MaxBlocks must not":  {"--max-blocks", "-1"},
		"TagRetention must":   {"--tag-retention", "-1s"},
		"Accounts 99":         {"--accounts", "99"},
		"loopback address":    {"--blob-host", "example.org:80"},
		"without a port":      {"--host", "example.org:80"},
		"must not be negativ": {"--batch-time", "-1s"},
	} {
		if got := kustospool(t, "", append([]string{"sim"}, args...)...); got.code != exitUsage || !strings.Contains(got.stderr, want) || strings.Contains(got.stderr, "secret") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if token, role, err := parsePrincipal("a=b=ingestor+USER"); err != nil || token != "a=b" || role.String() != "Ingestor+User" {
		t.Errorf("%q, %v, %v", token, role, err)
	}
}

// The announcement of a simulator with tokens says that one is needed, and not
// which.
func TestSim_AnnouncesTheNeedOfAToken(t *testing.T) {
	for _, tokens := range []bool{true, false} {
		var out bytes.Buffer
		if err := announce(&console{out: &out}, "http://127.0.0.1:1", nil, tokens); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), `curl -s -H "Authorization: Bearer $TOKEN" 'http://`) != tokens || strings.Contains(out.String(), "without a credential") == tokens {
			t.Errorf("with tokens %v it says:\n%s", tokens, out.String())
		}
	}
}

// A malformed line of json is passed over, and with --strict-json fails its blob.
func TestSim_StrictJSON(t *testing.T) {
	for flag, want := range map[string]string{"": "ingested 1, passed over 1, failed 0", "--strict-json": "ingested 0, passed over 0, failed 1"} {
		args := []string{"--table", "Demo.T"}
		if flag != "" {
			args = append(args, flag)
		}
		p, err := recipe{args: args}.start(t)
		if err != nil {
			t.Fatal(err)
		}
		_, _, uri := p.put(0, "a.json", "{\"n\":1}\n{\"n\":\n")
		p.enqueue(uri, "")
		s := p.wait(func(s kustosim.Stats) bool { return s.Ingested > 0 || len(s.Failed) > 0 })
		if got := fmt.Sprintf("ingested %d, passed over %d, failed %d", s.Ingested, s.MalformedLines, len(s.Failed)); got != want {
			t.Errorf("%q: %s, want %s", flag, got, want)
		}
	}
}
