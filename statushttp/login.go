package statushttp

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxForm bounds the body of a form.
const maxForm = 64 << 10

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
		http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: p.guard.logins.begin(time.Now().Add(loginFor)), MaxAge: int(loginFor / time.Second),
			HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil}) // no Path: that of the page, wherever it is mounted
	}
	seeOther(w, "./")
}

func (p *Page) logout(w http.ResponseWriter, r *http.Request) {
	p.guard.logins.end(r)
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
