package statushttp

import (
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/operate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

const letterID = "01234567-89ab-8def-8123-456789abcdef"

// reader is a spool that can only be looked at.
type reader struct {
	mu     sync.Mutex
	status func(context.Context) (*operate.Status, error)
	asked  int
}

func (s *reader) set(f func(context.Context) (*operate.Status, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = f
}

func (s *reader) Status(ctx context.Context, _ operate.StatusQuery) (*operate.Status, error) {
	s.mu.Lock()
	s.asked++
	f := s.status
	s.mu.Unlock()
	if f == nil {
		return sample(), nil
	}
	return f(ctx)
}

func (s *reader) History(context.Context, operate.HistoryQuery) (*operate.History, error) {
	return &operate.History{}, nil
}

func (s *reader) Peek(context.Context, operate.PeekQuery) (*operate.Peek, error) {
	return &operate.Peek{}, nil
}

func (s *reader) Receipt(context.Context, operate.ReceiptQuery) (*operate.Receipt, error) {
	return nil, errors.New("not here")
}

// whole is a spool that can do everything, and remembers what it was asked to.
type whole struct {
	reader
	did     []string
	payload []byte
	refused string
	failure error
	letter  func(*operate.DeadLetter) // changes the dead letter; may be nil
	more    bool                      // a dead letter has more records than payload
}

func (s *whole) done(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, what)
	return s.failure
}

func (s *whole) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.did, "; ")
}

func (s *whole) Pause(_ context.Context, q operate.PauseQuery) (*operate.Paused, error) {
	return &operate.Paused{Database: "Demo", Table: q.Table}, s.done("pause " + q.Table + " " + q.Reason)
}

func (s *whole) Resume(_ context.Context, q operate.TableQuery) (*operate.Resumed, error) {
	return &operate.Resumed{Database: "Demo", Table: q.Table, Was: true}, s.done("resume " + q.Table)
}

func (s *whole) Retry(_ context.Context, q operate.TableQuery) (*operate.Retried, error) {
	return &operate.Retried{Database: "Demo", Table: q.Table, Batches: 2, InUse: true}, s.done("retry " + q.Table)
}

func (s *whole) ListDead(_ context.Context, q operate.DeadQuery) (*operate.DeadList, error) {
	id, err := ingest.ParseBatchID(letterID)
	if err != nil || id.String() <= q.After {
		return &operate.DeadList{}, err
	}
	d := operate.DeadLetter{ID: id, First: 1, Last: 3, Updated: at, Bytes: int64(len(s.payload)), Payload: "dead/x.json",
		Properties: ingest.Properties{Database: "Demo", Table: "Readings", Format: ingest.JSON}, Failure: &ingest.Failure{Class: "permanent", Message: "no such column"}}
	if s.letter != nil {
		s.letter(&d)
	}
	return &operate.DeadList{Letters: []operate.DeadLetter{d}}, nil
}

func (s *whole) DeadPayload(_ context.Context, q operate.DeadPayloadQuery) (*operate.DeadPayload, error) {
	rest := s.payload[min(q.Offset, uint64(len(s.payload))):]
	return &operate.DeadPayload{Data: rest, End: !s.more}, nil
}

func (s *whole) RetryDead(_ context.Context, q operate.RetryDead) (*operate.RetriedDead, error) {
	a := &operate.RetriedDead{Database: "Demo", Table: "Readings", Records: 3, Bytes: 99, Refused: s.refused}
	if !q.Apply {
		return a, nil
	}
	words := "retry dead " + q.ID
	if q.AcceptDoubles {
		words += " with doubles"
	}
	return a, s.done(words)
}

func (s *whole) DropDead(_ context.Context, q operate.DropDead) (*operate.DroppedDead, error) {
	return &operate.DroppedDead{ID: q.ID}, s.done("drop " + q.ID)
}

// sample is a status with something in each part.
func sample() *operate.Status {
	s := &operate.Status{Spool: "/var/spool/fleet", ID: "0123456789abcdef", At: at, InUse: true, Cut: map[string]int{},
		Counters: operate.Counters{Acked: 1500, Open: 34, Sealed: 1200, Ingested: 263, DeadLettered: 3, WaitingBytes: 5 << 20, DiskBytes: 6 << 20, QuotaBytes: 60 << 20, FreeBytes: 1 << 30,
			Oldest: at.Add(-90 * time.Second), OldestSeconds: 90, DeadWaiting: 1},
		Unhealthy: &ingest.Failure{Class: "transient", Code: "503", Message: "try later", At: at, First: at.Add(-time.Minute)},
		Rate:      &operate.Rate{Records: 12.5, Bytes: 2048},
		Lanes: []operate.Lane{
			{Lane: 1, Database: "Demo", Table: "Readings", Format: "json", Open: 30, Batches: 2, Records: 1200, RawBytes: 5 << 20, Oldest: at.Add(-90 * time.Second), OldestSeconds: 90, Next: at.Add(8 * time.Second), Unhealthy: "transient",
				Failure: &ingest.Failure{Class: "transient", Code: "503", Message: "try later", At: at, First: at.Add(-time.Minute)}},
			{Lane: 2, Database: "Demo", Table: "Events", Format: "csv", Open: 4, RawBytes: 100, Oldest: at.Add(-time.Second), OldestSeconds: 1},
		},
		Paused:  []operate.Paused{{Database: "Demo", Table: "Old", Since: at.Add(-time.Hour), Reason: "schema change"}},
		Batches: []operate.Batch{{ID: "11111111-89ab-8def-8123-456789abcdef", Database: "Demo", Table: "Readings", State: "sealed", Records: 1200, RawBytes: 5 << 20, Attempts: 3, SealedAt: at.Add(-80 * time.Second)}},
		Dead: []operate.Batch{{ID: letterID, Database: "Demo", Table: "Readings", State: "dead-lettered", Records: 3, RawBytes: 99, Updated: at,
			Failure: &ingest.Failure{Class: "permanent", Code: "BadRequest", Message: "no such column"}}},
	}
	s.Troubles = operate.Diagnose(s)
	return s
}

// open makes a page that ends with the test.
func open(t testing.TB, spool operate.Spool, o *Options) *Page {
	t.Helper()
	p, err := New(spool, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// local is a request of a browser on this machine.
func local(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "127.0.0.1:8765", "127.0.0.1:50000"
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t testing.TB, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The page shows each part, with the hooks that tests and scripts go by.
func TestHome(t *testing.T) {
	p := open(t, &whole{}, &Options{Actions: true})
	r := serve(p, local("GET", "/", ""))
	body := bodyOf(t, r)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%d: %s", r.StatusCode, body)
	}
	for _, want := range []string{
		`id="backlog" data-records="1234"`, "1,234 records", "5 MiB", "1 min 30 s ago",
		`id="charts"`, "<svg", `id="troubles"`, "service-down", `id="tables"`, "Demo.Events", "schema change", `id="batches"`, "11111111-",
		`id="dead"`, `data-dead="` + letterID + `"`, `href="dead/` + letterID + `"`, `name="retry"`, `name="drop"`, `data-live="no"`,
		`action="do/resume"`, `action="pause"`, `action="do/retry"`, "<code>kustospool retry</code>",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
	for _, never := range []string{"style=", "onclick", "<style", "<script>"} {
		if strings.Contains(body, never) {
			t.Errorf("the page has %s, which its policy forbids", never)
		}
	}
	const want = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	if got := r.Header.Get("Content-Security-Policy"); got != want {
		t.Errorf("policy %s", got)
	}
}

// A page asked for without its last slash is elsewhere below the same host, whatever
// the request line held.
func TestWithSlash(t *testing.T) {
	for asked, want := range map[string]string{
		"/spool":               "./spool/",
		"/a/b?range=24h":       "./b/?range=24h",
		"http://host":          "./",
		"http://host?x=1":      "./?x=1",
		"http://host/a:b":      "./a:b/",
		"/javascript:x":        "./javascript:x/",
		"/a%2Fb":               "./a%2Fb/",
		"/#:":                  "./%23:/",
		`/\evil.example`:       "./%5Cevil.example/",
		"/%3Fx":                "./%3Fx/",
		"/spool/":              "", // StripPrefix with a slash too many: there is no page
		"/":                    "",
		"":                     "",
		"*":                    "./*/",
		"#:":                   "",
		"http://[::1":          "",
		"/\r\nSet-Cookie: a=b": "",
	} {
		if got := withSlash(asked); got != want {
			t.Errorf("%q leads to %q, want %q", asked, got, want)
		}
	}
}

// Wherever it is mounted, every link, form and redirect stays there.
func TestMounted(t *testing.T) {
	p := open(t, &whole{payload: []byte("x")}, &Options{Actions: true, Token: secret})
	mounted := http.StripPrefix("/a/b", p)
	get := func(method, path string) *http.Response {
		r := local(method, path, "id="+letterID)
		r.Header.Set("Authorization", "Bearer "+secret)
		return serve(mounted, r)
	}
	for _, tt := range []struct {
		method, path string
		code         int
		to           string // where a redirect leads
	}{
		{"GET", "/a/b", 308, "/a/b/"},
		{"GET", "/a/b?range=24h", 308, "/a/b/"},
		{"POST", "/a/b/do/dead-retry", 303, "/a/b/"},
		{"POST", "/a/b/do/dead-drop", 303, "/a/b/dead/" + letterID + "/drop"},
		{"POST", "/a/b/logout", 303, "/a/b/login"},
		{"GET", "/a/b/login", 303, "/a/b/"},
		{"GET", "/a/b/", 200, ""},
		{"GET", "/a/b/dead/", 200, ""},
		{"GET", "/a/b/dead", 404, ""},
		{"GET", "/a/b/v1", 404, ""},
		{"GET", "/a/b/dead/" + letterID, 200, ""},
		{"GET", "/a/b/dead/" + letterID + "/drop", 200, ""},
		{"GET", "/a/b/pause", 200, ""},
		{"GET", "/a/b/x/y/z", 404, ""},
	} {
		r := get(tt.method, tt.path)
		at := local(tt.method, tt.path, "").URL
		if r.StatusCode != tt.code {
			t.Errorf("%s: %d, want %d", tt.path, r.StatusCode, tt.code)
			continue
		}
		if tt.to != "" {
			if to, err := at.Parse(r.Header.Get("Location")); err != nil || to.Path != tt.to {
				t.Errorf("%s leads to %v, want %s", tt.path, to, tt.to)
			}
			continue
		}
		links := regexp.MustCompile(`(?:href|action|src|data-events)="([^"]*)"`).FindAllStringSubmatch(bodyOf(t, r), -1)
		if len(links) < 4 {
			t.Errorf("%s has the links %v", tt.path, links)
		}
		for _, l := range links {
			to, err := at.Parse(html.UnescapeString(l[1]))
			if err != nil || !strings.HasPrefix(to.Path, "/a/b/") {
				t.Errorf("%s has a link %s, which leads to %v", tt.path, l[1], to)
				continue
			}
			method := "GET"
			if strings.Contains(to.Path, "/do/") || strings.HasSuffix(to.Path, "/logout") {
				method = "POST"
			}
			if strings.HasSuffix(to.Path, "/events") {
				continue // a stream, which a recorder does not take
			}
			if got := get(method, to.RequestURI()); got.StatusCode >= 400 && !(tt.code == 404 && got.StatusCode == 404) {
				t.Errorf("%s has a link %s, which is answered with %d", tt.path, l[1], got.StatusCode)
			}
		}
	}
}
