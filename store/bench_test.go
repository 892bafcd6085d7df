package store_test

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"kustospool/store"
)

// BenchmarkAck measures acknowledged, that is fsynced, records of 1 KiB.
func BenchmarkAck(b *testing.B) {
	for _, producers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			commits := 0
			s := openStore(b, b.TempDir(), &store.Options{Committed: func([]store.Frame) { commits++ }})
			lane := laneOf(b, s, jsonTable("t"))
			data := bytes.Repeat([]byte("x"), 1024)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for range producers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := s.AppendOne(ctx, lane, data, ""); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
			b.ReportMetric(float64(b.N)/float64(commits), "records/commit")
		})
	}
}

// BenchmarkRead measures reading payloads back from a warm segment.
func BenchmarkRead(b *testing.B) {
	s := openStore(b, b.TempDir(), nil)
	lane := laneOf(b, s, jsonTable("t"))
	recs := make([]store.Record, 1000)
	for i := range recs {
		recs[i] = store.Record{Lane: lane, Data: bytes.Repeat([]byte("x"), 1024)}
	}
	for range 20 {
		if _, err := s.Append(ctx, recs); err != nil {
			b.Fatal(err)
		}
	}
	batch := sealAll(b, s)[0].Batch
	b.SetBytes(batch.RawBytes)
	b.ReportAllocs()
	for b.Loop() {
		r := s.Payload(&batch).Open()
		if n, err := io.Copy(io.Discard, r); err != nil || n != batch.RawBytes {
			b.Fatal(n, err)
		}
		r.Close()
	}
}

// BenchmarkOpen: what opening costs must not depend on what is waiting.
func BenchmarkOpen(b *testing.B) {
	for _, records := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			dir := b.TempDir()
			opts := &store.Options{SegmentBytes: 8 << 20, NoSync: true}
			s, err := store.Open(dir, opts)
			if err != nil {
				b.Fatal(err)
			}
			lane := laneOf(b, s, jsonTable("t"))
			recs := make([]store.Record, 1000)
			for i := range recs {
				recs[i] = store.Record{Lane: lane, Data: bytes.Repeat([]byte("x"), 500)}
			}
			for range records / len(recs) {
				if _, err := s.Append(ctx, recs); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if s, err = store.Open(dir, opts); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
