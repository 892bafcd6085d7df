package statushttp

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"kustospool/operate"
)

// lately is how old the last answer may be for the spool to count as healthy.
func (p *Page) lately() time.Duration { return max(3*p.o.Every, 15*time.Second) }

// silent says why the spool does not count as healthy; empty where it does.
func (p *Page) silent(r *http.Request) string {
	l := p.watch.first(r.Context())
	switch {
	case l == nil || l.status == nil:
		return "the spool has not answered yet"
	case time.Since(l.seen) > p.lately():
		return "the spool has not answered since " + l.seen.UTC().Format(time.RFC3339)
	}
	return ""
}

// healthz says whether the page works and the spool answered lately.
func (p *Page) healthz(w http.ResponseWriter, r *http.Request) {
	sayHealth(w, p.silent(r))
}

// readyz says whether the spool is in use as well, and takes records.
func (p *Page) readyz(w http.ResponseWriter, r *http.Request) {
	why := p.silent(r)
	if why == "" {
		l, _ := p.watch.latest()
		var kinds []string
		if !l.status.InUse {
			kinds = append(kinds, string(operate.NotRunning))
		}
		for i := range l.status.Troubles {
			if t := &l.status.Troubles[i]; t.Level == operate.Critical && !slices.Contains(kinds, string(t.Kind)) {
				kinds = append(kinds, string(t.Kind))
			}
		}
		why = strings.Join(kinds, ", ")
	}
	sayHealth(w, why)
}

func sayHealth(w http.ResponseWriter, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if why != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "not ok: %s\n", why)
		return
	}
	_, _ = io.WriteString(w, "ok\n") // who has gone away is told nothing
}
