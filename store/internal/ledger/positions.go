package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"kustospool/ingest"
)

// PutPositions enters positions of the log: all those of commits up to through
// that are not in the ledger yet, and maybe more, in the order of the commits.
// One never replaces a newer one, so that a repeat, or an older segment that
// comes late, does no harm; a nil Value removes. Errors: one that matches
// [ingest.ErrInvalid] for a position that is out of bounds, or for more than
// MaxPositions names.
func (tx *Tx) PutPositions(through uint64, list []Position) error {
	last := map[string]Position{}
	for _, p := range list {
		if err := p.check(); err != nil {
			return err
		}
		if old, ok := last[p.Name]; !ok || p.Commit >= old.Commit {
			last[p.Name] = p
		}
	}
	var wanted []*Position
	names := tx.names()
	for name, p := range last {
		old := tx.positions.get(name)
		switch {
		case old != nil && old.Commit >= p.Commit:
			continue
		case old == nil && p.Commit <= tx.state.Positions:
			continue // it was in the ledger, and was removed since
		}
		p.Value = cloneValue(p.Value)
		wanted = append(wanted, &p)
		if had := old != nil && old.Value != nil; had != (p.Value != nil) {
			names += map[bool]int{true: -1, false: 1}[had]
		}
	}
	if names > MaxPositions {
		return &ingest.FieldError{Field: "positions", Value: fmt.Sprintf("%d names", names), Rule: fmt.Sprintf("must have at most %d names", MaxPositions)}
	}
	slices.SortFunc(wanted, func(a, b *Position) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	for _, p := range wanted {
		tx.putPosition(p)
	}
	if through > tx.state.Positions {
		tx.change()
		tx.state.Positions = through
		tx.dropPositionTombstones()
	}
	return nil
}

func cloneValue(v []byte) []byte {
	if v == nil {
		return nil
	}
	return append([]byte{}, v...)
}

// names is how many positions there are.
func (tx *Tx) names() (n int) {
	for name := range tx.positions.base {
		if p := tx.positions.get(name); p != nil && p.Value != nil {
			n++
		}
	}
	for name, p := range tx.positions.over {
		if tx.positions.base[name] == nil && p != nil && p.Value != nil {
			n++
		}
	}
	return n
}

// putPosition stages a row. A removed position keeps one, as long as the log
// may bring what it was before.
func (tx *Tx) putPosition(p *Position) {
	if p.Value == nil && p.Commit <= tx.state.Positions {
		tx.positions.over[p.Name] = nil
		tx.del(bktPositions, []byte(p.Name))
		return
	}
	tx.positions.over[p.Name] = p
	tx.put(bktPositions, []byte(p.Name), encodePosition(p))
}

// dropPositionTombstones removes the rows of removed positions that nothing can bring back.
func (tx *Tx) dropPositionTombstones() {
	drop := func(name string) {
		if p := tx.positions.get(name); p != nil && p.Value == nil && p.Commit <= tx.state.Positions {
			tx.putPosition(p)
		}
	}
	for name := range tx.positions.base {
		drop(name)
	}
	for name := range tx.positions.over {
		drop(name)
	}
}

// Position reads a position. Its value is shared and must not be changed.
func (l *Ledger) Position(name string) (Position, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if p := l.mirror.positions[name]; p != nil && p.Value != nil {
		return *p, true
	}
	return Position{}, false
}

// Positions lists the positions by name.
func (l *Ledger) Positions() []Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.DeleteFunc(sorted(l.mirror.positions), func(p Position) bool { return p.Value == nil })
}

// quote shows a name in an error, whatever it holds.
func quote(s string) string {
	if len(s) > MaxPositionName {
		s = s[:MaxPositionName] + "..."
	}
	return strconv.Quote(s)
}
