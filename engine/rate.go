package engine

import (
	"math"
	"time"

	"kustospool/engine/internal/lock"
	"kustospool/ingest"
	"kustospool/store"
)

// Rate is how fast something went over the last ten minutes, or since Open
// where that is less.
type Rate struct {
	Records float64 // a second
	Bytes   float64 // of payload, a second
}

// timeFor is how long a backlog takes; false where the rate is 0 and it is not.
func (r Rate) timeFor(b Backlog) (time.Duration, bool) {
	switch {
	case b.Records == 0:
		return 0, true
	case r.Records <= 0:
		return 0, false
	}
	// More than a century is said as that.
	seconds := min(float64(b.Records)/r.Records, 100*365*24*3600)
	return time.Duration(math.Ceil(seconds)) * time.Second, true
}

const (
	rateSlots = 10
	rateSlot  = time.Minute
)

// rates remembers how much was settled in each of the last minutes, of the
// spool and of each lane. The store feeds it.
type rates struct {
	begun time.Time // immutable

	mu    lock.Mutex // guards what is below; taken last
	all   slots
	lanes map[uint32]*slots
}

// slots are the amounts of the last minutes, each in the place of its number.
type slots [rateSlots]slot

type slot struct {
	no             int64 // of the minute, since begun
	records, bytes int64
}

func newRates() *rates {
	return &rates{begun: time.Now(), mu: lock.Mutex{Name: "rates"}, lanes: make(map[uint32]*slots)}
}

// settled counts a batch that reached a final state.
func (r *rates) settled(e store.Entry) {
	if e.State == ingest.Split {
		return
	}
	no := int64(time.Since(r.begun) / rateSlot)
	r.mu.Lock()
	defer r.mu.Unlock()
	lane := r.lanes[e.Batch.Lane]
	if lane == nil {
		lane = new(slots)
		r.lanes[e.Batch.Lane] = lane
	}
	for _, s := range []*slots{&r.all, lane} {
		at := &s[no%rateSlots]
		if at.no != no {
			*at = slot{no: no}
		}
		at.records += e.Batch.Records()
		at.bytes += e.Batch.RawBytes
	}
}

// fill sets the rates of a snapshot.
func (r *rates) fill(st *Stats) {
	since := time.Since(r.begun)
	r.mu.Lock()
	defer r.mu.Unlock()
	st.Rate = r.all.rate(since)
	for i := range st.Lanes {
		if s := r.lanes[st.Lanes[i].Lane]; s != nil {
			st.Lanes[i].Rate = s.rate(since)
		}
	}
}

// rate is the mean over the minutes that are remembered, the one that runs
// included. A process of less than a second has had a second.
func (s *slots) rate(since time.Duration) Rate {
	now := int64(since / rateSlot)
	first := max(0, now-rateSlots+1)
	var records, bytes int64
	for i := range s {
		if s[i].no >= first {
			records += s[i].records
			bytes += s[i].bytes
		}
	}
	seconds := max(since-time.Duration(first)*rateSlot, time.Second).Seconds()
	return Rate{Records: float64(records) / seconds, Bytes: float64(bytes) / seconds}
}
