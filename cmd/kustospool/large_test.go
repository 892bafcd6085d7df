package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
)

// heapPeak is how far the heap grows above what it is when work begins, what
// the collector has not taken yet included.
func heapPeak(work func()) uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	idle := read()
	var peak uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, read())
			case <-stop:
				return
			}
		}
	}()
	work()
	close(stop)
	<-stopped
	return peak - min(idle, peak)
}

// TestLargeRecordsMemory: a drain has no buffer of a record's size, and send
// those of its reader.
func TestLargeRecordsMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes some hundred megabytes; not with -short")
	}
	const (
		records = 5
		size    = 60 << 20
		drains  = 64 << 20
	)
	file := filepath.Join(t.TempDir(), "large.json")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for range records {
		fmt.Fprint(w, `{"s":"`)
		for range size / 16 {
			fmt.Fprintf(w, "%016x", rng.Uint64())
		}
		fmt.Fprintln(w, `"}`)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(what string, bound uint64, code int, args ...string) {
		t.Helper()
		var got result
		peak := heapPeak(func() { got = kustospool(t, "", args...) })
		t.Logf("%s of %d records of %d MiB: heap at most %d MiB above idle", what, records, size>>20, peak>>20)
		if got.code != code {
			t.Fatalf("%s: %+v", what, got)
		}
		if peak > bound {
			t.Errorf("%s: heap of %d MiB above idle, bound %d", what, peak>>20, bound>>20)
		}
	}
	into := t.TempDir()
	run("send", drains+3*size, exitOK, "send", "--to", "dir:"+into, "--database", "D", "--table", "T", "--spool", filepath.Join(t.TempDir(), "a"), file)

	// Nothing listens there; what is spooled goes elsewhere later.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(t.TempDir(), "b")
	run("send into the spool", drains+3*size, exitPending, "send", "--to", away, "--timeout", "1s", "--database", "D", "--table", "T", "--spool", spool, file)
	into = t.TempDir()
	run("drain", drains, exitOK, "drain", "--to", "dir:"+into, "--spool", spool)
	if n := dirBytes(t, into); n < records*size {
		t.Errorf("%d bytes were drained", n)
	}
}

// dirBytes are the sizes of all files in a directory.
func dirBytes(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLargeAmongSmall: a large record is stored out of the reader's buffer,
// which the records after it overwrite.
func TestLargeAmongSmall(t *testing.T) {
	var want []string
	for i := range 24 {
		size := 10
		if i%5 > 2 {
			size = chunkBytes + i*1000
		}
		want = append(want, fmt.Sprintf(`{"i":%d,"s":"%s"}`, i, strings.Repeat(string(rune('a'+i)), size)))
	}
	into := t.TempDir()
	file := write(t, "in.json", strings.Join(want, "\n"))
	if got := kustospool(t, "", "send", "--to", "dir:"+into, "--database", "D", "--table", "T", "--spool", t.TempDir(), file); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	var got []string
	err := filepath.WalkDir(into, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".properties.json") {
			return err
		}
		data, err := os.ReadFile(path)
		got = append(got, strings.Split(strings.TrimSpace(string(data)), "\n")...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// The files' names are in the order of their records.
	if !slices.Equal(got, want) {
		t.Errorf("%d records arrived of %d, or others", len(got), len(want))
	}
}
