package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/ledger"
	"kustospool/transport/direct"
)

type bearer string

func (b bearer) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(b), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// A box whose principal is an Ingestor and no more delivers each record once
// through refusals and ambiguous replies, also where the log of commands is
// closed to it.
func TestIngestorIsEnoughForCommands(t *testing.T) {
	for name, fault := range map[string]kustosim.Fault{
		"429":         {Kind: kustosim.Respond, Status: 429},
		"520 instead": {Kind: kustosim.Respond, Status: 520},
		"520 after":   {Kind: kustosim.RespondLate, Status: 520},
		"reset after": {Kind: kustosim.DropReply},
	} {
		for _, log := range []bool{true, false} {
			t.Run(map[bool]string{true: name, false: name + ", no log"}[log], func(t *testing.T) {
				t.Parallel()
				sim := startSim(t, &kustosim.Options{AutoCreate: true, Principals: map[string]kustosim.Role{"box": kustosim.Ingestor}})
				third := fault
				third.PathContains, third.Every = ".ingest into", 3
				sim.Fault(kustosim.Engine, third)
				if !log {
					sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: ".show commands"})
				}
				client, err := direct.NewClient(sim.Endpoint(), bearer("box"), &direct.ClientOptions{TrackInterval: 20 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				o := quick()
				o.Batch.MaxBytes = 2 << 10
				s, err := engine.Open(t.TempDir(), client, o)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Errorf("closing the spool: %v", err)
					}
				})
				books := &ledger.Ledger{}
				for i := range 100 {
					text := record(1, i)
					r, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte(text)})
					if err != nil {
						t.Fatal(err)
					}
					books.Acked(r.ID.String(), text)
				}
				drain(t, s, time.Minute)
				balanced(t, sim, books, ledger.ExactlyOnce)
				conserved(t, s)
				if sim.Stats().FaultsStruck == 0 {
					t.Error("no fault struck")
				}
			})
		}
	}
}
