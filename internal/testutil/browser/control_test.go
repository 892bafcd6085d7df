package browser

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// serve has a page of its own for a test, without anything the page of the spool has.
func serve(t *testing.T, policy, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if policy != "" {
			w.Header().Set("Content-Security-Policy", policy)
		}
		_, _ = io.WriteString(w, "<!doctype html><html lang=en><link rel=icon href=data:,><title>control</title>"+body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// What the tabs of all tests must not see is seen where it is.
func TestTabsNotice(t *testing.T) {
	chromium.context(t)
	for _, tt := range []struct{ name, policy, body, want string }{
		{"console error", "", `<script>console.error("planted")</script>`, "console error: \"planted\""},
		{"console warning", "", `<script>console.warn("planted")</script>`, "console warning: \"planted\""},
		{"exception", "", `<script>nowhere.planted()</script>`, "exception: Uncaught"},
		{"rejected promise", "", `<script>Promise.reject(new Error("planted"))</script>`, "exception: Uncaught (in promise)"},
		{"what is not there", "", `<img src=planted.png>`, "Failed to load resource"},
		{"script in the page", "script-src 'self'", `<script>planted()</script>`, violation + "script-src-elem inline"},
		{"style of an element", "style-src 'self'", `<p style="color: red">planted</p>`, violation + "style-src-attr inline"},
		{"handler of an element", "script-src 'self'", `<img src=data:x onerror="planted()">`, violation + "script-src-attr inline"},
		{"dialog", "", `<script>alert("planted")</script>`, "dialog: planted"},
		{"foreign request", "", `<img src=http://planted.example/pixel.png>`, "request: http://planted.example/pixel.png"},
		{"foreign port", "", `<img src=http://127.0.0.1:1/pixel.png>`, "request: http://127.0.0.1:1/pixel.png"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := watched(t, serve(t, tt.policy, tt.body))
			b.load("/")
			seen := func() bool {
				return slices.ContainsFunc(b.amiss(), func(said string) bool { return strings.Contains(said, tt.want) })
			}
			// Asking the page gives what is under way the time to arrive.
			for end := time.Now().Add(patience); !seen() && time.Now().Before(end); {
				ask[bool](b, `new Promise(done => requestAnimationFrame(() => done(true)))`)
			}
			if !seen() {
				t.Fatalf("the tab has kept %q, without %q", b.amiss(), tt.want)
			}
		})
	}
	if !slices.ContainsFunc(chromium.fence.hosts(), func(host string) bool { return strings.HasPrefix(host, "planted.example") }) {
		t.Errorf("a foreign request does not come to the fence: it was asked for %q", chromium.fence.hosts())
	}
}

// A page without faults is quiet.
func TestTabsAreQuiet(t *testing.T) {
	b := open(t, serve(t, "default-src 'none'; img-src data:", `<h1>nothing</h1>`))
	b.load("/")
	if got := b.text("h1"); got != "nothing" {
		t.Errorf("the page shows %q", got)
	}
}
