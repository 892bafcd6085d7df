package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// sabotaged opens a database whose file can be closed under it.
func sabotaged(t *testing.T, path string) (*bolt.DB, *os.File) {
	t.Helper()
	var file *os.File
	db, err := bolt.Open(path, 0o600, &bolt.Options{OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return db, file
}

// TestCommitOutcome: a commit that failed before its meta page was written
// stored nothing; one whose meta page is there may have stored everything.
func TestCommitOutcome(t *testing.T) {
	dir := t.TempDir()
	ahead := filepath.Join(dir, "ahead")
	db, _ := sabotaged(t, ahead)
	for range 5 {
		if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucketIfNotExists([]byte("b")); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, meta string // meta is the file whose meta page is looked at
		want       maybe
	}{
		{"before the meta page", "", no},
		{"behind the meta page", ahead, unknown},
		{"no telling", filepath.Join(dir, "missing"), unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			db, file := sabotaged(t, path)
			tx, err := db.Begin(true)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.CreateBucket([]byte("b")); err != nil {
				t.Fatal(err)
			}
			file.Close()
			look := c.meta
			if look == "" {
				look = path
			}
			var ce *commitError
			if err := commitTx(tx, look); !errors.As(err, &ce) || ce.stored != c.want || ce.space {
				t.Errorf("%+v, want stored %d", ce, c.want)
			}
			_ = db.Close()
		})
	}
}

// TestFailedStore: after a write failed the store takes nothing, says so,
// still reads, and is mended by opening it again.
func TestFailedStore(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lane, err := s.Lane(ctx, &ingest.Properties{Database: "d", Table: "t", Format: ingest.JSON}, FrameLimit{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AppendOne(ctx, lane, []byte("kept"), ""); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Seal(ctx, []Seal{{Lane: lane, First: 1, Last: 1, Bytes: 5, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}})
	if err != nil {
		t.Fatal(err)
	}
	room := s.Room()
	_ = s.fail(errors.New("fsync: input/output error"))
	<-room
	if _, err := s.AppendOne(ctx, lane, []byte("x"), ""); !errors.Is(err, ErrFailed) {
		t.Errorf("append: %v", err)
	}
	if _, err := s.Transition(ctx, entries[0].Batch.ID, ingest.Sealed, func(e *Entry) { e.State = ingest.Sending }); !errors.Is(err, ErrFailed) {
		t.Errorf("transition: %v", err)
	}
	if data, err := io.ReadAll(s.Payload(&entries[0].Batch).Open()); err != nil || string(data) != "kept\n" {
		t.Errorf("read: %q, %v", data, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = Open(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.AppendOne(ctx, lane, []byte("more"), ""); err != nil || s.Err() != nil {
		t.Errorf("after opening again: %v, %v", err, s.Err())
	}
}

// TestClosedUnderneath: a database that fails at Begin fails the store, not
// the process, and the append is told that nothing was stored.
func TestClosedUnderneath(t *testing.T) {
	ctx := context.Background()
	s, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lane, err := s.Lane(ctx, &ingest.Properties{Database: "d", Table: "t", Format: ingest.JSON}, FrameLimit{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.commit.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AppendOne(ctx, lane, []byte("x"), ""); !errors.Is(err, ErrFailed) {
		t.Errorf("%v", err)
	}
	if st := s.Stats(); st.Acked != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestFailedSync: what could not be synced is not there for who opens the store
// again in the same boot, although the page cache has all of it; later records
// must not stand on pages that may never reach the disk.
func TestFailedSync(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lane, err := s.Lane(ctx, &ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}, FrameLimit{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AppendOne(ctx, lane, []byte("synced"), ""); err != nil {
		t.Fatal(err)
	}
	closed, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	s.commit.file = closed
	if _, err := s.AppendOne(ctx, lane, []byte("not synced"), ""); !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatalf("append: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = Open(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st := s.Stats(); st.Acked != 1 || st.Damaged != 0 || st.Suspect != 0 {
		t.Errorf("%+v, want the one record that was synced", st)
	}
	if a, err := s.AppendOne(ctx, lane, []byte("on"), ""); err != nil || a.Seq != 2 {
		t.Errorf("the next record is %d, %v", a.Seq, err)
	}
}
