package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

func laneFor(t *testing.T, s *Store) uint32 {
	t.Helper()
	lane, err := s.Lane(context.Background(), &ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}, FrameLimit{})
	if err != nil {
		t.Fatal(err)
	}
	return lane
}

// TestCommitInterval: records that come within the interval are one commit, and
// none waits longer than it; a group that is full, and a close, end it.
func TestCommitInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commits := 0
		s, err := Open(t.TempDir(), &Options{NoSync: true, CommitInterval: time.Second, MaxBytes: 1 << 30,
			Committed: func([]Frame) { commits++ }})
		if err != nil {
			t.Fatal(err)
		}
		lane := laneFor(t, s)
		begun := time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				if _, err := s.AppendOne(context.Background(), lane, []byte("x"), ""); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begun); commits != 1 || took != time.Second {
			t.Errorf("%d commits after %s, want 1 after the interval", commits, took)
		}
		begun = time.Now()
		big := []byte(strings.Repeat("x", groupBytes/3))
		for range 4 {
			wg.Go(func() {
				if _, err := s.AppendOne(context.Background(), lane, big, ""); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if commits != 2 || time.Since(begun) != 0 {
			t.Errorf("%d commits at once, want the full group to be one", commits-1)
		}
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if commits != 3 || time.Since(begun) != 0 {
			t.Errorf("%d commits after %s: the close did not end the interval", commits, time.Since(begun))
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
		lane := laneFor(t, s)
		recs := make([]Record, 1000)
		for i := range recs {
			recs[i] = Record{Lane: lane, Data: []byte(line)}
			want += line + "\n"
		}
		before := s.commit.high
		if _, err := s.Append(context.Background(), recs); err != nil {
			t.Fatal(err)
		}
		grown, raw := s.commit.high-before, int64(len(line)*len(recs))
		if compressed := grown < raw/4; compressed != (c == S2) {
			t.Errorf("round %d: %d bytes took %d on disk", round, raw, grown)
		}
		if round == 2 {
			var got bytes.Buffer
			var seals []Seal
			for f, err := range s.Unsealed() {
				if err != nil {
					t.Fatal(err)
				}
				if n := len(seals); n > 0 {
					seals[0].Last, seals[0].Bytes = f.Last, seals[0].Bytes+f.Bytes
					continue
				}
				seals = append(seals, Seal{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
			}
			live, err := s.Seal(context.Background(), seals)
			if err != nil {
				t.Fatal(err)
			}
			r := s.Payload(&live[0].Batch).Open()
			if _, err := got.ReadFrom(r); err != nil || got.String() != want {
				t.Errorf("%d bytes, %v; want %d", got.Len(), err, len(want))
			}
			r.Close()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManifestShrinks: a manifest that has grown and is mostly free is written
// again by the next open, with all that is in it; one that is in use is not.
func TestManifestShrinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, manifestName)
	open := func() *Store {
		s, err := Open(dir, &Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	s := open()
	lane := laneFor(t, s)
	if _, err := s.AppendOne(context.Background(), lane, []byte("kept"), "key"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change := func(fn func(b *bolt.Bucket) error) {
		db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error { return fn(tx.Bucket(bktKeyTimes)) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	future := uint64(time.Now().Add(time.Hour).UnixNano())
	row := func(i int) []byte { return append(u64(future+uint64(i)), make([]byte, len(keyHash{}))...) }
	const rows = 150_000
	change(func(b *bolt.Bucket) error {
		for i := range rows {
			if err := b.Put(row(i), nil); err != nil {
				return err
			}
		}
		return nil
	})
	full := size()
	if err := open().Close(); err != nil {
		t.Fatal(err)
	}
	if got := size(); got < full {
		t.Errorf("a manifest in use went from %d to %d bytes", full, got)
	}
	change(func(b *bolt.Bucket) error {
		for i := range rows {
			if err := b.Delete(row(i)); err != nil {
				return err
			}
		}
		return nil
	})
	s = open()
	if got := size(); full < shrinkFrom || got > full/8 {
		t.Errorf("%d bytes, were %d", got, full)
	}
	if st := s.Stats(); st.Acked != 1 || st.Damaged != 0 {
		t.Errorf("stats %+v", st)
	}
	if a, err := s.AppendOne(context.Background(), lane, []byte("kept"), "key"); err != nil || !a.Duplicate {
		t.Errorf("the key is forgotten: %+v, %v", a, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
