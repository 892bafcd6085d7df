// Package spools opens what the benchmarks measure, the store alone or the
// whole engine, on space of one of two kinds.
//
// # What is promised
//
// On [Fresh] space nothing is taken: whatever is acknowledged stays, and every
// segment is a file that was never written before. On [Recycled] space a
// destination takes every batch as soon as it has it, in the background; before
// the first measured record several segments were filled and taken, so that a
// store which uses its files again does so from then on. Both begin with their
// lanes made and, on recycled space, with everything on the device.
//
// # Failure
//
// A destination that could not take ends with its error at Close.
//
// # What it does not do
//
// It does not check that a store did recycle: a store that unlinks its settled
// segments is measured on new ones, and deserves it.
package spools

import (
	"fmt"

	"kustospool/ingest"
	"kustospool/store"
)

// Space is where a spool's segments come from while it is measured.
type Space uint8

const (
	// Fresh space was never written before.
	Fresh Space = iota
	// Recycled space had segments on it that are settled.
	Recycled
)

// String is the space's name.
func (s Space) String() string {
	if s == Recycled {
		return "recycled"
	}
	return "fresh"
}

const (
	// Quota is never reached.
	Quota = 1 << 40

	// takeBytes is the size of the batches that are taken. It is a segment's, so that each
	// batch that is settled gives one back.
	takeBytes = store.DefaultSegmentBytes

	// rounds of filling a segment's worth and having it taken go before the
	// first measured record. The first two files of a store have nothing settled
	// before them; the others are for a stock of settled files.
	rounds = 5

	// fillRecord and fillCall are the bytes of a record and of a call that fill.
	fillRecord = 16 << 10
	fillCall   = 1 << 20
)

// Properties are those of a numbered table.
func Properties(table int) ingest.Properties {
	return ingest.Properties{Database: "Bench", Table: fmt.Sprintf("T%d", table), Format: ingest.JSON}
}
