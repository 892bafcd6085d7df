package ingest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxRecordBytes is the largest record the service takes, and so the largest
// that a request may hold (protocol reference section 13).
const MaxRecordBytes = 64 << 20

// MaxKeyBytes bounds a request's deduplication key.
const MaxKeyBytes = 256

// Request asks for one record to be ingested.
type Request struct {
	// Properties say where the record goes and how it is read.
	Properties Properties

	// Data is the record: for a format that concatenates exactly one record,
	// with or without its line ending; for any other format the whole object.
	// The engine does not change it and does not keep it after it returned.
	Data []byte

	// Key, when it is not empty, makes the request safe to repeat: within the
	// store's key retention a second request with the same key and the same
	// lane is not stored again, and gets the first one's receipt with
	// Duplicate set. At most MaxKeyBytes.
	Key string

	// Position, when it is set, becomes durable together with the record, or
	// not at all.
	Position *Position
}

// Position is where a source stands, in its own words: how far a file was
// read, for example. It is stored in the same commit as the records that were
// read up to there, so that after a crash the source neither skips nor repeats
// any. The last one of a name is kept until it is removed.
type Position struct {
	Name  string // the source's; 1 to 255 bytes of UTF-8
	Value []byte // at most 1 KiB; not nil
}

// Receipt is the answer to a request that is on stable storage. It is plain
// data: keep its text form, drop it, or ask for its status in a later process.
//
// Most receipts are for one record. The receipt of a source (a file, a reader)
// is for all of its records: they are of one lane, and ID is the first one's.
type Receipt struct {
	ID ID
	// Records is how many there are, the one of ID included; 0 is read as 1.
	Records int64
	// Duplicate is set when Request.Key had been stored before; the ID is
	// then that of the first record.
	Duplicate bool
}

// String is the fixed-width text form of the receipt's ID, and for several
// records "+" and their number behind it.
func (r Receipt) String() string {
	if r.Records <= 1 {
		return r.ID.String()
	}
	return fmt.Sprintf("%s+%d", r.ID, r.Records)
}

// ParseReceipt reads what [Receipt.String] writes. Anything else is an error
// that matches [ErrInvalid].
func ParseReceipt(s string) (Receipt, error) {
	text, count, several := strings.Cut(s, "+")
	id, err := ParseID(text)
	if err != nil {
		return Receipt{}, err
	}
	r := Receipt{ID: id, Records: 1}
	if several {
		r.Records, err = strconv.ParseInt(count, 10, 64)
		if err != nil || r.Records < 2 || r.String() != s || id.Seq()+uint64(r.Records) < id.Seq() {
			return Receipt{}, &FieldError{Field: "receipt", Value: quote(s), Rule: "must end in + and a number of records above 1"}
		}
	}
	return r, nil
}

// Record checks one record against the properties' format and returns the
// bytes to store: without its line ending for a format of lines, unchanged
// otherwise. The result shares memory with data. The rules:
//
//   - not empty, at most MaxRecordBytes;
//   - json, txt, tsv, tsve, psv and sohsv: no newline inside;
//   - csv and scsv: a newline only inside double quotes.
//
// It does not parse the record, but for the reference to a blob, which must be
// one that [ParseBlob] takes. The properties are taken to be valid.
func (p *Properties) Record(data []byte) ([]byte, error) {
	if p.ByReference {
		b, err := ParseBlob(data)
		if err != nil {
			return nil, err
		}
		return b.Record()
	}
	if len(data) > MaxRecordBytes {
		return nil, &FieldError{Field: "data", Value: fmt.Sprintf("of %d bytes", len(data)),
			Rule: fmt.Sprintf("a record may have at most %d bytes", MaxRecordBytes)}
	}
	if !p.Concatenates() {
		if len(data) == 0 {
			return nil, errEmptyRecord
		}
		return data, nil
	}
	framing := formats[p.Format].framing
	if framing == selfDelimits {
		data = bytes.TrimSpace(data)
	} else {
		data = bytes.TrimSuffix(data, []byte{'\n'})
		data = bytes.TrimSuffix(data, []byte{'\r'})
	}
	if len(data) == 0 || p.Format == JSON && len(bytes.TrimSpace(data)) == 0 {
		return nil, errEmptyRecord
	}
	if framing == selfDelimits || bytes.IndexByte(data, '\n') < 0 {
		return data, nil
	}
	if framing == quotedLine && newlinesQuoted(data) {
		return data, nil
	}
	return nil, &FieldError{Field: "data", Value: quote(string(data[:min(len(data), 2*maxQuoted)])),
		Rule: fmt.Sprintf("a %s record is one line and must not hold a newline; pass one record a request", p.Format)}
}

var errEmptyRecord = &FieldError{Field: "data", Rule: "a record must not be empty"}

// newlinesQuoted reports whether every newline of a CSV record stands inside
// double quotes. A doubled quote inside a field leaves and enters it again,
// so counting quotes is enough.
func newlinesQuoted(data []byte) bool {
	inside := false
	for _, c := range data {
		switch c {
		case '"':
			inside = !inside
		case '\n':
			if !inside {
				return false
			}
		}
	}
	return !inside
}

// Validate checks the request: its properties, its record and its key. The
// error matches [ErrInvalid] and names field, value and rule.
func (r *Request) Validate() error {
	if err := r.Properties.Validate(); err != nil {
		return err
	}
	if len(r.Key) > MaxKeyBytes {
		return &FieldError{Field: "key", Value: quote(r.Key), Rule: fmt.Sprintf("must have at most %d bytes", MaxKeyBytes)}
	}
	_, err := r.Properties.Record(r.Data)
	return err
}

// Status is what is known of one record: the state of the batch it is in, or
// [Open] while it is in none yet.
type Status struct {
	ID       ID        `json:"id"`
	State    State     `json:"state"`
	Batch    BatchID   `json:"batch,omitzero"`
	Attempts int       `json:"attempts"`
	Updated  time.Time `json:"updated,omitzero"`
	// Failure is the last thing the service or the network said against the
	// batch; nil where nothing was said. A batch that succeeds later keeps it.
	Failure *Failure `json:"failure,omitempty"`
}

// Err is nil when the record's fate is good or not yet decided, and an error
// with the service's message when it was dead-lettered or dropped.
func (s Status) Err() error {
	if s.State != DeadLettered && s.State != Dropped {
		return nil
	}
	if s.Failure == nil {
		return fmt.Errorf("record %s: %s", s.ID, s.State)
	}
	return fmt.Errorf("record %s: %s: %s", s.ID, s.State, s.Failure)
}

// Failure is why a batch is not ingested, or not yet.
type Failure struct {
	Class   string    `json:"class"`          // the transport's error class
	Code    string    `json:"code,omitempty"` // the service's error code, or an HTTP status
	Message string    `json:"message"`        // the service's words; never holds a secret
	At      time.Time `json:"at,omitzero"`
}

// String is class, code and message in one line.
func (f *Failure) String() string {
	if f.Code == "" {
		return fmt.Sprintf("%s: %s", f.Class, f.Message)
	}
	return fmt.Sprintf("%s: %s: %s", f.Class, f.Code, f.Message)
}
