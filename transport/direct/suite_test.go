package direct

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

var startSim = simspool.Start

var errorBodies = []string{"sig=", "authorizationContext"}

// target is a client on a simulator of its own. effects is in the text of the
// request that makes rows appear.
func target(t *testing.T, effects string, opts *kustosim.Options, open func(sim *kustosim.Sim) (transport.Transport, error)) *transporttest.Target {
	sim := startSim(t, opts)
	client, err := open(sim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.(interface{ Close() error }).Close() })
	refuse := func(code string) func(testing.TB) {
		return func(testing.TB) {
			sim.IngestFault("Telemetry", "Events", kustosim.IngestFault{Kind: kustosim.FailPermanent, Code: code, Times: 1})
		}
	}
	hosts := []kustosim.Host{kustosim.DM, kustosim.Engine, kustosim.Blob}
	fault := func(f kustosim.Fault) func() {
		var removes []func()
		for _, h := range hosts {
			removes = append(removes, sim.Fault(h, f))
		}
		return func() {
			for _, remove := range removes {
				remove()
			}
		}
	}
	up := func() {}
	return &transporttest.Target{
		Transport: client,
		Prepare: func(t testing.TB, p ingest.Properties) {
			if err := sim.CreateTable(p.Database, p.Table); err != nil && !strings.Contains(err.Error(), "exist") {
				t.Fatal(err)
			}
			if err := sim.SetStreaming(p.Database, p.Table, true); err != nil {
				t.Fatal(err)
			}
		},
		Rows: func(_ testing.TB, p ingest.Properties) []string {
			var out []string
			for _, row := range sim.Rows(p.Database, p.Table) {
				out = append(out, simspool.Text(row))
			}
			return out
		},
		Secrets: errorBodies,
		PutBlob: func(t testing.TB, extension string, data []byte) string {
			uri, err := sim.PutBlob(t.Context(), fmt.Sprintf("in/%d%s", len(sim.Blobs()), extension), data)
			if err != nil {
				t.Fatal(err)
			}
			return uri + ";impersonate"
		},
		Down: func(_ testing.TB, down bool) {
			up()
			up = func() {}
			if down {
				up = fault(kustosim.Fault{Kind: kustosim.Down})
			}
		},
		LoseReply: func(testing.TB) {
			sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.DropReply, PathContains: effects, Times: 1})
		},
		Forbid: func(testing.TB) func() {
			var permits []func()
			for _, look := range []string{".show commands", ".show operations", "extents"} {
				permits = append(permits, sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: look}))
			}
			return func() {
				for _, permit := range permits {
					permit()
				}
			}
		},
		Stall: func(testing.TB) func() { return fault(kustosim.Fault{Kind: kustosim.Stall}) },
		Refuse: map[transport.Class]func(testing.TB){
			transport.Malformed: refuse("Stream_WrongNumberOfFields"),
			transport.Held:      refuse("BadRequest_TableNotExist"),
			transport.Permanent: refuse("BadRequest_NotSupported"),
			transport.Throttled: func(testing.TB) {
				sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 429, PathContains: effects, Times: 1})
			},
			transport.Unauthorized: func(testing.TB) {
				sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 401, PathContains: effects, Times: 1})
			},
		},
	}
}

var textFormats = []ingest.Format{ingest.JSON, ingest.CSV}

func TestContractOfCommands(t *testing.T) {
	for _, hitAsFailed := range []bool{false, true} {
		t.Run(fmt.Sprintf("tag hit fails=%t", hitAsFailed), func(t *testing.T) {
			transporttest.Run(t, transporttest.Harness{Formats: textFormats, New: func(t *testing.T) *transporttest.Target {
				return target(t, ".ingest into", &kustosim.Options{TagHitAsFailed: hitAsFailed}, func(sim *kustosim.Sim) (transport.Transport, error) {
					return NewClient(sim.Endpoint(), nil, &ClientOptions{TrackInterval: 10 * time.Millisecond})
				})
			}})
		})
	}
}

func TestContractOfInline(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{Formats: textFormats, LargeBytes: 900 << 10, New: func(t *testing.T) *transporttest.Target {
		return target(t, ".ingest inline", nil, func(sim *kustosim.Sim) (transport.Transport, error) {
			return NewClient(sim.Endpoint(), nil, &ClientOptions{Inline: true, TrackInterval: 10 * time.Millisecond})
		})
	}})
}

func TestContractOfStreaming(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{Formats: textFormats, LargeBytes: 3 << 20, New: func(t *testing.T) *transporttest.Target {
		return target(t, "/v1/rest/ingest/", nil, func(sim *kustosim.Sim) (transport.Transport, error) {
			return NewStreamingClient(sim.Endpoint(), nil, nil)
		})
	}})
}
