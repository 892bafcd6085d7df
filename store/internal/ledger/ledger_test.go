package ledger

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

var ctx = context.Background()

// TestReopen: what one run wrote the next one reads, row by row.
func TestReopen(t *testing.T) {
	path := newPath(t)
	mustCreate(t, path)
	l := mustOpen(t, path, nil)
	lane := addLane(t, l, 1)
	if again := addLane(t, l, 1); again != lane {
		t.Fatalf("equal properties gave lanes %d and %d", lane, again)
	}
	other := addLane(t, l, 2)
	a, b := mustSeal(t, l, lane, 1, 10), mustSeal(t, l, lane, 11, 20)
	mustSeal(t, l, other, 1, 5)
	move(t, l, a, ingest.Sending, ingest.Accepted, ingest.Succeeded)
	b, err := l.Transition(ctx, b.Batch.ID, ingest.Sealed, func(e *Entry) {
		e.State, e.Attempts, e.Progress, e.PossibleDuplicates = ingest.Sending, 1, []byte("block 3"), 7
		e.Failure = &ingest.Failure{Message: "x"}
	})
	if err != nil {
		t.Fatal(err)
	}
	seg := Segment{No: 3, Generation: 9, Size: 100, End: 90, Index: 91, FirstCommit: 4, LastCommit: 8, Chain: 77, Keys: true, Positions: true, Lanes: map[uint32]Span{lane: {1, 20}, other: {1, 5}}}
	do(t, l, func(tx *Tx) error {
		tx.SetState(State{Epoch: 5, Clean: true, Active: Active{No: 4, Generation: 2, End: 50, LastCommit: 9, Chain: 1}, HighestNo: 6})
		tx.Count(1, 2, 3)
		if _, err := tx.Jump(other, 1000); err != nil {
			return err
		}
		return errors.Join(tx.PutSegment(seg), tx.PutObject(Object{ID: ObjectID{1}, Lane: lane, First: 3, Last: 4, Size: 5}),
			tx.PutPositions(9, []Position{{Name: "file", Value: []byte("100"), Commit: 3}, {Name: "empty", Value: []byte{}, Commit: 3}}))
	})
	do(t, l, func(tx *Tx) error {
		tx.PutKeys([]Key{{Hash: KeyHash{5}, Lane: lane, Seq: 7, At: 1000}})
		return nil
	})
	want := l.mirror.books()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Do(ctx, func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
	looked, found, err := readBooks(path)
	if err != nil || found.Renewed != nil || !reflect.DeepEqual(looked, want) {
		t.Fatalf("Look gives %+v, %+v, %v\nwant %+v", looked, found, err, want)
	}
	l = mustOpen(t, path, nil)
	defer l.Close()
	if got := l.mirror.books(); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
	if got, ok := l.Entry(b.Batch.ID); !ok || !reflect.DeepEqual(got, b) {
		t.Fatalf("got %+v\nwant %+v", got, b)
	}
	if seq, ok, err := l.FindKey(lane, KeyHash{5}, 1000); seq != 7 || !ok || err != nil {
		t.Fatal(seq, ok, err)
	}
	if e, err := l.FindHistory(lane, 5); err != nil || e.Batch.ID != a.Batch.ID || e.State != ingest.Succeeded {
		t.Fatal(e, err)
	}
	if c := l.Counters(); c.Ingested != 10 || c.BatchesIngested != 1 || c.PossibleDuplicates != 10 || c.Damaged != 1 || c.Suspect != 2 {
		t.Fatalf("%+v", c)
	}
}

// TestConflicts: what the rows do not allow is refused, and changes nothing.
func TestConflicts(t *testing.T) {
	l := newLedger(t, nil)
	lane := addLane(t, l, 1)
	live := mustSeal(t, l, lane, 1, 10)
	move(t, l, live, ingest.Sending)
	done := mustSeal(t, l, lane, 11, 20)
	move(t, l, done, ingest.Sending, ingest.Succeeded)
	do(t, l, func(tx *Tx) error {
		return errors.Join(tx.PutSegment(Segment{No: 1, Lanes: map[uint32]Span{lane: {1, 20}}}), tx.PutSegment(Segment{No: 2, Lanes: map[uint32]Span{lane: {11, 20}}, Keys: true}),
			tx.PutSegment(Segment{No: 3, Lanes: map[uint32]Span{lane: {15, 25}}}), tx.PutObject(Object{ID: ObjectID{1}, Lane: lane, First: 10, Last: 10}))
	})
	before := l.mirror.books()
	id := live.Batch.ID
	set := func(s ingest.State) func(*Entry) { return func(e *Entry) { e.State = s } }
	transition := func(id ingest.BatchID, from ingest.State, apply func(*Entry)) error {
		_, err := l.Transition(ctx, id, from, apply)
		return err
	}
	one := func(fn func(*Tx) error) error { return l.Do(ctx, fn) }
	sealing := func(s Seal, high uint64) error {
		_, err := l.Seal(ctx, []Seal{s}, ends(high), evenly)
		return err
	}
	split := func(cuts []uint64, sizes []int64) error {
		_, err := l.Split(ctx, id, ingest.Sending, cuts, sizes, nil)
		return err
	}
	bad := seal(lane, 21, 30)
	bad.Guarantee = 0
	for name, c := range map[string]struct {
		got, want error
	}{
		"seal behind the end":        {sealing(seal(lane, 21, 31), 30), ErrConflict},
		"seal with a hole":           {sealing(seal(lane, 22, 30), 30), ErrConflict},
		"seal again":                 {sealing(seal(lane, 11, 20), 30), ErrConflict},
		"seal of no lane":            {sealing(seal(99, 1, 2), 30), ErrNotFound},
		"seal without guarantee":     {sealing(bad, 30), ingest.ErrInvalid},
		"another state":              {transition(id, ingest.Sealed, set(ingest.Accepted)), ErrConflict},
		"no such move":               {transition(id, ingest.Sending, set(ingest.Dropped)), ErrConflict},
		"split by transition":        {transition(id, ingest.Sending, set(ingest.Split)), ErrConflict},
		"dead letter by transition":  {transition(id, ingest.Sending, set(ingest.DeadLettered)), ErrConflict},
		"settled":                    {transition(done.Batch.ID, ingest.Succeeded, set(ingest.Sealed)), ErrConflict},
		"progress too long":          {transition(id, ingest.Sending, func(e *Entry) { e.Progress = make([]byte, MaxProgressBytes+1) }), ingest.ErrInvalid},
		"duplicates shrink":          {transition(id, ingest.Sending, func(e *Entry) { e.PossibleDuplicates = -1 }), ingest.ErrInvalid},
		"negative wire bytes":        {transition(id, ingest.Sending, func(e *Entry) { e.WireBytes = -1 }), ingest.ErrInvalid},
		"a year beyond":              {transition(id, ingest.Sending, func(e *Entry) { e.NextAttempt = time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC) }), ingest.ErrInvalid},
		"cut outside":                {split([]uint64{11}, []int64{1, 2}), ingest.ErrInvalid},
		"no cut":                     {split(nil, []int64{1}), ingest.ErrInvalid},
		"sizes missing":              {split([]uint64{5}, []int64{1}), ingest.ErrInvalid},
		"segment with a live batch":  {one(func(tx *Tx) error { return tx.SettleSegment(1) }), ErrConflict},
		"segment with keys":          {one(func(tx *Tx) error { return tx.SettleSegment(2) }), ErrConflict},
		"segment with open records":  {one(func(tx *Tx) error { return tx.SettleSegment(3) }), ErrConflict},
		"segment unknown":            {one(func(tx *Tx) error { return tx.SettleSegment(4) }), ErrNotFound},
		"segment of an unknown lane": {one(func(tx *Tx) error { return tx.PutSegment(Segment{No: 4, Lanes: map[uint32]Span{9: {1, 1}}}) }), ErrNotFound},
		"tombstone unknown":          {one(func(tx *Tx) error { return tx.ForgetSegment(1) }), ErrNotFound},
		"object with a live batch":   {one(func(tx *Tx) error { return tx.DeleteObject(ObjectID{1}) }), ErrConflict},
		"object unknown":             {one(func(tx *Tx) error { return tx.DeleteObject(ObjectID{2}) }), ErrNotFound},
		"lane of bad properties":     {one(func(tx *Tx) error { _, err := tx.AddLane(&ingest.Properties{}); return err }), ingest.ErrInvalid},
		"lane under a taken number":  {one(func(tx *Tx) error { _, err := tx.RestoreLane(lane, props(9).Key()); return err }), ErrConflict},
		"lane under a second number": {one(func(tx *Tx) error { _, err := tx.RestoreLane(9, props(1).Key()); return err }), ErrConflict},
		"position without a name":    {one(func(tx *Tx) error { return tx.PutPositions(1, []Position{{Value: []byte("x")}}) }), ingest.ErrInvalid},
		"position without UTF-8":     {one(func(tx *Tx) error { return tx.PutPositions(1, []Position{{Name: "\xff", Value: []byte("x")}}) }), ingest.ErrInvalid},
		"position too long": {one(func(tx *Tx) error {
			return tx.PutPositions(1, []Position{{Name: "x", Value: make([]byte, MaxPositionBytes+1)}})
		}), ingest.ErrInvalid},
		"check":                  {l.Check(id, ingest.Sending, ingest.Dropped), ErrConflict},
		"check of another state": {l.Check(id, ingest.Sealed, ingest.Accepted), ErrConflict},
		"settled record unknown": {second(l.FindHistory(lane, 5)), ErrNotFound},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if got := l.mirror.books(); !reflect.DeepEqual(got, before) {
		t.Fatalf("a refused change left %+v\nwant %+v", got, before)
	}
	var te *TransitionError
	if err := transition(id, ingest.Sending, set(ingest.Dropped)); !errors.As(err, &te) || te.To != ingest.Dropped {
		t.Errorf("got %v", err)
	}
	if err := transition(id, ingest.Sending, func(*Entry) { panic("mine") }); err == nil || l.Err() != nil {
		t.Errorf("a panic of the caller's function: %v, %v", err, l.Err())
	}
}

func second(_ Entry, err error) error { return err }

// TestRefusedAfterItBegan: a change that was refused after its first write is
// taken out, and its neighbours are kept.
func TestRefusedAfterItBegan(t *testing.T) {
	l := newLedger(t, nil)
	hold, held := make(chan struct{}), make(chan struct{})
	var once bool
	enqueue := func(fn func(*Tx) error) *change {
		c, err := l.enqueue(fn)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	enqueue(func(*Tx) error {
		if !once {
			once = true
			close(held)
			<-hold
		}
		return nil
	})
	<-held
	mine := errors.New("mine")
	add := func(i int, err error) *change {
		return enqueue(func(tx *Tx) error {
			if _, aerr := tx.AddLane(props(i)); aerr != nil {
				return aerr
			}
			return err
		})
	}
	changes := []*change{add(1, nil), add(2, mine), add(3, nil)}
	close(hold)
	for i, want := range []error{nil, mine, nil} {
		if <-changes[i].done; !errors.Is(changes[i].err, want) {
			t.Errorf("outcome %d: %v, want %v", i, changes[i].err, want)
		}
	}
	var tables []string
	for _, lane := range l.Lanes() {
		tables = append(tables, lane.Properties.Table)
	}
	if !slices.Equal(tables, []string{"table1", "table3"}) {
		t.Errorf("lanes of %v", tables)
	}
}

// TestRowTooLarge: a row that no reader would take is refused, and the ledger
// goes on.
func TestRowTooLarge(t *testing.T) {
	l := newLedger(t, nil)
	lane := addLane(t, l, 1)
	e := mustSeal(t, l, lane, 1, 10)
	why := &ingest.Failure{Message: strings.Repeat("x", maxRowBytes)}
	if _, err := l.DeadLetter(ctx, e.Batch.ID, e.State, why, time.Now(), 0); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if got, ok := l.Entry(e.Batch.ID); !ok || got.State != ingest.Sealed || l.Err() != nil {
		t.Errorf("%+v, %v", got, l.Err())
	}
	move(t, l, e, ingest.Sending, ingest.Succeeded)
}

// TestSegmentLife: row, tombstone, nothing; and what Unsettled says meanwhile.
func TestSegmentLife(t *testing.T) {
	var settled []Entry
	l := newLedger(t, &Options{Settled: func(e Entry) { settled = append(settled, e) }})
	lane := addLane(t, l, 1)
	e := mustSeal(t, l, lane, 1, 10)
	do(t, l, func(tx *Tx) error {
		return errors.Join(tx.PutSegment(Segment{No: 7, Generation: 3, Lanes: map[uint32]Span{lane: {1, 10}}}), tx.PutObject(Object{ID: ObjectID{1}, Lane: lane, First: 1, Last: 10, Size: 3}))
	})
	if n := l.Unsettled(lane, Span{5, 15}, 12); n != 8 {
		t.Errorf("%d records of 5..12 are unsettled", n)
	}
	if got, ok := l.EntryAt(lane, 10); !ok || got.Batch.ID != e.Batch.ID {
		t.Errorf("the batch of record 10 is %+v", got)
	}
	move(t, l, e, ingest.Sending)
	parts, err := l.Split(ctx, e.Batch.ID, ingest.Sending, []uint64{4}, []int64{30, 70}, &ingest.Failure{Message: "bad"})
	if err != nil || len(parts) != 2 || len(l.LiveOf(lane)) != 2 {
		t.Fatal(parts, err)
	}
	if _, err := l.DeadLetter(ctx, parts[0].Batch.ID, ingest.Sealed, &ingest.Failure{Message: "worse"}, time.Now(), 2); err != nil {
		t.Fatal(err)
	}
	// One group settles the last batch and the segment.
	do(t, l, func(tx *Tx) error {
		e := *tx.entries.get(parts[1].Batch.ID)
		e.State = ingest.Dropped
		tx.settle(&e)
		return errors.Join(tx.SettleSegment(7), tx.DeleteObject(ObjectID{1}))
	})
	if len(settled) != 2 || settled[0].State != ingest.DeadLettered || settled[1].State != ingest.Dropped {
		t.Fatalf("settled: %+v", settled)
	}
	c := l.Counters()
	if c.DeadLettered != 3 || c.Dropped != 7 || c.BatchesSplit != 1 || c.Damaged != 2 {
		t.Errorf("%+v", c)
	}
	if !reflect.DeepEqual(l.Tombstones(), []Tombstone{{7, 3}}) || len(l.Segments())+len(l.Objects()) != 0 {
		t.Errorf("%v, %v, %v", l.Tombstones(), l.Segments(), l.Objects())
	}
	if err := l.Do(ctx, func(tx *Tx) error { return tx.PutSegment(Segment{No: 7}) }); !errors.Is(err, ErrConflict) {
		t.Errorf("a row beside its tombstone: %v", err)
	}
	do(t, l, func(tx *Tx) error { return tx.ForgetSegment(7) })
	if len(l.Tombstones()) != 0 || l.State().HighestNo != 7 {
		t.Errorf("%v, %+v", l.Tombstones(), l.State())
	}
}

// TestGaps: numbers that are no records are in no batch, and no counter.
func TestGaps(t *testing.T) {
	path := newPath(t)
	mustCreate(t, path)
	l := mustOpen(t, path, nil)
	lane := addLane(t, l, 1)
	do(t, l, func(tx *Tx) error {
		if err := tx.Advance(lane, 5, 50); err != nil {
			return err
		}
		next, err := tx.Jump(lane, 100)
		if next != 106 {
			t.Errorf("the next number is %d", next)
		}
		return err
	})
	out, err := l.Seal(ctx, []Seal{seal(lane, 1, 110)}, ends(110), evenly)
	if err != nil || len(out) != 2 || out[0].Batch.Last != 5 || out[1].Batch.First != 106 {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, e := range out {
		move(t, l, e, ingest.Sending, ingest.Skipped)
	}
	if c := l.Counters(); c.Skipped != 10 {
		t.Errorf("%+v", c)
	}
	row, _ := l.Lane(lane)
	if row.Watermarks.Acked(110) != 10 || row.Watermarks.Open(120) != 10 || row.Watermarks.Next(5) != 106 {
		t.Errorf("%+v", row.Watermarks)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, path, nil)
	defer l.Close()
	if again, _ := l.Lane(lane); !reflect.DeepEqual(again, row) {
		t.Errorf("%+v\nwant %+v", again, row)
	}
}

// TestHistoryBounds: rows leave by number and by age, oldest first.
func TestHistoryBounds(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	l := newLedger(t, &Options{HistoryRows: 5, HistoryRetention: time.Hour, Clock: func() time.Time { return now }})
	lane := addLane(t, l, 1)
	for i := range uint64(8) {
		now = now.Add(time.Second)
		move(t, l, mustSeal(t, l, lane, i+1, i+1), ingest.Sending, ingest.Succeeded)
	}
	list := func() (firsts []uint64) {
		for e, err := range l.History() {
			if err != nil {
				t.Fatal(err)
			}
			firsts = append(firsts, e.Batch.First)
		}
		return firsts
	}
	if got := list(); !slices.Equal(got, []uint64{4, 5, 6, 7, 8}) || l.State().History != 5 {
		t.Errorf("history of %v, %d", got, l.State().History)
	}
	now = now.Add(2 * time.Hour)
	move(t, l, mustSeal(t, l, lane, 9, 9), ingest.Sending, ingest.Succeeded)
	if got := list(); !slices.Equal(got, []uint64{9}) || l.State().History != 1 {
		t.Errorf("history of %v, %d", got, l.State().History)
	}
	if _, err := l.FindHistory(lane, 8); !errors.Is(err, ErrNotFound) {
		t.Errorf("a pruned row: %v", err)
	}
}

// TestKeys: the newer use of a key counts, and old ones leave.
func TestKeys(t *testing.T) {
	path := newPath(t)
	mustCreate(t, path)
	l := mustOpen(t, path, nil)
	put := func(seq uint64, at int64, hash byte) {
		do(t, l, func(tx *Tx) error {
			tx.PutKeys([]Key{{Hash: KeyHash{hash}, Lane: 1, Seq: seq, At: at}})
			return nil
		})
	}
	find := func(lane uint32, hash byte, before int64) uint64 {
		seq, _, err := l.FindKey(lane, KeyHash{hash}, before)
		if err != nil {
			t.Fatal(err)
		}
		return seq
	}
	put(1, 100, 1)
	put(2, 200, 1)
	put(3, 150, 1)
	put(4, 50, 2)
	if find(1, 1, 0) != 2 || find(1, 1, 201) != 0 || find(2, 1, 0) != 0 || find(1, 3, 0) != 0 || find(1, 2, 0) != 4 {
		t.Error("keys are not found as they were put")
	}
	more, err := l.PruneKeys(ctx, time.Unix(0, 150))
	if more || err != nil || find(1, 2, 0) != 0 || find(1, 1, 0) != 2 {
		t.Errorf("after pruning: %v, %v", more, err)
	}
	var many []Key
	for i := range 2500 {
		many = append(many, Key{Hash: KeyHash{9, byte(i), byte(i >> 8)}, Lane: 1, Seq: uint64(i + 1), At: int64(i)})
	}
	do(t, l, func(tx *Tx) error { tx.PutKeys(many); return nil })
	rounds := 0
	for more := true; more; rounds++ {
		if more, err = l.PruneKeys(ctx, time.Unix(0, 3000)); err != nil {
			t.Fatal(err)
		}
	}
	if rounds != 3 {
		t.Errorf("pruned in %d rounds", rounds)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path, nil).Close() // the census holds
}

// TestPositions: the last one wins by commit, however often and late it comes.
func TestPositions(t *testing.T) {
	l := newLedger(t, nil)
	v := func(s string) []byte { return []byte(s) }
	get := func(name string) string {
		p, ok := l.Position(name)
		if !ok {
			return "-"
		}
		return string(p.Value)
	}
	put := func(through uint64, list ...Position) {
		t.Helper()
		do(t, l, func(tx *Tx) error { return tx.PutPositions(through, list) })
	}
	want := func(name, value string) {
		t.Helper()
		if got := get(name); got != value {
			t.Errorf("position %s is %q, want %q", name, got, value)
		}
	}
	put(5, Position{"a", v("1"), 3}, Position{"a", v("2"), 4}, Position{"b", v("x"), 5})
	want("a", "2")
	put(5, Position{"a", v("1"), 3}, Position{"a", v("2"), 4}, Position{"b", v("x"), 5}) // again
	put(9, Position{"a", v("3"), 8}, Position{"b", nil, 9})
	want("a", "3")
	want("b", "-")
	put(5, Position{"b", v("x"), 5}, Position{"a", v("2"), 4}) // an older segment comes late
	want("a", "3")
	want("b", "-")
	if len(l.mirror.positions) != 1 {
		t.Errorf("%d rows", len(l.mirror.positions))
	}
	put(11, Position{"a", nil, 12}) // one of a later commit than the rest
	want("a", "-")
	put(11, Position{"a", v("4"), 11})
	want("a", "-")
	put(13, Position{"a", v("5"), 13})
	want("a", "5")
	var many []Position
	for i := range MaxPositions {
		many = append(many, Position{Name: "n" + string(rune('0'+i%10)) + string(rune(1000+i)), Value: v(""), Commit: 20})
	}
	if err := l.Do(ctx, func(tx *Tx) error { return tx.PutPositions(20, many) }); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("one position too many: %v", err)
	}
	put(20, append(many, Position{"a", nil, 20})...)
	if n := len(l.Positions()); n != MaxPositions {
		t.Errorf("%d positions", n)
	}
	if get("n0"+string(rune(1000))) != "" {
		t.Error("an empty value is no value")
	}
}

// TestCreateRefuses: books that break a law are refused, and no file is made.
func TestCreateRefuses(t *testing.T) {
	for name, b := range map[string]Books{
		"counters without records": {Counters: Counters{Ingested: 1}},
		"negative counters":        {Counters: Counters{Ingested: 1, Dropped: -1}},
		"marks beyond the end":     {Lanes: []Lane{{No: 1, Key: props(1).Key(), Watermarks: Watermarks{Sealed: 2, High: 1}}}},
		"two lanes of one key":     {Lanes: []Lane{{No: 1, Key: props(1).Key()}, {No: 2, Key: props(1).Key()}}},
		"segment of no lane":       {Segments: []Segment{{No: 1, Lanes: map[uint32]Span{1: {1, 2}}}}},
		"settled and not":          {Segments: []Segment{{No: 1}}, Tombstones: []Tombstone{{1, 1}}},
		"position without a name":  {Positions: []Position{{Value: []byte("x")}}},
	} {
		path := newPath(t)
		if err := Create(vfs.OS, path, &b, nil); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := vfs.OS.Stat(path); !vfs.Missing(err) {
			t.Errorf("%s: a file was made", name)
		}
	}
}
