package batching_test

import (
	"fmt"
	"time"

	"kustospool/batching"
)

// Frames join until a limit is near; what is left leaves when it is old enough.
func Example() {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a := batching.NewAggregator(func(lane uint32) batching.Policy {
		return batching.Policy{MaxBytes: 4096, MaxAge: 30 * time.Second}
	}, nil)

	show := func(why string, sealed []batching.Span) {
		for _, s := range sealed {
			fmt.Printf("%s: lane %d, records %d-%d, %d bytes\n", why, s.Lane, s.First, s.Last, s.Bytes)
		}
	}
	show("full", a.Add(batching.Span{Lane: 1, First: 1, Last: 10, Bytes: 3000, Oldest: start}))
	show("full", a.Add(batching.Span{Lane: 1, First: 11, Last: 15, Bytes: 1500, Oldest: start.Add(5 * time.Second)}))

	next, _ := a.NextAfter(start)
	fmt.Println("next deadline after", next.Sub(start))
	show("old", a.Due(next, nil))
	// Output:
	// full: lane 1, records 1-10, 3000 bytes
	// next deadline after 35s
	// old: lane 1, records 11-15, 1500 bytes
}
