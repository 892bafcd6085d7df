package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/store"
)

func TestOptionsReportAllViolations(t *testing.T) {
	_, err := store.Open(t.TempDir(), &store.Options{SegmentBytes: 1, LockTimeout: -1, OpenSegments: -1, HistoryRows: -1})
	if !errors.Is(err, ingest.ErrInvalid) {
		t.Fatalf("%v", err)
	}
	for _, field := range []string{"SegmentBytes", "LockTimeout", "OpenSegments", "HistoryRows"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
	if _, err := store.Open(t.TempDir(), &store.Options{MaxBytes: 1 << 20}); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("a quota below two segments: %v", err)
	}
}

func TestSecondOpenNamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	openStore(t, dir, nil)
	start := time.Now()
	_, err := store.Open(dir, &store.Options{LockTimeout: 50 * time.Millisecond})
	var locked *store.LockedError
	if !errors.As(err, &locked) || !strings.Contains(locked.Owner, fmt.Sprint(os.Getpid())) {
		t.Errorf("%v, owner %+v", err, locked)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %s", d)
	}
}

func TestForeignDirectoryIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	note := filepath.Join(dir, "holiday.jpg")
	if err := os.WriteFile(note, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(dir, nil)
	var foreign *store.ForeignError
	if !errors.Is(err, store.ErrForeign) || !errors.As(err, &foreign) || foreign.File != "holiday.jpg" {
		t.Fatalf("%v", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("the directory now holds %v, %v", names, err)
	}
}

func TestNoteBesideASpool(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "x")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if st := openStore(t, dir, nil).Stats(); st.Acked != 1 {
		t.Errorf("stats %+v", st)
	}
}

// TestOlderFormatIsRefused: a spool of format 2 is left as it is.
func TestOlderFormatIsRefused(t *testing.T) {
	for name, lost := range map[string]string{"whole": "", "without its manifest": "manifest.db", "without its segments": "segments/00000001.db"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old := func(path string) {
				db, err := bolt.Open(filepath.Join(dir, path), 0o600, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Update(func(tx *bolt.Tx) error {
					b, err := tx.CreateBucket([]byte("meta"))
					return errors.Join(err, b.Put([]byte("identity"), make([]byte, 8)), b.Put([]byte("version"), []byte{0, 0, 0, 2}))
				}); err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(filepath.Join(dir, "segments"), 0o700); err != nil {
				t.Fatal(err)
			}
			old("manifest.db")
			old("segments/00000001.db")
			if lost != "" {
				if err := os.Remove(filepath.Join(dir, lost)); err != nil {
					t.Fatal(err)
				}
			}
			before := contents(t, dir)
			_, err := store.Open(dir, nil)
			var version *store.VersionError
			if !errors.As(err, &version) || version.Version != 2 || version.Known != 3 {
				t.Errorf("%v", err)
			}
			after := contents(t, dir)
			delete(after, "lock") // says who looked
			if !maps.Equal(before, after) {
				t.Errorf("it was changed: %d files, then %d", len(before), len(after))
			}
		})
	}
}

// contents reads all files below a directory.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "x")
	if _, err := s.DeadLetter(ctx, sealAll(t, s)[0].Batch.ID, ingest.Sealed, nil); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSmallestSpool: the smallest quota that the options allow is of use.
func TestSmallestSpool(t *testing.T) {
	dir := t.TempDir()
	opts := &store.Options{SegmentBytes: store.MinSegmentBytes, MaxBytes: 2*store.MinSegmentBytes + 5<<20, NoSync: true}
	s := openStore(t, dir, opts)
	lane := laneOf(t, s, jsonTable("t"))
	total := 0
	for round := range 5 {
		n := 0
		for room := s.Room(); ; n++ {
			_, err := s.AppendOne(ctx, lane, []byte(strings.Repeat("x", 1000)), "")
			if errors.Is(err, store.ErrFull) && n == 0 && round > 0 {
				<-room // the maintenance is still at the last round's segments
				room = s.Room()
				continue
			}
			if errors.Is(err, store.ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if st := checkBooks(t, s); n == 0 || st.DiskBytes > opts.MaxBytes {
			t.Fatalf("round %d: %d records, %+v", round, n, st)
		}
		total += n
		for _, e := range sealAll(t, s) {
			settle(t, s, e.Batch.ID)
		}
	}
	t.Logf("%d records in 5 rounds", total)
}

// TestFullSpool fills a spool, makes room by delivering, and goes on.
func TestFullSpool(t *testing.T) {
	dir := t.TempDir()
	const segment = 256 << 10
	opts := &store.Options{SegmentBytes: segment, MaxBytes: 2*segment + 6<<20, NoSync: true}
	s := openStore(t, dir, opts)
	lane := laneOf(t, s, jsonTable("t"))
	data := []byte(strings.Repeat("x", 8<<10))
	fill := func() (n int) {
		for {
			_, err := s.AppendOne(ctx, lane, data, "")
			if errors.Is(err, store.ErrFull) {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
			if n++; n > 10_000 {
				t.Fatal("it is never full")
			}
		}
	}
	first := fill()
	if st := checkBooks(t, s); st.DiskBytes > opts.MaxBytes || st.Acked != int64(first) {
		t.Errorf("full with %+v", st)
	}
	if got := diskUse(t, dir); got > opts.MaxBytes {
		t.Errorf("%d bytes on disk, at most %d allowed", got, opts.MaxBytes)
	}
	room := s.Room()
	for _, e := range sealAll(t, s) {
		settle(t, s, e.Batch.ID)
	}
	select {
	case <-room:
	case <-time.After(10 * time.Second):
		t.Fatal("no room after everything was delivered")
	}
	// The active segment, the next one and two kept to be written again, the ballast, the ledger.
	waitFor(t, s, func(st store.Stats) bool { return st.DiskBytes < 4*segment+768<<10 })
	if again := fill(); again < first/2 {
		t.Errorf("%d records fitted at first, %d after the drain", first, again)
	}
	checkBooks(t, s)
}

func diskUse(t testing.TB, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		sum += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// waitFor waits for the maintenance: each piece of its work that gives space back
// is told through Room.
func waitFor(t testing.TB, s *store.Store, want func(store.Stats) bool) {
	t.Helper()
	limit, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		room := s.Room()
		if want(s.Stats()) {
			return
		}
		select {
		case <-room:
		case <-limit.Done():
			t.Fatalf("never: %+v", s.Stats())
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := openStore(t, t.TempDir(), &store.Options{HistoryRows: 10, NoSync: true})
	lane := laneOf(t, s, jsonTable("t"))
	for range 25 {
		appendOne(t, s, lane, "x")
		settle(t, s, sealAll(t, s)[0].Batch.ID)
	}
	n := 0
	for e, err := range s.Settled() {
		if err != nil || e.State != ingest.Succeeded {
			t.Errorf("%+v, %v", e, err)
		}
		n++
	}
	if n != 10 {
		t.Errorf("%d rows", n)
	}
	if _, err := s.Find(lane, 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the oldest record is still found: %v", err)
	}
	if e, err := s.Find(lane, 25); err != nil || e.State != ingest.Succeeded {
		t.Errorf("the newest: %v, %v", e.State, err)
	}
	checkBooks(t, s)
}

// TestCommittedComesInOrder checks that frames are told in commit order, each
// record once, and before its append returns.
func TestCommittedComesInOrder(t *testing.T) {
	var s *store.Store
	next := map[uint32]uint64{}
	var told uint64
	opts := &store.Options{NoSync: true, Committed: func(fs []store.Frame) {
		for _, f := range fs {
			if f.First != next[f.Lane]+1 {
				t.Errorf("frame %+v after %d", f, next[f.Lane])
			}
			next[f.Lane], told = f.Last, f.Last
		}
	}}
	s = openStore(t, t.TempDir(), opts)
	lane := laneOf(t, s, jsonTable("t"))
	for i := range uint64(50) {
		if seq := appendOne(t, s, lane, "x"); seq != i+1 || told != seq {
			t.Fatalf("record %d acknowledged, %d told", seq, told)
		}
	}
}

// TestRecordsStayOutOfTheLog would fail if a record's bytes reached the log.
func TestRecordsStayOutOfTheLog(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	opts := &store.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s := openStore(t, dir, opts)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "confidential")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "segments", "00000001.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[:4096])
	if err := os.WriteFile(path, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, opts)
	if s.Stats().Damaged == 0 || log.Len() == 0 {
		t.Error("the damage went unnoticed")
	}
	if strings.Contains(log.String(), "confidential") {
		t.Errorf("log: %s", log.String())
	}
	if data, err := io.ReadAll(s.Payload(&sealAll(t, s)[0].Batch).Open()); err != nil || string(data) != "confidential\n" {
		t.Errorf("%q, %v", data, err)
	}
}
