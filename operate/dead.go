package operate

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"kustospool/ingest"
)

const (
	// MaxDead is how many dead letters one answer lists at most.
	MaxDead = 1000
	// MaxDeadBytes is how many bytes of a payload one answer has at most.
	MaxDeadBytes = 4 << 20
	// MaxRepaired bounds the repaired records of one request, in bytes. What is
	// larger is retried while no process has the spool open.
	MaxRepaired = 4 << 20
)

const retryDeadPath = "/v1/dead/retry"

// DeadReader is a spool whose dead letters can be read, in use or at rest. Errors are
// those of [Spool]; NotFound for a dead letter that is not there.
type DeadReader interface {
	ListDead(ctx context.Context, q DeadQuery) (*DeadList, error)
	DeadPayload(ctx context.Context, q DeadPayloadQuery) (*DeadPayload, error)
}

// DeadKeeper is a spool whose dead letters can be read and dealt with. Errors are
// those of [DeadReader]; Conflict for a dead letter that may not be retried as it was
// asked, or that another call deals with.
type DeadKeeper interface {
	DeadReader
	RetryDead(ctx context.Context, q RetryDead) (*RetriedDead, error)
	DropDead(ctx context.Context, q DropDead) (*DroppedDead, error)
}

// DeadQuery says which dead letters are wanted. Parameters: table, code, since,
// before, after, limit.
type DeadQuery struct {
	Table  string    // TABLE or DB.TABLE; empty for all
	Code   string    // code or class of the failure; empty for all
	Since  time.Time // set aside at this time or later
	Before time.Time // set aside before this time
	After  string    // ID of the last one of an answer, for those behind it
	Limit  int       // how many; default and at most MaxDead
}

// DeadList are dead letters, in the order of their IDs.
type DeadList struct {
	Letters []DeadLetter `json:"letters"`
	// Next, where it is there, is what After asks on with: there may be more.
	Next string `json:"next,omitempty"`
	// Unreadable says of those that cannot be read what is wrong.
	Unreadable []string `json:"unreadable,omitempty"`
}

// DeadLetter is a batch that was set aside. Its records have the numbers First to
// Last, of which Damaged are missing in the payload.
type DeadLetter struct {
	ID         ingest.BatchID    `json:"id"`
	Properties ingest.Properties `json:"properties"`
	Lane       uint32            `json:"lane"`
	First      uint64            `json:"first"`
	Last       uint64            `json:"last"`
	RawBytes   int64             `json:"raw_bytes"`
	SealedAt   time.Time         `json:"sealed_at"`
	Attempts   int               `json:"attempts"`
	Unresolved int               `json:"unresolved,omitempty"` // attempts of which the outcome was never learned
	Updated    time.Time         `json:"updated"`              // when it was set aside
	Failure    *ingest.Failure   `json:"failure,omitempty"`
	Payload    string            `json:"payload"` // file, below the spool's directory
	Bytes      int64             `json:"bytes"`   // its size
	Damaged    int64             `json:"damaged,omitempty"`
}

// DeadPayloadQuery asks for a piece of a payload. Parameters: id, offset.
type DeadPayloadQuery struct {
	ID     string
	Offset uint64
}

// DeadPayload is a piece of a payload.
type DeadPayload struct {
	Data []byte `json:"data,omitempty"` // base64; at most MaxDeadBytes, and none at the end
	End  bool   `json:"end"`            // there is nothing behind it
}

// RetryDead says how a dead letter is to be retried. Empty members mean: as before.
type RetryDead struct {
	ID               string `json:"id"`
	Apply            bool   `json:"apply"` // false: tell what would be done, and do nothing
	Database         string `json:"database,omitempty"`
	Table            string `json:"table,omitempty"`
	MappingReference string `json:"mapping_reference,omitempty"`
	NoMapping        bool   `json:"no_mapping,omitempty"`
	AcceptDoubles    bool   `json:"accept_doubles,omitempty"` // also what may be in the table already
	// Records, where they are there, are the repaired records, in place of the old
	// ones; base64, at most MaxRepaired bytes.
	Records []byte `json:"records,omitempty"`
}

// RetriedDead is what a retry did, or would do.
type RetriedDead struct {
	Database string `json:"database"` // where the records go
	Table    string `json:"table"`
	Records  int64  `json:"records"` // that are stored again
	Bytes    int64  `json:"bytes,omitempty"`
	Receipt  string `json:"receipt,omitempty"` // for them
	// Before is set where an earlier call had stored them, and only the dead letter
	// was left to take away.
	Before bool `json:"before,omitempty"`
	// Refused says why nothing would be done. A retry that is to be done fails with it.
	Refused string `json:"refused,omitempty"`
}

// DropDead names a dead letter that is to be deleted, with its records.
type DropDead struct {
	ID string `json:"id"`
}

// DroppedDead says what was deleted.
type DroppedDead struct {
	ID string `json:"id"`
}

func deadRoutes(mux *http.ServeMux, s Spool) {
	const what = "deal with dead letters"
	get(mux, "/v1/dead", func(p *parameters, q *DeadQuery) {
		p.text("table", &q.Table)
		p.text("code", &q.Code)
		p.moment("since", &q.Since)
		p.moment("before", &q.Before)
		p.text("after", &q.After)
		p.count("limit", &q.Limit)
	}, func(ctx context.Context, q DeadQuery) (*DeadList, error) {
		k, err := powerOf[DeadReader](s, "show dead letters")
		if err != nil {
			return nil, err
		}
		return k.ListDead(ctx, q)
	})
	get(mux, "/v1/dead/payload", func(p *parameters, q *DeadPayloadQuery) {
		p.text("id", &q.ID)
		p.number("offset", &q.Offset)
	}, func(ctx context.Context, q DeadPayloadQuery) (*DeadPayload, error) {
		k, err := powerOf[DeadReader](s, "show dead letters")
		if err != nil {
			return nil, err
		}
		return k.DeadPayload(ctx, q)
	})
	post(mux, retryDeadPath, func(ctx context.Context, q RetryDead) (*RetriedDead, error) {
		k, err := powerOf[DeadKeeper](s, what)
		if err != nil {
			return nil, err
		}
		return k.RetryDead(ctx, q)
	})
	post(mux, "/v1/dead/drop", func(ctx context.Context, q DropDead) (*DroppedDead, error) {
		k, err := powerOf[DeadKeeper](s, what)
		if err != nil {
			return nil, err
		}
		return k.DropDead(ctx, q)
	})
}

var _ DeadKeeper = (*Client)(nil)

// ListDead asks for dead letters.
func (c *Client) ListDead(ctx context.Context, q DeadQuery) (*DeadList, error) {
	a := asked{url.Values{}}
	a.text("table", q.Table)
	a.text("code", q.Code)
	a.moment("since", q.Since)
	a.moment("before", q.Before)
	a.text("after", q.After)
	a.count("limit", q.Limit)
	return read[DeadList](ctx, c, "/v1/dead", a.Values)
}

// DeadPayload asks for a piece of a payload.
func (c *Client) DeadPayload(ctx context.Context, q DeadPayloadQuery) (*DeadPayload, error) {
	a := asked{url.Values{}}
	a.text("id", q.ID)
	a.number("offset", q.Offset)
	return read[DeadPayload](ctx, c, "/v1/dead/payload", a.Values)
}

// RetryDead asks for a retry, or for what it would do. Where no answer comes it
// may have been made; a repeat does not double it.
func (c *Client) RetryDead(ctx context.Context, q RetryDead) (*RetriedDead, error) {
	return change[RetriedDead](ctx, c, retryDeadPath, q)
}

// DropDead asks for the end of a dead letter.
func (c *Client) DropDead(ctx context.Context, q DropDead) (*DroppedDead, error) {
	return change[DroppedDead](ctx, c, "/v1/dead/drop", q)
}
