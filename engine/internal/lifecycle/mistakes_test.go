package lifecycle

import (
	"errors"
	"slices"
	"testing"

	"kustospool/ingest"
	"kustospool/store"
)

// edit is a copy of the table in which one rule is another: the one for an
// event in a state, under a condition.
func edit(t *testing.T, from ingest.State, on Kind, condition Condition, change func(*Rule)) Table {
	t.Helper()
	table := slices.Clone(Life)
	for i, r := range table {
		if !slices.Contains(r.From, from) || !slices.Contains(r.On, on) || r.If != condition {
			continue
		}
		// The rule may be for other states and events too, which keep theirs.
		one := r
		one.From, one.On = []ingest.State{from}, []Kind{on}
		change(&one)
		return slices.Insert(table, i, one)
	}
	t.Fatalf("no rule for %s when %s, %q", on, from, condition)
	return nil
}

func to(s ingest.State) func(*Rule)  { return func(r *Rule) { r.To = s } }
func without(e Effect) func(*Rule)   { return func(r *Rule) { r.Then &^= e } }
func unwritten(w Write) func(*Rule)  { return func(r *Rule) { r.Write &^= w } }
func with(then Effect) func(r *Rule) { return func(r *Rule) { r.Then |= then } }
func instead(n Rule) func(r *Rule) {
	return func(r *Rule) { r.To, r.Write, r.Then = n.To, n.Write, n.Then }
}
func and(fs ...func(*Rule)) func(*Rule) {
	return func(r *Rule) {
		for _, f := range fs {
			f(r)
		}
	}
}

// The search finds each of these mistakes: one line of the table that is wrong.
func TestPlantedMistakesAreFound(t *testing.T) {
	mistakes := map[string]Table{
		"after a crash a committed attempt counts as not made":      edit(t, sending, Found, IfCommitted, instead(Rule{To: sealed, Write: ClearTime, Then: Queue})),
		"the commit is not noted":                                   edit(t, sending, Committing, IfNotCommitted, unwritten(SetCommitted)),
		"no answer counts as no":                                    edit(t, sending, AnsweredNothing, Always, instead(Rule{To: sealed, Write: Why | Time, Then: Queue})),
		"a repeat after silence is not counted":                     edit(t, unknown, Unheard, Always, unwritten(Doubt)),
		"a late report of an earlier attempt is believed":           edit(t, accepted, ReportedNotNow, IfSentBefore, unwritten(Doubt)),
		"a split forgets what an earlier attempt may have left":     edit(t, sending, Damaged, IfPartly, unwritten(DoubtAll)),
		"damage behind the commit is taken for damage before it":    edit(t, sending, Damaged, IfCommitted, and(to(split), func(r *Rule) { r.Then = CutOut | Queue; r.If = Always })),
		"a batch is sent again while an attempt of it is under way": edit(t, sending, ReportedNotNow, Always, and(to(sealed), with(Queue))),
		"nobody asks for the outcome":                               edit(t, sending, AnsweredAccepted, Always, without(Await)),
		"who is refused for now is forgotten":                       edit(t, sending, AnsweredNotNow, Always, without(Queue)),
		"the parts of a batch are forgotten":                        edit(t, sending, AnsweredMalformed, IfMany, without(Queue)),
		"silence is waited out for ever":                            edit(t, unknown, Unheard, Always, instead(Rule{})),
		"the tracker asks on about what is sent again":              edit(t, accepted, ReportedNotNow, Always, without(Forget)),
		"handed over counts as the end where the outcome is wanted": edit(t, sending, AnsweredAccepted, Always, instead(Rule{To: handedOver, Write: Wire, Then: Tell})),
		"accepted counts as ingested":                               edit(t, unknown, ReportedAccepted, Always, instead(Rule{To: succeeded, Then: Forget | Tell})),
		"a failure counts as ingested":                              edit(t, accepted, ReportedNotNow, Always, instead(Rule{To: skipped, Then: Forget | Tell})),
		"an outage is poison":                                       edit(t, sending, AnsweredNotNow, Always, instead(Rule{To: dead, Write: Why, Then: SetAside | Tell})),
		"good records die with their bad neighbour":                 edit(t, accepted, ReportedMalformed, IfMany, instead(Rule{To: dead, Write: Why, Then: Forget | SetAside | Tell})),
		"one record is split":                                       edit(t, sending, AnsweredMalformed, Always, instead(Rule{To: split, Write: Why, Then: Halve | Queue})),
		"who waits is not told":                                     edit(t, accepted, ReportedSucceeded, Always, without(Tell)),
		"a dead letter that was retried is retried again":           edit(t, dead, Retried, IfAgain, instead(Rule{Then: Append | TakeAway})),
		"a dead letter goes, and its records with it":               edit(t, dead, Retried, Always, without(Append)),
		"a dead letter in doubt is retried without a word":          edit(t, dead, Retried, IfInDoubt, instead(Rule{Write: DoubtAll, Then: Append | TakeAway})),
		"a retry of rows in doubt is not counted":                   edit(t, dead, Retried, Always, unwritten(DoubtAll)),
		"what was retried before a crash is left there":             edit(t, dead, Found, IfAgain, without(TakeAway)),
		"a dead letter is not written":                              edit(t, sending, AnsweredPermanent, Always, without(SetAside)),
	}
	if len(mistakes) < 10 {
		t.Fatal(len(mistakes))
	}
	for name, table := range mistakes {
		t.Run(name, func(t *testing.T) {
			found := alone(table)
			if found == nil {
				t.Fatal("not found")
			}
			t.Log(found)
		})
	}
}

// TestEveryMoveIsLegal: what the ledger would refuse must not be in the table,
// and every legal move has a rule, so that the two tables cannot drift apart.
func TestEveryMoveIsLegal(t *testing.T) {
	type move struct{ from, to ingest.State }
	ruled := map[move]bool{}
	for _, r := range Life {
		for _, from := range r.From {
			if r.To != 0 && !from.CanBecome(r.To) {
				t.Errorf("%s cannot become %s, on %v", from, r.To, r.On)
			}
			ruled[move{from, r.To}] = true
			if from.Final() && r.To != 0 {
				t.Errorf("%s is final, and becomes %s on %v", from, r.To, r.On)
			}
		}
	}
	for _, from := range ingest.States() {
		for _, to := range ingest.States() {
			if from.CanBecome(to) && !ruled[move{from, to}] {
				t.Errorf("%s may become %s, and no rule does that", from, to)
			}
		}
	}
	for _, state := range ingest.States() {
		for _, kind := range Kinds() {
			// Only a dead letter can still be dealt with.
			handled := state == ingest.DeadLettered && (kind == Retried || kind == GivenUp)
			if _, _, err := Decide(store.Entry{State: state}, Event{Kind: kind}); state.Final() && !handled && !errors.Is(err, ErrNoRule) {
				t.Errorf("%s of a batch that is %s: %v", kind, state, err)
			}
		}
	}
}
