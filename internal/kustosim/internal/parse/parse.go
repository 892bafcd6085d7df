package parse

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"kustospool/ingest"
)

// Records makes rows of a blob or a request of one format. skipFirst leaves the
// first record out. A malformed line of format json is passed over and counted,
// or with strict fails the blob. Formats that the simulator does not read become
// one row with the digest of the data.
func (t *Target) Records(data []byte, format ingest.Format, skipFirst, strict bool) (rows []Row, malformed int64, bad *Error) {
	switch format {
	case ingest.JSON:
		return parseLines(data, t, skipFirst, strict)
	case ingest.MultiJSON, ingest.SingleJSON:
		rows, bad = parseMulti(data, t, skipFirst)
	case ingest.Raw:
		b := &rowBuilder{}
		t.appendFields(b, [][]byte{data}, 1)
		rows = b.rows()
	case ingest.Avro, ingest.ApacheAvro, ingest.Parquet, ingest.ORC, ingest.SStream, ingest.W3CLogFile:
		sum := sha256.Sum256(data)
		rows = []Row{Row(fmt.Sprintf(`{"_opaque":%q,"size":%d}`, hex.EncodeToString(sum[:]), len(data)))}
	default:
		rows, bad = parseDelimited(data, format, t, skipFirst)
	}
	return rows, 0, bad
}

// Parse is what the service makes of a blob of text in a table without a
// schema: its rows, or the error that fails the blob. It is for tests that hold
// other readers of the same text against this one. A malformed line of json is
// an error here.
func Parse(data []byte, format ingest.Format) ([]Row, error) {
	if _, ok := delimited[format]; !ok && format != ingest.JSON && format != ingest.MultiJSON {
		return nil, errors.New("kustosim: Parse is for formats of records")
	}
	rows, _, bad := (&Target{}).Records(data, format, false, true)
	if bad != nil {
		return nil, bad
	}
	return rows, nil
}
