package transporttest

import (
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// Step is what a [Fake] does with one attempt. The zero Step is a good
// destination: it reads the payload, commits, keeps the batch, and answers.
// The fields work in the order in which they stand here.
type Step struct {
	// Wait holds the attempt before anything happens, until a receive works
	// or the channel is closed, or the context ends.
	Wait <-chan struct{}
	// Delay is how long the attempt takes before anything happens.
	Delay time.Duration
	// Fail ends the attempt here, before its Commit: nothing is kept. Make it
	// with [Fail] or take any error.
	Fail error
	// Before is called after the payload is read and before Commit, with the
	// delivery; an error ends the attempt.
	Before func(d *transport.Delivery) error

	// The attempt is committed here.

	// LoseRequest: the destination never sees the batch, and the attempt ends
	// as Unknown.
	LoseRequest bool
	// Refuse: the destination takes the batch over and then refuses it: it is
	// not kept. Track tells Refuse as the failure; without a tracker it is
	// the attempt's error.
	Refuse *transport.Error

	// The batch is kept here, unless it was there before under exactly-once.

	// WaitKept holds the attempt after its effect and before its answer.
	WaitKept <-chan struct{}
	// LoseReply: the attempt ends as Unknown in spite of its effect.
	LoseReply bool
	// Verdicts, when not nil, is waited for before Track tells of the batch:
	// Track leaves it out until the channel is closed.
	Verdicts <-chan struct{}
}

// Fail is a classified error for [Step.Fail], [Step.Refuse] and [Fake.Down].
func Fail(class transport.Class) *transport.Error {
	return &transport.Error{Op: "fake send", Class: class, Code: "Fake_" + class.String(), Message: "as the test wants it"}
}

// Throttle is Fail(transport.Throttled) with a wish.
func Throttle(retryAfter time.Duration) *transport.Error {
	e := Fail(transport.Throttled)
	e.RetryAfter = retryAfter
	return e
}

// Send is one attempt as a [Fake] saw it.
type Send struct {
	Batch    ingest.Batch // a copy
	Attempt  int
	Progress []byte // as the engine gave it
	// Payload is the bytes that were read; nil where the attempt ended before.
	Payload   []byte
	Committed bool
	Started   time.Time
	// Ended is zero while the attempt is under way; Ack and Err follow it.
	Ended time.Time
	Ack   transport.Ack
	Err   error
}

// Table names a table of a [Fake].
type Table struct{ Database, Table string }

// TableOf is the table that properties name.
func TableOf(p ingest.Properties) Table { return Table{p.Database, p.Table} }
