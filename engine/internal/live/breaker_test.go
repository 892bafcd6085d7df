package live

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBreaker(8)
	expect := func(at time.Time, want int, wantWait time.Duration) {
		t.Helper()
		if n, wait := b.allowed(at); n != want || wait != wantWait {
			t.Fatalf("allowed = %d after %v, want %d after %v", n, wait, want, wantWait)
		}
	}
	expect(now, 8, 0)

	// Eight attempts that ran side by side fail: one failure.
	if !b.failed(now.Add(-time.Second), now) {
		t.Fatal("the first failure is not counted")
	}
	b.pause(now.Add(4 * time.Second))
	for range 7 {
		if b.failed(now.Add(-time.Second), now.Add(time.Millisecond)) {
			t.Fatal("the same outage is counted twice")
		}
	}
	expect(now.Add(time.Second), 0, 3*time.Second)
	// After the pause one attempt probes, and fails.
	probe := now.Add(5 * time.Second)
	expect(probe, 1, 0)
	if !b.failed(probe, probe.Add(time.Second)) || b.failures != 2 {
		t.Fatalf("the probe's failure is not counted: %d", b.failures)
	}
	b.pause(probe.Add(10 * time.Second))
	// An operator does not wait for it: one attempt, and the first pause again.
	b.tryNow()
	expect(probe.Add(time.Second), 1, 0)
	if b.failures != 1 {
		t.Fatalf("%d failures are left", b.failures)
	}
	// The next probe succeeds: slow start, not the whole backlog at once.
	at := probe.Add(20 * time.Second)
	expect(at, 1, 0)
	for _, want := range []int{2, 4, 8, 8} {
		b.answered()
		expect(at, want, 0)
	}
	// Doubts halve; the doubt of a single attempt is a failure.
	for _, want := range []int{4, 2, 1} {
		if b.doubted(at, at) {
			t.Fatalf("a doubt among %d attempts is taken for a failure", want*2)
		}
		expect(at, want, 0)
	}
	if !b.doubted(at, at) || b.failures != 1 {
		t.Fatal("the doubt of the only attempt is no failure")
	}
	b.answered()
	expect(at, 2, 0)
}
