package direct

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/netfault"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// What happens to the requests that carry the payload, below the client. Of an
// upload's the first one is struck, and it may be repeated in the attempt; that
// all of them are is tried with the queue, by the same code.
func TestBrokenRequests(t *testing.T) {
	large := func(r *http.Request) bool { return r.ContentLength < 0 || r.ContentLength > 10_000 }
	for _, way := range []struct {
		name, effects string
		where         netfault.Fault
		open          func(*kustosim.Sim, azcore.ClientOptions) (transport.Transport, error)
	}{
		{"commands", ".ingest into", netfault.Fault{Method: http.MethodPut, Times: 1}, func(sim *kustosim.Sim, o azcore.ClientOptions) (transport.Transport, error) {
			return NewClient(sim.Endpoint(), nil, &ClientOptions{ClientOptions: o, TrackInterval: 10 * time.Millisecond})
		}},
		{"inline", ".ingest inline", netfault.Fault{Match: large}, func(sim *kustosim.Sim, o azcore.ClientOptions) (transport.Transport, error) {
			return NewClient(sim.Endpoint(), nil, &ClientOptions{ClientOptions: o, Inline: true, TrackInterval: 10 * time.Millisecond})
		}},
		{"streaming", "/v1/rest/ingest/", netfault.Fault{PathContains: "/rest/ingest/"}, func(sim *kustosim.Sim, o azcore.ClientOptions) (transport.Transport, error) {
			return NewStreamingClient(sim.Endpoint(), nil, &ClientOptions{ClientOptions: o})
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Harness{Only: []string{"BrokenRequests"}, New: func(t *testing.T) *transporttest.Target {
				set := new(netfault.Set)
				wire := &http.Transport{}
				faulty := &netfault.RoundTripper{Next: wire, Faults: set}
				tg := target(t, way.effects, nil, func(sim *kustosim.Sim) (transport.Transport, error) {
					return way.open(sim, azcore.ClientOptions{Transport: &http.Client{Transport: faulty}})
				})
				t.Cleanup(func() { faulty.Close(); wire.CloseIdleConnections() })
				tg.Breaks = set.Breaks(way.where)
				return tg
			}})
		})
	}
}

// The same on sockets, through a proxy before the simulator, so that it is the
// client's own net/http that meets the fault.
func TestBrokenConnections(t *testing.T) {
	for _, way := range []struct {
		name, effects string
		where         netfault.Fault
		open          func(endpoint string) (transport.Transport, error)
	}{
		{"inline", ".ingest inline", netfault.Fault{Match: func(r *http.Request) bool { return r.ContentLength > 10_000 }}, func(endpoint string) (transport.Transport, error) {
			return NewClient(endpoint, nil, &ClientOptions{Inline: true, TrackInterval: 10 * time.Millisecond})
		}},
		{"streaming", "/v1/rest/ingest/", netfault.Fault{PathContains: "/rest/ingest/"}, func(endpoint string) (transport.Transport, error) {
			return NewStreamingClient(endpoint, nil, nil)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Harness{Only: []string{"BrokenRequests"}, New: func(t *testing.T) *transporttest.Target {
				set := new(netfault.Set)
				tg := target(t, way.effects, nil, func(sim *kustosim.Sim) (transport.Transport, error) {
					proxy, err := netfault.Listen(strings.TrimPrefix(sim.Endpoint(), "http://"), &netfault.Options{Faults: set})
					if err != nil {
						return nil, err
					}
					t.Cleanup(func() {
						if err := proxy.Close(); err != nil {
							t.Error(err)
						}
					})
					return way.open(proxy.URL())
				})
				tg.Breaks = set.Breaks(way.where)
				return tg
			}})
		})
	}
}
