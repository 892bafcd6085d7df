package kusto

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// The ranking of storage accounts is the one all official clients share
// (protocol reference section 3.3): six buckets of ten seconds each, newer
// ones weigh more; no data counts as perfect.
const (
	rankBuckets   = 6
	rankBucketAge = 10 * time.Second
)

// rankTiers are the ratios that part good accounts from bad ones. Accounts of
// one tier are shuffled, so that load spreads.
var rankTiers = [...]float64{0.9, 0.7, 0.3, 0}

// Ranking remembers how well each storage account worked lately. It is safe
// for concurrent use. Its size is the number of accounts the service named.
type Ranking struct {
	now func() time.Time

	mu sync.Mutex
	// mu guards the following.
	accounts map[string]*[rankBuckets]rankBucket
}

type rankBucket struct {
	slot     int64 // number of the ten seconds it counts
	ok, seen int64
}

// NewRanking returns an empty ranking. now is the clock; nil means [time.Now].
func NewRanking(now func() time.Time) *Ranking {
	if now == nil {
		now = time.Now
	}
	return &Ranking{now: now, accounts: map[string]*[rankBuckets]rankBucket{}}
}

// Report counts one use of an account.
func (r *Ranking) Report(account string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.accounts[account]
	if a == nil {
		a = new([rankBuckets]rankBucket)
		r.accounts[account] = a
	}
	slot := r.slot()
	b := &a[slot%rankBuckets]
	if b.slot != slot {
		*b = rankBucket{slot: slot}
	}
	b.seen++
	if ok {
		b.ok++
	}
}

func (r *Ranking) slot() int64 { return max(0, r.now().UnixNano()/int64(rankBucketAge)) }

// rankLocked is the weighted success ratio of an account, 0 to 1.
func (r *Ranking) rankLocked(account string) float64 {
	a := r.accounts[account]
	if a == nil {
		return 1
	}
	var sum, weights float64
	slot := r.slot()
	for _, b := range a {
		age := slot - b.slot
		if b.seen == 0 || age < 0 || age >= rankBuckets {
			continue
		}
		w := float64(rankBuckets - age)
		sum += w * float64(b.ok) / float64(b.seen)
		weights += w
	}
	if weights == 0 {
		return 1
	}
	return sum / weights
}

// Order sorts resources for use: accounts by tier, shuffled within a tier, and
// then the first resource of each account before the second of any, so that a
// few tries reach different accounts.
func (r *Ranking) Order(resources []Resource) []Resource {
	byAccount := map[string][]Resource{}
	var names []string
	for _, res := range resources {
		if _, known := byAccount[res.Account]; !known {
			names = append(names, res.Account)
		}
		byAccount[res.Account] = append(byAccount[res.Account], res)
	}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	tier := map[string]int{}
	r.mu.Lock()
	for _, n := range names {
		rank := r.rankLocked(n)
		tier[n] = slices.IndexFunc(rankTiers[:], func(t float64) bool { return rank >= t })
	}
	r.mu.Unlock()
	slices.SortStableFunc(names, func(a, b string) int { return tier[a] - tier[b] })

	out := make([]Resource, 0, len(resources))
	for _, n := range names {
		list := byAccount[n]
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	for round := 0; len(out) < len(resources); round++ {
		for _, n := range names {
			if round < len(byAccount[n]) {
				out = append(out, byAccount[n][round])
			}
		}
	}
	return out
}
