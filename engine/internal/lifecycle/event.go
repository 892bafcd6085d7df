package lifecycle

import (
	"fmt"
	"time"

	"kustospool/ingest"
)

// Kind says what happened to a batch.
type Kind uint8

// The kinds of events.
const (
	// Filled: the open range of a lane is large or old enough.
	Filled Kind = iota + 1
	// Due: it is the batch's turn to be sent.
	Due
	// Noted: the transport tells its progress (Journal.Note).
	Noted
	// Committing: the transport is about to do what may make rows appear
	// (Journal.Commit).
	Committing

	// The answers of Send. AnsweredNotNow is every class of error that waits,
	// AnsweredNothing that of an attempt whose outcome is unknown.
	AnsweredAccepted
	AnsweredHandedOver
	AnsweredSucceeded
	AnsweredSkipped
	AnsweredMalformed
	AnsweredPermanent
	AnsweredNotNow
	AnsweredNothing

	// CutOff: the spool closes, and the attempt ended before its effect.
	CutOff
	// Damaged: bytes of the batch cannot be read from the disk any more.
	Damaged

	// What the tracker learned. A report can be late, and about an attempt
	// before the last one.
	ReportedAccepted
	ReportedSucceeded
	ReportedSkipped
	ReportedMalformed
	ReportedPermanent
	ReportedNotNow
	ReportedNothing
	// Unheard: the time to wait for a report is over.
	Unheard

	// Found: nobody is at work on the batch, because the process has just
	// started or because the ledger could not be written for a while.
	Found
	// NoRoom: the spool is full, and its policy is to drop the oldest batch.
	NoRoom
	// BadRecord: the batch holds what is no record, to be kept aside.
	BadRecord

	// Retried: somebody wants the records of a dead letter to be sent after all.
	Retried
	// GivenUp: somebody does not want them any more.
	GivenUp
)

var kindNames = [...]string{
	Filled: "filled", Due: "due", Noted: "progress noted", Committing: "commit",
	AnsweredAccepted: "answer: accepted", AnsweredHandedOver: "answer: handed over", AnsweredSucceeded: "answer: succeeded",
	AnsweredSkipped: "answer: skipped", AnsweredMalformed: "answer: malformed", AnsweredPermanent: "answer: permanent error",
	AnsweredNotNow: "answer: not now", AnsweredNothing: "no answer", CutOff: "cut off", Damaged: "damaged",
	ReportedAccepted: "report: accepted", ReportedSucceeded: "report: succeeded", ReportedSkipped: "report: skipped",
	ReportedMalformed: "report: malformed", ReportedPermanent: "report: permanent error", ReportedNotNow: "report: failed for now",
	ReportedNothing: "report: nothing new", Unheard: "nothing heard", Found: "found at start", NoRoom: "no room", BadRecord: "bad record",
	Retried: "retried", GivenUp: "given up",
}

// Kinds lists every kind.
func Kinds() []Kind {
	out := make([]Kind, 0, len(kindNames)-1)
	for k := Filled; k <= GivenUp; k++ {
		out = append(out, k)
	}
	return out
}

// String is the kind in words.
func (k Kind) String() string {
	if k < Filled || k > GivenUp {
		return fmt.Sprintf("event(%d)", uint8(k))
	}
	return kindNames[k]
}

// Event is something that happened to a batch, with what the row is to say of
// it. A field is used only by the rules that write it.
type Event struct {
	Kind     Kind
	Failure  *ingest.Failure // why
	At       time.Time       // when to try again, or until when to look for an attempt
	Progress []byte          // the transport's
	Wire     int64           // bytes on the wire; 0 keeps what the row says
	Blob     int64           // size of a blob by reference; 0 keeps what the row says
	// Cuts divide a damaged batch: the first records of all parts but the first.
	// None where all of it is damaged.
	Cuts []uint64
	// Tracked: the destination can be asked for outcomes.
	Tracked bool
	// Again: the records of the dead letter are in the log again. It became
	// durable with them.
	Again bool
	// AcceptDoubles: whoever retries a dead letter knows that its records may be
	// at the destination.
	AcceptDoubles bool
}
