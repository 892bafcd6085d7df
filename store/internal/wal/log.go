package wal

import "context"

// Log is an open write-ahead log. Its methods may be called from many
// goroutines. One process at a time may have it open: the lock is the caller's.
type Log struct{}

// Open recovers the log, which is made when the directory is empty, and starts
// its goroutines. It fails when the directory cannot be read or written, never
// because of what a file says.
func Open(opts Options, known Known) (*Log, *Recovered, error) { panic("not yet") }

// AddLane makes a lane known. One that Recovered has is known already, and adding
// it again changes nothing.
func (l *Log) AddLane(lane Lane) error { panic("not yet") }

// SetLimit bounds the frames of a lane.
func (l *Log) SetLimit(lane uint32, lim FrameLimit) error { panic("not yet") }

// Append stores all of the records and positions or nothing, in one commit, and
// answers in out, which must be as long as recs. The data is copied before the
// call waits. ctx counts until then: a call whose records were taken waits for
// its outcome.
//
// Errors: ErrInvalid, ErrNoLane, ErrNoSpace, ErrUnknown, ErrFailed, ErrClosed, the
// Gate's, and ctx's.
func (l *Log) Append(ctx context.Context, recs []Record, pos []Position, out []Appended) error {
	panic("not yet")
}

// AppendOne is Append for one record, without the slices.
func (l *Log) AppendOne(ctx context.Context, r Record) (Appended, error) { panic("not yet") }

// Scan calls fn for the frames of a lane in one segment that hold records
// from..last, in order, until it returns false. Each is proven by its checksum.
// A damaged one comes as a Found with Err; so does a range between from and last
// of which the segment's span of the lane has no frame. The first and the last frame may
// reach beyond what was asked for. fn must not keep what it is given.
//
// Errors: ErrNoSegment, ErrClosed, and a failure of the file system.
func (l *Log) Scan(seg uint64, lane uint32, from, last uint64, fn func(*Found) bool) error {
	panic("not yet")
}

// Each calls fn for each record of a sound frame until fn returns false. The
// data is valid during the call. It does nothing for a frame with a Ref.
func (f *Found) Each(fn func(seq uint64, data []byte) bool) error { panic("not yet") }

// ReadAt reads bytes of a segment's file as they are, for quarantine.
func (l *Log) ReadAt(seg uint64, p []byte, off int64) (int, error) { panic("not yet") }

// Segment says what is known of a segment, rotated or active.
func (l *Log) Segment(no uint64) (SegmentInfo, bool) { panic("not yet") }

// Active says what is known of the segment that is written.
func (l *Log) Active() SegmentInfo { panic("not yet") }

// Rotate makes the next commit begin a new segment, if the active one has any
// commit, and returns once the old one's index is durable and Rotated was called.
func (l *Log) Rotate() error { panic("not yet") }

// Recycle takes a settled segment out of the log: its file becomes stock, or is
// given back to the volume step by step. It returns once the segment can no
// longer come back after a crash, so that its row may be removed. The
// segment must not be read any more.
func (l *Log) Recycle(no uint64) error { panic("not yet") }

// Compact writes a rotated segment anew with only the frames that keep wants,
// and returns what is known of the new file, which takes the old one's place
// and number. Keys and positions are left out: they must be in the ledger. It
// changes nothing and returns the old one's info when that would not free a
// quarter of the file.
func (l *Log) Compact(no uint64, keep func(Frame) bool) (SegmentInfo, error) { panic("not yet") }

// Forget drops a segment that was not found or was set aside by the caller.
func (l *Log) Forget(no uint64) { panic("not yet") }

// DiskBytes is the size of all files of the log, stock included.
func (l *Log) DiskBytes() int64 { panic("not yet") }

// FreeStock gives the stock back to the volume at once, for want of space, and
// returns how many bytes that freed.
func (l *Log) FreeStock() int64 { panic("not yet") }

// Err says why nothing can be appended any more: ErrFailed, ErrClosed, or nil.
func (l *Log) Err() error { panic("not yet") }

// Close commits what waits, writes the active segment's index so that it needs
// not be read when it is opened, and ends the log's goroutines. The mark is where
// the log ends.
func (l *Log) Close() (Mark, error) { panic("not yet") }
