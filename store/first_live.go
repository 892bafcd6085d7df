package store

import (
	"maps"
	"slices"

	"kustospool/store/internal/ledger"
)

// FirstLive lists up to n live batches, by lane and first record, and how many
// there are in all. It costs less than Live, which copies each of them.
func (s *Store) FirstLive(n int) (first []Entry, all int) {
	s.ledger.Look(func(v *ledger.View) {
		lanes := map[uint32][]*Entry{}
		v.Batches(func(lane uint32, live []*Entry) bool {
			lanes[lane] = live
			all += len(live)
			return true
		})
		for _, lane := range slices.Sorted(maps.Keys(lanes)) {
			for _, e := range lanes[lane] {
				if len(first) == n {
					return
				}
				first = append(first, *e)
			}
		}
	})
	return first, all
}

// FirstLive is as of [Store.FirstLive].
func (p *Picture) FirstLive(n int) (first []Entry, all int) { return p.s.FirstLive(n) }

// LiveOf lists the live batches of a lane, by first record.
func (s *Store) LiveOf(lane uint32) []Entry { return s.ledger.LiveOf(lane) }

// LiveOf is as of [Store.LiveOf].
func (p *Picture) LiveOf(lane uint32) []Entry { return p.s.LiveOf(lane) }
