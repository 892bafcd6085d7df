package ledger

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

var long = flag.Bool("ledger.long", false, "flip every bit of the used file, and open more variants in children")

// freshFile is the ledger of a spool that was just made and opened once. before
// is the file as it was made.
func freshFile(t testing.TB) (file, before []byte) {
	path := newPath(t)
	mustCreate(t, path)
	before = read(t, path)
	l := mustOpen(t, path, nil)
	do(t, l, func(tx *Tx) error { tx.SetState(State{Epoch: 1}); return nil })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return read(t, path), before
}

// usedFile has rows in every bucket, branch pages, free pages and small
// buckets. before is the file one transaction earlier.
func usedFile(t testing.TB) (file, before []byte) {
	path := newPath(t)
	mustCreate(t, path)
	var copies [][]byte
	l := mustOpen(t, path, &Options{Step: func(s Step) {
		if s == After {
			copies = append(copies, read(t, path))
		}
	}})
	a, b := addLane(t, l, 1), addLane(t, l, 2)
	for i := range uint64(60) {
		e := mustSeal(t, l, a, i*10+1, i*10+10)
		if i%2 == 0 {
			move(t, l, e, ingest.Sending, ingest.Succeeded)
			continue
		}
		if _, err := l.Transition(ctx, e.Batch.ID, ingest.Sealed, func(e *Entry) { e.State, e.Progress = ingest.Sending, bytes.Repeat([]byte{byte(i)}, 200) }); err != nil {
			t.Fatal(err)
		}
	}
	mustSeal(t, l, b, 1, 3)
	do(t, l, func(tx *Tx) error {
		var keys []Key
		for i := range 90 {
			keys = append(keys, Key{Hash: KeyHash{byte(i * 37), byte(i)}, Lane: a, Seq: uint64(i + 1), At: int64(i)})
		}
		tx.PutKeys(keys)
		err := errors.Join(tx.PutSegment(Segment{No: 1, Generation: 1, Size: 64 << 20, End: 60 << 20, Lanes: map[uint32]Span{a: {1, 10}}}),
			tx.PutSegment(Segment{No: 2, Generation: 1, Size: 64 << 20, End: 60 << 20, Lanes: map[uint32]Span{a: {11, 600}, b: {1, 3}}}),
			tx.SettleSegment(1), tx.PutObject(Object{ID: ObjectID{1}, Lane: a, First: 7, Last: 7, Size: 1 << 20}))
		for i := range 8 {
			err = errors.Join(err, tx.PutPositions(uint64(i), []Position{{fmt.Sprintf("source-%d", i), bytes.Repeat([]byte{'p'}, 100), uint64(i)}}))
		}
		return err
	})
	move(t, l, l.LiveOf(a)[3], ingest.Sealed)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return read(t, path), copies[len(copies)-2]
}

// TestSoundFiles: what bbolt wrote passes, and every bucket has rows.
func TestSoundFiles(t *testing.T) {
	used, before := usedFile(t)
	fresh, made := freshFile(t)
	for name, file := range map[string][]byte{"fresh": fresh, "made": made, "used": used, "before": before} {
		p, err := verify(bytes.NewReader(file), int64(len(file)), false)
		if err != nil || p.damage() != nil || p.suspect || p.partial {
			t.Fatalf("%s: %v, %v", name, err, p.damage())
		}
		if name == "used" {
			for b := bktMeta + 1; b < bucketCount; b++ {
				if p.mirror.state.census[b].Rows == 0 {
					t.Errorf("no rows in %s", b)
				}
			}
			if p.free == 0 || native.Uint64(p.roots[bktBatches]) == 0 || native.Uint64(p.roots[bktSegments]) != 0 {
				t.Error("the file does not have what the tests below are about")
			}
		}
	}
}

// verdict flips nothing itself: it says what the reader makes of a file, and
// fails the test if it accepts a row that nobody wrote.
func verdict(t *testing.T, what string, file []byte, sound ...*Books) (passed bool) {
	p, err := verify(bytes.NewReader(file), int64(len(file)), false)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
		return false
	}
	got := p.mirror.books()
	n := 1
	if p.suspect {
		n = len(sound) // the older meta page rules
	}
	for _, b := range sound[:n] {
		if reflect.DeepEqual(got, b) {
			return true
		}
	}
	t.Errorf("%s: the reader accepts %+v", what, got)
	return true
}

func booksOf(t testing.TB, file []byte) *Books {
	p, err := verify(bytes.NewReader(file), int64(len(file)), false)
	if err != nil {
		t.Fatal(err)
	}
	return p.mirror.books()
}

// readPages notes which pages of a file are read.
type readPages struct {
	io.ReaderAt
	read map[int64]bool
}

func (r *readPages) ReadAt(p []byte, off int64) (int, error) {
	for page := off / 4096; page*4096 < off+int64(len(p)); page++ {
		r.read[page] = true
	}
	return r.ReaderAt.ReadAt(p, off)
}

// TestEveryBit flips each bit of a fresh and of a used file (without
// -ledger.long, a part of them) and reads it: it is refused, or the rows are
// the ones that were written. What is in pages that the reader leaves unread,
// the free ones, cannot change what it says. The control is that a good part is refused.
func TestEveryBit(t *testing.T) {
	used, before := usedFile(t)
	fresh, _ := freshFile(t)
	freshBefore := &Books{Spool: testSpool, State: State{Clean: true}, Lanes: []Lane{}, Segments: []Segment{}, Tombstones: []Tombstone{}, Objects: []Object{}}
	for _, c := range []struct {
		name  string
		file  []byte
		sound []*Books
		step  int
	}{{"fresh", fresh, []*Books{booksOf(t, fresh), freshBefore}, 3}, {"used", used, []*Books{booksOf(t, used), booksOf(t, before)}, 41}} {
		t.Run(c.name, func(t *testing.T) {
			step := c.step
			switch {
			case *long:
				step = 1
			case testing.Short():
				step *= 11
			}
			pages := &readPages{bytes.NewReader(c.file), map[int64]bool{}}
			p, err := verify(pages, int64(len(c.file)), false)
			if err != nil {
				t.Fatal(err)
			}
			if p.meta.pageSize != 4096 {
				t.Fatalf("pages of %d bytes", p.meta.pageSize)
			}
			bits := len(c.file) * 8
			var refused, passed, unread atomic.Int64
			var wg sync.WaitGroup
			workers := runtime.GOMAXPROCS(0)
			for w := range workers {
				wg.Go(func() {
					file := bytes.Clone(c.file)
					for bit := w * step; bit < bits && !t.Failed(); bit += workers * step {
						if !pages.read[int64(bit/8/4096)] {
							unread.Add(1)
							continue
						}
						file[bit/8] ^= 1 << (bit % 8)
						if verdict(t, fmt.Sprintf("bit %d of byte %d of page %d", bit%8, bit/8%4096, bit/8/4096), file, c.sound...) {
							passed.Add(1)
						} else {
							refused.Add(1)
						}
						file[bit/8] ^= 1 << (bit % 8)
					}
				})
			}
			wg.Wait()
			t.Logf("every %dth of %d bits: %d refused, %d passed with the rows as written, %d in pages that nobody reads", step, bits, refused.Load(), passed.Load(), unread.Load())
			if refused.Load() == 0 || passed.Load() == 0 {
				t.Error("the reader tells nothing apart")
			}
		})
	}
}

// TestStructure: damage of each kind that a flip of one bit cannot make, and
// what the reader says of it. A checksum of a meta page is put right where the
// damage is in one.
func TestStructure(t *testing.T) {
	used, _ := usedFile(t)
	sound := booksOf(t, used)
	page := int(native.Uint32(used[pageHeaderLen+8:]))
	p, err := verify(bytes.NewReader(used), int64(len(used)), false)
	if err != nil {
		t.Fatal(err)
	}
	newest := int(p.meta.txid%2) * page
	setMeta := func(f []byte, at int, v uint64) {
		native.PutUint64(f[newest+pageHeaderLen+at:], v)
		sumMeta(f[newest+pageHeaderLen:])
	}
	batches := int(native.Uint64(p.roots[bktBatches])) * page
	history := int(native.Uint64(p.roots[bktHistory])) * page
	freelist := int(p.meta.freelist) * page
	child := func(f []byte, branch, i int) int { return int(native.Uint64(f[branch+pageHeaderLen+i*elementLen+8:])) }
	if native.Uint16(used[batches+8:]) != flagBranch {
		t.Fatal("the batches are not in a branch")
	}
	// leaf is the page of the oldest live batches, and key where the key of
	// its element or of a branch's is.
	leaf := child(used, batches, 0) * page
	key := func(f []byte, at, i, field int) int {
		element := at + pageHeaderLen + i*elementLen
		return element + int(native.Uint32(f[element+field:]))
	}
	const (
		refused = iota
		renewed
	)
	for name, c := range map[string]struct {
		damage func(f []byte) []byte
		want   int
	}{
		"empty":                    {func(f []byte) []byte { return nil }, refused},
		"cut":                      {func(f []byte) []byte { return f[:int(p.meta.high-1)*page] }, refused},
		"cut to one page":          {func(f []byte) []byte { return f[:page] }, refused},
		"zeros":                    {func(f []byte) []byte { clear(f); return f }, refused},
		"root at a meta page":      {func(f []byte) []byte { setMeta(f, 16, 1); return f }, refused},
		"root beyond the end":      {func(f []byte) []byte { setMeta(f, 16, 1<<40); return f }, refused},
		"high beyond the end":      {func(f []byte) []byte { setMeta(f, 40, 1<<50); return f }, refused},
		"high of nothing":          {func(f []byte) []byte { setMeta(f, 40, 0); return f }, refused},
		"transaction of the other": {func(f []byte) []byte { setMeta(f, 48, p.meta.txid+1); return f }, refused},
		"no free list":             {func(f []byte) []byte { setMeta(f, 32, ^uint64(0)); return f }, renewed},
		"free list beyond the end": {func(f []byte) []byte { setMeta(f, 32, 1<<40); return f }, renewed},
		"a page in a circle":       {func(f []byte) []byte { native.PutUint64(f[batches+pageHeaderLen+8:], uint64(batches/page)); return f }, refused},
		"a page twice": {func(f []byte) []byte {
			native.PutUint64(f[batches+pageHeaderLen+8:], uint64(child(f, batches, 1)))
			return f
		}, refused},
		"overflow for ever":   {func(f []byte) []byte { native.PutUint32(f[batches+12:], ^uint32(0)); return f }, refused},
		"overflow of one":     {func(f []byte) []byte { native.PutUint32(f[child(f, batches, 0)*page+12:], 1); return f }, refused},
		"a branch of nothing": {func(f []byte) []byte { native.PutUint16(f[batches+10:], 0); return f }, refused},
		"fewer children":      {func(f []byte) []byte { native.PutUint16(f[batches+10:], native.Uint16(f[batches+10:])-1); return f }, refused},
		"fewer rows": {func(f []byte) []byte {
			at := child(f, batches, 0)*page + 10
			native.PutUint16(f[at:], native.Uint16(f[at:])-1)
			return f
		}, refused},
		"more rows":           {func(f []byte) []byte { native.PutUint16(f[child(f, batches, 0)*page+10:], 0xFFFF); return f }, refused},
		"a branch for a leaf": {func(f []byte) []byte { native.PutUint16(f[child(f, batches, 0)*page+8:], flagBranch); return f }, refused},
		"a place that is shifted": {func(f []byte) []byte {
			native.PutUint32(f[leaf+pageHeaderLen+4:], native.Uint32(f[leaf+pageHeaderLen+4:])+1)
			return f
		}, refused},
		"a key that leads lower":  {func(f []byte) []byte { f[key(f, batches, 1, 0)+11]--; return f }, refused},
		"a key that leads higher": {func(f []byte) []byte { f[key(f, batches, 1, 0)+11]++; return f }, refused},
		"a leaf that is deeper": {func(f []byte) []byte {
			detour := int(native.Uint64(f[freelist+pageHeaderLen:])) * page
			first := bytes.Clone(f[key(f, batches, 0, 0):][:12])
			clear(f[detour : detour+page])
			native.PutUint64(f[detour:], uint64(detour/page))
			native.PutUint16(f[detour+8:], flagBranch)
			native.PutUint16(f[detour+10:], 1)
			native.PutUint32(f[detour+16:], elementLen)
			native.PutUint32(f[detour+20:], 12)
			native.PutUint64(f[detour+24:], uint64(leaf/page))
			copy(f[detour+32:], first)
			native.PutUint64(f[batches+pageHeaderLen+8:], uint64(detour/page))
			return f
		}, refused},
		"a leaf of history": {func(f []byte) []byte {
			clear(f[history+page/2 : history+page])
			clear(f[history+16 : history+40])
			return f
		}, renewed},
		"free list of nothing": {func(f []byte) []byte { native.PutUint16(f[freelist+10:], 0); return f }, renewed},
		"free list too long":   {func(f []byte) []byte { native.PutUint16(f[freelist+10:], 0xFFFE); return f }, renewed},
		"free list longer": {func(f []byte) []byte {
			native.PutUint16(f[freelist+10:], 0xFFFF)
			native.PutUint64(f[freelist+16:], 1<<60)
			return f
		}, renewed},
		"free list with a used page": {func(f []byte) []byte { native.PutUint64(f[freelist+16:], uint64(batches/page)); return f }, renewed},
		"free list of another kind":  {func(f []byte) []byte { native.PutUint16(f[freelist+8:], flagLeaf); return f }, renewed},
	} {
		file := c.damage(bytes.Clone(used))
		p, err := verify(bytes.NewReader(file), int64(len(file)), false)
		switch {
		case c.want == refused && !errors.Is(err, ErrDamaged):
			t.Errorf("%s: %v", name, err)
		case c.want == renewed && (err != nil || p.damage() == nil || !reflect.DeepEqual(p.mirror.books(), sound)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ofThis makes the state row one of the transaction that a test adds behind the
// ledger's back.
func ofThis(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketNames[bktMeta])
	st, err := decodeState(bytes.Clone(meta.Get(keyState)[sumLen:]))
	if err != nil {
		return err
	}
	st.txid = uint64(tx.ID())
	return meta.Put(keyState, sealRow(bktMeta, keyState, encodeState(st)))
}

func sumMeta(m []byte) {
	sum := uint64(14695981039346656037)
	for _, b := range m[:56] {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	native.PutUint64(m[56:], sum)
}

// TestStalePage puts pages of an older transaction in the place of newer ones,
// as a disk does that loses a write. Their own checksums are right.
func TestStalePage(t *testing.T) {
	path := newPath(t)
	mustCreate(t, path)
	var copies [][]byte
	l := mustOpen(t, path, &Options{Step: func(s Step) {
		if s == After {
			copies = append(copies, read(t, path))
		}
	}})
	lane := addLane(t, l, 1)
	for i := range uint64(40) {
		e := mustSeal(t, l, lane, i*10+1, i*10+10)
		if _, err := l.Transition(ctx, e.Batch.ID, ingest.Sealed, func(e *Entry) { e.State, e.Progress = ingest.Sending, make([]byte, 200) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	newest := copies[len(copies)-1]
	sound := booksOf(t, newest)
	refused := 0
	for _, old := range copies[:len(copies)-1] {
		for at := 2 * 4096; at+4096 <= min(len(old), len(newest)); at += 4096 {
			if bytes.Equal(old[at:at+4096], newest[at:at+4096]) {
				continue
			}
			file := bytes.Clone(newest)
			copy(file[at:], old[at:at+4096])
			if !verdict(t, fmt.Sprintf("stale page %d", at/4096), file, sound) {
				refused++
			}
		}
	}
	t.Logf("%d stale pages refused", refused)
	if refused == 0 {
		t.Error("no stale page was refused")
	}
}

// TestRandomDamage: many bytes at once.
func TestRandomDamage(t *testing.T) {
	used, before := usedFile(t)
	sound := []*Books{booksOf(t, used), booksOf(t, before)}
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	for i := range 3000 {
		file := bytes.Clone(used)
		for range 1 + rng.IntN(4) {
			at := rng.IntN(len(file))
			switch rng.IntN(4) {
			case 0:
				file[at] = byte(rng.Uint32())
			case 1:
				clear(file[at:min(len(file), at+rng.IntN(5000))])
			case 2:
				copy(file[at:], file[rng.IntN(len(file)):])
			case 3:
				file = file[:at+1]
			}
		}
		verdict(t, fmt.Sprintf("seed %d, variant %d", seed, i), file, sound...)
	}
}

// TestPartial reads a file as one that is too large to be read whole: the
// branches of history and keys are proven, their leaves left alone, and what
// is live is as well proven as ever.
func TestPartial(t *testing.T) {
	path := newPath(t)
	mustCreate(t, path)
	l := mustOpen(t, path, nil)
	lane := addLane(t, l, 1)
	for i := range uint64(3) {
		move(t, l, mustSeal(t, l, lane, i+1, i+1), ingest.Sending, ingest.Succeeded)
	}
	mustSeal(t, l, lane, 4, 9)
	var keys []Key
	for i := range 3000 {
		keys = append(keys, Key{Hash: KeyHash{byte(i >> 8), byte(i), byte(i * 7)}, Lane: lane, Seq: uint64(i + 1), At: int64(i)})
	}
	do(t, l, func(tx *Tx) error { tx.PutKeys(keys); return nil })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := read(t, path)
	partial := func(file []byte) (*proof, error) {
		p := &proof{size: int64(len(file)), partial: true}
		return p, p.run(bytes.NewReader(file))
	}
	p, err := partial(file)
	if err != nil || p.damage() != nil {
		t.Fatal(err, p.damage())
	}
	sound := booksOf(t, file)
	if got := p.mirror.books(); !reflect.DeepEqual(got, sound) {
		t.Fatalf("got %+v", got)
	}
	root := int(native.Uint64(p.roots[bktKeys])) * int(p.meta.pageSize)
	if native.Uint16(file[root+8:]) != flagBranch || native.Uint16(file[root+10:]) < 10 {
		t.Fatal("the keys are not in one branch of many leaves")
	}
	child := func(i int) int { return root + pageHeaderLen + i*elementLen + 8 }
	for name, damage := range map[string]func(f []byte){
		"a leaf twice":        func(f []byte) { copy(f[child(5):child(5)+8], f[child(6):]) },
		"a circle":            func(f []byte) { native.PutUint64(f[child(5):], uint64(root)/uint64(p.meta.pageSize)) },
		"a page of live rows": func(f []byte) { native.PutUint64(f[child(5):], p.meta.root) },
		"a page beyond":       func(f []byte) { native.PutUint64(f[child(5):], 1<<50) },
		"keys out of order": func(f []byte) {
			element := root + pageHeaderLen + 5*elementLen
			f[element+int(native.Uint32(f[element:]))] ^= 0xff
		},
		"another kind": func(f []byte) { f[root+8] = flagFreelist },
	} {
		f := bytes.Clone(file)
		damage(f)
		p, err := partial(f)
		if err != nil || p.keys == nil || p.history != nil || !reflect.DeepEqual(p.mirror.books(), sound) {
			t.Errorf("%s: %v, %v", name, err, p.keys)
		}
	}
	leaf := bytes.Clone(file)
	at := int(native.Uint64(file[child(5):])) * int(p.meta.pageSize)
	clear(leaf[at+1000 : at+4096])
	if p, err := partial(leaf); err != nil || p.damage() != nil {
		t.Errorf("a leaf that is not read: %v, %v", err, p.damage())
	}
	if p, err := verify(bytes.NewReader(leaf), int64(len(leaf)), true); err != nil || p.keys == nil {
		t.Errorf("the same, read whole: %v", err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		bit := rng.Uint64N(uint64(len(file)) * 8)
		file[bit/8] ^= 1 << (bit % 8)
		if p, err := partial(file); err == nil && !reflect.DeepEqual(p.mirror.books(), sound) && !p.suspect {
			t.Errorf("bit %d: the reader accepts %+v", bit, p.mirror.books())
		}
		file[bit/8] ^= 1 << (bit % 8)
	}
}

// TestMissingRows takes rows out of a file, or puts their older values in, by
// bbolt itself, so that nothing but the count of rows can tell.
func TestMissingRows(t *testing.T) {
	used, _ := usedFile(t)
	for b := bktMeta; b < bucketCount; b++ {
		for _, older := range []bool{false, true} {
			path := newPath(t)
			write(t, path, used)
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bolt.Tx) error {
				if b != bktMeta {
					if err := ofThis(tx); err != nil {
						return err
					}
				}
				bkt := tx.Bucket(bucketNames[b])
				k, v := bkt.Cursor().Last()
				if !older {
					return bkt.Delete(bytes.Clone(k))
				}
				body := bytes.Clone(v[sumLen:])
				if b == bktLanes { // the text of another table
					body = bytes.Replace(body, []byte("table2"), []byte("table9"), 1)
				} else if len(body) > 0 {
					body[len(body)-1] ^= 1
				}
				return bkt.Put(bytes.Clone(k), sealRow(b, k, body))
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			file := read(t, path)
			p, err := verify(bytes.NewReader(file), int64(len(file)), false)
			switch {
			case older && (b == bktMeta || b == bktByTime || b == bktKeyTimes):
				// The state can say what it likes, and an empty row has one value.
			case b < firstRest && !errors.Is(err, ErrDamaged):
				t.Errorf("%s, older %v: %v", b, older, err)
			case b >= firstRest && (err != nil || p.damage() == nil):
				t.Errorf("%s, older %v: %v", b, older, err)
			}
		}
	}
}
