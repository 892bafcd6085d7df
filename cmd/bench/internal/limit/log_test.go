package limit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var shapes = map[string]Options{
	"append":       {Syncs: 1},
	"two syncs":    {Syncs: 2},
	"preallocated": {Syncs: 1, Preallocate: 4 * groupBytes},
	"pipelined":    {Syncs: 1, Preallocate: 4 * groupBytes, InFlight: 2},
	"no sync":      {},
}

func create(t *testing.T, opts Options) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	l, err := Create(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, path
}

func TestAppend_EveryRecordIsInTheFileOnceAndInOrder(t *testing.T) {
	for name, opts := range shapes {
		t.Run(name, func(t *testing.T) {
			l, path := create(t, opts)
			const producers, each, size = 16, 40, 32
			var wg sync.WaitGroup
			for p := range producers {
				wg.Go(func() {
					for i := range each {
						if err := l.Append(t.Context(), fmt.Appendf(nil, "%-*s\n", size-1, fmt.Sprintf("%d %d", p, i))); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			next := make(map[int]int)
			for line := range bytes.Lines(bytes.TrimRight(file[headBytes:], "\x00")) {
				var p, i int
				if _, err := fmt.Sscan(string(line), &p, &i); err != nil || next[p] != i {
					t.Fatalf("%q follows record %d of its producer: %v", line, next[p]-1, err)
				}
				next[p]++
			}
			for p := range producers {
				if next[p] != each {
					t.Errorf("producer %d: %d records, want %d", p, next[p], each)
				}
			}
			if head := bytes.Count(file[:headBytes], []byte{0}); (head < headBytes) != (opts.Syncs == 2) {
				t.Errorf("%d bytes of the head are written", headBytes-head)
			}
			if opts.Preallocate > 0 && int64(len(file)) != opts.Preallocate {
				t.Errorf("the file has %d bytes, want %d: it must not grow", len(file), opts.Preallocate)
			}
		})
	}
}

// still is a log whose groups are committed by the test.
func still(t *testing.T, opts Options) *Log {
	t.Helper()
	l, _ := create(t, opts)
	close(l.quit)
	l.committers.Wait()
	l.quit = make(chan struct{})
	return l
}

func TestTake_WhatWaitsIsOneGroup(t *testing.T) {
	l := still(t, Options{Syncs: 1})
	var joined []*group
	for range 3 {
		g, err := l.join(t.Context(), []byte("abc"))
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, g)
	}
	g := l.take()
	if g != joined[0] || g != joined[2] || g.records != 3 || string(g.data) != "abcabcabc" {
		t.Fatalf("took %d records, %q", g.records, g.data)
	}
	if l.take() != nil {
		t.Error("took an empty group")
	}
	next, err := l.join(t.Context(), []byte("d"))
	if err != nil || next == g {
		t.Fatal("a record joined a group that is on its way", err)
	}
	select {
	case <-g.done:
		t.Error("acknowledged before it was written")
	default:
	}
	l.write(g)
	<-g.done
	if g.err != nil {
		t.Error(g.err)
	}
	if l.take().offset != headBytes+9 {
		t.Error("the second group is not behind the first")
	}
}

func TestJoin_AFullGroupTakesNoMore(t *testing.T) {
	l := still(t, Options{})
	if _, err := l.join(t.Context(), make([]byte, groupBytes+1)); err != nil {
		t.Fatal("a record larger than a group:", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() {
		_, err := l.join(ctx, []byte("x"))
		over <- err
	}()
	select {
	case err := <-over:
		t.Fatal("joined a full group:", err)
	default:
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	first := l.take()
	if first.records != 1 {
		t.Fatalf("%d records in a group for one", first.records)
	}
	l.write(first)
	if g, err := l.join(t.Context(), []byte("x")); err != nil || g == first {
		t.Errorf("no room after the full group left: %v", err)
	}
}

func TestWrite_AcknowledgesAfterTheGroupBefore(t *testing.T) {
	l := still(t, Options{Syncs: 1, InFlight: 2})
	take := func() *group {
		if _, err := l.join(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		return l.take()
	}
	first, second := take(), take()
	var wg sync.WaitGroup
	wg.Go(func() { l.write(second) })
	select {
	case <-second.done:
		t.Error("the second group was acknowledged before the first")
	default:
	}
	first.err = nil
	l.write(first)
	wg.Wait()
	<-second.done

	// And a failed group takes those behind it along.
	first, second = take(), take()
	first.before = &group{done: make(chan struct{}), err: errors.New("broken")}
	close(first.before.done)
	l.write(first)
	l.write(second)
	if second.err == nil {
		t.Error("a group behind a failed one was acknowledged")
	}
}

func TestAppend_NothingAfterAFailure(t *testing.T) {
	l, _ := create(t, Options{Syncs: 1})
	healthy := l.file
	closed, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	l.file = closed
	if err := l.Append(t.Context(), []byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("error %v of a failed write", err)
	}
	l.file = healthy
	if err := l.Append(t.Context(), []byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v after a failed write, want the same", err)
	}
}

func TestAppend_EndedContextAndClosedLog(t *testing.T) {
	l, path := create(t, Options{Syncs: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(ctx, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v of a closed log", err)
	}
	if _, err := Create(path, Options{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("error %v, want %v: a log is never opened again", err, os.ErrExist)
	}
}

func TestCreate_ValidatesAll(t *testing.T) {
	_, err := Create(filepath.Join(t.TempDir(), "log"), Options{Syncs: 3, Preallocate: 1, InFlight: -1})
	for _, field := range []string{"Syncs", "Preallocate", "InFlight"} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(field)) {
			t.Errorf("error %v does not name %s", err, field)
		}
	}
}

func TestMedianSync(t *testing.T) {
	dir := t.TempDir()
	if d, err := MedianSync(dir, 5); err != nil || d <= 0 {
		t.Errorf("%v, %v", d, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%d files are left", len(left))
	}
	if _, err := MedianSync(dir, 0); err == nil {
		t.Error("the median of none")
	}
}
