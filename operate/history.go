package operate

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// MaxHistory is how many batches one answer has at most.
const MaxHistory = 2000

// HistoryQuery says which settled batches are wanted. Parameters: table, since,
// before, before_id, limit.
type HistoryQuery struct {
	Table string    // TABLE or DB.TABLE; empty for all
	Since time.Time // settled at this time or later
	// Before and BeforeID, of the last batch of an answer, ask for those that
	// come behind it; zero for the newest.
	Before   time.Time
	BeforeID string
	// Limit is how many, the newest of them. Default and at most MaxHistory.
	Limit int
}

// History are settled batches, the newest first.
type History struct {
	Batches []SettledBatch `json:"batches"`
	// More is how many that were asked for are older than these.
	More int `json:"more"`
	// Unreadable is how many rows cannot be read; Error says what is wrong with the
	// first.
	Unreadable int    `json:"unreadable,omitempty"`
	Error      string `json:"error,omitempty"`
}

// SettledBatch is a batch that reached its end.
type SettledBatch struct {
	Batch
	IngestBy           string `json:"ingest_by,omitempty"` // by which the service knows it
	WireBytes          int64  `json:"compressed_bytes"`
	Unresolved         int    `json:"unresolved,omitempty"` // attempts of which the outcome was never learned
	PossibleDuplicates int64  `json:"possible_duplicates,omitempty"`
	First              string `json:"first"` // ids of its records
	Last               string `json:"last"`
}

func historyRoutes(mux *http.ServeMux, s Spool) {
	get(mux, "/v1/history", func(p *parameters, q *HistoryQuery) {
		p.text("table", &q.Table)
		p.moment("since", &q.Since)
		p.moment("before", &q.Before)
		p.text("before_id", &q.BeforeID)
		p.count("limit", &q.Limit)
	}, s.History)
}

// History asks for settled batches.
func (c *Client) History(ctx context.Context, q HistoryQuery) (*History, error) {
	a := asked{url.Values{}}
	a.text("table", q.Table)
	a.moment("since", q.Since)
	a.moment("before", q.Before)
	a.text("before_id", q.BeforeID)
	a.count("limit", q.Limit)
	return read[History](ctx, c, "/v1/history", a.Values)
}
