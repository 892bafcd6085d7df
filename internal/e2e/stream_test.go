package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/netfault"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/managed"
	"kustospool/transport/queued"
	"kustospool/transport/route"
)

// A stream of unknown outcome is repeated after the usual pause, by the queue,
// however long the grace of what can be asked about is, and its rows are counted
// as possibly doubled; where streams are all there is it is streamed again. The
// control is in the table: where the stream was taken all the same the rows are
// there twice, which the count covers.
func TestStreamThatFailed(t *testing.T) {
	ways := map[string]func(endpoint string, web azcore.ClientOptions) (transport.Transport, error){
		"managed": func(endpoint string, web azcore.ClientOptions) (transport.Transport, error) {
			return managed.NewClient(endpoint, nil, &managed.ClientOptions{Stream: &direct.ClientOptions{ClientOptions: web},
				Queued: &queued.ClientOptions{ClientOptions: web, TrackInterval: 10 * time.Millisecond}})
		},
		// Beside a way that can be asked for outcomes.
		"streams alone": func(endpoint string, web azcore.ClientOptions) (transport.Transport, error) {
			stream, err1 := direct.NewStreamingClient(endpoint, nil, &direct.ClientOptions{ClientOptions: web})
			queue, err2 := queued.NewClient(endpoint, nil, &queued.ClientOptions{ClientOptions: web})
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
			return route.New(route.Options{Transports: map[string]transport.Transport{"stream": stream, "queue": queue}, Default: "stream"})
		},
	}
	respond := func(status int) func(*kustosim.Sim, *netfault.Set) {
		return func(sim *kustosim.Sim, _ *netfault.Set) {
			sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: status, PathContains: "/rest/ingest/", Times: 1})
		}
	}
	simFault := func(f kustosim.Fault) func(*kustosim.Sim, *netfault.Set) {
		f.PathContains, f.Times = "/rest/ingest/", 1
		return func(sim *kustosim.Sim, _ *netfault.Set) { sim.Fault(kustosim.Engine, f) }
	}
	netFault := func(f netfault.Fault) func(*kustosim.Sim, *netfault.Set) {
		f.PathContains, f.Times = "/rest/ingest/", 1
		return func(_ *kustosim.Sim, set *netfault.Set) { set.Add(f) }
	}
	for _, c := range []struct {
		name     string
		begin    func(*kustosim.Sim, *netfault.Set)
		possible int64
		rows     int
	}{
		{"no fault", func(*kustosim.Sim, *netfault.Set) {}, 0, 2},
		{"429", respond(429), 0, 2},
		{"500", respond(500), 2, 2},
		{"502", respond(502), 2, 2},
		{"503", respond(503), 2, 2},
		{"504", respond(504), 2, 2},
		{"520", respond(520), 2, 2},
		{"307", respond(307), 2, 2},
		{"502 before the body", simFault(kustosim.Fault{Kind: kustosim.RespondEarly, Status: 502}), 2, 2},
		{"502 in the body", simFault(kustosim.Fault{Kind: kustosim.RespondEarly, Status: 502, At: 10}), 2, 2},
		{"the request lost", simFault(kustosim.Fault{Kind: kustosim.DropRequest}), 2, 2},
		{"reset in the body", netFault(netfault.Fault{Kind: netfault.Reset, At: netfault.Middle}), 2, 2},
		// The controls.
		{"502 after the effect", simFault(kustosim.Fault{Kind: kustosim.RespondLate, Status: 502}), 2, 4},
		{"the reply lost", simFault(kustosim.Fault{Kind: kustosim.DropReply}), 2, 4},
	} {
		for name, way := range ways {
			t.Run(c.name+", "+name, func(t *testing.T) {
				sim := startSim(t, nil)
				if err := sim.SetStreaming(database, tableName, true); err != nil {
					t.Fatal(err)
				}
				set, wire := new(netfault.Set), &http.Transport{}
				faulty := &netfault.RoundTripper{Next: wire, Faults: set}
				t.Cleanup(func() { faulty.Close(); wire.CloseIdleConnections() })
				client, err := way(sim.Endpoint(), azcore.ClientOptions{Transport: &http.Client{Transport: faulty}})
				if err != nil {
					t.Fatal(err)
				}
				o := quick()
				o.Guarantee, o.UnknownGrace = ingest.AtLeastOnce, time.Hour
				o.Batch.MaxAge = time.Hour
				s := simspool.Open(t, t.TempDir(), client, o)
				c.begin(sim, set)
				for n := range 2 {
					if _, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: fmt.Appendf(nil, `{"n":%d}`, n)}); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if err := s.Drain(ctx); err != nil {
					t.Fatal(err)
				}
				if n := sim.Count(database, tableName); n != c.rows {
					t.Errorf("%d rows, want %d", n, c.rows)
				}
				if got := s.Stats().Duplicates.Possible; got != c.possible {
					t.Errorf("%d possible duplicates, want %d", got, c.possible)
				}
			})
		}
	}
}
