package kustosim

import (
	"errors"

	"kustospool/ingest"
)

// Parse is what the service makes of a blob of text in a table without a
// schema: its rows, or the error that fails the blob. It is for tests that hold
// other readers of the same text against this one. A malformed line of json is
// an error here.
func Parse(data []byte, format ingest.Format) ([]Row, error) {
	var (
		rows []Row
		bad  *ingestError
	)
	switch format {
	case ingest.JSON:
		rows, _, bad = parseLines(data, &target{}, false, true)
	case ingest.MultiJSON:
		rows, bad = parseMulti(data, &target{}, false)
	default:
		if _, ok := delimited[format]; !ok {
			return nil, errors.New("kustosim: Parse is for formats of records")
		}
		rows, bad = parseDelimited(data, format, &target{}, false)
	}
	if bad != nil {
		return nil, bad
	}
	return rows, nil
}
