package transporttest

import (
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
)

// Whoever may only send must not lose a batch, double one that has a tag, or keep
// one for ever because nobody may look for its outcome. The right is taken away
// after the first attempt.
func testForbiddenLooks(t *testing.T, r *run) {
	if r.Forbid == nil {
		t.Skip("the harness has no Forbid")
	}
	guarantees := []ingest.Guarantee{r.guarantee}
	if r.guarantee == ingest.ExactlyOnce {
		guarantees = append(guarantees, ingest.AtLeastOnce)
	}
	for _, g := range guarantees {
		for name, c := range map[string]func(*testing.T, *run){"Accepted": unseenAccepted, "Refused": unseenRefused, "LostReply": unseenLostReply} {
			t.Run(g.String()+" "+name, func(t *testing.T) {
				r := newRun(t, r.h) // what it has learned of its rights is another's
				r.guarantee = g
				c(t, r)
			})
		}
	}
}

func unseenAccepted(t *testing.T, r *run) {
	p := r.parcel(t, r.json(), 5)
	r.unseen(t, p, r.deliver(t, p, delivery{}))
}

func unseenRefused(t *testing.T, r *run) {
	refuse := r.Refuse[transport.Throttled]
	if refuse == nil {
		t.Skip("the harness has no Refuse of the class Throttled")
	}
	p := r.parcel(t, r.json(), 5)
	refuse(t)
	a := r.send(t, p, delivery{})
	if a.err == nil {
		t.Fatal("Send succeeds though it is refused")
	}
	r.unseen(t, p, a)
	r.wantCopies(t, p, 1)
}

func unseenLostReply(t *testing.T, r *run) {
	if r.LoseReply == nil {
		t.Skip("the harness has no LoseReply")
	}
	p := r.parcel(t, r.json(), 5)
	r.LoseReply(t)
	a := r.send(t, p, delivery{})
	if a.err == nil {
		t.Fatal("Send succeeds without a reply")
	}
	r.unseen(t, p, a)
}

// unseen takes the right to look away after an attempt. Track must not take the
// batch for failed, nor leave it without a word, for what nobody has asked about is
// never sent again. The next attempt sends it, or refuses to before its Commit and
// sends it once the right is there.
func (r *run) unseen(t testing.TB, p *parcel, a *attempt) {
	t.Helper()
	permit := r.Forbid(t)
	defer permit()
	r.settle(t)
	if tracker, ok := r.Transport.(transport.Tracker); ok {
		verdicts, err := tracker.Track(t.Context(), []transport.Pending{{Batch: p.batch, Progress: a.journal.Last()}})
		told := err == nil
		for _, v := range verdicts {
			if told = true; v.State == ingest.DeadLettered && a.class() != transport.Throttled {
				t.Errorf("Track says that the batch failed: %v", v.Failure)
			}
		}
		if !told && (a.err == nil || a.class() == transport.Unknown) {
			t.Errorf("nobody may look, and Track has no word about the batch: %v", err)
		}
	}
	again := r.send(t, p, delivery{number: 2, progress: a.journal.Last()})
	if again.err != nil {
		if c := again.class(); c != transport.Held && c != transport.Unauthorized || again.journal.Commits() > 0 {
			t.Fatalf("the next attempt comes to nothing: %v", again.err)
		}
		permit()
		progress := a.journal.Last()
		if last := again.journal.Last(); last != nil {
			progress = last
		}
		r.deliver(t, p, delivery{number: 3, progress: progress})
	}
	r.atLeastOne(t, p)
}
