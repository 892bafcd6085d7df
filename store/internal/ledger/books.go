package ledger

import (
	"encoding/binary"
	"fmt"
	"math"

	"kustospool/ingest"
)

// loader makes the mirror of rows as a walk over the file finds them. Any row
// that cannot be read, or that contradicts another, is damage of the whole
// ledger: rows that cannot be trusted would lose records, and the log can tell
// them again.
type loader struct {
	m           *mirror
	counts      census // what was found
	head, state bool   // whether these two rows were
}

func newLoader() *loader {
	m := newMirror()
	return &loader{m: &m}
}

// row takes one row of a mirrored bucket. Buckets come in their order, so that
// lanes are known before what refers to them.
func (ld *loader) row(b bucket, key, value []byte) error {
	body, err := openRow(b, key, value)
	if err != nil {
		return err
	}
	if b != bktMeta {
		ld.counts.add(b, value)
	}
	m := ld.m
	switch b {
	case bktMeta:
		return ld.meta(key, body)
	case bktLanes:
		l, err := decodeLane(key, body)
		if err != nil {
			return err
		}
		if _, twice := m.byKey[l.Key]; twice {
			return fmt.Errorf("two lanes with the properties of lane %d", l.No)
		}
		m.lanes[l.No], m.byKey[l.Key] = l, l.No
	case bktWatermarks:
		l := m.lanes[binary.BigEndian.Uint32(key)]
		if l == nil {
			return fmt.Errorf("marks of an unknown lane")
		}
		l.Watermarks, err = decodeWatermarks(body)
		return err
	case bktSegments:
		s, err := decodeSegment(key, body)
		if err != nil {
			return err
		}
		for lane := range s.Lanes {
			if m.lanes[lane] == nil {
				return fmt.Errorf("segment %d has records of an unknown lane", s.No)
			}
		}
		m.segments[s.No] = s
	case bktTombstones:
		t, err := decodeTombstone(key, body)
		if err != nil {
			return err
		}
		if m.segments[t.No] != nil {
			return fmt.Errorf("segment %d is settled and is not", t.No)
		}
		m.tombs[t.No] = &t
	case bktBatches:
		return ld.batch(key, value)
	case bktObjects:
		o, err := decodeObject(key, body)
		if err != nil {
			return err
		}
		if m.lanes[o.Lane] == nil {
			return fmt.Errorf("object of an unknown lane")
		}
		m.objects[o.ID] = o
	case bktPositions:
		p, err := decodePosition(key, body)
		if err != nil {
			return err
		}
		m.positions[p.Name] = p
	}
	return nil
}

func (ld *loader) meta(key, body []byte) error {
	switch string(key) {
	case string(keyHead):
		h, err := decodeHead(body)
		if err != nil {
			return err
		}
		if h.Version != FormatVersion {
			return &VersionError{Version: h.Version, Known: FormatVersion}
		}
		ld.m.spool, ld.head = h.Spool, true
		return nil
	case string(keyState):
		s, err := decodeState(body)
		if err != nil {
			return err
		}
		ld.m.state, ld.state = *s, true
		return nil
	}
	return errRowForm
}

func (ld *loader) batch(key, value []byte) error {
	m := ld.m
	e, err := entryOf(bktBatches, m.spool, key, value, func(no uint32) (Lane, bool) {
		if l := m.lanes[no]; l != nil {
			return *l, true
		}
		return Lane{}, false
	})
	if err != nil {
		return err
	}
	if e.State.Final() || e.State == ingest.Open {
		return fmt.Errorf("a batch of state %s among the live ones", e.State)
	}
	m.entries[e.Batch.ID] = e
	m.insert(e) // rows ascend, so it goes to the end
	return nil
}

// check finds what whole rows cannot tell: whether all of them are there, and
// the law of the counters: what is in batches, was settled, or is open adds up.
func (ld *loader) check() error {
	m := ld.m
	if !ld.head || !ld.state {
		return fmt.Errorf("%w: no head or no state", ErrDamaged)
	}
	for b := bktMeta + 1; b < firstRest; b++ {
		if ld.counts[b] != m.state.census[b] {
			return fmt.Errorf("%w: %s has %d rows and should have %d others", ErrDamaged, b, ld.counts[b].Rows, m.state.census[b].Rows)
		}
	}
	return m.balance()
}

func (m *mirror) balance() error {
	var sealed int64
	for _, l := range m.lanes {
		if l.No > m.state.Lanes {
			return fmt.Errorf("%w: lane %d of %d", ErrDamaged, l.No, m.state.Lanes)
		}
		if err := l.Watermarks.check(); err != nil {
			return fmt.Errorf("%w: marks of lane %d: %v", ErrDamaged, l.No, err)
		}
		sealed += l.Watermarks.Acked(l.Watermarks.Sealed)
		var before uint64
		for _, e := range m.live[l.No] {
			b := &e.Batch
			if b.Last > l.Watermarks.Sealed || b.First <= before || b.First <= l.Watermarks.Base {
				return fmt.Errorf("%w: batch %s lies beyond what is sealed, or overlaps its neighbour", ErrDamaged, b.ID)
			}
			if l.Watermarks.Records(Span{b.First, b.Last}) != b.Records() {
				return fmt.Errorf("%w: batch %s has numbers that are no records", ErrDamaged, b.ID)
			}
			before = b.Last
			sealed -= b.Records()
		}
	}
	c := &m.state.counters
	var settled int64
	for _, n := range []int64{c.Ingested, c.Skipped, c.HandedOver, c.DeadLettered, c.Dropped} {
		if n < 0 || n > math.MaxInt64-settled {
			return fmt.Errorf("%w: counters out of range", ErrDamaged)
		}
		settled += n
	}
	if sealed != settled {
		return fmt.Errorf("%w: the books do not balance: %d records settled, %d counted", ErrDamaged, sealed, settled)
	}
	return nil
}
