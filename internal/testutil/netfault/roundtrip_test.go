package netfault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// whole is a server that answers with the body that it was sent.
type whole struct{ requests int }

func (w *whole) RoundTrip(r *http.Request) (*http.Response, error) {
	w.requests++
	body, err := io.ReadAll(r.Body)
	return &http.Response{StatusCode: http.StatusCreated, Header: make(http.Header), Request: r,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}, errors.Join(err, r.Body.Close())
}

// body knows whether it was closed.
type body struct {
	io.Reader
	mu     sync.Mutex
	closed int
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed++
	return nil
}

func TestRoundTripper(t *testing.T) {
	const size = 100_000
	tests := []struct {
		name        string
		fault       *Fault
		status      int // 0: an error
		err         error
		reached     bool // the server
		before      int  // bytes read in RoundTrip
		after       int  // and later
		answerBytes int
		answerErr   error
		takes       time.Duration // the whole call with its answer
	}{
		{name: "control", status: 201, reached: true, answerBytes: size},
		{name: "another's fault", fault: &Fault{Kind: Reset, Method: http.MethodGet}, status: 201, reached: true, answerBytes: size},
		{name: "early reply in the middle", fault: &Fault{Kind: EarlyReply, At: Middle}, status: 503, before: size / 2, after: size / 2},
		{name: "early reply, and much is left", fault: &Fault{Kind: EarlyReply, At: 10}, status: 503, before: 10, after: lateBytes},
		{name: "early reply and all is read", fault: &Fault{Kind: EarlyReply, At: 10, Then: ThenDrain}, status: 503, before: 10, after: size - 10},
		{name: "early reply and nothing more is read", fault: &Fault{Kind: EarlyReply, At: 10, Then: ThenHold}, status: 503, before: 10},
		{name: "reply to the head", fault: &Fault{Kind: EarlyReply, Reply: HTML(403)}, status: 403, after: lateBytes, answerBytes: len(HTML(403).Body)},
		{name: "reply before the request", fault: &Fault{Kind: ReplyFirst, Reply: Redirect("/x")}, status: 302, after: lateBytes},
		{name: "behind the end of the body", fault: &Fault{Kind: EarlyReply, At: 2 * size}, status: 503, before: size},
		{name: "half-close", fault: &Fault{Kind: HalfClose, At: 10}, err: io.EOF, before: 10, after: lateBytes},
		{name: "reset", fault: &Fault{Kind: Reset, At: 70_000}, err: syscall.ECONNRESET, before: 70_000, after: 30_000},
		{name: "never read", fault: &Fault{Kind: NeverRead}, err: context.DeadlineExceeded, takes: time.Hour, after: lateBytes},
		{name: "trickle", fault: &Fault{Kind: Trickle, Rate: 1000}, status: 201, reached: true, answerBytes: size, takes: 2 * size / 1000 * time.Second},
		{name: "reset of the answer", fault: &Fault{Kind: ResetReply, At: 10}, status: 201, reached: true, answerBytes: 10, answerErr: syscall.ECONNRESET},
		{name: "no such fault", fault: &Fault{Kind: 99}, err: errors.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var set Set
				var a *Active
				if tt.fault != nil {
					a = set.Add(*tt.fault)
				}
				server := new(whole)
				var mu sync.Mutex
				var before, after int
				rt := &RoundTripper{Next: server, Faults: &set, Read: func(_ *http.Request, p []byte, late bool) {
					mu.Lock()
					defer mu.Unlock()
					if late {
						after += len(p)
					} else {
						before += len(p)
					}
				}}
				sent := &body{Reader: strings.NewReader(strings.Repeat("x", size))}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://host/x", sent)
				if err != nil {
					t.Fatal(err)
				}
				r.ContentLength = size
				started := time.Now()
				resp, err := rt.RoundTrip(r)
				switch {
				case tt.status == 0 && err == nil:
					t.Fatal("no error")
				case tt.status == 0 && tt.err != errors.ErrUnsupported && !errors.Is(err, tt.err):
					t.Errorf("error %v, want %v", err, tt.err)
				case tt.status != 0 && (err != nil || resp.StatusCode != tt.status):
					t.Fatalf("%v, %v; want status %d", resp, err, tt.status)
				case tt.status != 0:
					answer, err := io.ReadAll(resp.Body)
					if len(answer) != tt.answerBytes || !errors.Is(err, tt.answerErr) {
						t.Errorf("an answer of %d bytes and %v, want %d and %v", len(answer), err, tt.answerBytes, tt.answerErr)
					}
					resp.Body.Close()
				}
				took := time.Since(started)
				if tt.takes > 0 && (took < tt.takes-time.Second || took > tt.takes+time.Second) {
					t.Errorf("took %v, want %v", took, tt.takes)
				}
				if (server.requests == 1) != tt.reached {
					t.Errorf("the server saw %d requests", server.requests)
				}
				if tt.fault != nil && tt.fault.Then == ThenHold {
					synctest.Wait()
					if sent.closed != 0 {
						t.Error("a held body is closed")
					}
					a.Remove()
				}
				time.Sleep(time.Second) // of the bubble: the late reading is over
				rt.Close()
				if before != tt.before || after != tt.after {
					t.Errorf("read %d bytes before and %d after the answer, want %d and %d", before, after, tt.before, tt.after)
				}
				if sent.closed == 0 {
					t.Error("the body is not closed")
				}
			})
		})
	}
}

// What the RoundTripper is for: a caller that takes its buffer back when the
// call has returned is caught by what is read then, and one that waits for the
// body's Close is not.
func TestBorrowedMemoryIsSeen(t *testing.T) {
	for _, waits := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var set Set
			release := make(chan struct{})
			set.Add(Fault{Kind: EarlyReply, At: 1, Hold: release})
			wrong := false
			rt := &RoundTripper{Faults: &set, Read: func(_ *http.Request, p []byte, _ bool) {
				wrong = wrong || bytes.Contains(p, []byte("b"))
			}}
			buf := bytes.Repeat([]byte("a"), 1000)
			sent := &body{Reader: bytes.NewReader(buf)}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://host/x", sent)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rt.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			synctest.Wait()
			reuse := func() { copy(buf, bytes.Repeat([]byte("b"), len(buf))) }
			if !waits {
				reuse()
			}
			close(release)
			synctest.Wait()
			if sent.closed != 1 {
				t.Fatal("the body is not closed once the hold has ended")
			}
			reuse()
			rt.Close()
			if wrong == waits {
				t.Errorf("a caller that waits for the Close: %v; wrong bytes seen: %v", waits, wrong)
			}
		})
	}
}
