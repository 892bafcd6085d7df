package wal

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"kustospool/internal/vfs"
)

// benchLog has the log recycled as it is written, as a destination that takes does.
func benchLog(b testing.TB, recycled bool) *Log {
	o := Options{FS: vfs.OS, Dir: b.TempDir(), Spool: spool, SegmentBytes: 64 << 20, RecycledFiles: 3}
	var l *Log
	if recycled {
		o.Rotated = func(i SegmentInfo) {
			if err := l.Recycle(i.No); err != nil {
				b.Error(err)
			}
		}
	}
	l, _, err := Open(o, Known{})
	if err != nil {
		b.Fatal(err)
	}
	if err := l.AddLane(Lane{No: 1, Key: "bench", Separator: 1}); err != nil {
		b.Fatal(err)
	}
	return l
}

// warm writes so much that all that follows goes into recycled files.
func warm(b testing.TB, l *Log) {
	rec := bytes.Repeat([]byte("w"), 1<<20)
	for range 4 * 64 {
		if _, err := l.AppendOne(context.Background(), Record{Lane: 1, Data: rec}); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Rotate(); err != nil {
		b.Fatal(err)
	}
	for more := true; more; runtime.Gosched() { // until what is too much is given back
		l.files.mu.Lock()
		more = len(l.files.drops) > 0
		l.files.mu.Unlock()
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, recycled := range []bool{true, false} {
		for _, producers := range []int{1, 16, 64, 256, 1024} {
			space := "fresh"
			if recycled {
				space = "recycled"
			}
			b.Run(fmt.Sprintf("%s/%d", space, producers), func(b *testing.B) {
				l := benchLog(b, recycled)
				defer l.Close()
				if recycled {
					warm(b, l)
				}
				rec := bytes.Repeat([]byte("r"), 1024)
				b.SetBytes(1024)
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for p := range producers {
					wg.Go(func() {
						for range (b.N + p) / producers {
							if _, err := l.AppendOne(context.Background(), Record{Lane: 1, Data: rec}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
			})
		}
	}
}
