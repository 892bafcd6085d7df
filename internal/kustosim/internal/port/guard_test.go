package port

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGuardTellsForeignRequests(t *testing.T) {
	for _, tt := range []struct {
		host, origin, site string
		passes             bool
	}{
		{host: "127.0.0.1:80", passes: true}, {host: "127.8.9.1", passes: true}, {host: "[::1]:8080", passes: true}, {host: "::1", passes: true},
		{host: "localhost:1", passes: true}, {host: "LOCALHOST.", passes: true}, {host: "account.blob.localhost:443", passes: true},
		{host: "[::ffff:127.0.0.1]:1", passes: true}, {host: "named.example", passes: true}, {host: "Named.Example:8", passes: true}, {host: "", passes: true},
		{host: "example.org"}, {host: "127.0.0.1.example.org:80"}, {host: "localhost.example.org"}, {host: "notlocalhost"}, {host: "192.168.1.7:80"},
		{host: "0.0.0.0:80"}, {host: "2130706433"}, {host: "127.0.0.1:80@example.org"}, {host: "sub.named.example"},

		{host: "127.0.0.1", origin: "http://127.0.0.1:99", passes: true}, {host: "127.0.0.1", origin: "https://localhost", passes: true},
		{host: "127.0.0.1", origin: "http://named.example:7", passes: true},
		{host: "127.0.0.1", origin: "http://example.org"}, {host: "127.0.0.1", origin: "null"}, {host: "127.0.0.1", origin: "file://"},
		{host: "127.0.0.1", origin: "chrome-extension://localhost"}, {host: "127.0.0.1", origin: "http://127.0.0.1@example.org"},
		{host: "127.0.0.1", origin: "http://%"}, {host: "127.0.0.1", origin: "//localhost"},

		{host: "127.0.0.1", site: "same-origin", passes: true}, {host: "127.0.0.1", site: "same-site", passes: true}, {host: "127.0.0.1", site: "none", passes: true},
		{host: "127.0.0.1", site: "cross-site"}, {host: "127.0.0.1", origin: "http://127.0.0.1", site: "Cross-Site"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			r := httptest.NewRequest(method, "http://x/", nil)
			r.Host = tt.host
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			if tt.site != "" {
				r.Header.Set("Sec-Fetch-Site", tt.site)
			}
			came, w := false, httptest.NewRecorder()
			guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came = true }), []string{"named.example"}).ServeHTTP(w, r)
			if came != tt.passes || !tt.passes && w.Code != http.StatusForbidden {
				t.Errorf("%s %+v: passes %v with status %d", method, tt, came, w.Code)
			}
		}
	}
	r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
	r.Header["Origin"] = []string{"http://localhost", "http://example.org"}
	if foreign(r, nil) == "" {
		t.Error("a second Origin is not looked at")
	}
}

// What passes as local is, by another reader of hosts, a loopback address,
// localhost or the name that was allowed.
func FuzzLocal(f *testing.F) {
	for _, host := range []string{"127.0.0.1:80", "[::1]:8080", "localhost", "a.localhost:1", "127.0.0.1:80@example.org", "[::1", "::1", "127.0.0.1.example.org", "example.org#localhost", "#.localhost", "[::1%25x]"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !local(host, []string{"named.example"}) {
			return
		}
		if strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
			host = "[" + host + "]" // an address as curl may send it
		}
		u, err := url.Parse("http://" + host)
		if err != nil {
			t.Fatalf("%q passes as local, and no reader of URLs takes it: %v", host, err)
		}
		name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		if addr, err := netip.ParseAddr(name); err == nil && addr.Unmap().IsLoopback() {
			return
		}
		if name != "localhost" && !strings.HasSuffix(name, ".localhost") && name != "named.example" {
			t.Errorf("%q passes as local, and is %q", host, name)
		}
	})
}
