package operate

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

const (
	// MaxPeek is how many records one answer has at most.
	MaxPeek = 1000
	// MaxPeekBytes is how many bytes of records one answer has at most, but that
	// the first record is there in any case.
	MaxPeekBytes = 4 << 20
	// MaxPeekLook is how many bytes one answer looks through at most where
	// records are filtered.
	MaxPeekLook = 64 << 20
)

// PeekQuery says which waiting records are wanted. Parameters: table, from,
// lane, seq, grep, limit.
type PeekQuery struct {
	Table string // TABLE or DB.TABLE
	From  uint64 // number of the first record, of each lane of the table
	// Lane and Seq are Next of the answer before, to go on there; zero to begin.
	Lane uint32
	Seq  uint64
	// Grep is a regular expression (RE2) that a record must match; empty for all.
	Grep string
	// Limit is how many. Default and at most MaxPeek.
	Limit int
}

// Peek are records that wait, lane by lane, in the order in which they came.
type Peek struct {
	Records []WaitingRecord `json:"records"`
	// Next, where it is there, is where the answer was cut: there may be more.
	Next *Place `json:"next,omitempty"`
}

// Place is a record's place in a spool.
type Place struct {
	Lane uint32 `json:"lane"`
	Seq  uint64 `json:"seq"`
}

// WaitingRecord is a record that is durable and not settled.
type WaitingRecord struct {
	Database  string    `json:"database"`
	Table     string    `json:"table"`
	Format    string    `json:"format"`
	Reference bool      `json:"by_reference,omitempty"` // it is the address of a blob
	Lane      uint32    `json:"lane"`
	Seq       uint64    `json:"seq"`
	Last      uint64    `json:"last,omitempty"` // of the records that cannot be read
	ID        string    `json:"id"`
	At        time.Time `json:"at,omitzero"` // when it was accepted
	State     string    `json:"state"`       // of its batch; open where it is in none yet
	Batch     string    `json:"batch,omitempty"`
	Data      []byte    `json:"data,omitempty"` // base64; of a long record the first MiB
	Cut       bool      `json:"cut,omitempty"`  // there is more of it
	Error     string    `json:"error,omitempty"`
}

func peekRoutes(mux *http.ServeMux, s Spool) {
	get(mux, "/v1/peek", func(p *parameters, q *PeekQuery) {
		var lane uint64
		p.text("table", &q.Table)
		p.number("lane", &lane)
		if q.Lane = uint32(lane); uint64(q.Lane) != lane {
			p.bad("lane", p.given.Get("lane"), "must be a number of a lane")
		}
		p.number("from", &q.From)
		p.number("seq", &q.Seq)
		p.text("grep", &q.Grep)
		p.count("limit", &q.Limit)
	}, s.Peek)
}

// Peek asks for waiting records.
func (c *Client) Peek(ctx context.Context, q PeekQuery) (*Peek, error) {
	a := asked{url.Values{}}
	a.text("table", q.Table)
	a.number("lane", uint64(q.Lane))
	a.number("from", q.From)
	a.number("seq", q.Seq)
	a.text("grep", q.Grep)
	a.count("limit", q.Limit)
	return read[Peek](ctx, c, "/v1/peek", a.Values)
}
