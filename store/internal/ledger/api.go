package ledger

import (
	"context"
	"iter"
	"time"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

// Options say how a ledger works. Zero values are the defaults.
type Options struct {
	// NoSync leaves out every fsync. For tests and throw-away spools.
	NoSync bool
	// LockTimeout bounds the wait for bbolt's lock of the file. Default 1 s.
	LockTimeout time.Duration
	// HistoryRetention and HistoryRows bound the history. Defaults 7 days, 100,000 rows.
	HistoryRetention time.Duration
	HistoryRows      int
	// NoSpace is asked when a change found no room. When it made some it
	// returns true, and the same change is tried once more.
	NoSpace func() bool
	// Failed is called once, with the cause, when the ledger fails.
	Failed func(error)
	// Settled is called after a batch reached a final state, durably, in the
	// order of the changes. Not for a split batch.
	Settled func(Entry)
	// Size is called with the size of the file, after Open and when it changed.
	Size func(int64)
	// Clock is time.Now by default.
	Clock func() time.Time
	// Step is called right before and right after each transaction becomes
	// durable, for tests that cut the power: the file is whole at both.
	Step func(Step)

	// NoSpace, Settled, Size and Step run on the writer's goroutine and must not call the
	// ledger back, but for its readers of the mirror.
}

// Step is a moment in a transaction's life.
type Step int

// The steps.
const (
	Before Step = iota + 1 // the transaction is staged; the file is as it was
	After                  // the transaction is durable
)

// Findings is what Open and ReadBooks saw besides the books.
type Findings struct {
	// Suspect: one of the two meta pages is invalid, so that the file may be
	// what it was before its last change.
	Suspect bool
	// Renewed says that the file was written again, or for ReadBooks would have
	// to be: HistoryLost and KeysLost say what began anew with that.
	Renewed     error // why; nil if it was not
	HistoryLost bool
	KeysLost    bool
	// Partial: the file was too large to be read whole; pages of history and keys were not looked at.
	Partial bool
	Size    int64 // of the file
}

// Ledger is an open ledger. Its methods may be called at the same time.
type Ledger struct{}

// Create writes a new file with these books, for a first start and for a
// rebuild. It is complete and durable before it takes the name, in place of
// what has it. Counts in Books.State (Lanes, History) are filled in. Books that break a rule of
// the ledger are an error that says which.
func Create(fs vfs.FS, path string, books *Books, opts *Options) error { panic("todo") }

// Open verifies the file, opens it and starts the writer; Close ends it. A
// missing file matches fs.ErrNotExist. Damage is an error that matches
// ErrDamaged, and leaves the file as it is; the caller moves it away and
// calls Create. Another format is a VersionError.
//
// keep is called, if it is not nil, before a file is written again because of damage in history or
// keys, so that the caller can keep a copy of the damaged one.
func Open(fs vfs.FS, path string, opts *Options, keep func(Findings) error) (*Ledger, Findings, error) {
	panic("todo")
}

// ReadBooks reads the books without changing, locking or creating anything.
// The errors are those of Open.
func ReadBooks(fs vfs.FS, path string) (*Books, Findings, error) { panic("todo") }

// Exists reports whether path is a file that begins as a ledger does: one of
// its meta pages is valid. It reads two pages.
func Exists(fs vfs.FS, path string) bool { panic("todo") }

// Names lists the names that a ledger at path uses beside path itself: a
// temporary file and the mark of a failure.
func Names(path string) []string { panic("todo") }

// Close lets the queue run empty, ends the writer and closes the file.
func (l *Ledger) Close() error { panic("todo") }

// Err is nil, or why the ledger takes no changes any more; it matches ErrFailed or ErrClosed.
func (l *Ledger) Err() error { panic("todo") }

// Tx is a transaction in the making: what it reads is the ledger with its own
// changes, and those before it in the same group, applied. Its methods are
// called on the writer's goroutine, from within the function that Do was given. An error of a method
// leaves the Tx without that change; the function then returns it, before any other change was made.
type Tx struct{}

// Do runs fn as a transaction and returns when it is durable. When ctx ends
// while the change still waits it is not made; later, its outcome is waited
// for. fn may run twice, when the first commit found no room. An error of fn refuses
// this change only, and must come before its first write.
func (l *Ledger) Do(ctx context.Context, fn func(*Tx) error) error { panic("todo") }

// Post is Do without waiting. done, if not nil, gets the outcome on the writer's goroutine.
func (l *Ledger) Post(fn func(*Tx) error, done func(error)) error { panic("todo") }

// After runs fn once the transaction is durable and the mirror shows it, on the writer's goroutine.
func (tx *Tx) After(fn func()) {}

// --- state and counters

// State is the state as this transaction would leave it.
func (tx *Tx) State() State { panic("todo") }

// SetState replaces the first five fields; the others are the ledger's own.
func (tx *Tx) SetState(State) { panic("todo") }

// Count adds to the counters that no batch moves.
func (tx *Tx) Count(damaged, suspect, possibleDuplicates int64) { panic("todo") }

func (l *Ledger) State() State          { panic("todo") }
func (l *Ledger) Counters() Counters    { panic("todo") }
func (l *Ledger) Spool() ingest.SpoolID { panic("todo") }

// --- lanes

// AddLane gives the lane of p, which it makes if there is none.
func (tx *Tx) AddLane(p *ingest.Properties) (Lane, error) { panic("todo") }

// RestoreLane makes a lane that the log knows and the ledger does not, under its own number.
func (tx *Tx) RestoreLane(no uint32, key string) (Lane, error) { panic("todo") }

// Lane is a lane as this transaction would leave it.
func (tx *Tx) Lane(no uint32) (Lane, bool) { panic("todo") }

// Advance raises a lane's floor; a lower one than the ledger's is no change.
func (tx *Tx) Advance(lane uint32, high uint64, bytes int64) error { panic("todo") }

// Jump makes the next n numbers behind the lane's floor no records, or
// lengthens the gap that begins there, and gives the next number.
func (tx *Tx) Jump(lane uint32, n uint64) (next uint64, err error) { panic("todo") }

func (l *Ledger) Lane(no uint32) (Lane, bool)      { panic("todo") }
func (l *Ledger) FindLane(key string) (Lane, bool) { panic("todo") }
func (l *Ledger) Lanes() []Lane                    { panic("todo") }

// --- batches

// Ends says where a lane's acknowledged records end, and their bytes up to there.
type Ends func(lane uint32) (high uint64, bytes int64)

// Cut divides the payload bytes of a range of a lane among its pieces.
type Cut func(lane uint32, pieces []Span, bytes int64) []int64

// Seal makes batches of ranges, in one transaction, and answers with their
// rows in state Sealed. A range begins behind the last one sealed in its lane
// and ends at an acknowledged record at the latest, or it is ErrConflict and
// nothing is sealed. A range across a gap becomes several batches, for which cut is asked.
func (l *Ledger) Seal(ctx context.Context, seals []Seal, ends Ends, cut Cut) ([]Entry, error) {
	panic("todo")
}

// Transition changes a batch's row if the batch is live and in state from,
// and else fails with ErrConflict. apply gets a copy; it may leave State as it
// is (an update of the journal) or set one that from.CanBecome allows
// ([TransitionError] if not). It runs on the writer's goroutine: it must be
// quick and must not call the ledger. The Batch cannot be changed.
//
// A final state moves the row to the history and adds to the counters in the
// same transaction. Split and DeadLettered have calls of their own.
func (l *Ledger) Transition(ctx context.Context, id ingest.BatchID, from ingest.State, apply func(*Entry)) (Entry, error) {
	panic("todo")
}

// Split replaces a batch by two or more: cuts are the first records of each
// but the first, sizes the payload bytes of each.
func (l *Ledger) Split(ctx context.Context, id ingest.BatchID, from ingest.State, cuts []uint64, sizes []int64, why *ingest.Failure) ([]Entry, error) {
	panic("todo")
}

// DeadLetter makes a batch a dead letter, whose files stand already. damaged adds to Counters.Damaged.
func (l *Ledger) DeadLetter(ctx context.Context, id ingest.BatchID, from ingest.State, why *ingest.Failure, at time.Time, damaged int64) (Entry, error) {
	panic("todo")
}

// Check is the error that Transition, Split and DeadLetter would give for a batch's state.
func (l *Ledger) Check(id ingest.BatchID, from, to ingest.State) error { panic("todo") }

func (l *Ledger) Entry(id ingest.BatchID) (Entry, bool) { panic("todo") }

// EntryAt is the live batch that holds a record.
func (l *Ledger) EntryAt(lane uint32, seq uint64) (Entry, bool) { panic("todo") }

// Live lists the live batches, by lane and first record; LiveOf those of a lane.
func (l *Ledger) Live() []Entry              { panic("todo") }
func (l *Ledger) LiveOf(lane uint32) []Entry { panic("todo") }

// LiveCount is how many batches are live and how many records are in them.
func (l *Ledger) LiveCount() (batches, records int64) { panic("todo") }

// Unsettled is how many records of a lane's range are open or in a live batch.
func (l *Ledger) Unsettled(lane uint32, r Span, high uint64) int64 { panic("todo") }

// Settled finds the history row of a settled record. ErrNotFound when there is none.
func (l *Ledger) Settled(lane uint32, seq uint64) (Entry, error) { panic("todo") }

// History walks the rows of settled batches, oldest first. A row that cannot be read is an error of its own.
func (l *Ledger) History() iter.Seq2[Entry, error] { panic("todo") }

// --- segments and objects

// PutSegment adds or replaces the row of a rotated segment.
func (tx *Tx) PutSegment(s Segment) error { panic("todo") }

// SettleSegment replaces a segment's row by a tombstone, after which its file
// may go. ErrConflict while it holds records that are open or in a live batch, or keys or positions that are not in the ledger.
func (tx *Tx) SettleSegment(no uint64) error { panic("todo") }

// ForgetSegment removes a tombstone, once the file is gone or has another generation durably.
func (tx *Tx) ForgetSegment(no uint64) error { panic("todo") }

// PutObject adds or replaces an object's row; DeleteObject removes it, ErrConflict while its records are not settled.
func (tx *Tx) PutObject(o Object) error       { panic("todo") }
func (tx *Tx) DeleteObject(id ObjectID) error { panic("todo") }

func (l *Ledger) Segments() []Segment               { panic("todo") }
func (l *Ledger) Segment(no uint64) (Segment, bool) { panic("todo") }
func (l *Ledger) Tombstones() []Tombstone           { panic("todo") }
func (l *Ledger) Objects() []Object                 { panic("todo") }
func (l *Ledger) Object(id ObjectID) (Object, bool) { panic("todo") }

// --- keys

// PutKeys enters keys. One that is there already is replaced unless it is newer.
func (tx *Tx) PutKeys(keys []Key) { panic("todo") }

// FindKey looks a key up. One accepted before `before` (Unix ns) is not found. An error that matches
// ErrDamaged says that its row cannot be read, now or later in this run.
func (l *Ledger) FindKey(lane uint32, h KeyHash, before int64) (seq uint64, ok bool, err error) {
	panic("todo")
}

// PruneKeys removes a bounded number of keys that are older than before, and reports whether there may be more.
func (l *Ledger) PruneKeys(ctx context.Context, before time.Time) (more bool, err error) {
	panic("todo")
}

// --- positions

// PutPositions enters positions of the log: all those of commits up to through
// that are not in the ledger yet, and maybe more. One never replaces a newer
// one, so that a repeat, or an older segment that comes late, does no harm.
func (tx *Tx) PutPositions(through uint64, list []Position) error { panic("todo") }

// RemovePosition removes a position, as of commit: one that the log carried
// later is put nevertheless. ErrNotFound when there is none.
func (tx *Tx) RemovePosition(name string, commit uint64) error { panic("todo") }

func (l *Ledger) Position(name string) (Position, bool) { panic("todo") }
func (l *Ledger) Positions() []Position                 { panic("todo") }
