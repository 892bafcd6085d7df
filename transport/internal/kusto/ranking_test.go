package kusto

import (
	"fmt"
	"testing"
	"time"
)

func TestRankingPrefersWorkingAccountsAndInterleaves(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := NewRanking(func() time.Time { return now })
	var all []Resource
	for a := range 3 {
		for c := range 2 {
			all = append(all, Resource{Account: fmt.Sprint("a", a), Host: fmt.Sprint("a", a, ".blob"), Path: fmt.Sprint("c", c)})
		}
	}
	for range 10 {
		r.Report("a0", false)
		r.Report("a1", true)
	}
	seenFirst := map[string]bool{}
	for range 100 {
		got := r.Order(all)
		if len(got) != len(all) {
			t.Fatalf("%d of %d", len(got), len(all))
		}
		if got[2].Account != "a0" || got[5].Account != "a0" {
			t.Fatalf("the failing account is not last of its round: %v", got)
		}
		if got[0].Account == got[1].Account {
			t.Fatalf("not interleaved: %v", got)
		}
		seenFirst[got[0].Account] = true
	}
	if !seenFirst["a1"] || !seenFirst["a2"] {
		t.Error("equal accounts are not shuffled")
	}
	now = now.Add(time.Minute) // what is a minute old is forgotten
	first := map[string]bool{}
	for range 200 {
		first[r.Order(all)[0].Account] = true
	}
	if !first["a0"] {
		t.Error("an account never comes back")
	}
	if len(r.Order(nil)) != 0 {
		t.Error("order of nothing")
	}
}

func TestRankWeighsNewerBucketsMore(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := NewRanking(func() time.Time { return now })
	r.Report("old", false)
	r.Report("new", true)
	now = now.Add(40 * time.Second)
	r.Report("old", true)
	r.Report("new", false)
	if r.rankLocked("old") != 6.0/8 || r.rankLocked("new") != 2.0/8 {
		t.Errorf("ranks %v and %v", r.rankLocked("old"), r.rankLocked("new"))
	}
}
