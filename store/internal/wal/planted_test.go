package wal

import "testing"

// TestPlantedBugs sees that the histories notice what they are there for.
func TestPlantedBugs(t *testing.T) {
	// What only damage shows is planted in TestDamageNotices.
	for name, b := range map[string]bugs{
		"commits are not synced":           {skipSync: true},
		"heads are not synced":             {skipHeadSync: true},
		"names are not synced":             {skipDirSync: true},
		"acknowledged before the sync":     {ackBeforeSync: true},
		"torn commits are taken":           {acceptTorn: true},
		"sums of commits are not compared": {ignoreSum: true},
		"the last commit is cut off":       {cutTooFar: true},
		"not written again after a kill":   {noRewrite: true},
		"recycled without a generation":    {sameGeneration: true, ignoreGeneration: true, ignoreNumber: true, ignoreChain: true},
		"numbers are not taken back":       {keepStaged: true},
		"keys under way are forgotten":     {forgetDuplicate: true},
		"settled segments are not renamed": {keepSettled: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit = 1500
			for seed := uint64(1); seed <= limit; seed++ {
				if err := runHistory(seed, b); err != nil {
					t.Logf("found by history %d", seed)
					return
				}
			}
			t.Errorf("%d histories did not notice it", limit)
		})
	}
}
