package store_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/ingest"
)

// envCorpus is how many variants TestCorpus opens; README names it.
const envCorpus = "KUSTOSPOOL_CORPUS"

// at is a lane and a number.
type at [2]uint64

// corpus is a spool with segments that are settled, listed, and active, with
// live and open records, objects, keys, positions and a dead letter; as it is
// after a close, and after a kill some records later.
type corpus struct {
	clean, unclean, stale map[string][]byte // files by name
	records               map[at]string
	unsettled             map[bool]map[at]bool // by whether it was closed
	late                  map[at]bool          // records that came after the close
}

// readFiles reads a directory.
func readFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, data := range contents(t, dir) {
		out[filepath.ToSlash(name)] = []byte(data)
	}
	return out
}

func writeFiles(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for _, sub := range []string{"segments", "objects", "dead", "quarantine"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var sharedCorpus = struct {
	sync.Once
	c *corpus
}{}

func makeCorpus(t *testing.T) *corpus {
	t.Helper()
	sharedCorpus.Do(func() { sharedCorpus.c = buildCorpus(t) })
	if sharedCorpus.c == nil {
		t.Fatal("there is no corpus")
	}
	return sharedCorpus.c
}

func buildCorpus(t *testing.T) *corpus {
	dir := t.TempDir()
	c := &corpus{records: map[at]string{}, unsettled: map[bool]map[at]bool{true: {}}, late: map[at]bool{}}
	live := c.unsettled[true]
	s := openStore(t, dir, crashOptions())
	lanes := []uint32{laneOf(t, s, jsonTable("a")), laneOf(t, s, jsonTable("b"))}
	note := func(acks ...ack) {
		for _, a := range acks {
			c.records[at{uint64(a.lane), a.seq}] = a.data
			live[at{uint64(a.lane), a.seq}] = true
		}
	}
	tied := tiedLanes(s)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 170 {
		lane := lanes[i%2]
		data := fmt.Sprintf("r%d-%s", i, strings.Repeat("y", rng.IntN(4000)))
		key := ""
		if i%7 == 0 {
			key = fmt.Sprint("key", i)
		}
		a, err := s.AppendOne(ctx, lane, []byte(data), key)
		if err != nil {
			t.Fatal(err)
		}
		note(ack{lane, a.Seq, data})
		if i%12 == 5 {
			note(appendTied(s, tied, fmt.Sprint("t", i))...)
		}
		if i%40 == 11 {
			note(appendObject(s, lane, fmt.Sprint("o", i))...)
		}
		if i%30 == 20 {
			for j, e := range sealAll(t, s) {
				gone := func() {
					for seq := e.Batch.First; seq <= e.Batch.Last; seq++ {
						delete(live, at{uint64(e.Batch.Lane), seq})
					}
				}
				switch {
				case i < 60:
					settle(t, s, e.Batch.ID)
					gone()
				case j == 0 && i < 100:
					if _, err := s.DeadLetter(ctx, e.Batch.ID, ingest.Sealed, &ingest.Failure{Class: "permanent"}); err != nil {
						t.Fatal(err)
					}
					gone()
				}
			}
		}
		if i == 110 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.stale = readFiles(t, dir)
			s = openStore(t, dir, crashOptions())
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.clean = readFiles(t, dir)
	c.unsettled[false] = maps.Clone(live)
	out, err := child(t, "die", dir).Output()
	if err == nil {
		t.Fatal("the child that should die lived")
	}
	for _, line := range strings.Split(string(out), "\n") {
		if a, ok := parseAck(line); ok {
			c.records[at{uint64(a.lane), a.seq}] = a.data
			c.unsettled[false][at{uint64(a.lane), a.seq}] = true
			c.late[at{uint64(a.lane), a.seq}] = true
		}
	}
	if len(c.unsettled[false]) != len(live)+40 {
		t.Fatalf("%d records, then %d", len(live), len(c.unsettled[false]))
	}
	c.unclean = readFiles(t, dir)
	return c
}

// place is where a frame or a chunk is in a file.
type place struct {
	off, end    int64
	lane        uint32
	first, last uint64
	object      string // the file that the frame refers to
}

// frames finds the frames of a sound segment, and where its last commit begins.
func frames(data []byte) (out []place, lastCommit int64) {
	for off := 4096; off+64 < len(data); off++ {
		if bytes.HasPrefix(data[off:], []byte("kspC\x01")) {
			lastCommit = int64(off)
		}
		p := data[off:]
		if !bytes.HasPrefix(p, []byte("kspF\x02")) {
			continue
		}
		f := place{off: int64(off), lane: binary.BigEndian.Uint32(p[16:]), first: binary.BigEndian.Uint64(p[24:])}
		f.last = f.first + uint64(binary.BigEndian.Uint32(p[20:])) - 1
		f.end = f.off + 64 + int64(binary.BigEndian.Uint32(p[56:]))
		if f.end > int64(len(data)) {
			continue
		}
		if p[5] == 1 {
			f.object = fmt.Sprintf("objects/%x.obj", p[64:80])
		}
		out = append(out, f)
		off = int(f.end) - 1
	}
	return out, lastCommit
}

// variant is one damaged spool.
type variant struct {
	name   string
	closed bool
	files  map[string][]byte
	hurt   []string         // the files that were damaged
	plant  func(dir string) // puts something in their place; may be nil
}

// damages are the ways to hurt a file; each says what is left of it.
var damages = map[string]func(rng *rand.Rand, data []byte) []byte{
	"flip": func(rng *rand.Rand, data []byte) []byte {
		if len(data) == 0 {
			return []byte{1}
		}
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
	"truncate": func(rng *rand.Rand, data []byte) []byte { return data[:rng.IntN(len(data)+1)] },
	"extend": func(rng *rand.Rand, data []byte) []byte {
		more := make([]byte, 1+rng.IntN(9000))
		if rng.IntN(2) == 0 {
			copy(more, data[rng.IntN(len(data)+1):])
		}
		return append(data, more...)
	},
	"swap blocks": func(rng *rand.Rand, data []byte) []byte {
		size := []int{512, 4096}[rng.IntN(2)]
		if n := len(data) / size; n > 1 {
			a, b := rng.IntN(n)*size, rng.IntN(n)*size
			for i := range size {
				data[a+i], data[b+i] = data[b+i], data[a+i]
			}
		}
		return data
	},
}

// somewhere prefers the first and the last kilobytes, where the heads and the
// indexes are.
func somewhere(rng *rand.Rand, data []byte) int {
	n := len(data)
	switch {
	case n == 0:
		return 0
	case rng.IntN(4) == 0:
		return rng.IntN(min(n, 600))
	}
	return rng.IntN(n)
}

func (c *corpus) variant(seed uint64) variant {
	rng := rand.New(rand.NewPCG(seed, 7))
	v := variant{closed: rng.IntN(2) == 0, files: map[string][]byte{}}
	base := c.unclean
	if v.closed {
		base = c.clean
	}
	var names []string
	for name, data := range base {
		v.files[name] = bytes.Clone(data)
		names = append(names, name)
	}
	// By size, since the names of objects and dead letters are of each run's own.
	slices.SortFunc(names, func(a, b string) int {
		if path.Dir(a) == path.Dir(b) && !strings.HasPrefix(a, "segments/") {
			return cmp.Or(cmp.Compare(len(base[a]), len(base[b])), cmp.Compare(a, b))
		}
		return cmp.Compare(a, b)
	})
	// As often the ledger, a segment, and any other file.
	group := []string{"manifest", "segments/", ""}[rng.IntN(3)]
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, group) })
	victim := names[rng.IntN(len(names))]
	v.hurt = []string{victim}
	kinds := append(slices.Sorted(maps.Keys(damages)), "flip", "remove", "stale", "swap files")
	kind := kinds[rng.IntN(len(kinds))]
	switch kind {
	case "remove":
		delete(v.files, victim)
	case "stale":
		if old, ok := c.stale[victim]; ok {
			v.files[victim] = bytes.Clone(old)
		} else {
			delete(v.files, victim)
		}
	case "swap files":
		other := names[rng.IntN(len(names))]
		v.files[victim], v.files[other] = v.files[other], v.files[victim]
		v.hurt = append(v.hurt, other)
	default:
		v.files[victim] = damages[kind](rng, v.files[victim])
	}
	v.name = fmt.Sprintf("%d: %s of %s, closed %v", seed, kind, strings.Join(v.hurt, " and "), v.closed)
	return v
}

// tolerated are the records that the damage hits, and those that nobody can
// tell to be missing: of the last commit, after a kill.
func (c *corpus) tolerated(v *variant) (out map[at]bool, blind bool) {
	base := c.unclean
	if v.closed {
		base = c.clean
	}
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

// activeOf is the segment with the highest number that has a commit.
func activeOf(files map[string][]byte) (name string) {
	for n, data := range files {
		if strings.HasSuffix(n, ".log") && n > name {
			if all, _ := frames(data); len(all) > 0 {
				name = n
			}
		}
	}
	return name
}

// survivor is what a child said of a variant.
type survivor struct {
	delivered map[at]bool
	files     map[string]bool
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
	s := survivor{delivered: map[at]bool{}, files: map[string]bool{}}
	bad := func(format string, args ...any) { s.problems = append(s.problems, fmt.Sprintf(format, args...)) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
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
	finished := false
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "file "); ok {
			s.files[name] = true
			continue
		}
		var peak int64
		if n, _ := fmt.Sscanf(lines.Text(), "peak %d", &peak); n == 1 && peak > 256<<20 {
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
		finished = finished || strings.HasPrefix(lines.Text(), "stats ")
	}
	if !finished {
		bad("the child did not finish")
	}
	return s
}

// check opens a variant in a child and lists what is wrong.
func (c *corpus) check(t *testing.T, v *variant) []string {
	may, blind := c.tolerated(v)
	s := c.run(t, v, blind)
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
	return s.problems
}

// needed reports whether a file holds what is not settled.
func (c *corpus) needed(name string, closed bool) bool {
	base := c.unclean
	if closed {
		base = c.clean
	}
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
// once, the books add up, no number is given out twice, and no intact file is
// removed. A failing one is run again by its number:
//
//	KUSTOSPOOL_CORPUS=from:to go test ./store -run TestCorpus
func TestCorpus(t *testing.T) {
	from, to := uint64(0), uint64(200)
	if testing.Short() {
		to = 60
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
	t.Run("variants", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for seed := from + uint64(i); seed < to; seed += uint64(runtime.GOMAXPROCS(0)) {
					v := c.variant(seed)
					for n, p := range c.check(t, &v) {
						if n < 3 {
							t.Errorf("%s: %s", v.name, p)
						}
					}
				}
			})
		}
	})
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
