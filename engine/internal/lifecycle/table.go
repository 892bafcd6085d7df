package lifecycle

import "kustospool/ingest"

// Rule is one line of the table. The first rule that fits decides.
type Rule struct {
	From  []ingest.State
	On    []Kind
	If    Condition
	To    ingest.State // 0: the state stays
	Write Write
	Then  Effect
}

// Table is a list of rules.
type Table []Rule

type (
	on = []Kind
	in = []ingest.State
)

// Short names, so that a rule fits a line.
const (
	open, sealed, sending, unknown, accepted = ingest.Open, ingest.Sealed, ingest.Sending, ingest.Unknown, ingest.Accepted

	succeeded, skipped, handedOver, split, dead, dropped = ingest.Succeeded, ingest.Skipped, ingest.HandedOver, ingest.Split, ingest.DeadLettered, ingest.Dropped
)

// Life is the life of a batch: every state, every event, and what follows.
var Life = Table{
	// The batch is fixed and waits for its turn.
	{in{open}, on{Filled}, Always, sealed, 0, Queue},
	{in{sealed}, on{Due}, IfRefused, 0, 0, Refuse}, // its records are none: they are never sent
	{in{sealed}, on{Due}, Always, sending, CountAttempt | ClearCommitted | ClearTime, Send | Later},
	{in{sealed}, on{BadRecord}, Always, dead, Why, SetAside | Tell},
	{in{sealed}, on{NoRoom}, Always, dropped, Why, Tell},

	// An attempt is under way. What it is about to do is durable before it does it.
	{in{sending}, on{Noted}, Always, 0, Progress, 0},
	{in{sending}, on{Committing}, IfNotCommitted, 0, Progress | SetCommitted, 0},
	{in{sending}, on{AnsweredAccepted}, IfNeverAsked, handedOver, Wire, Tell},
	{in{sending}, on{AnsweredAccepted}, Always, accepted, Wire, Await},
	{in{sending}, on{AnsweredHandedOver}, Always, handedOver, Wire, Tell},
	{in{sending}, on{AnsweredSucceeded}, Always, succeeded, Wire, Tell},
	{in{sending}, on{AnsweredSkipped}, Always, skipped, Wire, Tell},
	{in{sending}, on{AnsweredNothing}, Always, unknown, Why | Time, Await},
	{in{sending}, on{AnsweredNotNow}, Always, sealed, Why | Time, Queue},
	{in{sending}, on{AnsweredMalformed}, IfMany, split, Why | DoubtAll, Halve | Queue},
	{in{sending}, on{AnsweredMalformed, AnsweredPermanent}, Always, dead, Why, SetAside | Tell},
	{in{sending}, on{CutOff}, Always, sealed, 0, Queue}, // stopping is not failing
	{in{sending}, on{Damaged}, IfCommitted, unknown, Why | Time, Await},
	{in{sending}, on{Damaged}, IfPartly, split, Why | DoubtAll, CutOut | Queue},
	{in{sending}, on{Damaged}, Always, dead, Why, SetAside | Tell},

	// The destination has the batch, or may have it.
	{in{unknown, accepted}, on{ReportedSucceeded}, Always, succeeded, 0, Forget | Tell},
	{in{unknown, accepted}, on{ReportedSkipped}, Always, skipped, 0, Forget | Tell},
	{in{unknown}, on{ReportedAccepted}, IfNeverAsked, handedOver, 0, Forget | Tell},
	{in{unknown}, on{ReportedAccepted}, Always, accepted, 0, Await},
	{in{unknown}, on{ReportedMalformed, ReportedPermanent, ReportedNotNow}, Always, accepted, 0, Await | Repeat}, // it had it
	{in{accepted}, on{ReportedMalformed}, IfMany, split, Why | DoubtAll, Forget | Halve | Queue},
	{in{accepted}, on{ReportedMalformed, ReportedPermanent}, Always, dead, Why, Forget | SetAside | Tell},
	{in{accepted}, on{ReportedNotNow}, IfSentBefore, sealed, Why | Time | Doubt, Forget | Queue}, // it may be about an earlier attempt
	{in{accepted}, on{ReportedNotNow}, Always, sealed, Why | Time, Forget | Queue},
	{in{accepted}, on{ReportedAccepted}, Always, 0, 0, 0},
	{in{unknown, accepted}, on{ReportedNothing}, Always, 0, 0, 0},
	{in{unknown, accepted}, on{Unheard}, Always, sealed, ClearTime | Doubt, Forget | Queue},

	// A report that comes when nobody waits for it changes nothing.
	{in{sealed, sending}, on{ReportedAccepted, ReportedSucceeded, ReportedSkipped, ReportedMalformed, ReportedPermanent, ReportedNotNow, ReportedNothing}, Always, 0, 0, 0},

	// Nobody is at work on the batch, and somebody must be.
	{in{sealed}, on{Found}, Always, 0, 0, Queue},
	{in{sending}, on{Found}, IfCommitted, unknown, Time, Await},
	{in{sending}, on{Found}, Always, sealed, ClearTime, Queue}, // nothing can have been ingested
	{in{unknown, accepted}, on{Found}, Always, 0, 0, Await},

	// A dead letter is dealt with. It stays what it is; its records become part of another batch, or nobody wants them.
	{in{dead}, on{Retried, GivenUp, Found}, IfAgain, 0, 0, TakeAway},
	{in{dead}, on{Retried}, IfInDoubt, 0, 0, 0},
	{in{dead}, on{Retried}, Always, 0, DoubtAll, Append | TakeAway},
	{in{dead}, on{GivenUp}, Always, 0, 0, TakeAway},
}
