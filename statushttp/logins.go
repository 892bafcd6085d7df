package statushttp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// loginFor is how long a login lasts at most.
	loginFor = 12 * time.Hour
	// loginSize is until when a login lasts, in seconds since 1970, and a random number,
	// so that no two are the same.
	loginSize = 8 + 8
	// maxEnded bounds how many that were ended before their time are remembered.
	maxEnded = 1024
)

// logins are who has shown the token to the login form. Nothing is kept of those
// that last: a cookie is a login and the sum that only this page can make of it. It
// holds nothing of the token. They end with the page, whose key is its own.
type logins struct {
	mu    sync.Mutex
	key   [sha256.Size]byte            // guarded by mu
	ended map[[loginSize]byte]struct{} // before their time; guarded by mu
}

func newLogins() *logins {
	l := &logins{}
	l.renew()
	return l
}

// renew ends all logins. Its caller holds mu.
func (l *logins) renew() {
	_, _ = rand.Read(l.key[:]) // it never fails
	l.ended = map[[loginSize]byte]struct{}{}
}

// begin is the cookie of a new login.
func (l *logins) begin(until time.Time) string {
	var login [loginSize]byte
	binary.BigEndian.PutUint64(login[:], uint64(until.Unix()))
	_, _ = rand.Read(login[8:])
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cookie(login)
}

// cookie is a login as a browser keeps it. Its caller holds mu.
func (l *logins) cookie(login [loginSize]byte) string {
	m := hmac.New(sha256.New, l.key[:])
	m.Write(login[:])
	return base64.RawURLEncoding.EncodeToString(m.Sum(login[:]))
}

// of is the login of a cookie, if it is one and lasts. Its caller holds mu.
func (l *logins) of(cookie string, now time.Time) (login [loginSize]byte, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil || len(b) != loginSize+sha256.Size {
		return login, false
	}
	copy(login[:], b)
	if !hmac.Equal([]byte(cookie), []byte(l.cookie(login))) {
		return login, false
	}
	_, ended := l.ended[login]
	return login, !ended && lasts(login, now)
}

func lasts(login [loginSize]byte, now time.Time) bool {
	until := binary.BigEndian.Uint64(login[:])
	return until < math.MaxInt64/2 && now.Before(time.Unix(int64(until), 0))
}

// good reports whether a request has the cookie of a login that lasts.
func (l *logins) good(r *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range r.CookiesNamed(cookieName(r)) {
		if _, ok := l.of(c.Value, time.Now()); ok {
			return true
		}
	}
	return false
}

// end ends the logins of a request: their cookies are worth nothing from now on,
// wherever there is a copy. When too many would have to be remembered, all end.
func (l *logins) end(r *http.Request) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range r.CookiesNamed(cookieName(r)) {
		login, ok := l.of(c.Value, now)
		if !ok {
			continue
		}
		for old := range l.ended {
			if !lasts(old, now) {
				delete(l.ended, old)
			}
		}
		if len(l.ended) == maxEnded {
			l.renew()
			return
		}
		l.ended[login] = struct{}{}
	}
}

// cookieName has the port in it, since browsers do not keep the cookies of two
// ports apart.
func cookieName(r *http.Request) string {
	name := "kustospool"
	if i := strings.LastIndexByte(r.Host, ':'); i >= 0 {
		if port, err := strconv.ParseUint(r.Host[i+1:], 10, 16); err == nil {
			name += "-" + strconv.FormatUint(port, 10)
		}
	}
	return name
}
