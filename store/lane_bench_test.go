package store

import (
	"strconv"
	"testing"
)

// BenchmarkLaneTable makes 10,000 lanes one by one.
func BenchmarkLaneTable(b *testing.B) {
	for b.Loop() {
		t := newLaneTable()
		for no := uint32(1); no <= 10_000; no++ {
			t.add(&lane{no: no, key: strconv.Itoa(int(no))})
		}
	}
}
