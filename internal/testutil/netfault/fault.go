package netfault

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Kind says what happens to a request.
type Kind int

const (
	// EarlyReply answers with Fault.Reply when Fault.At bytes of the body were
	// taken; 0 answers a request of which only the head was read. What becomes
	// of the rest is Fault.Then.
	EarlyReply Kind = iota + 1
	// ReplyFirst answers on a new connection before anything was read from it.
	// There is no request yet to choose by, so only Skip, Every and Times count,
	// and they count connections. From a RoundTripper it is an EarlyReply at 0.
	ReplyFirst
	// HalfClose ends the server's side of the connection without a reply when
	// Fault.At bytes of the body were taken, and goes on reading.
	HalfClose
	// NeverRead reads the head and neither reads the body nor answers, until the
	// fault is removed; a RoundTripper also gives up with the request's context.
	NeverRead
	// Trickle lets Fault.Rate bytes a second through, in each direction, in
	// pieces as small as they come to.
	Trickle
	// Reset breaks the connection when Fault.At bytes of the body were taken.
	Reset
	// ResetReply does what the request asks and breaks the connection when
	// Fault.At bytes of the answer were passed on: through a Proxy its head
	// counts too, from a RoundTripper only its body.
	ResetReply
)

// Then says what becomes of a connection on which a reply came early.
type Then int

const (
	// ThenClose ends the server's side, reads on for a moment and closes.
	ThenClose Then = iota
	// ThenReset breaks the connection at once. The reset may overtake the reply.
	ThenReset
	// ThenDrain reads the rest of the body and keeps the connection.
	ThenDrain
	// ThenHold neither reads nor closes until the fault is removed.
	ThenHold
)

// Middle as Fault.At is half of the body's declared length, 0 where it
// declares none.
const Middle = -1

// Fault is one fault. Its zero fields match and strike everything.
type Fault struct {
	Kind Kind

	// Method, PathContains and Match narrow the requests that count. The path is
	// the decoded one; Match sees the request without its body.
	Method       string
	PathContains string
	Match        func(*http.Request) bool

	// Skip lets the first so many of them pass, Every then strikes each nth (0
	// and 1: all), and Times ends the fault after it has struck that often (0:
	// never).
	Skip, Every, Times int

	// At is the byte of the body, or of the answer, at which it happens. A body
	// that ends before is struck at its end; of one in chunks, a Proxy takes the
	// chunk that holds the byte.
	At int64
	// Reply of EarlyReply and ReplyFirst. The zero Reply is a bare 503.
	Reply Reply
	// Then follows an EarlyReply.
	Then Then
	// Rate of Trickle, in bytes a second; 0 means 1024.
	Rate int64
	// Late is how long after its answer a RoundTripper reads on in the body;
	// 0 means 20 ms, where net/http may take 50.
	Late time.Duration
	// Hold, where not nil, is waited for instead of Late.
	Hold <-chan struct{}
}

// Active is a fault in force.
type Active struct {
	Fault
	set     *Set
	matched int           // guarded by set.mu
	struck  int           // guarded by set.mu
	removed chan struct{} // closed by Remove
}

// Set holds the faults in force. The zero Set is ready for use, by many
// goroutines at once.
type Set struct {
	mu      sync.Mutex // guards what follows, and the counts of the faults
	active  []*Active
	changed chan struct{} // closed and replaced when a fault strikes; nil until somebody waits
}

// Add puts a fault in force.
func (s *Set) Add(f Fault) *Active {
	a := &Active{Fault: f, set: s, removed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = append(s.active, a)
	return a
}

// Remove ends the fault, and what it holds. Further calls do nothing.
func (a *Active) Remove() {
	a.set.mu.Lock()
	defer a.set.mu.Unlock()
	for i, have := range a.set.active {
		if have == a {
			a.set.active = append(a.set.active[:i:i], a.set.active[i+1:]...)
			close(a.removed)
			return
		}
	}
}

// Struck is how many requests the fault has struck. A test that sees 0 has
// tested nothing.
func (a *Active) Struck() int {
	a.set.mu.Lock()
	defer a.set.mu.Unlock()
	return a.struck
}

// Wait returns when the fault has struck n requests, or with ctx's error.
func (a *Active) Wait(ctx context.Context, n int) error {
	for {
		a.set.mu.Lock()
		enough := a.struck >= n
		if a.set.changed == nil {
			a.set.changed = make(chan struct{})
		}
		changed := a.set.changed
		a.set.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// strike is the first fault, in the order of addition, that strikes this
// request; nil for none. Every fault that matches counts the request. r is nil
// for a new connection.
func (s *Set) strike(r *http.Request) *Active {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit *Active
	for _, a := range s.active {
		if !a.matches(r) {
			continue
		}
		a.matched++
		n := a.matched - a.Skip
		if hit != nil || n <= 0 || a.Times > 0 && a.struck >= a.Times || a.Every > 1 && n%a.Every != 0 {
			continue
		}
		a.struck++
		hit = a
	}
	if hit != nil && s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return hit
}

// matches is Match and the fields beside it. A connection is matched by
// ReplyFirst alone.
func (a *Active) matches(r *http.Request) bool {
	if r == nil {
		return a.Kind == ReplyFirst
	}
	if a.Kind == ReplyFirst || a.Method != "" && a.Method != r.Method || !strings.Contains(r.URL.Path, a.PathContains) {
		return false
	}
	if a.Match == nil {
		return true
	}
	bare := *r
	bare.Body = nil
	return a.Match(&bare)
}

// at is Fault.At for a body of this declared length.
func (a *Active) at(length int64) int64 {
	if a.At == Middle {
		return max(length, 0) / 2
	}
	return a.At
}

func (a *Active) rate() int64 {
	if a.Rate > 0 {
		return a.Rate
	}
	return 1024
}
