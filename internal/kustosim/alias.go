package kustosim

import (
	"kustospool/ingest"
	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/parse"
)

// What the rooms define and tests name. See the types for what they say.
type (
	// Row is one row of a table: a JSON object.
	Row = parse.Row
	// Column is a column of a table.
	Column = parse.Column
	// Extent describes the rows that one blob brought in, committed at once.
	Extent = catalog.Extent
)

// Errors of [Sim.CreateTable] and [Sim.CreateMapping].
var (
	ErrTableExists   = catalog.ErrTableExists
	ErrTableNotFound = catalog.ErrTableNotFound
)

// Failure statuses of a report (protocol reference section 6.1).
const (
	Permanent = parse.Permanent
	Transient = parse.Transient
	Exhausted = parse.Exhausted
)

// Parse is what the service makes of a blob of text in a table without a
// schema: its rows, or the error that fails the blob. It is for tests that hold
// other readers of the same text against this one. A malformed line of json is
// an error here.
func Parse(data []byte, format ingest.Format) ([]Row, error) { return parse.Parse(data, format) }
