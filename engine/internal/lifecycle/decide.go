package lifecycle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/store"
)

// ErrNoRule is the error of an event that does not fit the batch's state.
var ErrNoRule = errors.New("lifecycle: the event does not fit the state of the batch")

// Condition is what a rule asks of the row and the event.
type Condition uint8

// The conditions.
const (
	Always         Condition = iota
	IfCommitted              // the attempt passed its commit point
	IfNotCommitted           // it did not
	IfRefused                // the lane is one of bytes that are no records
	IfMany                   // the batch has more than one record
	IfPartly                 // a part of it can be read
	IfNeverAsked             // nobody will ask for the outcome, or can
	IfSentBefore             // this is not the first attempt
	IfAgain                  // its records are in the log again
	IfInDoubt                // they may be at the destination, and who retries them does not know
)

var conditionNames = [...]string{"", "committed", "not committed", "no records", "many records", "partly", "never asked", "sent before", "records in the log again",
	"in doubt"}

// String is the condition in words; nothing for Always.
func (c Condition) String() string { return conditionNames[c] }

func (c Condition) holds(e *store.Entry, ev *Event) bool {
	switch c {
	case IfCommitted:
		return e.Committed
	case IfNotCommitted:
		return !e.Committed
	case IfRefused:
		return e.Batch.Properties.Refused
	case IfMany:
		return e.Batch.Records() > 1
	case IfPartly:
		return len(ev.Cuts) > 0
	case IfNeverAsked:
		return !ev.Tracked || e.Batch.Confirm == ingest.ConfirmAccepted
	case IfSentBefore:
		return e.Attempts > 1
	case IfAgain:
		return ev.Again
	case IfInDoubt:
		return e.Unresolved > 0 && !ev.AcceptDoubles
	}
	return true
}

// Write is the set of what a rule writes into the row beside the state.
type Write uint16

// What can be written.
const (
	CountAttempt   Write = 1 << iota
	ClearCommitted       // no commit in this attempt yet
	SetCommitted
	Progress  // the event's
	Wire      // the event's sizes, if it has any
	Why       // the event's failure, as the successor of the one before
	Time      // the event's
	ClearTime // at once
	// Doubt: an attempt ends, and its rows may still come. A table that is
	// at-least-once may then have them twice.
	Doubt
	// DoubtAll: the batch goes on under other tags. What an earlier attempt may
	// have brought in is not found by them.
	DoubtAll
)

// Effect is the set of what the engine does once the row is durable.
type Effect uint16

// What can be done.
const (
	Queue    Effect = 1 << iota // let the batch, or its parts, wait for their turn
	Send                        // give it to the transport
	Await                       // ask for its outcome
	Forget                      // do not ask any more
	Halve                       // in the middle
	CutOut                      // along Event.Cuts, so that damage costs only itself
	SetAside                    // write the dead letter; before the row is changed
	Tell                        // those who wait for the outcome
	Refuse                      // find out why its bytes are no records
	Repeat                      // deliver the event again
	Later                       // save the row with what the next event makes of it: nothing can have happened yet
	Append                      // its records to the log once more, and with them that they are there
	TakeAway                    // the files of the dead letter
	Save                        // the row has changed: make it durable first; no rule names it
)

// Has reports whether all of the effects are in the set.
func (e Effect) Has(all Effect) bool { return e&all == all }

// Decide is what [Life] says of an event.
func Decide(e store.Entry, ev Event) (store.Entry, Effect, error) { return Life.Decide(e, ev) }

// Decide finds the rule for an event and gives the row as it will be, and what
// is to be done when it is durable. When no rule fits it is [ErrNoRule], and
// the row is as it was.
func (t Table) Decide(e store.Entry, ev Event) (store.Entry, Effect, error) {
	for i := range t {
		if r := &t[i]; r.fits(&e, &ev) {
			do := r.Then
			if r.To != 0 || r.Write != 0 {
				do |= Save
			}
			return r.apply(e, &ev), do, nil
		}
	}
	return e, 0, fmt.Errorf("%w: %s of batch %s, which is %s", ErrNoRule, ev.Kind, e.Batch.ID, e.State)
}

func (r *Rule) fits(e *store.Entry, ev *Event) bool {
	return slices.Contains(r.From, e.State) && slices.Contains(r.On, ev.Kind) && r.If.holds(e, ev)
}

func (r *Rule) apply(e store.Entry, ev *Event) store.Entry {
	has := func(w Write) bool { return r.Write&w != 0 }
	if r.To != 0 {
		e.State = r.To
	}
	if has(CountAttempt) {
		e.Attempts++
	}
	if has(ClearCommitted) {
		e.Committed = false
	}
	if has(SetCommitted) {
		e.Committed = true
	}
	if has(Progress) {
		e.Progress = append([]byte(nil), ev.Progress...)
	}
	if has(Wire) && ev.Wire > 0 {
		e.WireBytes = ev.Wire
	}
	if has(Wire) && ev.Blob > 0 {
		e.BlobBytes = ev.Blob
	}
	if has(Why) && ev.Failure != nil {
		why := *ev.Failure
		e.Failure = why.Following(e.Failure)
	}
	if has(Time) {
		e.NextAttempt = ev.At
	}
	if has(ClearTime) {
		e.NextAttempt = time.Time{}
	}
	if has(Doubt) {
		e.Unresolved++
		if e.Batch.Guarantee == ingest.AtLeastOnce {
			e.PossibleDuplicates += e.Batch.Records()
		}
	}
	if has(DoubtAll) && e.Unresolved > 0 {
		e.PossibleDuplicates = max(e.PossibleDuplicates, e.Batch.Records())
	}
	return e
}

var (
	writeNames = []string{"one attempt more", "no commit yet", "committed", "progress", "bytes on the wire", "why", "a time", "no time",
		"one attempt in doubt more", "its rows in doubt"}
	effectNames = []string{"queue it", "send it", "ask for its outcome", "ask no more", "halve it", "cut the damage out", "set it aside",
		"tell who waits", "find why it is refused", "decide again", "save it with the next event",
		"append its records again", "take its files away", "save"}
)

// String names all that is written.
func (w Write) String() string { return join(uint16(w), writeNames) }

// String names all that is done.
func (e Effect) String() string { return join(uint16(e), effectNames) }

func join(set uint16, names []string) string {
	var some []string
	for i, name := range names {
		if set&(1<<i) != 0 {
			some = append(some, name)
		}
	}
	return strings.Join(some, ", ")
}
