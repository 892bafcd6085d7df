package statushttp

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/operate"
)

// pipes is a listener of connections in memory, whose waits a bubble's clock knows.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error { l.once.Do(func() { close(l.ended) }); return nil }

// Addr is an address of this machine, so that the page answers.
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// here is a connection of which both ends are on this machine.
type here struct{ net.Conn }

func (here) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// listen serves a page to connections that dial makes, until the test ends.
func listen(t *testing.T, p *Page) (dial func() net.Conn) {
	l := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
	server := &http.Server{Handler: p, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return func() net.Conn {
		client, conn := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		l.conns <- here{conn}
		return client
	}
}

// follow asks for the events.
func follow(t *testing.T, c net.Conn) {
	if _, err := c.Write([]byte("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Error(err)
	}
}

// reading reads the events of one connection.
type reading struct {
	mu    sync.Mutex
	parts map[string]string // the newest of each
	n     int               // events
	ended bool
	code  int
}

func read(c net.Conn, into *reading) {
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	into.mu.Lock()
	if err == nil {
		into.code = r.StatusCode
	}
	into.mu.Unlock()
	if err == nil {
		defer r.Body.Close()
		lines := bufio.NewScanner(r.Body)
		lines.Buffer(nil, 8<<20)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var parts map[string]string
			if json.Unmarshal([]byte(data), &parts) != nil {
				continue
			}
			into.mu.Lock()
			into.n++
			for name, html := range parts {
				into.parts[name] = html
			}
			into.mu.Unlock()
		}
	}
	into.mu.Lock()
	defer into.mu.Unlock()
	into.ended = true
}

func (r *reading) look() (n int, backlog string, ended bool, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n, r.parts["backlog"], r.ended, r.code
}

// counting is a spool in which one record more waits at each look.
func counting() *whole {
	s := &whole{}
	n := int64(0)
	s.set(func(context.Context) (*operate.Status, error) {
		n++
		st := sample()
		st.Counters.Open, st.Counters.Sealed = n, 0
		return st, nil
	})
	return s
}

// The stream has what a look found, each look once, outlives the server's timeouts,
// and ends with the page.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(counting(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := listen(t, p)()
		got := &reading{parts: map[string]string{}}
		follow(t, c)
		go read(c, got)
		synctest.Wait()
		if n, backlog, _, _ := got.look(); n != 1 || !strings.Contains(backlog, `data-records="1"`) {
			t.Errorf("at first: %d events, %s", n, backlog)
		}
		time.Sleep(30*DefaultEvery + DefaultEvery/2)
		synctest.Wait()
		if n, backlog, ended, _ := got.look(); n != 31 || !strings.Contains(backlog, `data-records="31"`) || ended {
			t.Errorf("after a minute: %d events, %s", n, backlog)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, _, ended, _ := got.look(); !ended {
			t.Error("the stream goes on behind Close")
		}
		_ = c.Close()
	})
}

// Where looks are rare, the reader is told that the connection is still there.
func TestEventsBetweenLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, counting(), &Options{Every: time.Hour})
		c := listen(t, p)()
		got := &reading{parts: map[string]string{}}
		follow(t, c)
		go read(c, got)
		time.Sleep(4*streamQuiet + time.Second)
		synctest.Wait()
		if n, _, ended, _ := got.look(); n != 5 || ended {
			t.Errorf("%d events in %v", n, 4*streamQuiet)
		}
		_ = c.Close()
	})
}

// Who takes gzip gets the page in half of the bytes and the stream in a quarter or less, each event whole
// as it comes.
func TestPacked(t *testing.T) {
	p := open(t, counting(), &Options{Every: 100 * time.Millisecond})
	server := httptest.NewServer(p)
	defer server.Close()
	get := func(path, accept string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", accept)
		got, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if got.StatusCode != 200 || (got.Header.Get("Content-Encoding") == "gzip") != (accept == "br, gzip;q=0.5") || got.Header.Get("Vary") == "" {
			t.Fatalf("%s: %d %v", accept, got.StatusCode, got.Header)
		}
		return got
	}
	for _, accept := range []string{"identity", "br", "gzip;q=0", "gzip; q=x"} {
		r := get("/", accept)
		if body := bodyOf(t, r); !strings.Contains(body, "</html>") {
			t.Error(body)
		}
		_ = r.Body.Close()
	}
	for _, path := range []string{"/", "/events"} {
		r := get(path, "br, gzip;q=0.5")
		wire := &meter{r: r.Body}
		z, err := gzip.NewReader(wire)
		if err != nil {
			t.Fatal(err)
		}
		lines, plain, events := bufio.NewScanner(z), 0, 0
		lines.Buffer(nil, 8<<20)
		for events < 5 && lines.Scan() {
			plain += len(lines.Bytes())
			if strings.HasPrefix(lines.Text(), "data: {") || lines.Text() == "</html>" && path == "/" {
				events++
			}
		}
		if wire.n == 0 || plain < 2*wire.n || path == "/events" && plain < 4*wire.n || events < 1 || path == "/events" && events < 5 {
			t.Errorf("%s: %d events, %d bytes in %d", path, events, plain, wire.n)
		}
		t.Logf("%s: %d bytes in %d", path, plain, wire.n)
		// Both have an end: what is cut off is told from what is whole.
		if path == "/events" {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for lines.Scan() {
		}
		if err := lines.Err(); err != nil {
			t.Errorf("%s ends with %v", path, err)
		}
		_ = r.Body.Close()
	}
}

// meter counts what is read.
type meter struct {
	r io.Reader
	n int
}

func (c *meter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

// What did not change is not sent again.
func TestEventsAreWhatChanged(t *testing.T) {
	var sent []string
	s := &stream{name: "15m", sent: map[string]string{}, write: func(b []byte) error { sent = append(sent, string(b)); return nil }}
	l := &look{at: at, status: sample(), seen: at}
	l.show(may{}, nil, nil)
	next := &look{at: at, status: sample(), seen: at}
	next.status.Counters.Open++
	next.show(may{}, nil, nil)
	for _, l := range []*look{l, next} {
		if err := s.show(l); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(sent[0], `"tables":`) || strings.Contains(sent[1], `"tables":`) || !strings.Contains(sent[1], `"backlog":`) {
		t.Errorf("sent %q", sent)
	}
	for _, e := range sent {
		if strings.Count(e, "\n") != 3 || !strings.HasSuffix(e, "\n\n") {
			t.Errorf("not one event: %q", e)
		}
	}
}

// Where nothing changes, as with a spool that never answered, something comes all the same:
// the script takes a silent connection for lost.
func TestStreamOfNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &whole{}
		s.set(func(context.Context) (*operate.Status, error) { return nil, errors.New("nobody is there") })
		p := open(t, s, nil)
		c := listen(t, p)()
		follow(t, c)
		heard := make(chan int)
		go func() {
			n := 0
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), "event: ") {
					n++
				}
			}
			heard <- n
		}()
		time.Sleep(30 * time.Minute)
		_ = c.Close()
		if n := <-heard; n < 30*60/int(streamQuiet/time.Second) {
			t.Errorf("%d events in half an hour", n)
		}
	})
}

// A reader who does not read is left, and nobody waits for it meanwhile.
func TestStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := counting()
		p := open(t, s, nil)
		dial := listen(t, p)
		stalled, c := dial(), dial()
		follow(t, stalled) // and reads nothing
		got := &reading{parts: map[string]string{}}
		follow(t, c)
		go read(c, got)
		synctest.Wait()
		if n := len(p.streams); n != 2 {
			t.Fatalf("%d streams", n)
		}
		time.Sleep(streamWrite - time.Second)
		synctest.Wait()
		n, _, _, _ := got.look()
		if want := 1 + int((streamWrite-time.Second)/DefaultEvery); n != want || len(p.streams) != 2 {
			t.Errorf("beside one that stalls: %d events, want %d; %d streams", n, want, len(p.streams))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := len(p.streams); n != 1 {
			t.Errorf("%d streams after the deadline of a write", n)
		}
		if _, _, ended, _ := got.look(); ended {
			t.Error("who reads was left as well")
		}
		_, _ = stalled.Close(), c.Close()
		synctest.Wait()
		if n := len(p.streams); n != 0 {
			t.Errorf("%d streams when all have gone", n)
		}
	})
}

// So many may follow, and no more; who comes later is told to come again.
func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, counting(), nil)
		dial := listen(t, p)
		var all []*reading
		for range maxStreams + 1 {
			c, got := dial(), &reading{parts: map[string]string{}}
			follow(t, c)
			go read(c, got)
			synctest.Wait()
			all = append(all, got)
		}
		for i, got := range all {
			_, _, _, code := got.look()
			if want := map[bool]int{true: 200, false: 503}[i < maxStreams]; code != want {
				t.Errorf("stream %d: %d, want %d", i, code, want)
			}
		}
	})
}

// A server that cannot bound a write gets no stream.
func TestNoStreamWithoutDeadlines(t *testing.T) {
	p := open(t, counting(), nil)
	if got := serve(p, local("GET", "/events", "")).StatusCode; got != http.StatusNotImplemented {
		t.Errorf("%d", got)
	}
}

// A spool that fails is told to be gone, since when, and what was known stays; when
// it is back the page goes on.
func TestSpoolThatFailsAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &whole{}
		p := open(t, s, nil)
		get := func(path string) (int, string) {
			r := serve(p, local("GET", path, ""))
			return r.StatusCode, bodyOf(t, r)
		}
		synctest.Wait()
		if code, body := get("/readyz"); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
		// Who has the page in the background sees its title.
		troubles := func() (title, critical, warnings int) {
			t.Helper()
			_, body := get("/")
			var said, section []string
			if said = regexp.MustCompile(`<title>(?:▲ (\d+) · )?`).FindStringSubmatch(body); said == nil {
				t.Fatal(body)
			}
			if section = regexp.MustCompile(`data-critical="(\d+)" data-warnings="(\d+)"`).FindStringSubmatch(body); section == nil {
				t.Fatal(body)
			}
			title, _ = strconv.Atoi(said[1])
			critical, _ = strconv.Atoi(section[1])
			warnings, _ = strconv.Atoi(section[2])
			return title, critical, warnings
		}
		before, critical, warnings := troubles()
		if before != critical+warnings {
			t.Errorf("%d troubles, %d in the title", critical+warnings, before)
		}
		s.set(func(context.Context) (*operate.Status, error) { return nil, errors.New("nobody <there>") })
		time.Sleep(DefaultEvery)
		synctest.Wait()
		since := time.Now().UTC().Format("2006-01-02 15:04:05")
		time.Sleep(4 * DefaultEvery)
		synctest.Wait()
		if _, body := get("/"); !strings.Contains(body, "Nobody answers since <time") || !strings.Contains(body, since) || !strings.Contains(body, "nobody &lt;there&gt;") || !strings.Contains(body, `data-records="1234"`) {
			t.Error(body)
		}
		if n, more, same := troubles(); n != before+1 || more != critical+1 || same != warnings {
			t.Errorf("silence is no trouble: %d in the title, %d critical", n, more)
		}
		if code, _ := get("/healthz"); code != 200 { // it was there a moment ago
			t.Errorf("health %d", code)
		}
		time.Sleep(10 * DefaultEvery)
		synctest.Wait()
		for _, path := range []string{"/healthz", "/readyz"} {
			if code, body := get(path); code != 503 || !strings.Contains(body, "has not answered since") {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
		if _, body := get("/"); !strings.Contains(body, "no answer") {
			t.Error("the charts do not tell of the silence")
		}
		s.set(nil)
		time.Sleep(DefaultEvery)
		synctest.Wait()
		if code, body := get("/"); code != 200 || strings.Contains(body, "Nobody answers") {
			t.Errorf("%d %s", code, body)
		}
		if code, _ := get("/readyz"); code != 200 {
			t.Errorf("ready %d", code)
		}
		// The next silence has a beginning of its own.
		s.set(func(context.Context) (*operate.Status, error) { return nil, errors.New("gone again") })
		time.Sleep(DefaultEvery)
		synctest.Wait()
		again := time.Now().UTC().Format("2006-01-02 15:04:05")
		if _, body := get("/"); !strings.Contains(body, "gone again") || strings.Contains(body, since) || !strings.Contains(body, again) {
			t.Error(body)
		}
	})
}

// A spool that never answers is asked once at a time, and each question ends.
func TestSlowSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &whole{}
		under, most := 0, 0
		var mu sync.Mutex
		s.set(func(ctx context.Context) (*operate.Status, error) {
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			under--
			mu.Unlock()
			return nil, ctx.Err()
		})
		p := open(t, s, &Options{Actions: true})
		begun := time.Now()
		r := serve(p, local("GET", "/", ""))
		if body := bodyOf(t, r); r.StatusCode != 200 || !strings.Contains(body, "has not answered yet") || time.Since(begun) > firstWait {
			t.Errorf("%d after %v: %s", r.StatusCode, time.Since(begun), body)
		}
		for range 20 { // actions want a look at once
			serve(p, local("POST", "/do/retry", "table=x"))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if most != 1 {
			t.Errorf("%d questions at once", most)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if want := int(time.Since(begun)/askTimeout) + 1; s.asked > want || s.asked < want/2 {
			t.Errorf("%d questions in %v", s.asked, time.Since(begun))
		}
	})
}

// A spool that goes on behind the end of the context, as one whose disk hangs, is told as one
// that does not answer, is asked nothing more meanwhile, and shows again when it is back.
func TestSpoolThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hangs := &whole{}, make(chan struct{})
		p := open(t, s, nil)
		synctest.Wait()
		s.set(func(context.Context) (*operate.Status, error) { <-hangs; return sample(), nil })
		time.Sleep(5 * time.Minute)
		if body := bodyOf(t, serve(p, local("GET", "/", ""))); !strings.Contains(body, "Nobody answers since") || !strings.Contains(body, `data-records="1234"`) {
			t.Error("the page shows what was, and does not say so")
		}
		s.mu.Lock()
		asked := s.asked
		s.mu.Unlock()
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
		close(hangs)
		time.Sleep(2 * (askTimeout + lateTime))
		if body := bodyOf(t, serve(p, local("GET", "/", ""))); strings.Contains(body, "Nobody answers since") {
			t.Error("it is back, and the page does not say so")
		}
	})
}

// Readers' own questions are bounded in number and in time.
func TestQuestionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		p := open(t, s, nil)
		var wait sync.WaitGroup
		codes := make([]int, maxAsked+1)
		for i := range codes {
			wait.Go(func() { codes[i] = serve(p, local("GET", "/v1/receipt?receipt=x", "")).StatusCode })
			synctest.Wait()
		}
		if codes[maxAsked] != http.StatusServiceUnavailable {
			t.Errorf("one too many: %d", codes[maxAsked])
		}
		begun := time.Now()
		wait.Wait()
		if got := time.Since(begun); got != askTimeout {
			t.Errorf("they ended after %v", got)
		}
	})
}

// slow is a spool that answers one question when its time is up.
type slow struct{ whole }

func (s *slow) Receipt(ctx context.Context, _ operate.ReceiptQuery) (*operate.Receipt, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Readiness names what is critical.
func TestReadiness(t *testing.T) {
	for _, tt := range []struct {
		change func(*operate.Status)
		want   string
	}{
		{func(*operate.Status) {}, "ok\n"},
		{func(s *operate.Status) { s.InUse = false }, "not ok: not-running\n"},
		{func(s *operate.Status) {
			s.Troubles = append(s.Troubles, operate.Trouble{Kind: operate.Full, Level: operate.Critical}, operate.Trouble{Kind: operate.Full, Level: operate.Critical}, operate.Trouble{Kind: operate.Damaged, Level: operate.Critical})
		}, "not ok: full, damaged\n"},
	} {
		s := &reader{}
		s.set(func(context.Context) (*operate.Status, error) { st := sample(); tt.change(st); return st, nil })
		p := open(t, s, nil)
		r := serve(p, local("GET", "/readyz", ""))
		if body := bodyOf(t, r); body != tt.want || (r.StatusCode == 200) != (tt.want == "ok\n") {
			t.Errorf("%d %q, want %q", r.StatusCode, body, tt.want)
		}
		if got := serve(p, local("GET", "/healthz", "")).StatusCode; got != 200 {
			t.Errorf("health %d", got)
		}
	}
}

// An action's page shows what the action did: the look behind it has begun after it.
func TestPageBehindAnAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := counting()
		p := open(t, s, &Options{Actions: true, Every: time.Hour})
		synctest.Wait()
		before := s.asked
		serve(p, local("POST", "/do/retry", "table=x"))
		if s.asked != before+1 {
			t.Errorf("%d looks behind an action", s.asked-before)
		}
		if body := bodyOf(t, serve(p, local("GET", "/", ""))); !strings.Contains(body, fmt.Sprintf(`data-records="%d"`, before+1)) {
			t.Error("the page is as before")
		}
	})
}
