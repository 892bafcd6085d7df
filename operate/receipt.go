package operate

import (
	"context"
	"net/http"
	"net/url"
)

// MaxParts is how many parts of a receipt one answer has at most.
const MaxParts = 2000

// ReceiptQuery names records. Parameter: receipt.
type ReceiptQuery struct {
	Receipt string // the text form of an ingest.Receipt: an id, or ID+N
}

// Receipt is what became of the records of a receipt.
type Receipt struct {
	Receipt string           `json:"receipt"`
	Table   string           `json:"table"` // DB.TABLE
	Records int64            `json:"records"`
	States  map[string]int64 `json:"states"` // they add up to Records
	Parts   []Fate           `json:"parts"`
	// More is how many parts there are beyond MaxParts.
	More int `json:"more,omitempty"`
}

// Forgotten is the state of records that are settled and of which the history
// does not say how any more.
const Forgotten = "forgotten"

// Fate is what became of some neighbouring records.
type Fate struct {
	First   string        `json:"first"`
	Last    string        `json:"last"`
	Number  uint64        `json:"number"` // of the first
	Records int64         `json:"records"`
	State   string        `json:"state"` // of a batch, or Forgotten
	Batch   *SettledBatch `json:"batch,omitempty"`
}

func receiptRoutes(mux *http.ServeMux, s Spool) {
	get(mux, "/v1/receipt", func(p *parameters, q *ReceiptQuery) { p.text("receipt", &q.Receipt) }, s.Receipt)
}

// Receipt asks what became of the records of a receipt.
func (c *Client) Receipt(ctx context.Context, q ReceiptQuery) (*Receipt, error) {
	a := asked{url.Values{}}
	a.text("receipt", q.Receipt)
	return read[Receipt](ctx, c, "/v1/receipt", a.Values)
}
