package operate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/operate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a spool that answers what it was told to.
type fake struct {
	status func(context.Context, operate.StatusQuery) (*operate.Status, error)
	peek   func(operate.PeekQuery) (*operate.Peek, error)
}

func (f *fake) Status(ctx context.Context, q operate.StatusQuery) (*operate.Status, error) {
	if f.status != nil {
		return f.status(ctx, q)
	}
	return &operate.Status{ID: "it", Cut: map[string]int{"batches": q.Limit}}, nil
}

func (f *fake) History(_ context.Context, q operate.HistoryQuery) (*operate.History, error) {
	b := operate.Batch{Table: q.Table, Updated: q.Since, ID: q.BeforeID}
	return &operate.History{Batches: []operate.SettledBatch{{Batch: b}}, More: q.Limit}, nil
}

func (f *fake) Peek(_ context.Context, q operate.PeekQuery) (*operate.Peek, error) {
	if f.peek != nil {
		return f.peek(q)
	}
	return &operate.Peek{Records: []operate.WaitingRecord{{Table: q.Table, Lane: q.Lane, Seq: q.From, Last: q.Seq, Data: []byte(q.Grep)}}}, nil
}

func (f *fake) Receipt(_ context.Context, q operate.ReceiptQuery) (*operate.Receipt, error) {
	return nil, &ingest.FieldError{Field: "receipt", Value: q.Receipt, Rule: "must be another"}
}

var quiet = slog.New(slog.DiscardHandler)

// short is a directory whose path leaves room for a socket.
func short(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve answers for a spool until the test ends.
func serve(t testing.TB, dir string, spool operate.Spool) *operate.Server {
	t.Helper()
	socket, err := operate.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := operate.Serve(socket, spool, quiet)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(s.Path()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return s
}

func dial(t testing.TB, s *operate.Server) *operate.Client {
	t.Helper()
	c, err := operate.Dial(t.Context(), s.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Every field of a query arrives, and every kind of an answer comes back.
func TestClientAsksWhatItWasAsked(t *testing.T) {
	c := dial(t, serve(t, short(t), &fake{}))
	ctx := t.Context()
	if st, err := c.Status(ctx, operate.StatusQuery{Limit: 7}); err != nil || st.ID != "it" || st.Cut["batches"] != 7 {
		t.Errorf("%+v, %v", st, err)
	}
	at := time.Date(2026, 11, 27, 5, 0, 0, 123456789, time.UTC)
	h, err := c.History(ctx, operate.HistoryQuery{Table: "A & B", Since: at, BeforeID: "x", Limit: 3})
	if err != nil || h.Batches[0].Table != "A & B" || !h.Batches[0].Updated.Equal(at) || h.Batches[0].ID != "x" || h.More != 3 {
		t.Errorf("%+v, %v", h, err)
	}
	p, err := c.Peek(ctx, operate.PeekQuery{Table: "T", Lane: 4, Seq: 7, From: 1 << 60, Grep: "a\nü"})
	if err != nil || p.Records[0].Table != "T" || p.Records[0].Lane != 4 || p.Records[0].Seq != 1<<60 || p.Records[0].Last != 7 || string(p.Records[0].Data) != "a\nü" {
		t.Errorf("%+v, %v", p, err)
	}
	var e *operate.Error
	if _, err := c.Receipt(ctx, operate.ReceiptQuery{Receipt: "r"}); !errors.Is(err, ingest.ErrInvalid) || !errors.As(err, &e) || !strings.Contains(e.Message, "must be another") {
		t.Errorf("%v", err)
	}
}

// What is wrong with a request is told by its name, and nothing was asked of the spool.
func TestHandlerRefuses(t *testing.T) {
	asked := 0
	h := operate.Handler(&fake{status: func(context.Context, operate.StatusQuery) (*operate.Status, error) {
		asked++
		return &operate.Status{}, nil
	}})
	for _, tc := range []struct {
		method, url, site string
		status            int
		says              string
	}{
		{"GET", "/v1/status?limit=-1", "", 400, "limit"},
		{"GET", "/v1/status?limit=1&limit=2", "", 400, "must be given once"},
		{"GET", "/v1/status?limt=1", "", 400, "limt"},
		{"GET", "/v1/status?limit=99999999999", "", 400, "limit"},
		{"GET", "/v1/history?since=yesterday", "", 400, "since"},
		{"GET", "/v1/peek?lane=4294967296", "", 400, "lane"},
		{"GET", "/v1/receipt?receipt=x", "", 400, "must be another"},
		{"GET", "/v2/status", "", 404, "/v2/status"},
		{"POST", "/v1/status", "", 404, "POST"},
		{"POST", "/v1/status", "cross-site", 403, "another origin"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tc.method, tc.url, nil)
		r.Header.Set("Sec-Fetch-Site", tc.site)
		h.ServeHTTP(w, r)
		var answer struct{ Error *operate.Error }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != tc.status || answer.Error == nil || !strings.Contains(answer.Error.Message, tc.says) {
			t.Errorf("%s %s: %d %s", tc.method, tc.url, w.Code, w.Body)
		}
	}
	if asked != 0 {
		t.Errorf("the spool was asked %d times", asked)
	}
}

// An answer beyond its bound is refused, and so are a request's head and body.
func TestBounds(t *testing.T) {
	big := &fake{peek: func(operate.PeekQuery) (*operate.Peek, error) {
		return &operate.Peek{Records: []operate.WaitingRecord{{Data: make([]byte, operate.MaxReply)}}}, nil
	}}
	s := serve(t, short(t), big)
	c := dial(t, s)
	var e *operate.Error
	if _, err := c.Peek(t.Context(), operate.PeekQuery{}); !errors.As(err, &e) || e.Code != operate.TooLarge {
		t.Errorf("an answer that is too large: %v", err)
	}
	if _, err := c.Peek(t.Context(), operate.PeekQuery{Grep: strings.Repeat("x", 1<<20)}); err == nil || !strings.Contains(err.Error(), "431") {
		t.Errorf("a head that is too large: %v", err)
	}
}

// TestStalledClientsHoldNothing: of those who connect and say nothing, or ask and
// do not read, as many as fit are let in, the rest is told so, and Close waits for none.
func TestStalledClientsHoldNothing(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan struct{}, operate.MaxClients)
	spool := &fake{status: func(ctx context.Context, _ operate.StatusQuery) (*operate.Status, error) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return &operate.Status{Spool: strings.Repeat("x", 8<<20)}, ctx.Err() // more than a socket holds
	}}
	socket, err := operate.Listen(short(t))
	if err != nil {
		t.Fatal(err)
	}
	s := operate.Serve(socket, spool, quiet)
	var conns []net.Conn
	for range operate.MaxClients {
		c, err := net.Dial("unix", s.Path())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for _, c := range conns[:operate.MaxClients/2] {
		fmt.Fprint(c, "GET /v1/status HTTP/1.1\r\nHost: spool\r\n\r\n")
	}
	for range operate.MaxClients / 2 {
		<-asked
	}
	c := dial(t, s)
	var e *operate.Error
	if _, err := c.Status(t.Context(), operate.StatusQuery{}); !errors.As(err, &e) || e.Code != operate.Busy {
		t.Errorf("one too many: %v", err)
	}
	close(release) // half of them are now written to, and do not read
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A call that is under way when the server closes has its context ended.
func TestCloseEndsCalls(t *testing.T) {
	begun := make(chan struct{})
	spool := &fake{status: func(ctx context.Context, _ operate.StatusQuery) (*operate.Status, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	socket, err := operate.Listen(short(t))
	if err != nil {
		t.Fatal(err)
	}
	s := operate.Serve(socket, spool, quiet)
	c := dial(t, s)
	done := make(chan error)
	go func() {
		_, err := c.Status(t.Context(), operate.StatusQuery{})
		done <- err
	}()
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the call ended well")
	}
}

// The socket is the user's alone, and replaces one that was left behind.
func TestListen(t *testing.T) {
	dir := short(t)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, operate.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	s := serve(t, dir, &fake{})
	if s.Path() != filepath.Join(dir, operate.SocketName) {
		t.Errorf("the socket is %s", s.Path())
	}
	if info, err := os.Lstat(s.Path()); err != nil || runtime.GOOS != "windows" && info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// Where there is no room for a socket beside the spool it goes to a directory of
// the user's, and never into one that others can enter.
func TestListenElsewhere(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the directories are other ones")
	}
	place := short(t)
	t.Setenv("XDG_RUNTIME_DIR", place)
	long := filepath.Join(short(t), strings.Repeat("d", 100))
	taken := short(t)
	if err := os.WriteFile(filepath.Join(taken, operate.SocketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{long, taken} {
		socket, err := operate.Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(socket.Path()) != filepath.Join(place, "kustospool") || socket.Name() != socket.Path() || socket.Elsewhere() == nil {
			t.Errorf("the socket of %s: %s, %s, %v", dir, socket.Path(), socket.Name(), socket.Elsewhere())
		}
		if err := socket.Close(); err != nil {
			t.Error(err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(taken, operate.SocketName)); err != nil || len(data) != 0 {
		t.Errorf("the file that had the name: %q, %v", data, err)
	}
	if err := os.Chmod(filepath.Join(place, "kustospool"), 0o755); err != nil {
		t.Fatal(err)
	}
	cache := short(t)
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	socket, err := operate.Listen(long)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if !strings.HasPrefix(socket.Path(), cache) {
		t.Errorf("the socket is %s, though others can enter %s", socket.Path(), place)
	}
}
