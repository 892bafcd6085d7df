package statushttp

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"kustospool/operate"
)

// baseOf is the way from a page to where everything is mounted.
func baseOf(r *http.Request) string {
	if up := strings.Count(strings.TrimPrefix(r.URL.Path, "/"), "/"); up > 0 {
		return strings.Repeat("../", min(up, 16))
	}
	return "./"
}

// wantsHTML reports whether a browser asks, for a page that it shows.
func wantsHTML(r *http.Request) bool {
	return !strings.HasPrefix(r.URL.Path, "/v1/") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// refuse says in a sentence why there is no answer: to a browser as a page, below v1/
// as the protocol has it, otherwise as text.
func (p *Page) refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		code := operate.Failed
		switch status {
		case http.StatusForbidden, http.StatusMethodNotAllowed:
			code = operate.Forbidden
		case http.StatusNotFound:
			code = operate.NotFound
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			code = operate.Busy
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(struct { // who has gone away is told nothing
			Error *operate.Error `json:"error"`
		}{&operate.Error{Code: code, Message: text}})
		return
	}
	if !wantsHTML(r) {
		http.Error(w, text, status)
		return
	}
	base := baseOf(r)
	p.send(w, r, status, shell{Title: defaultTitle, Base: base, Body: template.HTML(execute("said", struct{ Heading, Text, Base string }{http.StatusText(status), text, base}))})
}

// refuseFor is an error of the spool in place of an answer.
func (p *Page) refuseFor(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadGateway
	var e *operate.Error
	if errors.As(err, &e) {
		switch e.Code {
		case operate.Invalid:
			status = http.StatusBadRequest
		case operate.NotFound:
			status = http.StatusNotFound
		case operate.Conflict:
			status = http.StatusConflict
		}
	}
	p.refuse(w, r, status, text(err.Error()))
}
