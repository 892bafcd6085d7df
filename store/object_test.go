package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/store"
)

func parquetTable(table string) *ingest.Properties {
	return &ingest.Properties{Database: "db", Table: table, Format: ingest.Parquet}
}

func objectNames(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// noise is incompressible and the same for a seed.
func noise(seed uint64, n int) []byte {
	out := make([]byte, n)
	var key [32]byte
	key[0] = byte(seed)
	_, _ = rand.NewChaCha8(key).Read(out)
	return out
}

// wholeObject stores one record in pieces.
func wholeObject(t testing.TB, s *store.Store, lane uint32, data []byte) uint64 {
	t.Helper()
	o, err := s.NewObject(lane)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Discard()
	for len(data) > 0 {
		n := min(len(data), 300_000)
		if _, err := o.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	out, err := s.AppendObjects(ctx, []*store.Object{o}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out[0].Seq
}

// lineObject stores n records of different sizes.
func lineObject(t testing.TB, s *store.Store, lane uint32, n, size int) []string {
	t.Helper()
	o, err := s.NewObject(lane)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Discard()
	var lines []string
	for i := range n {
		line := fmt.Sprintf("%d-%s", i, strings.Repeat("x", size+i%7))
		if err := o.Record([]byte(line)); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if o.Records() != int64(n) {
		t.Fatalf("%d records, want %d", o.Records(), n)
	}
	if _, err := s.AppendObjects(ctx, []*store.Object{o}, nil); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestObjectOfOneRecord(t *testing.T) {
	for _, size := range []int{1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, nil)
			lane := laneOf(t, s, parquetTable("t"))
			data := noise(1, size)
			wholeObject(t, s, lane, data)
			if disk := s.Stats().DiskBytes; disk < int64(size) {
				t.Errorf("%d bytes on disk", disk)
			}
			s = reopen(t, s, dir, nil)
			e := sealAll(t, s)
			if len(e) != 1 || e[0].Batch.Records() != 1 || e[0].Batch.RawBytes != int64(size) {
				t.Fatalf("%+v", e)
			}
			for range 2 {
				if got := payloadOf(t, s, &e[0].Batch); got != string(data) {
					t.Fatal("other bytes")
				}
			}
			settle(t, s, e[0].Batch.ID)
			checkBooks(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			openStore(t, dir, nil)
			if left := objectNames(t, dir); len(left) > 0 {
				t.Errorf("left after settling: %v", left)
			}
		})
	}
}

// TestObjectSplit: any range of an object's records can be a batch, and its
// size is exact.
func TestObjectSplit(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "before")
	lines := append([]string{"before"}, lineObject(t, s, lane, 900, 3000)...)
	appendOne(t, s, lane, "after")
	lines = append(lines, "after")
	whole := sealAll(t, s)[0]
	move(t, s, whole.Batch.ID, ingest.Sealed, ingest.Sending)
	children, err := s.Split(ctx, whole.Batch.ID, ingest.Sending, []uint64{2, 5, 400, 401, 902}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		want := strings.Join(lines[c.Batch.First-1:c.Batch.Last], "\n") + "\n"
		if c.Batch.RawBytes != int64(len(want)) {
			t.Errorf("%d..%d: %d bytes, want %d", c.Batch.First, c.Batch.Last, c.Batch.RawBytes, len(want))
		}
		if got := payloadOf(t, s, &c.Batch); got != want {
			t.Errorf("%d..%d: %.20q..., want %.20q...", c.Batch.First, c.Batch.Last, got, want)
		}
	}
	for i, c := range children {
		if n := len(objectNames(t, dir)); n != 1 {
			t.Fatalf("%d files before child %d is settled", n, i)
		}
		if i < len(children)-2 { // the last two: one of the object's, and "after"
			settle(t, s, c.Batch.ID)
		}
	}
	settle(t, s, children[len(children)-2].Batch.ID)
	s = reopen(t, s, dir, nil)
	if left := objectNames(t, dir); len(left) > 0 {
		t.Errorf("left after settling: %v", left)
	}
	checkBooks(t, s)
}

// TestObjectsAllOrNone: what was not appended leaves nothing, at once or at
// the next open.
func TestObjectsAllOrNone(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	o, err := s.NewObject(lane)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Record([]byte("never")); err != nil {
		t.Fatal(err)
	}
	if err := o.Discard(); err != nil {
		t.Fatal(err)
	}
	if left := objectNames(t, dir); len(left) > 0 || s.Stats().Acked != 0 {
		t.Errorf("left: %v, %+v", left, s.Stats())
	}
	// An abandoned one, and a complete file that no frame refers to.
	if o, err = s.NewObject(lane); err != nil {
		t.Fatal(err)
	}
	if err := o.Record([]byte("never")); err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(dir, "objects", strings.Repeat("ab", 16)+".obj")
	if err := os.WriteFile(orphan, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, dir, nil)
	defer o.Discard()
	if left := objectNames(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if s.Stats().Acked != 0 {
		t.Errorf("%+v", s.Stats())
	}
}

func TestObjectQuota(t *testing.T) {
	opts := &store.Options{SegmentBytes: 1 << 20, MaxBytes: 16 << 20}
	s := openStore(t, t.TempDir(), opts)
	o, err := s.NewObject(laneOf(t, s, parquetTable("t")))
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for err == nil && total < 64<<20 {
		var n int
		n, err = o.Write(make([]byte, 1<<20))
		total += n
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("%v after %d bytes", err, total)
	}
	room := s.Room()
	if err := o.Discard(); err != nil {
		t.Fatal(err)
	}
	<-room
	if st := s.Stats(); st.DiskBytes > 4<<20 {
		t.Errorf("%d bytes are still counted", st.DiskBytes)
	}
}

// TestObjectDamage: a broken chunk costs its records, a missing file those of
// the file, and the batch around them can be cut and read.
func TestObjectDamage(t *testing.T) {
	for _, missing := range []bool{false, true} {
		t.Run(fmt.Sprint("missing ", missing), func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, nil)
			lane := laneOf(t, s, jsonTable("t"))
			appendOne(t, s, lane, "before")
			lines := lineObject(t, s, lane, 3000, 1000)
			appendOne(t, s, lane, "after")
			path := filepath.Join(dir, "objects", objectNames(t, dir)[0])
			if missing {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				data[len(data)/2] ^= 1
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			e := sealAll(t, s)[0]
			_, err := io.Copy(io.Discard, s.Payload(&e.Batch).Open())
			var damage *store.CorruptionError
			if !errors.As(err, &damage) || damage.First < 2 || damage.Last > 3001 {
				t.Fatalf("%v", err)
			}
			if n := damage.Last - damage.First + 1; !missing && n > 1100 || missing && n != 3000 {
				t.Errorf("%d records are damaged", n)
			}
			move(t, s, e.Batch.ID, ingest.Sealed, ingest.Sending)
			parts, err := s.Split(ctx, e.Batch.ID, ingest.Sending, []uint64{damage.First, damage.Last + 1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(append([]string{"before"}, lines...), "after")
			for _, p := range []int{0, 2} {
				b := &parts[p].Batch
				if got := payloadOf(t, s, b); got != strings.Join(lines[b.First-1:b.Last], "\n")+"\n" {
					t.Errorf("part %d has other bytes", p)
				}
				settle(t, s, b.ID)
			}
			if _, err := s.DeadLetter(ctx, parts[1].Batch.ID, ingest.Sealed, &ingest.Failure{Class: "damaged"}); err != nil {
				t.Fatal(err)
			}
			if st := checkBooks(t, s); st.Damaged == 0 || st.DeadLettered != int64(damage.Last-damage.First+1) {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestObjectSurvivesTheManifest: which objects are wanted is known to the
// frames, so a lost manifest costs none.
func TestObjectSurvivesTheManifest(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	data := noise(2, 3<<20)
	wholeObject(t, s, laneOf(t, s, parquetTable("t")), data)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "manifest.db")); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, nil)
	e := sealAll(t, s)
	if len(e) != 1 || payloadOf(t, s, &e[0].Batch) != string(data) {
		t.Fatalf("%d batches", len(e))
	}
}

// TestObjectDeadLetter: the payload that is set aside is the object's own.
func TestObjectDeadLetter(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	data := noise(3, 2<<20)
	wholeObject(t, s, laneOf(t, s, parquetTable("t")), data)
	e := sealAll(t, s)[0]
	if _, err := s.DeadLetter(ctx, e.Batch.ID, ingest.Sealed, &ingest.Failure{Class: "permanent"}); err != nil {
		t.Fatal(err)
	}
	r, err := s.OpenDeadLetter(e.Batch.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
