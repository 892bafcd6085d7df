package lifecycle

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kustospool/ingest"
)

// family is a batch and, once it was split, its parts.
type family struct {
	whole batch
	parts [2]batch // of one that was split
}

func (f *family) all() []*batch {
	if f.whole.state != ingest.Split {
		return []*batch{&f.whole}
	}
	return []*batch{&f.whole, &f.parts[0], &f.parts[1]}
}

func (f *family) final() bool {
	for _, b := range f.all() {
		if b.live() || b.letter == appended {
			return false
		}
	}
	return true
}

// forget drops what makes no difference any more, so that states that go on
// alike are one: what a status says of a batch that is final, and requests that
// bring no rows.
func (f family) forget(w *world) family {
	for _, b := range f.all() {
		if b.live() {
			continue
		}
		b.report, b.mark = 0, false
		if b.content != good || w.guarantee == ingest.ExactlyOnce && b.copies > 0 {
			b.wire, b.todo = 0, 0
		}
		if b.wire|b.todo == 0 {
			b.attempts = 0
		}
		if b.letter == waiting {
			b.unresolved = min(b.unresolved, 1)
		} else {
			b.unresolved = 0
		}
	}
	return f
}

// twice is how many rows of the family are in the table more than once.
func (f *family) twice() (rows int, counted int) {
	part := [2]int{}
	for i, b := range f.all() {
		counted += int(b.doubled)
		if i > 0 {
			part[i-1] = int(b.copies + b.again)
		}
	}
	for i := range int(f.whole.records) {
		rows += max(0, int(f.whole.copies+f.whole.again)+part[i%2]-1)
	}
	return rows, counted
}

// edge is a move of a family to another state of it.
type edge struct {
	to   int32
	well bool
}

// graph is all that one family can do, its crashes apart: those are everybody's.
type graph struct {
	states  []family
	moves   [][]edge
	crashes [][]int32 // empty where no crash may come any more
	ends    []bool    // whether the state can become final where all is well
}

// explore finds every state of a family and every move. It ends early when the
// world has found a mistake.
func (w *world) explore(start batch) *graph {
	g := &graph{}
	defer g.settle()
	index := map[family]int32{}
	id := func(f family) int32 {
		f = f.forget(w)
		n, ok := index[f]
		if !ok {
			n = int32(len(g.states))
			index[f] = n
			g.states = append(g.states, f)
			w.rows(&f)
		}
		return n
	}
	id(family{whole: start})
	for at := 0; at < len(g.states) && w.found == nil; at++ {
		f := g.states[at]
		var moves []edge
		for i, b := range f.all() {
			for _, m := range w.moves(*b) {
				to := f
				*to.all()[i] = m.to
				if m.to.state == ingest.Split && b.state != ingest.Split {
					if i > 0 || len(m.parts) != 2 {
						w.wrong(b, "one record is split")
						return g
					}
					to.parts = [2]batch(m.parts)
				}
				if m.to.doubled > b.doubled && m.to.state == ingest.Split {
					// Counting the rows and splitting are two writes.
					between := f
					between.all()[i].doubled = m.to.doubled
					moves = append(moves, edge{id(between), false})
				}
				moves = append(moves, edge{id(to), m.well})
			}
		}
		g.moves = append(g.moves, distinct(moves, int32(at)))
		var crashes []int32
		for _, to := range crash(f) {
			crashes = append(crashes, id(to))
		}
		g.crashes = append(g.crashes, crashes)
	}
	return g
}

// distinct leaves out moves that lead nowhere, and those that lead where another
// one does.
func distinct(moves []edge, from int32) []edge {
	out := moves[:0]
	for _, m := range moves {
		i := slices.IndexFunc(out, func(o edge) bool { return o.to == m.to })
		switch {
		case m.to == from:
		case i < 0:
			out = append(out, m)
		default:
			out[i].well = out[i].well || m.well
		}
	}
	return slices.Clip(out)
}

// rows checks what is in the table.
func (w *world) rows(f *family) {
	switch rows, counted := f.twice(); {
	case w.guarantee == ingest.ExactlyOnce && !w.rots && rows > 0:
		w.wrong(&f.whole, "%d rows are there twice, and the destination honours tags", rows)
	case rows > counted:
		w.wrong(&f.whole, "%d rows are there twice, and %d count as possible", rows, counted)
	}
}

// crash is what is left of a family when the process dies: the rows, and the
// destination. A request that was about to leave may have left.
func crash(f family) (out []family) {
	for _, b := range f.all() {
		if b.sending && !b.spoiled() {
			return nil
		}
	}
	out = []family{f}
	for i := range f.all() {
		for n := range out {
			b := out[n].all()[i]
			left := b.sending && b.phase == committed
			bit := b.attempt()
			b.queued, b.awaited, b.sending, b.due, b.phase, b.down = false, false, false, false, begun, b.live()
			if left {
				other := out[n]
				other.all()[i].wire |= bit
				out = append(out, other)
			}
		}
	}
	return out
}

// settle finds the states from which a final one can be reached.
func (g *graph) settle() {
	g.ends = make([]bool, len(g.states))
	before := make([][]int32, len(g.states))
	var todo []int32
	for i, moves := range g.moves {
		for _, m := range moves {
			if m.well {
				before[m.to] = append(before[m.to], int32(i))
			}
		}
	}
	for i := range g.states {
		if g.states[i].final() {
			g.ends[i] = true
			todo = append(todo, int32(i))
		}
	}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, b := range before[at] {
			if !g.ends[b] {
				g.ends[b] = true
				todo = append(todo, b)
			}
		}
	}
}

// together explores every interleaving of two families, with crashes that meet
// both, and says how many states there are.
func (w *world) together(a, b *graph) (states, steps int) {
	n := uint64(len(b.states))
	seen := make([]uint64, (uint64(len(a.states))*n+63)/64)
	var todo []uint64
	visit := func(x, y int32) {
		steps++
		at := uint64(x)*n + uint64(y)
		if seen[at/64]&(1<<(at%64)) != 0 {
			return
		}
		seen[at/64] |= 1 << (at % 64)
		states++
		todo = append(todo, at)
		if !a.ends[x] {
			w.wrong(&a.states[x].whole, "a batch never ends, though all is well")
		}
		if !b.ends[y] {
			w.wrong(&b.states[y].whole, "a batch never ends, though all is well")
		}
	}
	if w.found == nil {
		visit(0, 0)
	}
	for len(todo) > 0 && w.found == nil {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		x, y := int32(at/n), int32(at%n)
		for _, m := range a.moves[x] {
			visit(m.to, y)
		}
		for _, m := range b.moves[y] {
			visit(x, m.to)
		}
		for _, to := range a.crashes[x] {
			for _, other := range b.crashes[y] {
				visit(to, other)
			}
		}
	}
	return states, steps
}

// scene is two batches under some terms.
type scene struct {
	terms
	one, two batch
}

// scenes are the worlds that are searched.
func scenes() (out []scene) {
	whole := func(c content, adverse uint8) batch {
		return batch{state: ingest.Sealed, down: true, records: 2, content: c, adverse: adverse}
	}
	single := func(adverse uint8) batch {
		return batch{state: ingest.Sealed, down: true, records: 1, adverse: adverse}
	}
	for _, g := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
		for _, t := range []terms{
			{guarantee: g, confirm: ingest.ConfirmIngested, tracked: true},
			{guarantee: g, confirm: ingest.ConfirmAccepted, tracked: true},
			{guarantee: g, confirm: ingest.ConfirmIngested},
		} {
			if testing.Short() && (!t.tracked || t.confirm == ingest.ConfirmAccepted || g == ingest.AtLeastOnce) {
				continue
			}
			full, rots := t, t
			full.drops, rots.rots = true, true
			other := uint8(1)
			if t.tracked && t.confirm == ingest.ConfirmIngested && g == ingest.ExactlyOnce && !testing.Short() {
				other = 2 // the largest of all: two attempts of each batch, a split, and one of each half
			}
			out = append(out,
				scene{t, whole(good, 2), whole(good, 2)},
				scene{t, whole(poison, 2), single(other)},
				scene{t, whole(forbidden, 2), single(2)},
				scene{full, whole(good, 2), single(1)},
				scene{rots, whole(good, 2), single(0)})
		}
	}
	return out
}

// alone looks at each batch of the scenes by itself: what it can do, and whether
// it can end. What two of them can do together is a part of it.
func alone(table Table) *mistake {
	for _, s := range scenes() {
		for _, b := range []batch{s.one, s.two} {
			w := &world{terms: s.terms, table: table}
			g := w.explore(b)
			if i := slices.Index(g.ends, false); w.found == nil && i >= 0 {
				w.wrong(&g.states[i].whole, "a batch never ends, though all is well")
			}
			if w.found != nil {
				return w.found
			}
		}
	}
	return nil
}

// The search of the life of two batches, to its end. Each is attempted twice by
// an engine and a destination that may do anything wrong, and then once more
// where all is well; one of them may be split, and each half may go wrong once.
// With -short only the usual terms are searched.
func TestEveryInterleavingOfTwoBatches(t *testing.T) {
	begin, total, steps := time.Now(), 0, 0
	used := map[*Rule]bool{}
	for _, s := range scenes() {
		w := &world{terms: s.terms, table: Life, used: used}
		a, b := w.explore(s.one), w.explore(s.two)
		states, moves := w.together(a, b)
		if w.found != nil {
			t.Fatal(w.found)
		}
		total, steps = total+states, steps+moves
		t.Logf("%9d states, %10d steps (%d x %d): %s", states, moves, len(a.states), len(b.states), s)
	}
	for i := range Life {
		r := &Life[i]
		before := slices.Contains(r.On, Filled) || slices.Contains(r.On, BadRecord) || r.If == IfRefused
		if !used[r] && !before && !testing.Short() {
			t.Errorf("the search says nothing about: %v on %v, %q", r.From, r.On, r.If)
		}
	}
	t.Logf("%d states, %d steps, %v", total, steps, time.Since(begin).Round(time.Millisecond))
	fmt.Printf("the life of a batch: %d states searched in %v\n", total, time.Since(begin).Round(time.Millisecond))
}
