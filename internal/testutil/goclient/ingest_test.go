package goclient

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-kusto-go/azkustoingest"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/judge"
)

// The official client ingests every format in every way, from memory, from
// files, compressed or not, and, queued, from a blob where it is; it learns that it succeeded; and
// every value is what the documentation says it becomes.
func TestEveryFormatInEveryWay(t *testing.T) {
	s := start(t, nil)
	set := judge.Values()
	ways := []struct {
		name    string
		client  azkustoingest.Ingestor
		streams bool
	}{{"Queued", s.queued(t), false}, {"Streaming", s.streaming(t), true}, {"Managed", s.managed(t), true}}
	for _, way := range ways {
		for format, named := range formats {
			data := set.Data(format)
			options := func(table string) []azkustoingest.FileOption {
				list := []azkustoingest.FileOption{azkustoingest.Table(table), azkustoingest.FileFormat(named)}
				if way.streams || format == ingest.MultiJSON {
					list = append(list, azkustoingest.IngestionMappingRef(judge.MappingName, named))
				}
				if !way.streams {
					list = append(list, azkustoingest.ReportResultToTable(), azkustoingest.FlushImmediately())
				}
				return list
			}
			sources := map[string]func(ctx context.Context, table string) (*azkustoingest.Result, error){
				"Reader": func(ctx context.Context, table string) (*azkustoingest.Result, error) {
					return way.client.FromReader(ctx, bytes.NewReader(data), options(table)...)
				},
				"File": func(ctx context.Context, table string) (*azkustoingest.Result, error) {
					path := filepath.Join(t.TempDir(), "rows."+string(format))
					if err := os.WriteFile(path, data, 0o600); err != nil {
						return nil, err
					}
					return way.client.FromFile(ctx, path, options(table)...)
				},
				"Gz": func(ctx context.Context, table string) (*azkustoingest.Result, error) {
					path := filepath.Join(t.TempDir(), "rows."+string(format)+".gz")
					if err := os.WriteFile(path, judge.Gzip(data), 0o600); err != nil {
						return nil, err
					}
					return way.client.FromFile(ctx, path, options(table)...)
				},
			}
			if !way.streams {
				sources["Blob"] = func(ctx context.Context, table string) (*azkustoingest.Result, error) {
					uri, err := s.PutBlob(ctx, "in/rows."+string(format), data)
					if err != nil {
						return nil, err
					}
					sas, err := s.BlobSAS(uri)
					if err != nil {
						return nil, err
					}
					return way.client.FromFile(ctx, uri+"?"+sas, options(table)...)
				}
			}
			for source, send := range sources {
				table := way.name + source + string(format)
				t.Run(table, func(t *testing.T) {
					s.table(t, table, way.streams)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					result, err := send(ctx, table)
					if err := outcome(ctx, result, err); err != nil {
						t.Fatal(err)
					}
					s.holds(t, table, set, 1)
					for _, e := range s.Extents(db, table) {
						if streamed := strings.HasPrefix(e.Source, "stream:"); streamed != way.streams {
							t.Errorf("an extent of %s", e.Source)
						}
					}
				})
			}
		}
	}
}

// What the service refuses for good, gives up on, or does later, is what the
// client reports.
func TestOutcomes(t *testing.T) {
	s := start(t, nil)
	client := s.queued(t)
	for _, table := range []string{"Good", "Malformed", "NoMapping", "Exhausted", "Later"} {
		s.table(t, table, false)
	}
	s.IngestFault(db, "Exhausted", kustosim.IngestFault{Kind: kustosim.FailExhausted})
	s.IngestFault(db, "Later", kustosim.IngestFault{Kind: kustosim.FailTransient, Times: 3})
	good := string(judge.Values().Data(ingest.CSV))
	mapping := azkustoingest.IngestionMappingRef("absent", azkustoingest.CSV)
	for _, tt := range []struct {
		table, data, code string
		failure           azkustoingest.FailureStatusCode
		options           []azkustoingest.FileOption
	}{
		{"Good", good, "", "", nil},
		{"Later", good, "", "", nil},
		{"Absent", good, "BadRequest_TableNotExist", azkustoingest.Permanent, nil},
		{"Malformed", `1,"never closed`, "Stream_ClosingQuoteMissing", azkustoingest.Permanent, nil},
		{"NoMapping", good, "BadRequest_MappingReferenceWasNotFound", azkustoingest.Permanent, []azkustoingest.FileOption{mapping}},
		{"Exhausted", good, "General_RetryAttemptsExceeded", azkustoingest.Exhausted, nil},
	} {
		t.Run(tt.table, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			result, err := client.FromReader(ctx, strings.NewReader(tt.data), append(tt.options, azkustoingest.Table(tt.table), azkustoingest.ReportResultToTable())...)
			if err != nil {
				t.Fatal(err)
			}
			err = outcome(ctx, result, nil)
			if tt.code == "" {
				if err != nil {
					t.Error(err)
				}
				s.holds(t, tt.table, judge.Values(), 1)
				return
			}
			code, err1 := azkustoingest.GetErrorCode(err)
			failure, err2 := azkustoingest.GetIngestionFailureStatus(err)
			if err1 != nil || err2 != nil || code != tt.code || failure != tt.failure {
				t.Errorf("%v: code %q, failure %q; want %q, %q", err, code, failure, tt.code, tt.failure)
			}
			if n := s.Count(db, tt.table); n != 0 {
				t.Errorf("%d rows of a failed ingestion", n)
			}
		})
	}
}

// Managed streaming: what is too large for a stream, and a table that takes
// none, go by the queue, once.
func TestManagedFallsBackToTheQueue(t *testing.T) {
	s := start(t, nil)
	client := s.managed(t)
	s.table(t, "Large", true)
	s.table(t, "NoStreams", false)
	for table, set := range map[string]*judge.Set{"Large": judge.Large(1, 64, 100_000), "NoStreams": judge.Values()} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			result, err := client.FromReader(ctx, bytes.NewReader(set.Data(ingest.JSON)), azkustoingest.Table(table),
				azkustoingest.IngestionMappingRef(judge.MappingName, azkustoingest.JSON), azkustoingest.ReportResultToTable())
			if err := outcome(ctx, result, err); err != nil {
				t.Fatal(err)
			}
			s.holds(t, table, set, 1)
			for _, e := range s.Extents(db, table) {
				if strings.HasPrefix(e.Source, "stream:") {
					t.Error("it was streamed")
				}
			}
		})
	}
}

// Were the simulator to lose a row or alter a value, this judge would see it.
func TestFaultsAreSeen(t *testing.T) {
	s := start(t, nil)
	client := s.queued(t)
	set := judge.Values()
	for table, fault := range map[string]kustosim.IngestFault{
		"LoseRow": {Kind: kustosim.LoseRow}, "AlterText": {Kind: kustosim.AlterValue, Column: "text"}, "AlterKey": {Kind: kustosim.AlterValue, Column: "n"},
	} {
		t.Run(table, func(t *testing.T) {
			s.table(t, table, false)
			defer s.IngestFault(db, table, fault)()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			result, err := client.FromReader(ctx, bytes.NewReader(set.Data(ingest.CSV)), azkustoingest.Table(table), azkustoingest.ReportResultToTable())
			if err := outcome(ctx, result, err); err != nil {
				t.Fatal(err)
			}
			if diffs := set.Diff(s.Rows(db, table), 1); len(diffs) == 0 {
				t.Error("nothing was seen")
			}
		})
	}
}
