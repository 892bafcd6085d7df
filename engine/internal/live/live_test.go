package live

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// The tree of turns does what a walk around the lanes does.
func TestTurnsAreThoseOfAWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree turns
		var loads []int32
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				if i := tree.add(); i != len(loads) {
					t.Fatalf("place %d, want %d", i, len(loads))
				}
				loads = append(loads, never)
			case 1, 2, 3:
				if len(loads) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(loads)-1).Draw(t, "lane")
				loads[i] = rapid.SampledFrom([]int32{0, 1, 2, 3, never}).Draw(t, "load")
				tree.set(i, loads[i])
			default:
				behind := rapid.IntRange(0, max(0, len(loads)-1)).Draw(t, "behind")
				below := rapid.Int32Range(0, 4).Draw(t, "below")
				got, ok := tree.next(behind, below)
				want := -1
				for n := 1; n <= len(loads) && want < 0; n++ {
					if i := (behind + n) % len(loads); loads[i] < below {
						want = i
					}
				}
				if ok != (want >= 0) || ok && got != want {
					t.Fatalf("next behind %d below %d is %d, %v; want %d of %v", behind, below, got, ok, want, loads)
				}
			}
		}
	})
}

// tenMinutes is how long a batch is fresh in these tests.
const tenMinutes = 10 * time.Minute

// testLive is a mirror whose lanes have their order by the names of their tables, and
// their destination by their folders.
func testLive(senders, unconfirmed int) *Mirror {
	return New(Options{Senders: senders, MaxUnconfirmed: unconfirmed, FreshShare: 70, FreshFor: tenMinutes, RetryMin: time.Second, RetryMax: time.Minute,
		Pace:  Pace{Tracks: true, Every: time.Second, AtMost: 100, Verdict: time.Hour, Grace: func(int) time.Duration { return time.Minute }},
		Route: func(e *store.Entry) string { return e.Batch.Properties.Folder },
		Order: func(p *ingest.Properties) (Class, bool) {
			class := Normal
			switch p.Table {
			case "alarm":
				class = Alarm
			case "bulk", "fresh bulk":
				class = Bulk
			}
			return class, !p.ByReference && (p.Table == "fresh" || p.Table == "fresh bulk")
		},
		Properties: func(uint32) ingest.Properties { return ingest.Properties{} },
		Because:    func(error) []any { return nil },
		Log:        slog.New(slog.DiscardHandler)})
}

func sealedEntry(lane uint32, first uint64) store.Entry {
	return store.Entry{State: ingest.Sealed, Batch: ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{}, lane, first, first), Lane: lane, First: first, Last: first}}
}

// modelTables are the tables of the lanes from 1 on.
var modelTables = []string{"", "", "alarm", "fresh", "bulk", "fresh bulk"}

// What live counts is what there is, whatever happens in which order; a lane's
// batches leave in order; and nothing that may go is passed over.
func TestLiveCountsWhatThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := testLive(3, 6)
		rows := map[ingest.BatchID]store.Entry{}
		var begun []Turn             // attempts that are not finished
		answers := map[Turn]Result{} // what they came to, where that is known
		var awaited []ingest.BatchID
		next := uint64(1)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			now := time.Now().Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "hours")) * time.Hour)
			switch step := rapid.IntRange(0, 13).Draw(t, "step"); {
			case step < 3:
				e := sealedEntry(uint32(rapid.IntRange(1, 6).Draw(t, "lane")), next)
				e.Batch.Properties.Table = modelTables[e.Batch.Lane-1]
				e.Batch.SealedAt = now.Add(-time.Duration(rapid.IntRange(0, 12).Draw(t, "minutes old")) * time.Minute)
				e.Batch.RawBytes = rapid.Int64Range(0, 1000).Draw(t, "bytes")
				e.Batch.Properties.Folder = rapid.SampledFrom([]string{"", "", "other"}).Draw(t, "to")
				rows[e.Batch.ID] = e
				next++
				l.Add(e)
			case step < 6:
				one, wait, ok := l.Pick(now)
				if !ok {
					if wait <= 0 {
						t.Fatalf("nothing to do, and no time to wait: %v", wait)
					}
					stuck(t, l, now)
					continue
				}
				if one.lane.paused {
					t.Fatal("an attempt at a batch of a paused table")
				}
				for _, other := range one.lane.waiting {
					if older := other.order < one.batch.order; older != (one.batch.side == fresh) {
						t.Fatalf("batch %d of side %d went before batch %d of the lane", one.batch.order, one.batch.side, other.order)
					}
				}
				if one.batch.side == fresh && !one.batch.isFresh(now) {
					t.Fatal("a batch that is not fresh went as such")
				}
				begun = append(begun, one)
			case step < 8 && len(begun) > 0: // an answer comes
				one := rapid.SampledFrom(begun).Draw(t, "answered")
				if _, known := answers[one]; known {
					continue
				}
				e := rows[one.ID]
				r := Result{}
				switch rapid.IntRange(0, 4).Draw(t, "answer") {
				case 0:
					r.Settled = true
					delete(rows, one.ID)
				case 1:
					r.Err, r.Again = &transport.Error{Class: transport.Held}, []store.Entry{e}
				case 2:
					r.Err, r.Again = &transport.Error{Class: transport.Transient}, []store.Entry{e}
				case 3:
					r.Err = &transport.Error{Class: transport.Unknown}
					fallthrough
				default:
					e.State = ingest.Accepted
					l.Await(e)
					awaited = append(awaited, e.Batch.ID)
				}
				answers[one] = r
			case step < 10 && len(begun) > 0: // and the attempt is over, perhaps after its report
				i := rapid.IntRange(0, len(begun)-1).Draw(t, "over")
				one := begun[i]
				if r, known := answers[one]; known {
					begun = slices.Delete(begun, i, i+1)
					delete(answers, one)
					l.Finished(one, now.Add(-time.Second), r)
				}
			case step == 12:
				var list []store.Pause
				if table := rapid.SampledFrom([]string{"", "alarm", "fresh"}).Draw(t, "paused"); table != "" {
					list = append(list, store.Pause{Table: table})
				}
				l.SetPaused(list)
			case step == 13:
				l.RetryNow(Table{Table: rapid.SampledFrom([]string{"", "fresh"}).Draw(t, "retried")}, now)
			case step >= 10 && len(awaited) > 0:
				i := rapid.IntRange(0, len(awaited)-1).Draw(t, "heard of")
				e := rows[awaited[i]]
				awaited = slices.Delete(awaited, i, i+1)
				l.Forget(e.Batch.ID)
				r := Result{Settled: true}
				if rapid.Bool().Draw(t, "again") {
					r = Result{Again: []store.Entry{e}}
				}
				if i := slices.IndexFunc(begun, func(one Turn) bool { return one.ID == e.Batch.ID }); i >= 0 && rapid.Bool().Draw(t, "late") {
					l.Finished(begun[i], now, answers[begun[i]]) // between the two
					delete(answers, begun[i])
					begun = slices.Delete(begun, i, i+1)
				}
				l.Reported(e, r)
				if r.Settled {
					delete(rows, e.Batch.ID)
				}
			}
			counted(t, l)
		}
		// In the end all goes.
		l.SetPaused(nil)
		for range 10_000 {
			now := time.Now().Add(time.Hour)
			for _, d := range l.destinations {
				d.breaker.until = time.Time{}
			}
			for len(begun) > 0 {
				if _, known := answers[begun[0]]; !known {
					answers[begun[0]] = Result{Settled: true}
					delete(rows, begun[0].ID)
				}
				l.Finished(begun[0], now, answers[begun[0]])
				begun = begun[1:]
			}
			for _, id := range awaited {
				l.Forget(id)
				l.Reported(rows[id], Result{Settled: true})
				delete(rows, id)
			}
			awaited = nil
			one, _, ok := l.Pick(now)
			if !ok {
				break
			}
			begun, answers[one] = append(begun, one), Result{Settled: true}
			delete(rows, one.ID)
		}
		counted(t, l)
		if len(l.batches)+len(rows) > 0 {
			t.Fatalf("%d batches are left, and %d never had another turn", len(l.batches), len(rows))
		}
	})
}

// stuck fails when a batch may go and was not picked.
func stuck(t *rapid.T, l *Mirror, now time.Time) {
	for _, q := range l.lanes {
		d := q.destination
		n, _ := d.breaker.allowed(now)
		if n == 0 || !l.open(d, q.class, n) {
			continue
		}
		probing := q.failures > 0 && (q.sending > 0 || q.probe.place == awaiting)
		mayGo := len(q.waiting) > 0 && !q.paused && !probing && !q.notBefore.After(now) && q.sending+q.awaiting < l.room(d, q.class)
		if mayGo && q.class != Alarm && d.freshFirst && !l.admits(d, &d.ranks[q.class-1], n) {
			ring := &d.ranks[q.class-1].sides[fresh].turns // as it was when the clock was last looked at, which jumps here
			mayGo = q.freshFor > 0 && q.newest[0].isFresh(now) && ring.least[ring.leafs+q.places[fresh]] != never
		}
		if mayGo {
			t.Fatalf("lane %+v was passed over", q.key)
		}
	}
}

// An alarm goes although as many batches of other tables await their outcome as may.
func TestAnAlarmDoesNotWaitForOutcomes(t *testing.T) {
	l := testLive(2, 4)
	for lane := uint32(1); lane <= 4; lane++ {
		e := sealedEntry(lane, 1)
		l.Add(e)
		if _, _, ok := l.Pick(time.Now()); !ok {
			t.Fatalf("batch %d was not picked", lane)
		}
		e.State, e.Updated = ingest.Accepted, time.Now()
		l.Await(e)
	}
	more := sealedEntry(5, 1)
	l.Add(more)
	if turn, _, ok := l.Pick(time.Now()); ok {
		t.Fatalf("%v was picked beyond the bound", turn.ID)
	}
	alarm := sealedEntry(6, 1)
	alarm.Batch.Properties.Table = "alarm"
	l.Add(alarm)
	if turn, _, ok := l.Pick(time.Now()); !ok || turn.ID != alarm.Batch.ID {
		t.Errorf("the alarm was not picked: %v, %v", turn.ID, ok)
	}
}

// counted compares the sums that live keeps with a count.
func counted(t *rapid.T, l *Mirror) {
	type sum struct{ waiting, sending, awaiting int }
	alarms, others, heard := map[*destination]int{}, map[*destination]int{}, map[*destination]int{}
	lanes, destinations := map[*laneQueue]sum{}, map[*destination]sum{}
	for _, b := range l.batches {
		var one sum
		switch b.place {
		case waiting:
			one.waiting++
		case sending:
			one.sending++
			switch {
			case b.lane.class == Alarm:
				alarms[b.lane.destination]++
			case b.side == rest:
				others[b.lane.destination]++
			}
		case awaiting:
			one.awaiting++
			if b.lane.class == Alarm {
				heard[b.lane.destination]++
			}
		default:
			t.Fatalf("batch %s is nowhere, and is kept", b.id)
		}
		add := func(s sum) sum {
			return sum{s.waiting + one.waiting, s.sending + one.sending, s.awaiting + one.awaiting}
		}
		lanes[b.lane] = add(lanes[b.lane])
		destinations[b.lane.destination] = add(destinations[b.lane.destination])
	}
	for _, q := range l.lanes {
		if got := (sum{len(q.waiting), q.sending, q.awaiting}); got != lanes[q] {
			t.Fatalf("lane %+v counts %+v, and there are %+v", q.key, got, lanes[q])
		}
		if q.freshFor > 0 && len(q.newest) != len(q.waiting) {
			t.Fatalf("lane %+v has %d newest of %d that wait", q.key, len(q.newest), len(q.waiting))
		}
	}
	for _, d := range l.destinations {
		if got := (sum{destinations[d].waiting, d.sending, len(d.awaiting)}); got != destinations[d] {
			t.Fatalf("destination %q counts %+v, and there are %+v", d.to, got, destinations[d])
		}
		if d.awaitingAlarms != heard[d] || l.room(d, Alarm) < 0 || l.room(d, Normal) < 0 {
			t.Fatalf("destination %q counts %d alarms that are awaited of %d, and has room for %d, and %d others",
				d.to, d.awaitingAlarms, heard[d], l.room(d, Alarm), l.room(d, Normal))
		}
		if d.alarms != alarms[d] || d.rest != others[d] {
			t.Fatalf("destination %q counts %d alarms and %d of the rest, and there are %d and %d", d.to, d.alarms, d.rest, alarms[d], others[d])
		}
		if max(d.alarms, d.sending-d.alarms) > l.options.Senders {
			t.Fatalf("destination %q has %d attempts under way, %d of them alarms", d.to, d.sending, d.alarms)
		}
	}
}

// freeLock is a handler of a log that sees whether the lock is held meanwhile.
type freeLock struct {
	slog.Handler
	live        *Mirror
	lines, held *int
}

func (h freeLock) Enabled(context.Context, slog.Level) bool { return true }

func (h freeLock) Handle(context.Context, slog.Record) error {
	*h.lines++
	if !h.live.mu.TryLock() {
		*h.held++
		return nil
	}
	h.live.mu.Mutex.Unlock() // as TryLock, past the watch
	return nil
}

// A log that is slow must not stop delivery: nothing is logged under the lock.
func TestNothingIsLoggedUnderTheLock(t *testing.T) {
	l := testLive(4, 100)
	lines, held := 0, 0
	l.options.Log = slog.New(freeLock{slog.DiscardHandler, l, &lines, &held})
	for i, class := range []transport.Class{transport.Held, transport.Transient} {
		e := sealedEntry(1, uint64(i)+1)
		e.Batch.Properties.Folder = class.String() // to a destination of its own
		l.Add(e)
		one, _, _ := l.Pick(time.Now())
		l.Finished(one, time.Now(), Result{Err: &transport.Error{Class: class}})
	}
	l.Inquired("", &transport.Error{Class: transport.Transient})
	l.Reported(sealedEntry(2, 9), Result{Err: &transport.Error{Class: transport.Held}})
	if lines != 4 || held != 0 {
		t.Errorf("%d of %d lines were logged under the lock; 4 are to be logged", held, lines)
	}
	l.mu.Lock() // the control
	l.options.Log.Warn("seen")
	l.mu.Unlock()
	if held != 1 {
		t.Error("the handler does not see the lock")
	}
}

// Every lane that has something gets its turn before any gets a second one.
func TestLanesTakeTurns(t *testing.T) {
	l := testLive(1, 1000)
	const lanes, each = 50, 4
	order := rand.Perm(lanes * each)
	for _, n := range order {
		l.Add(sealedEntry(uint32(n%lanes), uint64(n/lanes)+1))
	}
	for range each {
		seen := map[uint32]bool{}
		for range lanes {
			one, _, _ := l.Pick(time.Now())
			seen[one.lane.key.lane] = true
			l.Finished(one, time.Now(), Result{Settled: true})
		}
		if len(seen) != lanes {
			t.Fatalf("%d lanes had their turn, of %d", len(seen), lanes)
		}
	}
	if _, _, ok := l.Pick(time.Now()); ok || len(l.batches) != 0 {
		t.Error("something is left")
	}
}

// One pick, with the end of the attempt, which queues the batch again.
func BenchmarkPick(b *testing.B) {
	for _, size := range []struct{ lanes, batches int }{{1, 1}, {100, 1000}, {10_000, 100_000}} {
		for _, held := range []bool{false, true} {
			if held && size.lanes == 1 {
				continue
			}
			b.Run(fmt.Sprintf("lanes=%d/batches=%d/held=%v", size.lanes, size.batches, held), func(b *testing.B) {
				l := testLive(4, 1000)
				for n := range size.batches {
					l.Add(sealedEntry(uint32(n%size.lanes), uint64(n/size.lanes)+1))
				}
				for i, q := range l.destinations[""].ranks[Normal-1].sides[rest].lanes {
					if held && i != size.lanes/2 { // all but one wait for an operator
						q.failures, q.held, q.notBefore = 1, true, time.Now().Add(time.Hour)
						l.refreshLocked(q, time.Now())
					}
				}
				now := time.Now()
				b.ReportAllocs()
				for b.Loop() {
					one, _, _ := l.Pick(now)
					l.mu.Lock()
					q := one.lane
					l.leaveLocked(one.batch)
					one.batch.place = waiting
					q.push(one.batch)
					l.refreshLocked(q, now)
					l.mu.Unlock()
				}
			})
		}
	}
}
