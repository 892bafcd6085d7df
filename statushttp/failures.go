package statushttp

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// failuresAtOnce is how many wrong tokens one sender may show in a row, and
	// failureEvery when it may show the next one.
	failuresAtOnce = 10
	failureEvery   = 5 * time.Second
	// maxSenders bounds how many senders are remembered.
	maxSenders = 1024
)

// failures remembers who showed wrong tokens. Each sender has a budget of its own,
// so that nobody can use up that of others.
type failures struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

func newFailures() *failures { return &failures{by: map[string]*rate.Limiter{}} }

// sender is whose budget an address uses: a network of version 6 has as many
// addresses as it likes, so it is one sender.
func sender(host string) string {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		if net, err := a.Prefix(64); err == nil {
			return net.String()
		}
	}
	return a.String()
}

// try asks whether a sender shows the token, unless it has been wrong too often:
// then wait is how long it is not listened to.
func (f *failures) try(from string, now time.Time, shown func() bool) (ok bool, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[from]
	if l != nil {
		if have := l.TokensAt(now); have < 1 {
			return false, max(time.Duration((1-have)*float64(failureEvery)), 1)
		}
	}
	if shown() {
		return true, 0
	}
	if l == nil {
		f.makeRoom(now)
		l = rate.NewLimiter(rate.Every(failureEvery), failuresAtOnce)
		f.by[from] = l
	}
	l.AllowN(now, 1)
	return false, 0
}

// makeRoom forgets the sender with the most left, where too many are remembered.
func (f *failures) makeRoom(now time.Time) {
	if len(f.by) < maxSenders {
		return
	}
	var least string
	most := math.Inf(-1)
	for name, l := range f.by {
		if have := l.TokensAt(now); have > most {
			least, most = name, have
		}
	}
	delete(f.by, least)
}
