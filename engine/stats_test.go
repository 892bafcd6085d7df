package engine_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// unlawful says what is wrong with a snapshot by itself; empty where nothing is.
func unlawful(st *engine.Stats) string {
	if sum := st.Waiting.Records + st.Settled.Records(); sum != st.Acked {
		return fmt.Sprintf("%d acknowledged, and %d wait and %d are settled", st.Acked, st.Waiting.Records, st.Settled.Records())
	}
	var waiting, open, bytes int64
	var batches engine.Batches
	for _, l := range st.Lanes {
		waiting += l.Waiting.Records
		open += l.Waiting.Open
		bytes += l.Waiting.Bytes
		batches.Sealed += l.Batches.Sealed
		batches.Sending += l.Batches.Sending
		batches.Unknown += l.Batches.Unknown
		batches.Accepted += l.Batches.Accepted
		if (l.Waiting.Records > 0) == l.Waiting.Oldest.IsZero() || l.Waiting.Age < 0 || l.Waiting.Bytes < 0 {
			return fmt.Sprintf("lane %s: %+v", l.Name(), l.Waiting)
		}
		if l.Batches.Live() == 0 && l.Waiting.Records != l.Waiting.Open {
			return fmt.Sprintf("lane %s has no batch: %+v", l.Name(), l.Waiting)
		}
	}
	if waiting != st.Waiting.Records || open != st.Waiting.Open || bytes != st.Waiting.Bytes || batches != st.Batches {
		return fmt.Sprintf("the lanes have %d records, %d open, %d bytes, %+v; the spool %+v, %+v", waiting, open, bytes, batches, st.Waiting, st.Batches)
	}
	return ""
}

// TestStatsAddUpAtEveryMoment takes snapshots while records are stored, sealed,
// sent, refused, split, doubted and settled. The control puts two snapshots
// together, and the same check must find that.
func TestStatsAddUpAtEveryMoment(t *testing.T) {
	const producers, each, tables = 8, 100, 3
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	fake := transporttest.NewFake()
	fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), `99,"text"`) })
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1))
	fake.Decide(func(*transport.Delivery) (transporttest.Step, bool) {
		mu.Lock()
		defer mu.Unlock()
		switch rng.IntN(20) {
		case 0, 1, 2:
			return transporttest.Step{LoseReply: true}, true
		case 3:
			return transporttest.Step{Fail: transporttest.Fail(transport.Held)}, true
		case 4, 5:
			return transporttest.Step{LoseRequest: true}, true
		}
		return transporttest.Step{}, true
	})
	o := soon()
	o.Batch = batching.Policy{MaxRecords: 20, MaxAge: 10 * time.Millisecond}
	o.UnknownGrace = time.Millisecond
	s := open(t, t.TempDir(), fake.Tracking(), o)

	var begun, acked atomic.Int64
	done := make(chan struct{})
	var watching, producing sync.WaitGroup
	var looks, torn atomic.Int64
	for range 2 {
		watching.Go(func() {
			var last engine.Stats
			for more := true; more; {
				select {
				case <-done:
					more = false
				default:
				}
				least := acked.Load()
				st := s.Stats()
				most := begun.Load()
				looks.Add(1)
				if bad := unlawful(&st); bad != "" {
					t.Errorf("look %d: %s", looks.Load(), bad)
					return
				}
				if st.Acked < least || st.Acked > most {
					t.Errorf("%d acknowledged; the producers were told of %d, and began %d", st.Acked, least, most)
					return
				}
				if st.Acked < last.Acked || st.Settled.Records() < last.Settled.Records() || st.SettledBatches.Batches() < last.SettledBatches.Batches() {
					t.Errorf("counters went back: %+v, before %+v", st, last)
					return
				}
				mixed := st
				mixed.Acked = last.Acked
				if unlawful(&mixed) != "" && last.At != (time.Time{}) {
					torn.Add(1)
				}
				last = st
			}
		})
	}
	for p := range producers {
		producing.Go(func() {
			for i := range each {
				props := telemetry
				props.Table = fmt.Sprintf("T%d", (p+i)%tables)
				begun.Add(1)
				if _, err := s.Ingest(t.Context(), request(props, row(p*each+i))); err != nil {
					t.Errorf("Ingest: %v", err)
					return
				}
				acked.Add(1)
			}
		})
	}
	producing.Wait()
	drain(t, s)
	close(done)
	watching.Wait()
	st := s.Stats()
	if st.Acked != producers*each || st.Waiting.Records != 0 || len(st.Lanes) != tables || st.Batches.Live() != 0 || st.Settled.DeadLettered == 0 || st.SettledBatches.Split == 0 {
		t.Errorf("at the end: %+v", st)
	}
	if torn.Load() == 0 {
		t.Errorf("the control was not seen in %d looks", looks.Load())
	}
	t.Logf("%d looks, %d of the control seen; %+v", looks.Load(), torn.Load(), st.Settled)
}

// TestStatsTellWhatAndSinceWhen: age, bytes, failures, rate and time to empty, in
// this process, at rest and in the next one.
func TestStatsTellWhatAndSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		fake := transporttest.NewFake()
		missing := &transport.Error{Op: "send", Class: transport.Held, Code: "NoTable", Message: "Table 'Dead' was not found", RequestID: "4711"}
		fake.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
			if d.Batch.Properties.Table == "Dead" {
				return transporttest.Step{Fail: missing}, true
			}
			return transporttest.Step{}, false
		})
		o := soon()
		o.Batch = batching.Policy{MaxRecords: 2, MaxAge: time.Hour}
		o.RetryMin, o.RetryMax = time.Second, time.Minute
		s, err := engine.Open(dir, fake, o)
		if err != nil {
			t.Fatal(err)
		}
		dead := telemetry
		dead.Table = "Dead"
		begin := time.Now()
		put(t, s, dead, row(1), row(2))
		time.Sleep(30 * time.Minute)
		put(t, s, dead, row(3))
		put(t, s, telemetry, rows(60)...)
		time.Sleep(10 * time.Millisecond) // the sealer looks at commits once a millisecond
		synctest.Wait()

		check := func(what string, st engine.Stats) {
			t.Helper()
			if bad := unlawful(&st); bad != "" {
				t.Fatalf("%s: %s", what, bad)
			}
			if len(st.Lanes) != 2 || len(st.Backlogged()) != 1 {
				t.Fatalf("%s: %d lanes, %+v", what, len(st.Lanes), st.Backlogged())
			}
			l := st.Backlogged()[0]
			bytes := int64(len(row(1)) + len(row(2)) + len(row(3)) + 3)
			if w := l.Waiting; l.Name() != "Demo.Dead (json)" || w.Records != 3 || w.Open != 1 || w.Bytes != bytes || !w.Oldest.Equal(begin) || w.Age != st.At.Sub(begin) {
				t.Errorf("%s: lane %s: %+v; want %d bytes since %v", what, l.Name(), w, bytes, begin)
			}
			f := l.Failure
			if f == nil || f.Class != "held" || f.Code != "NoTable" || f.RequestID != "4711" || f.Since().Before(begin) || f.Since().Sub(begin) > 2*time.Millisecond || !f.At.After(begin.Add(20*time.Minute)) {
				t.Errorf("%s: failure %+v; want it since %v", what, f, begin)
			}
			if st.Settled.Ingested != 60 || st.SettledBatches.Ingested != 30 || st.Batches.Sealed != 1 || st.Waiting != l.Waiting {
				t.Errorf("%s: %+v", what, st)
			}
		}
		st := s.Stats()
		check("open", st)
		if !st.Backlogged()[0].Held || st.Backlogged()[0].Next.IsZero() || st.Disk.Quota != o.MaxDiskBytes || st.Disk.Bytes <= 0 || st.Disk.Written <= 0 {
			t.Errorf("%+v, %+v", st.Backlogged()[0], st.Disk)
		}
		if free := st.Disk.Free; free <= 0 {
			t.Errorf("%d bytes free", free)
		}
		// 60 records within the last ten minutes.
		if r := st.Rate.Records; r < 60.0/600 || r > 60.0/500 {
			t.Errorf("rate %v", st.Rate)
		}
		if d, ok := st.TimeToEmpty(); !ok || d < 20*time.Second || d > 40*time.Second {
			t.Errorf("3 records at %v a second take %v, %v", st.Rate.Records, d, ok)
		}
		if d, ok := st.Backlogged()[0].TimeToEmpty(); ok {
			t.Errorf("a lane that stands still is empty in %v", d)
		}
		time.Sleep(15 * time.Minute)
		if st := s.Stats(); st.Rate != (engine.Rate{}) {
			t.Errorf("a quarter of an hour later: rate %v", st.Rate)
		}
		var locked *engine.LockedError
		if _, err := engine.Look(dir, nil); !errors.As(err, &locked) || locked.Owner == "" {
			t.Errorf("looking at a spool in use: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		v, err := engine.Look(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		rest := v.Stats()
		check("at rest", rest)
		if b := v.Batches(); len(b) != 1 || b[0].State != ingest.Sealed || b[0].Batch.Records() != 2 || !b[0].Batch.Oldest.Equal(begin) || b[0].Failure == nil {
			t.Errorf("batches: %+v", b)
		}
		if _, err := engine.Open(dir, fake, o); !errors.As(err, &locked) {
			t.Errorf("opening a spool that is looked at: %v", err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		check("opened again", open(t, dir, fake, o).Stats())
	})
}

// TestDuplicatesAvoided: by the service's tags, and by keys.
func TestDuplicatesAvoided(t *testing.T) {
	fake := transporttest.NewFake()
	fake.Script(transporttest.Step{LoseReply: true})
	s := open(t, t.TempDir(), fake, soon())
	for range 3 {
		req := request(telemetry, row(1))
		req.Key = "one"
		if _, err := s.Ingest(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	drain(t, s)
	if st := s.Stats(); st.Acked != 1 || st.Duplicates != (engine.Duplicates{AvoidedByTag: 1, AvoidedByKey: 2}) {
		t.Errorf("%+v, %+v", st.Duplicates, st)
	}
}

// TestDeadLetters: they can be walked, read and removed, and the counters tell
// what waits from what was handled, by this program or by hand.
func TestDeadLetters(t *testing.T) {
	fake := transporttest.NewFake()
	fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), "bad") })
	o := soon()
	o.Batch.MaxRecords = 1
	dir := t.TempDir()
	s := open(t, dir, fake, o)
	bad := []string{`{"n":"bad 1"}`, `{"n":"bad 2"}`, `{"n":"bad 3"}`}
	put(t, s, telemetry, append(bad, row(1))...)
	drain(t, s)
	count := func(waiting, handled int64) {
		t.Helper()
		if got := s.Stats().DeadLetters; got != (engine.DeadLetterStats{Total: 3, Waiting: waiting, Handled: handled}) {
			t.Errorf("%+v", got)
		}
	}
	count(3, 0)
	var found []string
	var ids []ingest.BatchID
	for d, err := range s.DeadLetters() {
		if err != nil {
			t.Fatal(err)
		}
		if d.State != ingest.DeadLettered || d.Failure == nil || d.Failure.Class != "malformed" || d.Batch.Properties.Table != "Telemetry" || d.Updated.IsZero() {
			t.Errorf("%+v", d)
		}
		r, err := s.OpenDeadLetter(d.Batch.ID)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		found = append(found, strings.TrimSuffix(string(data), "\n"))
		ids = append(ids, d.Batch.ID)
	}
	sameRows(t, found, bad)
	if err := s.RemoveDeadLetter(ids[0]); err != nil {
		t.Fatal(err)
	}
	count(2, 1)
	for _, path := range []string{ids[1].String() + ".json", ids[1].String() + ".data.json"} { // as an operator does
		if err := os.Remove(filepath.Join(dir, "dead", path)); err != nil {
			t.Fatal(err)
		}
	}
	count(1, 2)
	if _, err := s.OpenDeadLetter(ids[0]); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("one that is gone: %v", err)
	}
	if err := s.RemoveDeadLetter(ids[0]); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("one that is gone: %v", err)
	}
}

// TestLookAgreesWithTheSpool: what a look at rest tells is what the spool told.
func TestLookAgreesWithTheSpool(t *testing.T) {
	dir := t.TempDir()
	fake := transporttest.NewFake()
	fake.Down(transporttest.Fail(transport.Transient))
	s, err := engine.Open(dir, fake, soon())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, telemetry, rows(50)...)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, telemetry, rows(5)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look := func() engine.Stats {
		v, err := engine.Look(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		return v.Stats()
	}
	first, second := look(), look()
	second.At, second.Waiting.Age, second.Lanes[0].Waiting.Age, second.Disk.Free = first.At, first.Waiting.Age, first.Lanes[0].Waiting.Age, first.Disk.Free
	if !reflect.DeepEqual(first, second) {
		t.Errorf("two looks differ: %+v, %+v", first, second)
	}
	if bad := unlawful(&first); bad != "" || first.Acked != 55 {
		t.Errorf("%s: %+v", bad, first)
	}
}

// TestOpenRefusesWhatIsNoSpool: and touches nothing in it.
func TestOpenRefusesWhatIsNoSpool(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letters.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Open(dir, transporttest.NewFake(), nil); !errors.Is(err, engine.ErrForeign) || !strings.Contains(err.Error(), "letters.txt") {
		t.Errorf("opening a directory of other files: %v", err)
	}
	if _, err := engine.Look(dir, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking at it: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("the directory holds %v, %v", files, err)
	}
}
