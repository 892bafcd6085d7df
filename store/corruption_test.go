package store_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// envCorpus is how many variants TestCorpus opens, or which, from:to;
// envCorpusSeed is what the spool is made from that they are variants of.
// README names them.
const (
	envCorpus     = "KUSTOSPOOL_CORPUS"
	envCorpusSeed = "KUSTOSPOOL_CORPUS_SEED"
)

func corpusSeed(t *testing.T) uint64 {
	t.Helper()
	v := os.Getenv(envCorpusSeed)
	if v == "" {
		return 1
	}
	seed, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s", envCorpusSeed, v)
	}
	return seed
}

// tolerated are the records that the damage hits, and those that nobody can
// tell to be missing: of the last commit, after a kill.
func (c *corpus) tolerated(v *variant) (out map[at]bool, blind bool) {
	base := c.base(v.closed)
	out = map[at]bool{}
	active := activeOf(base)
	hurtObject := map[string]bool{}
	for _, name := range v.hurt {
		hurtObject[name] = !bytes.Equal(base[name], v.files[name])
	}
	for name, data := range base {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		now := v.files[name]
		changed := func(off, end int64) bool {
			return int64(len(now)) < end || !bytes.Equal(now[off:end], data[off:end])
		}
		all, last := frames(data)
		tail := name == active && !v.closed && changed(last, last+60)
		for _, f := range all {
			if tail && f.off > last || changed(f.off, f.end) || hurtObject[f.object] {
				blind = blind || name == active && !v.closed
				for seq := f.first; seq <= f.last; seq++ {
					out[at{uint64(f.lane), seq}] = true
				}
			}
		}
		blind = blind || tail
	}
	return out, blind
}

// survivor is what a child said of a variant.
type survivor struct {
	delivered map[at]bool
	files     map[string]bool
	positions map[string]string
	finished  bool
	problems  []string
}

func (c *corpus) run(t *testing.T, v *variant, blind bool) survivor {
	t.Helper()
	dir := t.TempDir()
	writeFiles(t, dir, v.files)
	if v.plant != nil {
		v.plant(dir)
	}
	cmd := child(t, "survive", dir, "GOMEMLIMIT=64MiB")
	var out, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	s := survivor{delivered: map[at]bool{}, files: map[string]bool{}, positions: map[string]string{}}
	bad := func(format string, args ...any) { s.problems = append(s.problems, fmt.Sprintf(format, args...)) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() }) // one that is busy ends by itself: limitProcessor
	err := cmd.Wait()
	if !hung.Stop() {
		bad("it hung")
	}
	if err != nil {
		bad("child: %v\n%s", err, stderr.String()[:min(stderr.Len(), 3000)])
		return s
	}
	lines := bufio.NewScanner(strings.NewReader(out.String()))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "file "); ok {
			s.files[name] = true
			continue
		}
		var peak int64
		if n, _ := fmt.Sscanf(lines.Text(), "peak %d", &peak); n == 1 && peak > raceFactor*256<<20 {
			bad("it took %d MiB of memory", peak>>20)
		}
		var opened int64
		if n, _ := fmt.Sscanf(lines.Text(), "opened %d", &opened); n == 1 && opened > 5000 {
			bad("Open took %d ms of the processor", opened)
		}
		if a, ok := parseAck(lines.Text()); ok {
			rec := at{uint64(a.lane), a.seq}
			if _, used := c.records[rec]; used && !blind && !(v.closed && c.late[rec]) {
				bad("number %d of lane %d was given out again", a.seq, a.lane)
			}
			continue
		}
		var name, value string
		if n, _ := fmt.Sscanf(lines.Text(), "position %s %s", &name, &value); n == 2 {
			s.positions[name] = value
		}
		var lane, seq uint64
		var data string
		if n, _ := fmt.Sscanf(lines.Text(), "got %d %d %s", &lane, &seq, &data); n == 3 && data != "after" {
			if c.records[at{lane, seq}] != data {
				bad("record %d of lane %d reads %.20q, was %.20q", seq, lane, data, c.records[at{lane, seq}])
			}
			if s.delivered[at{lane, seq}] {
				bad("record %d of lane %d was delivered twice", seq, lane)
			}
			s.delivered[at{lane, seq}] = true
		}
		s.finished = s.finished || strings.HasPrefix(lines.Text(), "stats ")
	}
	if !s.finished {
		bad("the child did not finish")
	}
	return s
}

// check opens a variant in a child and lists what is wrong.
func (c *corpus) check(t *testing.T, v *variant) []string {
	may, blind := c.tolerated(v)
	s := c.run(t, v, blind)
	if !s.finished {
		return s.problems
	}
	for _, rec := range slices.SortedFunc(maps.Keys(c.unsettled[v.closed]), func(a, b at) int { return slices.Compare(a[:], b[:]) }) {
		if !s.delivered[rec] && !may[rec] {
			s.problems = append(s.problems, fmt.Sprintf("record %d of lane %d, which nothing hit, was not delivered", rec[1], rec[0]))
		}
	}
	for name := range v.files {
		if !slices.Contains(v.hurt, name) && c.needed(name, v.closed) && !s.files[name] && !s.files["quarantine/"+path.Base(name)+".1"] {
			s.problems = append(s.problems, "the intact "+name+" was removed")
		}
	}
	// A position is in the ledger and in the log: one file's damage loses none.
	// What is in neither any more is said in Store.Position.
	log := slices.ContainsFunc(v.hurt, func(n string) bool { return strings.HasPrefix(n, "segments/") })
	if !log && !maps.Equal(s.positions, c.positions) {
		s.problems = append(s.problems, fmt.Sprintf("the positions are %v, were %v", s.positions, c.positions))
	}
	return s.problems
}

// needed reports whether a file holds what is not settled.
func (c *corpus) needed(name string, closed bool) bool {
	base := c.base(closed)
	switch {
	case strings.HasPrefix(name, "dead/"):
		return true
	case strings.HasSuffix(name, ".log"):
		all, _ := frames(base[name])
		return slices.ContainsFunc(all, func(f place) bool { return c.unsettled[closed][at{uint64(f.lane), f.first}] })
	case strings.HasSuffix(name, ".obj"):
		for n, data := range base {
			if !strings.HasSuffix(n, ".log") {
				continue
			}
			all, _ := frames(data)
			if slices.ContainsFunc(all, func(f place) bool { return f.object == name && c.unsettled[closed][at{uint64(f.lane), f.first}] }) {
				return true
			}
		}
	}
	return false
}

// TestCorpus opens spools with one file damaged, in children: none dies, hangs or
// takes much memory, every record that the damage did not hit is delivered
// once, the books add up, no number is given out twice, no intact file is
// removed, and no position is lost or older than it was. Every kind of file meets every kind of damage. What
// fails says how it is run again.
func TestCorpus(t *testing.T) {
	from, to := uint64(0), uint64(200)
	if testing.Short() {
		to = 30
	}
	if v := os.Getenv(envCorpus); v != "" {
		a, b, ok := strings.Cut(v, ":")
		if !ok {
			a, b = "0", v
		}
		var err1, err2 error
		from, err1 = strconv.ParseUint(a, 10, 64)
		to, err2 = strconv.ParseUint(b, 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("%s=%s", envCorpus, v)
		}
	}
	c := makeCorpus(t)
	var mu sync.Mutex // guards hit
	hit := map[cell]int{}
	t.Run("variants", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for number := from + uint64(i); number < to; number += uint64(runtime.GOMAXPROCS(0)) {
					v := c.variant(t, number)
					mu.Lock()
					hit[v.cell]++
					mu.Unlock()
					problems := c.check(t, &v)
					if len(problems) > 0 {
						t.Errorf("%s:\n%s\nagain: %s=%d %s=%d:%d go test ./store -run 'TestCorpus$'", v.name,
							strings.Join(problems[:min(len(problems), 3)], "\n"), envCorpusSeed, c.seed, envCorpus, number, number+1)
					}
				}
			})
		}
	})
	if to-from < uint64(len(cells)) {
		return
	}
	t.Logf("%d variants of seed %d\n%s", to-from, c.seed, table(hit))
	for _, cell := range cells {
		if hit[cell] == 0 {
			t.Errorf("nothing did %s to a file of kind %s", cell.damage, cell.kind)
		}
	}
}

// TestCorpusIsTheSame: a variant is known by its number, so two corpora of one
// seed have the same layout. It has every kind of file, and damage that is
// said to be impossible is.
func TestCorpusIsTheSame(t *testing.T) {
	a, b := makeCorpus(t), buildCorpus(t, corpusSeed(t))
	for _, closed := range []bool{true, false} {
		x, y := layout(a.base(closed)), layout(b.base(closed))
		for i := range max(len(x), len(y)) {
			if i >= len(x) || i >= len(y) || x[i] != y[i] {
				t.Fatalf("closed %v: layouts differ:\n%s\n\n%s", closed, strings.Join(x, "\n"), strings.Join(y, "\n"))
			}
		}
	}
	kinds := byKind(a.clean)
	for kind, names := range byKind(a.unclean) {
		kinds[kind] = append(kinds[kind], names...)
	}
	for _, kind := range fileKinds {
		if len(kinds[kind]) == 0 {
			t.Errorf("the corpus has no file of kind %s", kind)
		}
		delete(kinds, kind)
	}
	if len(kinds) > 0 {
		t.Errorf("files of kinds that nobody hurts: %v", kinds)
	}
	for cell := range impossible {
		if cell.damage != stale {
			continue
		}
		for _, closed := range []bool{true, false} {
			for _, name := range byKind(a.base(closed))[cell.kind] {
				for _, old := range a.older {
					if data, ok := old[name]; ok && !bytes.Equal(data, a.base(closed)[name]) {
						t.Fatalf("there is an older copy of %s, of kind %s", name, cell.kind)
					}
				}
			}
		}
	}
}

// TestNoDamage is the control of TestCorpus: without damage everything is
// delivered; and one that must see its loss: a frame that is gone although
// nothing is said to be damaged.
func TestNoDamage(t *testing.T) {
	c := makeCorpus(t)
	for _, closed := range []bool{true, false} {
		v := variant{closed: closed, files: maps.Clone(c.clean)}
		if !closed {
			v.files = maps.Clone(c.unclean)
		}
		if problems := c.check(t, &v); len(problems) > 0 {
			t.Errorf("closed %v: %d problems, the first: %s", closed, len(problems), problems[0])
		}
		hurt := v
		hurt.files = maps.Clone(v.files)
		name := activeOf(v.files)
		data := bytes.Clone(v.files[name])
		all, _ := frames(data)
		clear(data[all[len(all)-2].off+64 : all[len(all)-2].end])
		hurt.files[name] = data
		s := c.run(t, &hurt, false)
		if len(s.delivered) >= len(c.unsettled[closed]) {
			t.Error("a damaged frame was not missed")
		}
	}
}
