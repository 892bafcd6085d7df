package store

import (
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
