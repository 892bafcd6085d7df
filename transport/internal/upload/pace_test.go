package upload

import (
	"testing"
	"time"
)

func newPace() *pace { return &pace{least: minBlock, first: firstBlock, time: blockTime} }

// On a link of any rate a block comes to take seconds, within the bounds.
func TestPaceFollowsTheLink(t *testing.T) {
	for _, tc := range []struct {
		rate, latency float64 // bytes a second; seconds
		least, most   int
	}{
		{500, 0, minBlock, minBlock},
		{32 << 10, 0, 64 << 10, 64 << 10},
		{32 << 10, 0.7, 64 << 10, 64 << 10},
		{150_000, 0.1, 128 << 10, 256 << 10},
		{1 << 20, 0.6, 512 << 10, 2 << 20}, // a satellite
		{100 << 20, 0.001, BlockBytes, BlockBytes},
	} {
		p := newPace()
		if got := p.size(); got != firstBlock {
			t.Fatalf("a link that is not known begins with %d", got)
		}
		for range 20 {
			size := p.size()
			p.took(size, 1, time.Duration((float64(size)/tc.rate+tc.latency)*float64(time.Second)))
		}
		if got := p.size(); got < tc.least || got > tc.most {
			t.Errorf("at %.0f bytes/s and %.1f s: %d, want %d to %d", tc.rate, tc.latency, got, tc.least, tc.most)
		}
	}
}

func TestPaceAfterABreak(t *testing.T) {
	p := newPace()
	p.took(BlockBytes, 1, 100*time.Millisecond)
	if p.size() != BlockBytes {
		t.Fatal(p.size())
	}
	p.broke(0, time.Millisecond) // refused at once: the rate is as it was
	if p.size() != BlockBytes {
		t.Error("a refused connection made blocks smaller")
	}
	p.broke(600<<10, 20*time.Second) // 30 KiB/s, and then nothing
	if p.size() != minBlock {
		t.Errorf("%d after a break at 30 KiB/s", p.size())
	}
	for range 6 { // it comes back
		p.took(p.size(), 1, time.Duration(float64(p.size())/float64(4<<20)*float64(time.Second)))
	}
	if p.size() != BlockBytes {
		t.Errorf("%d when the link is back", p.size())
	}
	p = newPace()
	p.took(900, 1, 200*time.Millisecond) // latency, no rate
	if p.size() != firstBlock {
		t.Errorf("%d after a small request", p.size())
	}
	p.took(300, 2, time.Nanosecond)
	p.took(0, 0, 0)
}

// The first size, and each that follows from it, is at least the smallest block:
// with none a payload is cut into blocks without end.
func TestFirstBlock(t *testing.T) {
	for smallest, want := range map[int]int{0: firstBlock, 1 << 10: 2 << 10, minBlock: firstBlock, BlockBytes: BlockBytes} {
		u := New(nil, nil, Options{MinBlock: smallest})
		if got := u.pace.size(); got != want {
			t.Errorf("MinBlock %d: the first block has %d bytes, want %d", smallest, got, want)
		}
	}
}
