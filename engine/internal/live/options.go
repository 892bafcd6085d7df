package live

import (
	"log/slog"
	"time"

	"kustospool/ingest"
	"kustospool/store"
)

// Options of [New]. None has a default.
type Options struct {
	Senders        int           // attempts at once at a destination, alarms not counted
	MaxUnconfirmed int           // batches of it that may await their outcome, and as many alarms
	FreshShare     int           // of the bytes, in percent, for what is fresh
	FreshFor       time.Duration // how long a batch is fresh, from its sealing
	// RetryMin and RetryMax bound the pauses after failures.
	RetryMin, RetryMax time.Duration
	Pace               Pace
	// Route names the destination of a batch. It is a router's own code, and is called
	// without the lock.
	Route func(*store.Entry) string
	// Order says which class a lane is of, and whether what is fresh goes first in it: a
	// lane with FreshFirst. It is called under the lock, once for each queue.
	Order func(*ingest.Properties) (class Class, freshFirst bool)
	// Properties are those of a lane, and Because gives the attributes of an error, for
	// the lines of the log. Both are called without the lock.
	Properties func(lane uint32) ingest.Properties
	Because    func(error) []any
	Log        *slog.Logger
}

// Class says which lanes go before which; the first one first. A class that was passed
// over for ten minutes gets every tenth batch. Alarms have senders of their own.
type Class uint8

// The classes.
const (
	Alarm Class = iota + 1
	Normal
	Bulk
)

// Classes is how many there are.
const Classes = int(Bulk)

// Table is the table that a lane goes to.
type Table struct{ Database, Table string }
