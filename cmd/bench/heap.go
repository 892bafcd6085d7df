package main

import (
	"runtime/metrics"
	"sync"
	"time"
)

// heapWatch samples the size of live and unswept heap objects.
type heapWatch struct {
	quit chan struct{}
	done sync.WaitGroup
	peak uint64 // the sampling goroutine's until done
}

func watchHeap() *heapWatch {
	h := &heapWatch{quit: make(chan struct{})}
	h.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			metrics.Read(sample)
			h.peak = max(h.peak, sample[0].Value.Uint64())
			select {
			case <-tick.C:
			case <-h.quit:
				return
			}
		}
	})
	return h
}

// stop ends the sampling and returns the peak in bytes.
func (h *heapWatch) stop() uint64 {
	close(h.quit)
	h.done.Wait()
	return h.peak
}
