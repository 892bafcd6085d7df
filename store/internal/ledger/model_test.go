package ledger

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

// model is the ledger as plain maps: what it should hold after each change.
type model struct {
	state     State
	counters  Counters
	lanes     map[uint32]Lane
	high      map[uint32]uint64 // of the log that the ledger does not know
	live      map[ingest.BatchID]Entry
	settled   map[ingest.BatchID]Entry
	segments  map[uint64]Segment
	tombs     map[uint64]Tombstone
	objects   map[ObjectID]Object
	positions map[string]Position // with removals
	keys      map[KeyHash]Key
}

func newModel() *model {
	return &model{state: State{Clean: true}, lanes: map[uint32]Lane{}, high: map[uint32]uint64{}, live: map[ingest.BatchID]Entry{}, settled: map[ingest.BatchID]Entry{},
		segments: map[uint64]Segment{}, tombs: map[uint64]Tombstone{}, objects: map[ObjectID]Object{}, positions: map[string]Position{}, keys: map[KeyHash]Key{}}
}

func (m *model) clone() *model {
	c := *m
	c.lanes, c.high, c.live, c.settled = maps.Clone(m.lanes), maps.Clone(m.high), maps.Clone(m.live), maps.Clone(m.settled)
	c.segments, c.tombs, c.objects, c.positions, c.keys = maps.Clone(m.segments), maps.Clone(m.tombs), maps.Clone(m.objects), maps.Clone(m.positions), maps.Clone(m.keys)
	return &c
}

func inOrder[K cmp.Ordered, V any](rows map[K]V) []V {
	out := []V{}
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, rows[k])
	}
	return out
}

func (m *model) books() *Books {
	b := &Books{Spool: testSpool, State: m.state, Counters: m.counters, Lanes: inOrder(m.lanes), Segments: inOrder(m.segments), Tombstones: inOrder(m.tombs), Objects: []Object{}}
	for _, e := range m.live {
		b.Entries = append(b.Entries, e)
	}
	slices.SortFunc(b.Entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Batch.Lane, b.Batch.Lane), cmp.Compare(a.Batch.First, b.Batch.First))
	})
	for _, o := range m.objects {
		b.Objects = append(b.Objects, o)
	}
	slices.SortFunc(b.Objects, func(a, b Object) int { return slices.Compare(a.ID[:], b.ID[:]) })
	for _, p := range inOrder(m.positions) {
		if p.Value != nil {
			b.Positions = append(b.Positions, p)
		}
	}
	return b
}

// unsettled counts a range's records one by one.
func (m *model) unsettled(lane uint32, r Span) (n int) {
	for seq := r.First; seq <= r.Last; seq++ {
		l := m.lanes[lane]
		if _, gap := l.Watermarks.GapAt(seq); !gap && seq > l.Watermarks.Sealed {
			n++
			continue
		}
		for _, e := range m.live {
			if e.Batch.Lane == lane && e.Batch.First <= seq && seq <= e.Batch.Last {
				n++
			}
		}
	}
	return n
}

func (m *model) settle(e Entry) {
	delete(m.live, e.Batch.ID)
	m.counters.settle(&e)
	e.Progress, e.NextAttempt = nil, time.Time{}
	m.settled[e.Batch.ID] = e
	m.state.History++
}

// ledgerUnderTest runs the same changes on a ledger and on the model. At each
// transaction it keeps the file before and after, and a crash goes back to one
// of them.
type ledgerUnderTest struct {
	path          string
	opts          *Options
	l             *Ledger
	m             *model
	before, after []byte
	undone        *model // what before holds
}

func (u *ledgerUnderTest) open(t *rapid.T) {
	u.opts.NoSync = true
	l, found, err := Open(vfs.OS, u.path, u.opts, nil)
	if err != nil || found.Renewed != nil || found.Suspect {
		t.Fatalf("open: %+v, %v", found, err)
	}
	u.l = l
}

// change runs fn on the ledger, and where it is accepted apply on the model.
// It must be refused with refusal, if that is not nil.
func (u *ledgerUnderTest) change(t *rapid.T, what string, refusal error, fn func() error, apply func(m *model)) {
	m := u.m.clone()
	u.before = nil
	err := fn()
	if !errors.Is(err, refusal) || refusal == nil && err != nil {
		t.Fatalf("%s: %v, want %v", what, err, refusal)
	}
	if err == nil {
		apply(m)
		if u.before != nil {
			u.undone = u.m
		}
		u.m = m
	}
	u.compare(t, what)
}

func (u *ledgerUnderTest) compare(t *rapid.T, what string) {
	if got, want := u.l.mirror.books(), u.m.books(); !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: the ledger holds %+v\nthe model %+v", what, got, want)
	}
}

// audit reads back what is on disk only.
func (u *ledgerUnderTest) audit(t *rapid.T) {
	n := 0
	for e, err := range u.l.History() {
		want, ok := u.m.settled[e.Batch.ID]
		if err != nil || !ok || !reflect.DeepEqual(e, want) {
			t.Fatalf("history has %+v, %v\nwant %+v", e, err, want)
		}
		n++
	}
	if n != len(u.m.settled) {
		t.Fatalf("history has %d rows, want %d", n, len(u.m.settled))
	}
	for h, k := range u.m.keys {
		if seq, ok, err := u.l.FindKey(k.Lane, h, k.At); !ok || err != nil || seq != k.Seq {
			t.Fatalf("key %x: %d, %v, %v, want %d", h, seq, ok, err, k.Seq)
		}
	}
}

// TestModel compares the ledger with plain maps over any sequence of changes,
// closes and crashes. RAPID_SEED or -rapid.seed repeats a failure.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		u := &ledgerUnderTest{path: filepath.Join(dir, "manifest.db"), m: newModel()}
		u.undone = u.m
		u.opts = &Options{Clock: testClock(), HistoryRetention: 100 * 365 * 24 * time.Hour, Step: func(s Step) {
			file, err := os.ReadFile(u.path)
			if err != nil {
				panic(err)
			}
			if s == Before {
				u.before = file
			} else {
				u.after = file
			}
		}}
		if err := Create(vfs.OS, u.path, &Books{Spool: testSpool, State: State{Clean: true}}, &Options{NoSync: true}); err != nil {
			t.Fatal(err)
		}
		u.open(t)
		defer func() { u.l.Close() }()
		t.Repeat(u.actions())
	})
}

func (u *ledgerUnderTest) actions() map[string]func(*rapid.T) {
	lane := rapid.Uint32Range(1, 4)
	pick := func(t *rapid.T) (Entry, bool) {
		all := u.m.books().Entries
		if len(all) == 0 {
			return Entry{}, false
		}
		return all[rapid.IntRange(0, len(all)-1).Draw(t, "batch")], true
	}
	do := func(fn func(*Tx) error) func() error { return func() error { return u.l.Do(ctx, fn) } }
	return map[string]func(*rapid.T){
		"lane": func(t *rapid.T) {
			p := props(rapid.IntRange(1, 4).Draw(t, "table"))
			u.change(t, "lane", nil, do(func(tx *Tx) error { _, err := tx.AddLane(p); return err }), func(m *model) {
				for _, l := range m.lanes {
					if l.Key == p.Key() {
						return
					}
				}
				m.state.Lanes++
				l, _ := newLane(m.state.Lanes, p.Key())
				m.lanes[l.No] = *l
			})
		},
		"append": func(t *rapid.T) { // to the log
			no := lane.Draw(t, "lane")
			if l, ok := u.m.lanes[no]; ok {
				high := max(u.m.high[no], l.Watermarks.High)
				u.m.high[no] = l.Watermarks.Next(high) - 1 + rapid.Uint64Range(1, 20).Draw(t, "records")
			}
		},
		"seal": func(t *rapid.T) {
			no := lane.Draw(t, "lane")
			l, ok := u.m.lanes[no]
			high := max(u.m.high[no], l.Watermarks.High)
			first := l.Watermarks.Next(l.Watermarks.Sealed)
			last := first + rapid.Uint64Range(0, 10).Draw(t, "length") - 1
			var want error
			switch {
			case !ok:
				want = ErrNotFound
			case last < first || last > high:
				want = ErrConflict
			}
			var got []Entry
			u.change(t, "seal", want, func() (err error) {
				got, err = u.l.Seal(ctx, []Seal{seal(no, first, last)}, ends(high), evenly)
				return err
			}, func(m *model) {
				var n int64
				for _, e := range got {
					m.live[e.Batch.ID] = e
					n += e.Batch.Records()
				}
				if n != l.Watermarks.Records(Span{first, last}) {
					t.Fatalf("sealed %d records of %d..%d, %+v", n, first, last, l.Watermarks)
				}
				l.Watermarks.Sealed = last
				l.Watermarks.raise(high, int64(high)*10)
				m.lanes[no] = l
			})
		},
		"transition": func(t *rapid.T) {
			e, ok := pick(t)
			if !ok {
				return
			}
			from := e.State
			if rapid.IntRange(0, 9).Draw(t, "believes wrongly") == 0 {
				from = ingest.Accepted
			}
			to := rapid.SampledFrom(ingest.States()).Draw(t, "to")
			if rapid.IntRange(0, 3).Draw(t, "any") > 0 { // most of them a move that is allowed
				to = rapid.SampledFrom(slices.DeleteFunc(ingest.States(), func(s ingest.State) bool { return !e.State.CanBecome(s) })).Draw(t, "move")
			}
			progress, duplicates := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "progress"), rapid.Int64Range(0, 3).Draw(t, "duplicates")
			want := error(nil)
			if from != e.State || to != from && (to == ingest.Split || to == ingest.DeadLettered || !from.CanBecome(to)) {
				want = ErrConflict
			}
			var got Entry
			u.change(t, "transition", want, func() (err error) {
				got, err = u.l.Transition(ctx, e.Batch.ID, from, func(e *Entry) {
					e.State, e.Attempts, e.WireBytes = to, e.Attempts+1, 5
					e.Progress, e.PossibleDuplicates = progress, e.PossibleDuplicates+duplicates
				})
				return err
			}, func(m *model) {
				e.State, e.Attempts, e.WireBytes, e.Updated = to, e.Attempts+1, 5, got.Updated
				e.Progress, e.PossibleDuplicates = slices.Clone(progress), e.PossibleDuplicates+duplicates
				if len(progress) == 0 {
					e.Progress = nil
				}
				if !reflect.DeepEqual(got, e) {
					t.Fatalf("answered %+v, want %+v", got, e)
				}
				m.counters.PossibleDuplicates += duplicates
				if to.Final() {
					m.settle(e)
				} else {
					m.live[e.Batch.ID] = e
				}
			})
		},
		"dead letter": func(t *rapid.T) {
			e, ok := pick(t)
			if !ok {
				return
			}
			want := error(nil)
			if !e.State.CanBecome(ingest.DeadLettered) {
				want = ErrConflict
			}
			at := time.Date(2024, 1, 1, 0, 0, rapid.IntRange(0, 59).Draw(t, "at"), 0, time.UTC)
			u.change(t, "dead letter", want, func() error {
				_, err := u.l.DeadLetter(ctx, e.Batch.ID, e.State, &ingest.Failure{Message: "no"}, at, 1)
				return err
			}, func(m *model) {
				e.State, e.Failure, e.Updated = ingest.DeadLettered, &ingest.Failure{Message: "no"}, at
				m.counters.Damaged++
				m.settle(e)
			})
		},
		"split": func(t *rapid.T) {
			e, ok := pick(t)
			if !ok {
				return
			}
			cut := e.Batch.First + rapid.Uint64Range(0, 5).Draw(t, "cut")
			var want error
			switch {
			case !e.State.CanBecome(ingest.Split):
				want = ErrConflict
			case cut <= e.Batch.First || cut > e.Batch.Last:
				want = ingest.ErrInvalid
			}
			var parts []Entry
			u.change(t, "split", want, func() (err error) {
				parts, err = u.l.Split(ctx, e.Batch.ID, e.State, []uint64{cut}, []int64{1, 2}, nil)
				return err
			}, func(m *model) {
				delete(m.live, e.Batch.ID)
				m.counters.BatchesSplit++
				for _, p := range parts {
					m.live[p.Batch.ID] = p
				}
			})
		},
		"jump": func(t *rapid.T) {
			no := lane.Draw(t, "lane")
			l, ok := u.m.lanes[no]
			if !ok {
				return
			}
			high, n := max(u.m.high[no], l.Watermarks.High), rapid.Uint64Range(1, 50).Draw(t, "numbers")
			u.change(t, "jump", nil, do(func(tx *Tx) error {
				if err := tx.Advance(no, high, int64(high)*10); err != nil {
					return err
				}
				_, err := tx.Jump(no, n)
				return err
			}), func(m *model) {
				l.Watermarks.raise(high, int64(high)*10)
				gaps := slices.Clone(l.Watermarks.Gaps)
				if gap, ok := l.Watermarks.GapAt(high + 1); ok {
					gaps[slices.Index(gaps, gap)].Last += n
				} else {
					gaps = append(gaps, Span{high + 1, high + n})
				}
				l.Watermarks.Gaps = gaps
				m.lanes[no] = l
			})
		},
		"segment": func(t *rapid.T) {
			no, ln := rapid.Uint64Range(1, 6).Draw(t, "number"), lane.Draw(t, "lane")
			s := Segment{No: no, Generation: rapid.Uint64().Draw(t, "generation"), Size: 9, Lanes: map[uint32]Span{ln: {1, rapid.Uint64Range(1, 40).Draw(t, "last")}}, Keys: rapid.Bool().Draw(t, "keys")}
			var want error
			if _, ok := u.m.lanes[ln]; !ok {
				want = ErrNotFound
			} else if _, ok := u.m.tombs[no]; ok {
				want = ErrConflict
			}
			u.change(t, "segment", want, do(func(tx *Tx) error { return tx.PutSegment(s) }), func(m *model) {
				m.segments[no] = s
				m.state.HighestNo = max(m.state.HighestNo, no)
			})
		},
		"settle segment": func(t *rapid.T) {
			no := rapid.Uint64Range(1, 6).Draw(t, "number")
			s, ok := u.m.segments[no]
			var want error
			if !ok {
				want = ErrNotFound
			} else if s.Keys {
				want = ErrConflict
			}
			for ln, r := range s.Lanes {
				if u.m.unsettled(ln, r) > 0 {
					want = ErrConflict
				}
			}
			u.change(t, "settle segment", want, do(func(tx *Tx) error { return tx.SettleSegment(no) }), func(m *model) {
				delete(m.segments, no)
				m.tombs[no] = Tombstone{no, s.Generation}
			})
		},
		"forget segment": func(t *rapid.T) {
			no := rapid.Uint64Range(1, 6).Draw(t, "number")
			var want error
			if _, ok := u.m.tombs[no]; !ok {
				want = ErrNotFound
			}
			u.change(t, "forget segment", want, do(func(tx *Tx) error { return tx.ForgetSegment(no) }), func(m *model) { delete(m.tombs, no) })
		},
		"object": func(t *rapid.T) {
			id, ln := ObjectID{byte(rapid.IntRange(1, 3).Draw(t, "object"))}, lane.Draw(t, "lane")
			o := Object{ID: id, Lane: ln, First: 3, Last: 3 + rapid.Uint64Range(0, 9).Draw(t, "more"), Size: 7}
			old, there := u.m.objects[id]
			var want error
			if there && u.m.unsettled(old.Lane, Span{old.First, old.Last}) > 0 {
				want = ErrConflict
			} else if _, ok := u.m.lanes[ln]; !there && !ok {
				want = ErrNotFound
			}
			u.change(t, "object", want, do(func(tx *Tx) error {
				if there {
					return tx.DeleteObject(id)
				}
				return tx.PutObject(o)
			}), func(m *model) {
				if delete(m.objects, id); !there {
					m.objects[id] = o
				}
			})
		},
		"position": func(t *rapid.T) {
			p := Position{Name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), Commit: rapid.Uint64Range(1, 60).Draw(t, "commit")}
			if rapid.Bool().Draw(t, "set") {
				p.Value = []byte{byte(p.Commit)}
			}
			through := u.m.state.Positions + rapid.Uint64Range(0, 3).Draw(t, "through")
			u.change(t, "position", nil, do(func(tx *Tx) error { return tx.PutPositions(through, []Position{p}) }), func(m *model) {
				if old, ok := m.positions[p.Name]; ok && p.Commit > old.Commit || !ok && p.Commit > m.state.Positions {
					m.positions[p.Name] = p
				}
				m.state.Positions = through
				maps.DeleteFunc(m.positions, func(_ string, p Position) bool { return p.Value == nil && p.Commit <= through })
			})
		},
		"keys": func(t *rapid.T) {
			var list []Key
			for range rapid.IntRange(1, 20).Draw(t, "keys") {
				list = append(list, Key{Hash: KeyHash{byte(rapid.IntRange(0, 99).Draw(t, "hash"))}, Lane: 1, Seq: rapid.Uint64().Draw(t, "seq"), At: rapid.Int64Range(0, 100).Draw(t, "at")})
			}
			u.change(t, "keys", nil, do(func(tx *Tx) error { tx.PutKeys(list); return nil }), func(m *model) {
				for _, k := range list {
					if old, ok := m.keys[k.Hash]; !ok || k.At > old.At {
						m.keys[k.Hash] = k
					}
				}
			})
		},
		"prune keys": func(t *rapid.T) {
			before := rapid.Int64Range(0, 100).Draw(t, "before")
			u.change(t, "prune keys", nil, func() error { _, err := u.l.PruneKeys(ctx, time.Unix(0, before)); return err }, func(m *model) {
				maps.DeleteFunc(m.keys, func(_ KeyHash, k Key) bool { return k.At < before })
			})
		},
		"state": func(t *rapid.T) {
			s := State{Epoch: rapid.Uint64().Draw(t, "epoch"), Clean: rapid.Bool().Draw(t, "clean"), Active: Active{No: 3, End: 4}}
			u.change(t, "state", nil, do(func(tx *Tx) error { tx.SetState(s); tx.Count(1, 2, 3); return nil }), func(m *model) {
				m.state.Epoch, m.state.Clean, m.state.Active = s.Epoch, s.Clean, s.Active
				m.counters.Damaged++
				m.counters.Suspect += 2
				m.counters.PossibleDuplicates += 3
			})
		},
		"group": func(t *rapid.T) { // two changes in one transaction see each other
			p := props(rapid.IntRange(1, 4).Draw(t, "table"))
			var no uint32
			u.change(t, "group", nil, do(func(tx *Tx) error {
				l, err := tx.AddLane(p)
				if err != nil {
					return err
				}
				again, err := tx.AddLane(p)
				if no = l.No; again.No != l.No {
					t.Fatal("a lane of its own for each call")
				}
				return errors.Join(err, tx.Advance(no, l.Watermarks.Next(l.Watermarks.High), l.Watermarks.Bytes+10))
			}), func(m *model) {
				l, ok := m.lanes[no]
				if !ok {
					fresh, _ := newLane(no, p.Key())
					l, m.state.Lanes = *fresh, no
				}
				l.Watermarks.raise(l.Watermarks.Next(l.Watermarks.High), l.Watermarks.Bytes+10)
				m.lanes[no] = l
				m.high[no] = max(m.high[no], l.Watermarks.High)
			})
		},
		"reopen": func(t *rapid.T) {
			if err := u.l.Close(); err != nil {
				t.Fatal(err)
			}
			u.open(t)
			u.compare(t, "reopen")
			u.audit(t)
		},
		"crash": func(t *rapid.T) {
			file, m := u.after, u.m
			if u.before != nil && rapid.Bool().Draw(t, "before the last transaction") {
				file, m = u.before, u.undone
			}
			if file == nil {
				return
			}
			if err := u.l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(u.path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			high := u.m.high
			u.m = m.clone()
			u.m.high = high
			u.before, u.after, u.undone = nil, nil, u.m
			u.open(t)
			u.compare(t, "crash")
			u.audit(t)
		},
	}
}
