package store_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"kustospool/ingest"
	"kustospool/store"
)

// at is a lane and a number.
type at [2]uint64

// corpus is a spool with segments that are rotated, compacted, spare and active,
// with live and open records, objects, keys, positions, a dead letter and
// something in the quarantine; as it is after a close, and after a kill some
// records later. Its layout depends on its seed alone.
type corpus struct {
	seed           uint64
	clean, unclean map[string][]byte   // files by name
	older          []map[string][]byte // as they were before
	records        map[at]string
	unsettled      map[bool]map[at]bool // by whether it was closed
	late           map[at]bool          // records that came after the close
	positions      map[string]string
}

// base are the files without damage.
func (c *corpus) base(closed bool) map[string][]byte {
	if closed {
		return c.clean
	}
	return c.unclean
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
	sharedCorpus.Do(func() { sharedCorpus.c = buildCorpus(t, corpusSeed(t)) })
	if sharedCorpus.c == nil {
		t.Fatal("there is no corpus")
	}
	return sharedCorpus.c
}

func buildCorpus(t *testing.T, seed uint64) *corpus {
	dir := t.TempDir()
	c := &corpus{seed: seed, records: map[at]string{}, unsettled: map[bool]map[at]bool{true: {}}, late: map[at]bool{}, positions: map[string]string{}}
	live := c.unsettled[true]
	opts := store.Manual(crashOptions())
	s := openStore(t, dir, opts)
	lanes := []uint32{laneOf(t, s, jsonTable("a")), laneOf(t, s, jsonTable("b"))}
	note := func(acks ...ack) {
		for _, a := range acks {
			c.records[at{uint64(a.lane), a.seq}] = a.data
			live[at{uint64(a.lane), a.seq}] = true
		}
	}
	gone := func(e *store.Entry) {
		for seq := e.Batch.First; seq <= e.Batch.Last; seq++ {
			delete(live, at{uint64(e.Batch.Lane), seq})
		}
	}
	tied := tiedLanes(s)
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range 170 {
		lane := lanes[i%2]
		rec := store.Record{Lane: lane, Data: fmt.Appendf(nil, "r%d-%s", i, strings.Repeat("y", rng.IntN(4000)))}
		if i%7 == 0 {
			rec.Key = fmt.Sprint("key", i)
		}
		var positions []store.Position
		if i%9 == 0 {
			positions = []store.Position{{Name: fmt.Sprint("source", i%4), Value: fmt.Append(nil, "line", i)}}
			c.positions[positions[0].Name] = string(positions[0].Value)
		}
		a, err := s.AppendWith(ctx, []store.Record{rec}, positions)
		if err != nil {
			t.Fatal(err)
		}
		note(ack{lane, a[0].Seq, string(rec.Data)})
		if i%12 == 5 {
			note(appendTied(s, tied, fmt.Sprint("t", i))...)
		}
		if i%40 == 11 {
			note(appendObject(s, lane, fmt.Sprint("o", i))...)
		}
		if i%30 == 20 {
			for j, e := range sealAll(t, s) {
				switch {
				case i < 60:
					settle(t, s, e.Batch.ID)
					gone(&e)
				case j == 0 && i < 100:
					if _, err := s.DeadLetter(ctx, e.Batch.ID, ingest.Sealed, &ingest.Failure{Class: "permanent"}); err != nil {
						t.Fatal(err)
					}
					gone(&e)
				}
			}
		}
		store.Upkeep(s)
		if i%20 == 15 {
			c.older = append(c.older, readFiles(t, dir))
		}
		if i == 110 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "segments", "stranger"), bytes.Repeat([]byte("?"), 5000), 0o600); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, dir, opts)
		}
	}
	// Until the next segment is there ahead of its need.
	for i := 170; len(byKind(readFiles(t, dir))["empty"]) == 0; i++ {
		data := fmt.Sprintf("r%d-%s", i, strings.Repeat("y", 2000))
		a, err := s.AppendOne(ctx, lanes[i%2], []byte(data), "")
		if err != nil {
			t.Fatal(err)
		}
		note(ack{lanes[i%2], a.Seq, data})
		store.Upkeep(s)
	}
	// Of what was sealed first little is left, so that segments are spare and one
	// is worth to be written again.
	for _, e := range s.Live() {
		if lane := e.Batch.Lane; lane <= lanes[1] && e.Batch.Last < 60 || lane > lanes[1] && e.Batch.Last <= 7 {
			settle(t, s, e.Batch.ID)
			gone(&e)
		}
	}
	store.Upkeep(s)
	c.older = append(c.older, readFiles(t, dir))
	if n, err := store.CompactAll(s); err != nil || n == 0 {
		t.Fatalf("%d segments were compacted, %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.clean = readFiles(t, dir)
	c.older = append(c.older, c.clean)
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

// place is where a frame is in a file.
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

// fileKinds are the kinds of files that a spool has.
var fileKinds = []string{
	"ledger", "active", "rotated", "compacted", "empty", "spare", "object", "payload", "document", "ballast", "lock", "quarantine",
}

// kindOf says what kind of file it is.
func kindOf(name string, files map[string][]byte) string {
	data := files[name]
	switch ext := path.Ext(name); {
	case name == "manifest.db":
		return "ledger"
	case name == "ballast", name == "lock":
		return name
	case ext == ".spare":
		return "spare"
	case ext == ".log" && len(data) > 5 && data[5]&1 != 0:
		return "compacted"
	case ext == ".log" && name == activeOf(files):
		return "active"
	case ext == ".log":
		if all, _ := frames(data); len(all) == 0 {
			return "empty"
		}
		return "rotated"
	case ext == ".obj":
		return "object"
	case strings.HasPrefix(name, "quarantine/"):
		return "quarantine"
	case strings.HasSuffix(name, ".data.json"):
		return "payload"
	case strings.HasPrefix(name, "dead/"):
		return "document"
	}
	return "file of no kind"
}

// byKind lists the files of each kind, in an order that does not depend on names
// that are of each run's own: objects come as frames refer to them.
func byKind(files map[string][]byte) map[string][]string {
	rank := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".log") {
			all, _ := frames(files[name])
			for _, f := range all {
				if f.object != "" && rank[f.object] == 0 {
					rank[f.object] = len(rank) + 1
				}
			}
		}
	}
	out := map[string][]string{}
	for name := range files {
		kind := kindOf(name, files)
		out[kind] = append(out[kind], name)
	}
	for _, names := range out {
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b)) })
	}
	return out
}

// layout tells what is where in a spool, but for what is of each run's own.
func layout(files map[string][]byte) (out []string) {
	kinds := byKind(files)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, name := range kinds[kind] {
			all, last := frames(files[name])
			line := fmt.Sprintf("%s of %d bytes, %d", kind, len(files[name]), last)
			if kind == "lock" || kind == "document" {
				line = kind // of digits and times
			}
			for _, f := range all {
				line += fmt.Sprint(" ", f.off, " ", f.lane, "/", f.first)
			}
			out = append(out, line)
		}
	}
	return out
}
