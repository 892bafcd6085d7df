package batching_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"kustospool/batching"
)

// ledger knows what went in and checks what comes out: each frame once, in
// the lane's order, in spans that keep their promises.
type ledger struct {
	policy  batching.Policy
	single  uint32 // this lane's frames are batches of their own
	waiting map[uint32][]batching.Span
}

func newLedger(p batching.Policy, single uint32) *ledger {
	return &ledger{policy: p.WithDefaults(), single: single, waiting: map[uint32][]batching.Span{}}
}

func (l *ledger) aggregator() *batching.Aggregator {
	return batching.NewAggregator(fixed(l.policy), func(lane uint32) bool { return lane == l.single })
}

// settle takes a span's frames off the lane's head.
func (l *ledger) settle(t interface{ Fatalf(string, ...any) }, s batching.Span) {
	queue := l.waiting[s.Lane]
	var n int
	var bytes int64
	for next := s.First; ; n++ {
		if n == len(queue) {
			t.Fatalf("span %+v holds more than was added: %+v", s, queue)
		}
		if queue[n].First != next {
			t.Fatalf("span %+v is not the next of %+v", s, queue)
		}
		if queue[n].Oldest.Before(s.Oldest) {
			t.Fatalf("span %+v hides the age of %+v", s, queue[n])
		}
		bytes += queue[n].Bytes
		next = queue[n].Last + 1
		if queue[n].Last >= s.Last {
			break
		}
	}
	frames := queue[:n+1]
	if frames[n].Last != s.Last || bytes != s.Bytes {
		t.Fatalf("span %+v is not whole frames of %+v", s, frames)
	}
	over := s.Bytes > l.policy.MaxBytes || l.policy.MaxRecords > 0 && s.Records() > l.policy.MaxRecords
	if len(frames) > 1 && (over || s.Lane == l.single) {
		t.Fatalf("span %+v of %d frames is over a limit", s, len(frames))
	}
	l.waiting[s.Lane] = queue[n+1:]
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(batching.Policy{
			MaxBytes:   rapid.Int64Range(1024, 4096).Draw(t, "max bytes"),
			MaxRecords: rapid.Int64Range(0, 12).Draw(t, "max records"),
			MaxAge:     time.Duration(rapid.IntRange(1, 20).Draw(t, "max age")) * time.Second,
		}, 4)
		a := l.aggregator()
		now := t0
		next := map[uint32]uint64{}
		waits := map[uint32]bool{}
		waiting := func(lane uint32) bool { return waits[lane] }

		lane := rapid.Uint32Range(1, 5)
		settle := func(spans []batching.Span) {
			for _, s := range spans {
				l.settle(t, s)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				id := lane.Draw(t, "lane")
				first := next[id] + 1 + rapid.SampledFrom([]uint64{0, 0, 0, 0, 3}).Draw(t, "gap")
				f := batching.Span{Lane: id, First: first, Last: first + rapid.Uint64Range(0, 5).Draw(t, "records"),
					Bytes:  rapid.Int64Range(1, 2500).Draw(t, "bytes"),
					Oldest: now.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "late")) * time.Second)}
				next[id] = f.Last
				l.waiting[id] = append(l.waiting[id], f)
				settle(a.Add(f))
			},
			"due": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "seconds")) * time.Second)
				settle(a.Due(now, waiting))
				for id := uint32(1); id <= 5; id++ {
					if s, ok := a.Open(id); ok && !waits[id] && !s.Oldest.Add(l.policy.MaxAge).After(now) {
						t.Fatalf("%v after its first record %+v is still open", now.Sub(s.Oldest), s)
					}
				}
			},
			"wait": func(t *rapid.T) { id := lane.Draw(t, "lane"); waits[id] = !waits[id] },
			"flush all": func(t *rapid.T) {
				settle(a.Flush(nil))
				for id, q := range l.waiting {
					if len(q) > 0 {
						t.Fatalf("lane %d keeps %+v after Flush", id, q)
					}
				}
			},
			"flush what does not wait": func(t *rapid.T) {
				open := a.Lanes()
				for id := uint32(1); id <= 5; id++ {
					if _, ok := a.Open(id); ok && !waits[id] {
						open--
					}
				}
				settle(a.Flush(waiting))
				for id := uint32(1); id <= 5; id++ {
					if _, ok := a.Open(id); ok && !waits[id] {
						t.Fatalf("lane %d is open after Flush", id)
					}
				}
				if a.Lanes() != open {
					t.Fatalf("%d lanes are open, want the %d that wait", a.Lanes(), open)
				}
			},
			"": func(t *rapid.T) {
				var firstAfter time.Time
				var open int
				for id := uint32(1); id <= 5; id++ {
					s, ok := a.Open(id)
					if ok != (len(l.waiting[id]) > 0) {
						t.Fatalf("lane %d: open is %v with %d frames waiting", id, ok, len(l.waiting[id]))
					}
					if !ok {
						continue
					}
					open++
					d := s.Oldest.Add(l.policy.MaxAge)
					if d.After(now) && (firstAfter.IsZero() || d.Before(firstAfter)) {
						firstAfter = d
					}
				}
				if got, ok := a.NextAfter(now); ok == firstAfter.IsZero() || !got.Equal(firstAfter) {
					t.Fatalf("NextAfter is %v %v, want %v", got, ok, firstAfter)
				}
				if a.Lanes() != open {
					t.Fatalf("Lanes is %d, want %d", a.Lanes(), open)
				}
			},
		})
	})
}

// FuzzAggregator drives the same ledger from raw bytes, four to a step.
func FuzzAggregator(f *testing.F) {
	f.Add([]byte{0, 1, 2, 30, 1, 0, 0, 9, 0, 1, 200, 255})
	f.Fuzz(func(t *testing.T, program []byte) {
		l := newLedger(batching.Policy{MaxBytes: 1024, MaxRecords: 20, MaxAge: 5 * time.Second}, 3)
		a := l.aggregator()
		now := t0
		next := map[uint32]uint64{}
		for ; len(program) >= 4; program = program[4:] {
			op, lane, x, y := program[0], uint32(program[1]%4), program[2], program[3]
			var out []batching.Span
			switch op % 4 {
			case 0, 1:
				first := next[lane] + 1 + uint64(op/4%2)
				s := batching.Span{Lane: lane, First: first, Last: first + uint64(x%30), Bytes: 1 + 8*int64(y), Oldest: now}
				next[lane] = s.Last
				l.waiting[lane] = append(l.waiting[lane], s)
				out = a.Add(s)
			case 2:
				now = now.Add(time.Duration(x) * 100 * time.Millisecond)
				out = a.Due(now, func(id uint32) bool { return y&(1<<id) != 0 })
			case 3:
				out = a.Flush(func(id uint32) bool { return y&(1<<id) != 0 })
			}
			for _, s := range out {
				l.settle(t, s)
			}
		}
		for _, s := range a.Flush(nil) {
			l.settle(t, s)
		}
		for lane, q := range l.waiting {
			if len(q) > 0 {
				t.Fatalf("lane %d lost %+v", lane, q)
			}
		}
	})
}
