package operate

import (
	"context"
	"net/http"
	"time"
)

// Controller is a spool whose tables can be paused, resumed and retried. Pauses
// are durable. Errors are those of [Spool].
type Controller interface {
	Pause(ctx context.Context, q PauseQuery) (*Paused, error)
	Resume(ctx context.Context, q TableQuery) (*Resumed, error)
	Retry(ctx context.Context, q TableQuery) (*Retried, error)
}

// PauseQuery names a table to be paused, as TABLE or DB.TABLE, and says why.
type PauseQuery struct {
	Table  string `json:"table"`
	Reason string `json:"reason,omitempty"` // at most 256 bytes
}

// TableQuery names a table, as TABLE or DB.TABLE.
type TableQuery struct {
	Table string `json:"table"`
}

// Paused is a table whose batches are not sent until it is resumed. Records are taken
// meanwhile, and kept.
type Paused struct {
	Database string    `json:"database"`
	Table    string    `json:"table"`
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason,omitempty"`
}

// Resumed says that a table is not paused, and whether it was.
type Resumed struct {
	Database string `json:"database"`
	Table    string `json:"table"`
	Was      bool   `json:"was_paused"`
}

// Retried says of how many batches of a table the next one is attempted now.
type Retried struct {
	Database string `json:"database"`
	Table    string `json:"table"`
	Batches  int64  `json:"batches"`
	// InUse is false where no process has the spool open. The next one that does tries
	// every table at once.
	InUse bool `json:"in_use"`
}

func controlRoutes(mux *http.ServeMux, s Spool) {
	const what = "pause, resume or retry a table"
	post(mux, "/v1/pause", func(ctx context.Context, q PauseQuery) (*Paused, error) {
		c, err := powerOf[Controller](s, what)
		if err != nil {
			return nil, err
		}
		return c.Pause(ctx, q)
	})
	post(mux, "/v1/resume", func(ctx context.Context, q TableQuery) (*Resumed, error) {
		c, err := powerOf[Controller](s, what)
		if err != nil {
			return nil, err
		}
		return c.Resume(ctx, q)
	})
	post(mux, "/v1/retry", func(ctx context.Context, q TableQuery) (*Retried, error) {
		c, err := powerOf[Controller](s, what)
		if err != nil {
			return nil, err
		}
		return c.Retry(ctx, q)
	})
}

var _ Controller = (*Client)(nil)

// Pause asks for a pause.
func (c *Client) Pause(ctx context.Context, q PauseQuery) (*Paused, error) {
	return change[Paused](ctx, c, "/v1/pause", q)
}

// Resume asks for the end of a pause.
func (c *Client) Resume(ctx context.Context, q TableQuery) (*Resumed, error) {
	return change[Resumed](ctx, c, "/v1/resume", q)
}

// Retry asks for an attempt now.
func (c *Client) Retry(ctx context.Context, q TableQuery) (*Retried, error) {
	return change[Retried](ctx, c, "/v1/retry", q)
}
