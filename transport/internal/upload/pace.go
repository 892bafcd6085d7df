package upload

import (
	"sync"
	"time"
)

// The sizes of blocks. A link of which nothing is known yet may be a slow one.
// What fits in one block is one request.
const (
	minBlock   = 64 << 10
	firstBlock = 128 << 10
	BlockBytes = 4 << 20 // the largest block
)

// blockTime is how long a block should take: long beside the latency of a
// link, short beside the time for which a bad one lasts, because what a break
// costs is the block that was under way.
const blockTime = 2 * time.Second

// pairFrom is the block's size from which on two are under way at the same
// time: a link on which a block takes time carries one at a time, or each would
// take twice as long.
const pairFrom = 1 << 20

// pace chooses the sizes of blocks by what the link carried lately. One is
// shared by all uploads of a client, so that each begins with what the others
// have learned. It is safe for concurrent use.
type pace struct {
	least, first int           // sizes
	time         time.Duration // for one block

	mu   sync.Mutex
	rate float64 // guarded by mu; bytes a second, 0 while not known
}

// size is the next block's size, a power of two.
func (p *pace) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return p.first
	}
	size := p.least
	for size < BlockBytes && float64(2*size) <= p.rate*p.time.Seconds() {
		size *= 2
	}
	return size
}

// took says that a request with so many bytes was answered, one of beside that
// were under way. Short ones say more of the latency than of the rate: they
// count only where they say that it is higher.
func (p *pace) took(bytes, beside int, d time.Duration) {
	rate := float64(bytes*max(beside, 1)) / max(d.Seconds(), 1e-6)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case bytes < p.least && rate < max(p.rate, float64(p.first)/p.time.Seconds()):
	case p.rate == 0:
		p.rate = rate
	default:
		p.rate = (p.rate + rate) / 2
	}
}

// broke says that a request broke off after so many bytes. A try that was over
// at once says nothing about the link's rate.
func (p *pace) broke(bytes int, d time.Duration) {
	if d < p.time {
		return
	}
	rate := max(float64(bytes), 1) / d.Seconds()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 || rate < p.rate {
		p.rate = rate
	}
}
