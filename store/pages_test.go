package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sharedBuckets is a page of a leaf with so many buckets in each other, each
// with four elements that all have the same next one as their value.
func sharedBuckets(id uint64, size, depth int) []byte {
	const elements = 4
	page := make([]byte, size)
	native.PutUint64(page, id)
	at := 0
	for d := range depth {
		p := page[at:]
		native.PutUint16(p[8:], flagLeaf)
		native.PutUint16(p[10:], elements)
		keys := pageHeaderLen + elements*elementLen
		value := keys + elements
		for i := range elements {
			e := p[pageHeaderLen+i*elementLen:]
			if d < depth-1 {
				native.PutUint32(e, leafIsBucket)
			}
			native.PutUint32(e[4:], uint32(keys+i-pageHeaderLen-i*elementLen))
			native.PutUint32(e[8:], uint32(elements-i)) // up to the value
			native.PutUint32(e[12:], uint32(len(p)-value))
			p[keys+i] = 'a' + byte(i)
		}
		at += value + bucketHeader
	}
	return page
}

// TestSharedBytes: a page whose elements share bytes is refused before they are
// walked again and again: 4 to the 30th here.
func TestSharedBytes(t *testing.T) {
	const size = 4096
	image := append(make([]byte, 3*size), sharedBuckets(3, size, 30)...)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	done := make(chan error, 1)
	go func() {
		_, err := prove(f, int64(len(image)), boltMeta{valid: true, pageSize: size, root: 3, freelist: 2, high: 4, txid: 3})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, errDamaged) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it is still being walked")
	}
}

// TestPageCircle: a page that leads to itself, which bbolt would follow until
// the process dies, is damage like any other: in a segment after a clean stop,
// in one that is only read, and in the manifest. After an unclean stop it is a
// torn commit, and the one before counts.
func TestPageCircle(t *testing.T) {
	const records = 2000
	for _, where := range []string{"clean", "unclean", "listed", "manifest"} {
		t.Run(where, func(t *testing.T) {
			dir := t.TempDir()
			opts := &Options{NoSync: true, SegmentBytes: MinSegmentBytes * 4}
			s, err := Open(dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			lane := laneFor(t, s)
			for range records {
				if _, err := s.AppendOne(t.Context(), lane, bytes.Repeat([]byte("r"), 300), ""); err != nil {
					t.Fatal(err)
				}
			}
			if where == "unclean" {
				if err := s.fillShelf(); err != nil {
					t.Fatal(err)
				}
				copied := copySpool(t, dir)
				defer s.Close()
				dir = copied
			} else if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := segmentPath(dir, s.commit.active.no)
			switch where {
			case "listed":
				path = segmentPath(dir, 1)
			case "manifest":
				path = s.manifest.path
			}
			bend(t, path)
			if s, err = Open(dir, opts); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			want, torn := records, where == "unclean"
			if torn {
				want--
			}
			if got := readAll(t, s); len(got) != want {
				t.Errorf("%d records, want %d", len(got), want)
			}
			if st := s.Stats(); torn != (st.Damaged == 0) {
				t.Errorf("taken for damage or not: %+v", st)
			}
		})
	}
}

// bend makes the root of a file a branch that leads to itself.
func bend(t *testing.T, path string) {
	t.Helper()
	metas, err := readMetas(path)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := metas.newest()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, m.pageSize)
	if _, err := f.ReadAt(p, int64(m.root)*m.pageSize); err != nil {
		t.Fatal(err)
	}
	native.PutUint16(p[8:], flagBranch)
	native.PutUint16(p[10:], 1)
	e := p[pageHeaderLen:]
	native.PutUint32(e, elementLen)
	native.PutUint32(e[4:], 1)
	native.PutUint64(e[8:], m.root)
	if _, err := f.WriteAt(p, int64(m.root)*m.pageSize); err != nil {
		t.Fatal(err)
	}
}
