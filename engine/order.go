package engine

import (
	"fmt"
	"time"

	"kustospool/engine/internal/live"
	"kustospool/ingest"
)

// Class says which tables go before which on the way to a destination.
//
// A batch of a higher class begins before any of a lower one. A class that has
// been passed over for ten minutes gets every tenth batch, so that nothing waits
// for ever. What is on the wire is not broken off: alarms have as many senders
// again as Options.Senders, so that they never wait for a large batch of another
// class, only for earlier alarms. Give such a table a short Batch.MaxAge, too: an
// alarm waits for it before it is sent.
type Class uint8

// The classes, the first one first.
const (
	ClassAlarm Class = iota + 1
	ClassNormal
	ClassBulk
)

var classNames = [...]string{ClassAlarm: "alarm", ClassNormal: "normal", ClassBulk: "bulk"}

// String is the class's name: alarm, normal or bulk.
func (c Class) String() string {
	if c >= ClassAlarm && c <= ClassBulk {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// MarshalText is the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ParseClass reads the name of a class. The error matches [ingest.ErrInvalid].
func ParseClass(s string) (Class, error) {
	for c := ClassAlarm; c <= ClassBulk; c++ {
		if s == c.String() {
			return c, nil
		}
	}
	return 0, &ingest.FieldError{Field: "class", Value: s, Rule: "must be alarm, normal or bulk"}
}

// Order says which of a table's batches is sent first.
//
// With OldestFirst the table sees its records by and large as they were accepted.
// With FreshFirst it sees two streams, side by side. A batch is fresh for
// Options.FreshFor from its sealing; fresh ones go newest first. What is older is the
// backlog, oldest first, and ends where the fresh ones began: after an outage the
// present arrives at once, and the outage fills up from its beginning. Where both
// wait they share the destination by Options.FreshShare, counted in bytes before
// compression. References to blobs are sent in order of acceptance whatever
// their table's order.
type Order uint8

// The orders.
const (
	OldestFirst Order = iota + 1
	FreshFirst
)

var orderNames = [...]string{OldestFirst: "oldest-first", FreshFirst: "fresh-first"}

// String is the order's name: oldest-first or fresh-first.
func (o Order) String() string {
	if o >= OldestFirst && o <= FreshFirst {
		return orderNames[o]
	}
	return fmt.Sprintf("order(%d)", uint8(o))
}

// MarshalText is the order's name.
func (o Order) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

const (
	// DefaultFreshShare is what fresh batches have of a destination where older
	// ones wait, too, in percent.
	DefaultFreshShare = 70
	// DefaultFreshFor is how long a batch is fresh, from its sealing.
	DefaultFreshFor = 10 * time.Minute
)

// orderOf is how a table's batches are sent.
func (o *Options) orderOf(p *ingest.Properties) (Class, Order) {
	t := o.table(TableName{p.Database, p.Table})
	if p.ByReference {
		return t.Class, OldestFirst
	}
	return t.Class, t.Order
}

// liveOrder is orderOf as the mirror of live batches counts. Its classes have the
// numbers of ours.
func (o *Options) liveOrder(p *ingest.Properties) (class live.Class, freshFirst bool) {
	c, order := o.orderOf(p)
	return live.Class(c), order == FreshFirst
}
