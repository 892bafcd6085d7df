package ingest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kustospool/ingest/record"
)

// MaxRecordBytes is the largest record the service takes, and so the largest
// that a request may hold (protocol reference section 13).
const MaxRecordBytes = record.MaxBytes

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
	Name  string // the source's; 1 to 255 bytes of UTF-8, and not "\x00dead/" at its beginning
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
	// Bad, Blank and Marks are for sources: how many pieces of it were no records and
	// were passed over or dead-lettered, by the policy for bad records, how
	// many lines held nothing, and how many byte order marks were cut away. They
	// are not among Records, nor in the text form.
	Bad, Blank, Marks int64
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

// Rule says what a record of the properties' format is. It is for properties
// that concatenate; those of whole objects have none, the zero Rule.
func (p *Properties) Rule() record.Rule {
	if !p.Concatenates() {
		return record.Rule{}
	}
	f := formats[p.Format]
	return record.Rule{Cut: f.cut, Comma: f.comma}
}

// Record checks one record against the properties' format and returns the
// bytes to store: without its line ending and without a byte order mark for a
// format that concatenates, unchanged otherwise. The result shares memory with
// data. The rules are those of package record:
//
//   - not empty, at most MaxRecordBytes;
//   - txt, tsv, tsve, psv and sohsv: no newline inside;
//   - csv and scsv: a newline only inside a quoted field, and no quote left open;
//   - json: one JSON object, on one line;
//   - multijson: one JSON object, or one array of objects.
//
// Of an object of any other format only the size is looked at, and of the
// reference to a blob that it is one that [ParseBlob] takes. The properties are
// taken to be valid.
func (p *Properties) Record(data []byte) ([]byte, error) {
	return p.RecordBy(p.Rule(), data)
}

// RecordBy is Record with a rule of the caller's, which is Rule in all but
// what it leaves unchecked.
func (p *Properties) RecordBy(rule record.Rule, data []byte) ([]byte, error) {
	if p.ByReference {
		b, err := ParseBlob(data)
		if err != nil {
			return nil, err
		}
		return b.Record()
	}
	if !p.Concatenates() {
		switch {
		case len(data) == 0:
			return nil, &FieldError{Field: "data", Rule: "a record must not be empty"}
		case len(data) > MaxRecordBytes:
			return nil, &FieldError{Field: "data", Value: fmt.Sprintf("of %d bytes", len(data)),
				Rule: fmt.Sprintf("a record may have at most %d bytes", MaxRecordBytes)}
		}
		return data, nil
	}
	kept, err := rule.Check(data)
	if fault, ok := errors.AsType[*record.Fault](err); ok {
		return nil, BadRecord(data, fault)
	}
	return kept, err
}

// BadRecord is the error for bytes that are no record.
func BadRecord(data []byte, fault *record.Fault) error {
	e := &FieldError{Field: "data", Rule: fault.Error()}
	switch {
	case fault.Fatal:
		e.Value = fmt.Sprintf("of %d bytes", len(data))
	case len(data) > 0:
		e.Value = quote(string(data))
	}
	return e
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
	Class   string `json:"class"`          // the transport's error class
	Code    string `json:"code,omitempty"` // the service's error code, or an HTTP status
	Message string `json:"message"`        // the service's words; never holds a secret
	// RequestID is the id of the request at the service, for its support; empty
	// where there is none.
	RequestID string    `json:"request_id,omitempty"`
	At        time.Time `json:"at,omitzero"`
	// First is when the same trouble was met first: the same class and code, and
	// nothing else since. Zero where it was met once.
	First time.Time `json:"first,omitzero"`
	// NotBefore is until when the service asked to wait (Retry-After), an hour at
	// most from At; zero where it did not ask.
	NotBefore time.Time `json:"not_before,omitzero"`
}

// Since is First, or At where the trouble was met once.
func (f *Failure) Since() time.Time {
	if f.First.IsZero() {
		return f.At
	}
	return f.First
}

// Following makes f the successor of an earlier failure, which may be nil, and
// returns f: where class and code are the same, f.First is since when it lasts.
func (f *Failure) Following(earlier *Failure) *Failure {
	if earlier != nil && earlier.Class == f.Class && earlier.Code == f.Code && !earlier.Since().IsZero() && earlier.Since().Before(f.At) {
		f.First = earlier.Since()
	}
	return f
}

// String is class, code, message, request and the service's wish to wait in one
// line.
func (f *Failure) String() string {
	s := f.Class + ": "
	if f.Code != "" && !strings.EqualFold(f.Code, f.Class) { // "unauthorized: Unauthorized" says nothing more
		s += f.Code + ": "
	}
	s += f.Message
	if f.RequestID != "" {
		s += " (request " + f.RequestID + ")"
	}
	if !f.NotBefore.IsZero() {
		s += "; the service asks to wait until " + f.NotBefore.UTC().Format(time.RFC3339)
	}
	return s
}
