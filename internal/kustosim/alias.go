package kustosim

import (
	"kustospool/ingest"
	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/endpoint"
	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/stats"
	"kustospool/internal/kustosim/internal/storage"
)

// What the rooms define and tests name. See the types for what they say.
type (
	// Row is one row of a table: a JSON object.
	Row = parse.Row
	// Column is a column of a table.
	Column = parse.Column
	// Extent describes the rows that one blob brought in, committed at once, or
	// those of extents that were merged.
	Extent = catalog.Extent
	// Stats counts what the simulator has seen and done since it was started.
	Stats = stats.Stats
	// Role is what a principal may do.
	Role = endpoint.Role
	// TableRole is a role that is granted for one table.
	TableRole = endpoint.TableRole
	// ExternalStorage names the services of a storage account.
	ExternalStorage = storage.ExternalStorage
	// Host is a role of the simulator that a fault can strike.
	Host = fault.Host
	// Fault is one fault on one host.
	Fault = fault.Fault
	// FaultKind says what happens to a request.
	FaultKind = fault.FaultKind
	// IngestFault is one fault of the ingestion into a table.
	IngestFault = fault.IngestFault
	// IngestFaultKind says what happens to an ingestion.
	IngestFaultKind = fault.IngestFaultKind
)

// The roles. They can be joined by |; only Admin includes the others.
const (
	Viewer   = endpoint.Viewer
	Ingestor = endpoint.Ingestor
	User     = endpoint.User
	Monitor  = endpoint.Monitor
	Admin    = endpoint.Admin
)

// The hosts. A storage host without Host.Account means every account.
const (
	DM     = fault.DM
	Engine = fault.Engine
	Blob   = fault.Blob
	Queue  = fault.Queue
	Table  = fault.Table
)

// The kinds of faults on requests.
const (
	Down         = fault.Down
	DropRequest  = fault.DropRequest
	DropReply    = fault.DropReply
	Respond      = fault.Respond
	RespondEarly = fault.RespondEarly
	RespondLate  = fault.RespondLate
	Slow         = fault.Slow
	SlowReply    = fault.SlowReply
	Stall        = fault.Stall
	Refuse       = fault.Refuse
)

// The kinds of faults of ingestions.
const (
	FailTransient = fault.FailTransient
	FailExhausted = fault.FailExhausted
	FailPermanent = fault.FailPermanent
	LeavePending  = fault.LeavePending
	Hold          = fault.Hold
	Duplicate     = fault.Duplicate
	LoseReport    = fault.LoseReport
	LoseRow       = fault.LoseRow
	AlterValue    = fault.AlterValue
	MergeExtents  = fault.MergeExtents
	ExpireTags    = fault.ExpireTags
	ExpireExtents = fault.ExpireExtents
)

// ParseRole reads a role's name in any case, or several joined by +.
func ParseRole(text string) (Role, bool) { return endpoint.ParseRole(text) }

// Errors of [Sim.CreateTable] and [Sim.CreateMapping].
var (
	ErrTableExists   = catalog.ErrTableExists
	ErrTableNotFound = catalog.ErrTableNotFound
)

// Failure statuses of a report (protocol reference section 6.1).
const (
	Permanent = parse.Permanent
	Transient = parse.Transient
	Exhausted = parse.Exhausted
)

// Parse is what the service makes of a blob of text in a table without a
// schema: its rows, or the error that fails the blob. It is for tests that hold
// other readers of the same text against this one. A malformed line of json is
// an error here.
func Parse(data []byte, format ingest.Format) ([]Row, error) { return parse.Parse(data, format) }
