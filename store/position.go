package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"kustospool/ingest"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// freshPositions are the positions of durable commits that the ledger does
// not have yet; nil stands for one that was removed. There are few: the
// number of names is bounded.
type freshPositions struct {
	mu      sync.Mutex // guards all below
	byName  map[string]ledger.Position
	through uint64         // the last commit that had any
	pending map[string]int // names that calls under way carry, and by how many

	last atomic.Uint64 // the last commit of all
	// restated is the commit up to which a later one says what positions there are.
	// It is the maintenance's.
	restated uint64
}

func (p *freshPositions) add(commit uint64, list []wal.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byName == nil {
		p.byName = map[string]ledger.Position{}
	}
	for _, pos := range list {
		if pos.Name == "" || pos.Commit > 0 && pos.Commit < commit {
			continue // it is there already, and was written once more
		}
		p.byName[pos.Name] = ledger.Position{Name: pos.Name, Value: slices.Clone(pos.Value), Commit: commit}
	}
	p.through = commit
}

func (p *freshPositions) find(name string) (ledger.Position, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pos, ok := p.byName[name]
	return pos, ok
}

// all gives a copy of what the ledger does not have.
func (p *freshPositions) all() (through uint64, list []ledger.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.byName)) {
		list = append(list, p.byName[name])
	}
	return p.through, list
}

// moved forgets what the ledger has now.
func (p *freshPositions) moved(list []ledger.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pos := range list {
		if p.byName[pos.Name].Commit == pos.Commit {
			delete(p.byName, pos.Name)
		}
	}
}

// Position gives a source's position, as the last call that carried one stored
// it, in this process or an earlier one. It is false for a name that has none.
func (s *Store) Position(name string) (Position, bool) {
	pos, ok := s.positions.find(name)
	if !ok {
		if pos, ok = s.ledger.Position(name); !ok {
			// It may just have been moved from the one place to the other.
			if pos, ok = s.positions.find(name); !ok {
				return Position{}, false
			}
		}
	}
	return Position{Name: pos.Name, Value: slices.Clone(pos.Value)}, pos.Value != nil
}

// Positions lists the positions of sources by name.
func (s *Store) Positions() []Position {
	var out []Position
	for _, pos := range s.allPositions() {
		if strings.HasPrefix(pos.Name, deadMark) {
			continue
		}
		out = append(out, Position{Name: pos.Name, Value: slices.Clone(pos.Value)})
	}
	return out
}

// allPositions lists them by name, with their commits.
func (s *Store) allPositions() (out []ledger.Position) {
	known := map[string]ledger.Position{}
	// In this order: one that is moved meanwhile is seen in either place.
	_, fresh := s.positions.all()
	for _, pos := range s.ledger.Positions() {
		known[pos.Name] = pos
	}
	for _, pos := range fresh {
		if pos.Commit >= known[pos.Name].Commit {
			known[pos.Name] = pos
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if pos := known[name]; pos.Value != nil {
			out = append(out, pos)
		}
	}
	return out
}

// restatePositions has the log say once more what positions there are, before it
// loses those in segments that go. The ledger has them all, but it may be lost
// itself, and then older ones must not count. A volume without room
// for them is no reason to keep the segments.
func (s *Store) restatePositions(going []*segment) error {
	var last uint64
	for _, seg := range going {
		last = max(last, seg.info.LastCommit)
	}
	p := &s.positions
	through := p.last.Load() // before they are listed
	all := s.allPositions()
	if ever, _ := p.all(); last <= p.restated || ever == 0 && s.ledger.State().Positions == 0 {
		return nil
	}
	list := make([]wal.Position, 0, len(all))
	for _, pos := range all {
		list = append(list, wal.Position{Name: pos.Name, Value: pos.Value, Commit: pos.Commit})
	}
	for {
		err := s.wal.RestatePositions(background, through, list)
		switch {
		case err == nil:
			p.restated = through
			return nil
		case !errors.Is(err, wal.ErrNoSpace):
			return s.translate(err)
		case !s.makeRoom():
			s.complain("positions are in the ledger alone", err)
			return nil
		}
	}
}

// RemovePosition removes a position, durably. ErrNotFound when there is none;
// the other errors are those of Append.
func (s *Store) RemovePosition(ctx context.Context, name string) error {
	if _, ok := s.Position(name); !ok {
		return fmt.Errorf("%w: position %q", ErrNotFound, name)
	}
	if err := s.Err(); err != nil {
		return err
	}
	return s.translate(s.wal.Append(ctx, nil, []wal.Position{{Name: name}}, nil))
}

// positions enters those that the ledger does not have. It may be an older one:
// then it has some that are gone.
func (r *recovery) positions() {
	s := r.s
	st := s.ledger.State()
	there := map[string]bool{}
	for _, pos := range r.log.Positions {
		there[pos.Name] = true
	}
	for _, pos := range s.ledger.Positions() {
		if pos.Commit <= r.log.RestatedThrough && !there[pos.Name] {
			s.positions.add(r.log.RestatedThrough, []wal.Position{{Name: pos.Name}})
		}
	}
	for _, pos := range r.log.Positions {
		if pos.Commit > st.Positions {
			s.positions.add(pos.Commit, []wal.Position{pos})
		}
	}
	last := st.Active.LastCommit
	for _, seg := range s.segments {
		last = max(last, seg.info.LastCommit)
	}
	s.positions.last.Store(last)
}

// carry checks positions and counts their names in, so that calls at the same
// time do not exceed the bound together. The caller calls drop at its end.
func (s *Store) carry(positions []Position) (list []wal.Position, drop func(), err error) {
	bad := func(value, rule string) error {
		return &ingest.FieldError{Field: "position", Value: value, Rule: rule}
	}
	for i, pos := range positions {
		switch {
		case len(pos.Name) == 0 || len(pos.Name) > MaxPositionName || !utf8.ValidString(pos.Name):
			return nil, nil, bad(fmt.Sprintf("named %.40q", pos.Name), fmt.Sprintf("must have a name of 1 to %d bytes of UTF-8", MaxPositionName))
		case pos.Value == nil || len(pos.Value) > MaxPositionBytes:
			return nil, nil, bad(fmt.Sprintf("%q of %d bytes", pos.Name, len(pos.Value)), fmt.Sprintf("must have a value of at most %d bytes", MaxPositionBytes))
		case slices.ContainsFunc(positions[:i], func(p Position) bool { return p.Name == pos.Name }):
			return nil, nil, bad(fmt.Sprintf("%q", pos.Name), "must not be there twice")
		}
		list = append(list, wal.Position{Name: strings.Clone(pos.Name), Value: pos.Value})
	}
	known := map[string]bool{}
	for _, pos := range s.allPositions() {
		known[pos.Name] = true
	}
	p := &s.positions
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == nil {
		p.pending = map[string]int{}
	}
	for name := range p.pending {
		known[name] = true
	}
	for _, pos := range list {
		if known[pos.Name] = true; len(known) > MaxPositions {
			return nil, nil, bad(fmt.Sprintf("%q", pos.Name), fmt.Sprintf("must be one of at most %d", MaxPositions))
		}
	}
	for _, pos := range list {
		p.pending[pos.Name]++
	}
	return list, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, pos := range list {
			if p.pending[pos.Name]--; p.pending[pos.Name] == 0 {
				delete(p.pending, pos.Name)
			}
		}
	}, nil
}
