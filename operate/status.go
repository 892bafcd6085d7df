package operate

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"kustospool/ingest"
)

const (
	// MaxListed is how many tables, batches, dead letters or files a list of a
	// status has at most.
	MaxListed = 2000
	// DefaultListed is how many it has where the query does not say.
	DefaultListed = 20
)

// StatusQuery says how much is wanted. Parameter: limit.
type StatusQuery struct {
	// Limit is how many batches, dead letters and files to list; 0 means
	// DefaultListed, and MaxListed is the most. Tables are listed up to MaxListed.
	Limit int
}

// Status is what a spool holds, since when, why, and what to do about it. Its
// figures are of one moment; the lists of batches and dead letters are read right
// behind it.
type Status struct {
	Spool string    `json:"spool"` // directory
	ID    string    `json:"id"`
	At    time.Time `json:"at"`
	InUse bool      `json:"in_use"` // a process has it open; rates and the like are known only then

	Counters Counters `json:"counters"`
	Rate     *Rate    `json:"rate,omitempty"` // how fast records are settled
	// TimeToEmpty is how long what waits will take at that rate, in seconds. It is
	// missing where nothing was settled lately, and while a destination fails.
	TimeToEmpty *float64 `json:"time_to_empty_seconds,omitempty"`
	// Unhealthy is what a destination last failed with.
	Unhealthy *ingest.Failure `json:"unhealthy,omitempty"`
	// Failed is why the spool takes and delivers nothing until it is opened again.
	Failed string `json:"failed,omitempty"`

	Lanes      []Lane         `json:"lanes"` // those with something waiting, the longest wait first
	Paused     []Paused       `json:"paused,omitempty"`
	Batches    []Batch        `json:"batches"` // not settled, oldest of each lane first
	Dead       []Batch        `json:"dead_letters"`
	Quarantine []File         `json:"quarantine"`      // damaged files that were set aside
	Cut        map[string]int `json:"cut,omitempty"`   // how many more there are of a list, by its name
	Found      []string       `json:"found,omitempty"` // damage that is not dealt with yet
	Troubles   []Trouble      `json:"troubles"`        // see [Diagnose]
}

// Counters are of the spool's whole life, but for those that say what is there
// now.
type Counters struct {
	Acked              int64     `json:"acked"`
	Open               int64     `json:"open"`
	Sealed             int64     `json:"sealed"`
	Ingested           int64     `json:"ingested"` // skipped included
	Skipped            int64     `json:"skipped"`
	HandedOver         int64     `json:"handed_over"`
	DeadLettered       int64     `json:"dead_lettered"`
	Dropped            int64     `json:"dropped"`
	PossibleDuplicates int64     `json:"possible_duplicates"`
	RawBytes           int64     `json:"raw_bytes"`
	CompressedBytes    int64     `json:"compressed_bytes"`
	DiskBytes          int64     `json:"disk_bytes"`
	QuotaBytes         int64     `json:"quota_bytes,omitempty"` // of a spool in use
	FreeBytes          int64     `json:"free_bytes"`            // on the volume; -1 where the system does not tell
	Damaged            int64     `json:"damaged"`
	Oldest             time.Time `json:"oldest,omitzero"`              // when the oldest record that waits was accepted
	OldestSeconds      float64   `json:"oldest_seconds,omitempty"`     // how long ago that was
	DeadWaiting        int64     `json:"dead_letters_waiting"`         // batches
	DeadHandled        int64     `json:"dead_letters_handled"`         // batches
	QuarantinedFiles   int       `json:"quarantined_files"`            //
	WaitingForRoom     int       `json:"waiting_for_room,omitempty"`   // callers that found it full
	QuarantinedBytes   int64     `json:"quarantined_bytes,omitempty"`  //
	WaitingBytes       int64     `json:"waiting_bytes,omitempty"`      // payload of what waits
	Attempts           int64     `json:"attempts,omitempty"`           // begun by the process that has it open
	AvoidedByKey       int64     `json:"duplicates_avoided,omitempty"` // requests of that process whose key was there
}

// Rate is a speed.
type Rate struct {
	Records float64 `json:"records_per_second"`
	Bytes   float64 `json:"bytes_per_second"` // of payload
}

// Lane is what waits of one set of properties of a table.
type Lane struct {
	Lane          uint32          `json:"lane"`
	Database      string          `json:"database"`
	Table         string          `json:"table"`
	Format        string          `json:"format"`
	Blobs         bool            `json:"blobs,omitempty"` // the records are addresses of blobs
	Open          int64           `json:"open"`
	Batches       int64           `json:"batches"`
	Records       int64           `json:"records"`                  // in those batches
	Awaited       int64           `json:"awaited,omitempty"`        // of the batches, those that the service may have, and has not told the outcome of
	RawBytes      int64           `json:"raw_bytes"`                // of all that waits; 0 of blobs, whose size shows when they are sent
	Oldest        time.Time       `json:"oldest,omitzero"`          // when the oldest record that waits was accepted
	OldestSeconds float64         `json:"oldest_seconds,omitempty"` // how long ago that was
	Held          bool            `json:"held,omitempty"`           // it waits for an operator
	Paused        *Paused         `json:"paused,omitempty"`         // by an operator
	Next          time.Time       `json:"next_attempt,omitzero"`    // not before then
	Failure       *ingest.Failure `json:"failure,omitempty"`        // the newest, and since when
	Unhealthy     string          `json:"unhealthy,omitempty"`      // class of what its destination last failed with; empty while that is well
	Rate          *Rate           `json:"rate,omitempty"`
	TimeToEmpty   *float64        `json:"time_to_empty_seconds,omitempty"`
}

// Batch is a batch of a list.
type Batch struct {
	ID          string          `json:"id"`
	Database    string          `json:"database"`
	Table       string          `json:"table"`
	State       string          `json:"state"`
	Records     int64           `json:"records"`
	RawBytes    int64           `json:"raw_bytes"`
	Attempts    int             `json:"attempts"`
	SealedAt    time.Time       `json:"sealed_at"`
	Updated     time.Time       `json:"updated,omitzero"`
	NextAttempt time.Time       `json:"next_attempt,omitzero"`
	Failure     *ingest.Failure `json:"failure,omitempty"`
}

// File is a file of a spool.
type File struct {
	Name  string    `json:"name"` // below the spool's directory
	Bytes int64     `json:"bytes"`
	At    time.Time `json:"at,omitzero"` // when it last changed
}

func statusRoutes(mux *http.ServeMux, s Spool) {
	get(mux, "/v1/status", func(p *parameters, q *StatusQuery) { p.count("limit", &q.Limit) }, s.Status)
}

// Status asks for the status.
func (c *Client) Status(ctx context.Context, q StatusQuery) (*Status, error) {
	a := asked{url.Values{}}
	a.count("limit", q.Limit)
	return read[Status](ctx, c, "/v1/status", a.Values)
}
