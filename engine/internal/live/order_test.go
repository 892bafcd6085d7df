package live

import (
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/store"
)

// entries adds n batches to a lane of a table, sealed so long ago, and returns the number
// of the next one.
func entries(l *Mirror, lane uint32, table string, first uint64, n int, bytes int64, sealedAt time.Time) uint64 {
	for range n {
		e := sealedEntry(lane, first)
		e.Batch.Properties.Table, e.Batch.RawBytes, e.Batch.SealedAt = table, bytes, sealedAt
		l.Add(e)
		first++
	}
	return first
}

// went picks n batches, one after the other, and settles each.
func went(t *testing.T, l *Mirror, n int, now time.Time) []Turn {
	t.Helper()
	var out []Turn
	for range n {
		one, _, ok := l.Pick(now)
		if !ok {
			t.Fatalf("nothing goes after %d batches, want %d", len(out), n)
		}
		out = append(out, one)
		l.Finished(one, now, Result{Settled: true})
	}
	return out
}

// Fresh batches have their share of the bytes, newest first, and the backlog the
// rest, oldest first. Without the order of FreshFirst the fresh ones come last.
func TestFreshAndBacklogShareByBytes(t *testing.T) {
	for _, c := range []struct {
		name, table       string
		share             int
		freshSize, oldest int64
		want              float64 // of the bytes while both wait
	}{
		{"by default", "fresh", 70, 1000, 1000, 0.70},
		{"as told", "fresh", 40, 1000, 1000, 0.40},
		{"small beside large", "fresh", 70, 10, 5000, 0.70},
		{"control: in order of acceptance", "", 70, 1000, 1000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := testLive(4, 1000)
			l.options.FreshShare = c.share
			now := time.Now()
			next := entries(l, 1, c.table, 1, 500, c.oldest, now.Add(-time.Hour))
			border := next
			entries(l, 1, c.table, next, 20_000, c.freshSize, now)
			var sent [2]int64
			first, last := uint64(0), ^uint64(0)
			for sent[0]+sent[1] < 200_000 {
				one := went(t, l, 1, now)[0]
				if n := one.batch.order; n < border {
					if n <= first {
						t.Fatalf("batch %d of the backlog behind %d", n, first)
					}
					first = n
					sent[rest] += c.oldest
				} else {
					if n >= last {
						t.Fatalf("fresh batch %d behind %d", n, last)
					}
					last = n
					sent[fresh] += c.freshSize
				}
			}
			got := float64(sent[fresh]) / float64(sent[fresh]+sent[rest])
			if got < c.want-0.02 || got > c.want+0.02 {
				t.Errorf("%.3f of the bytes were of fresh batches, want %.2f", got, c.want)
			}
		})
	}
}

// The backlog never has all senders, so that what is fresh begins at once; a
// batch that is not fresh any more goes as the rest does.
func TestFreshNeverWaitsForASender(t *testing.T) {
	l := testLive(4, 1000)
	now := time.Now()
	entries(l, 1, "", 1, 10, 1000, now.Add(-time.Hour)) // no table of FreshFirst yet
	for range 4 {
		if _, _, ok := l.Pick(now); !ok {
			t.Fatal("a destination without such a table does not use all senders")
		}
	}
	l = testLive(4, 1000)
	entries(l, 1, "", 1, 10, 1000, now.Add(-time.Hour))
	next := entries(l, 2, "fresh", 1, 1, 1000, now.Add(-time.Hour))
	for i := range 3 {
		if _, _, ok := l.Pick(now); ok != (i < 2) { // 30 % of four, rounded up
			t.Fatalf("attempt %d of the backlog began: %v", i+1, ok)
		}
	}
	entries(l, 2, "fresh", next, 1, 1000, now)
	if one, _, ok := l.Pick(now); !ok || one.batch.side != fresh {
		t.Fatal("the fresh batch waits")
	}
	entries(l, 2, "fresh", next+1, 1, 1000, now)
	if _, _, ok := l.Pick(now.Add(tenMinutes)); ok {
		t.Error("a batch that is not fresh any more goes beside the backlog's share")
	}
}

// Alarms go at once, whatever is on the wire: they have senders of their own. Of
// the normal class they would wait.
func TestAlarmsHaveSendersOfTheirOwn(t *testing.T) {
	for _, table := range []string{"alarm", ""} {
		l := testLive(2, 1000)
		now := time.Now()
		entries(l, 1, "", 1, 10, 1000, now.Add(-time.Hour))
		for range 2 {
			l.Pick(now)
		}
		if _, _, ok := l.Pick(now); ok {
			t.Fatal("more attempts than senders")
		}
		entries(l, 2, table, 1, 3, 10, now)
		for i := range 3 {
			one, _, ok := l.Pick(now)
			if want := table == "alarm" && i < 2; ok != want || ok && one.lane.class != Alarm {
				t.Fatalf("table %q: batch %d went: %v", table, i+1, ok)
			}
		}
	}
}

// While alarms never end, a class that was passed over for ten minutes gets
// every tenth batch; before that, none.
func TestNoClassStarves(t *testing.T) {
	l := testLive(1, 10_000)
	begin := time.Now()
	entries(l, 1, "alarm", 1, 1000, 10, begin)
	entries(l, 2, "", 1, 1000, 10, begin)
	entries(l, 3, "bulk", 1, 1000, 10, begin)
	count := func(now time.Time, n int) (of [Classes]int) {
		for _, one := range went(t, l, n, now) {
			of[one.lane.class-1]++
		}
		return of
	}
	if got := count(begin, 100); got != [Classes]int{100, 0, 0} {
		t.Errorf("at first %v batches went of the classes, want alarms only", got)
	}
	if got := count(begin.Add(9*time.Minute), 100); got != [Classes]int{100, 0, 0} {
		t.Errorf("after nine minutes %v batches went of the classes, want alarms only", got)
	}
	if got := count(begin.Add(10*time.Minute), 100); got[1] < 9 || got[1] > 11 || got[2] < 9 || got[2] > 11 {
		t.Errorf("after ten minutes %v batches of 100 went of the classes, want ten of each class that waits", got)
	}
	// Normal has its ordinary turn when there are no alarms, and waits anew.
	for {
		one, _, ok := l.Pick(begin.Add(10 * time.Minute))
		if !ok {
			t.Fatal("nothing goes")
		}
		l.Finished(one, begin, Result{Settled: true})
		if len(l.lanes[queueKey{1, ""}].waiting) == 0 && one.lane.class == Normal {
			break
		}
	}
	if r := &l.destinations[""].ranks[Normal-1]; !r.since.IsZero() {
		t.Error("a class that has its ordinary turn counts as passed over")
	}
}

// The sealer goes on beside a backlog, but not beside a batch that is fresh.
func TestWaitsOfFreshFirst(t *testing.T) {
	l := testLive(4, 1000)
	now := time.Now()
	entries(l, 1, "", 1, 1, 10, now.Add(-time.Hour))
	next := entries(l, 2, "fresh", 1, 1, 10, now.Add(-time.Hour))
	if d := l.Waits(1, now); d != forever {
		t.Errorf("a lane in order of acceptance waits for %v", d)
	}
	if d := l.Waits(2, now); d != 0 {
		t.Errorf("a lane with a backlog waits for %v", d)
	}
	entries(l, 2, "fresh", next, 1, 10, now.Add(-4*time.Minute))
	if d := l.Waits(2, now); d != 6*time.Minute {
		t.Errorf("a lane with a fresh batch waits for %v, want 6m", d)
	}
	if d := l.Waits(3, now); d != 0 {
		t.Errorf("a lane without batches waits for %v", d)
	}
}

// References to blobs keep the order of acceptance.
func TestBlobsKeepTheirOrder(t *testing.T) {
	l := testLive(4, 1000)
	e := store.Entry{State: ingest.Sealed, Batch: ingest.Batch{Lane: 1, Properties: ingest.Properties{Table: "fresh", ByReference: true}}}
	l.Add(e)
	if l.lanes[queueKey{1, ""}].freshFor > 0 {
		t.Error("a lane of blobs is sent fresh first")
	}
}

// With all senders at work the shares hold as well, though a batch of the backlog
// stays on the wire for longer than one that is fresh.
func TestSharesHoldSideBySide(t *testing.T) {
	l := testLive(4, 1000)
	now := time.Now()
	next := entries(l, 1, "fresh", 1, 2000, 10_000, now.Add(-time.Hour))
	entries(l, 1, "fresh", next, 20_000, 1000, now)
	var begun []Turn // under way; each has as much of the link
	left := map[ingest.BatchID]int64{}
	var sent [2]int64
	for sent[0]+sent[1] < 10_000_000 {
		for {
			one, _, ok := l.Pick(now)
			if !ok {
				break
			}
			begun, left[one.ID] = append(begun, one), one.batch.bytes
		}
		if len(begun) != 4 {
			t.Fatalf("%d attempts under way, want 4", len(begun))
		}
		still := begun[:0]
		for _, one := range begun {
			left[one.ID] -= 100
			sent[one.batch.side] += 100
			if left[one.ID] > 0 {
				still = append(still, one)
			} else {
				l.Finished(one, now, Result{Settled: true})
			}
		}
		begun = still
	}
	if got := float64(sent[fresh]) / float64(sent[fresh]+sent[rest]); got < 0.68 || got > 0.72 {
		t.Errorf("%.3f of the bytes were fresh, want 0.70", got)
	}
}
