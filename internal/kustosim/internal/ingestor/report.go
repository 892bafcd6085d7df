package ingestor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/stats"
	"kustospool/internal/kustosim/internal/storage"
)

// errStatusTable says nothing of the URI, which holds a signature.
var errStatusTable = errors.New("kustosim: the status table of the message is not a URI")

// SkippedByTag is the code of an ingestion that ingestIfNotExists stopped.
const SkippedByTag = "Skipped_IngestByTagAlreadyExists"

// Outcome is what became of an ingestion, as reports tell it.
type Outcome struct {
	status    string // Succeeded, Failed, Skipped
	Code      string
	Failure   string // Permanent, Transient, Exhausted
	Details   string
	Succeeded bool
}

func failed(bad *parse.Error) Outcome {
	return Outcome{status: "Failed", Code: bad.Code, Failure: bad.Status, Details: bad.Details}
}

func (g *Ingestor) succeed(ctx context.Context, in *ingestion) {
	g.Log.Debug("ingested", "source", in.source(), "id", in.Id)
	g.report(ctx, in, Outcome{status: "Succeeded", Succeeded: true}, false)
}

func (g *Ingestor) skip(ctx context.Context, in *ingestion, tag string) {
	g.Stats.Add(func(s *stats.Stats) { s.SkippedByTag++ })
	g.Log.Debug("skipped by tag", "source", in.source(), "id", in.Id, "tag", tag)
	o := Outcome{status: "Skipped", Code: SkippedByTag, Details: "an extent with tag ingest-by:" + tag + " exists", Succeeded: true}
	if g.TagHitAsFailed {
		o.status, o.Failure, o.Succeeded = "Failed", parse.Permanent, false
	}
	g.report(ctx, in, o, false)
}

func (g *Ingestor) fail(ctx context.Context, in *ingestion, bad *parse.Error) {
	g.Stats.Add(func(s *stats.Stats) { s.Failed[bad.Code]++ })
	g.Log.Debug("failed", "source", in.source(), "id", in.Id, "code", bad.Code, "failureStatus", bad.Status)
	g.report(ctx, in, failed(bad), false)
}

// report writes an outcome where the message wants it: level times method
// (protocol reference sections 5.3 and 6).
func (g *Ingestor) report(ctx context.Context, in *ingestion, o Outcome, tableOnly bool) {
	if in.Tracked == nil && (in.ReportLevel == NoReports || o.Succeeded && in.ReportLevel == failuresOnly) {
		return
	}
	if f := g.strike(in, fault.LoseReport); f != nil {
		return
	}
	if in.Tracked != nil {
		in.Tracked.Set(o)
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

func (g *Ingestor) written(err error) {
	g.Stats.Add(func(s *stats.Stats) {
		if err != nil {
			s.ReportsFailed++
		} else {
			s.ReportsWritten++
		}
	})
}

func (g *Ingestor) reportToTable(ctx context.Context, in *ingestion, o Outcome) error {
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
	case o.Code != "":
		props["ErrorCode"], props["Details"] = o.Code, o.Details
		if o.Failure != "" {
			props["FailureStatus"], props["OriginatesFromUpdatePolicy"] = o.Failure, false
		}
	case in.reported: // take the transient failure back
		props["ErrorCode"], props["FailureStatus"], props["Details"] = "", "Unknown", ""
	}
	return g.storage.SetStatus(ctx, table, storage.EntityKey{Partition: to.PartitionKey, Row: to.RowKey}, props)
}

func (g *Ingestor) reportToQueue(ctx context.Context, in *ingestion, o Outcome) error {
	now := parse.FormatTime(time.Now())
	queue, report := storage.SuccessQueue, map[string]any{
		"OperationId": in.operation, "Database": in.DatabaseName, "Table": in.TableName, "IngestionSourceId": in.Id,
		"IngestionSourcePath": in.source(), "RootActivityId": uuid.NewString(),
	}
	if o.Succeeded {
		report["SucceededOn"] = now
	} else {
		queue = storage.FailureQueue
		report["FailedOn"], report["Details"], report["ErrorCode"], report["FailureStatus"] = now, o.Details, o.Code, o.Failure
		report["OriginatesFromUpdatePolicy"], report["ShouldRetry"] = false, o.Failure == parse.Transient
	}
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return g.storage.Report(ctx, queue, base64.StdEncoding.EncodeToString(text))
}
