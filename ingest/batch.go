package ingest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// BatchID is the identity of a batch: the Id of its queue message, the value
// of its ingest-by tag, part of its blob name. The zero value names nothing.
type BatchID [16]byte

// NewBatchID derives the identity of the range first..last of a lane. The
// same range always gets the same identity, so a seal that a crash undid and
// that is then repeated is still the same batch; any other range, a half of
// a split batch among them, gets another. The text form is a version 8 UUID
// (RFC 9562 section 5.8), because the protocol wants a GUID.
func NewBatchID(spool SpoolID, lane uint32, first, last uint64) BatchID {
	var in [28]byte
	copy(in[:8], spool[:])
	binary.BigEndian.PutUint32(in[8:], lane)
	binary.BigEndian.PutUint64(in[12:], first)
	binary.BigEndian.PutUint64(in[20:], last)
	sum := sha256.Sum256(in[:])
	id := BatchID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseBatchID reads the text form of a UUID.
func ParseBatchID(s string) (BatchID, error) {
	var id BatchID
	bad := &FieldError{Field: "batch id", Value: quote(s), Rule: "must be a UUID such as 01234567-89ab-8def-8123-456789abcdef"}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return BatchID{}, bad
	}
	if _, err := hex.Decode(id[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err != nil {
		return BatchID{}, bad
	}
	return id, nil
}

// String is the UUID text form, 36 characters.
func (id BatchID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// MarshalText implements [encoding.TextMarshaler].
func (id BatchID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *BatchID) UnmarshalText(b []byte) error {
	v, err := ParseBatchID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// Guarantee is what a table wants when the outcome of an attempt is unknown.
type Guarantee uint8

// The guarantees. ExactlyOnce is the default.
const (
	// ExactlyOnce tags every batch, so that the service skips a repeat. Each
	// tagged batch is ingested by itself: keep batches large.
	ExactlyOnce Guarantee = iota + 1
	// AtLeastOnce sends no tag, lets the service aggregate, and repeats an
	// attempt of unknown outcome; the rows at risk are counted.
	AtLeastOnce
)

// String is "exactly-once" or "at-least-once".
func (g Guarantee) String() string {
	switch g {
	case ExactlyOnce:
		return "exactly-once"
	case AtLeastOnce:
		return "at-least-once"
	}
	return fmt.Sprintf("guarantee(%d)", uint8(g))
}

// ParseGuarantee reads what String writes.
func ParseGuarantee(s string) (Guarantee, error) {
	switch s {
	case "exactly-once":
		return ExactlyOnce, nil
	case "at-least-once":
		return AtLeastOnce, nil
	}
	return 0, &FieldError{Field: "guarantee", Value: quote(s), Rule: "must be exactly-once or at-least-once"}
}

// Confirm says when a batch's payload may go.
type Confirm uint8

// The confirmations. ConfirmIngested is the default.
const (
	// ConfirmIngested keeps the payload until the service reports the outcome.
	ConfirmIngested Confirm = iota + 1
	// ConfirmAccepted lets it go when the service has taken the batch over.
	// What the service then does with it is never learned.
	ConfirmAccepted
)

// String is "ingested" or "accepted".
func (c Confirm) String() string {
	switch c {
	case ConfirmIngested:
		return "ingested"
	case ConfirmAccepted:
		return "accepted"
	}
	return fmt.Sprintf("confirm(%d)", uint8(c))
}

// ParseConfirm reads what String writes.
func ParseConfirm(s string) (Confirm, error) {
	switch s {
	case "ingested":
		return ConfirmIngested, nil
	case "accepted":
		return ConfirmAccepted, nil
	}
	return 0, &FieldError{Field: "confirm", Value: quote(s), Rule: "must be ingested or accepted"}
}

// Batch is a sealed contiguous range of one lane. All of it is durable before
// its first byte leaves, and none of it changes afterwards.
type Batch struct {
	ID         BatchID
	Lane       uint32
	First      uint64 // sequence number of the first record
	Last       uint64 // sequence number of the last record
	Properties Properties
	Guarantee  Guarantee
	Confirm    Confirm
	RawBytes   int64 // size of the payload before compression, separators included
	SealedAt   time.Time
	// Oldest is when the oldest of its records was accepted, as far as that is
	// known; zero where it is not. The parts of a split batch have that of the whole.
	Oldest time.Time
}

// Records is the number of records in the batch.
func (b *Batch) Records() int64 { return int64(b.Last - b.First + 1) }

// IngestBy is the value that ingestIfNotExists looks for: the batch's ID. The
// tag itself is "ingest-by:" and this value. It is empty for AtLeastOnce.
func (b *Batch) IngestBy() string {
	if b.Guarantee != ExactlyOnce {
		return ""
	}
	return b.ID.String()
}
