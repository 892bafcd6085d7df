package route

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/netfault"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/queued"
	"kustospool/transport/transporttest"
)

// The contract over the real transports: the suite's own database by the one,
// the others by the other.
func TestContractOverKusto(t *testing.T) {
	for by, lost := range map[string]struct {
		host    kustosim.Host
		request kustosim.Fault
		others  string
	}{
		"direct": {kustosim.Engine, kustosim.Fault{PathContains: ".ingest async"}, "queued"},
		"queued": {kustosim.Queue, kustosim.Fault{Method: "POST"}, "direct"},
	} {
		t.Run(by, func(t *testing.T) {
			lost.request.Kind, lost.request.Times = kustosim.DropReply, 1
			overKusto(t, by, lost.others, func(sim *kustosim.Sim) { sim.Fault(lost.host, lost.request) })
		})
	}
}

// overKusto runs the suite; lose loses the reply after which rows appear.
func overKusto(t *testing.T, by, others string, lose func(*kustosim.Sim)) {
	transporttest.Run(t, transporttest.Harness{Formats: []ingest.Format{ingest.JSON, ingest.CSV}, New: func(t *testing.T) *transporttest.Target {
		sim, tg := kustoTarget(t, by, others, azcore.ClientOptions{})
		tg.LoseReply = func(testing.TB) { lose(sim) }
		return tg
	}})
}

// What happens to uploads below the transports that a router leads to.
func TestBrokenRequests(t *testing.T) {
	for by, others := range map[string]string{"direct": "queued", "queued": "direct"} {
		t.Run(by, func(t *testing.T) {
			transporttest.Run(t, transporttest.Harness{Only: []string{"BrokenRequests"}, New: func(t *testing.T) *transporttest.Target {
				set := new(netfault.Set)
				wire := &http.Transport{}
				faulty := &netfault.RoundTripper{Next: wire, Faults: set}
				t.Cleanup(func() { faulty.Close(); wire.CloseIdleConnections() })
				_, tg := kustoTarget(t, by, others, azcore.ClientOptions{Transport: &http.Client{Transport: faulty}})
				tg.Breaks = set.Breaks(netfault.Fault{Method: http.MethodPut, Times: 1})
				return tg
			}})
		})
	}
}

// kustoTarget is a router over real transports, whose requests go as o says, on
// a simulator.
func kustoTarget(t *testing.T, by, others string, o azcore.ClientOptions) (*kustosim.Sim, *transporttest.Target) {
	sim := simspool.Start(t, nil)
	commands, err := direct.NewClient(sim.Endpoint(), nil, &direct.ClientOptions{ClientOptions: o, Async: true, TrackInterval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := queued.NewClient(sim.Endpoint(), nil, &queued.ClientOptions{ClientOptions: o, TrackInterval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{Transports: map[string]transport.Transport{"direct": commands, "queued": queue}, Default: others,
		Databases: map[string]string{"Telemetry": by}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return sim, &transporttest.Target{
		Transport: r,
		Settle:    func(t testing.TB) { simspool.Settle(t, sim) },
		Prepare: func(t testing.TB, p ingest.Properties) {
			if err := sim.CreateTable(p.Database, p.Table); err != nil && !strings.Contains(err.Error(), "exist") {
				t.Fatal(err)
			}
		},
		Rows: func(_ testing.TB, p ingest.Properties) []string {
			var out []string
			for _, row := range sim.Rows(p.Database, p.Table) {
				var csv struct{ C0, C1, C2 *string }
				if json.Unmarshal(row, &csv) == nil && csv.C0 != nil {
					out = append(out, fmt.Sprintf("%s,%s,%q", *csv.C0, *csv.C1, *csv.C2))
					continue
				}
				out = append(out, string(row))
			}
			return out
		},
		Secrets: []string{"sig=", "authorizationContext"},
		PutBlob: func(t testing.TB, extension string, data []byte) string {
			uri, err := sim.PutBlob(t.Context(), fmt.Sprintf("in/%d%s", len(sim.Blobs()), extension), data)
			if err != nil {
				t.Fatal(err)
			}
			return uri + ";impersonate"
		},
		Forbid: func(testing.TB) func() {
			var permits []func()
			for _, look := range []string{".show commands", ".show operations", "extents", "/ingestion/queued/"} {
				for _, host := range []kustosim.Host{kustosim.Engine, kustosim.DM} {
					permits = append(permits, sim.Fault(host, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: look}))
				}
			}
			return func() {
				for _, permit := range permits {
					permit()
				}
			}
		},
		Refuse: map[transport.Class]func(testing.TB){
			transport.Held: func(testing.TB) {
				sim.IngestFault("Telemetry", "Events", kustosim.IngestFault{Kind: kustosim.FailPermanent, Code: "BadRequest_TableNotExist", Times: 1})
			},
		},
	}
}

// A repeat by the other transport is skipped by the tag that both put on: what
// makes a move safe for exactly-once tables even where a progress is lost.
func TestBothWaysHaveOneTag(t *testing.T) {
	sim := simspool.Start(t, &kustosim.Options{AutoCreate: true})
	commands, err := direct.NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer commands.Close()
	queue, err := queued.NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer queue.Close()
	for _, tr := range []transport.Transport{commands, queue, commands} {
		if _, err := tr.Send(t.Context(), &transport.Delivery{Batch: batch(ingest.ExactlyOnce), Attempt: 1,
			Payload: transporttest.Bytes([]byte("{}")), Journal: &transporttest.Journal{}}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := sim.Wait(ctx, func() bool { return sim.Stats().SkippedByTag == 2 }); err != nil {
		t.Fatal(err)
	}
	if n := sim.Count("D", "T"); n != 1 || !strings.Contains(sim.Extents("D", "T")[0].Tags[0], batch(ingest.ExactlyOnce).ID.String()) {
		t.Errorf("%d rows, %v", n, sim.Extents("D", "T"))
	}
}
