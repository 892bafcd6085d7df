package operate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kustospool/ingest"
)

const (
	// MaxReply bounds an answer, in bytes.
	MaxReply = 16 << 20
	// MaxRequest bounds the body of a request, in bytes, unless its route says
	// otherwise.
	MaxRequest = 64 << 10
)

// writeTimeout is how long the answer may take to be read.
const writeTimeout = 10 * time.Second

// subjects are the routes, a function for each subject.
var subjects = []func(*http.ServeMux, Spool){statusRoutes, historyRoutes, peekRoutes, receiptRoutes, controlRoutes, checkRoutes, deadRoutes}

// largeRequests are the routes whose requests may have more than MaxRequest bytes.
var largeRequests = map[string]int64{retryDeadPath: MaxRepaired*4/3 + MaxRequest} // in base64

// Handler answers the protocol for a spool. It authenticates nobody: who can
// reach it may ask, so it belongs on the spool's socket, or behind whatever
// admits people. What a browser sends for a page of another origin is refused.
func Handler(spool Spool) http.Handler {
	mux := http.NewServeMux()
	for _, routes := range subjects {
		routes(mux, spool)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &Error{Code: NotFound, Message: fmt.Sprintf("there is no %s %s; the routes are in package operate", r.Method, r.URL.Path)})
	})
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, &Error{Code: Forbidden, Message: "the request is from a page of another origin"})
	}))
	return guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, max(MaxRequest, largeRequests[r.URL.Path]))
		mux.ServeHTTP(w, r)
	}))
}

// get is a route that reads. fill takes its parameters.
func get[Q, A any](mux *http.ServeMux, path string, fill func(*parameters, *Q), ask func(context.Context, Q) (A, error)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		p := &parameters{given: r.URL.Query()}
		fill(p, &q)
		if err := p.end(); err != nil {
			refuse(w, err)
			return
		}
		answer, err := ask(r.Context(), q)
		respond(w, answer, err)
	})
}

// post is a route that changes something. Its body is one JSON object, of members
// that it knows, and of at most MaxRequest bytes, or what largeRequests says; no body is an empty object.
func post[Q, A any](mux *http.ServeMux, path string, do func(context.Context, Q) (A, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		err := d.Decode(&q)
		if err == io.EOF {
			err = nil
		} else if err == nil && d.More() {
			err = errors.New("there is more than one object")
		}
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			refuse(w, &Error{Code: TooLarge, Message: fmt.Sprintf("the request has more than %d bytes", large.Limit)})
			return
		case err != nil:
			refuse(w, &Error{Code: Invalid, Message: "the request cannot be read: " + err.Error()})
			return
		}
		answer, err := do(r.Context(), q)
		respond(w, answer, err)
	})
}

// powerOf is what a subject asks of a spool that not every one has.
func powerOf[P any](s Spool, what string) (P, error) {
	p, ok := s.(P)
	if !ok {
		return p, &Error{Code: Unsupported, Message: "this spool cannot " + what}
	}
	return p, nil
}

// respond sends an answer, or the error in its place.
func respond(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		refuse(w, err)
		return
	}
	send(w, http.StatusOK, answer)
}

func refuse(w http.ResponseWriter, err error) {
	e := errorOf(err)
	send(w, statusOf[e.Code], struct {
		Error *Error `json:"error"`
	}{e})
}

// send makes the whole answer before it writes the first byte of it.
func send(w http.ResponseWriter, status int, answer any) {
	out := &bounded{left: MaxReply}
	if err := json.NewEncoder(out).Encode(answer); err != nil {
		code, message := Failed, err.Error()
		if out.left < 0 {
			code, message = TooLarge, fmt.Sprintf("the answer has more than %d bytes: ask for less", MaxReply)
		}
		refuse(w, &Error{Code: code, Message: message})
		return
	}
	// Where the writer has no deadline, as one of a test, nobody waits for it either.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // who has gone away is told nothing
}

// bounded is a buffer that refuses to grow beyond a bound.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, fmt.Errorf("more than %d bytes", MaxReply)
	}
	return b.Buffer.Write(p)
}

// parameters are those of a request. What is wrong with the first bad one is kept.
type parameters struct {
	given url.Values
	known []string
	err   error
}

func (p *parameters) get(name string) (string, bool) {
	p.known = append(p.known, name)
	values := p.given[name]
	if len(values) > 1 {
		p.bad(name, strings.Join(values, ","), "must be given once")
	}
	return p.given.Get(name), len(values) == 1
}

func (p *parameters) bad(name, value, rule string) {
	if p.err == nil {
		p.err = &ingest.FieldError{Field: name, Value: strconv.Quote(value), Rule: rule}
	}
}

func (p *parameters) text(name string, to *string) { *to, _ = p.get(name) }

// count is a number that is not negative.
func (p *parameters) count(name string, to *int) {
	if text, ok := p.get(name); ok {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			p.bad(name, text, "must be a number from 0 to 2147483647")
		}
		*to = int(n)
	}
}

func (p *parameters) number(name string, to *uint64) {
	if text, ok := p.get(name); ok {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			p.bad(name, text, "must be a number")
		}
		*to = n
	}
}

func (p *parameters) moment(name string, to *time.Time) {
	if text, ok := p.get(name); ok {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			p.bad(name, text, "must be a time such as 2026-11-27T05:00:00Z")
		}
		*to = at
	}
}

// end refuses what no one asked for: a parameter that is spelled wrong would
// otherwise change what is shown without a word.
func (p *parameters) end() error {
	for name := range p.given {
		if !slices.Contains(p.known, name) {
			p.bad(name, p.given.Get(name), "is not a parameter of this route")
		}
	}
	return p.err
}

// asked are the parameters of a query as a client sends them; those that are
// zero are left out.
type asked struct{ url.Values }

func (a asked) text(name, v string) {
	if v != "" {
		a.Set(name, v)
	}
}

func (a asked) count(name string, v int) {
	if v != 0 {
		a.Set(name, strconv.Itoa(v))
	}
}

func (a asked) number(name string, v uint64) {
	if v != 0 {
		a.Set(name, strconv.FormatUint(v, 10))
	}
}

func (a asked) moment(name string, v time.Time) {
	if !v.IsZero() {
		a.Set(name, v.UTC().Format(time.RFC3339Nano))
	}
}
