package telemetry_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metricsdk "go.opentelemetry.io/otel/sdk/metric"
	"go.uber.org/goleak"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
	"kustospool/telemetry/otel"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The names are what both conventions allow, each is there once, and each says what
// it means and what to do.
func TestInstruments(t *testing.T) {
	name := regexp.MustCompile(`^kustospool(\.[a-z][a-z_]*)+$`)
	seen := map[string]bool{}
	for _, in := range telemetry.Instruments() {
		if !name.MatchString(in.Name) || seen[in.Name] || seen[in.Prometheus()] {
			t.Errorf("name %s, %s", in.Name, in.Prometheus())
		}
		seen[in.Name], seen[in.Prometheus()] = true, true
		if in.Help == "" || in.Do == "" || in.Unit == "" || in.Unit == "1" || strings.ContainsAny(in.Help+in.Do, "|\n") {
			t.Errorf("%s: %q, %q, %q", in.Name, in.Help, in.Do, in.Unit)
		}
		if (in.Kind == telemetry.Histogram) != (len(in.Bounds) > 0) || !slices.IsSorted(in.Bounds) {
			t.Errorf("%s has the bounds %v", in.Name, in.Bounds)
		}
		if (in.Kind == telemetry.Counter) != strings.HasSuffix(in.Prometheus(), "_total") {
			t.Errorf("%s is %s", in.Name, in.Prometheus())
		}
	}
}

// source is a snapshot that stands still.
type source struct{ st engine.Stats }

func (s source) Stats() engine.Stats { return s.st }

// value is that of a point; the labels are without "spool".
func value(t *testing.T, all []telemetry.Series, name string, labels ...string) float64 {
	t.Helper()
	for _, s := range all {
		for _, p := range s.Points {
			if s.Name == name && slices.Equal(p.Labels[1:], labels) {
				return p.Value
			}
		}
	}
	t.Errorf("%s%q has no value", name, labels)
	return -1
}

func sum(all []telemetry.Series, name string) (v float64) {
	for _, s := range all {
		if s.Name == name {
			for _, p := range s.Points {
				v += p.Value
			}
		}
	}
	return v
}

// Tables beyond the bound are one table, in snapshots and in events alike.
func TestTablesAreBounded(t *testing.T) {
	m := telemetry.New(&telemetry.Options{MaxTables: 3, Spool: "edge"})
	if got := m.Collect(); sum(got, "kustospool.build.info") != 0 || len(got) != len(telemetry.Instruments()) {
		t.Errorf("before Watch: %v", got)
	}
	name := func(i int) string {
		if i == 8 {
			return telemetry.Other // a table of its own, in the database D
		}
		return fmt.Sprint("T", i)
	}
	var st engine.Stats
	for i := range 10 {
		for format := range 2 { // two lanes of each table
			l := engine.LaneStats{Lane: uint32(2*i + format), Properties: ingest.Properties{Database: "D", Table: name(i)}}
			l.Waiting.Records, l.Waiting.Age, l.Held = 1, time.Duration(i)*time.Second, true
			st.Lanes = append(st.Lanes, l)
		}
	}
	m.Watch(source{st})
	for i := range 10 {
		b := ingest.Batch{First: 1, Last: 5, Properties: ingest.Properties{Database: "D", Table: name(9 - i)}}
		m.Observe(engine.BatchSettled{Batch: b, State: ingest.Succeeded, Took: time.Minute})
	}
	for i := range 100 {
		m.Observe(engine.AttemptEnded{Outcome: fmt.Sprint("class", i)})
	}
	all := m.Collect()
	if got := value(t, all, "kustospool.table.records.waiting", "D", "T9"); got != 2 {
		t.Errorf("%v records wait in T9", got)
	}
	if got := value(t, all, "kustospool.table.records.waiting", "other", "other"); got != 14 {
		t.Errorf("%v records wait in other tables", got)
	}
	if got := value(t, all, "kustospool.table.queue.age", "other", "other"); got != 6 {
		t.Errorf("the oldest of the others waits for %v s", got)
	}
	if a, b := value(t, all, "kustospool.table.held", "other", "other"), value(t, all, "kustospool.table.held", "D", "other"); a != 14 || b != 1 {
		t.Errorf("held: %v of the others, %v of D.other", a, b)
	}
	if got := value(t, all, "kustospool.table.records.settled", "other", "other", "ingested"); got != 35 {
		t.Errorf("%v records of other tables are settled", got)
	}
	if got := sum(all, "kustospool.attempts.ended"); got != 100 {
		t.Errorf("%v attempts ended", got)
	}
	for _, s := range all {
		if len(s.Points) > 4 && strings.Contains(s.Name, ".table.") || len(s.Points) > 33 {
			t.Errorf("%s has %d series", s.Name, len(s.Points))
		}
		for _, p := range s.Points {
			if p.Labels[0] != "edge" || len(p.Labels) != len(s.Labels)+1 {
				t.Errorf("%s: %q", s.Name, p.Labels)
			}
		}
	}
}

// unbalanced says what is wrong with a scrape or an export by itself.
func unbalanced(all samples) string {
	acked, waiting, settled := all.sum("kustospool_records_acknowledged_total"), all.sum("kustospool_records_waiting"), all.sum("kustospool_records_settled_total")
	if acked != waiting+settled {
		return fmt.Sprintf("%v acknowledged, %v waiting, %v settled", acked, waiting, settled)
	}
	if tables := all.sum("kustospool_table_records_waiting"); tables != waiting {
		return fmt.Sprintf("%v waiting, of tables %v", waiting, tables)
	}
	return ""
}

// An hour of trouble: outages, lost replies, missing tables, a full spool. In each
// scrape, and each export of OpenTelemetry's, every few seconds, acknowledged =
// waiting + settled, and no counter goes back. The control mixes two of them.
func TestAnHourOfTroubleBalances(t *testing.T) {
	if testing.Short() {
		t.Skip("an hour is thousands of waits for the disk; the full run has it")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var mu sync.Mutex
		fake := transporttest.NewFake()
		fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), `99}`) })
		fake.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
			mu.Lock()
			defer mu.Unlock()
			step := transporttest.Step{Delay: time.Duration(rng.IntN(4000)) * time.Millisecond}
			switch minute := time.Now().Minute(); {
			case minute%20 < 7: // an outage of seven minutes
				step.Fail = transporttest.Fail(transport.Transient)
			case minute%20 == 9 && d.Batch.Properties.Table == "T1":
				step.Fail = transporttest.Fail(transport.Held)
			case rng.IntN(6) == 0:
				step.LoseReply = true
			case rng.IntN(6) == 0:
				step.LoseRequest = true
			}
			return step, true
		})
		m, reader := telemetry.New(nil), metricsdk.NewManualReader()
		bridge, err := otel.New(m, otel.Config{MeterProvider: metricsdk.NewMeterProvider(metricsdk.WithReader(reader)), TraceRatio: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer bridge.Close()
		s, err := engine.Open(t.TempDir(), fake.Tracking(), &engine.Options{
			Batch: batching.Policy{MaxAge: time.Minute, MaxRecords: 50}, MaxDiskBytes: 8 << 20, SegmentBytes: 1 << 20,
			RetryMax: 20 * time.Second, Observer: telemetry.Observers{m, bridge}, Full: engine.DropOldest, NoSocket: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Watch(s)
		var producing sync.WaitGroup
		stop := make(chan struct{})
		for p := range 3 {
			producing.Go(func() {
				text := strings.Repeat("x", 20_000)
				for i := 0; ; i++ {
					req := &ingest.Request{Properties: ingest.Properties{Database: "D", Table: fmt.Sprint("T", p), Format: ingest.JSON},
						Data: fmt.Appendf(nil, `{"text":"%s","n":%d}`, text, i)}
					// Full for good is a spool of which every batch is under way: none is dropped then.
					if _, err := s.Ingest(t.Context(), req); err != nil && !errors.Is(err, engine.ErrFull) {
						t.Error(err)
						return
					}
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(3+3*p) * time.Second):
					}
				}
			})
		}
		ways := map[string]func() samples{
			"scrape": func() samples { return scraped(t, m) },
			"export": func() samples { return exported(t, reader) },
		}
		last, torn, scrapes := map[string]samples{}, map[string]int{}, 0
		for end := time.Now().Add(time.Hour); time.Now().Before(end); {
			scrapes++
			for way, take := range ways {
				all := take()
				if bad := unbalanced(all); bad != "" {
					t.Fatalf("%s %d: %s", way, scrapes, bad)
				}
				for key, v := range last[way] {
					if name, _, _ := strings.Cut(key, "{"); strings.HasSuffix(name, "_total") && all[key] < v {
						t.Fatalf("%s: %s went back", way, key)
					}
				}
				mixed := maps.Clone(all)
				for key, v := range last[way] {
					if strings.HasPrefix(key, "kustospool_records_acknowledged_total{") {
						mixed[key] = v
					}
				}
				if unbalanced(mixed) != "" {
					torn[way]++
				}
				last[way] = all
			}
			time.Sleep(time.Duration(rng.Int64N(int64(15 * time.Second))))
		}
		close(stop)
		producing.Wait()
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		all := m.Collect()
		for way, take := range ways {
			if bad := unbalanced(take()); bad != "" || sum(all, "kustospool.records.waiting") != 0 {
				t.Errorf("in the end: %s: %s", way, bad)
			}
			if torn[way] < 100 || scrapes < 200 {
				t.Errorf("%d scrapes, and of those mixed %d were found: %s", scrapes, torn[way], way)
			}
		}
		for _, d := range differences(scraped(t, m), exported(t, reader)) {
			if !strings.HasPrefix(d, "kustospool_disk_free_bytes") { // the volume is not ours alone
				t.Errorf("in the end: %s", d)
			}
		}
		for _, name := range []string{"kustospool.records.acknowledged", "kustospool.attempts.ended", "kustospool.duplicates", "kustospool.wire.delivered"} {
			if sum(all, name) == 0 {
				t.Errorf("%s is 0", name)
			}
		}
		// Nothing was folded, so what comes from events is whole.
		if a, b := sum(all, "kustospool.table.records.settled"), sum(all, "kustospool.records.settled"); a != b {
			t.Errorf("%v records settled by table, %v in all", a, b)
		}
		if a, b := sum(all, "kustospool.attempts.ended"), sum(all, "kustospool.attempts.begun"); a != b {
			t.Errorf("%v attempts ended, %v begun", a, b)
		}
		for _, result := range []string{"ingested", "dead_lettered", "dropped"} {
			if value(t, all, "kustospool.records.settled", result) == 0 {
				t.Errorf("no record was %s: the hour had less trouble than it should", result)
			}
		}
	})
}

// A step of a batch's life is counted in the places where the docs say.
func TestEventsAreCounted(t *testing.T) {
	m := telemetry.New(nil)
	m.Watch(source{})
	var took engine.Durations
	took.Add(2 * time.Millisecond)
	took.Add(2 * time.Hour)
	for _, ev := range []engine.Event{
		engine.RecordsAcked{Commits: 2, Commit: took, Sync: took}, engine.CallsReturned{Took: took},
		engine.WaitedForRoom{Took: time.Second}, engine.AttemptEnded{Outcome: "accepted", Took: time.Second},
		engine.EventsFolded{Events: 7, AttemptsEnded: map[string]int64{"accepted": 3}, Commit: took},
	} {
		m.Observe(ev)
	}
	want := map[string]int64{"kustospool.call.duration": 2, "kustospool.commit.duration": 4, "kustospool.sync.duration": 2, "kustospool.room.wait": 1, "kustospool.attempt.duration": 1}
	all := m.Collect()
	for _, s := range all {
		if n, ok := want[s.Name]; ok && (len(s.Points) != 1 || s.Points[0].Buckets.Count() != n || s.Points[0].Buckets.Sum <= 0) {
			t.Errorf("%s: %+v, want %d times", s.Name, s.Points, n)
		}
	}
	if n := value(t, all, "kustospool.attempts.ended", "accepted"); n != 4 {
		t.Errorf("%v attempts were accepted", n)
	}
	if n := value(t, all, "kustospool.events.folded"); n != 7 {
		t.Errorf("%v events folded", n)
	}
	if n := value(t, all, "kustospool.queue.lag"); n != 0 {
		t.Errorf("an empty spool has a lag of %v s", n)
	}
}
