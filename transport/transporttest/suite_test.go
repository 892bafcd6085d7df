package transporttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// target is a Fake with every hook the suite knows.
func target(f *transporttest.Fake, tr transport.Transport) *transporttest.Target {
	refuse := map[transport.Class]func(testing.TB){}
	for _, c := range []transport.Class{transport.Malformed, transport.Permanent, transport.Held} {
		refuse[c] = func(testing.TB) { f.Script(transporttest.Step{Refuse: transporttest.Fail(c)}) }
	}
	return &transporttest.Target{
		Transport: tr,
		Rows:      func(_ testing.TB, p ingest.Properties) []string { return f.Rows(transporttest.TableOf(p)) },
		Secrets:   []string{"sig=s3cret"},
		Down: func(_ testing.TB, down bool) {
			if down {
				f.Down(transporttest.Fail(transport.Transient))
			} else {
				f.Down(nil)
			}
		},
		LoseReply: func(testing.TB) { f.Script(transporttest.Step{LoseReply: true}) },
		Stall: func(testing.TB) func() {
			gate := make(chan struct{})
			f.Script(transporttest.Step{Wait: gate})
			return sync.OnceFunc(func() { close(gate) })
		},
		Refuse: refuse,
	}
}

func TestSuitePassesFake(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{New: func(*testing.T) *transporttest.Target {
		f := transporttest.NewFake()
		return target(f, f)
	}})
}

func TestSuitePassesTrackingFake(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{New: func(*testing.T) *transporttest.Target {
		f := transporttest.NewFake()
		return target(f, f.Tracking())
	}})
}

func TestSuitePassesAtLeastOnce(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{New: func(*testing.T) *transporttest.Target {
		f := transporttest.NewFakeWith(transport.Capabilities{})
		return target(f, f)
	}})
}

// sabotage is the negative controls: a Fake with one broken promise, and a
// case of the suite that must notice.
var sabotage = map[string]struct {
	send  func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error)
	notes string // the case that must fail
}{
	"doubles a repeat": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		b := *d.Batch
		b.ID[15] += byte(d.Attempt)
		d2 := *d
		d2.Batch = &b
		return f.Send(ctx, &d2)
	}, "Repeat"},
	"commits after the effect": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		d2 := *d
		d2.Journal = &transporttest.Journal{}
		ack, err := f.Send(ctx, &d2)
		if err == nil {
			err = d.Journal.Commit(ctx, nil)
		}
		return ack, err
	}, "CommitComesFirst"},
	"does not commit": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		d2 := *d
		d2.Journal = &transporttest.Journal{}
		return f.Send(ctx, &d2)
	}, "Arrives"},
	"commits twice": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		if err := d.Journal.Commit(ctx, nil); err != nil {
			return transport.Ack{}, err
		}
		return f.Send(ctx, d)
	}, "CommitComesFirst"},
	"passes over journal errors": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		_ = d.Journal.Commit(ctx, nil)
		d2 := *d
		d2.Journal = &transporttest.Journal{}
		return f.Send(ctx, &d2)
	}, "JournalErrorStops"},
	"uploads a truncated payload": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		r := d.Payload.Open()
		defer r.Close()
		data, _ := io.ReadAll(r)
		d2 := *d
		d2.Payload = transporttest.Bytes(data)
		return f.Send(ctx, &d2)
	}, "PayloadError"},
	"leaves the reader open": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		d.Payload.Open()
		return f.Send(ctx, d)
	}, "Arrives"},
	"reads late": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		ack, err := f.Send(ctx, d)
		d.Payload.(*transporttest.Payload).Return()
		_ = d.Payload.Open().Close()
		return ack, err
	}, "Arrives"},
	"writes a secret": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		if err := d.Journal.Note(ctx, []byte("https://account/container?sig=s3cret")); err != nil {
			return transport.Ack{}, err
		}
		return f.Send(ctx, d)
	}, "Arrives"},
	"writes too much": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		_ = d.Journal.Note(ctx, make([]byte, transport.MaxProgressBytes+1))
		return f.Send(ctx, d)
	}, "Arrives"},
	"calls a lost reply transient": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		ack, err := f.Send(ctx, d)
		var e *transport.Error
		if errors.As(err, &e) && e.Class == transport.Unknown {
			err = transporttest.Fail(transport.Transient)
		}
		return ack, err
	}, "LostReply"},
	"calls an outage permanent": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		ack, err := f.Send(ctx, d)
		var e *transport.Error
		if errors.As(err, &e) && e.Class == transport.Transient {
			err = transporttest.Fail(transport.Permanent)
		}
		return ack, err
	}, "Down"},
	"trusts foreign progress": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		if len(d.Progress) > 0 && !slices.Contains([]string{"upload", "enqueue"}, string(d.Progress)) {
			return transport.Ack{}, errors.New("bad progress")
		}
		return f.Send(ctx, d)
	}, "ForeignProgress"},
	"believes its intent": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		if string(d.Progress) == "enqueue" {
			return transport.Ack{State: ingest.Skipped}, nil
		}
		return f.Send(ctx, d)
	}, "ResumeFromEveryIntent"},
	"mixes tables up": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		b := *d.Batch
		b.Properties.Database = "one"
		b.Properties.Table = "one"
		d2 := *d
		d2.Batch = &b
		return f.Send(ctx, &d2)
	}, "Names"},
	"changes the batch": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		d.Batch.Properties.Tags = []string{"mine"}
		return f.Send(ctx, d)
	}, "Arrives"},
	"takes an address for the data": {func(f *transporttest.Fake, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
		b := *d.Batch
		b.Properties.ByReference = false
		d2 := *d
		d2.Batch = &b
		return f.Send(ctx, &d2)
	}, "Blob"},
	"ignores its context": {func(f *transporttest.Fake, _ context.Context, d *transport.Delivery) (transport.Ack, error) {
		return f.Send(context.Background(), d)
	}, "ContextEnded"},
}

// broken is a Fake with one of the sabotages.
type broken struct {
	*transporttest.Fake
	kind string
}

func (b broken) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	return sabotage[b.kind].send(b.Fake, ctx, d)
}

const sabotageEnv = "TRANSPORTTEST_SABOTAGE"

// TestSuiteOnSabotage runs the suite on a broken transport, in the child
// process of TestSuiteCatches only.
func TestSuiteOnSabotage(t *testing.T) {
	kind := os.Getenv(sabotageEnv)
	if kind == "" {
		t.Skip("runs as a child of TestSuiteCatches")
	}
	transporttest.Run(t, transporttest.Harness{LargeBytes: 64 << 10, New: func(*testing.T) *transporttest.Target {
		f := transporttest.NewFake()
		return target(f, broken{f, kind})
	}})
}

// A suite that passes everything proves nothing: each sabotage must fail it,
// in the case that is there for it.
func TestSuiteCatches(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range sabotage {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), exe, "-test.run", fmt.Sprintf("^TestSuiteOnSabotage$/^%s$", want.notes))
			cmd.Env = append(os.Environ(), sabotageEnv+"="+kind)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestSuiteOnSabotage/"+want.notes) {
				t.Errorf("case %s does not notice a transport that %s: %v\n%s", want.notes, kind, err, out)
			}
		})
	}
}

// The case of broken requests finds a transport that takes one for the batch's
// fault, one that loses the batch, and a harness that breaks nothing.
func TestSuiteSeesBrokenRequests(t *testing.T) {
	if os.Getenv("TRANSPORTTEST_BROKEN") != "" {
		transporttest.Run(t, transporttest.Harness{Only: []string{"BrokenRequests"}, New: func(*testing.T) *transporttest.Target {
			f := transporttest.NewFake()
			tg := target(f, f)
			tg.Breaks = map[string]func() func() int{"break": func() func() int {
				struck := 1
				switch os.Getenv("TRANSPORTTEST_BROKEN") {
				case "good":
					f.Script(transporttest.Step{Fail: transporttest.Fail(transport.Transient)})
				case "poison":
					f.Script(transporttest.Step{Fail: transporttest.Fail(transport.Permanent)})
				case "liar":
					f.Script(transporttest.Step{LoseReply: true, Refuse: transporttest.Fail(transport.Transient)}, transporttest.Step{Refuse: transporttest.Fail(transport.Transient)})
				case "idle":
					struck = 0
				}
				return func() int { return struck }
			}}
			return tg
		}})
		return
	}
	for mode, fails := range map[string]bool{"good": false, "poison": true, "liar": true, "idle": true} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuiteSeesBrokenRequests$")
		cmd.Env = append(os.Environ(), "TRANSPORTTEST_BROKEN="+mode)
		if out, err := cmd.CombinedOutput(); (err != nil) != fails {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
	}
}

// looked is a Fake with a Tracker that a role may keep from looking.
type looked struct {
	*transporttest.TrackingFake
	mode      string
	forbidden bool
}

func (l *looked) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	switch {
	case l.forbidden && l.mode == "stuck":
		return transport.Ack{}, transporttest.Fail(transport.Transient)
	case l.forbidden && l.mode == "doubles":
		b := *d.Batch
		b.ID[15]++
		other := *d
		other.Batch = &b
		d = &other
	}
	return l.TrackingFake.Send(ctx, d)
}

func (l *looked) Track(ctx context.Context, pending []transport.Pending) (verdicts []transport.Verdict, err error) {
	if !l.forbidden {
		return l.TrackingFake.Track(ctx, pending)
	}
	for _, p := range pending {
		switch l.mode {
		case "silent":
		case "poison":
			verdicts = append(verdicts, transport.Verdict{Batch: p.Batch.ID, State: ingest.DeadLettered, Failure: transporttest.Fail(transport.Permanent)})
		default:
			verdicts = append(verdicts, transport.Verdict{Batch: p.Batch.ID, State: ingest.Unknown})
		}
	}
	return verdicts, transporttest.Fail(transport.Unauthorized)
}

// The case of forbidden looks finds a transport that says nothing of a batch, one
// that takes it for failed, one that sends it no more, and one that doubles it.
func TestSuiteSeesForbiddenLooks(t *testing.T) {
	const mode = "TRANSPORTTEST_FORBIDDEN"
	if os.Getenv(mode) != "" {
		transporttest.Run(t, transporttest.Harness{Only: []string{"ForbiddenLooks"}, New: func(*testing.T) *transporttest.Target {
			f := transporttest.NewFake()
			l := &looked{TrackingFake: f.Tracking(), mode: os.Getenv(mode)}
			tg := target(f, l)
			tg.Forbid = func(testing.TB) func() {
				l.forbidden = true
				return func() { l.forbidden = false }
			}
			return tg
		}})
		return
	}
	for kind, fails := range map[string]bool{"good": false, "silent": true, "poison": true, "stuck": true, "doubles": true} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuiteSeesForbiddenLooks$")
		cmd.Env = append(os.Environ(), mode+"="+kind)
		if out, err := cmd.CombinedOutput(); (err != nil) != fails {
			t.Errorf("%s: %v\n%s", kind, err, out)
		}
	}
}
