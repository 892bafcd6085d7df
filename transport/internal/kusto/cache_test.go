package kusto

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("down")

func TestCacheRefreshesWhenDueAndKeepsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches, fail := 0, false
		c := newCached(func(context.Context) (int, time.Time, error) {
			fetches++
			if fail {
				return 0, time.Time{}, errDown
			}
			return fetches, time.Time{}, nil
		}, time.Now)
		want := func(value, n int) {
			t.Helper()
			got, err := c.Get(t.Context())
			if err != nil || got != value || fetches != n {
				t.Fatalf("value %d, %v, after %d fetches; want %d after %d", got, err, fetches, value, n)
			}
		}
		want(1, 1)
		time.Sleep(refreshAfter - refreshJitter - time.Second)
		want(1, 1)
		time.Sleep(2*refreshJitter + 2*time.Second)
		want(2, 2)
		fail = true
		time.Sleep(2 * refreshAfter)
		want(2, 3) // tried, and the stale value serves
		want(2, 3) // not again at once
		time.Sleep(retryPause)
		want(2, 4)
		fail = false
		time.Sleep(retryPause)
		want(5, 5)
		c.Invalidate()
		want(5, 5) // it was fetched just now
		time.Sleep(invalidatePause)
		c.Invalidate()
		want(6, 6)
	})
}

func TestCacheWithoutValueFails(t *testing.T) {
	c := newCached(func(context.Context) (int, time.Time, error) { return 0, time.Time{}, errDown }, time.Now)
	if _, err := c.Get(t.Context()); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
}

func TestCacheFetchesOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		release := make(chan struct{})
		c := newCached(func(context.Context) (int, time.Time, error) {
			fetches++
			<-release
			return 7, time.Time{}, nil
		}, time.Now)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if v, err := c.Get(t.Context()); v != 7 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if fetches != 1 {
			t.Errorf("%d fetches", fetches)
		}
	})
}

func TestCacheWaiterLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCached(func(ctx context.Context) (int, time.Time, error) {
			<-ctx.Done()
			return 0, time.Time{}, ctx.Err()
		}, time.Now)
		first, cancelFirst := context.WithCancel(t.Context())
		go c.Get(first)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := c.Get(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		cancelFirst()
		synctest.Wait()
	})
}

// A caller that waits behind another must not inherit the other's cancellation.
func TestCacheCancelledFetchIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := newCached(func(ctx context.Context) (int, time.Time, error) {
			if calls++; calls == 1 {
				<-ctx.Done()
				return 0, time.Time{}, ctx.Err()
			}
			return 9, time.Time{}, nil
		}, time.Now)
		first, cancelFirst := context.WithCancel(t.Context())
		go c.Get(first)
		synctest.Wait()
		go func() {
			if v, err := c.Get(t.Context()); v != 9 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		}()
		synctest.Wait()
		cancelFirst()
		synctest.Wait()
	})
}

func TestDueAt(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for range 50 {
		if d := dueAt(now, time.Time{}).Sub(now); d < 50*time.Minute || d > 70*time.Minute {
			t.Fatalf("without an end: %v", d)
		}
	}
	if d := dueAt(now, now.Add(30*time.Minute)).Sub(now); d != 15*time.Minute {
		t.Errorf("an end in half an hour: %v", d)
	}
	// A clock that is days ahead makes every SAS look dead.
	if d := dueAt(now, now.Add(-48*time.Hour)).Sub(now); d != retryPause {
		t.Errorf("an end in the past: %v", d)
	}
}
