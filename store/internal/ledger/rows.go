package ledger

import (
	"time"

	"kustospool/ingest"
)

// FormatVersion is the version of the spool's format as a whole. It is kept in
// the ledger's head row.
//
// The rows have fixed lengths. A new field, or a new bucket, needs a new
// FormatVersion and a reader of the old one; without it an old ledger reads as
// damaged and is rebuilt, with all that the log has open again.
const FormatVersion = 3

// Bounds of rows.
const (
	// MaxProgressBytes bounds Entry.Progress: what a transport writes, and the
	// name that a router puts before it.
	MaxProgressBytes = 4<<10 + 128
	// MaxPositionName and MaxPositionBytes bound a position, MaxPositions how
	// many there are.
	MaxPositionName  = 255
	MaxPositionBytes = 1 << 10
	MaxPositions     = 1024
)

// Span is a range of sequence numbers, both ends included.
type Span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Count is how many numbers the span has. An empty one has a Last that is one
// below its First.
func (r Span) Count() int64 { return int64(r.Last - r.First + 1) }

// Overlap is how many numbers r and o share.
func (r Span) Overlap(o Span) int64 {
	first, last := max(r.First, o.First), min(r.Last, o.Last)
	if first > last {
		return 0
	}
	return int64(last - first + 1)
}

// Watermarks is where a lane stands. High and Bytes may lag behind what the log
// holds; they are a floor.
type Watermarks struct {
	Base      uint64 // records up to here are in nobody's books
	BaseBytes int64  // and their payload bytes
	Sealed    uint64 // last record that is in a batch, or was
	High      uint64 // last record known to be acknowledged
	Bytes     int64  // payload bytes up to High
	Gaps      []Span // numbers that are no records, ascending
}

// Lane is the queue of one set of properties. Copies share what Properties and
// Watermarks.Gaps refer to; both are never changed.
type Lane struct {
	No         uint32 // counts from 1
	Key        string // ingest.Properties.Key
	Properties ingest.Properties
	Watermarks Watermarks
}

// Seal asks for the range First..Last of a lane to become a batch.
type Seal struct {
	Lane        uint32
	First, Last uint64
	Bytes       int64 // payload size: the sum of the frames' Bytes
	Guarantee   ingest.Guarantee
	Confirm     ingest.Confirm
	// Oldest becomes the batch's Oldest. What is before 1970 stands for a time
	// that is not known.
	Oldest time.Time
}

// Entry is one row of the batch ledger.
type Entry struct {
	Batch    ingest.Batch
	State    ingest.State
	Attempts int // attempts begun
	// Unresolved is the number of attempts whose outcome was never learned
	// before the batch was sent again.
	Unresolved int
	// PossibleDuplicates is the number of rows that such repeats may have
	// doubled. It only grows; what a Transition adds to it is added to
	// Counters.PossibleDuplicates in the same transaction.
	PossibleDuplicates int64
	Committed          bool   // the current attempt passed its commit point
	Progress           []byte // the transport's own; at most MaxProgressBytes
	// NextAttempt is the time before which the batch is not tried again; of a batch
	// in state Unknown, until when its outcome is asked for before it is sent again.
	NextAttempt time.Time
	Failure     *ingest.Failure
	WireBytes   int64
	// BlobBytes is, of a batch by reference, the size of the blob's data before
	// compression as the transport learned it; 0 for none.
	BlobBytes int64
	Updated   time.Time
}

// DataBytes is the size of the batch's data before compression: that of the
// payload, or of a blob by reference the blob's, 0 where it is not known.
func (e *Entry) DataBytes() int64 {
	if e.Batch.Properties.ByReference {
		return e.BlobBytes
	}
	return e.Batch.RawBytes
}

// Segment is a rotated segment of the log. The map is never changed once the
// row is in the ledger.
type Segment struct {
	No, Generation          uint64
	Size, End, Index        int64 // of the file; where its commits end; where its index begins
	FirstCommit, LastCommit uint64
	Chain                   uint32
	Lanes                   map[uint32]Span
	Keys                    bool // holds keys that are not in the ledger yet
	Positions               bool // holds positions that are not in the ledger yet
	Lost                    bool // the file is gone, and that was counted
}

// Tombstone is what is left of a segment's row once all in it is settled,
// until its file is gone or has become another segment.
type Tombstone struct{ No, Generation uint64 }

// ObjectID is the identity of a large payload.
type ObjectID [16]byte

// Object is a large payload in a file of its own, to which a frame of a
// rotated segment refers.
type Object struct {
	ID          ObjectID
	Lane        uint32
	First, Last uint64
	Size        int64 // of its file
}

// Position is what a source stored under its name with a commit of the log.
type Position struct {
	Name   string // 1 to MaxPositionName bytes of valid UTF-8
	Value  []byte // at most MaxPositionBytes; nil removes the position
	Commit uint64 // the log's commit that carried it; a newer one wins
}

// KeyHash stands for a caller's key.
type KeyHash [16]byte

// Key says which record a key belongs to.
type Key struct {
	Hash KeyHash
	Lane uint32
	Seq  uint64
	At   int64 // when the record was accepted, Unix time in nanoseconds
}

// Active is the active segment when the state was written, exact after a
// clean close.
type Active struct {
	No, Generation uint64
	End            int64 // where its commits end
	LastCommit     uint64
	Chain          uint32
}

// State is what the ledger knows of the last run. Tx.SetState changes the
// first four, which the ledger only keeps.
type State struct {
	Epoch     uint64 // counts the opens
	Clean     bool   // Close finished
	Active    Active
	HighestNo uint64 // the highest number that a segment ever had

	Lanes     uint32 // highest lane number given out
	Positions uint64 // positions of commits up to here are in the ledger, or were replaced
	History   int64  // rows in the history
}

// Counters are the persisted part of the spool's statistics. A new one needs a new
// [FormatVersion]. What can be
// computed from the lanes' watermarks and the live batches is not repeated here:
// records acknowledged == open + in live batches + Ingested + Skipped +
// HandedOver + DeadLettered + Dropped, watermarks and rows taken together.
type Counters struct {
	Ingested     int64
	Skipped      int64
	HandedOver   int64
	DeadLettered int64
	Dropped      int64

	BatchesIngested     int64
	BatchesSkipped      int64
	BatchesHandedOver   int64
	BatchesSplit        int64
	BatchesDeadLettered int64
	BatchesDropped      int64

	RawBytes           int64
	WireBytes          int64
	PossibleDuplicates int64
	Damaged            int64
	Suspect            int64
}

// Books are the contents of a ledger without history and keys.
type Books struct {
	Spool      ingest.SpoolID
	State      State
	Counters   Counters
	Lanes      []Lane      // by number
	Entries    []Entry     // live batches, by lane and first record
	Segments   []Segment   // by number
	Tombstones []Tombstone // by number
	Objects    []Object    // by ID
	Positions  []Position  // by name, removed ones left out
}

// Open is how many records up to high are in no batch.
func (m *Watermarks) Open(high uint64) int64 {
	return m.Records(Span{m.Sealed + 1, max(high, m.Sealed)})
}

// Acked is how many records up to high the books know.
func (m *Watermarks) Acked(high uint64) int64 { return m.Records(Span{m.Base + 1, max(high, m.Base)}) }

// Records counts the numbers of a span that are records.
func (m *Watermarks) Records(r Span) int64 {
	n := r.Count()
	for _, g := range m.Gaps {
		n -= g.Overlap(r)
	}
	return n
}

// GapAt is the gap that holds seq.
func (m *Watermarks) GapAt(seq uint64) (Span, bool) {
	for _, g := range m.Gaps {
		if g.First <= seq && seq <= g.Last {
			return g, true
		}
	}
	return Span{}, false
}

// Next is the number of the next record of a lane whose last one is high.
func (m *Watermarks) Next(high uint64) uint64 {
	if gap, ok := m.GapAt(high + 1); ok {
		return gap.Last + 1
	}
	return high + 1
}

// Pieces cuts a span at the lane's gaps.
func (m *Watermarks) Pieces(r Span) []Span {
	out := []Span{}
	for _, g := range m.Gaps {
		if g.Overlap(r) == 0 {
			continue
		}
		if g.First > r.First {
			out = append(out, Span{r.First, g.First - 1})
		}
		if g.Last >= r.Last {
			return out
		}
		r.First = g.Last + 1
	}
	return append(out, r)
}
