package transport

import (
	"context"
	"io"
	"time"

	"kustospool/ingest"
)

// Transport hands batches over to one destination. If it is also an
// [io.Closer], the engine closes it after its last call.
type Transport interface {
	// Send makes one attempt. Its result is one of:
	//
	//   - an Ack and nil: the destination has taken the batch over, or is done
	//     with it already (Ack.State says which);
	//   - an *Error (wrapped or not): see its Class for what the engine does
	//     next. Any other error counts as Unknown when Journal.Commit was
	//     called in this attempt and as Transient when not;
	//   - the payload's own read error, wrapped: the engine recognises it.
	//
	// Send returns soon after ctx ends. An attempt cut off after
	// Journal.Commit is Unknown. A panic counts as an error without a class, and
	// so does an *Error that is nil or has none.
	Send(ctx context.Context, d *Delivery) (Ack, error)

	// Capabilities are constant for the life of the transport.
	Capabilities() Capabilities
}

// Capabilities say what a destination can keep.
type Capabilities struct {
	// ExactlyOnce: a repeat of a batch is skipped by the destination. When
	// false the engine refuses tables whose guarantee is ExactlyOnce.
	ExactlyOnce bool
	// MaxBatchBytes is the largest raw payload one Send can carry; 0 means no
	// limit of the transport's own.
	MaxBatchBytes int64
	// Blobs: Send takes batches of [ingest.Properties.ByReference], whose
	// payload is the address of a blob. When false the engine refuses them.
	Blobs bool
}

// Delivery is one attempt at one batch.
type Delivery struct {
	Batch *ingest.Batch
	// Attempt counts from 1 and goes on counting across restarts.
	Attempt int
	// Progress is what the last attempt wrote to its Journal, nil at first.
	// The transport must tolerate bytes that an older version of it wrote.
	Progress []byte
	Payload  Payload
	Journal  Journal
	// Moved, when not nil, tells the engine that an upload moves: that the
	// destination has acknowledged another part of it, or has it already. The
	// attempt's time (engine.Options.AttemptTimeout) then begins again: how long
	// an upload takes is a matter of the link, and the transport alone bounds
	// how long it may stand still. It may be called from any goroutine of the
	// attempt. A transport that never calls it has one AttemptTimeout for all.
	Moved func()
}

// Payload is the batch's bytes. They can be read again and again and are the
// same each time.
type Payload interface {
	// Open starts reading at the first byte. Reading ends in io.EOF after
	// exactly Size bytes, or in the store's error when the bytes on disk are
	// damaged; a transport then abandons the upload and returns that error
	// wrapped.
	Open() io.ReadCloser
	// Size is the raw size in bytes, known without reading.
	Size() int64
}

// MaxProgressBytes bounds what a Journal takes.
const MaxProgressBytes = 4 << 10

// Journal makes a transport's intents durable. Both methods return when
// progress is on stable storage; on an error the transport must not go on
// with the side effect and returns that error.
type Journal interface {
	// Note records progress before a side effect that cannot make rows appear.
	Note(ctx context.Context, progress []byte) error
	// Commit records progress before the side effect after which rows may
	// appear. It may be called once in an attempt.
	Commit(ctx context.Context, progress []byte) error
}

// Ack is a destination's answer to a Send.
type Ack struct {
	// State is Accepted when a Tracker will tell the outcome, Succeeded or
	// Skipped when the destination has already given it, and HandedOver when
	// it has the batch and nobody will ever tell. An attempt that finds an
	// earlier one's effect begins none of its own: Skipped when it is done,
	// Accepted, without a Commit, while it is under way.
	State ingest.State
	// WireBytes is what the payload took on the wire, for statistics; 0 where
	// it was not sent again.
	WireBytes int64
	// BlobBytes is, of a batch by reference, the size of the blob's data before
	// compression where the transport learned it, for statistics; 0 where it did
	// not, and of other batches, whose payload has it.
	BlobBytes int64
}

// Tracker is the optional power to learn outcomes after Send returned. The
// engine looks for it once, when it opens.
type Tracker interface {
	// Track asks for the outcome of batches that are Accepted or Unknown. It
	// returns a Verdict for each batch of which something can be said now, in
	// any order, and leaves the others out. The error is for a failure to ask,
	// and does not void the verdicts beside it: where only some batches could
	// not be asked about, those that could and of which nothing can be said
	// have a Verdict without a State, so that they do not wait for the others.
	Track(ctx context.Context, pending []Pending) ([]Verdict, error)
	// Cadence is how long the engine should wait between two questions about
	// the same batch, and how many batches it may ask about in one call.
	Cadence() (every time.Duration, atMost int)
}

// Pending is a batch whose outcome is awaited.
type Pending struct {
	Batch    *ingest.Batch
	Progress []byte // what the attempts' Journal last held
}

// Verdict is what the destination says of a batch.
type Verdict struct {
	Batch ingest.BatchID
	// State is Succeeded, Skipped, Accepted (it has the batch; no outcome yet:
	// this resolves an Unknown), 0 (it was asked, and says nothing; of use
	// beside an error only), Unknown (nobody may ask it about this batch with the
	// credential in use: unless that changes, the engine waits for its grace and
	// sends the batch again, as one of unknown outcome), or DeadLettered when it
	// failed; Failure then says how, and its Class what the engine does:
	// Malformed splits, Permanent dead-letters, all others send the batch again
	// in time.
	State   ingest.State
	Failure *Error
}

// Gauged is the optional power to tell figures of now: how much of a capacity
// is in use, how often something was refused. The engine asks for them in its
// Stats. They come from memory, at once.
type Gauged interface {
	Figures() []Figure
}

// Figure is one of them.
type Figure struct {
	Name  string // lower case with underscores, "capacity_in_flight"; behind a router with the transport's name and a point before it
	Value int64
}
