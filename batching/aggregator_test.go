package batching_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"kustospool/batching"
	"kustospool/ingest"
)

var t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// frame is records first..last of a lane, accepted sec seconds after t0.
func frame(lane uint32, first, last uint64, bytes int64, sec int) batching.Span {
	return batching.Span{Lane: lane, First: first, Last: last, Bytes: bytes, Oldest: t0.Add(time.Duration(sec) * time.Second)}
}

func fixed(p batching.Policy) func(uint32) batching.Policy {
	return func(uint32) batching.Policy { return p }
}

func TestAddSeals(t *testing.T) {
	p := batching.Policy{MaxBytes: 2000, MaxRecords: 10, MaxAge: time.Minute}
	tests := []struct {
		name   string
		single bool
		add    []batching.Span
		sealed []batching.Span
		open   *batching.Span
	}{
		{name: "under every limit",
			add:  []batching.Span{frame(1, 1, 2, 900, 0), frame(1, 3, 4, 900, 1)},
			open: new(frame(1, 1, 4, 1800, 0))},
		{name: "bytes reached exactly",
			add:    []batching.Span{frame(1, 1, 2, 900, 0), frame(1, 3, 4, 1100, 1)},
			sealed: []batching.Span{frame(1, 1, 4, 2000, 0)}},
		{name: "bytes would overflow",
			add:    []batching.Span{frame(1, 1, 2, 900, 0), frame(1, 3, 4, 1101, 1)},
			sealed: []batching.Span{frame(1, 1, 2, 900, 0)}, open: new(frame(1, 3, 4, 1101, 1))},
		{name: "records reached exactly",
			add:    []batching.Span{frame(1, 1, 9, 9, 0), frame(1, 10, 10, 1, 1)},
			sealed: []batching.Span{frame(1, 1, 10, 10, 0)}},
		{name: "records would overflow",
			add:    []batching.Span{frame(1, 1, 9, 9, 0), frame(1, 10, 11, 2, 1)},
			sealed: []batching.Span{frame(1, 1, 9, 9, 0)}, open: new(frame(1, 10, 11, 2, 1))},
		{name: "a frame over the limit stays whole",
			add:    []batching.Span{frame(1, 1, 1, 5, 0), frame(1, 2, 3, 9000, 1), frame(1, 4, 4, 5, 2)},
			sealed: []batching.Span{frame(1, 1, 1, 5, 0), frame(1, 2, 3, 9000, 1)}, open: new(frame(1, 4, 4, 5, 2))},
		{name: "overflow, and the frame is full itself",
			add:    []batching.Span{frame(1, 1, 1, 5, 0), frame(1, 2, 2, 2000, 1)},
			sealed: []batching.Span{frame(1, 1, 1, 5, 0), frame(1, 2, 2, 2000, 1)}},
		{name: "gap",
			add:    []batching.Span{frame(1, 1, 2, 5, 0), frame(1, 9, 9, 5, 1)},
			sealed: []batching.Span{frame(1, 1, 2, 5, 0)}, open: new(frame(1, 9, 9, 5, 1))},
		{name: "lanes do not meet",
			add:  []batching.Span{frame(1, 1, 1, 1500, 0), frame(2, 1, 1, 1500, 0)},
			open: new(frame(1, 1, 1, 1500, 0))},
		{name: "single lane", single: true,
			add:    []batching.Span{frame(1, 1, 1, 5, 0), frame(1, 2, 2, 5, 1)},
			sealed: []batching.Span{frame(1, 1, 1, 5, 0), frame(1, 2, 2, 5, 1)}},
		{name: "older frame after a younger one",
			add:  []batching.Span{frame(1, 1, 1, 5, 7), frame(1, 2, 2, 5, 3)},
			open: new(frame(1, 1, 2, 10, 3))},
		{name: "no records", add: []batching.Span{frame(1, 2, 1, 0, 0)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := batching.NewAggregator(fixed(p), func(uint32) bool { return tt.single })
			var sealed []batching.Span
			for _, f := range tt.add {
				sealed = append(sealed, a.Add(f)...)
			}
			if !reflect.DeepEqual(sealed, tt.sealed) {
				t.Errorf("sealed %+v, want %+v", sealed, tt.sealed)
			}
			open, ok := a.Open(1)
			if ok != (tt.open != nil) || ok && open != *tt.open {
				t.Errorf("open %+v %v, want %+v", open, ok, tt.open)
			}
		})
	}
}

func TestDue(t *testing.T) {
	a := batching.NewAggregator(func(lane uint32) batching.Policy {
		return batching.Policy{MaxAge: time.Duration(lane) * time.Minute}
	}, nil)
	a.Add(frame(3, 1, 1, 1, 0))
	a.Add(frame(1, 1, 1, 1, 30)) // due at 1:30
	a.Add(frame(2, 1, 1, 1, 0))  // due at 2:00

	if next, ok := a.NextAfter(t0); !ok || !next.Equal(t0.Add(90*time.Second)) {
		t.Fatalf("NextAfter is %v %v, want 1:30", next, ok)
	}
	if got := a.Due(t0.Add(90*time.Second-1), nil); got != nil {
		t.Fatalf("sealed %+v before its time", got)
	}
	waiting := func(lane uint32) bool { return lane == 1 }
	if got := a.Due(t0.Add(2*time.Minute), waiting); len(got) != 1 || got[0].Lane != 2 {
		t.Fatalf("at 2:00 with lane 1 waiting sealed %+v, want lane 2", got)
	}
	if next, ok := a.NextAfter(t0.Add(2 * time.Minute)); !ok || !next.Equal(t0.Add(3*time.Minute)) {
		t.Errorf("NextAfter is %v %v, want 3:00", next, ok)
	}
	if got := a.Due(t0.Add(3*time.Minute), nil); len(got) != 2 || got[0].Lane != 3 || got[1].Lane != 1 {
		t.Errorf("released, sealed %+v, want lane 3 then 1", got)
	}
	if _, ok := a.NextAfter(t0); ok {
		t.Error("NextAfter has a deadline and nothing is open")
	}
}

// An outage must end in few large batches: a lane that waits grows to its limits.
func TestWaitingLaneGrows(t *testing.T) {
	a := batching.NewAggregator(fixed(batching.Policy{MaxBytes: 1024, MaxAge: time.Second}), nil)
	waiting := func(uint32) bool { return true }
	var sealed []batching.Span
	for i := range 64 {
		sealed = append(sealed, a.Add(frame(1, uint64(i+1), uint64(i+1), 64, 10*i))...)
		sealed = append(sealed, a.Due(t0.Add(time.Duration(10*i+5)*time.Second), waiting)...)
	}
	if len(sealed) != 4 {
		t.Errorf("an outage of 64 frames made %d batches, want 4 full ones", len(sealed))
	}
}

// The age deadline follows the oldest record even when it comes second.
func TestDeadlineMovesForward(t *testing.T) {
	a := batching.NewAggregator(nil, nil)
	a.Add(frame(1, 1, 1, 1, 100))
	a.Add(frame(2, 1, 1, 1, 50))
	a.Add(frame(1, 2, 2, 1, 10))
	if next, _ := a.NextAfter(t0); !next.Equal(t0.Add(10*time.Second + batching.DefaultMaxAge)) {
		t.Errorf("NextAfter is %v, want a minute after the oldest record", next)
	}
}

func TestPolicyIsAskedWhenASpanOpens(t *testing.T) {
	p := batching.Policy{MaxRecords: 3}
	a := batching.NewAggregator(func(uint32) batching.Policy { return p }, nil)
	a.Add(frame(1, 1, 1, 1, 0))
	p.MaxRecords = 2
	if got := a.Add(frame(1, 2, 2, 1, 0)); got != nil {
		t.Errorf("sealed %+v under the new policy", got)
	}
	a.Flush(nil)
	if got := a.Add(frame(1, 3, 4, 1, 0)); len(got) != 1 {
		t.Errorf("sealed %+v, want one span under the new policy", got)
	}
}

func TestFlush(t *testing.T) {
	a := batching.NewAggregator(nil, nil)
	if got := a.Flush(nil); len(got) != 0 {
		t.Errorf("nothing was open, and %+v was flushed", got)
	}
	a.Add(frame(2, 1, 1, 1, 1))
	a.Add(frame(3, 1, 1, 1, 1))
	a.Add(frame(1, 2, 2, 1, 3))
	want := []batching.Span{frame(2, 1, 1, 1, 1), frame(3, 1, 1, 1, 1), frame(1, 2, 2, 1, 3)}
	if got := a.Flush(nil); !reflect.DeepEqual(got, want) {
		t.Errorf("flushed %+v, want %+v", got, want)
	}
	if a.Lanes() != 0 {
		t.Errorf("%d lanes are open after Flush", a.Lanes())
	}
	a.Add(frame(1, 3, 3, 1, 4))
	if a.Lanes() != 1 {
		t.Error("the aggregator is of no use after Flush")
	}
}

func TestPolicyValidate(t *testing.T) {
	tests := []struct {
		policy batching.Policy
		errs   int
	}{
		{batching.Policy{}, 0},
		{batching.Policy{MaxBytes: batching.MinMaxBytes, MaxRecords: 1, MaxAge: batching.MinMaxAge}, 0},
		{batching.Policy{MaxBytes: batching.MaxMaxBytes, MaxAge: batching.MaxMaxAge}, 0},
		{batching.Policy{MaxBytes: batching.MinMaxBytes - 1}, 1},
		{batching.Policy{MaxBytes: -1}, 1},
		{batching.Policy{MaxBytes: batching.MaxMaxBytes + 1}, 1},
		{batching.Policy{MaxAge: batching.MinMaxAge - 1}, 1},
		{batching.Policy{MaxBytes: 1, MaxRecords: -1, MaxAge: batching.MaxMaxAge + 1}, 3},
	}
	for _, tt := range tests {
		err := tt.policy.Validate()
		if tt.errs == 0 {
			if err != nil {
				t.Errorf("%+v: %v", tt.policy, err)
			}
			continue
		}
		if !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%+v: %v does not match ErrInvalid", tt.policy, err)
			continue
		}
		if joined := err.(interface{ Unwrap() []error }).Unwrap(); len(joined) != tt.errs {
			t.Errorf("%+v: %d violations, want %d: %v", tt.policy, len(joined), tt.errs, err)
		}
	}
	if got := (batching.Policy{}).WithDefaults(); got.MaxBytes != batching.DefaultMaxBytes || got.MaxAge != batching.DefaultMaxAge || got.MaxRecords != 0 {
		t.Errorf("defaults are %+v", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, lanes := range []int{1, 1000, 10000} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			a := batching.NewAggregator(fixed(batching.Policy{MaxRecords: 100}), nil)
			seq := make([]uint64, lanes)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				lane := i % lanes
				seq[lane]++
				a.Add(frame(uint32(lane), seq[lane], seq[lane], 100, i/lanes))
				a.NextAfter(t0)
				i++
			}
		})
	}
}
