package operate

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Checker is a spool that reads and proves all that it holds, in the background: one check
// at a time, which ends when nobody asks for it for [CheckLease].
type Checker interface {
	// StartCheck begins a check, or says how far the one is that is under way.
	StartCheck(ctx context.Context) (*Check, error)
	// Check says how far the check of this number is, or what it found. Code NotFound
	// where another has begun since, or none.
	Check(ctx context.Context, q CheckQuery) (*Check, error)
}

// CheckLease is how long a check goes on that nobody asks for, in seconds.
const CheckLease = 15

// CheckQuery names a check. Parameter: id.
type CheckQuery struct {
	ID uint64
}

// Check is a check under way, or a finished one.
type Check struct {
	ID      uint64 `json:"id"` // of those of this process
	Done    bool   `json:"done"`
	Bytes   int64  `json:"bytes"`   // read so far
	Total   int64  `json:"total"`   // about how many there are
	Records int64  `json:"records"` // read so far
	Bad     int64  `json:"bad"`     // of them
	// Error is why a check that is done has no report.
	Error string `json:"error,omitempty"`
	// Report is an engine.CheckReport.
	Report json.RawMessage `json:"report,omitempty"`
}

func checkRoutes(mux *http.ServeMux, s Spool) {
	const what = "be checked while it is in use"
	post(mux, "/v1/check", func(ctx context.Context, _ struct{}) (*Check, error) {
		c, err := powerOf[Checker](s, what)
		if err != nil {
			return nil, err
		}
		return c.StartCheck(ctx)
	})
	get(mux, "/v1/check", func(p *parameters, q *CheckQuery) { p.number("id", &q.ID) }, func(ctx context.Context, q CheckQuery) (*Check, error) {
		c, err := powerOf[Checker](s, what)
		if err != nil {
			return nil, err
		}
		return c.Check(ctx, q)
	})
}

var _ Checker = (*Client)(nil)

// StartCheck begins a check.
func (c *Client) StartCheck(ctx context.Context) (*Check, error) {
	return change[Check](ctx, c, "/v1/check", struct{}{})
}

// Check asks for a check.
func (c *Client) Check(ctx context.Context, q CheckQuery) (*Check, error) {
	a := asked{url.Values{}}
	a.number("id", q.ID)
	return read[Check](ctx, c, "/v1/check", a.Values)
}
