package managed

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
)

// unreachable is a network on which the streams' host cannot be had, nor the
// queue's where that is wanted as well.
type unreachable struct {
	next  http.RoundTripper
	queue bool
}

func (u *unreachable) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/rest/ingest/") || u.queue {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	return u.next.RoundTrip(r)
}

// A stream that could not be begun goes by the queue in the same attempt, and
// doubles nothing. Where the queue is out of reach as well the batch may stream
// later: nothing of it is counted as possibly doubled.
func TestStreamNotBegun(t *testing.T) {
	for name, fault := range map[string]*kustosim.Fault{
		"no connection":     nil,
		"a passing refusal": {Kind: kustosim.Respond, Status: 400, Transient: true, PathContains: "/rest/ingest/"},
		"too many requests": {Kind: kustosim.Respond, Status: 429, PathContains: "/rest/ingest/"},
	} {
		t.Run(name, func(t *testing.T) {
			sim := simspool.Start(t, &kustosim.Options{AutoCreate: true})
			wire := &http.Transport{}
			t.Cleanup(wire.CloseIdleConnections)
			o := azcore.ClientOptions{Transport: &http.Client{Transport: &unreachable{next: wire}}}
			if fault != nil {
				sim.Fault(kustosim.Engine, *fault)
				o = azcore.ClientOptions{}
			}
			c := openOn(t, sim, o)
			ack, j, err := send(t, c, 1, 1, lines, nil)
			if err != nil || ack.State != ingest.Accepted {
				t.Fatalf("%v, %v", ack.State, err)
			}
			if len(j.Last()) == 0 {
				t.Error("the queue's progress is not in the journal")
			}
			simspool.Settle(t, sim)
			if n := sim.Count("db1", "tbl1"); n != 2 || c.counts != (counts{Queued: 1, FellBack: 1}) {
				t.Errorf("%d rows, %+v", n, c.counts)
			}
		})
	}

	t.Run("nothing in reach", func(t *testing.T) {
		sim := simspool.Start(t, &kustosim.Options{AutoCreate: true})
		wire := &http.Transport{}
		t.Cleanup(wire.CloseIdleConnections)
		u := &unreachable{next: wire, queue: true}
		c := openOn(t, sim, azcore.ClientOptions{Transport: &http.Client{Transport: u}})
		_, j, err := send(t, c, 1, 1, lines, nil)
		var e *transport.Error
		if !errors.As(err, &e) || e.Class != transport.Transient || len(j.Last()) > 0 {
			t.Fatalf("%v; progress %q", err, j.Last())
		}
		u.queue = false
		if _, _, err := send(t, c, 1, 2, lines, j.Last()); err != nil {
			t.Fatal(err)
		}
		simspool.Settle(t, sim)
		if n := sim.Count("db1", "tbl1"); n != 2 || c.counts.PossibleDuplicates != 0 {
			t.Errorf("%d rows, %+v", n, c.counts)
		}
	})
}
