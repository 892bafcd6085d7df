package upload

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/transport/internal/kusto"
)

// flight is the requests of one pass that are under way. Its goroutines end
// when each request does; whoever made it waits for all of them.
type flight struct {
	ctx    context.Context
	cancel context.CancelFunc
	put    *put
	landed chan landing
	flying atomic.Int32

	// Owned by the goroutine that runs the pass.
	out   int      // started and not waited for
	ids   []string // of all blocks so far
	whole bool     // the payload went in one request, and is no block
}

// landing is the end of one block's request.
type landing struct {
	block block
	err   error
}

func newFlight(ctx context.Context, p *put) *flight {
	f := &flight{put: p, landed: make(chan landing, uploadBlocks)}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// start sends a block, whose buffer it takes.
func (f *flight) start(b block) {
	f.out++
	f.flying.Add(1)
	go func() {
		err := f.put.stage(f.ctx, b, func() int { return int(f.flying.Load()) })
		f.flying.Add(-1)
		f.put.putBuffer(b.buf)
		b.buf, b.data = nil, nil
		f.landed <- landing{b, err}
	}()
}

// wait returns the next end. There must be one under way.
func (f *flight) wait() landing {
	l := <-f.landed
	f.out--
	return l
}

// patience says how long requests of an upload are repeated. One that has
// moved is worth waiting for: a link that comes back finds it where it was.
type patience struct {
	limit time.Duration

	mu   sync.Mutex
	last time.Time // guarded by mu; when a block was acknowledged, zero for never
}

func (p *patience) moved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

// lasts reports whether a try that ends at a time is still worth it.
func (p *patience) lasts(tries int, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.IsZero() {
		return tries <= blockRetries
	}
	return until.Sub(p.last) < p.limit
}

// The pauses between tries of one request.
const (
	retryDelay    = 300 * time.Millisecond
	maxRetryDelay = 3 * time.Second
)

// send makes the tries of one request, with the bytes of data as its body; nil
// for another body. A reply of trouble is tried again a few times; no reply,
// for as long as patience lasts. What asks for less, 429 and 503, is for the
// engine to obey.
func (p *put) send(ctx context.Context, data []byte, beside func() int, do func(context.Context) error) error {
	for tries := 1; ; tries++ {
		begun := time.Now()
		body := kusto.NewBody(data)
		tctx, cancel := context.WithTimeout(ctx, p.tryTimeout())
		rctx := tctx
		if data != nil {
			rctx = kusto.WithBody(tctx, body)
		}
		err := do(rctx)
		moved := body.Moved()
		body.End() // data is nobody else's from here on
		cancel()
		took := time.Since(begun)
		if err == nil {
			n := 1
			if beside != nil {
				n = beside()
			}
			if data != nil {
				p.pace.took(len(data), n, took)
			}
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		var reply *azcore.ResponseError
		if errors.As(err, &reply) {
			if tries > blockRetries || !troubled(reply.StatusCode) {
				return err
			}
		} else {
			if data != nil {
				p.pace.broke(moved, took)
			}
			// A block that was sent for so long is too large for the link: it is cut again.
			if took >= 8*p.pace.time && len(data) > p.pace.size() {
				return err
			}
		}
		delay := min(retryDelay<<min(tries-1, 10), maxRetryDelay)
		delay = delay*4/5 + time.Duration(rand.Int64N(int64(delay)*2/5))
		if !errors.As(err, &reply) && !p.patient.lasts(tries, time.Now().Add(delay)) {
			return err
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// tryTimeout bounds one try: the smallest block at MinRate, and StallTimeout
// for what is not the transfer. A larger block is chosen only where the link is
// faster, and what is too slow for it is cut smaller.
func (p *put) tryTimeout() time.Duration {
	atRate := time.Duration(float64(p.pace.least) / float64(p.opts.MinRate) * float64(time.Second))
	return min(p.opts.UploadTimeout, p.opts.StallTimeout+atRate)
}

// troubled are the statuses of a service that could not, and may the next time.
func troubled(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return false
}
