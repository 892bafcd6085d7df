package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/transport/internal/kusto"
)

// The roles that the service wants, for the words of a refusal.
const (
	roleTable   kusto.Role = "User of the database, and Admin of the table if it exists"
	roleMapping kusto.Role = "Ingestor of the table or of the database"
	rolePolicy  kusto.Role = "Admin of the table or of the database"
)

// ClientOptions configure a [Client]. Nil and the zero value are the defaults.
type ClientOptions struct {
	// ClientOptions are the Azure SDK's. Its Retry is not used.
	azcore.ClientOptions

	// App names the application in the service's traces; "kustospool" by default.
	App string

	// AllowHosts are hosts, or domains with a leading dot, outside the known
	// Kusto domains to which a token may be sent, and for which it may be made.
	AllowHosts []string

	// Timeout bounds one command. Default 1 minute; at least a second.
	Timeout time.Duration
}

// Client runs management commands at one cluster. It is safe for concurrent
// use and has no goroutine.
type Client struct {
	service *kusto.Service
	timeout time.Duration
}

var _ io.Closer = (*Client)(nil)

// NewClient prepares a client; nothing is sent. endpoint is the cluster's URL,
// with or without "ingest-" before its host. cred is any credential of
// azidentity; nil means none, which only a cluster on this machine accepts. The
// error matches [ingest.ErrInvalid].
func NewClient(endpoint string, cred azcore.TokenCredential, opts *ClientOptions) (*Client, error) {
	var o ClientOptions
	if opts != nil {
		o = *opts
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	var errs []error
	if o.Timeout < time.Second {
		errs = append(errs, &ingest.FieldError{Field: "Timeout", Value: o.Timeout.String(), Rule: "must be at least 1s"})
	}
	service, err := kusto.NewService(endpoint, cred, &kusto.Options{ClientOptions: o.ClientOptions, App: o.App, AllowHosts: o.AllowHosts})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return &Client{service: service, timeout: o.Timeout}, nil
}

// Close closes idle connections.
func (c *Client) Close() error {
	c.service.Wire().CloseIdle()
	return nil
}

// run runs one command. It changes something at the service, so a lost reply is
// Unknown, and a refusal is judged as that of a command.
func (c *Client) run(ctx context.Context, op, database, command string, role kusto.Role) error {
	secrets := c.service.Secrets()
	defer secrets.Repanic()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := c.service.Mgmt(ctx, kusto.Call{Op: op, Engine: true, Database: database, Command: command, Effect: kusto.HasEffect, Role: role})
	return secrets.Seal(err)
}

// Table is a table to create. Folder and DocString may be empty.
type Table struct {
	Name              string
	Columns           []Column
	Folder, DocString string
}

// CreateTable creates the table, or adds the columns that it lacks. It takes
// the role Database User; for a table that exists, Table Admin.
func (c *Client) CreateTable(ctx context.Context, database string, t Table) error {
	errs := []error{ingest.CheckName("database", database), ingest.CheckName("table", t.Name), checkColumns(t.Columns)}
	for field, text := range map[string]string{"folder": t.Folder, "docstring": t.DocString} {
		if len(text) > ingest.MaxNameBytes {
			errs = append(errs, &ingest.FieldError{Field: field, Value: fmt.Sprintf("of %d bytes", len(text)), Rule: fmt.Sprintf("must have at most %d bytes", ingest.MaxNameBytes)})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.run(ctx, "create table", database, createTable(t), roleTable)
}

// Mapping is an ingestion mapping of a table: JSON is an array of objects, one
// for each column.
type Mapping struct {
	Name string
	Kind ingest.MappingKind
	JSON string
}

// CreateMapping creates the mapping or replaces the one of that name and kind.
// It takes the role Table Ingestor or Database Ingestor.
func (c *Client) CreateMapping(ctx context.Context, database, table string, m Mapping) error {
	if err := errors.Join(ingest.CheckName("database", database), ingest.CheckName("table", table), m.Validate()); err != nil {
		return err
	}
	return c.run(ctx, "create mapping", database, createMapping(table, m), roleMapping)
}

// Validate reports every broken rule of the mapping; the error matches
// [ingest.ErrInvalid].
func (m Mapping) Validate() error {
	errs := []error{ingest.CheckQuotedName("mapping", m.Name)}
	switch m.Kind {
	case ingest.MappingCSV, ingest.MappingJSON, ingest.MappingAvro, ingest.MappingApacheAvro, ingest.MappingParquet, ingest.MappingORC,
		ingest.MappingSStream, ingest.MappingW3CLogFile:
	default:
		errs = append(errs, &ingest.FieldError{Field: "mapping kind", Value: fmt.Sprintf("%.60q", m.Kind), Rule: "is not a kind of mapping"})
	}
	var columns []map[string]json.RawMessage
	switch {
	case len(m.JSON) > MaxMappingBytes:
		errs = append(errs, &ingest.FieldError{Field: "mapping", Value: fmt.Sprintf("of %d bytes", len(m.JSON)), Rule: fmt.Sprintf("must have at most %d bytes", MaxMappingBytes)})
	case json.Unmarshal([]byte(m.JSON), &columns) != nil || len(columns) == 0:
		errs = append(errs, &ingest.FieldError{Field: "mapping", Value: fmt.Sprintf("%.60q", m.JSON), Rule: "must be a JSON array of column objects"})
	}
	return errors.Join(errs...)
}

// MaxMappingBytes bounds a mapping. It is more than the service takes in a message, since a mapping
// that is too long for one is why it is created here.
const MaxMappingBytes = 1 << 20

// Batching is a table's policy for queued ingestion: a batch is sealed by
// whichever is reached first. Zero fields are the service's defaults: 5
// minutes, 500 items and 1024 MB of raw data.
type Batching struct {
	Time  time.Duration // 10 seconds to 30 minutes, whole seconds
	Items int           // 1 to 25,000
	RawMB int           // 100 to 4096
}

// SetBatching sets the table's batching policy. It takes the role Table Admin.
func (c *Client) SetBatching(ctx context.Context, database, table string, b Batching) error {
	if b.Time == 0 {
		b.Time = 5 * time.Minute
	}
	if b.Items == 0 {
		b.Items = 500
	}
	if b.RawMB == 0 {
		b.RawMB = 1024
	}
	errs := []error{ingest.CheckName("database", database), ingest.CheckName("table", table)}
	bad := func(field string, value any, rule string) {
		errs = append(errs, &ingest.FieldError{Field: "batching " + field, Value: fmt.Sprint(value), Rule: rule})
	}
	if b.Time < 10*time.Second || b.Time > 30*time.Minute || b.Time%time.Second != 0 {
		bad("time", b.Time, "must be from 10s to 30m, in whole seconds")
	}
	if b.Items < 1 || b.Items > 25_000 {
		bad("items", b.Items, "must be from 1 to 25000")
	}
	if b.RawMB < 100 || b.RawMB > 4096 {
		bad("raw size", b.RawMB, "must be from 100 to 4096 MB")
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.run(ctx, "batching policy", database, alterBatching(table, b), rolePolicy)
}

// SetStreaming lets the table take streaming ingestion, or not. The cluster must
// have streaming enabled as well. It takes the role Table Admin.
func (c *Client) SetStreaming(ctx context.Context, database, table string, on bool) error {
	if err := errors.Join(ingest.CheckName("database", database), ingest.CheckName("table", table)); err != nil {
		return err
	}
	return c.run(ctx, "streaming policy", database, alterStreaming(table, on), rolePolicy)
}
