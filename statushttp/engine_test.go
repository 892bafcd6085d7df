package statushttp

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// until waits for a look at which the page is as it should be.
func until(t *testing.T, p *Page, what string, ok func(page string) bool) string {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		_, changed := p.watch.latest()
		body := bodyOf(t, serve(p, local("GET", "/", "")))
		if ok(body) {
			return body
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: the page is %s", what, body)
		}
	}
}

func has(parts ...string) func(string) bool {
	return func(body string) bool {
		for _, part := range parts {
			if !strings.Contains(body, part) {
				return false
			}
		}
		return true
	}
}

// A real spool, asked through its socket as by another process: an outage, a pause, a
// dead letter, and the end of the program.
func TestSpoolOfAnotherProcess(t *testing.T) {
	dir, err := os.MkdirTemp("", "ks") // a path that leaves room for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	fake := transporttest.NewFake()
	fake.Down(transporttest.Fail(transport.Transient))
	spool, err := engine.Open(dir, fake, nil)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = spool.Close()
		}
	}()
	client, err := operate.Dial(t.Context(), filepath.Join(dir, operate.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := open(t, client, &Options{Actions: true, Every: 100 * time.Millisecond})

	props := ingest.Properties{Database: "Demo", Table: "Readings", Format: ingest.JSON}
	if _, err := spool.Ingest(t.Context(), &ingest.Request{Properties: props, Data: []byte(`{"n":1}`)}); err != nil {
		t.Fatal(err)
	}
	if err := spool.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, p, "an outage", has(`data-records="1"`, "service-down", `data-table="Demo.Readings"`, `class="state waiting"`))
	if _, page := post(t, p, "/do/pause", url.Values{"table": {"Demo.Readings"}, "reason": {"a <b>test</b>"}}); !has("Demo.Readings is paused", "a &lt;b&gt;test", `class="state paused"`)(page) {
		t.Error(page)
	}
	if n := len(spool.Stats().Paused); n != 1 {
		t.Errorf("%d tables are paused", n)
	}
	if _, page := post(t, p, "/do/resume", url.Values{"table": {"Demo.Nowhere"}}); !has("✖ Not done", "must be one of the spool")(page) {
		t.Error(page)
	}
	post(t, p, "/do/resume", url.Values{"table": {"Demo.Readings"}})
	fake.Poison(func([]byte) bool { return true })
	fake.Down(nil)
	post(t, p, "/do/retry", url.Values{"table": {"Demo.Readings"}})
	body := until(t, p, "a dead letter", has(`data-records="0"`, `data-dead="`))
	_, id, _ := strings.Cut(body, `data-dead="`)
	id = id[:36]
	if page := bodyOf(t, serve(p, local("GET", "/dead/"+id, ""))); !has("{&#34;n&#34;:1}", "It stores 1 record again")(page) {
		t.Error(page)
	}
	fake.Poison(nil)
	if _, page := post(t, p, "/do/dead-retry", url.Values{"id": {id}}); !has("✔ Done", "Stored again: 1 record, for Demo.Readings")(page) {
		t.Error(page)
	}
	if err := spool.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, p, "delivered", func(body string) bool {
		return has(`data-records="0"`, "<dt>– of them ingested</dt><dd>1</dd>")(body) && !strings.Contains(body, "data-dead")
	})
	closed = true
	if err := spool.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, p, "the end of the program", has("Nobody answers since", "What is shown is of", "<dt>– of them ingested</dt><dd>1</dd>"))
}
