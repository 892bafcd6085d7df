package stats

import (
	"maps"
	"sync"

	"kustospool/internal/kustosim/internal/fault"
)

// Stats counts what the simulator has seen and done since it was started.
type Stats struct {
	Requests     map[fault.Host]int64 // by host, storage by account; faulted ones included
	FaultsStruck int64

	BlobsPut         int64 // committed, overwrites included
	BlobsOverwritten int64
	BlobsDeleted     int64 // by clients and by RetainBlobOnSuccess false
	BlobBytes        int64
	BlocksPut        int64
	MessagesPosted   int64 // accepted by a ready queue; with external storage, taken from it
	RequestsQueued   int64 // accepted over REST
	BlobsQueued      int64 // of those requests
	EntitiesInserted int64 // into the status table by clients; built-in storage only
	TokensIssued     int64

	MessagesTaken   int64            // by the ingestor, redeliveries included
	Batches         map[string]int64 // sealed, by reason
	Ingested        int64            // blobs committed
	Rows            int64
	SkippedByTag    int64            // ingestIfNotExists hits
	Failed          map[string]int64 // blobs that ended as failed, by error code
	Retried         int64            // attempts that failed for a transient reason
	MalformedLines  int64            // lines of format json that were passed over
	Streamed        int64            // streaming requests committed, of Ingested
	Throttled       int64            // .ingest commands over Options.IngestCapacity
	RawSizeMismatch int64            // messages whose RawDataSize was not the raw size of the blob
	ReportsWritten  int64            // status entities, report queue messages, states of tracked requests
	ReportsFailed   int64            // reports that storage did not take
}

// Book guards Stats.
type Book struct {
	mu struct {
		sync.Mutex
		Stats
	}
}

// NewBook makes a book whose counters are 0.
func NewBook() *Book {
	b := &Book{}
	b.mu.Requests, b.mu.Batches, b.mu.Failed = make(map[fault.Host]int64), make(map[string]int64), make(map[string]int64)
	return b
}

// Add changes the counters; change must only touch its argument.
func (b *Book) Add(change func(*Stats)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.mu.Stats)
}

// Snapshot is a copy of the counters.
func (b *Book) Snapshot() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.mu.Stats
	s.Requests, s.Batches, s.Failed = maps.Clone(s.Requests), maps.Clone(s.Batches), maps.Clone(s.Failed)
	return s
}
