package store

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// Defaults and limits of Options.
const (
	DefaultSegmentBytes     = 64 << 20
	DefaultMaxBytes         = 8 << 30
	DefaultLockTimeout      = time.Second
	DefaultHistoryRetention = 7 * 24 * time.Hour
	DefaultHistoryRows      = 100_000
	DefaultKeyRetention     = 24 * time.Hour
	DefaultOpenSegments     = 8

	// MinSegmentBytes and MaxSegmentBytes bound Options.SegmentBytes.
	MinSegmentBytes = wal.MinSegmentBytes
	MaxSegmentBytes = wal.MaxSegmentBytes
)

// Compression says how frames are stored. It can be changed with each Open:
// every frame says of itself how it is to be read.
type Compression uint8

const (
	// NoCompression stores records as they are.
	NoCompression Compression = iota
	// S2 compresses each frame by S2, a fast form of Snappy, where that makes it
	// smaller: more records for each gigabyte of disk, fewer bytes written, and
	// processor time in the way of an acknowledgement.
	S2
)

// Options tune a Store. Nil and the zero value mean the documented defaults.
type Options struct {
	// SegmentBytes is the size at which the active segment file is rotated; one
	// commit may take it past. From 64 KiB to 1 GiB; default 64 MiB, and less
	// where MaxBytes is small: an eighth of it.
	SegmentBytes int64

	// MaxBytes bounds the sizes of all files of the spool together: segments,
	// recycled ones, ledger, objects, dead letters, quarantine. Appends that
	// would need more get ErrFull; the ledger, dead letters and the reclaim of
	// space go on, out of a reserve that is counted in. Default 8 GiB; at
	// least two segments and 5 MiB, of which 4 MiB are the reserve. A dead
	// letter that is written while the spool is full may pass the bound by its
	// own size.
	MaxBytes int64

	// LockTimeout is how long Open waits for another holder. Default 1 s.
	LockTimeout time.Duration

	// HistoryRetention and HistoryRows bound the rows of settled batches that
	// Find still answers from; whichever is reached first. Defaults 7 days
	// and 100,000.
	HistoryRetention time.Duration
	HistoryRows      int

	// KeyRetention is how long a Record.Key is remembered. Default 24 h.
	KeyRetention time.Duration

	// OpenSegments is how many files of segments below the active one are kept
	// open for reading. Default 8.
	OpenSegments int

	// CommitInterval is how long a commit waits for more records, at most: fewer
	// and larger commits write less beside the records, which flash memory
	// thanks, and each acknowledgement takes so much longer. It means fsynced all
	// the same. A group that is full does not wait. Default 0, none; at most 1 minute.
	CommitInterval time.Duration

	// Compression of frames on disk. Default NoCompression.
	Compression Compression

	// Committed, when set, is called after each group commit with the frames
	// it wrote, in commit order and before the appends return. One call runs at a
	// time: it must be quick and must not call the Store. The slice is valid
	// during the call only.
	Committed func([]Frame)
	// Timed, when set, is called before Committed, with the time that the commit
	// took and the part of it that was the wait for the disk.
	Timed func(commit, sync time.Duration)

	// TrustDirectory takes a spool whose directory, or a file in it, belongs to
	// another user, or may be written by a group: who can do that is trusted with
	// all that is in it. Volumes of containers are mounted so. What everybody
	// may write is refused all the same. Default false. On Windows, where the
	// access list of the directory above rules, neither is looked at.
	TrustDirectory bool

	// Settled, when set, is called for each batch that reached a final state, once
	// that is durable. One call runs at a time: it must be quick and must not
	// change the Store.
	Settled func(Entry)

	// NoSync leaves out the fsyncs of commits and of new files: an acknowledged record then survives the
	// process and not a power cut. It exists for the negative controls of
	// durability tests.
	NoSync bool

	// Logger gets what cannot be returned to a caller: damage found, files set
	// aside, background work that failed. Default: discarded.
	Logger *slog.Logger

	// For tests: files stands in for the file system of the machine, for all
	// but the ledger, which is at books; step is told of its transactions.
	files vfs.FS
	books string
	step  func(ledger.Step)
	fault func(ledger.Step) error
	// manual leaves the upkeep to calls of Store.upkeep; tune has the last word
	// on the options of the log.
	manual bool
	tune   func(*wal.Options)
	bugs   bugs
	// user stands in for the user of the process.
	user func() int

	written *atomic.Int64 // bytes written to the files of the machine, but for the ledger's
}

// withDefaults is a copy with the defaults filled in.
func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes)
	c.SegmentBytes = cmp.Or(c.SegmentBytes, min(max(c.MaxBytes/8, MinSegmentBytes), DefaultSegmentBytes))
	c.LockTimeout = cmp.Or(c.LockTimeout, DefaultLockTimeout)
	c.HistoryRetention = cmp.Or(c.HistoryRetention, DefaultHistoryRetention)
	c.HistoryRows = cmp.Or(c.HistoryRows, DefaultHistoryRows)
	c.KeyRetention = cmp.Or(c.KeyRetention, DefaultKeyRetention)
	c.OpenSegments = cmp.Or(c.OpenSegments, DefaultOpenSegments)
	c.written = new(atomic.Int64)
	if c.files == nil {
		c.files = vfs.NewOS(c.written)
	}
	if c.user == nil {
		c.user = os.Geteuid
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// reserve is the part of MaxBytes that appends may not take, so that the
// manifest and dead letters can still be written when the spool is full.
func (o *Options) reserve() int64 { return reserveBytes }

// ballast is the size of the ballast file, a part of the reserve.
func (o *Options) ballast() int64 {
	return min(max(o.SegmentBytes/32, reserveBytes/8), reserveBytes/2)
}

const (
	reserveBytes = 4 << 20
	// slackBytes is for what files grow by ahead of their need: without it the
	// smallest quota would call an empty spool full.
	slackBytes = 1 << 20
)

// validate reports all violations of filled-in options at once. The result
// matches [ingest.ErrInvalid].
func (o *Options) validate() error {
	var errs []error
	bad := func(field string, value any, rule string) {
		errs = append(errs, &ingest.FieldError{Field: "store.Options." + field, Value: fmt.Sprint(value), Rule: rule})
	}
	if o.SegmentBytes < MinSegmentBytes || o.SegmentBytes > MaxSegmentBytes {
		bad("SegmentBytes", o.SegmentBytes, fmt.Sprintf("must be between %d and %d", MinSegmentBytes, MaxSegmentBytes))
	} else if least := 2*o.SegmentBytes + o.reserve() + slackBytes; o.MaxBytes < least {
		bad("MaxBytes", o.MaxBytes, fmt.Sprintf("must hold two segments, the reserve and the growth of files, %d bytes", least))
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"LockTimeout", o.LockTimeout}, {"HistoryRetention", o.HistoryRetention}, {"KeyRetention", o.KeyRetention},
	} {
		if d.value < 0 {
			bad(d.field, d.value, "must not be negative")
		}
	}
	if o.CommitInterval < 0 || o.CommitInterval > time.Minute {
		bad("CommitInterval", o.CommitInterval, "must be from 0 to 1m")
	}
	if o.Compression > S2 {
		bad("Compression", o.Compression, "must be NoCompression or S2")
	}
	if o.HistoryRows < 0 {
		bad("HistoryRows", o.HistoryRows, "must not be negative")
	}
	if o.OpenSegments < 0 {
		bad("OpenSegments", o.OpenSegments, "must not be negative")
	}
	return errors.Join(errs...)
}
