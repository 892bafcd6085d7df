package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"kustospool/ingest"
)

// world is what a store should be, in maps. A call whose outcome nobody knows
// makes two worlds of one, and what the store shows after the next Open says
// which of them it is.
type world struct {
	lanes     []*laneWorld
	live      map[place]batchWorld
	dead      map[place]deadWorld
	positions map[string]string
	split     int64
	batches   map[ingest.State]int64 // settled
}

type laneWorld struct {
	no      uint32 // 0: not made
	name    string
	concat  bool
	records []string          // data, by number less one
	state   []ingest.State    // of those that are in no live batch any more; 0: they are
	mark    uint64            // last sealed
	keys    map[string]uint64 // number of the record
	extra   int64             // payload bytes that a record adds beside itself
}

// place is where a batch begins.
type place struct {
	lane  int
	first uint64
}

type batchWorld struct {
	last  uint64
	state ingest.State
}

type deadWorld struct {
	last   uint64
	unsure bool // its removal may or may not be durable
}

func newWorld(lanes int) *world {
	w := &world{live: map[place]batchWorld{}, dead: map[place]deadWorld{}, positions: map[string]string{}, batches: map[ingest.State]int64{}}
	for i := range lanes {
		l := &laneWorld{name: fmt.Sprint("t", i), concat: i != 2, keys: map[string]uint64{}}
		if l.concat {
			l.extra = 1
		}
		w.lanes = append(w.lanes, l)
	}
	return w
}

func (w *world) clone() *world {
	c := *w
	c.live, c.dead, c.positions, c.batches = maps.Clone(w.live), maps.Clone(w.dead), maps.Clone(w.positions), maps.Clone(w.batches)
	c.lanes = slices.Clone(w.lanes)
	for i, l := range c.lanes {
		lc := *l
		// Appended to and, but for states, not changed.
		lc.records, lc.state, lc.keys = slices.Clip(l.records), slices.Clone(l.state), maps.Clone(l.keys)
		c.lanes[i] = &lc
	}
	return &c
}

func (l *laneWorld) props() *ingest.Properties {
	p := &ingest.Properties{Database: "db", Table: l.name, Format: ingest.JSON}
	if !l.concat {
		p.Format = ingest.Parquet
	}
	return p
}

func (l *laneWorld) high() uint64 { return uint64(len(l.records)) }

func (l *laneWorld) bytes(first, last uint64) (n int64) {
	for _, r := range l.records[first-1 : last] {
		n += int64(len(r)) + l.extra
	}
	return n
}

func (l *laneWorld) payload(first, last uint64) []byte {
	var out bytes.Buffer
	for _, r := range l.records[first-1 : last] {
		out.WriteString(r)
		if l.concat {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

// add is an append that was stored; the numbers are what it must have got.
func (w *world) add(recs []wanted, positions []Position) (out []Appended) {
	for _, r := range recs {
		l := w.lanes[r.lane]
		if seq, ok := l.keys[r.key]; ok && r.key != "" {
			out = append(out, Appended{Seq: seq, Duplicate: true})
			continue
		}
		l.records, l.state = append(l.records, r.data), append(l.state, 0)
		if r.key != "" {
			l.keys[r.key] = l.high()
		}
		out = append(out, Appended{Seq: l.high()})
	}
	for _, p := range positions {
		w.positions[p.Name] = string(p.Value)
	}
	return out
}

// wanted is a record to be appended.
type wanted struct {
	lane      int
	data, key string
}

func (w *world) seal(p place, last uint64) {
	w.lanes[p.lane].mark = last
	w.live[p] = batchWorld{last: last, state: ingest.Sealed}
}

func (w *world) move(p place, to ingest.State) {
	b := w.live[p]
	b.state = to
	w.live[p] = b
	if to.Final() {
		w.settle(p, to)
	}
}

func (w *world) settle(p place, to ingest.State) {
	b := w.live[p]
	delete(w.live, p)
	w.batches[to]++
	for seq := p.first; seq <= b.last; seq++ {
		w.lanes[p.lane].state[seq-1] = to
	}
	if to == ingest.DeadLettered {
		w.dead[p] = deadWorld{last: b.last}
	}
}

func (w *world) cut(p place, at uint64) {
	b := w.live[p]
	w.split++
	w.live[p] = batchWorld{last: at - 1, state: ingest.Sealed}
	w.live[place{p.lane, at}] = batchWorld{last: b.last, state: ingest.Sealed}
}

func (w *world) places() []place {
	return slices.SortedFunc(maps.Keys(w.live), comparePlaces)
}

func (w *world) graves() []place {
	return slices.SortedFunc(maps.Keys(w.dead), comparePlaces)
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.lane, b.lane), cmp.Compare(a.first, b.first))
}

// lane finds a lane by its number.
func (w *world) lane(no uint32) int {
	return slices.IndexFunc(w.lanes, func(l *laneWorld) bool { return l.no == no })
}

// check compares all that the store shows with the world. It changes nothing.
func (w *world) check(s *Store) error {
	for _, part := range []func(*Store) error{w.checkLanes, w.checkBooks, w.checkLive, w.checkOpen, w.checkFates, w.checkDead, w.checkKeys, w.checkPositions} {
		if err := part(s); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) checkLanes(s *Store) error {
	made := 0
	for _, l := range w.lanes {
		at := s.lanes.find(l.props().Key())
		switch {
		case l.no == 0 && at != nil:
			return fmt.Errorf("lane %s is there and was never made", l.name)
		case l.no != 0 && (at == nil || at.no != l.no):
			return fmt.Errorf("lane %s is %v, want number %d", l.name, at, l.no)
		case l.no != 0:
			made++
		}
	}
	if n := len(s.Lanes()); n != made {
		return fmt.Errorf("%d lanes, want %d", n, made)
	}
	return nil
}

func (w *world) checkBooks(s *Store) error {
	st := s.Stats()
	if sum := st.Open + st.Sealed + st.Ingested + st.Skipped + st.HandedOver + st.DeadLettered + st.Dropped; sum != st.Acked {
		return fmt.Errorf("the books do not balance: %d acknowledged, %d accounted for: %+v", st.Acked, sum, st)
	}
	var acked, open, sealed, size int64
	ended := map[ingest.State]int64{}
	for _, l := range w.lanes {
		acked += int64(len(l.records))
		open += int64(l.high() - l.mark)
		size += l.bytes(1, l.high())
		for _, state := range l.state {
			ended[state]++
		}
	}
	for p, b := range w.live {
		sealed += int64(b.last - p.first + 1)
	}
	for _, c := range []struct {
		what      string
		got, want int64
	}{
		{"acknowledged", st.Acked, acked}, {"open", st.Open, open}, {"sealed", st.Sealed, sealed}, {"bytes", st.AckedBytes, size},
		{"ingested", st.Ingested, ended[ingest.Succeeded]}, {"skipped", st.Skipped, ended[ingest.Skipped]}, {"handed over", st.HandedOver, ended[ingest.HandedOver]},
		{"dead-lettered", st.DeadLettered, ended[ingest.DeadLettered]}, {"dropped", st.Dropped, ended[ingest.Dropped]},
		{"batches split", st.BatchesSplit, w.split}, {"batches live", st.BatchesLive, int64(len(w.live))},
		{"batches ingested", st.BatchesIngested, w.batches[ingest.Succeeded]}, {"batches dead-lettered", st.BatchesDeadLettered, w.batches[ingest.DeadLettered]},
		{"damaged", st.Damaged, 0}, {"suspect", st.Suspect, 0}, {"possible duplicates", st.PossibleDuplicates, 0},
	} {
		if c.got != c.want {
			return fmt.Errorf("books: %s %d, want %d", c.what, c.got, c.want)
		}
	}
	return nil
}

func (w *world) checkLive(s *Store) error {
	live := s.Live()
	if len(live) != len(w.live) {
		return fmt.Errorf("%d live batches, want %d", len(live), len(w.live))
	}
	for i := range live {
		e := &live[i]
		p := place{w.lane(e.Batch.Lane), e.Batch.First}
		b, ok := w.live[p]
		if !ok || b.last != e.Batch.Last || b.state != e.State {
			return fmt.Errorf("live batch %d..%d of lane %d is %s; want one to %d that is %s", e.Batch.First, e.Batch.Last, e.Batch.Lane, e.State, b.last, b.state)
		}
		if err := w.checkPayload(s, &e.Batch); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) checkPayload(s *Store, b *ingest.Batch) error {
	l := w.lanes[w.lane(b.Lane)]
	r := s.Payload(b).Open()
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("reading %d..%d of lane %d: %w", b.First, b.Last, b.Lane, err)
	}
	if want := l.payload(b.First, b.Last); !bytes.Equal(got, want) {
		return fmt.Errorf("records %d..%d of lane %d read %d bytes that begin %.60q, want %d that begin %.60q", b.First, b.Last, b.Lane, len(got), got, len(want), want)
	}
	return nil
}

// checkOpen reads the records that are in no batch.
func (w *world) checkOpen(s *Store) error {
	next := map[uint32]uint64{}
	for f, err := range s.Unsealed() {
		i := w.lane(f.Lane)
		if err != nil || i < 0 {
			return fmt.Errorf("unsealed frame %+v: %w", f, err)
		}
		l := w.lanes[i]
		if next[f.Lane] == 0 {
			next[f.Lane] = l.mark + 1
		}
		if f.First != next[f.Lane] || f.Last > l.high() || f.Bytes != l.bytes(f.First, f.Last) {
			return fmt.Errorf("unsealed frame %d..%d of lane %d with %d bytes; want one from %d, the lane ends at %d", f.First, f.Last, f.Lane, f.Bytes, next[f.Lane], l.high())
		}
		next[f.Lane] = f.Last + 1
	}
	for _, l := range w.lanes {
		if l.mark == l.high() {
			continue
		}
		if next[l.no] != l.high()+1 {
			return fmt.Errorf("lane %d: unsealed records end before %d, want %d", l.no, next[l.no], l.high()+1)
		}
		b := &ingest.Batch{Lane: l.no, First: l.mark + 1, Last: l.high(), RawBytes: l.bytes(l.mark+1, l.high())}
		if err := w.checkPayload(s, b); err != nil {
			return fmt.Errorf("open records: %w", err)
		}
	}
	return nil
}

// checkFates asks for the fate of records: all of a short lane, some of a long one.
func (w *world) checkFates(s *Store) error {
	for i, l := range w.lanes {
		if l.no == 0 {
			continue
		}
		stride := 1 + l.high()/64
		for seq := uint64(1); seq <= l.high(); seq += stride {
			want := l.state[seq-1]
			if want == 0 {
				want = ingest.Open
				for p, b := range w.live {
					if p.lane == i && p.first <= seq && seq <= b.last {
						want = b.state
					}
				}
			}
			if e, err := s.Find(l.no, seq); err != nil || e.State != want {
				return fmt.Errorf("record %d of lane %d is %s, %v; want %s", seq, l.no, e.State, err, want)
			}
		}
		if e, err := s.Find(l.no, l.high()+1); !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("record %d of lane %d, never stored, is %s, %v", l.high()+1, l.no, e.State, err)
		}
	}
	return nil
}

func (w *world) checkDead(s *Store) error {
	seen := 0
	for e, err := range s.DeadLetters() {
		if err != nil {
			return fmt.Errorf("dead letter: %w", err)
		}
		p := place{w.lane(e.Batch.Lane), e.Batch.First}
		d, ok := w.dead[p]
		if !ok || d.last != e.Batch.Last {
			return fmt.Errorf("dead letter %d..%d of lane %d: want one to %d", e.Batch.First, e.Batch.Last, e.Batch.Lane, d.last)
		}
		r, err := s.OpenDeadLetter(e.Batch.ID)
		if err != nil {
			return fmt.Errorf("dead letter %d..%d of lane %d: %w", e.Batch.First, e.Batch.Last, e.Batch.Lane, err)
		}
		got, err := io.ReadAll(r)
		if want := w.lanes[p.lane].payload(p.first, d.last); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("dead letter %d..%d of lane %d has %d bytes, want %d, %v", e.Batch.First, e.Batch.Last, e.Batch.Lane, len(got), len(want), err)
		}
		if err := r.Close(); err != nil {
			return err
		}
		if !d.unsure {
			seen++
		}
	}
	for _, d := range w.dead {
		if !d.unsure {
			seen--
		}
	}
	if seen != 0 {
		return fmt.Errorf("%d dead letters are missing", -seen)
	}
	return nil
}

// keyNames is small, so that keys are repeated.
const keyNames = 12

func (w *world) checkKeys(s *Store) error {
	for _, l := range w.lanes {
		if l.no == 0 {
			continue
		}
		for i := range keyNames {
			key := fmt.Sprint("k", i)
			want, known := l.keys[key]
			seq, ok, err := gate{s}.Key(l.no, hashKey(s.id, l.no, key))
			if err != nil || ok != known || ok && seq != want {
				return fmt.Errorf("key %s of lane %d is of record %d, %v, %v; want %d, %v", key, l.no, seq, ok, err, want, known)
			}
		}
	}
	return nil
}

func (w *world) checkPositions(s *Store) error {
	list := s.Positions()
	for _, p := range list {
		if want, ok := w.positions[p.Name]; !ok || want != string(p.Value) {
			return fmt.Errorf("position %s is %q, want %q, %v", p.Name, p.Value, want, ok)
		}
		if one, ok := s.Position(p.Name); !ok || !bytes.Equal(one.Value, p.Value) {
			return fmt.Errorf("position %s is %q alone and %q in the list", p.Name, one.Value, p.Value)
		}
	}
	if len(list) != len(w.positions) {
		return fmt.Errorf("%d positions, want %d", len(list), len(w.positions))
	}
	return nil
}
