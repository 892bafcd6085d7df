package engine_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// shortDir is a directory whose path leaves room for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// asked finds the socket of a spool in use as a command does.
func asked(t testing.TB, dir string) *operate.Client {
	t.Helper()
	_, err := engine.Look(dir, &engine.Options{LockTimeout: 1})
	var locked *engine.LockedError
	if !errors.As(err, &locked) || locked.Socket == "" || !strings.Contains(locked.Owner, fmt.Sprint("pid ", os.Getpid())) || strings.Contains(locked.Owner, "socket") {
		t.Fatalf("looking at a spool in use: %#v, %v", locked, err)
	}
	c, err := operate.Dial(t.Context(), locked.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestSpoolInUseAnswers: what the socket says is what the spool says, and what
// it says at rest, but for what only a process knows.
func TestSpoolInUseAnswers(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		t.Run(fmt.Sprint("elsewhere ", elsewhere), func(t *testing.T) {
			dir := shortDir(t)
			if elsewhere {
				t.Setenv("XDG_RUNTIME_DIR", shortDir(t))
				dir = filepath.Join(dir, strings.Repeat("long", 30))
			}
			fake := transporttest.NewFake()
			fake.Down(&transport.Error{Class: transport.Transient, Op: "send", Code: "Down", Message: "no route"})
			o := soon()
			o.NoSocket = false
			s := open(t, dir, fake, o)
			receipts := put(t, s, telemetry, rows(5)...)
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			put(t, s, ingest.Properties{Database: "Demo", Table: "Other", Format: ingest.CSV}, "1,2")
			c := asked(t, dir)
			check := func(what string, spool operate.Spool, inUse bool) {
				t.Helper()
				ctx := t.Context()
				st, err := spool.Status(ctx, operate.StatusQuery{})
				if err != nil || st.Counters.Acked != 6 || st.Counters.Open+st.Counters.Sealed != 6 || len(st.Lanes) != 2 || st.InUse != inUse || st.Spool != dir || (st.Counters.QuotaBytes > 0) != inUse {
					t.Errorf("%s: status %+v, %v", what, st, err)
				}
				p, err := spool.Peek(ctx, operate.PeekQuery{Table: "Telemetry", Limit: 3})
				if err != nil || len(p.Records) != 3 || string(p.Records[2].Data) != row(2) || p.Next == nil || p.Next.Seq != 4 {
					t.Fatalf("%s: peek %+v, %v", what, p, err)
				}
				p, err = spool.Peek(ctx, operate.PeekQuery{Table: "Demo.Telemetry", Lane: p.Next.Lane, Seq: p.Next.Seq, Grep: `"n":4`})
				if err != nil || len(p.Records) != 1 || p.Records[0].ID != receipts[4].ID.String() || p.Records[0].Batch == "" || p.Next != nil {
					t.Errorf("%s: peek of the rest %+v, %v", what, p, err)
				}
				if _, err := spool.Peek(ctx, operate.PeekQuery{Table: "Nowhere"}); !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), "Demo.Other, Demo.Telemetry") {
					t.Errorf("%s: peek of no table: %v", what, err)
				}
				r, err := spool.Receipt(ctx, operate.ReceiptQuery{Receipt: receipts[1].String()})
				if err != nil || r.Records != 1 || len(r.Parts) != 1 || r.Parts[0].Batch == nil {
					t.Errorf("%s: receipt %+v, %v", what, r, err)
				}
				h, err := spool.History(ctx, operate.HistoryQuery{})
				if err != nil || len(h.Batches) != 0 {
					t.Errorf("%s: history %+v, %v", what, h, err)
				}
			}
			check("by the socket", c, true)
			check("within the process", s.Operator(), true)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			v, err := engine.Look(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			check("at rest", v.Operator(), false)
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestHistoryInPages: an answer begins where the one before ended, whatever is of
// the same moment.
func TestHistoryInPages(t *testing.T) {
	dir := shortDir(t)
	o := soon()
	o.NoSocket = false
	s := open(t, dir, transporttest.NewFake(), o)
	var want []string
	for i := range 7 {
		put(t, s, telemetry, row(i))
		drain(t, s)
	}
	all, err := s.Operator().History(t.Context(), operate.HistoryQuery{Table: "Telemetry"})
	if err != nil || len(all.Batches) != 7 || all.More != 0 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, b := range all.Batches {
		want = append(want, b.ID)
	}
	if !slices.IsSortedFunc(all.Batches, func(a, b operate.SettledBatch) int { return b.Updated.Compare(a.Updated) }) {
		t.Error("not the newest first")
	}
	c := asked(t, dir)
	var got []string
	q := operate.HistoryQuery{Limit: 2}
	for more := true; more; {
		h, err := c.History(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range h.Batches {
			got = append(got, b.ID)
			q.Before, q.BeforeID = b.Updated, b.ID
		}
		more = h.More > 0
	}
	if !slices.Equal(got, want) {
		t.Errorf("in pages %v, whole %v", got, want)
	}
}

// A spool that keeps silent makes no socket, and says so by naming none.
func TestNoSocket(t *testing.T) {
	dir := shortDir(t)
	open(t, dir, transporttest.NewFake(), soon())
	if _, err := os.Lstat(filepath.Join(dir, operate.SocketName)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	var locked *engine.LockedError
	if _, err := engine.Look(dir, &engine.Options{LockTimeout: 1}); !errors.As(err, &locked) || locked.Socket != "" {
		t.Errorf("%v", err)
	}
}

// stall connects some clients that ask for all there is and never read.
func stall(t testing.TB, dir string, n int) {
	t.Helper()
	_, err := engine.Look(dir, &engine.Options{LockTimeout: 1})
	locked, ok := errors.AsType[*engine.LockedError](err)
	if !ok {
		t.Fatal(err)
	}
	for range n {
		c, err := net.Dial("unix", locked.Socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		for range 50 { // asked in advance, on the one connection
			if _, err := fmt.Fprint(c, "GET /v1/peek?table=Telemetry HTTP/1.1\r\nHost: spool\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestStalledClientsCostNothing: clients that ask and do not read keep neither an
// acknowledgement nor a delivery nor Close waiting.
func TestStalledClientsCostNothing(t *testing.T) {
	dir := shortDir(t)
	fake := transporttest.NewFake()
	fake.Down(&transport.Error{Class: transport.Transient, Op: "send", Message: "no route"})
	o := soon()
	o.NoSocket = false
	s := open(t, dir, fake, o)
	big := `{"x":"` + strings.Repeat("x", 64<<10) + `"}`
	for range 20 {
		put(t, s, telemetry, big)
	}
	stall(t, dir, operate.MaxClients)
	put(t, s, telemetry, rows(200)...)
	fake.Down(nil)
	drain(t, s)
	conserved(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := fake.AllRows(); len(got) != 220 {
		t.Errorf("%d rows", len(got))
	}
}
