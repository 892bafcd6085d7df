package statushttp

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/operate"
)

const secret = "correct-horse-battery-staple"

// Who is answered, and with what.
func TestGuard(t *testing.T) {
	type change func(*http.Request)
	host := func(h string) change { return func(r *http.Request) { r.Host = h } }
	from := func(a string) change { return func(r *http.Request) { r.RemoteAddr = a } }
	head := func(name, value string) change { return func(r *http.Request) { r.Header.Set(name, value) } }
	bearer := head("Authorization", "Bearer "+secret)
	open := &Options{}
	guarded := &Options{Token: secret, Hosts: []string{"Spool.example.org", "10.0.0.7", "fd00::7"}, Actions: true}
	tests := []struct {
		name         string
		o            *Options
		method, path string
		change       []change
		want         int
	}{
		{"this machine", open, "GET", "/", nil, 200},
		{"by name", open, "GET", "/", []change{host("localhost:80")}, 200},
		{"by name, no port", open, "GET", "/", []change{host("LocalHost")}, 200},
		{"version 6", open, "GET", "/", []change{host("[::1]:80"), from("[::1]:7")}, 200},
		{"mapped", open, "GET", "/", []change{from("[::ffff:127.0.0.1]:7")}, 200},
		{"all of 127/8", open, "GET", "/", []change{host("127.8.9.1"), from("127.3.2.1:7")}, 200},
		{"foreign host", open, "GET", "/", []change{host("evil.example")}, 403},
		{"foreign host that looks like ours", open, "GET", "/", []change{host("localhost.evil.example")}, 403},
		{"loopback by a name", open, "GET", "/", []change{host("127.0.0.1.nip.io")}, 403},
		{"no host", open, "GET", "/", []change{host("")}, 403},
		{"half a host", open, "GET", "/", []change{host("[::1")}, 403},
		{"foreign host to health", open, "GET", "/healthz", []change{host("evil.example")}, 403},
		{"foreign host to the style", open, "GET", "/assets/page.css", []change{host("evil.example")}, 403},
		{"another machine", open, "GET", "/", []change{from("192.0.2.1:7")}, 403},
		{"another machine to the protocol", open, "GET", "/v1/status", []change{from("192.0.2.1:7")}, 403},
		{"a socket without an address", open, "GET", "/", []change{from("@")}, 403},
		{"a proxy's word is not believed", open, "GET", "/", []change{from("192.0.2.1:7"), head("X-Forwarded-For", "127.0.0.1"), head("Forwarded", "for=127.0.0.1"), head("X-Real-Ip", "127.0.0.1")}, 403},
		{"a proxy's host is not believed", open, "GET", "/", []change{host("evil.example"), head("X-Forwarded-Host", "localhost")}, 403},
		{"a token nobody asked for", open, "GET", "/", []change{from("192.0.2.1:7"), bearer}, 403},
		{"read only", open, "POST", "/do/retry", nil, 403},
		{"read only protocol", open, "POST", "/v1/retry", nil, 403},
		{"methods", open, "PUT", "/", nil, 405},
		{"methods of a form", open, "GET", "/do/retry", nil, 405},
		{"methods of the protocol", open, "DELETE", "/v1/status", nil, 405},
		{"methods of health", open, "POST", "/healthz", nil, 405},
		{"head", open, "HEAD", "/", nil, 200},
		{"nothing there", open, "GET", "/x", nil, 404},
		{"no way out", open, "GET", "/assets/../page.go", nil, 404},
		{"no template", open, "GET", "/assets/home.html", nil, 404},
		{"unclean", open, "GET", "//x", nil, 404},

		{"token, this machine as well", guarded, "GET", "/", nil, 401},
		{"token, another machine", guarded, "GET", "/", []change{from("192.0.2.1:7")}, 401},
		{"token shown", guarded, "GET", "/", []change{from("192.0.2.1:7"), bearer}, 200},
		{"token shown, small letters", guarded, "GET", "/", []change{head("Authorization", "bearer "+secret)}, 200},
		{"wrong token", guarded, "GET", "/", []change{head("Authorization", "Bearer "+secret+"x")}, 401},
		{"beginning of a token", guarded, "GET", "/", []change{head("Authorization", "Bearer "+secret[:20])}, 401},
		{"empty token", guarded, "GET", "/", []change{head("Authorization", "Bearer ")}, 401},
		{"token as a password", guarded, "GET", "/", []change{func(r *http.Request) { r.SetBasicAuth("", secret) }}, 401},
		{"token in the address", guarded, "GET", "/?token=" + secret, nil, 401},
		{"token as a cookie", guarded, "GET", "/", []change{func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookieName(r), Value: secret}) }}, 401},
		{"token for events", guarded, "GET", "/events", nil, 401},
		{"token for health", guarded, "GET", "/healthz", nil, 401},
		{"token for the protocol", guarded, "GET", "/v1/status", nil, 401},
		{"token for a dead letter", guarded, "GET", "/dead/" + letterID, nil, 401},
		{"token for an action", guarded, "POST", "/do/retry", nil, 401},
		{"the style is for all", guarded, "GET", "/assets/page.css", nil, 200},
		{"login is for all", guarded, "GET", "/login", nil, 200},
		{"known host", guarded, "GET", "/", []change{host("spool.EXAMPLE.org:8443"), bearer}, 200},
		{"known address", guarded, "GET", "/", []change{host("10.0.0.7:80"), bearer}, 200},
		{"known address, version 6", guarded, "GET", "/", []change{host("[fd00:0::7]:80"), bearer}, 200},
		{"unknown address", guarded, "GET", "/", []change{host("10.0.0.8:80"), bearer}, 403},

		{"own form", guarded, "POST", "/do/retry", []change{bearer, head("Sec-Fetch-Site", "same-origin")}, 303},
		{"form of another site", guarded, "POST", "/do/retry", []change{bearer, head("Sec-Fetch-Site", "cross-site")}, 403},
		{"form of a neighbour", guarded, "POST", "/do/retry", []change{bearer, head("Sec-Fetch-Site", "same-site"), head("Sec-Fetch-Mode", "navigate")}, 403},
		{"form of an old browser elsewhere", guarded, "POST", "/do/retry", []change{bearer, head("Origin", "http://evil.example")}, 403},
		{"form without an origin", guarded, "POST", "/do/retry", []change{bearer, head("Origin", "null")}, 403},
		{"login of another site", guarded, "POST", "/login", []change{head("Sec-Fetch-Site", "cross-site")}, 403},
		{"protocol of another site", guarded, "POST", "/v1/retry", []change{bearer, head("Origin", "http://evil.example")}, 403},
		{"link from another site", open, "GET", "/", []change{head("Sec-Fetch-Site", "cross-site"), head("Sec-Fetch-Mode", "navigate")}, 200},
		{"stream of another site", open, "GET", "/events", []change{head("Sec-Fetch-Site", "cross-site"), head("Sec-Fetch-Mode", "cors")}, 403},
		{"picture for another site", open, "GET", "/assets/icon.svg", []change{head("Sec-Fetch-Site", "cross-site"), head("Sec-Fetch-Mode", "no-cors")}, 403},
	}
	pages := map[*Options]*Page{}
	for _, o := range []*Options{open, guarded} {
		p, err := New(&whole{}, o)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		pages[o] = p
	}
	for _, tt := range tests {
		r := local(tt.method, tt.path, "")
		for _, c := range tt.change {
			c(r)
		}
		pages[tt.o].guard.failures = newFailures() // each case begins without a past
		got := serve(pages[tt.o], r)
		if got.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d: %.200s", tt.name, got.StatusCode, tt.want, bodyOf(t, got))
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": policy, "Cross-Origin-Resource-Policy": "same-origin"} {
			if got.Header.Get(name) != want {
				t.Errorf("%s: %s is %q", tt.name, name, got.Header.Get(name))
			}
		}
		if got.StatusCode == 405 && got.Header.Get("Allow") == "" {
			t.Errorf("%s: 405 without Allow", tt.name)
		}
	}
}

// Bad options are refused, by the field's name, and without the token.
func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string // empty: they are fine
	}{
		{Options{}, ""},
		{Options{Token: secret, Every: 100 * time.Millisecond, Hosts: []string{"a_b.example", "::1"}}, ""},
		{Options{Title: strings.Repeat("x", 201)}, "Options.Title"},
		{Options{Token: "too-short"}, "Options.Token"},
		{Options{Token: strings.Repeat("x", 1025)}, "Options.Token"},
		{Options{Token: "sixteen letters and spaces"}, "Options.Token"},
		{Options{Token: "sixteen-letters\r\n"}, "Options.Token"},
		{Options{Hosts: []string{"http://x"}}, "Options.Hosts"},
		{Options{Hosts: []string{"x:80"}}, "Options.Hosts"},
		{Options{Hosts: []string{""}}, "Options.Hosts"},
		{Options{Hosts: []string{"*.example"}}, "Options.Hosts"},
		{Options{Hosts: make([]string, 65)}, "Options.Hosts"},
		{Options{Every: time.Millisecond}, "Options.Every"},
		{Options{Every: -time.Second}, "Options.Every"},
	} {
		p, err := New(&reader{}, &tt.o)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.o, err)
				continue
			}
			_ = p.Close()
			continue
		}
		if !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.o, err, tt.want)
		}
		if tt.o.Token != "" && strings.Contains(err.Error(), tt.o.Token) {
			t.Errorf("the token is in %v", err)
		}
	}
	if _, err := New(nil, nil); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("no spool: %v", err)
	}
}

// Errors below v1/ are objects, as of the protocol.
func TestProtocolRefusals(t *testing.T) {
	p := open(t, &whole{}, nil)
	r := serve(p, local("POST", "/v1/retry", "{}"))
	if body := bodyOf(t, r); r.StatusCode != 403 || !strings.Contains(body, `"code":"`+string(operate.Forbidden)+`"`) || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	r = serve(p, local("GET", "/v1/status", ""))
	if body := bodyOf(t, r); r.StatusCode != 200 || !strings.Contains(body, `"acked":1500`) {
		t.Errorf("%d %s", r.StatusCode, body)
	}
}

// The way of a person: form, cookie, page, log out.
func TestLogin(t *testing.T) {
	p := open(t, &whole{}, &Options{Token: secret})
	send := func(r *http.Request, want int) *http.Response {
		t.Helper()
		got := serve(p, r)
		if got.StatusCode != want {
			t.Fatalf("%s %s: %d, want %d: %s", r.Method, r.URL, got.StatusCode, want, bodyOf(t, got))
		}
		return got
	}
	if body := bodyOf(t, send(local("GET", "/dead/"+letterID, ""), 401)); !strings.Contains(body, `action="../login"`) || strings.Contains(body, "Readings") {
		t.Error(body)
	}
	script := local("GET", "/v1/status", "")
	script.Header.Del("Accept")
	if got := send(script, 401); got.Header.Get("WWW-Authenticate") == "" || strings.Contains(bodyOf(t, got), "<form") {
		t.Error("who is no browser got a form")
	}
	if body := bodyOf(t, send(local("POST", "/login", "token=wrong"), 401)); !strings.Contains(body, "not the token") || strings.Contains(body, "wrong\"") {
		t.Error(body)
	}
	in := send(local("POST", "/login", "token="+secret), 303)
	if in.Header.Get("Location") != "./" {
		t.Errorf("to %s", in.Header.Get("Location"))
	}
	c := in.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "" || c.MaxAge != int(loginFor.Seconds()) || strings.Contains(c.Value, secret) || c.Name != "kustospool-8765" {
		t.Errorf("%+v", c)
	}
	with := func(r *http.Request, value string) *http.Request {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: value})
		return r
	}
	if body := bodyOf(t, send(with(local("GET", "/", ""), c.Value), 200)); !strings.Contains(body, "Log out") {
		t.Error("no way to log out")
	}
	send(with(local("GET", "/login", ""), c.Value), 303)
	for _, bad := range []string{"", "x", c.Value[:len(c.Value)-1], c.Value + "A", "A" + c.Value[1:], p.guard.logins.begin(time.Now().Add(-time.Second))} {
		if bad != c.Value {
			send(with(local("GET", "/", ""), bad), 401)
		}
	}
	// A cookie of another process, or of another page, is none here.
	other := open(t, &whole{}, &Options{Token: secret})
	send(with(local("GET", "/", ""), other.guard.logins.begin(time.Now().Add(time.Hour))), 401)
	if out := send(with(local("POST", "/logout", ""), c.Value), 303); out.Cookies()[0].MaxAge >= 0 {
		t.Error("the cookie stays")
	}
	secure := local("POST", "/login", "token="+secret)
	secure.TLS = &tls.ConnectionState{}
	if c := send(secure, 303).Cookies()[0]; !c.Secure {
		t.Error("a cookie of TLS may go without it")
	}
	send(local("POST", "/login", "token="+strings.Repeat("x", maxForm)), 400)
}

// Who is refused, or has yet to show the token, is not told what the page is called: that may
// be a directory.
func TestTitleIsForThoseWhoMayLook(t *testing.T) {
	const title = "/var/spool/of-somebody"
	p, guarded := open(t, &whole{}, &Options{Title: title}), open(t, &whole{}, &Options{Title: title, Token: secret})
	foreign, remote := local("GET", "/", ""), local("GET", "/", "")
	foreign.Host, remote.RemoteAddr = "evil.example", "192.0.2.1:5"
	for name, got := range map[string]*http.Response{
		"a foreign host":    serve(p, foreign),
		"another machine":   serve(p, remote),
		"no token":          serve(guarded, local("GET", "/", "")),
		"the form of login": serve(guarded, local("GET", "/login", "")),
		"a wrong token":     serve(guarded, local("POST", "/login", "token=x")),
	} {
		if body := bodyOf(t, got); strings.Contains(body, "of-somebody") || !strings.Contains(body, "<title>") {
			t.Errorf("%s is told %s", name, body)
		}
	}
	if body := bodyOf(t, serve(p, local("GET", "/", ""))); !strings.Contains(body, title) {
		t.Error("and nobody else is")
	}
}
