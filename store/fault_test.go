package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
	"kustospool/store/internal/ledger"
)

var bg = context.Background()

func laneFor(t testing.TB, s *Store, format ingest.Format) uint32 {
	t.Helper()
	lane, err := s.Lane(bg, &ingest.Properties{Database: "D", Table: "T", Format: format}, FrameLimit{})
	if err != nil {
		t.Fatal(err)
	}
	return lane
}

// onMem opens a spool on a file system in memory; its ledger is at books.
func onMem(t testing.TB, fsys vfs.FS, books string, o Options) *Store {
	t.Helper()
	o.files, o.books = fsys, books
	s, err := Open("/spool", &o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealOpen(t testing.TB, s *Store) []Entry {
	t.Helper()
	var seals []Seal
	for f, err := range s.Unsealed() {
		if err != nil {
			t.Fatal(err)
		}
		if n := len(seals); n > 0 && seals[n-1].Lane == f.Lane && seals[n-1].Last+1 == f.First {
			seals[n-1].Last, seals[n-1].Bytes = f.Last, seals[n-1].Bytes+f.Bytes
			continue
		}
		seals = append(seals, Seal{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
	}
	entries, err := s.Seal(bg, seals)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func read(t testing.TB, s *Store, b *ingest.Batch) string {
	t.Helper()
	r := s.Payload(b).Open()
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestFailedStore: after a write failed the store takes nothing, says so,
// still reads, and is mended by opening it again.
func TestFailedStore(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lane := laneFor(t, s, ingest.JSON)
	if _, err := s.AppendOne(bg, lane, []byte("kept"), ""); err != nil {
		t.Fatal(err)
	}
	entries := sealOpen(t, s)
	room := s.Room()
	_ = s.fail(errors.New("fsync: input/output error"))
	<-room
	<-s.Failed()
	if _, err := s.AppendOne(bg, lane, []byte("x"), ""); !errors.Is(err, ErrFailed) {
		t.Errorf("append: %v", err)
	}
	if _, err := s.Transition(bg, entries[0].Batch.ID, ingest.Sealed, func(e *Entry) { e.State = ingest.Sending }); !errors.Is(err, ErrFailed) {
		t.Errorf("transition: %v", err)
	}
	if data := read(t, s, &entries[0].Batch); data != "kept\n" {
		t.Errorf("read: %q", data)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = Open(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.AppendOne(bg, lane, []byte("more"), ""); err != nil || s.Err() != nil {
		t.Errorf("after opening again: %v, %v", err, s.Err())
	}
}

// TestFailedSync: a sync that fails is an unknown outcome, ends the store, and
// after a power cut the record is there or is not; the next one has its number
// or the one behind it.
func TestFailedSync(t *testing.T) {
	kept := map[int64]int{}
	for seed := range uint64(40) {
		fsys, books := memfs.New(seed), filepath.Join(t.TempDir(), "books")
		s := onMem(t, fsys, books, Options{})
		lane := laneFor(t, s, ingest.JSON)
		if _, err := s.AppendOne(bg, lane, []byte("synced"), ""); err != nil {
			t.Fatal(err)
		}
		fsys.Fail(memfs.Sync, 1, syscall.EIO)
		if _, err := s.AppendOne(bg, lane, []byte("not synced"), ""); !errors.Is(err, ErrOutcomeUnknown) {
			t.Fatalf("append: %v", err)
		}
		if _, err := s.AppendOne(bg, lane, []byte("x"), ""); !errors.Is(err, ErrFailed) {
			t.Errorf("the next append: %v", err)
		}
		_ = s.Close()
		s = onMem(t, fsys.Crash(), books, Options{})
		st := s.Stats()
		if st.Damaged != 0 || st.Suspect != 0 || st.Acked < 1 || st.Acked > 2 {
			t.Errorf("%+v", st)
		}
		kept[st.Acked]++
		if a, err := s.AppendOne(bg, lane, []byte("on"), ""); err != nil || a.Seq != uint64(st.Acked)+1 {
			t.Errorf("the next record is %d, %v", a.Seq, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(kept) != 2 {
		t.Errorf("of 40, so many came back by how many there were: %v", kept)
	}
}

// TestFullVolume: without room an append is ErrFull and nothing of it is
// stored; the store stays healthy and goes on when there is some.
func TestFullVolume(t *testing.T) {
	fsys := memfs.New(1)
	s := onMem(t, fsys, filepath.Join(t.TempDir(), "books"), Options{SegmentBytes: 1 << 20})
	defer s.Close()
	lane, whole := laneFor(t, s, ingest.JSON), laneFor(t, s, ingest.Parquet)
	fsys.Limit(fsys.Used() + 300<<10)
	acked := 0
	var err error
	for err == nil {
		if _, err = s.AppendOne(bg, lane, bytes.Repeat([]byte("x"), 10_000), ""); err == nil {
			acked++
		}
	}
	if !errors.Is(err, ErrFull) || s.Err() != nil || acked == 0 {
		t.Fatalf("%d records, %v, store %v", acked, err, s.Err())
	}
	if _, err := s.AppendOne(bg, whole, make([]byte, 2<<20), ""); !errors.Is(err, ErrFull) {
		t.Errorf("a large record: %v", err)
	}
	if infos, _ := fsys.List("/spool/objects"); len(infos) > 0 {
		t.Errorf("left in objects: %v", infos)
	}
	fsys.Limit(0)
	if _, err := s.AppendOne(bg, lane, []byte("on"), ""); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Acked != int64(acked)+1 {
		t.Errorf("%d acknowledged, %+v", acked+1, st)
	}
}

// TestSettledSegmentIsRoom: a volume that is full of the active segment alone, in which
// all is settled, has room again when that is given back, which the half of a segment
// that is never reached does not bring about. So it is where the books took the ballast,
// and where they had room enough without it, down to the last byte.
func TestSettledSegmentIsRoom(t *testing.T) {
	for _, tt := range []struct {
		ballast bool
		left    int64 // by others
		record  int
	}{{false, 64 << 10, 10_000}, {true, 64 << 10, 100_000}, {true, 0, 100_000}} {
		t.Run(fmt.Sprintf("ballast %v, %d bytes left", tt.ballast, tt.left), func(t *testing.T) {
			fsys := memfs.New(1)
			s := onMem(t, fsys, filepath.Join(t.TempDir(), "books"), Options{SegmentBytes: 64 << 20, manual: true})
			defer s.Close()
			lane := laneFor(t, s, ingest.JSON)
			fsys.Limit(fsys.Used() + 4<<20)
			put := func() error {
				_, err := s.AppendOne(bg, lane, bytes.Repeat([]byte("x"), tt.record), "")
				return err
			}
			for put() == nil {
			}
			if !tt.ballast {
				s.giveUpBallast()
			}
			fsys.Limit(fsys.Used() + tt.left)
			for _, e := range sealOpen(t, s) {
				for _, step := range [][2]ingest.State{{ingest.Sealed, ingest.Sending}, {ingest.Sending, ingest.Succeeded}} {
					if _, err := s.Transition(bg, e.Batch.ID, step[0], func(e *Entry) { e.State = step[1] }); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := put(); !errors.Is(err, ErrFull) || s.ballast.present.Load() != tt.ballast {
				t.Fatalf("when all is settled: %v, and a ballast is there: %v", err, s.ballast.present.Load())
			}
			s.upkeep(20)
			if err := put(); err != nil || !s.ballast.present.Load() {
				t.Errorf("with nothing waiting: %v, and a ballast is there: %v", err, s.ballast.present.Load())
			}
		})
	}
}

// TestBallastIsMissedOnce: the log tells when there is no room for it and when there
// is again, however often it is tried for between.
func TestBallastIsMissedOnce(t *testing.T) {
	fsys := memfs.New(1)
	var out strings.Builder
	s := onMem(t, fsys, filepath.Join(t.TempDir(), "books"), Options{manual: true, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	defer s.Close()
	const missed, again = "no room for the ballast", "there is room for the ballast again"
	for n := range 2 {
		fsys.Limit(fsys.Used())
		if !s.giveUpBallast() {
			t.Fatal("there is no ballast")
		}
		fsys.Limit(fsys.Used()) // others have taken it
		for range 5 {
			s.takeBallast()
		}
		if a, b := strings.Count(out.String(), missed), strings.Count(out.String(), again); a != n+1 || b != n {
			t.Fatalf("told %d times, and its end %d: %s", a, b, out.String())
		}
		fsys.Limit(0)
		for range 2 {
			s.takeBallast()
		}
		if a, b := strings.Count(out.String(), missed), strings.Count(out.String(), again); a != n+1 || b != n+1 {
			t.Fatalf("told %d times, and its end %d: %s", a, b, out.String())
		}
	}
}

// TestUnneededObject: a record that was there already, whose object cannot be
// removed, does not make an error of a call that was stored.
func TestUnneededObject(t *testing.T) {
	fsys, books := memfs.New(1), filepath.Join(t.TempDir(), "books")
	s := onMem(t, fsys, books, Options{})
	lane := laneFor(t, s, ingest.JSON)
	large := bytes.Repeat([]byte("x"), DefaultFrameBytes+1)
	for n := range 4 {
		fsys.Fail(memfs.Remove, n+1, syscall.EIO)
	}
	got, err := s.Append(t.Context(), []Record{{Lane: lane, Data: large, Key: "k"}, {Lane: lane, Data: large, Key: "k"}})
	if want := []Appended{{Seq: 1}, {Seq: 1, Duplicate: true}}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	fsys.Calm()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = onMem(t, fsys, books, Options{})
	if infos, err := fsys.List("/spool/" + objectsName); err != nil || len(infos) != 1 {
		t.Errorf("objects %+v, %v; want the one that is needed", infos, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedDeadLetter: a dead letter that the ledger refuses leaves no file.
func TestRefusedDeadLetter(t *testing.T) {
	fsys, books := memfs.New(1), filepath.Join(t.TempDir(), "books")
	var refuse error
	s := onMem(t, fsys, books, Options{fault: func(ledger.Step) error { return refuse }})
	lane := laneFor(t, s, ingest.JSON)
	if _, err := s.Append(bg, []Record{{Lane: lane, Data: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	e := sealOpen(t, s)[0]
	refuse = syscall.ENOSPC
	if _, err := s.DeadLetter(bg, e.Batch.ID, e.State, nil); !errors.Is(err, ErrFull) {
		t.Fatalf("dead letter: %v", err)
	}
	refuse = nil
	if infos, err := fsys.List("/spool/" + deadName); err != nil || len(infos) != 0 {
		t.Errorf("left in %s/: %+v, %v", deadName, infos, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRemovedUnderneath: an active segment whose file was removed acknowledges
// nothing more.
func TestRemovedUnderneath(t *testing.T) {
	fsys := memfs.New(1)
	s := onMem(t, fsys, filepath.Join(t.TempDir(), "books"), Options{})
	defer s.Close()
	lane := laneFor(t, s, ingest.JSON)
	if _, err := s.AppendOne(bg, lane, []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	infos, err := fsys.List("/spool/segments")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		fsys.Delete("/spool/segments/" + i.Name)
	}
	if _, err := s.AppendOne(bg, lane, []byte("x"), ""); !errors.Is(err, ErrFailed) {
		t.Errorf("append: %v", err)
	}
}

// TestCommitInterval: records that come within the interval are one commit, and
// none waits longer than it; a close ends it.
func TestCommitInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commits := 0
		s, err := Open(t.TempDir(), &Options{NoSync: true, CommitInterval: time.Second, Committed: func([]Frame) { commits++ }})
		if err != nil {
			t.Fatal(err)
		}
		lane := laneFor(t, s, ingest.JSON)
		begun := time.Now()
		done := make(chan error, 10)
		for i := range 10 {
			go func() {
				<-time.After(time.Duration(i) * 50 * time.Millisecond)
				_, err := s.AppendOne(bg, lane, []byte("x"), "")
				done <- err
			}()
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); commits != 1 || took != time.Second {
			t.Errorf("%d commits after %s, want 1 after the interval", commits, took)
		}
		begun = time.Now()
		go func() {
			_, err := s.AppendOne(bg, lane, []byte("x"), "")
			done <- err
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil || time.Since(begun) != 0 || commits != 2 {
			t.Errorf("%v after %s, %d commits: the close did not end the interval", err, time.Since(begun), commits)
		}
	})
}

// TestCompressedFrames: what is compressed takes less, and reads as it was,
// whichever way the spool is opened next.
func TestCompressedFrames(t *testing.T) {
	dir := t.TempDir()
	line := strings.Repeat(`{"boat":"Kittiwake","knots":6.5}`, 30)
	want := ""
	for round, c := range []Compression{S2, NoCompression, S2} {
		s, err := Open(dir, &Options{NoSync: true, Compression: c})
		if err != nil {
			t.Fatal(err)
		}
		recs := make([]Record, 1000)
		for i := range recs {
			recs[i] = Record{Lane: laneFor(t, s, ingest.JSON), Data: []byte(line)}
			want += line + "\n"
		}
		before := s.wal.Active().End
		if _, err := s.Append(bg, recs); err != nil {
			t.Fatal(err)
		}
		grown, raw := s.wal.Active().End-before, int64(len(line)*len(recs))
		if compressed := grown < raw/4; compressed != (c == S2) {
			t.Errorf("round %d: %d bytes took %d on disk", round, raw, grown)
		}
		if round == 2 {
			if got := read(t, s, &sealOpen(t, s)[0].Batch); got != want {
				t.Errorf("%d bytes, want %d", len(got), len(want))
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerCuts runs a workload into a power cut at every other call that
// changes a file, and finds all that was acknowledged. Without syncs, the
// negative control, it misses some. The ledger's file before and after the
// transaction under way is the business of TestHistories.
func TestPowerCuts(t *testing.T) {
	lost := func(noSync bool, seeds uint64) (cuts, missing int) {
		for seed := range seeds {
			fsys, books := memfs.New(seed), filepath.Join(t.TempDir(), "books")
			o := Options{SegmentBytes: MinSegmentBytes, NoSync: noSync}
			var acked []string
			cut := 1 + int(seed)*7%400
			fsys.CutAfter(cut)
			acked = cutWorkload(fsys, books, o)
			if !fsys.Off() {
				fsys.CutAfter(0)
			} else {
				cuts++
			}
			o.files, o.books, o.NoSync = fsys.Crash(), books, false
			s, err := Open("/spool", &o)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			st := s.Stats()
			if !noSync && (st.Damaged != 0 || st.Suspect != 0) {
				t.Errorf("seed %d: a power cut was taken for damage: %+v", seed, st)
			}
			var all strings.Builder
			for _, e := range append(sealOpen(t, s), s.Live()...) {
				r := s.Payload(&e.Batch).Open()
				_, err := io.Copy(&all, r)
				if err != nil && !noSync {
					t.Errorf("seed %d: %v", seed, err)
				}
				r.Close()
			}
			// The position is of the last commit that is there, and so are its records.
			if pos, ok := s.Position("p"); !noSync && ok {
				n := 0
				_, _ = fmt.Sscan(string(pos.Value), &n)
				if n+1 < len(acked) || int64(n)+1 != st.Acked {
					t.Errorf("seed %d: the position says record %d, of %d acknowledged and %d there", seed, n, len(acked), st.Acked)
				}
			} else if !noSync && len(acked) > 0 {
				t.Errorf("seed %d: no position", seed)
			}
			for _, a := range acked {
				if !strings.Contains(all.String(), a+"\n") {
					missing++
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		return cuts, missing
	}
	seeds, control := uint64(150), uint64(40)
	if testing.Short() {
		seeds, control = 40, 20
	}
	cuts, missing := lost(false, seeds)
	if missing > 0 || cuts < int(seeds)/2 {
		t.Errorf("%d acknowledged records are missing after %d cuts", missing, cuts)
	}
	if _, missing := lost(true, control); missing == 0 {
		t.Error("without syncs nothing was missing")
	}
}

// cutWorkload appends until something fails, seals some of it, and says what
// was acknowledged.
func cutWorkload(fsys vfs.FS, books string, o Options) (acked []string) {
	o.files, o.books = fsys, books
	s, err := Open("/spool", &o)
	if err != nil {
		return nil
	}
	defer s.Close()
	lane, err := s.Lane(bg, &ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}, FrameLimit{})
	if err != nil {
		return nil
	}
	sealed := uint64(0)
	for i := range 60 {
		line := fmt.Sprintf("record %d %s", i, strings.Repeat("x", i*100))
		if i%20 == 9 {
			line += strings.Repeat("y", 1<<20+5)
		}
		a, err := s.AppendWith(bg, []Record{{Lane: lane, Data: []byte(line)}}, []Position{{Name: "p", Value: fmt.Append(nil, i)}})
		if err != nil {
			return acked
		}
		acked = append(acked, line)
		if pos, ok := s.Position("p"); !ok || string(pos.Value) != fmt.Sprint(i) {
			return append(acked, "the position is another")
		}
		if i%10 == 5 {
			seal := Seal{Lane: lane, First: sealed + 1, Last: a[0].Seq, Bytes: 0, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}
			for _, l := range acked[sealed:] {
				seal.Bytes += int64(len(l)) + 1
			}
			if _, err := s.Seal(bg, []Seal{seal}); err != nil {
				return acked
			}
			sealed = a[0].Seq
		}
	}
	return acked
}
