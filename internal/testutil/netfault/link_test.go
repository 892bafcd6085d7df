package netfault

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinkCarriesAtItsRate(t *testing.T) {
	for _, rate := range []int64{0, 10, 1000, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			l := newLink(rate, true)
			started := time.Now()
			var to bytes.Buffer
			for range 3 { // the link is shared: what waits for its turn waits longer
				if err := l.carry(t.Context(), &to, make([]byte, 50_000), out); err != nil {
					t.Fatal(err)
				}
			}
			var want time.Duration
			if rate > 0 {
				want = time.Duration(150_000 * int64(time.Second) / rate)
			}
			if got := time.Since(started); got < want-time.Second || got > want+time.Second {
				t.Errorf("150,000 bytes at %d a second took %v, want %v", rate, got, want)
			}
			if to.Len() != 150_000 || l.bytes[out] != 150_000 || l.bytes[back] != 0 {
				t.Errorf("%d bytes arrived, %v were counted", to.Len(), l.bytes)
			}
		})
	}
}

// Up 2 s, down 3 s: 8,000 bytes at 1,000 a second arrive in the fourth round.
func TestLinkGoesDownAndUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(1000, true)
		ctx, cancel := context.WithCancel(t.Context())
		go l.schedule(ctx, 2*time.Second, 3*time.Second)
		started := time.Now()
		var to bytes.Buffer
		if err := l.carry(t.Context(), &to, make([]byte, 8000), out); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(started); got < 16*time.Second || got > 18*time.Second {
			t.Errorf("took %v", got)
		}
		l.set(false)
		l.set(false)
		cancel()
		synctest.Wait()
		if err := l.carry(ctx, &to, make([]byte, 1), out); err == nil {
			t.Error("a link that is down carried a byte")
		}
	})
}
