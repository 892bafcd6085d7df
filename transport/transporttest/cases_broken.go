package transporttest

import (
	"maps"
	"slices"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
)

// brokenRecords is how many records a batch of this case has: some hundred
// kilobytes, so that its body is on its way for a moment.
const brokenRecords = 4000

// Whatever happens to a request on its way, and whatever stands between answers
// instead of the destination, the batch waits and arrives: a busy account, a
// captive portal or a broken line says nothing of the data.
func testBrokenRequests(t *testing.T, r *run) {
	if len(r.Breaks) == 0 {
		t.Skip("the harness has no Breaks")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Breaks)) {
		t.Run(name, func(t *testing.T) {
			own := *r // what one leaves behind, a pause say, is not the next one's
			r := &own
			r.Target = r.h.New(t)
			p := r.parcel(t, r.json(), brokenRecords)
			end := r.Breaks[name]()
			a := r.send(t, p, delivery{})
			if end() == 0 {
				t.Fatal("no request was struck: nothing was tested")
			}
			if c := a.class(); c == transport.Malformed || c == transport.Permanent {
				t.Errorf("a broken request is taken for the batch's fault: %v", a.err)
			}
			if a.err == nil {
				r.wantCopies(t, p, 1)
				return
			}
			if a.class() != transport.Unknown {
				r.wantCopies(t, p, 0)
			}
			r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
			if r.guarantee == ingest.ExactlyOnce {
				r.wantCopies(t, p, 1)
			} else {
				r.atLeastOne(t, p)
			}
		})
	}
}
