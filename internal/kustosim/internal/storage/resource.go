package storage

// Resource is a row of `.get ingestion resources`.
type Resource struct {
	Kind string // ResourceTypeName
	Root string // StorageRoot, with its SAS
}

// ReportQueue is one of the two cluster-wide report queues.
type ReportQueue int

const (
	SuccessQueue ReportQueue = iota + 1
	FailureQueue
)
