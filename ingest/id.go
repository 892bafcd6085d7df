package ingest

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
)

// IDTextLen is the length of an ID's text form, in bytes. It never varies.
const IDTextLen = 32

// ID names one acknowledged record for as long as its spool remembers it, in
// this process and in every later one. The zero ID names nothing.
//
// It is the spool's identity (8 bytes), the lane (4) and the record's
// sequence number in that lane (8), big endian, so IDs of one spool sort by
// lane and then in the order of acceptance, in binary as well as in text.
type ID [20]byte

// idText is base32 with the "extended hex" alphabet (RFC 4648 section 7),
// which keeps the order of the bytes. 20 bytes are exactly 32 characters.
var idText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// NewID composes an ID.
func NewID(spool SpoolID, lane uint32, seq uint64) ID {
	var id ID
	copy(id[:8], spool[:])
	binary.BigEndian.PutUint32(id[8:12], lane)
	binary.BigEndian.PutUint64(id[12:], seq)
	return id
}

// ParseID reads the text form that [ID.String] writes. Anything else is an
// error that matches [ErrInvalid].
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != IDTextLen {
		return ID{}, &FieldError{Field: "id", Value: quote(s), Rule: fmt.Sprintf("must be %d characters long", IDTextLen)}
	}
	// Decode passes over line breaks, so a short result is bad input as well.
	if n, err := idText.Decode(id[:], []byte(s)); err != nil || n != len(id) {
		return ID{}, &FieldError{Field: "id", Value: quote(s), Rule: "must be of the characters 0-9 and a-v"}
	}
	return id, nil
}

// Spool is the spool that issued the ID.
func (id ID) Spool() SpoolID { return SpoolID(id[:8]) }

// Lane is the record's lane, unique in its spool.
func (id ID) Lane() uint32 { return binary.BigEndian.Uint32(id[8:12]) }

// Seq is the record's place in its lane; the first record has 1.
func (id ID) Seq() uint64 { return binary.BigEndian.Uint64(id[12:]) }

// String is the fixed-width, sortable text form, [IDTextLen] characters.
func (id ID) String() string { return idText.EncodeToString(id[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// SpoolID is the random identity a spool gets when it is created. A receipt
// of another spool is recognised by it.
type SpoolID [8]byte

// String is 16 hexadecimal digits.
func (s SpoolID) String() string { return fmt.Sprintf("%x", s[:]) }
