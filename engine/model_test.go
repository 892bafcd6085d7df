package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// openDestination keeps a Fake usable by the next process of a test.
type openDestination struct{ *transporttest.TrackingFake }

func (openDestination) Close() error { return nil }

// TestModel runs a random history of records, faults, stops and restarts, and
// then lets everything arrive. The destination must end up with every
// acknowledged record once, apart from the poisoned ones, which must be dead
// letters.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure string
		synctest.Test(t, func(t *testing.T) {
			defer func() { // rapid stops by panicking, which must not cross the bubble
				if r := recover(); r != nil {
					failure = fmt.Sprint(r)
				}
			}()
			history(t, rt)
		})
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

func history(t *testing.T, rt *rapid.T) {
	fake := transporttest.NewFake()
	fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), `"poison"`) })
	destination := openDestination{fake.Tracking()}
	o := soon()
	o.RetryMin, o.RetryMax = 10*time.Millisecond, time.Second
	o.UnknownGrace = time.Second
	o.Batch.MaxRecords = int64(rapid.IntRange(1, 40).Draw(rt, "records a batch"))
	o.Senders = rapid.IntRange(1, 4).Draw(rt, "senders")
	o.SegmentBytes = 64 << 10

	dir := t.TempDir()
	s, err := engine.Open(dir, destination, o)
	if err != nil {
		panic(err)
	}
	defer func() { _ = s.Close() }()

	var acked, poisoned []string
	var receipts []ingest.Receipt
	positions := map[string]string{} // as they must be
	n := 0
	faults := rapid.Custom(func(rt *rapid.T) transporttest.Step {
		switch rapid.IntRange(0, 5).Draw(rt, "fault") {
		case 0:
			return transporttest.Step{LoseReply: true}
		case 1:
			return transporttest.Step{LoseRequest: true}
		case 2:
			class := rapid.SampledFrom([]transport.Class{transport.Transient, transport.Throttled, transport.Held, transport.Unauthorized}).Draw(rt, "class")
			return transporttest.Step{Fail: transporttest.Fail(class)}
		case 3:
			return transporttest.Step{Delay: time.Duration(rapid.IntRange(1, 2000).Draw(rt, "ms")) * time.Millisecond}
		case 4:
			return transporttest.Step{Refuse: transporttest.Fail(transport.Transient)}
		}
		return transporttest.Step{}
	})
	handled := int64(0) // dead letters
	steps := rapid.IntRange(5, 40).Draw(rt, "steps")
	for range steps {
		switch rapid.IntRange(0, 12).Draw(rt, "step") {
		case 0, 1, 2, 3:
			p := telemetry
			p.Table = rapid.SampledFrom([]string{"A", "B", "C"}).Draw(rt, "table")
			var reqs []*ingest.Request
			for range rapid.IntRange(1, 20).Draw(rt, "records") {
				n++
				rec := fmt.Sprintf(`{"n":%d}`, n)
				if rapid.IntRange(0, 20).Draw(rt, "poison") == 0 {
					rec = fmt.Sprintf(`{"n":%d,"poison":1}`, n)
					poisoned = append(poisoned, rec)
				} else {
					acked = append(acked, rec)
				}
				req := request(p, rec)
				if rapid.IntRange(0, 3).Draw(rt, "position") == 0 {
					name := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "source")
					positions[name] = fmt.Sprint(n)
					req.Position = &ingest.Position{Name: name, Value: []byte(positions[name])}
				}
				reqs = append(reqs, req)
			}
			rs, err := s.IngestAll(t.Context(), reqs)
			if err != nil {
				panic(err)
			}
			receipts = append(receipts, rs...)
		case 4, 5:
			fake.Script(faults.Draw(rt, "step"))
		case 6:
			time.Sleep(time.Duration(rapid.IntRange(1, 3000).Draw(rt, "sleep")) * time.Millisecond)
		case 7:
			if err := s.Flush(t.Context()); err != nil {
				panic(err)
			}
		case 8:
			if err := s.Close(); err != nil {
				panic(err)
			}
			if s, err = engine.Open(dir, destination, o); err != nil {
				panic(err)
			}
		case 9:
			fake.Down(transporttest.Fail(transport.Transient))
			time.Sleep(time.Duration(rapid.IntRange(1, 3000).Draw(rt, "outage")) * time.Millisecond)
			fake.Down(nil)
		case 10:
			name := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "removed")
			err := s.RemovePosition(t.Context(), name)
			if _, known := positions[name]; known != (err == nil) || !known && !errors.Is(err, engine.ErrNotFound) {
				panic(fmt.Sprintf("position %s removed: %v", name, err))
			}
			delete(positions, name)
		case 11: // repaired
			if d, ok := firstDeadLetter(s); ok {
				mended := fmt.Sprintf(`{"n":%d,"mended":1}`, n+1)
				if _, err := s.RetryDeadLetter(t.Context(), d.Batch.ID, &engine.Retry{Records: strings.NewReader(mended), AcceptDoubles: d.InDoubt()}); err != nil {
					panic(err)
				}
				n++
				acked = append(acked, mended)
				handled++
			}
		case 12:
			if d, ok := firstDeadLetter(s); ok {
				if err := s.RemoveDeadLetter(d.Batch.ID); err != nil {
					panic(err)
				}
				handled++
			}
		}
		have := map[string]string{}
		for _, pos := range s.Positions() {
			have[pos.Name] = string(pos.Value)
		}
		if !maps.Equal(have, positions) {
			panic(fmt.Sprintf("positions %v, want %v", have, positions))
		}
		st := s.Stats()
		if sum := st.Waiting.Records + st.Settled.Records(); sum != st.Acked || st.Acked != int64(n) {
			panic(fmt.Sprintf("%d ingested; the books: %+v", n, st))
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		panic(err)
	}
	got := fake.AllRows()
	slices.Sort(got)
	slices.Sort(acked)
	if !slices.Equal(got, acked) {
		panic(fmt.Sprintf("%d rows arrived, %d acknowledged", len(got), len(acked)))
	}
	if st := s.Stats(); st.Settled.DeadLettered != int64(len(poisoned)) || st.DeadLetters.Handled != handled {
		panic(fmt.Sprintf("%+v, %+v; %d poisoned, %d handled", st.Settled, st.DeadLetters, len(poisoned), handled))
	}
	for _, r := range receipts {
		if st, err := s.Status(t.Context(), r.ID); err != nil || !st.State.Final() {
			panic(fmt.Sprintf("status after the drain: %+v, %v", st, err))
		}
	}
	if v := fake.Violations(); len(v) > 0 {
		panic(fmt.Sprint("contract: ", v))
	}
}

// firstDeadLetter is one that waits.
func firstDeadLetter(s *engine.Spool) (engine.DeadLetter, bool) {
	for d, err := range s.DeadLetters() {
		if err != nil {
			panic(err)
		}
		return d, true
	}
	return engine.DeadLetter{}, false
}
