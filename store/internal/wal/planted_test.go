package wal

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// plants are defects of the log that the histories must notice. What only
// damage shows is planted in TestDamageNotices.
var plants = []struct {
	name string
	bugs bugs
	two  bool
}{
	{name: "commits are not synced", bugs: bugs{skipSync: true}},
	{name: "heads are not synced", bugs: bugs{skipHeadSync: true}},
	{name: "names are not synced", bugs: bugs{skipDirSync: true}},
	{name: "acknowledged before the sync", bugs: bugs{ackBeforeSync: true}},
	{name: "two groups are in flight", two: true},
	{name: "torn commits are taken", bugs: bugs{acceptTorn: true}},
	{name: "sums of commits are not compared", bugs: bugs{ignoreSum: true}},
	{name: "an index is trusted blindly", bugs: bugs{trustIndex: true}},
	{name: "the last commit is cut off", bugs: bugs{cutTooFar: true}},
	{name: "not written again after a kill", bugs: bugs{noRewrite: true}},
	{name: "a stale commit of a recycled file is taken", bugs: bugs{sameGeneration: true, ignoreGeneration: true, ignoreNumber: true, ignoreChain: true}},
	{name: "numbers are not taken back", bugs: bugs{keepStaged: true}},
	{name: "keys under way are forgotten", bugs: bugs{forgetDuplicate: true}},
	{name: "settled segments are not renamed", bugs: bugs{keepSettled: true}},
}

// TestPlantedBugs sees that the histories notice what they are there for,
// within as many as TestHistories runs.
func TestPlantedBugs(t *testing.T) {
	const limit = defaultHistories
	rows := make([]string, len(plants))
	var mu sync.Mutex
	t.Run("plants", func(t *testing.T) {
		for i, p := range plants {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				for seed := uint64(1); seed <= limit; seed++ {
					h := newHistory(seed, p.bugs)
					h.two = p.two
					if err := h.live(); err != nil {
						what, _, _ := strings.Cut(err.Error(), "\n")
						mu.Lock()
						defer mu.Unlock()
						rows[i] = fmt.Sprintf("| %s | %d | %.90s |", p.name, seed, what)
						return
					}
				}
				t.Errorf("%d histories did not notice it", limit)
			})
		}
	})
	t.Logf("planted bugs, and the history that noticed each:\n| bug | history | what was wrong |\n|---|---|---|\n%s", strings.Join(rows, "\n"))
}
