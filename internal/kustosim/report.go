package kustosim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"kustospool/internal/kustosim/internal/storage"

	"kustospool/internal/kustosim/internal/stats"

	"kustospool/internal/kustosim/internal/fault"

	"kustospool/internal/kustosim/internal/parse"

	"github.com/google/uuid"
)

// errStatusTable says nothing of the URI, which holds a signature.
var errStatusTable = errors.New("kustosim: the status table of the message is not a URI")

// skippedByTag is the code of an ingestion that ingestIfNotExists stopped.
const skippedByTag = "Skipped_IngestByTagAlreadyExists"

// outcome is what became of an ingestion, as reports tell it.
type outcome struct {
	status    string // Succeeded, Failed, Skipped
	code      string
	failure   string // Permanent, Transient, Exhausted
	details   string
	succeeded bool
}

func failed(bad *parse.Error) outcome {
	return outcome{status: "Failed", code: bad.Code, failure: bad.Status, details: bad.Details}
}

func (g *ingestor) succeed(ctx context.Context, in *ingestion) {
	g.log.Debug("ingested", "source", in.source(), "id", in.Id)
	g.report(ctx, in, outcome{status: "Succeeded", succeeded: true}, false)
}

func (g *ingestor) skip(ctx context.Context, in *ingestion, tag string) {
	g.stats.Add(func(s *stats.Stats) { s.SkippedByTag++ })
	g.log.Debug("skipped by tag", "source", in.source(), "id", in.Id, "tag", tag)
	o := outcome{status: "Skipped", code: skippedByTag, details: "an extent with tag ingest-by:" + tag + " exists", succeeded: true}
	if g.tagHitAsFailed {
		o.status, o.failure, o.succeeded = "Failed", parse.Permanent, false
	}
	g.report(ctx, in, o, false)
}

func (g *ingestor) fail(ctx context.Context, in *ingestion, bad *parse.Error) {
	g.stats.Add(func(s *stats.Stats) { s.Failed[bad.Code]++ })
	g.log.Debug("failed", "source", in.source(), "id", in.Id, "code", bad.Code, "failureStatus", bad.Status)
	g.report(ctx, in, failed(bad), false)
}

// report writes an outcome where the message wants it: level times method
// (protocol reference sections 5.3 and 6).
func (g *ingestor) report(ctx context.Context, in *ingestion, o outcome, tableOnly bool) {
	if in.tracked == nil && (in.ReportLevel == noReports || o.succeeded && in.ReportLevel == failuresOnly) {
		return
	}
	if f := g.strike(in, fault.LoseReport); f != nil {
		return
	}
	if in.tracked != nil {
		in.tracked.set(o)
		g.written(nil)
		return
	}
	toTheTable := in.ReportMethod == toTable || in.ReportMethod == toQueueAndTable
	if toTheTable && in.IngestionStatusInTable != nil {
		g.written(g.reportToTable(ctx, in, o))
	}
	if !tableOnly && (in.ReportMethod == toQueue || in.ReportMethod == toQueueAndTable) {
		g.written(g.reportToQueue(ctx, in, o))
	}
}

func (g *ingestor) written(err error) {
	g.stats.Add(func(s *stats.Stats) {
		if err != nil {
			s.ReportsFailed++
		} else {
			s.ReportsWritten++
		}
	})
}

func (g *ingestor) reportToTable(ctx context.Context, in *ingestion, o outcome) error {
	to := in.IngestionStatusInTable
	table, err := url.Parse(to.TableConnectionString)
	if err != nil {
		return errStatusTable
	}
	props := map[string]any{
		"Status":              o.status,
		"IngestionSourceId":   in.Id,
		"IngestionSourcePath": in.source(),
		"Database":            in.DatabaseName,
		"Table":               in.TableName,
		"UpdatedOn":           parse.FormatTime(time.Now()), "UpdatedOn@odata.type": "Edm.DateTime",
		"OperationId": in.operation, "OperationId@odata.type": "Edm.Guid",
		"ActivityId": uuid.NewString(), "ActivityId@odata.type": "Edm.Guid",
	}
	if parse.IsGUID(in.Id) {
		props["IngestionSourceId@odata.type"] = "Edm.Guid"
	}
	switch {
	case o.code != "":
		props["ErrorCode"], props["Details"] = o.code, o.details
		if o.failure != "" {
			props["FailureStatus"], props["OriginatesFromUpdatePolicy"] = o.failure, false
		}
	case in.reported: // take the transient failure back
		props["ErrorCode"], props["FailureStatus"], props["Details"] = "", "Unknown", ""
	}
	return g.storage.SetStatus(ctx, table, storage.EntityKey{Partition: to.PartitionKey, Row: to.RowKey}, props)
}

func (g *ingestor) reportToQueue(ctx context.Context, in *ingestion, o outcome) error {
	now := parse.FormatTime(time.Now())
	queue, report := storage.SuccessQueue, map[string]any{
		"OperationId": in.operation, "Database": in.DatabaseName, "Table": in.TableName, "IngestionSourceId": in.Id,
		"IngestionSourcePath": in.source(), "RootActivityId": uuid.NewString(),
	}
	if o.succeeded {
		report["SucceededOn"] = now
	} else {
		queue = storage.FailureQueue
		report["FailedOn"], report["Details"], report["ErrorCode"], report["FailureStatus"] = now, o.details, o.code, o.failure
		report["OriginatesFromUpdatePolicy"], report["ShouldRetry"] = false, o.failure == parse.Transient
	}
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return g.storage.Report(ctx, queue, base64.StdEncoding.EncodeToString(text))
}
