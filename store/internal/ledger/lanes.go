package ledger

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"kustospool/ingest"
)

// AddLane gives the lane of p, which it makes if there is none. Properties
// with equal keys have one lane for the life of the spool. Errors: one that
// matches [ingest.ErrInvalid] for invalid properties.
func (tx *Tx) AddLane(p *ingest.Properties) (Lane, error) {
	if err := p.Validate(); err != nil {
		return Lane{}, err
	}
	key := p.Key()
	if no, ok := tx.laneNo(key); ok {
		return *tx.lanes.get(no), nil
	}
	if tx.state.Lanes == math.MaxUint32 {
		return Lane{}, fmt.Errorf("%w: no lane number is left", ErrConflict)
	}
	return tx.newLane(tx.state.Lanes+1, key)
}

// RestoreLane makes a lane that the log knows and the ledger does not, under
// its own number. ErrConflict when number or key belong to another lane.
func (tx *Tx) RestoreLane(no uint32, key string) (Lane, error) {
	if l := tx.lanes.get(no); l != nil {
		if l.Key != key {
			return Lane{}, fmt.Errorf("%w: lane %d has other properties", ErrConflict, no)
		}
		return *l, nil
	}
	if other, ok := tx.laneNo(key); ok {
		return Lane{}, fmt.Errorf("%w: the properties of lane %d are those of lane %d", ErrConflict, no, other)
	}
	return tx.newLane(no, key)
}

func (tx *Tx) laneNo(key string) (uint32, bool) {
	if no, ok := tx.byKey[key]; ok {
		return no, true
	}
	no, ok := tx.l.mirror.byKey[key]
	return no, ok
}

func (tx *Tx) newLane(no uint32, key string) (Lane, error) {
	l, err := newLane(no, key)
	if err != nil {
		return Lane{}, fmt.Errorf("lane %d: %w", no, err)
	}
	tx.lanes.over[no], tx.byKey[key] = l, no
	tx.state.Lanes = max(tx.state.Lanes, no)
	tx.put(bktLanes, u32(no), encodeLane(key))
	tx.put(bktWatermarks, u32(no), encodeWatermarks(&l.Watermarks))
	return *l, nil
}

// Lane is a lane as this transaction would leave it.
func (tx *Tx) Lane(no uint32) (Lane, bool) {
	if l := tx.lanes.get(no); l != nil {
		return *l, true
	}
	return Lane{}, false
}

func (tx *Tx) setWatermarks(no uint32, m Watermarks) {
	l := *tx.lanes.get(no)
	l.Watermarks = m
	tx.lanes.over[no] = &l
	tx.put(bktWatermarks, u32(no), encodeWatermarks(&m))
}

// raise brings a lane's floor up to what the log says.
func (m *Watermarks) raise(high uint64, bytes int64) {
	if high > m.High {
		m.High, m.Bytes = high, max(bytes, m.Bytes)
	}
}

// Advance raises a lane's floor; one that is not above the ledger's is no
// change. ErrNotFound for an unknown lane.
func (tx *Tx) Advance(lane uint32, high uint64, bytes int64) error {
	l := tx.lanes.get(lane)
	if l == nil {
		return noLane(lane)
	}
	if high > maxSeq {
		return &ingest.FieldError{Field: "high", Value: fmt.Sprint(high), Rule: "must be below 2^62"}
	}
	if m := l.Watermarks; high > m.High {
		m.raise(high, bytes)
		tx.setWatermarks(lane, m)
	}
	return nil
}

// Jump makes the next n numbers behind the lane's floor numbers without
// records, or lengthens the gap that begins there, and gives the number that
// comes next.
func (tx *Tx) Jump(lane uint32, n uint64) (next uint64, err error) {
	l := tx.lanes.get(lane)
	if l == nil {
		return 0, noLane(lane)
	}
	m := l.Watermarks
	m.Gaps = slices.Clone(m.Gaps)
	i := slices.IndexFunc(m.Gaps, func(g Span) bool { return g.First <= m.High+1 && m.High+1 <= g.Last })
	if i < 0 {
		i = len(m.Gaps)
		m.Gaps = append(m.Gaps, Span{m.High + 1, m.High})
	}
	if n == 0 || m.Gaps[i].Last > maxSeq || n > maxSeq-m.Gaps[i].Last {
		return 0, &ingest.FieldError{Field: "jump", Value: fmt.Sprint(n), Rule: "must lead to a number below 2^62"}
	}
	m.Gaps[i].Last += n
	tx.setWatermarks(lane, m)
	return m.Gaps[i].Last + 1, nil
}

func noLane(no uint32) error { return fmt.Errorf("%w: no lane %d", ErrNotFound, no) }

// Lane gives a lane by its number.
func (l *Ledger) Lane(no uint32) (Lane, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if lane := l.mirror.lanes[no]; lane != nil {
		return *lane, true
	}
	return Lane{}, false
}

// Lanes lists all lanes by number.
func (l *Ledger) Lanes() []Lane {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return sorted(l.mirror.lanes)
}

// sorted lists a map's values by key.
func sorted[K interface {
	~uint32 | ~uint64 | ~string
}, V any](rows map[K]*V) []V {
	out := make([]V, 0, len(rows))
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, *rows[k])
	}
	return out
}
