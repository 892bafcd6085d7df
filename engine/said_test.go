package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// lines are the messages of a log at Info and above, in order.
func lines(text string) (out []string) {
	message := regexp.MustCompile(`level=(\w+) msg=(?:"([^"]*)"|(\S+))`)
	for _, l := range strings.Split(text, "\n") {
		if m := message.FindStringSubmatch(l); m != nil && m[1] != "DEBUG" {
			out = append(out, m[2]+m[3])
		}
	}
	return out
}

// TestLogOfAHealthyRun: start, what was found, the first delivery, and the end, each
// once, however much is delivered.
func TestLogOfAHealthyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for process := range 2 {
			var out sharedText
			o := soon()
			o.Logger, o.Batch.MaxRecords = textLogger(&out), 2
			s, err := engine.Open(dir, transporttest.NewFake().Tracking(), o)
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, telemetry, rows(20)...)
			drain(t, s)
			put(t, s, telemetry, row(1)) // waits for the next process
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got := lines(out.String()); !slices.Equal(got, []string{"opened the spool", "delivered the first batch", "closed the spool"}) {
				t.Errorf("%q", got)
			}
			opened, _, _ := strings.Cut(out.String(), "\n")
			if strings.Contains(opened, "waiting=1") != (process == 1) {
				t.Errorf("process %d: %s", process, opened)
			}
			if n := strings.Count(out.String(), "msg=\"attempt ended\" database=Demo table=Telemetry batch="); n < 10 {
				t.Errorf("%d attempts at the level Debug", n)
			}
		}
	})
}

// TestEachTroubleIsToldTwice: when it begins and when it is over, however long it
// lasts; with the table, the class and the request's id, and without control
// characters or what looks like a secret.
func TestEachTroubleIsToldTwice(t *testing.T) {
	trouble := func(class transport.Class) *transport.Error {
		return &transport.Error{Op: "send", Class: class, Code: "Bad\x1b[2J", RequestID: "req-1",
			Message: "words\nof https://a.blob.example/c?sv=1&sig=SECRET%3D and Bearer SECRET2"}
	}
	tests := []struct {
		name        string
		begin       func(*transporttest.Fake)
		begun, over string
		attrs       []string
	}{
		{"the destination", func(f *transporttest.Fake) { f.Down(trouble(transport.Throttled)) },
			"the destination is in trouble; batches wait", "the destination answers again", []string{"class=throttled", "request_id=req-1"}},
		{"a table", func(f *transporttest.Fake) { f.Down(trouble(transport.Held)) },
			"a table waits for an operator", "the table takes batches again", []string{"database=Demo", "table=Telemetry", "class=held", "request_id=req-1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out sharedText
				o := soon()
				o.Logger, o.RetryMax = textLogger(&out), 30*time.Second
				fake := transporttest.NewFake()
				s := open(t, t.TempDir(), fake, o)
				for range 2 {
					tt.begin(fake)
					put(t, s, telemetry, rows(3)...)
					time.Sleep(10 * time.Minute)
					fake.Down(nil)
					drain(t, s)
				}
				tt.begin(fake)
				put(t, s, telemetry, row(1))
				time.Sleep(time.Minute)
				if err := s.Close(); err != nil { // is no recovery
					t.Fatal(err)
				}
				got := lines(out.String())
				first := slices.Index(got, "delivered the first batch")
				if first < 0 {
					t.Fatalf("%q", got)
				}
				want := []string{"opened the spool", tt.begun, tt.over, tt.begun, tt.over, tt.begun, "closed the spool"}
				if left := slices.Delete(slices.Clone(got), first, first+1); !slices.Equal(left, want) {
					t.Errorf("%q\nwant %q", got, want)
				}
				for _, l := range strings.Split(out.String(), "\n") {
					if strings.Contains(l, tt.begun) {
						for _, a := range tt.attrs {
							if !strings.Contains(l, a) {
								t.Errorf("no %s in %s", a, l)
							}
						}
					}
				}
				noSecretNorControl(t, out.String())
				if strings.Count(out.String(), "after=") != 2 {
					t.Errorf("%s", out.String())
				}
			})
		})
	}
}

// noSecretNorControl looks at what a handler got. The text handler quotes, so a
// control character that reached it is there as an escape.
func noSecretNorControl(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "SECRET") {
		t.Errorf("a secret is in the log: %s", text)
	}
	for _, r := range text {
		if r < ' ' && r != '\n' || r == 0x7f {
			t.Errorf("a control character is in the log: %q", text)
			return
		}
	}
}

// TestLinesAboutBatches: what was split and what became a dead letter, with all that
// names it.
func TestLinesAboutBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sharedText
		o := soon()
		o.Logger = textLogger(&out)
		fake := transporttest.NewFake()
		fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), "bad") })
		s := open(t, t.TempDir(), fake, o)
		rcpts := put(t, s, telemetry, `{"n":"good"}`, `{"n":"bad"}`)
		drain(t, s)
		state(t, s, rcpts[1], ingest.DeadLettered)
		for _, want := range []*regexp.Regexp{
			regexp.MustCompile(`level=INFO msg="split a batch" database=Demo table=Telemetry batch=\S+ attempt=1 class=malformed .*parts=2`),
			regexp.MustCompile(`level=WARN msg="dead-lettered a batch" database=Demo table=Telemetry batch=\S+ attempt=1 class=malformed .*records=1`),
			regexp.MustCompile(`level=DEBUG msg="attempt ended" database=Demo table=Telemetry batch=\S+ attempt=1 class=malformed .*outcome=malformed state=split took=`),
		} {
			if len(want.FindAllString(out.String(), -1)) != 1 {
				t.Errorf("not once: %s in\n%s", want, out.String())
			}
		}
	})
}

// healthyLog is all that is said at Info and above by two processes, of which the second
// finds what the first left and meets an outage and a missing table.
const healthyLog = `
level=INFO msg="opened the spool" dir=DIR spool=SPOOL
level=INFO msg="delivered the first batch" database=Demo table=Telemetry batch=BATCH attempt=1 records=N state=succeeded
level=INFO msg="closed the spool" spool=SPOOL
level=INFO msg="opened the spool" dir=DIR spool=SPOOL waiting=1 batches=0
level=INFO msg="delivered the first batch" database=Demo table=Telemetry batch=BATCH attempt=1 records=N state=succeeded
level=WARN msg="the destination is in trouble; batches wait" class=throttled code=Code\u001b[2J request_id=req-1 err="send: words\\nof the service, sig=REDACTED"
level=INFO msg="the destination answers again" after=AFTER
level=WARN msg="a table waits for an operator" database=Demo table=Telemetry lane=1 class=held code=Code\u001b[2J request_id=req-1 err="send: words\\nof the service, sig=REDACTED"
level=INFO msg="the table takes batches again" database=Demo table=Telemetry lane=1 after=AFTER
level=INFO msg="closed the spool" spool=SPOOL
`

// TestLogAsItReads compares what two processes say, word by word.
func TestLogAsItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sharedText
		dir := t.TempDir()
		for process := range 2 {
			o := soon()
			o.Logger, o.Batch.MaxRecords, o.RetryMax = slog.New(slog.NewTextHandler(&out, nil)), 2, 10*time.Second
			fake := transporttest.NewFake()
			s, err := engine.Open(dir, fake.Tracking(), o)
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, telemetry, rows(4)...)
			drain(t, s)
			for _, class := range []transport.Class{transport.Throttled, transport.Held}[:2*process] {
				fake.Down(&transport.Error{Op: "send", Class: class, Code: "Code\x1b[2J", RequestID: "req-1", Message: "words\nof the service, sig=SECRET"})
				put(t, s, telemetry, rows(2)...)
				time.Sleep(time.Minute)
				fake.Down(nil)
				drain(t, s)
			}
			put(t, s, telemetry, row(1)) // waits for the next process
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		text := out.String()
		for _, r := range []struct{ what, as string }{
			{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, "BATCH"}, {`spool=[0-9a-f]{16}`, "spool=SPOOL"}, {regexp.QuoteMeta(dir), "DIR"}, {`time=\S+ `, ""}, {`after=\S+`, "after=AFTER"},
			{`records=[12] `, "records=N "}, // what was found may be sealed before anything is put
		} {
			text = regexp.MustCompile(r.what).ReplaceAllString(text, r.as)
		}
		if want := healthyLog[1:]; text != want {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
		noSecretNorControl(t, out.String())
	})
}

// TestAFullSpoolIsTold when a call finds it full, and when for a minute none has.
func TestAFullSpoolIsTold(t *testing.T) {
	large := fmt.Sprintf(`{"pad":"%s"}`, strings.Repeat("x", 200<<10))
	synctest.Test(t, func(t *testing.T) {
		var out sharedText
		fake := transporttest.NewFake()
		o := small(engine.RejectNew)
		o.Logger = textLogger(&out)
		s := open(t, t.TempDir(), fake, o)
		fake.Down(transporttest.Fail(transport.Transient))
		for range 40 { // more than it holds
			_, _ = s.Ingest(t.Context(), request(telemetry, large))
		}
		fake.Down(nil)
		drain(t, s)
		put(t, s, telemetry, row(1))
		const begun, over = `level=ERROR msg="the spool is full" policy=reject quota=8388608 cause=`, `level=INFO msg="the spool has room again" after=`
		if strings.Count(out.String(), begun) != 1 || strings.Contains(out.String(), over) {
			t.Errorf("when it was full: %q", lines(out.String()))
		}
		time.Sleep(61 * time.Second)
		put(t, s, telemetry, row(1), row(2))
		if strings.Count(out.String(), begun) != 1 || strings.Count(out.String(), over) != 1 {
			t.Errorf("when it has room: %q", lines(out.String()))
		}
	})
}

// mute is a destination that takes batches and, while it is on, answers no question.
type mute struct {
	*transporttest.TrackingFake
	on atomic.Bool
}

func (m *mute) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	if m.on.Load() {
		return nil, &transport.Error{Op: "track", Class: transport.Unauthorized, RequestID: "req-2", Message: "no sig=SECRET\nfor you"}
	}
	return m.TrackingFake.Track(ctx, pending)
}

// TestQuestionsWithoutAnswerAreToldTwice: when they begin to go without and when one is
// answered, however many there are between.
func TestQuestionsWithoutAnswerAreToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sharedText
		o := soon()
		o.Logger, o.RetryMax = textLogger(&out), 30*time.Second
		to := &mute{TrackingFake: transporttest.NewFake().Tracking()}
		s := open(t, t.TempDir(), to, o)
		for range 2 {
			to.on.Store(true)
			put(t, s, telemetry, rows(3)...)
			time.Sleep(10*time.Minute + 5*time.Second) // the first question is a second or so after the batch
			to.on.Store(false)
			drain(t, s)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		const begun, over = "cannot ask for outcomes; batches stay spooled meanwhile", "the destination tells outcomes again"
		if got := lines(out.String()); !slices.Equal(got, []string{"opened the spool", begun, over, "delivered the first batch", begun, over, "closed the spool"}) {
			t.Errorf("%q", got)
		}
		if !strings.Contains(out.String(), `class=unauthorized request_id=req-2 err="track: no sig=REDACTED`) || strings.Count(out.String(), "after=10m") != 2 {
			t.Error(out.String())
		}
		noSecretNorControl(t, out.String())
	})
}
