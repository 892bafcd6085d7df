//go:build !linux

package store_test

import "time"

// peakMemory is not told here.
func peakMemory() int64 { return 0 }

func limitProcessor(uint64) {}

func processorTime() time.Duration { return 0 }
