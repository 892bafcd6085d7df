package store_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// variant is one damaged spool.
type variant struct {
	name   string
	cell   cell
	closed bool
	files  map[string][]byte
	hurt   []string         // the files that were damaged
	plant  func(dir string) // puts something in their place; may be nil
}

// cell is a kind of file and what is done to it.
type cell struct{ kind, damage string }

// damages are the ways to hurt a file; each says what is left of it.
var damages = map[string]func(rng *rand.Rand, data []byte) []byte{
	"flip": func(rng *rand.Rand, data []byte) []byte {
		data[somewhere(rng, data)] ^= 1 << rng.IntN(8)
		return data
	},
	"zero": func(rng *rand.Rand, data []byte) []byte {
		off := somewhere(rng, data)
		clear(data[off:min(off+1+rng.IntN(9000), len(data))])
		return data
	},
	"garbage": func(rng *rand.Rand, data []byte) []byte {
		off := somewhere(rng, data)
		for i := range data[off:min(off+1+rng.IntN(5000), len(data))] {
			data[off+i] = byte(rng.Uint32())
		}
		return data
	},
	"truncate": func(rng *rand.Rand, data []byte) []byte { return data[:rng.IntN(len(data))] },
	"extend": func(rng *rand.Rand, data []byte) []byte {
		more := make([]byte, 1+rng.IntN(9000))
		if rng.IntN(2) == 0 {
			copy(more, data[rng.IntN(len(data)):])
		}
		return append(data, more...)
	},
	"swap blocks": func(rng *rand.Rand, data []byte) []byte {
		size := []int{512, 4096}[rng.IntN(2)]
		for size > len(data)/2 {
			size /= 2
		}
		n := len(data) / size
		a := rng.IntN(n)
		b := (a + 1 + rng.IntN(n-1)) % n * size
		for a, i := a*size, 0; i < size; i++ {
			data[a+i], data[b+i] = data[b+i], data[a+i]
		}
		return data
	},
}

// Damage to whole files.
const (
	remove    = "remove"
	stale     = "stale"
	swapFiles = "swap files"
)

// somewhere prefers the first bytes, where the heads are.
func somewhere(rng *rand.Rand, data []byte) int {
	if n := len(data); rng.IntN(4) == 0 {
		return rng.IntN(min(n, 600))
	}
	return rng.IntN(len(data))
}

// weights are how often a kind of file is hurt for each time that others are.
var weights = map[string]int{"ledger": 3, "active": 3, "rotated": 2, "compacted": 2, "object": 2}

// impossible are cells of files that never change, or that are zeros.
var impossible = map[cell]bool{
	{"ballast", "zero"}: true, {"ballast", "swap blocks"}: true, {"ballast", stale}: true,
	{"empty", stale}: true, {"spare", stale}: true, {"object", stale}: true, {"payload", stale}: true, {"document", stale}: true,
	{"quarantine", stale}: true, {"quarantine", "swap blocks"}: true,
}

// cells are all that are hit, as often as they are in a round of variants.
var cells = func() (out []cell) {
	for _, kind := range fileKinds {
		for _, damage := range append(slices.Sorted(maps.Keys(damages)), remove, stale, swapFiles) {
			for range max(weights[kind], 1) {
				if c := (cell{kind, damage}); !impossible[c] {
					out = append(out, c)
				}
			}
		}
	}
	rng := rand.New(rand.NewPCG(3, 3))
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}()

// variant makes a spool of one damage. It differs from the one it is made of.
func (c *corpus) variant(t testing.TB, number uint64) variant {
	t.Helper()
	rng := rand.New(rand.NewPCG(number, 7))
	v := variant{cell: cells[number%uint64(len(cells))], closed: rng.IntN(2) == 0}
	for range 2 {
		base, kinds := c.base(v.closed), byKind(c.base(v.closed))
		names := kinds[v.cell.kind]
		for i := 0; i < 500 && len(names) > 0; i++ {
			v.files, v.hurt = maps.Clone(base), []string{names[rng.IntN(len(names))]}
			c.hurt(rng, &v, kinds)
			if !maps.EqualFunc(v.files, base, bytes.Equal) {
				v.name = fmt.Sprintf("%d: %s of %s %s, closed %v", number, v.cell.damage, v.cell.kind, strings.Join(v.hurt, " and "), v.closed)
				return v
			}
		}
		v.closed = !v.closed // there is no such file, or no older copy of it
	}
	t.Fatalf("%d: %s does nothing to a file of kind %s", number, v.cell.damage, v.cell.kind)
	return v
}

// hurt damages the file, maybe without any change.
func (c *corpus) hurt(rng *rand.Rand, v *variant, kinds map[string][]string) {
	victim := v.hurt[0]
	data := v.files[victim]
	switch v.cell.damage {
	case remove:
		delete(v.files, victim)
	case stale:
		if old, ok := c.older[rng.IntN(len(c.older))][victim]; ok {
			v.files[victim] = old
		}
	case swapFiles:
		// With one of its kind, where there is another.
		others := slices.Clone(kinds[v.cell.kind])
		if len(others) == 1 {
			for _, kind := range fileKinds {
				others = append(others, kinds[kind]...)
			}
		}
		others = slices.DeleteFunc(others, func(n string) bool { return n == victim })
		other := others[rng.IntN(len(others))]
		v.files[victim], v.files[other] = v.files[other], data
		v.hurt = append(v.hurt, other)
	default:
		v.files[victim] = damages[v.cell.damage](rng, bytes.Clone(data))
	}
}

// table shows how often each cell was hit.
func table(hit map[cell]int) string {
	var b strings.Builder
	columns := append(slices.Sorted(maps.Keys(damages)), remove, stale, swapFiles)
	fmt.Fprintf(&b, "%-11s", "")
	for _, damage := range columns {
		fmt.Fprintf(&b, "%12s", damage)
	}
	for _, kind := range fileKinds {
		fmt.Fprintf(&b, "\n%-11s", kind)
		for _, damage := range columns {
			if c := (cell{kind, damage}); impossible[c] {
				fmt.Fprintf(&b, "%12s", "-")
			} else {
				fmt.Fprintf(&b, "%12d", hit[c])
			}
		}
	}
	return b.String()
}
