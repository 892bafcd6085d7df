package statushttp

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Who guesses is slowed, and nobody else; who was slowed is heard again.
func TestFailedLoginsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, &reader{}, &Options{Token: secret})
		login := func(from, token string) int {
			r := local("POST", "/login", "token="+token)
			r.RemoteAddr = from
			return serve(p, r).StatusCode
		}
		for i := range failuresAtOnce {
			if got := login("192.0.2.1:7", "wrong"); got != http.StatusUnauthorized {
				t.Fatalf("failure %d: %d", i, got)
			}
		}
		if got := login("192.0.2.1:8", secret); got != http.StatusTooManyRequests {
			t.Errorf("who guessed too often is still heard: %d", got)
		}
		r := local("GET", "/", "")
		r.RemoteAddr = "192.0.2.1:9"
		r.Header.Set("Authorization", "Bearer "+secret)
		if got := serve(p, r); got.StatusCode != http.StatusTooManyRequests || got.Header.Get("Retry-After") == "" {
			t.Errorf("guesses go on by another way: %d", got.StatusCode)
		}
		if got := login("192.0.2.2:7", secret); got != http.StatusSeeOther {
			t.Errorf("somebody else is locked out: %d", got)
		}
		// Who is logged in already stays so, from the same address as well.
		r = local("GET", "/", "")
		r.RemoteAddr = "192.0.2.1:9"
		r.AddCookie(&http.Cookie{Name: cookieName(r), Value: p.guard.logins.begin(time.Now().Add(time.Hour))})
		if got := serve(p, r).StatusCode; got != http.StatusOK {
			t.Errorf("who is logged in is locked out: %d", got)
		}
		time.Sleep(failureEvery)
		if got := login("192.0.2.1:8", secret); got != http.StatusSeeOther {
			t.Errorf("not heard again: %d", got)
		}
		// A network of version 6 is one sender.
		for i := range failuresAtOnce {
			login(fmt.Sprintf("[2001:db8::%x]:7", i+1), "wrong")
		}
		if got := login("[2001:db8::ffff:1]:7", secret); got != http.StatusTooManyRequests {
			t.Errorf("another address of the same network: %d", got)
		}
		if got := login("[2001:db8:0:1::1]:7", secret); got != http.StatusSeeOther {
			t.Errorf("another network: %d", got)
		}
	})
}

// Who has not shown the token cannot have anything packed, which takes memory.
func TestLoginFormIsNotPacked(t *testing.T) {
	p := open(t, &reader{}, &Options{Token: secret, Title: strings.Repeat("x", maxTitle)})
	for _, method := range []string{"GET", "POST"} {
		r := local(method, "/login", "token=wrong")
		r.Header.Set("Accept-Encoding", "gzip")
		if got := serve(p, r); got.Header.Get("Content-Encoding") != "" || !strings.Contains(bodyOf(t, got), `name="token"`) {
			t.Errorf("%s: %v", method, got.Header)
		}
	}
}

// However many guess, what is remembered of them is bounded, and those who guessed
// most are not forgotten.
func TestFailuresAreBounded(t *testing.T) {
	f := newFailures()
	now := time.Now()
	wrong := func() bool { return false }
	for range failuresAtOnce {
		f.try("worst", now, wrong)
	}
	for i := range 3 * maxSenders {
		f.try(fmt.Sprint(i), now, wrong)
	}
	if len(f.by) > maxSenders {
		t.Errorf("%d are remembered", len(f.by))
	}
	if _, wait := f.try("worst", now, wrong); wait == 0 {
		t.Error("the worst one is forgotten")
	}
}
