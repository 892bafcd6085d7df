package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/testutil/ledger"
	"kustospool/operate"
	"kustospool/transport"
	"kustospool/transport/route"
	"kustospool/transport/transporttest"
)

// kept open: a process that ends does not end the destination.
type lasting struct{ *transporttest.TrackingFake }

func (lasting) Close() error { return nil }

// move is a table that goes by direct commands in one process and by the queue
// in the next, which starts from the disk as a crash leaves it, with batches in
// every state.
type move struct {
	dir     string
	opts    *engine.Options
	books   *ledger.Ledger
	direct  *transporttest.Fake
	queued  *transporttest.Fake
	began   int // attempts by direct in the first process
	receipt []ingest.Receipt
}

const moved = 12

// atRest runs the first process up to the crash.
func atRest(t *testing.T) *move {
	m := &move{dir: t.TempDir(), opts: soon(), books: &ledger.Ledger{}, direct: transporttest.NewFake(), queued: transporttest.NewFake()}
	m.opts.Batch = batching.Policy{MaxRecords: 1, MaxAge: 10 * time.Millisecond}
	m.opts.Guarantee = ingest.AtLeastOnce // no tag hides a second copy
	m.opts.Senders = 6
	m.opts.UnknownGrace = 10 * time.Second
	m.opts.VerdictTimeout = time.Minute
	m.opts.RetryMin, m.opts.RetryMax = time.Second, time.Minute
	verdicts, never := make(chan struct{}), make(chan struct{})
	m.direct.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
		if d.Attempt > 1 {
			return transporttest.Step{}, true
		}
		switch d.Batch.First {
		case 1:
			return transporttest.Step{Verdicts: verdicts}, true // accepted
		case 2:
			return transporttest.Step{LoseReply: true, Verdicts: verdicts}, true // unknown, and there
		case 3:
			return transporttest.Step{LoseRequest: true}, true // unknown, and not there
		case 4:
			return transporttest.Step{WaitKept: never, Verdicts: verdicts}, true // sending, and there
		case 5: // sending, uploaded only
			return transporttest.Step{Before: func(*transport.Delivery) error { <-never; return errors.New("the process is gone") }}, true
		}
		return transporttest.Step{Wait: never}, true // sending, nothing done
	})
	var all []string
	for i := range moved {
		all = append(all, row(i))
	}
	crashed := t.TempDir()
	s, err := engine.Open(crashed, m.router(t, "direct"), m.opts)
	if err != nil {
		t.Fatal(err)
	}
	m.receipt = put(t, s, telemetry, all...)
	for i, r := range m.receipt {
		m.books.Acked(r.String(), all[i])
	}
	time.Sleep(500 * time.Millisecond)
	synctest.Wait()
	states := map[ingest.State]bool{}
	for _, r := range m.receipt {
		st, err := s.Status(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		states[st.State] = true
	}
	for _, want := range []ingest.State{ingest.Sealed, ingest.Sending, ingest.Unknown, ingest.Accepted} {
		if !states[want] {
			t.Fatalf("no batch is %s at the crash: %v", want, states)
		}
	}
	if err := os.CopyFS(m.dir, os.DirFS(crashed)); err != nil { // nothing runs: the disk as it is
		t.Fatal(err)
	}
	close(never)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	close(verdicts)
	m.began = len(m.direct.Sends())
	return m
}

// router leads all tables by one of the transports that are named.
func (m *move) router(t *testing.T, names ...string) transport.Transport {
	t.Helper()
	o := route.Options{Transports: map[string]transport.Transport{}, Default: names[0]}
	for _, name := range names {
		switch name {
		case "direct":
			o.Transports[name] = lasting{m.direct.Tracking()}
		case "queued":
			o.Transports[name] = lasting{m.queued.Tracking()}
		}
	}
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// more ingests further records.
func (m *move) more(t *testing.T, s *engine.Spool, from, n int) {
	for i := from; i < from+n; i++ {
		r := put(t, s, telemetry, row(i))[0]
		m.books.Acked(r.String(), row(i))
	}
}

func (m *move) report() ledger.Report {
	return m.books.Check(ledger.Places{Ingested: slices.Concat(m.direct.AllRows(), m.queued.AllRows())}, ledger.ExactlyOnce)
}

func by(f *transporttest.Fake) (first []uint64) {
	for _, k := range f.Kept() {
		first = append(first, k.Batch.First)
	}
	slices.Sort(first)
	return first
}

func TestTableMovesAcrossACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := atRest(t)
		s := open(t, m.dir, m.router(t, "queued", "direct"), m.opts)
		m.more(t, s, moved, 5)
		drain(t, s)
		if err := m.report().Err(); err != nil {
			t.Error(err)
		}
		// What direct may have taken stays with it; of that only the request that
		// was lost is sent again.
		if got := by(m.direct); !slices.Equal(got, []uint64{1, 2, 3, 4}) {
			t.Errorf("by direct: %v", got)
		}
		if n := len(m.direct.Sends()) - m.began; n != 1 {
			t.Errorf("%d attempts by direct after the move, want 1", n)
		}
		if got := by(m.queued); len(got) != moved-4+5 || got[0] != 5 {
			t.Errorf("by the queue: %v", got)
		}
		conserved(t, s)
		kept(t, m.direct)
		kept(t, m.queued)
	})
}

// The control: without the router's memory the same move doubles rows, and the
// ledger sees it.
func TestTableMovesWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := atRest(t)
		s := open(t, m.dir, lasting{m.queued.Tracking()}, m.opts)
		drain(t, s)
		if got := m.report().Duplicated; len(got) != 3 {
			t.Errorf("%d records doubled, want those of batches 1, 2 and 4", len(got))
		}
		s.Close()
	})
}

// A transport that is taken away: what it may have taken waits and says so,
// everything else goes on, and when it is there again nothing is doubled.
func TestTransportTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := atRest(t)
		s := open(t, m.dir, m.router(t, "queued"), m.opts)
		m.more(t, s, moved, 5)
		time.Sleep(100 * time.Hour) // longer than any verdict is waited for
		if got := by(m.queued); len(got) != moved-4+5 {
			t.Errorf("by the queue: %v", got)
		}
		st := s.Stats()
		if st.Waiting.Records != 4 || st.Unhealthy == nil || !strings.Contains(st.Unhealthy.Message, `"direct"`) {
			t.Errorf("%d spooled; unhealthy: %v", st.Waiting.Records, st.Unhealthy)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, m.dir, m.router(t, "queued", "direct"), m.opts)
		drain(t, s)
		if err := m.report().Err(); err != nil {
			t.Error(err)
		}
		if got := by(m.direct); !slices.Equal(got, []uint64{1, 2, 3, 4}) {
			t.Errorf("by direct: %v", got)
		}
		conserved(t, s)
	})
}

// twoWays is an engine on two destinations; tables named S.. go by the second.
func twoWays(t *testing.T, first, second transport.Transport, o *engine.Options) *engine.Spool {
	t.Helper()
	r, err := route.New(route.Options{Transports: map[string]transport.Transport{"first": first, "second": second},
		Default: "first", Databases: map[string]string{"Second": "second"}})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, t.TempDir(), r, o)
}

func in(db string, table int) ingest.Properties {
	return ingest.Properties{Database: db, Table: fmt.Sprint("T", table), Format: ingest.JSON}
}

// A destination that fails, throttles, or stops answering in the middle of
// attempts and of questions costs the other one nothing.
func TestDestinationsDoNotDelayEachOther(t *testing.T) {
	trouble := map[string]func(f *transporttest.Fake){
		"down": func(f *transporttest.Fake) { f.Down(transporttest.Fail(transport.Transient)) },
		"throttled": func(f *transporttest.Fake) {
			f.Down(transporttest.Throttle(time.Hour))
		},
		"silent": func(f *transporttest.Fake) {
			never := make(chan struct{})
			f.Decide(func(*transport.Delivery) (transporttest.Step, bool) { return transporttest.Step{Wait: never}, true })
		},
		"unknown": func(f *transporttest.Fake) {
			f.Decide(func(*transport.Delivery) (transporttest.Step, bool) { return transporttest.Step{LoseReply: true}, true })
		},
	}
	for name, begin := range trouble {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad, good := transporttest.NewFake(), transporttest.NewFake()
				begin(bad)
				tracked := good.Tracking()
				tracked.SetCadence(10*time.Millisecond, 100)
				o := soon()
				o.RetryMin, o.RetryMax = time.Second, time.Minute
				s := twoWays(t, stuck{bad.Tracking()}, tracked, o)
				for i := range 20 {
					put(t, s, in("First", i), row(i))
				}
				time.Sleep(time.Minute)
				for i := range 50 {
					r := put(t, s, in("Second", i%3), row(100+i))[0]
					begun := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					st, err := s.Wait(ctx, r.ID)
					cancel()
					if err != nil || st.State != ingest.Succeeded || time.Since(begun) > 200*time.Millisecond {
						t.Fatalf("record %d of the other destination: %v after %v, %v", i, st.State, time.Since(begun), err)
					}
				}
				time.Sleep(15 * time.Minute) // longer than an attempt may take
				if s.Stats().Unhealthy == nil {
					t.Error("nothing says that a destination is in trouble")
				}
			})
		})
	}
}

// An outage is told of all tables that go where it is, tried or not, and of no other; and
// of those whose outcome cannot be asked for.
func TestTroubleIsOfItsDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := transporttest.NewFake(), transporttest.NewFake()
		never := make(chan struct{})
		good.Decide(func(*transport.Delivery) (transporttest.Step, bool) { return transporttest.Step{Verdicts: never}, true })
		o := soon()
		o.RetryMin, o.RetryMax = time.Minute, time.Minute
		s := twoWays(t, lasting{bad.Tracking()}, lasting{good.Tracking()}, o)
		told := func() (lanes, troubles string) {
			t.Helper()
			st, err := s.Operator().Status(t.Context(), operate.StatusQuery{})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range st.Lanes {
				lanes += fmt.Sprintf("%s.%s %q failed=%t awaited=%d; ", l.Database, l.Table, l.Unhealthy, l.Failure != nil, l.Awaited)
			}
			for _, d := range st.Troubles {
				troubles += fmt.Sprintf("%s tables=%d records=%d; ", d.Kind, d.Tables, d.Records)
			}
			return lanes, troubles
		}
		is := func(wantLanes, wantTroubles string) {
			t.Helper()
			if lanes, troubles := told(); lanes != wantLanes || troubles != wantTroubles {
				t.Errorf("%s%s", lanes, troubles)
			}
		}
		bad.Down(transporttest.Fail(transport.Transient))
		put(t, s, in("First", 0), row(1))
		time.Sleep(time.Second)
		put(t, s, in("First", 1), row(2))
		put(t, s, in("Second", 0), row(3))
		time.Sleep(time.Second)
		is(`First.T0 "transient" failed=true awaited=0; First.T1 "transient" failed=false awaited=0; Second.T0 "" failed=false awaited=1; `, "service-down tables=2 records=2; ")
		bad.Down(nil)
		time.Sleep(2 * time.Minute)
		is(`Second.T0 "" failed=false awaited=1; `, "")
		good.Down(transporttest.Fail(transport.Transient))
		time.Sleep(2 * time.Minute)
		is(`Second.T0 "transient" failed=false awaited=1; `, "service-down tables=1 records=1; ")
	})
}

// Many batches that await an outcome which does not come, from a destination
// that is silent or gone, leave the others all of their room.
func TestSilentOutcomesLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, bad, good := t.TempDir(), transporttest.NewFake(), transporttest.NewFake()
		never := make(chan struct{})
		bad.Decide(func(*transport.Delivery) (transporttest.Step, bool) { return transporttest.Step{Verdicts: never}, true })
		tr := func(names ...string) transport.Transport {
			o := route.Options{Transports: map[string]transport.Transport{}, Default: names[0]}
			for _, name := range names {
				o.Transports[name] = lasting{map[string]*transporttest.Fake{"bad": bad, "good": good}[name].Tracking()}
			}
			r, err := route.New(o)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		o := soon()
		o.Batch.MaxRecords, o.MaxUnconfirmed = 1, 10
		s := open(t, dir, tr("bad", "good"), o)
		for i := range 30 {
			put(t, s, in("D", i%6), row(i))
		}
		time.Sleep(time.Minute)
		if n := s.Stats().Batches.Accepted; n < 9 || n > 10 {
			t.Fatalf("%d batches await their outcome, want the bound of 10", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, names := range [][]string{{"good", "bad"}, {"good"}} {
			s := open(t, dir, tr(names...), o)
			n := len(good.AllRows())
			for i := range 20 {
				put(t, s, in("D", i%6), row(100*len(names)+i))
			}
			time.Sleep(time.Minute)
			if got := len(good.AllRows()) - n; got < 20 {
				t.Errorf("with %v: %d of 20 records arrived by the other way", names, got)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// stuck does not answer questions either.
type stuck struct{ *transporttest.TrackingFake }

func (s stuck) Track(ctx context.Context, p []transport.Pending) ([]transport.Verdict, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestGuaranteeByTable(t *testing.T) {
	stream := transporttest.NewFakeWith(transport.Capabilities{MaxBatchBytes: 100})
	tr := func() transport.Transport {
		r, err := route.New(route.Options{Transports: map[string]transport.Transport{"queue": transporttest.NewFake(), "stream": stream},
			Default: "queue", Databases: map[string]string{"Second": "stream"}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	streamed := engine.TableName{Database: "Second", Table: "T1"}
	o := soon()
	o.Tables = map[engine.TableName]engine.TableOptions{streamed: {Guarantee: ingest.ExactlyOnce}}
	if _, err := engine.Open(t.TempDir(), tr(), o); !errors.Is(err, engine.ErrGuarantee) {
		t.Errorf("Open: %v", err)
	}
	o.Tables[streamed] = engine.TableOptions{Guarantee: ingest.AtLeastOnce}
	s := open(t, t.TempDir(), tr(), o)
	if _, err := s.Table(in("Second", 2)); !errors.Is(err, engine.ErrGuarantee) || !contains(err.Error(), "stream") {
		t.Errorf("Table: %v", err)
	}
	if _, err := s.Ingest(t.Context(), request(in("Second", 2), row(1))); !errors.Is(err, engine.ErrGuarantee) {
		t.Errorf("Ingest: %v", err)
	}
	if _, err := s.IngestReader(t.Context(), in("Second", 2), strings.NewReader("{}\n")); !errors.Is(err, engine.ErrGuarantee) {
		t.Errorf("IngestReader: %v", err)
	}
	if n := s.Stats().Acked; n != 0 {
		t.Errorf("%d records stored by refused calls", n)
	}
	// The limit of a batch is the transport's of the table.
	long := `{"a":"` + strings.Repeat("x", 100) + `"}`
	if _, err := s.Ingest(t.Context(), request(in("Second", 1), long)); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("a long record to the stream: %v", err)
	}
	put(t, s, in("First", 1), long)
	put(t, s, in("Second", 1), row(1))
	drain(t, s)
	if len(stream.AllRows()) != 1 {
		t.Errorf("%d rows streamed", len(stream.AllRows()))
	}
}

// What waits under exactly-once cannot be led to a transport that does not
// keep it: Open says so, and nothing is lost.
func TestRulesAgainstWhatWaits(t *testing.T) {
	for name, age := range map[string]time.Duration{"sealed": 10 * time.Millisecond, "open": time.Hour} {
		t.Run(name, func(t *testing.T) {
			dir, queue := t.TempDir(), transporttest.NewFake()
			queue.Down(transporttest.Fail(transport.Transient))
			o := soon()
			o.Batch.MaxAge = age
			tr := func(to string) transport.Transport {
				r, err := route.New(route.Options{Default: "queue", Databases: map[string]string{"Demo": to}, Transports: map[string]transport.Transport{
					"queue": lasting{queue.Tracking()}, "stream": transporttest.NewFakeWith(transport.Capabilities{})}})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			s := open(t, dir, tr("queue"), o)
			put(t, s, telemetry, row(1))
			if age < time.Hour {
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
			if _, err := engine.Open(dir, tr("stream"), o); !errors.Is(err, engine.ErrGuarantee) {
				t.Fatalf("Open: %v", err)
			}
			queue.Down(nil)
			s = open(t, dir, tr("queue"), o)
			drain(t, s)
			sameRows(t, queue.AllRows(), []string{row(1)})
		})
	}
}

// A blob by reference goes where its table goes, if that takes blobs. What
// waits keeps a spool from opening only where its own destination would send
// the address as data.
func TestBlobsByTable(t *testing.T) {
	data := func() transport.Transport { return transporttest.NewFake() }
	for name, age := range map[string]time.Duration{"sealed": 10 * time.Millisecond, "open": time.Hour} {
		t.Run(name, func(t *testing.T) {
			dir, blobs := t.TempDir(), takesBlobs()
			blobs.Down(transporttest.Fail(transport.Transient))
			o := soon()
			o.Batch.MaxAge = age
			tr := func(to string) transport.Transport {
				r, err := route.New(route.Options{Default: to, Databases: map[string]string{"Other": "data"},
					Transports: map[string]transport.Transport{"blobs": lasting{blobs.Tracking()}, "data": data()}})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			s := open(t, dir, tr("blobs"), o)
			_, err := s.IngestBlob(t.Context(), in("Other", 1), blobAt("a.json"))
			isInvalid(t, err, "the transport takes the data itself only")
			r, err := s.IngestBlob(t.Context(), telemetry, blobAt("a.json"))
			if err != nil {
				t.Fatal(err)
			}
			if age < time.Hour {
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := engine.Open(dir, tr("data"), o); !errors.Is(err, engine.ErrNoBlobs) {
				t.Fatalf("Open: %v", err)
			}
			blobs.Down(nil)
			s = open(t, dir, tr("blobs"), o)
			drain(t, s)
			state(t, s, r, ingest.Succeeded)
			kept(t, blobs)
		})
	}
}

// A blob that its transport may have begun to ingest stays with that, whatever
// the rules say and even if it is not there.
func TestBlobThatWasBegun(t *testing.T) {
	dir, blobs, verdicts := t.TempDir(), takesBlobs(), make(chan struct{})
	blobs.Script(transporttest.Step{LoseReply: true, Verdicts: verdicts})
	o := soon()
	o.UnknownGrace = time.Hour
	tr := func(to string, blobsThere bool) transport.Transport {
		all := map[string]transport.Transport{"data": transporttest.NewFake()}
		if blobsThere {
			all["blobs"] = lasting{blobs.Tracking()}
		}
		r, err := route.New(route.Options{Default: to, Transports: all})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	s := open(t, dir, tr("blobs", true), o)
	r, err := s.IngestBlob(t.Context(), telemetry, blobAt("a.json"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := blobs.WaitEnded(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, tr("data", false), o)
	state(t, s, r, ingest.Unknown)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	close(verdicts)
	s = open(t, dir, tr("data", true), o)
	drain(t, s)
	state(t, s, r, ingest.Succeeded)
	if n := len(blobs.Kept()); n != 1 {
		t.Errorf("%d copies by the transport that began it", n)
	}
	kept(t, blobs)
}

type gauged struct{ *transporttest.Fake }

func (gauged) Figures() []transport.Figure { return []transport.Figure{{Name: "n", Value: 7}} }

func TestStatsHaveTheTransportsFigures(t *testing.T) {
	if f := open(t, t.TempDir(), gauged{transporttest.NewFake()}, soon()).Stats().Transport; len(f) != 1 || f[0].Value != 7 {
		t.Errorf("%v", f)
	}
	if f := open(t, t.TempDir(), transporttest.NewFake(), soon()).Stats().Transport; f != nil {
		t.Errorf("%v", f)
	}
}
