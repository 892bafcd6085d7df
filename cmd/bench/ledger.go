package main

import (
	"hash/maphash"
	"sync"
)

// ledger compares what was acknowledged with what arrived, by a 64-bit hash of
// each record, so that it stays small.
type ledger struct {
	seed maphash.Seed

	// mu guards what is below.
	mu   sync.Mutex
	owed map[uint64]int64 // acknowledged less delivered
	sent map[uint64]bool
}

func newLedger() *ledger {
	return &ledger{seed: maphash.MakeSeed(), owed: make(map[uint64]int64), sent: make(map[uint64]bool)}
}

func (l *ledger) acknowledged(record []byte) {
	h := maphash.Bytes(l.seed, record)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed[h]++
	l.sent[h] = true
}

func (l *ledger) delivered(row []byte) {
	h := maphash.Bytes(l.seed, row)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed[h]--
}

// balance counts rows that are missing, rows that are there too often, and
// rows that nobody sent.
func (l *ledger) balance() (lost, doubled, unknown int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for h, n := range l.owed {
		switch {
		case n > 0:
			lost += n
		case n < 0 && l.sent[h]:
			doubled -= n
		case n < 0:
			unknown -= n
		}
	}
	return lost, doubled, unknown
}
