package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// shortDir is a directory in which a socket has a short path.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// owner is a program that has a spool open: its destination is down.
func owner(t *testing.T, dir string) *engine.Spool {
	t.Helper()
	fake := transporttest.NewFake()
	fake.Down(transporttest.Fail(transport.Transient))
	s, err := engine.Open(dir, fake, &engine.Options{RetryMin: time.Hour, RetryMax: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *engine.Spool, n int) {
	t.Helper()
	for i := range n {
		p := ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}
		if _, err := s.Ingest(t.Context(), &ingest.Request{Properties: p, Data: fmt.Appendf(nil, `{"n":%d}`, i)}); err != nil {
			t.Fatal(err)
		}
	}
}

func closed(t *testing.T, s *engine.Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func follow(t *testing.T, dir string) *follower {
	t.Helper()
	f, err := newFollower(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.rest.settle = settleTime / 20
	return f
}

// codeOfAnswer is the code of an error of a spool.
func codeOfAnswer(err error) operate.Code {
	if e, ok := errors.AsType[*operate.Error](err); ok {
		return e.Code
	}
	return ""
}

// A follower sees a spool through its programs: in use, at rest, in use again; what is done
// to it is done by them, and at rest is told as a command.
func TestFollower(t *testing.T) {
	dir := filepath.Join(shortDir(t), "spool")
	s := owner(t, dir)
	put(t, s, 3)
	f, ctx := follow(t, dir), t.Context()
	table, err := s.Table(ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.DeadLetter(ctx, engine.Refused{Data: []byte("{bad\n"), Why: "no record"}); err != nil {
		t.Fatal(err)
	}
	for s.Stats().DeadLetters.Waiting == 0 {
		runtime.Gosched()
	}
	const id = "8b5c0f3e-7d1a-8c42-9d0e-3f2b1a6c7d88"
	see := func(inUse bool, acked int64) {
		t.Helper()
		st, err := f.Status(ctx, operate.StatusQuery{})
		if err != nil || st.InUse != inUse || st.Counters.Acked != acked || st.Spool != dir {
			t.Fatalf("%+v, %v; want in use %v, %d acked", st, err, inUse, acked)
		}
	}
	reads := func() {
		t.Helper()
		if p, err := f.Peek(ctx, operate.PeekQuery{Table: "T"}); err != nil || len(p.Records) != 3 {
			t.Errorf("peek: %+v, %v", p, err)
		}
		if h, err := f.History(ctx, operate.HistoryQuery{}); err != nil || len(h.Batches) != 1 {
			t.Errorf("history: %+v, %v", h, err)
		}
		if l, err := f.ListDead(ctx, operate.DeadQuery{}); err != nil || len(l.Letters) != 1 {
			t.Errorf("dead letters: %+v, %v", l, err)
		} else if p, err := f.DeadPayload(ctx, operate.DeadPayloadQuery{ID: l.Letters[0].ID.String()}); err != nil || string(p.Data) != "{bad\n" || !p.End {
			t.Errorf("its records: %+v, %v", p, err)
		}
		if _, err := f.DeadPayload(ctx, operate.DeadPayloadQuery{ID: id}); codeOfAnswer(err) != operate.NotFound {
			t.Errorf("a dead letter that is not there: %v", err)
		}
		if _, err := f.Receipt(ctx, operate.ReceiptQuery{Receipt: "x"}); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("receipt: %v", err)
		}
		if _, err := f.Peek(ctx, operate.PeekQuery{Table: "Nowhere"}); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("peek at what is not there: %v", err)
		}
		if _, err := f.Status(ctx, operate.StatusQuery{Limit: -1}); err == nil {
			t.Error("a negative limit was taken")
		}
	}
	see(true, 4)
	reads()
	if p, err := f.Pause(ctx, operate.PauseQuery{Table: "T"}); err != nil || p.Table != "T" || len(s.Stats().Paused) != 1 {
		t.Errorf("pause: %+v, %v", p, err)
	}
	if r, err := f.Resume(ctx, operate.TableQuery{Table: "T"}); err != nil || !r.Was {
		t.Errorf("resume: %+v, %v", r, err)
	}
	c, err := f.StartCheck(ctx)
	for err == nil && !c.Done {
		c, err = f.Check(ctx, operate.CheckQuery{ID: c.ID})
	}
	if err != nil || c.Records < 3 {
		t.Errorf("check: %+v, %v", c, err)
	}
	closed(t, s)

	before := filesOf(t, dir)
	see(false, 4)
	reads()
	for command, do := range map[string]func() error{
		"pause TABLE":   func() error { _, err := f.Pause(ctx, operate.PauseQuery{Table: "T"}); return err },
		"resume TABLE":  func() error { _, err := f.Resume(ctx, operate.TableQuery{Table: "T"}); return err },
		"retry TABLE":   func() error { _, err := f.Retry(ctx, operate.TableQuery{Table: "T"}); return err },
		"dead retry ID": func() error { _, err := f.RetryDead(ctx, operate.RetryDead{ID: id, Apply: true}); return err },
		"dead drop ID":  func() error { _, err := f.DropDead(ctx, operate.DropDead{ID: id}); return err },
		"check":         func() error { _, err := f.StartCheck(ctx); return err },
	} {
		if err := do(); codeOfAnswer(err) != operate.Conflict || !strings.Contains(err.Error(), "kustospool "+command+" --spool "+dir) {
			t.Errorf("%s at rest: %v", command, err)
		}
	}
	if !maps.Equal(before, filesOf(t, dir)) {
		t.Error("following a spool at rest changed it")
	}
	// What has not changed is not read again.
	see(false, 4)
	first := f.rest.seen.status
	for range 20 {
		see(false, 4)
	}
	if f.rest.seen.status != first {
		t.Error("a spool that nobody touched was read again")
	}

	s = owner(t, dir)
	defer closed(t, s)
	put(t, s, 2)
	see(true, 6)
}

// A process that has a spool open and answers nobody is told as such, and one that begins to
// answer is asked.
func TestFollowerOfAMuteProcess(t *testing.T) {
	dir := filepath.Join(shortDir(t), "spool")
	s, err := engine.Open(dir, transporttest.NewFake(), &engine.Options{NoSocket: true})
	if err != nil {
		t.Fatal(err)
	}
	f := follow(t, dir)
	if _, err := f.Status(t.Context(), operate.StatusQuery{}); codeOfAnswer(err) != operate.Conflict || !strings.Contains(err.Error(), "has no socket") || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("%v", err)
	}
	if _, err := f.Pause(t.Context(), operate.PauseQuery{Table: "T"}); codeOfAnswer(err) != operate.Conflict {
		t.Errorf("%v", err)
	}
	closed(t, s)
	s = owner(t, dir)
	defer closed(t, s)
	if st, err := f.Status(t.Context(), operate.StatusQuery{}); err != nil || !st.InUse {
		t.Errorf("%+v, %v", st, err)
	}
}

// A socket that has no room in the spool's directory is found as well, again and again.
func TestFollowerOfASocketElsewhere(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", shortDir(t))
	dir := filepath.Join(shortDir(t), strings.Repeat("long/", 25), "spool")
	f := (*follower)(nil)
	for round := range 2 {
		s := owner(t, dir)
		if f == nil {
			f = follow(t, dir)
		}
		if st, err := f.Status(t.Context(), operate.StatusQuery{}); err != nil || !st.InUse || filepath.Dir(f.socket) == dir {
			t.Errorf("round %d: %+v, %v, socket %s", round, st, err, f.socket)
		}
		closed(t, s)
		if st, err := f.Status(t.Context(), operate.StatusQuery{}); err != nil || st.InUse {
			t.Errorf("round %d, at rest: %+v, %v", round, st, err)
		}
	}
}

// TestFollowerKeepsNobodyOut: a program opens its spool again and again, with the usual
// patience, while a follower is asked all the time.
func TestFollowerKeepsNobodyOut(t *testing.T) {
	dir := filepath.Join(shortDir(t), "spool")
	s := owner(t, dir)
	put(t, s, 100)
	closed(t, s)
	f := follow(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	var looks atomic.Int64
	defer func() { stop(); asking.Wait() }()
	for range 3 {
		asking.Go(func() {
			for ctx.Err() == nil {
				_, _ = f.Status(ctx, operate.StatusQuery{}) // whatever it says
			}
		})
		asking.Go(func() {
			for ctx.Err() == nil {
				// Each of these is a look of its own, as soon as it may be made.
				err := f.read(ctx, "peek TABLE", func(ctx context.Context, s restSpool) error {
					_, err := s.Peek(ctx, operate.PeekQuery{Table: "T"})
					return err
				})
				if err == nil {
					looks.Add(1)
				}
			}
		})
	}
	times := 40
	if testing.Short() {
		times = 10
	}
	for i := range times {
		f.rest.mu.Lock()
		f.rest.notBefore = time.Time{} // it looks more often than it would, and waits for no process to come back
		f.rest.mu.Unlock()
		for n := looks.Load(); looks.Load() == n && t.Context().Err() == nil; {
			runtime.Gosched()
		}
		s, err := engine.Open(dir, transporttest.NewFake(), nil)
		if err != nil {
			t.Fatalf("open %d: %v", i, err)
		}
		closed(t, s)
	}
	if n := looks.Load(); n < int64(times) {
		t.Errorf("the spool was looked at %d times: this test shows nothing", n)
	}
}

// TestFollowerLetsGo: whatever a look takes, the lock is free in time. The control: one who
// holds it longer does keep a program out.
func TestFollowerLetsGo(t *testing.T) {
	dir := filepath.Join(shortDir(t), "spool")
	closed(t, owner(t, dir))
	f := follow(t, dir)
	looking, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- f.read(t.Context(), "peek TABLE", func(ctx context.Context, _ restSpool) error {
			close(looking)
			<-ctx.Done() // it would go on for ever
			return ctx.Err()
		})
	}()
	<-looking
	s, err := engine.Open(dir, transporttest.NewFake(), nil)
	if err != nil {
		t.Fatalf("kept out: %v", err)
	}
	closed(t, s)
	if err := <-ended; codeOfAnswer(err) != operate.Unsupported || !strings.Contains(err.Error(), "kustospool peek TABLE --spool "+dir) {
		t.Errorf("a look that takes long: %v", err)
	}
	v, err := engine.Look(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := engine.Open(dir, transporttest.NewFake(), nil); !errors.As(err, new(*engine.LockedError)) {
		t.Errorf("the control: opened while it was held: %v", err)
	}
}

// abrupt is a spool whose process ends in the middle of each call.
type abrupt struct {
	operate.Spool // none
	asked, done   atomic.Int64
	well          atomic.Bool // Status is answered
}

func (a *abrupt) Status(context.Context, operate.StatusQuery) (*operate.Status, error) {
	a.asked.Add(1)
	if a.well.Load() {
		return &operate.Status{}, nil
	}
	panic(http.ErrAbortHandler)
}

func (a *abrupt) RetryDead(context.Context, operate.RetryDead) (*operate.RetriedDead, error) {
	a.done.Add(1)
	panic(http.ErrAbortHandler)
}

func (a *abrupt) ListDead(context.Context, operate.DeadQuery) (*operate.DeadList, error) {
	panic(http.ErrAbortHandler)
}
func (a *abrupt) DeadPayload(context.Context, operate.DeadPayloadQuery) (*operate.DeadPayload, error) {
	panic(http.ErrAbortHandler)
}
func (a *abrupt) DropDead(context.Context, operate.DropDead) (*operate.DroppedDead, error) {
	panic(http.ErrAbortHandler)
}

// TestFollowerRepeatsNoChange: a question without an answer is asked again, and what
// changes something is done at most once, and told as what it is: not known.
func TestFollowerRepeatsNoChange(t *testing.T) {
	dir := shortDir(t)
	socket, err := operate.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	spool := new(abrupt)
	server := operate.Serve(socket, spool, slog.New(slog.DiscardHandler))
	defer server.Close()
	f := follow(t, dir)
	f.answersAt(server.Path())
	spool.well.Store(true)
	_, err = f.RetryDead(t.Context(), operate.RetryDead{ID: "x", Apply: true})
	if n := spool.done.Load(); n != 1 || codeOfAnswer(err) != operate.Failed || !strings.Contains(err.Error(), "may have been done or not") {
		t.Errorf("a retry that got no answer was made %d times: %v", n, err)
	}
	spool.well.Store(false)
	spool.asked.Store(0)
	_, err = f.Status(t.Context(), operate.StatusQuery{})
	if n := spool.asked.Load(); n != mostTries || codeOfAnswer(err) != operate.Failed {
		t.Errorf("a question that got no answer was asked %d times: %v", n, err)
	}
}

// A spool that is taken away is told as such, and found when it is put back.
func TestFollowerOfAMovedSpool(t *testing.T) {
	base := shortDir(t)
	dir, away := filepath.Join(base, "spool"), filepath.Join(base, "away")
	f := follow(t, dir)
	if st, err := f.Status(t.Context(), operate.StatusQuery{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where there is none: %+v, %v", st, err)
	}
	closed(t, owner(t, dir))
	for range 2 {
		if st, err := f.Status(t.Context(), operate.StatusQuery{}); err != nil || st.InUse {
			t.Errorf("%+v, %v", st, err)
		}
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		if st, err := f.Status(t.Context(), operate.StatusQuery{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("taken away: %+v, %v", st, err)
		}
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
	}
}

// In a directory that everybody may write to, the socket may be anybody's: nobody is asked.
func TestFollowerAsksNoStranger(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such rights")
	}
	dir := filepath.Join(shortDir(t), "spool")
	closed(t, owner(t, dir))
	socket, err := operate.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	stranger := new(abrupt)
	stranger.well.Store(true)
	server := operate.Serve(socket, stranger, slog.New(slog.DiscardHandler))
	defer server.Close()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	f := follow(t, dir)
	for range 3 {
		if st, err := f.Status(t.Context(), operate.StatusQuery{}); !errors.Is(err, engine.ErrUntrusted) {
			t.Errorf("%+v, %v", st, err)
		}
	}
	if n := stranger.asked.Load(); n != 0 {
		t.Errorf("the stranger was asked %d times", n)
	}
}

// What was seen at rest is told as it is now, and as much of it as is asked for.
func TestStatusNow(t *testing.T) {
	at := time.Date(2026, 11, 27, 5, 0, 0, 0, time.UTC)
	seen := &operate.Status{At: at, Counters: operate.Counters{Oldest: at.Add(-time.Minute), OldestSeconds: 60},
		Lanes:   []operate.Lane{{Oldest: at.Add(-time.Minute), OldestSeconds: 60}, {}},
		Batches: make([]operate.Batch, 30), Dead: make([]operate.Batch, 3), Cut: map[string]int{"batches": 7}}
	now := at.Add(time.Hour)
	for _, test := range []struct{ limit, batches, dead, cutBatches, cutDead int }{{0, 20, 3, 17, 0}, {2, 2, 2, 35, 1}, {100, 30, 3, 7, 0}} {
		got, err := statusNow(seen, operate.StatusQuery{Limit: test.limit}, now)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Batches) != test.batches || len(got.Dead) != test.dead || got.Cut["batches"] != test.cutBatches || got.Cut["dead_letters"] != test.cutDead {
			t.Errorf("limit %d: %d batches, %d dead letters, cut %v", test.limit, len(got.Batches), len(got.Dead), got.Cut)
		}
		if !got.At.Equal(now) || got.Counters.OldestSeconds != 3660 || got.Lanes[0].OldestSeconds != 3660 || got.Lanes[1].OldestSeconds != 0 {
			t.Errorf("%+v", got)
		}
		got.Lanes[0].Table, got.Cut["batches"] = "mine", -1
	}
	if seen.Lanes[0].Table != "" || seen.Cut["batches"] != 7 || seen.Lanes[0].OldestSeconds != 60 {
		t.Error("what was seen is changed by who is told")
	}
}
