package engine_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// books is what an observer can know from events alone.
type books struct {
	mu      sync.Mutex
	opens   int
	acked   int64 // of the spool's life
	bytes   int64
	settled engine.Settled
	batches engine.SettledBatches
	begun   int64 // attempts of all processes
	ended   int64
	calls   int64
	commits int64
	handled int64
	folded  int64 // events
	wrong   []string
	seen    []string
	lose    func(engine.Event) bool // for controls
	hold    chan struct{}           // Observe waits for it
}

func (b *books) Observe(ev engine.Event) {
	if b.hold != nil {
		<-b.hold
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lose != nil && b.lose(ev) {
		return
	}
	name := strings.TrimPrefix(fmt.Sprintf("%T", ev), "engine.")
	if name != "CallsReturned" { // it comes when it comes
		b.seen = append(b.seen, name)
	}
	switch ev := ev.(type) {
	case engine.Recovered:
		if b.opens++; b.opens > 1 && (ev.Stats.Acked != b.acked || ev.Stats.Settled != b.settled) {
			b.wrong = append(b.wrong, fmt.Sprintf("found %d acknowledged and %+v, and the events before told of %d and %+v", ev.Stats.Acked, ev.Stats.Settled, b.acked, b.settled))
		}
		b.acked, b.bytes, b.settled, b.batches = ev.Stats.Acked, ev.Stats.AckedBytes, ev.Stats.Settled, ev.Stats.SettledBatches
	case engine.RecordsAcked:
		b.acked += ev.Records
		b.bytes += ev.Bytes
		b.commits += ev.Commits
		if ev.Commit.Count() != ev.Commits || ev.Sync.Sum > ev.Commit.Sum {
			b.wrong = append(b.wrong, fmt.Sprintf("%d commits with %+v, %+v", ev.Commits, ev.Commit, ev.Sync))
		}
	case engine.CallsReturned:
		b.calls += ev.Took.Count()
	case engine.AttemptBegun:
		b.begun++
	case engine.AttemptEnded:
		b.ended++
	case engine.BatchSettled:
		ev.Count(&b.settled, &b.batches)
	case engine.BatchSplit:
		b.batches.Split++
	case engine.DeadLetterHandled:
		b.handled++
	case engine.EventsFolded:
		b.folded += ev.Events
		b.acked += ev.Acked
		b.bytes += ev.AckedBytes
		b.commits += ev.Commits
		b.begun += ev.AttemptsBegun
		for _, n := range ev.AttemptsEnded {
			b.ended += n
		}
		b.settled.Ingested += ev.Settled.Ingested
		b.settled.Skipped += ev.Settled.Skipped
		b.settled.HandedOver += ev.Settled.HandedOver
		b.settled.DeadLettered += ev.Settled.DeadLettered
		b.settled.Dropped += ev.Settled.Dropped
		b.batches.Ingested += ev.SettledBatches.Ingested
		b.batches.Skipped += ev.SettledBatches.Skipped
		b.batches.HandedOver += ev.SettledBatches.HandedOver
		b.batches.DeadLettered += ev.SettledBatches.DeadLettered
		b.batches.Dropped += ev.SettledBatches.Dropped
		b.batches.Split += ev.Splits
		b.handled += ev.Handled
	}
	if b.acked < b.settled.Records() {
		b.wrong = append(b.wrong, fmt.Sprintf("after %s %d are settled of %d", name, b.settled.Records(), b.acked))
	}
}

// against says where the events and a spool at rest do not agree.
func (b *books) against(st engine.Stats) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	wrong := slices.Clone(b.wrong)
	say := func(what string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			wrong = append(wrong, fmt.Sprintf("%s: the events say %+v, the spool %+v", what, got, want))
		}
	}
	say("acknowledged", b.acked, st.Acked)
	say("bytes", b.bytes, st.AckedBytes)
	say("waiting", b.acked-b.settled.Records(), st.Waiting.Records)
	say("settled", b.settled, st.Settled)
	say("batches", b.batches, st.SettledBatches)
	return wrong
}

// troubled is a destination that answers in every way, by a seed.
func troubled(seed uint64) *transporttest.Fake {
	fake := transporttest.NewFake()
	fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), `9,"text"`) })
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 2))
	fake.Decide(func(*transport.Delivery) (transporttest.Step, bool) {
		mu.Lock()
		defer mu.Unlock()
		step := transporttest.Step{Delay: time.Duration(rng.IntN(30)) * time.Millisecond}
		switch rng.IntN(20) {
		case 0, 1, 2:
			step.LoseReply = true
		case 3:
			step.Fail = transporttest.Fail(transport.Held)
		case 4, 5:
			step.LoseRequest = true
		case 6:
			step.Fail = transporttest.Fail(transport.Transient)
		}
		return step, true
	})
	return fake
}

// TestEventsConserve checks acked = waiting + settled from events alone, over
// three processes of a spool in trouble, and against the snapshot. The control
// loses one event, and the same check must say so.
func TestEventsConserve(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	run := func(t *testing.T, b *books) (wrong []string) {
		synctest.Test(t, func(t *testing.T) {
			dir, attempts := t.TempDir(), int64(0)
			for process := range 3 {
				o := soon()
				o.Batch = batching.Policy{MaxRecords: 7, MaxAge: 10 * time.Millisecond}
				o.Observer, o.VerdictTimeout = b, time.Minute // the next process has another destination, which knows of nothing
				s, err := engine.Open(dir, troubled(seed+uint64(process)).Tracking(), o)
				if err != nil {
					t.Fatal(err)
				}
				for i := range 60 {
					p := telemetry
					p.Table = fmt.Sprint("T", i%3)
					put(t, s, p, row(process*60+i))
				}
				if process == 2 {
					drain(t, s)
					for d, err := range s.DeadLetters() {
						if err == nil {
							err = s.RemoveDeadLetter(d.Batch.ID)
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				}
				attempts += s.Stats().Attempts
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			view, err := engine.Look(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer view.Close()
			st := view.Stats()
			wrong = b.against(st)
			if b.begun != b.ended || b.begun < attempts {
				wrong = append(wrong, fmt.Sprintf("%d attempts begun, %d ended, and the spools counted %d", b.begun, b.ended, attempts))
			}
			if b.calls != 180 || b.commits < 1 || b.handled != st.DeadLetters.Handled || b.handled == 0 {
				wrong = append(wrong, fmt.Sprintf("%d calls in %d commits, %d dead letters handled, %+v", b.calls, b.commits, b.handled, st.DeadLetters))
			}
		})
		return wrong
	}
	b := &books{}
	for _, w := range run(t, b) {
		t.Error(w)
	}
	for _, kind := range []string{"RecordsAcked", "BatchSealed", "AttemptBegun", "AttemptEnded", "BatchDecided", "BatchSplit", "BatchSettled", "DeadLetterHandled"} {
		if !slices.Contains(b.seen, kind) {
			t.Errorf("there was no %s: the test shows less than it says", kind)
		}
	}
	if testing.Short() {
		t.Log("the controls are not run: each is as long as the test; the full run has them")
		return
	}
	for _, lost := range []string{"RecordsAcked", "BatchSettled", "AttemptEnded"} {
		n := 0
		broken := &books{lose: func(ev engine.Event) bool {
			if fmt.Sprintf("%T", ev) == "engine."+lost {
				n++
			}
			return n == 5 && fmt.Sprintf("%T", ev) == "engine."+lost
		}}
		if wrong := run(t, broken); len(wrong) == 0 {
			t.Errorf("a lost %s was not seen", lost)
		}
	}
}

// TestObserverIsNotWaitedFor: one that does not return delays neither
// acknowledgements nor delivery, and what it misses is folded, with exact sums.
func TestObserverIsNotWaitedFor(t *testing.T) {
	const records = 1200 // with more than 4096 events
	synctest.Test(t, func(t *testing.T) {
		b := &books{hold: make(chan struct{})}
		o := soon()
		o.Batch.MaxRecords = 1
		o.Senders = 64
		o.Observer = b
		s, err := engine.Open(t.TempDir(), transporttest.NewFake(), o)
		if err != nil {
			t.Fatal(err)
		}
		for range records / 100 {
			var reqs []*ingest.Request
			for i := range 100 {
				reqs = append(reqs, request(telemetry, row(i)))
			}
			if _, err := s.IngestAll(t.Context(), reqs); err != nil {
				t.Fatal(err)
			}
		}
		drain(t, s)
		st := s.Stats()
		if len(b.seen) != 0 {
			t.Fatalf("the observer returned: %v", b.seen)
		}
		close(b.hold)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, w := range b.against(st) {
			t.Error(w)
		}
		if b.folded == 0 || b.begun != records || b.ended != records {
			t.Errorf("%d events were folded; %d attempts begun, %d ended", b.folded, b.begun, b.ended)
		}
	})
}

// TestObserverMayPanic: it costs the event, and one line.
func TestObserverMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sharedText
		b := &books{lose: func(ev engine.Event) bool {
			if _, ok := ev.(engine.BatchSealed); ok {
				panic("not this one")
			}
			return false
		}}
		o := soon()
		o.Batch.MaxRecords = 1
		o.Observer, o.Logger = b, textLogger(&out)
		s := open(t, t.TempDir(), transporttest.NewFake(), o)
		put(t, s, telemetry, rows(5)...)
		drain(t, s)
		st := s.Stats()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, w := range b.against(st) {
			t.Error(w)
		}
		if n := strings.Count(out.String(), "the observer panicked"); n != 1 || !strings.Contains(out.String(), "not this one") {
			t.Errorf("%d lines: %s", n, out.String())
		}
	})
}

// sharedText is where a log goes that more than one goroutine writes.
type sharedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *sharedText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sharedText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func textLogger(to *sharedText) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
