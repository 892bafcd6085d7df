package batching

import (
	"cmp"
	"time"
)

// Span is a contiguous range of one lane: a frame when it goes in, the
// members of a batch when it comes out.
type Span struct {
	Lane uint32
	// First and Last are the sequence numbers of the first and last record,
	// both included.
	First, Last uint64
	// Bytes is the raw payload, as it counts against [Policy.MaxBytes].
	Bytes int64
	// Oldest is when the oldest record was accepted. In a frame it must not
	// be in the future: a caller whose clock was set back caps it at now, or
	// the span would wait for the clock to catch up.
	Oldest time.Time
}

// Records is the number of records of the span; 0 when First is after Last.
func (s Span) Records() int64 {
	if s.First > s.Last {
		return 0
	}
	return int64(s.Last - s.First + 1)
}

// byAge orders spans by the age of their oldest record, and by lane where
// that is equal, so that decisions do not depend on the order of a map.
func byAge(a, b Span) int {
	if c := a.Oldest.Compare(b.Oldest); c != 0 {
		return c
	}
	return cmp.Compare(a.Lane, b.Lane)
}
