package queued

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/netfault"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport/transporttest"
)

// What happens to uploads, to all of an attempt's or to the first, and to
// messages and requests, below the client.
func TestBrokenRequests(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name     string
		protocol Protocol
		where    netfault.Fault
	}{
		{"each upload", Queue, netfault.Fault{Method: http.MethodPut}},
		{"first upload", Queue, netfault.Fault{Method: http.MethodPut, Times: 1}},
		{"message", Queue, netfault.Fault{Method: http.MethodPost, PathContains: "/messages", Times: 1}},
		{"request", REST, netfault.Fault{Method: http.MethodPost, PathContains: "/ingestion/queued/", Times: 1}},
	} {
		t.Run(way.name, func(t *testing.T) {
			breaks := func(set *netfault.Set) map[string]func() func() int {
				all := set.Breaks(way.where)
				if way.where.Times == 0 { // an attempt pauses for 2 s between its repeats, so only one of each kind
					maps.DeleteFunc(all, func(name string, _ func() func() int) bool { return !strings.HasSuffix(name, "in the middle") })
				}
				return all
			}
			transporttest.Run(t, transporttest.Harness{Only: []string{"BrokenRequests"}, New: func(t *testing.T) *transporttest.Target {
				set := new(netfault.Set)
				wire := &http.Transport{}
				faulty := &netfault.RoundTripper{Next: wire, Faults: set}
				sim := startSim(t, &kustosim.Options{AutoCreate: true})
				client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: faulty}},
					TrackInterval: 10 * time.Millisecond, Protocol: way.protocol})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { client.Close(); faulty.Close(); wire.CloseIdleConnections() })
				return &transporttest.Target{
					Transport: client,
					Breaks:    breaks(set),
					Settle:    func(t testing.TB) { settleSim(t, sim) },
					Rows: func(t testing.TB, p ingest.Properties) []string {
						var out []string
						for _, row := range sim.Rows(p.Database, p.Table) {
							out = append(out, simspool.Text(row))
						}
						return out
					},
				}
			}})
		})
	}
}
