package goclient

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-kusto-go/azkustoingest"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/judge"
)

// send ingests the set into a table as csv and fails the test if that fails.
func (s *service) send(t *testing.T, client azkustoingest.Ingestor, table string, set *judge.Set) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	result, err := client.FromReader(ctx, bytes.NewReader(set.Data(ingest.CSV)), azkustoingest.Table(table), azkustoingest.ReportResultToTable())
	if err := outcome(ctx, result, err); err != nil {
		t.Fatal(err)
	}
}

// asked counts the requests that a host got, told by method and the end of the
// host's name.
func (s *service) asked(method, host string) (n int) {
	for _, r := range s.front.Requests() {
		if r.Method == method && strings.HasSuffix(r.Host, host) {
			n++
		}
	}
	return n
}

// The client finds its way by the metadata, the resources and the identity
// token: whom it asks a token for, that data management and the engine are
// asked for their own things only, and that no token goes to storage.
func TestDiscovery(t *testing.T) {
	s := start(t, nil)
	s.table(t, "Queued", false)
	s.table(t, "Streamed", true)
	managed := s.managed(t)
	s.send(t, s.queued(t), "Queued", judge.Values())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	result, err := managed.FromReader(ctx, bytes.NewReader(judge.Values().Data(ingest.CSV)), azkustoingest.Table("Streamed"))
	if err := outcome(ctx, result, err); err != nil {
		t.Fatal(err)
	}
	if scopes := slices.Collect(maps.Keys(s.cred.scopes)); !slices.Equal(scopes, []string{judge.Audience + "/.default"}) {
		t.Errorf("tokens were asked for %q", scopes)
	}
	// The last part of the path that each host was asked for, and with a token or without.
	got := make(map[string]bool)
	for _, r := range s.front.Requests() {
		name := r.Host
		if _, service, ok := strings.Cut(name, "."); ok && !strings.HasPrefix(name, "127") {
			name = service
		}
		path := ""
		if !strings.HasSuffix(name, ".localhost") {
			path = " " + strings.TrimPrefix(r.Path, "/v1/rest/")
		}
		with := " without a token"
		if r.Bearer {
			with = " with a token"
		}
		got[r.Method+" "+name+path+with] = true
	}
	want := []string{
		"GET 127.0.0.1 auth/metadata without a token", "GET localhost auth/metadata without a token",
		"GET table.localhost without a token",
		"POST 127.0.0.1 ingest/db/Streamed with a token", "POST localhost mgmt with a token",
		"POST queue.localhost without a token", "POST table.localhost without a token",
		"PUT blob.localhost without a token",
	}
	if asked := slices.Sorted(maps.Keys(got)); !slices.Equal(asked, want) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
	if tokens := s.Stats().TokensIssued; tokens != 1 {
		t.Errorf("%d identity tokens for one ingestion, want 1", tokens)
	}
}

// What is busy for a moment is asked again, and what is gone is gone around:
// data management that throttles, a stream that is refused for now, an account
// that is down. The rows are there once.
func TestRetries(t *testing.T) {
	busy := kustosim.Fault{Kind: kustosim.Respond, Status: http.StatusTooManyRequests, Times: 1}
	resources, token := busy, busy
	resources.PathContains, token.PathContains = ".get ingestion resources", ".get kusto identity token"
	for _, tt := range []struct {
		name  string
		host  kustosim.Host
		fault kustosim.Fault
	}{
		{"ThrottledResources", kustosim.DM, resources},
		{"ThrottledToken", kustosim.DM, token},
		{"BusyBlob", kustosim.Blob, kustosim.Fault{Kind: kustosim.Respond, Status: http.StatusServiceUnavailable, Times: 1}},
		{"BusyQueue", kustosim.Queue, kustosim.Fault{Kind: kustosim.Respond, Status: http.StatusServiceUnavailable, Times: 1}},
		{"AccountRefuses", kustosim.Blob.Account(0), kustosim.Fault{Kind: kustosim.Respond, Status: http.StatusForbidden}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			s.table(t, "T", false)
			s.Fault(tt.host, tt.fault)
			client := s.queued(t)
			s.send(t, client, "T", judge.Values())
			s.holds(t, "T", judge.Values(), 1)
			if tt.fault.Times > 0 && s.Stats().FaultsStruck != int64(tt.fault.Times) {
				t.Errorf("the fault struck %d times", s.Stats().FaultsStruck)
			}
		})
	}
	t.Run("BusyStream", func(t *testing.T) {
		t.Parallel()
		s := start(t, nil)
		s.table(t, "T", true)
		s.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: http.StatusServiceUnavailable, Times: 1, PathContains: "/ingest/"})
		s.send(t, s.managed(t), "T", judge.Values())
		s.holds(t, "T", judge.Values(), 1)
		if s.Stats().Streamed != 1 || s.Stats().MessagesPosted != 0 {
			t.Errorf("%d streamed, %d queued", s.Stats().Streamed, s.Stats().MessagesPosted)
		}
	})
}
