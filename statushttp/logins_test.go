package statushttp

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// with shows a cookie.
func with(r *http.Request, cookie string) *http.Request {
	r.AddCookie(&http.Cookie{Name: cookieName(r), Value: cookie})
	return r
}

// A login ends by itself.
func TestLoginEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, &reader{}, &Options{Token: secret, Every: time.Hour}) // twelve hours of looks take seconds
		r := with(local("GET", "/", ""), p.guard.logins.begin(time.Now().Add(loginFor)))
		time.Sleep(loginFor - time.Second)
		if got := serve(p, r).StatusCode; got != http.StatusOK {
			t.Errorf("before its end: %d", got)
		}
		time.Sleep(time.Second)
		if got := serve(p, r).StatusCode; got != http.StatusUnauthorized {
			t.Errorf("at its end: %d", got)
		}
	})
}

// Who logs out leaves no cookie behind that is worth something, and ends no login but
// that one; what is no login ends nothing.
func TestLogoutEndsTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, &reader{}, &Options{Token: secret, Every: time.Hour})
		until := time.Now().Add(loginFor)
		mine, yours := p.guard.logins.begin(until), p.guard.logins.begin(until)
		for _, tt := range []struct {
			logout, cookie string
			code           int
		}{
			{"", mine, http.StatusOK}, // the control
			{"x", mine, http.StatusOK},
			{newLogins().begin(until), mine, http.StatusOK},
			{mine, mine, http.StatusUnauthorized},
			{mine, yours, http.StatusOK},
			{yours, yours, http.StatusUnauthorized},
		} {
			if tt.logout != "" {
				serve(p, with(local("POST", "/logout", ""), tt.logout))
			}
			if got := serve(p, with(local("GET", "/", ""), tt.cookie)).StatusCode; got != tt.code {
				t.Errorf("logout of %.8s: %.8s has %d, want %d", tt.logout, tt.cookie, got, tt.code)
			}
		}
		if n := len(p.guard.logins.ended); n != 2 {
			t.Errorf("%d remembered", n)
		}
		time.Sleep(loginFor)
		serve(p, with(local("POST", "/logout", ""), p.guard.logins.begin(time.Now().Add(loginFor))))
		if n := len(p.guard.logins.ended); n != 1 {
			t.Errorf("%d remembered when the others would have ended by themselves", n)
		}
	})
}

// When more have logged out than are remembered, all logins end: none comes back.
func TestLogoutsAreBounded(t *testing.T) {
	l := newLogins()
	until := time.Now().Add(loginFor)
	request := func(cookie string) *http.Request { return with(local("GET", "/", ""), cookie) }
	other := l.begin(until)
	var gone []string
	for range maxEnded {
		gone = append(gone, l.begin(until))
		l.end(request(gone[len(gone)-1]))
	}
	if len(l.ended) != maxEnded || !l.good(request(other)) {
		t.Fatalf("%d remembered, the other is good: %v", len(l.ended), l.good(request(other)))
	}
	gone = append(gone, l.begin(until), other)
	l.end(request(gone[maxEnded]))
	if len(l.ended) != 0 {
		t.Errorf("%d remembered", len(l.ended))
	}
	for i, c := range gone {
		if l.good(request(c)) {
			t.Fatalf("%d is good", i)
		}
	}
	if !l.good(request(l.begin(until))) {
		t.Error("a new login is not good")
	}
}

// A stream ends with the login that began it, by itself or by a logout, and with no other.
func TestLoginEndsItsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, counting(), &Options{Token: secret, Every: time.Minute})
		dial := listen(t, p)
		begin := func(lasts time.Duration, bearer string) (cookie string, got *reading) {
			cookie, got = p.guard.logins.begin(time.Now().Add(lasts)), &reading{parts: map[string]string{}}
			c := dial()
			head := "Cookie: " + cookieName(&http.Request{Host: "localhost"}) + "=" + cookie
			if bearer != "" {
				head = "Authorization: Bearer " + bearer
			}
			ask(t, c, head)
			go read(c, got)
			return cookie, got
		}
		_, short := begin(10*time.Minute, "")
		const most = 30 * time.Minute
		cookie, out := begin(most, "")
		_, long := begin(most, "")
		_, script := begin(0, secret)
		check := func(when string, short_, out_, long_ bool) {
			t.Helper()
			synctest.Wait()
			for _, tt := range []struct {
				name string
				r    *reading
				want bool
			}{{"short", short, short_}, {"logged out", out, out_}, {"long", long, long_}, {"script", script, false}} {
				if n, _, ended, code := tt.r.look(); n == 0 || ended != tt.want || code != http.StatusOK {
					t.Errorf("%s: %s: %d events, ended %v, %d", when, tt.name, n, ended, code)
				}
			}
		}
		time.Sleep(10*time.Minute - time.Second)
		check("before", false, false, false)
		time.Sleep(streamQuiet + time.Second)
		check("the short one is over", true, false, false)
		serve(p, with(local("POST", "/logout", ""), cookie))
		time.Sleep(streamQuiet)
		check("one has logged out", true, true, false)
		time.Sleep(most)
		check("all are over", true, true, true)
	})
}

func ask(t *testing.T, c net.Conn, head string) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", head); err != nil {
		t.Fatal(err)
	}
}
