package statushttp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

const (
	// maxStreams is how many may follow the page at the same time.
	maxStreams = 16
	// streamWrite is how long a write to one of them may take.
	streamWrite = 10 * time.Second
	// streamQuiet is how long nothing may be sent before something is. The script takes
	// a connection for lost after 40 seconds without.
	streamQuiet = 15 * time.Second
)

// events follows the page: at each look one event with the parts that are not as
// they were, an object of HTML by the element's id.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		p.refuse(w, r, http.StatusMethodNotAllowed, "This address takes GET only.")
		return
	}
	select {
	case p.streams <- struct{}{}:
		defer func() { <-p.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		p.refuse(w, r, http.StatusServiceUnavailable, "Too many follow this page already.")
		return
	}
	out := http.NewResponseController(w)
	if err := out.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		p.refuse(w, r, http.StatusNotImplemented, "This server cannot bound how long a write takes, so it has no streams.")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of a proxy, which would hold the events back
	body, flush, finish := packed(w, r)
	defer func() {
		if out.SetWriteDeadline(time.Now().Add(streamWrite)) == nil {
			_ = finish() // who has gone away is told nothing
		}
	}()
	quiet := time.NewTimer(streamQuiet)
	defer quiet.Stop()
	s := &stream{write: func(b []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
			return err
		}
		if _, err := body.Write(b); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
		quiet.Reset(streamQuiet)
		return out.Flush()
	}, name: rangeOf(r.URL.Query().Get("range")), sent: map[string]string{}}
	if s.write([]byte("retry: 2000\n\n")) != nil {
		return
	}
	byLogin := p.guard.guarded && !p.guard.shown(bearer(r))
	for {
		if byLogin && !p.guard.logins.good(r) {
			return // the browser asks again by itself, and is asked then who it is
		}
		l, changed := p.watch.latest()
		if l != nil && s.show(l) != nil {
			return // whoever it was has gone, or does not read
		}
		select {
		case <-changed:
		case <-quiet.C:
			if s.write([]byte("event: still\ndata: {}\n\n")) != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-p.done.Done():
			return
		}
	}
}

// stream is one reader of the events.
type stream struct {
	write func([]byte) error
	name  string            // of the range
	sent  map[string]string // what the reader has, by the element's id
}

// show sends what the reader does not have yet.
func (s *stream) show(l *look) error {
	parts := map[string]string{}
	add := func(name, html string) {
		if s.sent[name] != html {
			s.sent[name], parts[name] = html, html
		}
	}
	for name, html := range l.parts() {
		add(name, html)
	}
	add("charts", l.charts[s.name]())
	if len(parts) == 0 {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("event: parts\ndata: ")
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)                  // the script reads it as JSON, and it is half as long again otherwise
	if err := e.Encode(parts); err != nil { // one line
		return err
	}
	b.WriteString("\n")
	return s.write(b.Bytes())
}
