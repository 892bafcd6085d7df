package wal

import (
	"encoding/binary"
	"flag"
	"maps"
	"strings"
	"testing"
	"time"
)

const (
	defaultHistories = 2000
	testedTwice      = 30 // histories of TestHistoriesRepeat, at most
)

var (
	histories = flag.Int("histories", defaultHistories, "how many histories TestHistories runs")
	firstSeed = flag.Uint64("seed", uint64(time.Now().UnixNano()%1e9), "seed of the first history")
)

// stop ends the life of the log: 0 closed, 1 killed, 2 power cut.
func (h *history) stop(how int) {
	h.tell("stop %d", how)
	if h.fs.Off() {
		how = 2
	}
	old := h.fs
	switch how {
	case 1:
		h.fs = old.Kill()
	case 2:
		h.fs = old.Crash()
	}
	mark, err := h.log.Close()
	h.tell("closed at %+v: %v", mark, err)
	h.books.mark = LogEnd{}
	if how == 0 && err == nil {
		h.books.mark = mark
	}
	if how == 0 && old.Off() {
		h.fs = old.Crash()
	}
	h.open = false
}

// rot flips a bit of the index of a rotated segment. All that it says can be
// read from the segment, so nobody may notice.
func (h *history) rot() {
	nos := sortedKeys(h.books.rows)
	if len(nos) == 0 || h.rng.IntN(3) > 0 {
		return
	}
	row := h.books.rows[nos[h.rng.IntN(len(nos))]]
	name := "/d/" + fileName(row.No, extLog)
	data, err := h.fs.Contents(name)
	if err != nil || int64(len(data)) != row.Size || row.Index == 0 || string(data[row.Index:][:4]) != indexMagic {
		return // it was not written, or is not there any more
	}
	index := data[row.Index:]
	at := h.rng.IntN(min(len(index), int(binary.BigEndian.Uint32(index[60:]))))
	bit := h.rng.IntN(8)
	index[at] ^= 1 << bit
	h.fs.Put(name, data)
	h.tell("bit %d of byte %d of the index of segment %d rots", bit, at, row.No)
}

// reopen opens the log, and again after each crash or failure on the way, and checks it.
func (h *history) reopen(faults bool) {
	h.rot()
	for try := 0; ; try++ {
		if faults && try < 4 && h.rng.IntN(3) == 0 {
			h.fs.CutAfter(1 + h.rng.IntN(8))
		} else {
			h.fs.CutAfter(0)
		}
		known := Known{HighestNo: h.books.highest, Active: h.books.mark}
		for _, no := range sortedKeys(h.lanes) {
			ln := h.lanes[no]
			floor := uint64(1)
			for seq := range ln.settled {
				floor = max(floor, seq+1)
			}
			known.Lanes = append(known.Lanes, Lane{No: ln.no, Key: "lane", Separator: 1, Next: floor})
		}
		lost := h.rng.IntN(4) == 0
		if !lost {
			for _, no := range sortedKeys(h.books.rows) {
				known.Segments = append(known.Segments, h.books.rows[no])
			}
		} else {
			known.Active = LogEnd{}
		}
		// The tombstones are what keeps settled records away; a ledger that was
		// lost has none, and may see them again.
		for _, no := range sortedKeys(h.books.tombs) {
			known.Tombstones = append(known.Tombstones, h.books.tombs[no])
		}
		l, r, err := Open(h.options(), known)
		if err != nil {
			h.tell("open: %v", err)
			if h.fs.Off() {
				h.fs = h.fs.Crash()
				continue
			}
			if try > 8 {
				h.wrong("cannot be opened: %v", err)
				return
			}
			continue
		}
		if h.fs.Off() { // it went where Open could do without
			_, _ = l.Close()
			h.fs = h.fs.Crash()
			continue
		}
		h.fs.CutAfter(0)
		h.log, h.open = l, true
		h.tell("opened, lost %v: %d rotated, active %d at %d, commit %d", lost, len(r.Rotated), r.Active.No, r.Active.End, r.Active.LastCommit)
		h.recovered(r, lost)
		return
	}
}

// recovered compares what the log says with what it has promised.
func (h *history) recovered(r *Recovered, lost bool) {
	if len(r.Damage) > 0 || r.TailMissing || len(r.ForeignFiles) > 0 || len(r.Missing) > 0 {
		h.wrong("damage %+v, doubt %v, strangers %+v, missing %v", r.Damage, r.TailMissing, r.ForeignFiles, r.Missing)
		return
	}
	clear(h.books.tombs) // their files are recycled, or gone
	if lost {
		clear(h.books.rows)
	}
	for _, i := range r.Rotated {
		h.books.rows[i.No] = i
	}
	for _, k := range r.Keys {
		h.books.keys[laneKey{k.Lane, k.Hash}] = k.Seq
	}
	for _, p := range r.Positions {
		h.books.setPosition(p)
	}
	found := map[uint32]map[uint64]string{}
	// In order: a failure that was planned meets the same read each time.
	for _, no := range sortedKeys(h.lanes) {
		found[no] = h.read(no)
	}
	h.resolve(found)
	if lost && h.dropped {
		// A compaction leaves positions out, and with one the word that another
		// was removed; the ledger that has them was not lost here.
		h.books.where = maps.Clone(h.where)
	}
	for _, no := range sortedKeys(h.lanes) {
		ln := h.lanes[no]
		for i, want := range ln.records {
			seq := uint64(i + 1)
			got, ok := found[no][seq]
			if !ok && !ln.settled[seq] {
				h.wrong("lane %d: record %d is lost", no, seq)
				return
			}
			if ok && ln.settled[seq] && !ln.maybe[seq] {
				h.wrong("lane %d: record %d was settled, and is back", no, seq)
				return
			}
			if ok && got != want {
				h.wrong("lane %d: record %d is %.30q, want %.30q", no, seq, got, want)
				return
			}
		}
		for seq, got := range found[no] {
			if seq > uint64(len(ln.records)) {
				h.wrong("lane %d: record %d, %.30q, was invented", no, seq, got)
				return
			}
		}
		if next := h.log.lanes[no].next; next != uint64(len(ln.records))+1 {
			h.wrong("lane %d goes on at %d after %d records", no, next, len(ln.records))
		}
	}
	for k, seq := range h.keys {
		if got, ok := h.books.keys[k]; !ok || got != seq {
			h.wrong("key of record %d of lane %d is lost: %d, %v", seq, k.lane, got, ok)
		}
	}
	if len(h.books.keys) > len(h.keys) {
		h.wrong("%d keys, want %d", len(h.books.keys), len(h.keys))
	}
	if !maps.EqualFunc(h.where, h.books.where, func(a, b []byte) bool { return string(a) == string(b) }) {
		h.wrong("positions %.20q, want %.20q", h.books.where, h.where)
	}
	if h.log.DiskBytes() != h.fs.Used() {
		h.wrong("the log says %d bytes, the files have %d", h.log.DiskBytes(), h.fs.Used())
	}
}

// read scans a lane.
func (h *history) read(no uint32) map[uint64]string {
	out := map[uint64]string{}
	for _, seg := range h.log.segments() {
		info, _ := h.log.Segment(seg)
		span, ok := info.Lanes[no]
		if !ok {
			continue
		}
		scan := func(f *Found) bool {
			if f.Err != nil {
				h.wrong("segment %d, lane %d, records %d to %d: %v", seg, no, f.First, f.Last, f.Err)
				return false
			}
			if err := f.Each(func(seq uint64, data []byte) bool {
				out[seq] = string(data)
				return true
			}); err != nil {
				h.wrong("%v", err)
			}
			return true
		}
		err := h.log.Scan(seg, no, span.First, span.Last, scan)
		for range 4 { // failures that were planned and did not happen yet
			if err != nil {
				err = h.log.Scan(seg, no, span.First, span.Last, scan)
			}
		}
		if err != nil {
			h.wrong("scan: %v", err)
		}
	}
	return out
}

// resolve decides on the commits whose outcome was unknown: each is there, all of
// it, or not at all, and none without the one before.
func (h *history) resolve(found map[uint32]map[uint64]string) {
	gone := false
	for _, calls := range h.pending {
		there, not := 0, 0
		for _, c := range calls {
			for i, r := range c.recs {
				if c.out[i].Duplicate {
					continue
				}
				if found[r.Lane][c.out[i].Seq] == string(r.Data) {
					there++
				} else {
					not++
				}
			}
		}
		h.tell("pending: %d records there, %d not", there, not)
		if there > 0 && (not > 0 || gone) {
			h.wrong("a commit is there in part: %d records are, %d are not; one before it is not there: %v", there, not, gone)
		}
		if gone = there == 0; gone {
			continue
		}
		for i := range calls {
			h.book(&calls[i])
		}
	}
	h.pending = nil
}

// TestHistories runs many short lives of a log. -histories and -seed make it
// longer, or repeat one.
func TestHistories(t *testing.T) {
	t.Logf("first seed %d", *firstSeed)
	count := *histories
	if testing.Short() {
		count = min(count, 300)
	}
	for i := range count {
		if err := runHistory(*firstSeed+uint64(i), bugs{}); err != nil {
			t.Fatal(err)
		}
		if i%10_000 == 9_999 {
			t.Logf("%d histories", i+1)
		}
	}
}

// TestHistoriesRepeat: the same seed gives the same history.
func TestHistoriesRepeat(t *testing.T) {
	t.Logf("first seed %d", *firstSeed)
	for i := range min(*histories, testedTwice) {
		seed := *firstSeed + uint64(i)
		var told [2]string
		for j := range told {
			h := newHistory(seed, bugs{})
			_ = h.live() // what is wrong is for TestHistories
			told[j] = strings.Join(h.told, "\n")
		}
		if told[0] != told[1] {
			t.Fatalf("seed %d has two histories:\n%s\n\n%s", seed, told[0], told[1])
		}
	}
}
