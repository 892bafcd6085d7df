package route

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// both is a router over two fakes, of which one database goes by the second.
func both(t *testing.T, first, second transport.Transport) *Router {
	t.Helper()
	r, err := New(Options{Transports: map[string]transport.Transport{"first": first, "second": second},
		Default: "first", Databases: map[string]string{"Größe": "second"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestContract(t *testing.T) {
	for name, open := range map[string]func(*transporttest.Fake) transport.Transport{
		"answers at once": func(f *transporttest.Fake) transport.Transport { return f },
		"tracked":         func(f *transporttest.Fake) transport.Transport { return f.Tracking() },
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Harness{New: func(t *testing.T) *transporttest.Target {
				fakes := []*transporttest.Fake{transporttest.NewFake(), transporttest.NewFake()}
				script := func(s transporttest.Step) { fakes[0].Script(s) } // the suite's own table goes there
				refuse := map[transport.Class]func(testing.TB){}
				for _, c := range []transport.Class{transport.Malformed, transport.Permanent, transport.Held} {
					refuse[c] = func(testing.TB) { script(transporttest.Step{Refuse: transporttest.Fail(c)}) }
				}
				return &transporttest.Target{
					Transport: both(t, open(fakes[0]), open(fakes[1])),
					Rows: func(_ testing.TB, p ingest.Properties) []string {
						return slices.Concat(fakes[0].Rows(transporttest.TableOf(p)), fakes[1].Rows(transporttest.TableOf(p)))
					},
					Down: func(_ testing.TB, down bool) {
						for _, f := range fakes {
							f.Down(nil)
							if down {
								f.Down(transporttest.Fail(transport.Transient))
							}
						}
					},
					LoseReply: func(testing.TB) { script(transporttest.Step{LoseReply: true}) },
					Stall: func(testing.TB) func() {
						gate := make(chan struct{})
						script(transporttest.Step{Wait: gate})
						return sync.OnceFunc(func() { close(gate) })
					},
					Refuse: refuse,
				}
			}})
		})
	}
}

func batch(g ingest.Guarantee) *ingest.Batch {
	return &ingest.Batch{ID: ingest.BatchID{1}, First: 1, Last: 1, Guarantee: g, RawBytes: 2,
		Properties: ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}}
}

// Who has a batch, by what its progress says, under rules that name "new".
func TestWay(t *testing.T) {
	tracked, mute := transporttest.NewFake().Tracking(), transporttest.NewFakeWith(transport.Capabilities{})
	r, err := New(Options{Transports: map[string]transport.Transport{"old": tracked, "stream": mute, "new": transporttest.NewFake().Tracking()},
		Default: "new", Before: "old"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		guarantee ingest.Guarantee
		progress  []byte
		to        string
		own       string
	}{
		{"not begun", ingest.ExactlyOnce, nil, "new", ""},
		{"uploaded by the same", ingest.ExactlyOnce, wrap("new", free, []byte("p")), "new", "p"},
		{"uploaded by another", ingest.ExactlyOnce, wrap("old", free, []byte("p")), "new", ""},
		{"sent", ingest.ExactlyOnce, wrap("old", belongs, []byte("p")), "old", "p"},
		{"sent at least once", ingest.AtLeastOnce, wrap("old", belongs, []byte("p")), "old", "p"},
		{"streamed at least once", ingest.AtLeastOnce, wrap("stream", belongs, []byte("p")), "new", ""},
		{"sent by one that is gone", ingest.AtLeastOnce, wrap("gone", belongs, []byte("p")), "gone", "p"},
		{"from before the router", ingest.ExactlyOnce, []byte(`{"v":1}`), "old", `{"v":1}`},
		{"damaged", ingest.ExactlyOnce, []byte("\x00route1b\xffold"), "old", "\x00route1b\xffold"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := batch(c.guarantee)
			w := r.way(&b.Properties, b.Guarantee, c.progress)
			if w.name != c.to || string(w.progress) != c.own {
				t.Errorf("goes to %s with %q, want %s with %q", w.name, w.progress, c.to, c.own)
			}
			if got := r.Destination(&b.Properties, b.Guarantee, c.progress); got != c.to {
				t.Errorf("Destination: %s", got)
			}
		})
	}
}

// An attempt that was refused for certain leaves the batch free, one of unknown
// outcome does not, and neither does a refusal after one.
func TestRelease(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []transporttest.Step
		state byte
	}{
		{"refused", []transporttest.Step{{Refuse: transporttest.Fail(transport.Held)}}, free},
		{"unknown", []transporttest.Step{{LoseReply: true}}, belongs},
		{"unknown, then refused", []transporttest.Step{{LoseRequest: true}, {Refuse: transporttest.Fail(transport.Held)}}, belongs},
		{"refused, then unknown", []transporttest.Step{{Refuse: transporttest.Fail(transport.Held)}, {LoseReply: true}}, belongs},
		{"failed before", []transporttest.Step{{Before: func(*transport.Delivery) error { return errors.New("no") }}}, free},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := transporttest.NewFake()
			r, err := New(Options{Transports: map[string]transport.Transport{"only": fake}})
			if err != nil {
				t.Fatal(err)
			}
			fake.Script(c.steps...)
			var progress []byte
			for i := range c.steps {
				j := &transporttest.Journal{}
				if _, err := r.Send(t.Context(), &transport.Delivery{Batch: batch(ingest.ExactlyOnce), Attempt: i + 1, Progress: progress,
					Payload: transporttest.Bytes([]byte("1\n")), Journal: j}); err == nil {
					t.Fatal("no error")
				}
				progress = j.Last()
			}
			if name, state, own, ok := unwrap(progress); !ok || name != "only" || state != c.state || len(own) == 0 {
				t.Errorf("progress %q, want state %c", progress, c.state)
			}
		})
	}
}

func TestTransportNotConfigured(t *testing.T) {
	r, err := New(Options{Transports: map[string]transport.Transport{"only": transporttest.NewFake().Tracking()}})
	if err != nil {
		t.Fatal(err)
	}
	b := batch(ingest.ExactlyOnce)
	gone := wrap("gone", belongs, []byte("p"))
	j := &transporttest.Journal{}
	_, err = r.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: 2, Progress: gone, Payload: transporttest.Bytes([]byte("1\n")), Journal: j})
	var e *transport.Error
	if !errors.As(err, &e) || e.Class != transport.Held || !strings.Contains(e.Error(), `"gone"`) || j.Last() != nil {
		t.Errorf("Send: %v, journal %q", err, j.Last())
	}
	vs, err := r.Track(t.Context(), []transport.Pending{{Batch: b, Progress: gone}})
	if len(vs) != 0 || err == nil || !strings.Contains(err.Error(), `"gone"`) {
		t.Errorf("Track: %v, %v", vs, err)
	}
	if c := r.CapabilitiesOf("gone"); !c.ExactlyOnce || !c.Blobs {
		t.Error("a batch of a transport that is gone would keep the spool from opening")
	}
}

// Each transport is asked about its own, beside one that does not answer.
func TestTrackAsksEach(t *testing.T) {
	first, second := transporttest.NewFake().Tracking(), transporttest.NewFake().Tracking()
	first.SetCadence(time.Minute, 10)
	second.SetCadence(time.Second, 50)
	r := both(t, first, second)
	if every, atMost := r.Cadence(); every != time.Second || atMost != 10 {
		t.Errorf("cadence %v, %d", every, atMost)
	}
	second.Verdict(transport.Verdict{Batch: ingest.BatchID{2}, State: ingest.Succeeded})
	first.Down(transporttest.Fail(transport.Transient))
	b2 := *batch(ingest.ExactlyOnce)
	b2.ID = ingest.BatchID{2}
	vs, err := r.Track(t.Context(), []transport.Pending{
		{Batch: batch(ingest.ExactlyOnce), Progress: wrap("first", belongs, nil)}, {Batch: &b2, Progress: wrap("second", belongs, nil)}})
	if len(vs) != 1 || vs[0].Batch != b2.ID || err == nil {
		t.Errorf("%v, %v", vs, err)
	}
}

func TestCapabilitiesAndClose(t *testing.T) {
	once, stream := transporttest.NewFakeWith(transport.Capabilities{ExactlyOnce: true, Blobs: true}), transporttest.NewFakeWith(transport.Capabilities{MaxBatchBytes: 4})
	r := both(t, once, stream)
	if c := r.Capabilities(); c != (transport.Capabilities{MaxBatchBytes: 4}) {
		t.Errorf("all: %+v", c)
	}
	if r.CapabilitiesOf("first") != once.Capabilities() || r.CapabilitiesOf("second") != stream.Capabilities() {
		t.Error("the capabilities are not by destination")
	}
	if c := both(t, once, once).Capabilities(); c != once.Capabilities() {
		t.Errorf("all take blobs, and together %+v", c)
	}
	g, err := New(Options{Transports: map[string]transport.Transport{"a": gauged{once}, "b": stream}, Default: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if f := g.Figures(); len(f) != 1 || f[0] != (transport.Figure{Name: "a.n", Value: 7}) {
		t.Errorf("figures %v", f)
	}
	if err := r.Close(); err != nil || !once.Closed() || !stream.Closed() {
		t.Errorf("Close: %v", err)
	}
}

type gauged struct{ *transporttest.Fake }

func (gauged) Figures() []transport.Figure { return []transport.Figure{{Name: "n", Value: 7}} }

// A transport's progress that is too long is refused before it is written.
func TestProgressTooLong(t *testing.T) {
	r, err := New(Options{Transports: map[string]transport.Transport{"only": talker{}}})
	if err != nil {
		t.Fatal(err)
	}
	j := &transporttest.Journal{}
	_, err = r.Send(t.Context(), &transport.Delivery{Batch: batch(ingest.ExactlyOnce), Attempt: 1, Payload: transporttest.Bytes([]byte("1\n")), Journal: j})
	if err == nil || j.Last() != nil {
		t.Errorf("%v, %d bytes written", err, len(j.Last()))
	}
	if n := len(wrap(strings.Repeat("n", MaxNameBytes), belongs, nil)); n > transport.MaxRouteBytes {
		t.Errorf("a router adds %d bytes", n)
	}
}

type talker struct{}

func (talker) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

func (talker) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	return transport.Ack{}, d.Journal.Commit(ctx, make([]byte, transport.MaxProgressBytes+1))
}

func TestOptions(t *testing.T) {
	f := transporttest.NewFake()
	good := map[string]transport.Transport{"a": f, "b": f}
	for name, c := range map[string]struct {
		opts Options
		want string
	}{
		"none":        {Options{}, "Options.Transports"},
		"no default":  {Options{Transports: good}, "Options.Default"},
		"nil":         {Options{Transports: map[string]transport.Transport{"a": nil}}, "Options.Transports[a]"},
		"name":        {Options{Transports: map[string]transport.Transport{"a b": f}}, `"a b"`},
		"long name":   {Options{Transports: map[string]transport.Transport{strings.Repeat("a", 65): f}}, "1 to 64"},
		"table":       {Options{Transports: good, Default: "a", Tables: map[Table]string{{"D", "T"}: "c"}}, `Tables["D.T"]`},
		"empty table": {Options{Transports: good, Default: "a", Tables: map[Table]string{{"D", ""}: "a"}}, "a database and a table"},
		"database":    {Options{Transports: good, Default: "a", Databases: map[string]string{"D": "c"}}, "must be one of Transports: a, b"},
		"before":      {Options{Transports: good, Default: "a", Before: "c"}, "Options.Before"},
	} {
		if _, err := New(c.opts); !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := New(Options{Transports: good, Default: "a", Databases: map[string]string{"D": "b"}, Tables: map[Table]string{{"D", "T"}: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for table, want := range map[Table]string{{"D", "T"}: "a", {"D", "U"}: "b", {"E", "T"}: "a"} {
		if got := r.Destination(&ingest.Properties{Database: table.Database, Table: table.Name}, ingest.ExactlyOnce, nil); got != want {
			t.Errorf("%s goes by %s, want %s", table, got, want)
		}
	}
}

func FuzzProgress(f *testing.F) {
	f.Add(wrap("direct", belongs, []byte(`{"v":101}`)))
	f.Add([]byte("\x00route1f\x00"))
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, state, own, ok := unwrap(b)
		if ok && !bytes.Equal(wrap(name, state, own), b) {
			t.Errorf("%q came back as %q, %c, %q", b, name, state, own)
		}
	})
}
