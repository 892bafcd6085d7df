package goclient

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-kusto-go/azkustodata"
	"github.com/Azure/azure-kusto-go/azkustoingest"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/judge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const db = "db"

// patience bounds one ingestion with all that the client repeats.
const patience = 2 * time.Minute

var formats = map[ingest.Format]azkustoingest.DataFormat{ingest.CSV: azkustoingest.CSV, ingest.JSON: azkustoingest.JSON, ingest.MultiJSON: azkustoingest.MultiJSON}

// credential hands out the judge's token and remembers what was asked for.
type credential struct {
	mu     sync.Mutex
	scopes map[string]bool
}

func (c *credential) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range o.Scopes {
		c.scopes[s] = true
	}
	return azcore.AccessToken{Token: judge.Token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// service is a simulator with what a client needs to get at it.
type service struct {
	*kustosim.Sim
	front *judge.Front
	http  *http.Client
	cred  *credential
}

// start runs a simulator until the test ends, by which no client may have tried
// to leave the machine.
func start(t *testing.T, o *kustosim.Options) *service {
	t.Helper()
	sim, front := judge.Start(t, o)
	s := &service{sim, front, front.Client(), &credential{scopes: make(map[string]bool)}}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		if out := front.Refused(); len(out) > 0 {
			t.Errorf("the client asked to dial %q", out)
		}
	})
	return s
}

// table makes one of the judge's, that takes streams or does not.
func (s *service) table(t *testing.T, name string, streams bool) {
	t.Helper()
	if err := judge.Prepare(s.Sim, db, name); err != nil {
		t.Fatal(err)
	}
	if err := s.SetStreaming(db, name, streams); err != nil {
		t.Fatal(err)
	}
}

func (s *service) connection(endpoint string) *azkustodata.ConnectionStringBuilder {
	return azkustodata.NewConnectionStringBuilder(endpoint).WithTokenCredential(s.cred)
}

// The three clients. The correction of endpoints is off, because it would put
// "ingest-" before localhost and its port.

func (s *service) queued(t *testing.T) azkustoingest.Ingestor {
	t.Helper()
	client, err := azkustoingest.New(s.connection(s.front.DM()), azkustoingest.WithDefaultDatabase(db),
		azkustoingest.WithoutEndpointCorrection(), azkustoingest.WithHttpClient(s.http))
	return s.open(t, client, err)
}

func (s *service) streaming(t *testing.T) azkustoingest.Ingestor {
	t.Helper()
	client, err := azkustoingest.NewStreaming(s.connection(s.front.Engine()), azkustoingest.WithDefaultDatabase(db),
		azkustoingest.WithoutEndpointCorrection(), azkustoingest.WithHttpClient(s.http))
	return s.open(t, client, err)
}

func (s *service) managed(t *testing.T) azkustoingest.Ingestor {
	t.Helper()
	client, err := azkustoingest.NewManaged(s.connection(s.front.Engine()), azkustoingest.WithDefaultDatabase(db),
		azkustoingest.WithCustomIngestConnectionString(s.connection(s.front.DM())),
		azkustoingest.WithoutEndpointCorrection(), azkustoingest.WithHttpClient(s.http))
	return s.open(t, client, err)
}

func (s *service) open(t *testing.T, client azkustoingest.Ingestor, err error) azkustoingest.Ingestor {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("closing the client: %v", err)
		}
	})
	return client
}

// outcome is what the client learns of an ingestion: nil is success.
func outcome(ctx context.Context, result *azkustoingest.Result, err error) error {
	if err != nil {
		return err
	}
	return <-result.Wait(ctx, azkustoingest.WithImmediateFirst(), azkustoingest.WithInterval(20*time.Millisecond))
}

// holds compares a table with the set that was sent so many times.
func (s *service) holds(t *testing.T, table string, set *judge.Set, copies int) {
	t.Helper()
	for _, d := range set.Diff(s.Rows(db, table), copies) {
		t.Errorf("%s: %s", table, d)
	}
}
