package ledger

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"

	"kustospool/ingest"
)

// head is the row by which a ledger is known.
type head struct {
	Spool   ingest.SpoolID
	Version uint32
}

func encodeHead(h head) []byte {
	return append(appendNumbers([]byte{rowVersion}, uint64(h.Version)), h.Spool[:]...)
}

func decodeHead(body []byte) (h head, err error) {
	d := readRow(body)
	h.Version = d.u32()
	if h.Version != FormatVersion {
		return h, d.err // what follows may be anything
	}
	if len(d.rest) != len(h.Spool) {
		return h, errRowForm
	}
	h.Spool = ingest.SpoolID(d.rest)
	return h, d.err
}

// state is the row that every transaction changes.
type state struct {
	State
	counters Counters
	census   census // of all buckets but bktMeta
	// txid is the transaction that wrote the row, which is the file's last: a
	// root page of an older one, left by a write that the disk lost, has a state
	// that fits its rows and not the meta page.
	txid uint64
}

func (c *Counters) fields() []*int64 {
	return []*int64{
		&c.Ingested, &c.Skipped, &c.HandedOver, &c.DeadLettered, &c.Dropped, &c.BatchesIngested, &c.BatchesSkipped, &c.BatchesHandedOver,
		&c.BatchesSplit, &c.BatchesDeadLettered, &c.BatchesDropped, &c.RawBytes, &c.WireBytes, &c.PossibleDuplicates, &c.Damaged, &c.Suspect,
	}
}

func encodeState(s *state) []byte {
	p := append(make([]byte, 0, 256), rowVersion)
	p = appendBool(p, s.Clean)
	p = appendNumbers(p, s.Epoch, s.HighestNo, s.Active.No, s.Active.Generation, uint64(s.Active.End), s.Active.LastCommit, uint64(s.Active.Chain),
		uint64(s.Lanes), s.Positions, uint64(s.History))
	for _, n := range s.counters.fields() {
		p = appendNumbers(p, uint64(*n))
	}
	for b := bktMeta + 1; b < bucketCount; b++ {
		p = appendNumbers(p, s.census[b].Rows, s.census[b].Sum)
	}
	return appendNumbers(p, s.txid)
}

func decodeState(body []byte) (*state, error) {
	d := readRow(body)
	s := &state{}
	s.Clean = d.bool()
	s.Epoch, s.HighestNo = d.u64(), d.number(maxSegmentNo)
	s.Active = Active{No: d.number(maxSegmentNo), Generation: d.u64(), End: d.i64(), LastCommit: d.number(maxCommitNo), Chain: d.u32()}
	s.Lanes, s.Positions, s.History = d.u32(), d.number(maxCommitNo), d.i64()
	for _, n := range s.counters.fields() {
		*n = int64(d.number(maxCount))
	}
	for b := bktMeta + 1; b < bucketCount; b++ {
		s.census[b].Rows, s.census[b].Sum = d.u64(), d.u64()
	}
	s.txid = d.u64()
	return s, d.end()
}

func encodeLane(key string) []byte { return append([]byte{rowVersion}, key...) }

func decodeLane(key, body []byte) (*Lane, error) {
	if len(key) != keyLen[bktLanes] || len(body) == 0 || len(body) > 1+maxLaneKey || body[0] != rowVersion {
		return nil, errRowForm
	}
	return newLane(binary.BigEndian.Uint32(key), string(body[1:]))
}

// newLane makes a lane of its key, which is the text of its properties.
func newLane(no uint32, key string) (*Lane, error) {
	l := &Lane{No: no, Key: key}
	if no == 0 {
		return nil, errRowForm
	}
	if err := json.Unmarshal([]byte(key), &l.Properties); err != nil {
		return nil, err
	}
	return l, nil
}

func encodeWatermarks(m *Watermarks) []byte {
	p := appendNumbers([]byte{rowVersion}, m.Base, uint64(m.BaseBytes), m.Sealed, m.High, uint64(m.Bytes), uint64(len(m.Gaps)))
	for _, g := range m.Gaps {
		p = appendNumbers(p, g.First, g.Last)
	}
	return p
}

func decodeWatermarks(body []byte) (m Watermarks, err error) {
	d := readRow(body)
	m.Base, m.BaseBytes, m.Sealed, m.High, m.Bytes = d.u64(), d.i64(), d.u64(), d.u64(), d.i64()
	for range d.count(2) {
		m.Gaps = append(m.Gaps, d.span())
	}
	if err := d.end(); err != nil {
		return m, err
	}
	return m, m.check()
}

// check finds watermarks that no lane can have.
func (m *Watermarks) check() error {
	if m.Sealed < m.Base || m.High < m.Sealed || m.BaseBytes < 0 || m.Bytes < m.BaseBytes || m.Bytes > maxBytes || m.High > maxSeq {
		return errRowForm
	}
	for i, g := range m.Gaps {
		if g.First == 0 || g.Last < g.First || g.Last > maxSeq || i > 0 && g.First <= m.Gaps[i-1].Last {
			return errRowForm
		}
	}
	return nil
}

const (
	segmentKeys = 1 << iota
	segmentPositions
	segmentLost
	segmentFlags = segmentKeys | segmentPositions | segmentLost
)

func encodeSegment(s *Segment) []byte {
	flags := byte(0)
	for bit, set := range map[byte]bool{segmentKeys: s.Keys, segmentPositions: s.Positions, segmentLost: s.Lost} {
		if set {
			flags |= bit
		}
	}
	p := append(make([]byte, 0, 48+12*len(s.Lanes)), rowVersion, flags)
	p = appendNumbers(p, s.Generation, uint64(s.Size), uint64(s.End), uint64(s.Index), s.FirstCommit, s.LastCommit, uint64(s.Chain), uint64(len(s.Lanes)))
	for _, lane := range slices.Sorted(maps.Keys(s.Lanes)) {
		p = appendNumbers(p, uint64(lane), s.Lanes[lane].First, s.Lanes[lane].Last)
	}
	return p
}

func decodeSegment(key, body []byte) (*Segment, error) {
	if len(key) != keyLen[bktSegments] {
		return nil, errRowForm
	}
	d := readRow(body)
	flags := d.byte()
	s := &Segment{No: binary.BigEndian.Uint64(key), Keys: flags&segmentKeys != 0, Positions: flags&segmentPositions != 0, Lost: flags&segmentLost != 0}
	s.Generation, s.Size, s.End, s.Index = d.u64(), d.i64(), d.i64(), d.i64()
	s.FirstCommit, s.LastCommit, s.Chain = d.number(maxCommitNo), d.number(maxCommitNo), d.u32()
	n := d.count(3)
	s.Lanes = make(map[uint32]Span, min(n, 1024))
	for i := range n {
		lane := d.u32()
		if s.Lanes[lane] = d.span(); d.err != nil || len(s.Lanes) != i+1 || i == maxRowLanes {
			return nil, errRowForm
		}
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if flags&^byte(segmentFlags) != 0 || s.No == 0 || s.No > maxSegmentNo {
		return nil, errRowForm
	}
	return s, nil
}

func encodeTombstone(t Tombstone) []byte { return appendNumbers([]byte{rowVersion}, t.Generation) }

func decodeTombstone(key, body []byte) (t Tombstone, err error) {
	if len(key) != keyLen[bktTombstones] {
		return t, errRowForm
	}
	d := readRow(body)
	t = Tombstone{No: binary.BigEndian.Uint64(key), Generation: d.u64()}
	return t, d.end()
}

func encodeObject(o *Object) []byte {
	return appendNumbers([]byte{rowVersion}, uint64(o.Lane), o.First, o.Last, uint64(o.Size))
}

func decodeObject(key, body []byte) (*Object, error) {
	if len(key) != len(ObjectID{}) {
		return nil, errRowForm
	}
	d := readRow(body)
	o := &Object{ID: ObjectID(key), Lane: d.u32()}
	r := d.span()
	o.First, o.Last, o.Size = r.First, r.Last, d.i64()
	return o, d.end()
}

func encodePosition(p *Position) []byte {
	body := appendNumbers([]byte{rowVersion}, p.Commit)
	body = appendBool(body, p.Value != nil)
	return append(body, p.Value...)
}

func decodePosition(key, body []byte) (*Position, error) {
	d := readRow(body)
	p := &Position{Name: string(key), Commit: d.u64()}
	if d.bool() {
		p.Value = append([]byte{}, d.rest...)
	} else if len(d.rest) > 0 {
		d.fail()
	}
	if d.err != nil {
		return nil, d.err
	}
	if p.check() != nil {
		return nil, errRowForm
	}
	return p, nil
}

// check finds a position that cannot be stored.
func (p *Position) check() error {
	if len(p.Name) == 0 || len(p.Name) > MaxPositionName || !utf8.ValidString(p.Name) {
		return &ingest.FieldError{Field: "position", Value: quote(p.Name), Rule: "must have a name of 1 to 255 bytes of valid UTF-8"}
	}
	if len(p.Value) > MaxPositionBytes {
		return &ingest.FieldError{Field: "position", Value: quote(p.Name), Rule: "must have a value of at most 1024 bytes"}
	}
	return nil
}

func encodeKey(k *Key) []byte {
	return appendNumbers([]byte{rowVersion}, uint64(k.Lane), k.Seq, uint64(max(k.At, 0)))
}

func decodeKey(key, body []byte) (k Key, err error) {
	if len(key) != len(KeyHash{}) {
		return k, errRowForm
	}
	d := readRow(body)
	k = Key{Hash: KeyHash(key), Lane: d.u32(), Seq: d.u64(), At: d.i64()}
	return k, d.end()
}
