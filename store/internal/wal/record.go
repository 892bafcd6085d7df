package wal

import (
	"fmt"
	"time"
)

// Limits of what is stored.
const (
	// MaxRecordBytes is the largest record; what is larger belongs into an object.
	MaxRecordBytes = 64 << 20
	// MaxCallBytes bounds the data of one Append, with what is stored beside it.
	MaxCallBytes = 512 << 20
	// MaxNameBytes and MaxPositionBytes bound a Position's name and value.
	MaxNameBytes     = 1 << 10
	MaxPositionBytes = 1 << 10
	// MaxSeq is the last number that a record can have.
	MaxSeq = 1<<62 - 1
	// MaxKeyBytes bounds Lane.Key.
	MaxKeyBytes = 64 << 10

	// DefaultFrameBytes is the default, and the largest, FrameLimit.Bytes.
	DefaultFrameBytes = 1 << 20
	// MaxFrameRecords is the default, and the largest, FrameLimit.Records.
	MaxFrameRecords = 1 << 16
)

// Lane is a sequence of records. No identifies it for ever.
type Lane struct {
	No  uint32 // 1 and above
	Key string // what the lane is to the caller; stored with its frames, in each segment that has any
	// Separator is what a record adds to a payload beside its own bytes.
	Separator int64
	Next      uint64 // sequence number of the next record; 0 means 1
	Bytes     int64  // payload bytes of the lane so far
}

// FrameLimit bounds a frame. Zero means the default. A single record may
// exceed Bytes.
type FrameLimit struct{ Bytes, Records int64 }

// KeyHash stands for the key of a record within its lane.
type KeyHash [16]byte

// Record is what Append stores.
type Record struct {
	Lane   uint32
	Data   []byte // 1 to MaxRecordBytes bytes; copied before the call waits
	HasKey bool
	Key    KeyHash
	Ref    *Ref // in place of Data: the records are in an object; HasKey then counts for the first one
}

// Ref leads to records that are kept in an object.
type Ref struct {
	Object  [16]byte
	Size    int64  // of its file
	Records uint32 // at least 1
	Bytes   int64  // what they add to a payload
}

// Position is a named value that becomes durable in the same commit as the
// records of its call.
type Position struct {
	Name  string
	Value []byte // nil: the position is removed
	// Commit is the number of its commit, in Recovered.Positions.
	Commit uint64
	in     uint64 // the commit that it was read from; KeepPositions makes that a later one
}

// Appended is the answer for one record.
type Appended struct {
	Seq       uint64 // of the record, of the first one of a Ref, or of the earlier record with the same key
	Duplicate bool   // nothing was stored: the lane has a record with this key
}

// Frame is a run of neighbouring records of one lane, as they are stored.
type Frame struct {
	Lane        uint32
	First, Last uint64
	Bytes       int64 // what they add to a payload
	Before      int64 // payload bytes of the lane before them
	At          int64 // accept time, nanoseconds since 1970
}

// KeyAt is a key that was stored.
type KeyAt struct {
	Hash KeyHash
	Lane uint32
	Seq  uint64
	At   int64 // nanoseconds since 1970
}

// RefAt is where an object is referred to.
type RefAt struct {
	Ref
	Segment     uint64
	Lane        uint32
	First, Last uint64
}

// Commit is what became durable together.
type Commit struct {
	Segment   uint64
	Number    uint64
	At        int64 // nanoseconds since 1970
	Frames    []Frame
	Keys      []KeyAt
	Positions []Position
	Refs      []RefAt
	// Took is how long the commit took, and Synced what of that was the sync.
	Took, Synced time.Duration
}

// Span is a range of sequence numbers, both ends included.
type Span struct{ First, Last uint64 }

// SegmentInfo is what is known of a segment file. All of it is what the file
// says of itself and can be learned again by reading it.
type SegmentInfo struct {
	No         uint64 // names the file; given once
	Generation uint64 // random; a compaction, or another use of the file's blocks, changes it
	Size       int64  // of the file
	End        int64  // where the last commit ends
	Index      int64  // where the index begins; 0 while there is none
	// FirstCommit and LastCommit number its commits; both 0 while there is none.
	FirstCommit, LastCommit uint64
	Chain                   uint32          // checksum of the last commit
	Lanes                   map[uint32]Span // of the frames in it; holes are possible
	Keys, Positions         bool            // whether it has any
}

// Damage is a stretch of a file that does not say what it should.
type Damage struct {
	Segment  uint64
	Name     string // of the file, below Options.Dir
	Off, Len int64  // of the bytes; Len 0 where there are none, as for commits that are missing
	Lost     []Lost // the records that went with it, as far as known
	Err      error
}

// Lost is a range of records of which there is no proven copy.
type Lost struct {
	Lane uint32
	Span
}

// String is for the log and for who reads of the damage.
func (l Lost) String() string { return fmt.Sprintf("lane %d, records %d..%d", l.Lane, l.First, l.Last) }

// ForeignFile is an entry of the log's directory that is not a segment of this
// log, or not one that could be read. It is left as it is; the caller moves it.
type ForeignFile struct {
	Name string // below Options.Dir
	Err  error  // why it was not taken
}

// Tombstone names a segment of which everything is settled, by a ledger row.
type Tombstone struct{ No, Generation uint64 }

// Known is what the ledger knows when the log is opened. The zero value is
// right for a new spool and for one whose ledger was lost.
type Known struct {
	// Segments are the rows of rotated segments, whose keys and positions are in
	// the ledger. A file that is there with the row's size is not read.
	Segments []SegmentInfo
	// Tombstones name segments whose files are recycled and come back no more.
	Tombstones []Tombstone
	// Lanes are what the ledger has of lanes; Next and Bytes are floors.
	Lanes []Lane
	// Active is where the log ended when it was closed cleanly (the CleanMark of
	// Close), or a floor of it: a log that ends before is damaged. Zero: unknown.
	Active LogEnd
	// HighestNo is a floor for the numbers of segments.
	HighestNo uint64
}

// LogEnd is a place in the log.
type LogEnd struct {
	No, Generation uint64 // of a segment
	End            int64  // behind the commit, in the file
	Commit         uint64 // number of the last commit
}

// Recovered is what Open found.
type Recovered struct {
	// Rotated are segments that Known has no row for, or another one, lowest
	// number first. Their index is in place.
	Rotated []SegmentInfo
	// Active is the segment that is written next; it may be empty.
	Active SegmentInfo
	// Lanes has every lane that Known or the log defines, where it stands now.
	Lanes []Lane
	// Keys and Positions are those of segments without a row and of the active
	// one, in the order of commits; Refs are those of all segments that were read.
	// What KeptThrough and commits before it said of positions is in Positions, if
	// it counts any more; 0: unknown.
	Keys            []KeyAt
	Positions       []Position
	RestatedThrough uint64
	Refs            []RefAt
	// Missing are the numbers of rows whose file is not there.
	Missing []uint64
	// Damage is what did not prove itself in what was read.
	Damage []Damage
	// ForeignFiles are files to be set aside.
	ForeignFiles []ForeignFile
	// TailMissing says that acknowledged records may be missing that no Damage names:
	// the end of the log is before where Known says it was.
	TailMissing bool
}

// Found is a frame that Scan reads, or what there is in its place. All of it
// is valid during the call only.
type Found struct {
	Frame           // for a damaged or missing one: Lane, First and Last, no more
	Segment  uint64 //
	Off, Len int64  // of its bytes in the segment; Len 0 where there are none
	Ref      *Ref   // when the records are in an object
	Err      error  // why the records cannot be had; matches ErrDamaged
	Raw      []byte // the bytes at Off, damaged or not
	body     []byte // plain
}
