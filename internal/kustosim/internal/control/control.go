package control

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/reply"
	"kustospool/internal/kustosim/internal/stats"
)

// Levers are the levers of the simulator that are reached over HTTP.
type Levers struct {
	Fault        func(fault.Host, fault.Fault) (remove func())
	IngestFault  func(db, table string, f fault.IngestFault) (remove func())
	ExpireSAS    func()
	ExpireTokens func()
	Rotate       func(context.Context) error
	Accounts     int // what /N of a host must be below
}

// control is what a test in another process can do to the simulator, over
// HTTP. Who serves it asks for the token of an Admin first, where the service
// has tokens.
type control struct {
	Levers
	catalog *catalog.Catalog
	stats   *stats.Book

	mu      sync.Mutex
	removes []func() // guarded by mu: of the faults that were set this way
}

// New serves the paths under /sim/.
func New(levers Levers, c *catalog.Catalog, stats *stats.Book) http.Handler {
	h := &control{Levers: levers, catalog: c, stats: stats}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sim/rows", h.serveRows)
	mux.HandleFunc("GET /sim/stats", h.serveStats)
	mux.HandleFunc("POST /sim/faults", h.serveFaults)
	mux.HandleFunc("DELETE /sim/faults", h.serveFaults)
	mux.HandleFunc("POST /sim/age/{what}", h.serveAge)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply.Stamp(w, r)
		port.Drain(r)
		reply.ErrorOf(http.StatusNotFound).Write(w, r)
	})
	return mux
}

// The names of faults over HTTP.
var (
	faultNames = map[string]fault.FaultKind{"down": fault.Down, "drop-request": fault.DropRequest, "drop-reply": fault.DropReply, "respond": fault.Respond,
		"respond-early": fault.RespondEarly, "respond-late": fault.RespondLate, "slow": fault.Slow, "slow-reply": fault.SlowReply, "stall": fault.Stall, "refuse": fault.Refuse}
	ingestFaultNames = map[string]fault.IngestFaultKind{"fail-transient": fault.FailTransient, "fail-exhausted": fault.FailExhausted, "fail-permanent": fault.FailPermanent,
		"leave-pending": fault.LeavePending, "hold": fault.Hold, "duplicate": fault.Duplicate, "lose-report": fault.LoseReport,
		"lose-row": fault.LoseRow, "alter-value": fault.AlterValue, "merge-extents": fault.MergeExtents, "expire-tags": fault.ExpireTags, "expire-extents": fault.ExpireExtents}
)

// serveFaults sets a fault (POST) or removes those that were set (DELETE).
func (c *control) serveFaults(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete {
		c.mu.Lock()
		removes := c.removes
		c.removes = nil
		c.mu.Unlock()
		for _, remove := range removes {
			remove()
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	q := query{Values: r.URL.Query()}
	var set func() func()
	if q.Get("host") == "" {
		f := fault.IngestFault{Kind: choose(&q, "kind", ingestFaultNames), Code: q.Get("code"), Details: q.Get("details"), Report: q.flag("report"),
			AfterCommit: q.flag("after-commit"), Copies: q.number("copies"), Column: q.Get("column"), SourceContains: q.Get("source"), Every: q.number("every"), Times: q.number("times")}
		if q.Get("db") == "" || q.Get("table") == "" {
			q.refuse("host, or db and table, must be given")
		}
		set = func() func() { return c.IngestFault(q.Get("db"), q.Get("table"), f) }
	} else {
		f := fault.Fault{Kind: choose(&q, "kind", faultNames), Method: strings.ToUpper(q.Get("method")), PathContains: q.Get("path"), Every: q.number("every"),
			Times: q.number("times"), Delay: q.duration("delay"), Status: q.number("status"), Code: q.Get("code"), Message: q.Get("message"),
			At: int64(q.number("at")), Permanent: q.flag("permanent"), Transient: q.flag("transient"), RetryAfter: q.duration("retry-after"), Location: q.Get("location")}
		host := fault.Host(q.Get("host"))
		role, account, numbered := strings.Cut(q.Get("host"), "/")
		if !slices.Contains([]fault.Host{fault.DM, fault.Engine, fault.Blob, fault.Queue, fault.Table}, fault.Host(role)) {
			q.refuse("host %q must be dm, engine, blob, queue or table, the last three with /N for one account", q.Get("host"))
		}
		if n, err := strconv.Atoi(account); numbered && (err != nil || n < 0 || n >= c.Accounts) {
			q.refuse("host %q: no such account", q.Get("host"))
		}
		if f.Kind == fault.Refuse && (host == fault.DM || host == fault.Engine) {
			q.refuse("kind refuse would close the port that this request came by, and could not be taken back; use down")
		}
		if (f.Kind == fault.Respond || f.Kind == fault.RespondEarly || f.Kind == fault.RespondLate) && (f.Status < 200 || f.Status > 599) {
			q.refuse("status must be 200 to 599")
		}
		if !ofThisMachine(f.Location) {
			q.refuse("location must be a path, or a URL of a loopback address")
		}
		set = func() func() { return c.Fault(host, f) }
	}
	if q.bad != "" {
		http.Error(w, q.bad, http.StatusBadRequest)
		return
	}
	remove := set()
	c.mu.Lock()
	c.removes = append(c.removes, remove)
	c.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// ofThisMachine is whether a redirect stays here: what clients of the simulator
// hold is sent nowhere else.
func ofThisMachine(location string) bool {
	u, err := url.Parse(location)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Opaque == "" && u.Host == "" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// serveAge makes what clients hold old: their signatures, their identity
// tokens, or the containers and queues themselves. Or it merges the extents of
// ?db=&table=, or takes them or their tags away.
func (c *control) serveAge(w http.ResponseWriter, r *http.Request) {
	switch what := r.PathValue("what"); what {
	case "sas":
		c.ExpireSAS()
	case "tokens":
		c.ExpireTokens()
	case "resources":
		if err := c.Rotate(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	case "merge", "tags", "extents":
		age := map[string]func(db, table string) bool{"merge": c.catalog.Merge, "tags": c.catalog.ExpireTags, "extents": c.catalog.ExpireExtents}[what]
		if !age(r.URL.Query().Get("db"), r.URL.Query().Get("table")) {
			http.Error(w, "no such table", http.StatusNotFound)
			return
		}
	default:
		http.Error(w, "sas, tokens, resources, tags and extents can be made old, and extents can be merged", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// query reads parameters and remembers the first bad one.
type query struct {
	url.Values
	bad string
}

func (q *query) refuse(format string, args ...any) {
	if q.bad == "" {
		q.bad = fmt.Sprintf(format, args...)
	}
}

func (q *query) number(name string) int {
	if q.Get(name) == "" {
		return 0
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 0 {
		q.refuse("%s must be a number, not negative", name)
	}
	return n
}

func (q *query) duration(name string) time.Duration {
	if q.Get(name) == "" {
		return 0
	}
	d, err := time.ParseDuration(q.Get(name))
	if err != nil || d < 0 {
		q.refuse("%s must be a duration such as 1.5s", name)
	}
	return d
}

func (q *query) flag(name string) bool {
	if q.Get(name) == "" {
		return false
	}
	v, err := strconv.ParseBool(q.Get(name))
	if err != nil {
		q.refuse("%s must be true or false", name)
	}
	return v
}

// choose is the value that a parameter names.
func choose[T any](q *query, name string, values map[string]T) T {
	v, ok := values[q.Get(name)]
	if !ok {
		var names []string
		for n := range values {
			names = append(names, n)
		}
		slices.Sort(names)
		q.refuse("%s must be one of %s", name, strings.Join(names, ", "))
	}
	return v
}

// serveRows writes the rows of ?db=&table= as JSON lines.
func (c *control) serveRows(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if _, ok := c.catalog.Columns(q.Get("db"), q.Get("table")); !ok {
		http.Error(w, "no such table", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, row := range c.catalog.Rows(q.Get("db"), q.Get("table")) {
		if _, err := w.Write(append(row[:len(row):len(row)], '\n')); err != nil {
			return
		}
	}
}

func (c *control) serveStats(w http.ResponseWriter, _ *http.Request) {
	reply.Write(w, http.StatusOK, c.stats.Snapshot())
}
