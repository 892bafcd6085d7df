package statushttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/operate"
)

const (
	// askTimeout bounds a question to the spool.
	askTimeout = 10 * time.Second
	// maxAsked is how many questions of readers are asked at the same time. One of the
	// page's own comes on top.
	maxAsked = 8
	// firstWait is how long a reader waits for the first look at the spool.
	firstWait = 2 * time.Second
	// bodyTime is how long the body of a request may take to come, and answerTime how
	// long the answer may take to go, also where the server has no such bounds: who
	// holds a place among those who ask the spool must not hold it for ever.
	bodyTime   = 20 * time.Second
	answerTime = 30 * time.Second
)

// Page shows a spool. It is an [http.Handler]; its methods may be called at the
// same time.
type Page struct {
	o      Options
	spool  operate.Spool
	keeper operate.DeadKeeper // nil where the spool cannot deal with dead letters
	tables operate.Controller // nil where it cannot pause and retry tables
	v1     http.Handler
	mux    *http.ServeMux
	guard  *guard

	watch   *watch
	told    *told
	streams chan struct{} // one for each stream
	asked   chan struct{} // one for each question of a reader

	end  context.CancelFunc
	done context.Context // Close has begun
	wait sync.WaitGroup
}

// New begins to watch a spool: that of this process ([engine.Spool.Operator]), of
// another ([operate.Client]), or one at rest. What the spool has of
// [operate.Controller] and [operate.DeadKeeper] shows on the page. o may be nil.
// The spool must outlive the page.
//
// Errors match [ingest.ErrInvalid] and name the field.
func New(spool operate.Spool, o *Options) (*Page, error) {
	opts, err := o.settled()
	if spool == nil {
		err = errors.Join(&ingest.FieldError{Field: "spool", Value: "nil", Rule: "must be there"}, err)
	}
	if err != nil {
		return nil, err
	}
	p := &Page{o: opts, spool: spool, streams: make(chan struct{}, maxStreams), asked: make(chan struct{}, maxAsked), told: newTold(), v1: operate.Handler(spool)}
	p.keeper, _ = spool.(operate.DeadKeeper)
	p.tables, _ = spool.(operate.Controller)
	p.guard = newGuard(&p.o)
	p.watch = newWatch(spool, opts.Every, opts.Log, may{Tables: opts.Actions && p.tables != nil, Dead: opts.Actions && p.keeper != nil, Show: p.keeper != nil})
	p.done, p.end = context.WithCancel(context.Background())
	p.routes()
	p.wait.Go(func() { p.watch.run(p.done) })
	return p, nil
}

// Close ends the streams and joins the goroutine, at the latest when the spool's
// answer under way is there or has timed out. Afterwards the page shows what it saw
// last. It always returns nil.
func (p *Page) Close() error {
	p.end()
	p.wait.Wait()
	return nil
}

// route is what the page does with one path.
type route struct {
	get, post http.HandlerFunc
	open      bool // also for who has not shown the token
}

func (p *Page) routes() {
	p.mux = http.NewServeMux()
	add := func(path string, r route) { p.mux.Handle(path, p.method(r)) }
	add("/{$}", route{get: p.home})
	add("/events", route{get: p.events})
	add("/dead/{$}", route{get: p.deadList})
	add("/dead/{id}", route{get: p.deadShow})
	add("/dead/{id}/drop", route{get: p.deadAsk})
	add("/pause", route{get: p.pauseAsk})
	add("/do/{action}", route{post: p.do})
	add("/login", route{get: p.loginForm, post: p.login, open: true})
	add("/logout", route{post: p.logout, open: true})
	add("/healthz", route{get: p.healthz})
	add("/readyz", route{get: p.readyz})
	add("/assets/{name}", route{get: p.asset, open: true})
	add("/v1/", route{get: p.protocol, post: p.protocol})
	for _, path := range []string{"/", "/v1", "/dead", "/do", "/assets"} { // the mux would send some of them to an address that does not know where the page is mounted
		add(path, route{get: p.nowhere, post: p.nowhere})
	}
}

// ServeHTTP answers a request. The path is below where the page is mounted, with
// the slash: see [http.StripPrefix].
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	c, now := http.NewResponseController(w), time.Now()
	_ = c.SetWriteDeadline(now.Add(answerTime)) // a writer without deadlines is one of a test, or answers at once
	if r.Body != nil && r.Body != http.NoBody {
		_ = c.SetReadDeadline(now.Add(bodyTime))
	}
	if said := p.guard.refuses(r); said != nil {
		p.refuse(w, r, said.status, said.text)
		return
	}
	if r.URL.Path == "" { // mounted at /spool, asked for /spool: links need the slash
		if to := withSlash(r.RequestURI); to != "" {
			h.Set("Location", to)
			w.WriteHeader(http.StatusPermanentRedirect)
			return
		}
	}
	if clean := path.Clean(r.URL.Path); r.URL.Path != clean && (clean == "/" || r.URL.Path != clean+"/") {
		p.method(route{get: p.nowhere, post: p.nowhere}).ServeHTTP(w, r) // for the same reason
		return
	}
	p.mux.ServeHTTP(w, r)
}

// withSlash is where a request for asked, which has no slash at its end, is sent: to
// the same with one, or "" if asked has one. The address is relative, because what
// stands before this program may have cut the start of the path off, and it begins
// with ./, so that nothing after that names another host.
func withSlash(asked string) string {
	u, err := url.ParseRequestURI(asked)
	if err != nil {
		return ""
	}
	at, query := u.EscapedPath(), ""
	if u.RawQuery != "" {
		query = "?" + u.RawQuery
	}
	if at == "" { // of "http://host", as a proxy is asked
		return "./" + query
	}
	at = at[strings.LastIndexByte(at, '/')+1:]
	if at == "" {
		return ""
	}
	return "./" + at + "/" + query
}

// policy lets the page's own script, style and connections work, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// method is a route behind its token and its methods.
func (p *Page) method(r route) http.Handler {
	var allow []string
	if r.get != nil {
		allow = append(allow, http.MethodGet, http.MethodHead)
	}
	if r.post != nil {
		allow = append(allow, http.MethodPost)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !r.open && !p.admitted(w, req) {
			return
		}
		h := r.get
		switch req.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodPost:
			h = r.post
		default:
			h = nil
		}
		if h == nil {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			p.refuse(w, req, http.StatusMethodNotAllowed, "This address takes "+strings.Join(allow, ", ")+" only.")
			return
		}
		h(w, req)
	})
}

// ask has one of a bounded number of places for a question to the spool, and a
// bounded time.
func (p *Page) ask(w http.ResponseWriter, r *http.Request) (ctx context.Context, end func(), ok bool) {
	select {
	case p.asked <- struct{}{}:
	default:
		w.Header().Set("Retry-After", "2")
		p.refuse(w, r, http.StatusServiceUnavailable, "Too many questions are asked at once. Try again in a moment.")
		return nil, nil, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	return ctx, func() { cancel(); <-p.asked }, true
}

// protocol is package operate's, as JSON.
func (p *Page) protocol(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && !p.o.Actions {
		p.refuse(w, r, http.StatusForbidden, "This page only reads: it was not set up for actions.")
		return
	}
	ctx, end, ok := p.ask(w, r)
	if !ok {
		return
	}
	defer end()
	p.v1.ServeHTTP(w, r.WithContext(ctx))
}

func (p *Page) nowhere(w http.ResponseWriter, r *http.Request) {
	p.refuse(w, r, http.StatusNotFound, "There is no such page.")
}
