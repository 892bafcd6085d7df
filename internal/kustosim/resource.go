package kustosim

// resource is a row of `.get ingestion resources`.
type resource struct {
	kind string // ResourceTypeName
	root string // StorageRoot, with its SAS
}

// reportQueue is one of the two cluster-wide report queues.
type reportQueue int

const (
	successQueue reportQueue = iota + 1
	failureQueue
)
