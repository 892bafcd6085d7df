package statushttp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// loginFor is how long a login lasts. It ends with the page as well: the key of
	// the cookies is new in each process.
	loginFor = 12 * time.Hour
	// maxForm bounds the body of a form.
	maxForm = 64 << 10

	// failuresAtOnce is how many wrong tokens one sender may show in a row, and
	// failureEvery when it may show the next one.
	failuresAtOnce = 10
	failureEvery   = 5 * time.Second
	// maxSenders bounds how many senders are remembered.
	maxSenders = 1024
)

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

// cookieValue is until when the login is good, and the page's word for it. It
// holds nothing of the token.
func (g *guard) cookieValue(until time.Time) string {
	text := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	m := hmac.New(sha256.New, g.key[:])
	m.Write(text)
	return base64.RawURLEncoding.EncodeToString(m.Sum(text))
}

// cookieOf reports whether a request has a cookie that is good.
func (g *guard) cookieOf(r *http.Request) bool {
	for _, c := range r.CookiesNamed(cookieName(r)) {
		text, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
		if err != nil || len(text) != 8+sha256.Size {
			continue
		}
		until := binary.BigEndian.Uint64(text)
		if until > math.MaxInt64/2 || !hmac.Equal([]byte(c.Value), []byte(g.cookieValue(time.Unix(int64(until), 0)))) {
			continue
		}
		if time.Now().Before(time.Unix(int64(until), 0)) {
			return true
		}
	}
	return false
}

// admitted answers who may not be here: a browser with the login form, anything
// else with the status alone.
func (p *Page) admitted(w http.ResponseWriter, r *http.Request) bool {
	ok, wait := p.guard.admits(r)
	if ok {
		return true
	}
	if wait > 0 {
		p.tooOften(w, r, wait)
		return false
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="kustospool"`)
	p.loginPage(w, r, http.StatusUnauthorized, "")
	return false
}

func (p *Page) tooOften(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
	p.refuse(w, r, http.StatusTooManyRequests, fmt.Sprintf("Too many wrong tokens came from there. Try again in %d seconds.", int(wait/time.Second)+1))
}

func (p *Page) loginForm(w http.ResponseWriter, r *http.Request) {
	if ok, _ := p.guard.admits(r); ok {
		seeOther(w, "./")
		return
	}
	p.loginPage(w, r, http.StatusOK, "")
}

func (p *Page) login(w http.ResponseWriter, r *http.Request) {
	form, ok := p.form(w, r)
	if !ok {
		return
	}
	if p.guard.guarded {
		ok, wait := p.guard.tries(r, form("token"))
		if wait > 0 {
			p.tooOften(w, r, wait)
			return
		}
		if !ok {
			p.o.Log.Warn("login refused", "remote", r.RemoteAddr)
			p.loginPage(w, r, http.StatusUnauthorized, "That is not the token.")
			return
		}
		until := time.Now().Add(loginFor)
		http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: p.guard.cookieValue(until), MaxAge: int(loginFor / time.Second),
			HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil}) // no Path: that of the page, wherever it is mounted
	}
	seeOther(w, "./")
}

func (p *Page) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	seeOther(w, "./login")
}

// form reads the body of a form, as a function of the field's name.
func (p *Page) form(w http.ResponseWriter, r *http.Request) (field func(string) string, ok bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.refuse(w, r, http.StatusBadRequest, "The form cannot be read, or is too long.")
		return nil, false
	}
	return r.PostForm.Get, true
}

// seeOther sends a browser on, after a form, to an address relative to that of the form.
func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// failures remembers who showed wrong tokens. Each sender has a budget of its own,
// so that nobody can use up that of others.
type failures struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

func newFailures() *failures { return &failures{by: map[string]*rate.Limiter{}} }

// sender is whose budget an address uses: a network of version 6 has as many
// addresses as it likes, so it is one sender.
func sender(host string) string {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		if net, err := a.Prefix(64); err == nil {
			return net.String()
		}
	}
	return a.String()
}

// try asks whether a sender shows the token, unless it has been wrong too often:
// then wait is how long it is not listened to.
func (f *failures) try(from string, now time.Time, shown func() bool) (ok bool, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[from]
	if l != nil {
		if have := l.TokensAt(now); have < 1 {
			return false, max(time.Duration((1-have)*float64(failureEvery)), 1)
		}
	}
	if shown() {
		return true, 0
	}
	if l == nil {
		f.makeRoom(now)
		l = rate.NewLimiter(rate.Every(failureEvery), failuresAtOnce)
		f.by[from] = l
	}
	l.AllowN(now, 1)
	return false, 0
}

// makeRoom forgets the sender with the most left, where too many are remembered.
func (f *failures) makeRoom(now time.Time) {
	if len(f.by) < maxSenders {
		return
	}
	var least string
	most := math.Inf(-1)
	for name, l := range f.by {
		if have := l.TokensAt(now); have > most {
			least, most = name, have
		}
	}
	delete(f.by, least)
}
