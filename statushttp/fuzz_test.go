package statushttp

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// What a request holds makes no page fail, and nothing of it becomes an element.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/?range=24h&told=x", "", "", "")
	f.Add("GET", "/dead/"+letterID+"?at=5", "", "kustospool-8765=AAAA", "Bearer x")
	f.Add("POST", "/login", "token=%zz", "", "")
	f.Add("POST", "/do/pause", "table=<b>&reason=x", "", "")
	f.Add("POST", "/do/dead-drop", "id=../..", "", "")
	f.Add("GET", "/pause?table=%3Cscript%3E", "", "", "")
	f.Add("GET", "//evil/..", "", "a=b; a=c", "Basic eDp5")
	f.Add("GET", "#:", "", "", "") // a path that is empty
	f.Add("GET", "/\\evil:80", "", "", "")
	p, err := New(&whole{payload: []byte("x")}, &Options{Actions: true})
	if err != nil {
		f.Fatal(err)
	}
	guarded, err := New(&whole{}, &Options{Token: secret})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _, _ = p.Close(), guarded.Close() })
	f.Fuzz(func(t *testing.T, method, target, body, cookie, authorization string) {
		r, err := http.NewRequest(method, "http://127.0.0.1:8765/", strings.NewReader(body))
		if err != nil {
			return
		}
		u, err := r.URL.Parse("http://127.0.0.1:8765" + target)
		if err != nil || u.Host != r.Host {
			return
		}
		r.URL, r.RequestURI, r.RemoteAddr = u, target, "127.0.0.1:1"
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Authorization", authorization)
		got := serve(p, r)
		if strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
			if bad, _ := inspect(t, bodyOf(t, got)); len(bad) > 0 {
				t.Errorf("%s %s: %v", method, target, bad)
			}
		}
		if at := got.Header.Get("Location"); at != "" {
			if to, err := u.Parse(at); err != nil || !strings.HasPrefix(at, "./") && !strings.HasPrefix(at, "../") || to.Scheme != u.Scheme || to.Host != u.Host {
				t.Errorf("%s %s leads to %s", method, target, at)
			}
		}
		if guarded.guard.logins.good(r) {
			t.Errorf("the cookie %q is taken", cookie)
		}
	})
}

// A cookie that differs in anything is no cookie.
func FuzzCookie(f *testing.F) {
	g := newGuard(&Options{Token: secret})
	good := g.logins.begin(time.Now().Add(time.Hour))
	f.Add(0, byte(1))
	f.Add(len(good)-1, byte(1))
	f.Fuzz(func(t *testing.T, at int, change byte) {
		b := []byte(good)
		if change == 0 || at < 0 || at >= len(b) {
			return
		}
		b[at] ^= change
		r := local("GET", "/", "")
		r.Header.Set("Cookie", cookieName(r)+"="+string(b))
		if g.logins.good(r) {
			t.Errorf("%q is taken for %q", b, good)
		}
	})
}

// FuzzHost: what is taken for this machine is loopback, whatever stands around it.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"localhost:80", "[::1]:80", "127.0.0.1", "::1", "[::1%25lo]", "127.0.0.1:80:90", "[127.0.0.1]x", "0x7f.1", "127.1"} {
		f.Add(s)
	}
	g := newGuard(&Options{})
	f.Fuzz(func(t *testing.T, host string) {
		r := local("GET", "/", "")
		r.Host = host
		if g.refuses(r) != nil {
			return
		}
		name := strings.ToLower(hostOf(host))
		if name != "localhost" && !strings.HasPrefix(name, "127.") && !strings.Contains(name, ":") {
			t.Errorf("%q is taken for this machine", host)
		}
	})
}
