package lifecycle

import (
	"fmt"
	"math/bits"

	"kustospool/ingest"
	"kustospool/store"
)

// The small world in which the table is searched. A batch is a few bytes: what
// of its row the table reads, where the engine has it, and what the destination
// has of it. The moves are all that can happen to one batch next. What the
// engine decides is asked of the table; the rest of this file says what the
// engine, the destination and crashes do.

// terms are what is the same for all batches of a world.
type terms struct {
	guarantee ingest.Guarantee
	confirm   ingest.Confirm
	tracked   bool // the destination can be asked
	rots      bool // the disk loses the second record of a batch, at some moment
	drops     bool // the spool runs full
}

func (t terms) String() string {
	s := fmt.Sprintf("%s, confirm %s", t.guarantee, t.confirm)
	if !t.tracked {
		s += ", nobody can be asked"
	}
	if t.rots {
		s += ", the disk rots"
	}
	if t.drops {
		s += ", runs full"
	}
	return s
}

// content is what the destination makes of a batch's bytes. It is the same at
// each attempt.
type content uint8

const (
	good      content = iota
	poison            // cannot be read
	forbidden         // will never be taken
)

// phase is how far an attempt is.
type phase uint8

const (
	begun     phase = iota // its intent is durable
	committed              // that of its effect is
	taken                  // the destination has it
	ingested               // and has ingested it
	failed                 // or failed for now
	unread                 // or cannot read it, or will not take it
)

// Bits of report: what the status of the batch may say, now and later, as often
// as it likes.
const (
	saysDone = 1 << iota
	saysNotNow
	saysBad
)

// batch is one batch of the world.
type batch struct {
	// The row.
	state      ingest.State
	attempts   uint8
	unresolved uint8
	doubled    uint8 // possible duplicates, in records
	mark       bool  // committed

	// Where the engine has it. down: nowhere, and it knows that: it has just
	// started, or could not write the ledger.
	queued, awaited, sending, down bool
	// due: the attempt has begun and the row does not say so yet.
	due   bool
	phase phase

	// What the destination has: by attempt, requests that are still on the wire,
	// and those that it has taken and not yet finished. And its rows.
	wire, todo uint8
	copies     uint8 // of each record
	report     uint8

	records uint8
	content content
	rotten  bool // a part of it cannot be read any more; of a single record, it
	// Of a dead letter: where it is, and how often its records were appended to
	// the log again. Each time makes another batch, which is ingested in the end.
	letter letter
	again  uint8

	// adverse is how many attempts the destination, the network and crashes may
	// spoil. The one after them finds all well.
	adverse uint8
}

// letter is where a dead letter is.
type letter uint8

const (
	noLetter letter = iota // the batch is none
	waiting                // its files wait for somebody
	appended               // they are there, and its records are in the log again
	gone                   // there are none any more
)

// mistake is what the search looks for.
type mistake struct{ what string }

func (m *mistake) Error() string { return m.what }

// move is one thing that can happen to a batch.
type move struct {
	name string
	to   batch
	// parts are what the batch was split into; their records are its own.
	parts []batch
	well  bool // it happens also where all is well, and nothing is lost
}

// live reports whether the batch is in no final state.
func (b *batch) live() bool { return !b.state.Final() }

// spoiled reports whether the current attempt, or the wait after it, may go wrong.
func (b *batch) spoiled() bool { return b.number() <= b.adverse }

// number is that of the attempt, and attempt its bit.
func (b *batch) number() uint8 {
	if b.due {
		return b.attempts + 1
	}
	return b.attempts
}

func (b *batch) attempt() uint8 { return 1 << b.number() }

// row is the batch as the table sees it.
func (b *batch) row(t terms) store.Entry {
	return store.Entry{
		Batch: ingest.Batch{First: 1, Last: uint64(b.records), Guarantee: t.guarantee, Confirm: t.confirm},
		State: b.state, Attempts: int(b.attempts), Unresolved: int(b.unresolved), PossibleDuplicates: int64(b.doubled), Committed: b.mark,
	}
}

// world makes the moves of one table under some terms.
type world struct {
	terms
	table Table
	used  map[*Rule]bool // by the table's rules
	found *mistake       // the first one
}

func (w *world) wrong(b *batch, format string, args ...any) {
	if w.found == nil {
		w.found = &mistake{fmt.Sprintf(format, args...) + fmt.Sprintf(" (%s; %s)", w.terms, b)}
	}
}

func (b *batch) String() string {
	return fmt.Sprintf("%s after %d attempts, %d unresolved, %d possible duplicates, %d copies, %d on the wire, %d to do", b.state, b.attempts,
		b.unresolved, b.doubled, b.copies, bits.OnesCount8(b.wire), bits.OnesCount8(b.todo))
}

// happens delivers an event as the engine does: the row first, then the
// effects. A process that dies between the two has the new row and has the
// batch nowhere, which is where a crash leads from the answer as well. Where the
// engine makes two writes of an attempt's beginning and its answer, what is
// between them is where a note leads.
func (w *world) happens(b batch, kind Kind, cut bool) (to batch, parts []batch) {
	ev := Event{Kind: kind, Tracked: w.tracked}
	if cut {
		ev.Cuts = []uint64{2}
	}
	row := b.row(w.terms)
	attempts := kind >= Noted && kind <= Damaged // it is about the attempt, and not a report
	if b.due && attempts {
		row = w.decide(&b, row, Event{Kind: Due}).row
	}
	d := w.decide(&b, row, ev)
	e, do := d.row, d.do
	if w.found != nil {
		return b, nil
	}
	from := b.state
	to = b
	if !do.Has(Later) {
		to.state, to.attempts, to.unresolved, to.doubled, to.mark = e.State, uint8(e.Attempts), uint8(e.Unresolved), uint8(e.PossibleDuplicates), e.Committed
	}
	to.due = do.Has(Later) || b.due && !attempts
	if kind >= AnsweredAccepted && kind <= Damaged {
		to.sending, to.phase = false, begun // the attempt is over
	}
	switch kind {
	case Due:
		to.queued = false
	case Found:
		to.down = false
	}
	if do.Has(Send) {
		w.begins(&b, &to)
	}
	if do.Has(Forget) {
		to.awaited = false
	}
	if do.Has(Await) {
		to.awaited = true
	}
	switch {
	case to.state == ingest.DeadLettered:
		to.letter = waiting
	case to.state == ingest.Split:
		parts = w.split(&b, do)
	case do.Has(Queue):
		to.queued = true
	}
	w.check(&b, &to, from, do)
	return to, parts
}

type decision struct {
	row store.Entry
	do  Effect
}

// decide asks the table, and notes which rule decided where somebody wants to
// know.
func (w *world) decide(b *batch, e store.Entry, ev Event) decision {
	for i := range w.table {
		if w.used != nil && w.table[i].fits(&e, &ev) {
			w.used[&w.table[i]] = true
			break
		}
	}
	next, do, err := w.table.Decide(e, ev)
	if err != nil {
		w.wrong(b, "no rule for: %s", ev.Kind)
	}
	return decision{next, do}
}

// begins starts an attempt.
func (w *world) begins(b, to *batch) {
	if b.sending {
		w.wrong(b, "two attempts are in flight")
	}
	if open := bits.OnesCount8(b.wire | b.todo); open > int(to.unresolved) {
		w.wrong(b, "an attempt begins, and one before it is under way and not in doubt")
	}
	to.sending, to.phase = true, begun
}

// split makes the parts of a batch: where it is rotten the part before the
// damage and that with it, and else the halves.
func (w *world) split(b *batch, do Effect) []batch {
	if !do.Has(Halve) && !do.Has(CutOut) || b.records < 2 {
		w.wrong(b, "a batch is split and nobody says where")
		return nil
	}
	n := b.records / 2
	first := batch{state: ingest.Sealed, records: n, queued: do.Has(Queue), adverse: 1}
	second := first
	second.content, second.rotten = b.content, b.rotten
	return []batch{first, second}
}

// check looks at a batch after each change of it.
func (w *world) check(b, to *batch, from ingest.State, do Effect) {
	if to.live() {
		return
	}
	switch {
	case to.queued || to.awaited || to.sending:
		w.wrong(to, "a batch is final, and somebody is still at work on it")
	case to.state != ingest.Split && !do.Has(Tell):
		w.wrong(to, "a batch is final, and who waits for it is not told")
	case to.state.Ingested() && to.copies == 0:
		w.wrong(to, "a batch counts as ingested, and no row of it is there")
	case to.state == ingest.HandedOver && w.tracked && w.confirm == ingest.ConfirmIngested:
		w.wrong(to, "a batch is given away, and its outcome was to be learned")
	case to.state == ingest.DeadLettered && !do.Has(SetAside):
		w.wrong(to, "a dead letter is not written")
	case to.state == ingest.DeadLettered && to.content == good && !to.rotten:
		w.wrong(to, "a good batch is a dead letter")
	case (to.state == ingest.DeadLettered || to.state == ingest.Split) && to.content == good && to.records > 1 && !to.rotten:
		w.wrong(to, "a good batch is torn up")
	case to.state == ingest.DeadLettered && to.records > 1 && to.content != forbidden:
		w.wrong(to, "a good record is in a dead letter with its bad neighbour")
	}
}

// moves lists everything that can happen to the batch alone.
func (w *world) moves(b batch) (out []move) {
	add := func(well bool, name string, to batch, parts ...batch) {
		out = append(out, move{name, to, parts, well})
	}
	engine := func(well bool, kind Kind) {
		to, parts := w.happens(b, kind, false)
		add(well, kind.String(), to, parts...)
	}
	w.destination(b, add)
	if b.letter == waiting || b.letter == appended {
		w.handles(b, add)
	}
	if !b.live() {
		return out
	}
	if w.rots && !b.rotten && b.records > 1 {
		to := b
		to.rotten = true
		add(false, "the disk rots", to)
	}
	if b.down {
		engine(true, Found)
	}
	if b.queued {
		if b.attempts <= b.adverse {
			engine(true, Due)
		}
		if w.drops && b.state == ingest.Sealed {
			to, _ := w.happens(withoutQueue(b), NoRoom, false)
			add(false, NoRoom.String(), to)
		}
	}
	if b.sending {
		w.sends(b, add, engine)
	}
	w.tracks(b, engine)
	return out
}

// handles is what somebody does about a dead letter, and what is made up for when
// the process that did it has ended between two steps.
func (w *world) handles(b batch, add func(bool, string, batch, ...batch)) {
	events := []Event{{Kind: Retried}, {Kind: Retried, AcceptDoubles: true}, {Kind: GivenUp}}
	if b.letter == appended { // at the next start at the latest
		events = append(events, Event{Kind: Found})
	}
	for _, ev := range events {
		ev.Again = b.letter == appended
		d := w.decide(&b, b.row(w.terms), ev)
		if w.found != nil {
			return
		}
		to := b
		if d.row.State != ingest.DeadLettered {
			w.wrong(&b, "a final state is left")
			return
		}
		if d.do.Has(Save) && to.doubled != uint8(d.row.PossibleDuplicates) {
			to.doubled = uint8(d.row.PossibleDuplicates)
			add(false, "the rows in doubt are counted", to)
		}
		if d.do.Has(Append) {
			if b.unresolved > 0 && !ev.AcceptDoubles {
				w.wrong(&b, "what may be in the table is sent again, and nobody has agreed to that")
			}
			if to.again++; to.again > 2 {
				continue // found wrong long before
			}
			to.letter = appended
			add(false, "the records are in the log again", to)
		}
		if d.do.Has(TakeAway) {
			to.letter = gone
			if to.again == 0 && ev.Kind != GivenUp {
				w.wrong(&b, "a dead letter is gone, and its records are nowhere")
			}
		}
		add(ev.Kind == Found, ev.Kind.String(), to)
	}
}

func withoutQueue(b batch) batch {
	b.queued = false
	return b
}

// destination is what goes on there, and on the wire to it, whatever the engine
// does meanwhile.
func (w *world) destination(b batch, add func(bool, string, batch, ...batch)) {
	for a := uint8(1); a <= b.number(); a++ {
		bit := uint8(1) << a
		mine := b.sending && a == b.number()
		if b.wire&bit != 0 {
			to := b
			to.wire &^= bit
			add(true, "a request is lost", to)
			to.todo |= bit
			add(true, "a request arrives late", to)
		}
		if b.todo&bit == 0 {
			continue
		}
		done := func(well bool, name string, report uint8, p phase, copies uint8) {
			to := b
			to.todo &^= bit
			to.report |= report
			to.copies += copies
			if mine && to.phase == taken {
				to.phase = p
			}
			add(well, name, to)
		}
		switch {
		case b.content != good:
			done(true, "the destination cannot take it", saysBad, unread, 0)
		case w.guarantee == ingest.ExactlyOnce && b.copies > 0:
			done(true, "the destination has it already", saysDone, ingested, 0)
		default:
			done(true, "the destination ingests it", saysDone, ingested, 1)
		}
		if a <= b.adverse {
			done(false, "the destination fails", saysNotNow, failed, 0)
		}
	}
}

// sends is what a Send can come to, from the phase that it is in.
func (w *world) sends(b batch, add func(bool, string, batch, ...batch), engine func(bool, Kind)) {
	answer := func(b batch, well bool, kind Kind) {
		to, parts := w.happens(b, kind, false)
		add(well, kind.String(), to, parts...)
	}
	// onWire is the batch when nothing is heard of a request: it may arrive yet.
	onWire := b
	onWire.wire |= b.attempt()
	if b.spoiled() {
		// The ledger cannot be written when the attempt ends: it is found later.
		to := b
		to.sending, to.phase, to.due, to.down = false, begun, false, true
		add(false, "the ledger fails", to)
		if b.phase == committed {
			to.wire |= b.attempt()
			add(false, "the ledger fails", to)
		}
		engine(false, AnsweredNothing)
	}
	refused := func() {
		switch b.content {
		case poison:
			engine(true, AnsweredMalformed)
		case forbidden:
			engine(true, AnsweredPermanent)
		}
		if b.spoiled() {
			engine(false, AnsweredNotNow)
		}
	}
	switch b.phase {
	case begun:
		engine(true, Noted)
		to, _ := w.happens(b, Committing, false)
		to.phase = committed
		add(true, Committing.String(), to)
		refused()
		if b.spoiled() {
			engine(false, CutOff)
		}
		// It finds what an earlier attempt brought about.
		if b.copies > 0 {
			engine(false, AnsweredSkipped)
		} else if b.todo != 0 && b.spoiled() { // it may still fail
			engine(false, AnsweredAccepted)
		}
		if b.rotten {
			to, parts := w.happens(b, Damaged, b.records > 1)
			add(true, Damaged.String(), to, parts...)
		}
	case committed:
		to := b
		to.phase = taken
		to.todo |= b.attempt()
		add(true, "the destination takes it", to)
		refused()
		if b.spoiled() {
			answer(onWire, false, AnsweredNothing)
		}
		if b.rotten && b.spoiled() {
			for _, b := range []batch{b, onWire} {
				to, parts := w.happens(b, Damaged, b.records > 1)
				add(false, Damaged.String(), to, parts...)
			}
		}
	case ingested:
		engine(true, AnsweredSucceeded)
		engine(true, AnsweredSkipped)
		w.accepts(engine)
	case failed:
		engine(false, AnsweredNotNow)
		w.accepts(engine)
	case unread:
		refused()
		w.accepts(engine)
	case taken:
		w.accepts(engine)
	}
}

// accepts is the answer of a destination that takes batches and reports later,
// or never.
func (w *world) accepts(engine func(bool, Kind)) {
	engine(true, AnsweredAccepted)
	if !w.tracked {
		engine(true, AnsweredHandedOver)
	}
}

// tracks is what the tracker can hear, or not hear. An answer can come when
// nobody waits for it any more.
func (w *world) tracks(b batch, engine func(bool, Kind)) {
	if !b.awaited && !b.queued && !b.sending {
		return
	}
	heard := false
	if w.tracked {
		if b.report&saysDone != 0 {
			heard = true
			engine(b.awaited, ReportedSucceeded)
			engine(b.awaited, ReportedSkipped)
		}
		if b.report&saysNotNow != 0 && b.spoiled() {
			heard = true
			engine(b.awaited, ReportedNotNow)
		}
		if b.report&saysBad != 0 {
			heard = true
			if b.content == poison {
				engine(b.awaited, ReportedMalformed)
			} else {
				engine(b.awaited, ReportedPermanent)
			}
		}
		if b.todo != 0 {
			heard = true
			engine(b.awaited, ReportedAccepted)
		}
		engine(false, ReportedNothing)
	}
	if b.awaited && (b.spoiled() || !heard && b.wire == 0) {
		engine(!heard && b.wire == 0, Unheard)
	}
}
