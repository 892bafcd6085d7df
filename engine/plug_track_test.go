package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// rogueTracker is a rogue with a tracker that can misbehave.
type rogueTracker struct {
	rogue
	tracker *transporttest.TrackingFake
	track   func(n int64, pending []transport.Pending, vs []transport.Verdict) ([]transport.Verdict, error)
	asked   atomic.Int64
	cadence func()
	every   time.Duration
}

func (r *rogueTracker) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	return r.tracker.Send(ctx, d)
}

func (r *rogueTracker) Cadence() (time.Duration, int) {
	if r.cadence != nil {
		r.cadence()
	}
	return r.every, 100
}

func (r *rogueTracker) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	vs, err := r.tracker.Track(ctx, pending)
	if err != nil {
		return nil, err
	}
	return r.track(r.asked.Add(1), pending, vs)
}

// A Track that misbehaves three times, and tells the truth then. Nothing is
// lost, dead-lettered or doubled by that.
func TestTrackMisbehaves(t *testing.T) {
	ofAll := func(pending []transport.Pending, v transport.Verdict) (vs []transport.Verdict) {
		for _, p := range pending {
			v.Batch = p.Batch.ID
			vs = append(vs, v)
		}
		return vs
	}
	permanent := &transport.Error{Op: "x", Class: transport.Permanent, Message: "no"}
	for _, m := range []struct {
		name  string
		track func(pending []transport.Pending, vs []transport.Verdict) ([]transport.Verdict, error)
		words string // in Stats.Unhealthy at the next question; empty: it is well
		sends int    // in all, for two batches
		last  bool   // it was the last question, so its failure stays
	}{
		{name: "control: nothing", sends: 2,
			track: func(_ []transport.Pending, vs []transport.Verdict) ([]transport.Verdict, error) { return vs, nil }},
		{name: "panic", words: "Tracker.Track panicked: boom", sends: 2,
			track: func([]transport.Pending, []transport.Verdict) ([]transport.Verdict, error) { panic("boom") }},
		{name: "goexit", words: "Goexit", sends: 2,
			track: func([]transport.Pending, []transport.Verdict) ([]transport.Verdict, error) {
				runtime.Goexit()
				return nil, nil
			}},
		{name: "typed nil beside verdicts", sends: 2, last: true,
			track: func(_ []transport.Pending, vs []transport.Verdict) ([]transport.Verdict, error) {
				var e *transport.Error
				return vs, e
			}},
		{name: "typed nil of another type", words: "nil pointer", sends: 2,
			track: func([]transport.Pending, []transport.Verdict) ([]transport.Verdict, error) {
				var e *badError
				return nil, e
			}},
		{name: "twice, and the second time otherwise", sends: 2,
			track: func(p []transport.Pending, vs []transport.Verdict) ([]transport.Verdict, error) {
				return slices.Concat(vs, vs, ofAll(p, transport.Verdict{State: ingest.DeadLettered, Failure: permanent})), nil
			}},
		{name: "of batches that nobody asked about", words: "nobody asked about it", sends: 2,
			track: func([]transport.Pending, []transport.Verdict) ([]transport.Verdict, error) {
				return []transport.Verdict{{Batch: ingest.BatchID{1}, State: ingest.Succeeded}, {State: ingest.DeadLettered, Failure: permanent}}, nil
			}},
		{name: "a state that is none", words: "is no state of a verdict", sends: 2,
			track: func(p []transport.Pending, _ []transport.Verdict) ([]transport.Verdict, error) {
				return slices.Concat(ofAll(p, transport.Verdict{State: 200}), ofAll(p, transport.Verdict{State: ingest.Dropped}), ofAll(p, transport.Verdict{State: ingest.Sealed})), nil
			}},
		{name: "failed, and not how", sends: 4,
			track: func(p []transport.Pending, _ []transport.Verdict) ([]transport.Verdict, error) {
				return ofAll(p, transport.Verdict{State: ingest.DeadLettered}), nil
			}},
		{name: "failed with no class", sends: 4,
			track: func(p []transport.Pending, _ []transport.Verdict) ([]transport.Verdict, error) {
				return ofAll(p, transport.Verdict{State: ingest.DeadLettered, Failure: &transport.Error{Class: 77, RetryAfter: -1 << 62, Err: (*badError)(nil)}}), nil
			}},
		{name: "it writes to what it was given", sends: 2,
			track: func(p []transport.Pending, vs []transport.Verdict) ([]transport.Verdict, error) {
				for i := range p {
					p[i].Batch.ID = ingest.BatchID{9}
					clear(p[i].Progress)
				}
				return vs, nil
			}},
	} {
		t.Run(m.name, func(t *testing.T) {
			fake := transporttest.NewFake()
			r := &rogueTracker{rogue: rogue{Fake: fake}, tracker: fake.Tracking()}
			var s *engine.Spool
			ready := make(chan struct{})
			told := ""
			r.track = func(n int64, pending []transport.Pending, vs []transport.Verdict) ([]transport.Verdict, error) {
				<-ready
				if n <= 3 {
					return m.track(pending, vs)
				}
				if f := s.Stats().Unhealthy; f != nil {
					told = f.Message
				}
				return vs, nil
			}
			o := soon()
			o.UnknownGrace = time.Hour
			s = open(t, t.TempDir(), r, o)
			put(t, s, telemetry, row(1))
			other := telemetry
			other.Table = "Other"
			put(t, s, other, row(2))
			close(ready)
			drain(t, s)
			if m.words != "" && !strings.Contains(told, m.words) {
				t.Errorf("Stats say %q, want %q", told, m.words)
			}
			sameRows(t, fake.AllRows(), rows(3)[1:])
			conserved(t, s)
			kept(t, fake)
			if st := s.Stats(); st.Settled.DeadLettered != 0 || st.Settled.Dropped != 0 || (st.Unhealthy != nil) != m.last {
				t.Errorf("%+v", st)
			}
			if n := len(fake.Sends()); n < m.sends || n > 2*m.sends {
				t.Errorf("%d attempts, want %d", n, m.sends)
			}
		})
	}
}

// A batch of which only nonsense is heard is sent again in its time, under the
// same tag, as one of which nothing is heard.
func TestNonsenseIsAnAnswer(t *testing.T) {
	fake := transporttest.NewFake()
	fake.Script(transporttest.Step{LoseReply: true})
	r := &rogueTracker{rogue: rogue{Fake: fake}, tracker: fake.Tracking(), every: -1}
	r.track = func(_ int64, pending []transport.Pending, vs []transport.Verdict) ([]transport.Verdict, error) {
		if len(fake.Sends()) > 1 {
			return vs, nil
		}
		return []transport.Verdict{{Batch: pending[0].Batch.ID, State: 99}}, nil
	}
	s := open(t, t.TempDir(), r, soon())
	put(t, s, telemetry, row(1))
	drain(t, s)
	sameRows(t, fake.AllRows(), rows(2)[1:])
	if len(fake.Sends()) != 2 {
		t.Errorf("%d attempts", len(fake.Sends()))
	}
}

// rogueRouter leads everything to one place, when it is well.
type rogueRouter struct {
	rogue
	destination func() string
	of          func()
}

func (r *rogueRouter) Destination(*ingest.Properties, ingest.Guarantee, []byte) string {
	return r.destination()
}

func (r *rogueRouter) CapabilitiesOf(string) transport.Capabilities {
	r.of()
	return transport.Capabilities{ExactlyOnce: true}
}

// A router that fails refuses new records honestly, and costs accepted ones
// nothing.
func TestRouterMisbehaves(t *testing.T) {
	for name, do := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			fake := transporttest.NewFake()
			var bad atomic.Bool
			hold := make(chan struct{})
			fake.Script(transporttest.Step{Wait: hold})
			misbehave := func() {
				if bad.Load() {
					do()
				}
			}
			r := &rogueRouter{rogue: rogue{Fake: fake}, of: misbehave, destination: func() string { misbehave(); return "there" }}
			o := soon()
			o.Batch.MaxRecords = 1
			dir := t.TempDir()
			s, err := engine.Open(dir, r, o)
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, telemetry, row(1), row(2))
			if err := fake.WaitSends(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			bad.Store(true)
			if name == "panic" { // the end of the caller's own goroutine is the caller's
				if _, err := s.Ingest(t.Context(), request(telemetry, row(3))); err == nil || !contains(err.Error(), "boom") {
					t.Errorf("Ingest: %v", err)
				}
				if _, err := s.IngestReader(t.Context(), telemetry, strings.NewReader(row(3))); err == nil || !contains(err.Error(), "boom") {
					t.Errorf("IngestReader: %v", err)
				}
				if _, err := s.Table(ingest.Properties{Database: "x", Table: "y", Format: ingest.CSV}); err == nil || !contains(err.Error(), "boom") {
					t.Errorf("Table: %v", err)
				}
				if _, err := engine.Open(t.TempDir(), r, o); err == nil || !contains(err.Error(), "boom") {
					t.Errorf("Open: %v", err)
				}
			}
			close(hold)
			drain(t, s) // the engine's own questions fail, too
			bad.Store(false)
			put(t, s, telemetry, row(3))
			drain(t, s)
			sameRows(t, fake.AllRows(), rows(4)[1:])
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("ever new destinations", func(t *testing.T) {
		fake := transporttest.NewFake()
		var n atomic.Int64
		r := &rogueRouter{rogue: rogue{Fake: fake}, of: func() {}, destination: func() string { return fmt.Sprintf("%d%s", n.Add(1), strings.Repeat("x", int(n.Load()%300))) }}
		o := soon()
		o.Batch.MaxRecords = 1
		s := open(t, t.TempDir(), r, o)
		put(t, s, telemetry, rows(50)...)
		drain(t, s)
		sameRows(t, fake.AllRows(), rows(50))
	})
}

// badReader reads as a function says.
type badReader func(p []byte) (int, error)

func (r badReader) Read(p []byte) (int, error) { return r(p) }

func TestReaderMisbehaves(t *testing.T) {
	var none *strings.Reader
	line := fmt.Sprintf("{\"x\":\"%s\"}\n", strings.Repeat("x", 55)) // 64 bytes
	for name, c := range map[string]struct {
		then  func(p []byte) (int, error)
		words string
	}{
		"panic":           {func([]byte) (int, error) { panic("boom") }, "boom"},
		"negative":        {func([]byte) (int, error) { return -1, nil }, "read -1 bytes"},
		"too much":        {func(p []byte) (int, error) { return len(p) + 1, nil }, "bytes into"},
		"never anything":  {func([]byte) (int, error) { return 0, nil }, "multiple Read calls"},
		"nil pointer":     {none.Read, "nil pointer"},
		"typed nil error": {func([]byte) (int, error) { var e *badError; return 0, e }, ""},
	} {
		for _, format := range []ingest.Format{ingest.TXT, ingest.Parquet} {
			for _, before := range []int{0, 5 << 20} { // in memory, and in objects
				t.Run(fmt.Sprint(name, " ", format, " ", before), func(t *testing.T) {
					fake := transporttest.NewFake()
					s := open(t, t.TempDir(), fake, soon())
					p := telemetry
					p.Format = format
					left := before
					_, err := s.IngestReader(t.Context(), p, badReader(func(p []byte) (int, error) {
						if left > 0 {
							n := min(left, len(p), 1000)
							for i := range n {
								p[i] = line[(before-left+i)%len(line)]
							}
							left -= n
							return n, nil
						}
						return c.then(p)
					}))
					if err == nil {
						t.Fatal("no error")
					}
					if c.words != "" && !contains(err.Error(), c.words) {
						t.Errorf("%v, want %q", err, c.words)
					}
					if st := s.Stats(); st.Acked != 0 {
						t.Errorf("%d records are acknowledged", st.Acked)
					}
					put(t, s, telemetry, row(1))
					drain(t, s)
					sameRows(t, fake.AllRows(), rows(2)[1:])
				})
			}
		}
	}
	s := open(t, t.TempDir(), transporttest.NewFake(), soon())
	tbl, err := s.Table(telemetry)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tbl.IngestJSON(t.Context(), marshaler{})
	isInvalid(t, err, "boom")
}

type marshaler struct{}

func (marshaler) MarshalJSON() ([]byte, error) { panic("boom") }
