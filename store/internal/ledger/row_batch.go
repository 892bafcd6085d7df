package ledger

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"time"

	"kustospool/ingest"
)

const (
	batchCommitted = 1 << iota
	batchFailed
	batchOldest
	batchBlob
	batchFlags = batchCommitted | batchFailed | batchOldest | batchBlob
)

// encodeBatch is the body of a batch's row. What the key, the lane and the
// spool's identity tell is left out.
func encodeBatch(e *Entry) []byte {
	flags := byte(0)
	if e.Committed {
		flags |= batchCommitted
	}
	if e.Failure != nil {
		flags |= batchFailed
	}
	if !e.Batch.Oldest.IsZero() {
		flags |= batchOldest
	}
	if e.BlobBytes > 0 {
		flags |= batchBlob
	}
	p := append(make([]byte, 0, 96), rowVersion, flags, byte(e.Batch.Guarantee), byte(e.Batch.Confirm), byte(e.State))
	p = appendNumbers(p, e.Batch.Last, uint64(e.Batch.RawBytes), uint64(e.Attempts), uint64(e.Unresolved), uint64(e.PossibleDuplicates), uint64(e.WireBytes))
	for _, t := range []time.Time{e.Batch.SealedAt, e.NextAttempt, e.Updated} {
		p = appendTime(p, t)
	}
	if flags&batchOldest != 0 {
		p = appendTime(p, e.Batch.Oldest)
	}
	if flags&batchBlob != 0 {
		p = appendNumbers(p, uint64(e.BlobBytes))
	}
	p = appendBytes(p, e.Progress)
	if e.Failure != nil {
		failure, err := json.Marshal(e.Failure)
		if err != nil {
			panic("ledger: a failure that cannot be stored: " + err.Error()) // plain strings and numbers
		}
		p = appendBytes(p, failure)
	}
	return p
}

// decodeBatch reads a batch's row, but for Batch.Properties and Batch.ID.
func decodeBatch(key, body []byte) (*Entry, error) {
	if len(key) != keyLen[bktBatches] {
		return nil, errRowForm
	}
	d := readRow(body)
	flags := d.byte()
	e := &Entry{Committed: flags&batchCommitted != 0}
	b := &e.Batch
	b.Lane, b.First = binary.BigEndian.Uint32(key), binary.BigEndian.Uint64(key[4:])
	b.Guarantee, b.Confirm, e.State = ingest.Guarantee(d.byte()), ingest.Confirm(d.byte()), ingest.State(d.byte())
	b.Last, b.RawBytes = d.number(maxSeq), int64(d.number(maxBytes))
	e.Attempts, e.Unresolved = int(d.number(math.MaxInt32)), int(d.number(math.MaxInt32))
	e.PossibleDuplicates, e.WireBytes = d.i64(), d.i64()
	b.SealedAt, e.NextAttempt, e.Updated = d.time(), d.time(), d.time()
	if flags&batchOldest != 0 {
		if b.Oldest = d.time(); b.Oldest.IsZero() {
			d.fail()
		}
	}
	if flags&batchBlob != 0 {
		if e.BlobBytes = int64(d.number(maxBytes)); e.BlobBytes == 0 {
			d.fail()
		}
	}
	e.Progress = d.bytes()
	if flags&batchFailed != 0 {
		if failure := d.bytes(); d.err == nil {
			e.Failure = new(ingest.Failure)
			d.err = json.Unmarshal(failure, e.Failure)
		}
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if flags&^byte(batchFlags) != 0 || b.First == 0 || b.Last < b.First || !e.State.Valid() || !validTerms(b.Guarantee, b.Confirm) {
		return nil, errRowForm
	}
	return e, nil
}

func validTerms(g ingest.Guarantee, c ingest.Confirm) bool {
	return (g == ingest.ExactlyOnce || g == ingest.AtLeastOnce) && (c == ingest.ConfirmIngested || c == ingest.ConfirmAccepted)
}
