package store_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"kustospool/ingest"
	"kustospool/store"
)

// model is what a store should be, in maps.
type model struct {
	opts    *store.Options
	dir     string
	s       *store.Store
	lanes   []uint32
	records map[uint32][]string // by lane; the number is the index plus one
	mark    map[uint32]uint64
	live    map[ingest.BatchID]*modelBatch
	settled map[uint32]map[uint64]ingest.State
	keys    map[string]uint64
	places  map[string]string // positions by name
	split   int64
}

type modelBatch struct {
	lane        uint32
	first, last uint64
	state       ingest.State
}

func (m *model) payload(b *modelBatch) string {
	var out bytes.Buffer
	for seq := b.first; seq <= b.last; seq++ {
		out.WriteString(m.records[b.lane][seq-1])
		out.WriteByte('\n')
	}
	return out.String()
}

func (m *model) append(t *rapid.T) {
	n := rapid.IntRange(1, 20).Draw(t, "records")
	size := rapid.SampledFrom([]int{1, 100, 3000, 9000, 9000, 600_000}).Draw(t, "size")
	if size > 500_000 && rapid.Bool().Draw(t, "large") {
		size *= 2 // these are kept in chunks
	}
	var recs []store.Record
	for i := range n {
		lane := rapid.SampledFrom(m.lanes).Draw(t, "lane")
		data := fmt.Sprintf("%d/%d/%s", len(m.records[lane]), i, bytes.Repeat([]byte{'x'}, size))
		key := ""
		if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
			key = fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "key"))
		}
		recs = append(recs, store.Record{Lane: lane, Data: []byte(data), Key: key})
	}
	var positions []store.Position
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"p", "q", "r"}), 0, 2, rapid.ID).Draw(t, "positions") {
		value := fmt.Sprint(rapid.IntRange(0, 1000).Draw(t, "value"))
		positions = append(positions, store.Position{Name: name, Value: []byte(value)})
		m.places[name] = value
	}
	got, err := m.s.AppendWith(ctx, recs, positions)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	for i, r := range recs {
		key := fmt.Sprint(r.Lane, "/", r.Key)
		if seq, known := m.keys[key]; known && r.Key != "" {
			if !got[i].Duplicate || got[i].Seq != seq {
				t.Fatalf("repeat of key %s: %+v, want %d", key, got[i], seq)
			}
			continue
		}
		m.records[r.Lane] = append(m.records[r.Lane], string(r.Data))
		if want := uint64(len(m.records[r.Lane])); got[i].Duplicate || got[i].Seq != want {
			t.Fatalf("record %d: %+v, want %d", i, got[i], want)
		}
		if r.Key != "" {
			m.keys[key] = got[i].Seq
		}
	}
}

func (m *model) removePosition(t *rapid.T) {
	name := rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "name")
	_, known := m.places[name]
	if err := m.s.RemovePosition(ctx, name); (err == nil) != known {
		t.Fatalf("RemovePosition(%s): %v, known %v", name, err, known)
	}
	delete(m.places, name)
}

func (m *model) appendObjects(t *rapid.T) {
	lane := rapid.SampledFrom(m.lanes).Draw(t, "lane")
	var objects []*store.Object
	var first []uint64
	next := uint64(len(m.records[lane])) + 1
	var added []string
	for range rapid.IntRange(1, 3).Draw(t, "objects") {
		o, err := m.s.NewObject(lane)
		if err != nil {
			t.Fatalf("NewObject: %v", err)
		}
		defer o.Discard()
		first = append(first, next)
		for i := range rapid.IntRange(1, 30).Draw(t, "records") {
			data := fmt.Sprintf("object %d %s", i, bytes.Repeat([]byte{'o'}, rapid.SampledFrom([]int{1, 100, 300_000}).Draw(t, "size")))
			if err := o.Record([]byte(data)); err != nil {
				t.Fatalf("Record: %v", err)
			}
			added = append(added, data)
			next++
		}
		objects = append(objects, o)
	}
	if rapid.IntRange(0, 4).Draw(t, "discarded") == 0 {
		return
	}
	got, err := m.s.AppendObjects(ctx, objects, nil)
	if err != nil {
		t.Fatalf("AppendObjects: %v", err)
	}
	for i, a := range got {
		if a.Seq != first[i] {
			t.Fatalf("object %d: %+v, want %d", i, a, first[i])
		}
	}
	m.records[lane] = append(m.records[lane], added...)
}

func (m *model) seal(t *rapid.T) {
	lane := rapid.SampledFrom(m.lanes).Draw(t, "lane")
	first, high := m.mark[lane]+1, uint64(len(m.records[lane]))
	if first > high {
		return
	}
	b := &modelBatch{lane: lane, first: first, last: rapid.Uint64Range(first, high).Draw(t, "last"), state: ingest.Sealed}
	entries, err := m.s.Seal(ctx, []store.Seal{{Lane: lane, First: first, Last: b.last, Bytes: int64(len(m.payload(b))),
		Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}})
	if err != nil || len(entries) != 1 {
		t.Fatalf("Seal %d..%d of lane %d: %d entries, %v", first, b.last, lane, len(entries), err)
	}
	m.mark[lane] = b.last
	m.live[entries[0].Batch.ID] = b
}

func (m *model) pick(t *rapid.T) (ingest.BatchID, *modelBatch) {
	if len(m.live) == 0 {
		return ingest.BatchID{}, nil
	}
	ids := slices.SortedFunc(maps.Keys(m.live), func(a, b ingest.BatchID) int { return bytes.Compare(a[:], b[:]) })
	id := rapid.SampledFrom(ids).Draw(t, "batch")
	return id, m.live[id]
}

func (m *model) finish(id ingest.BatchID, b *modelBatch, state ingest.State) {
	delete(m.live, id)
	for seq := b.first; seq <= b.last; seq++ {
		m.settled[b.lane][seq] = state
	}
}

func (m *model) transition(t *rapid.T) {
	id, b := m.pick(t)
	if b == nil {
		return
	}
	to := rapid.SampledFrom(ingest.States()).Draw(t, "to")
	_, err := m.s.Transition(ctx, id, b.state, func(e *store.Entry) { e.State = to; e.Attempts++ })
	legal := to == b.state || b.state.CanBecome(to) && to != ingest.Split && to != ingest.DeadLettered
	if (err == nil) != legal {
		t.Fatalf("%s -> %s: %v", b.state, to, err)
	}
	if err != nil {
		return
	}
	if b.state = to; to.Final() {
		m.finish(id, b, to)
	}
}

func (m *model) divide(t *rapid.T) {
	id, b := m.pick(t)
	if b == nil || b.first == b.last {
		return
	}
	cut := rapid.Uint64Range(b.first+1, b.last).Draw(t, "cut")
	children, err := m.s.Split(ctx, id, b.state, []uint64{cut}, nil)
	if (err == nil) != b.state.CanBecome(ingest.Split) {
		t.Fatalf("split of a %s batch: %v", b.state, err)
	}
	if err != nil {
		return
	}
	m.split++
	delete(m.live, id)
	for _, c := range children {
		m.live[c.Batch.ID] = &modelBatch{lane: b.lane, first: c.Batch.First, last: c.Batch.Last, state: ingest.Sealed}
	}
}

func (m *model) deadLetter(t *rapid.T) {
	id, b := m.pick(t)
	if b == nil {
		return
	}
	_, err := m.s.DeadLetter(ctx, id, b.state, &ingest.Failure{Class: "permanent"})
	if (err == nil) != b.state.CanBecome(ingest.DeadLettered) {
		t.Fatalf("dead letter of a %s batch: %v", b.state, err)
	}
	if err == nil {
		m.finish(id, b, ingest.DeadLettered)
	}
}

func (m *model) drain(t *rapid.T) {
	for id, b := range m.live {
		if b.state != ingest.Sealed {
			continue
		}
		if _, err := m.s.Transition(ctx, id, ingest.Sealed, func(e *store.Entry) { e.State = ingest.Dropped }); err != nil {
			t.Fatalf("drop: %v", err)
		}
		m.finish(id, b, ingest.Dropped)
	}
}

func (m *model) open(t *rapid.T) {
	s, err := store.Open(m.dir, m.opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	m.s = s
}

func (m *model) reopen(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	m.open(t)
}

// check compares everything that can be seen with the model.
func (m *model) check(t *rapid.T) {
	st := m.s.Stats()
	var acked, open, sealed, ended int64
	for _, lane := range m.lanes {
		acked += int64(len(m.records[lane]))
		open += int64(len(m.records[lane])) - int64(m.mark[lane])
		ended += int64(len(m.settled[lane]))
	}
	for _, b := range m.live {
		sealed += int64(b.last - b.first + 1)
	}
	if st.Acked != acked || st.Open != open || st.Sealed != sealed || st.Damaged != 0 || st.Suspect != 0 ||
		st.Ingested+st.Skipped+st.HandedOver+st.DeadLettered+st.Dropped != ended || st.BatchesSplit != m.split {
		t.Fatalf("stats %+v, want acked %d open %d sealed %d ended %d split %d", st, acked, open, sealed, ended, m.split)
	}
	places := map[string]string{}
	for _, p := range m.s.Positions() {
		places[p.Name] = string(p.Value)
		if one, ok := m.s.Position(p.Name); !ok || string(one.Value) != places[p.Name] {
			t.Fatalf("position %s: %q, %v", p.Name, one.Value, ok)
		}
	}
	if !maps.Equal(places, m.places) {
		t.Fatalf("positions %v, want %v", places, m.places)
	}
	live := m.s.Live()
	if len(live) != len(m.live) {
		t.Fatalf("%d live batches, want %d", len(live), len(m.live))
	}
	for i, e := range live {
		b := m.live[e.Batch.ID]
		if b == nil || b.lane != e.Batch.Lane || b.first != e.Batch.First || b.last != e.Batch.Last || b.state != e.State {
			t.Fatalf("live batch %+v, want %+v", e, b)
		}
		if i > 0 && (live[i-1].Batch.Lane > e.Batch.Lane || live[i-1].Batch.Lane == e.Batch.Lane && live[i-1].Batch.First >= e.Batch.First) {
			t.Fatal("live batches out of order")
		}
	}
}

// checkDeep reads all payloads, all open frames and the fate of each record.
func (m *model) checkDeep(t *rapid.T) {
	for _, e := range m.s.Live() {
		p := m.s.Payload(&e.Batch)
		data, err := io.ReadAll(p.Open())
		if err != nil || string(data) != m.payload(m.live[e.Batch.ID]) || int64(len(data)) != p.Size() {
			t.Fatalf("payload of %d..%d: %d bytes, size %d, %v", e.Batch.First, e.Batch.Last, len(data), p.Size(), err)
		}
	}
	next := maps.Clone(m.mark)
	for f, err := range m.s.Unsealed() {
		if err != nil || f.First != next[f.Lane]+1 {
			t.Fatalf("frame %+v after %d, %v", f, next[f.Lane], err)
		}
		if want := len(m.payload(&modelBatch{lane: f.Lane, first: f.First, last: f.Last})); f.Bytes != int64(want) {
			t.Fatalf("frame %+v, want %d bytes", f, want)
		}
		next[f.Lane] = f.Last
	}
	for _, lane := range m.lanes {
		if next[lane] != uint64(len(m.records[lane])) {
			t.Fatalf("lane %d: frames end at %d of %d", lane, next[lane], len(m.records[lane]))
		}
		for seq, state := range m.settled[lane] {
			if e, err := m.s.Find(lane, seq); err != nil || e.State != state {
				t.Fatalf("Find(%d, %d): %s, %v; want %s", lane, seq, e.State, err, state)
			}
		}
	}
}

func TestModel(t *testing.T) {
	// A third of rapid's default unless the command line says otherwise: each
	// check opens and syncs real files.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := flag.Set("rapid.checks", "30"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &model{
			dir: dir, opts: &store.Options{SegmentBytes: store.MinSegmentBytes, OpenSegments: 2, NoSync: true,
				Compression: rapid.SampledFrom([]store.Compression{store.NoCompression, store.S2}).Draw(t, "compression")},
			records: map[uint32][]string{}, mark: map[uint32]uint64{}, live: map[ingest.BatchID]*modelBatch{},
			settled: map[uint32]map[uint64]ingest.State{}, keys: map[string]uint64{}, places: map[string]string{},
		}
		m.open(t)
		defer func() { m.s.Close() }()
		// With the larger number most appends have enough lanes for sheaves.
		for i := range rapid.SampledFrom([]int{3, 12}).Draw(t, "lanes") {
			table := fmt.Sprint("t", i)
			lane, err := m.s.Lane(ctx, jsonTable(table), store.FrameLimit{Bytes: 8 << 10})
			if err != nil {
				t.Fatal(err)
			}
			m.lanes = append(m.lanes, lane)
			m.settled[lane] = map[uint64]ingest.State{}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append, "append again": m.append, "append objects": m.appendObjects, "remove a position": m.removePosition, "seal": m.seal, "transition": m.transition, "transition again": m.transition,
			"split": m.divide, "dead letter": m.deadLetter, "drain": m.drain, "reopen": m.reopen, "read": m.checkDeep,
			"": m.check,
		})
		m.reopen(t)
		m.check(t)
		m.checkDeep(t)
	})
}
