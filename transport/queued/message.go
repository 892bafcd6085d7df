package queued

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// maxMessageBytes is the most a storage queue takes for a message's text,
// after base64.
const maxMessageBytes = 64 << 10

// How the service reports (protocol reference section 5.3).
const (
	reportFailures = 0 // level: failures only
	reportAll      = 2 // level: failures and successes
	reportByQueue  = 0 // method
	reportByTable  = 1 // method
)

// message is the ingestion message: the spelling and the shape that all
// official clients have in common (protocol reference section 5.3).
type message struct {
	ID                        string `json:"Id"`
	BlobPath                  string // holds a SAS
	RawDataSize               int64  `json:",omitempty"` // before compression; absent: the service finds out
	DatabaseName              string
	TableName                 string
	RetainBlobOnSuccess       bool
	FlushImmediately          bool
	IgnoreSizeLimit           bool
	ReportLevel               int
	ReportMethod              int
	SourceMessageCreationTime string
	AdditionalProperties      map[string]any
	IngestionStatusInTable    *statusRow `json:",omitempty"`
	ApplicationForTracing     string
	ClientVersionForTracing   string
}

// statusRow tells the service which row to report to.
type statusRow struct {
	TableConnectionString string // holds a SAS
	PartitionKey          string
	RowKey                string
}

// envelope is what a message needs beside the batch.
type envelope struct {
	blobURL string
	size    int64
	token   string
	created time.Time
	row     *statusRow // nil: outcomes are not tracked by it
	report  bool       // by the report queues instead
	app     string
	version string
}

func newMessage(b *ingest.Batch, e envelope) *message {
	p := &b.Properties
	m := &message{
		ID: b.ID.String(), BlobPath: e.blobURL, RawDataSize: e.size,
		DatabaseName: p.Database, TableName: p.Table,
		RetainBlobOnSuccess: !p.DeleteBlobOnSuccess,
		FlushImmediately:    p.FlushImmediately, IgnoreSizeLimit: p.IgnoreSizeLimit,
		ReportLevel: reportFailures, ReportMethod: reportByQueue,
		SourceMessageCreationTime: e.created.UTC().Format(time.RFC3339Nano),
		AdditionalProperties:      additionalProperties(b, e.token),
		IngestionStatusInTable:    e.row,
		ApplicationForTracing:     e.app, ClientVersionForTracing: e.version,
	}
	if e.report {
		m.ReportLevel = reportAll
	}
	if e.row != nil {
		m.ReportLevel, m.ReportMethod = reportAll, reportByTable
	}
	return m
}

// additionalProperties is section 5.4 of the protocol reference. What is not
// asked for is absent: the service has a meaning for some of the zero values.
func additionalProperties(b *ingest.Batch, token string) map[string]any {
	p := &b.Properties
	a := map[string]any{"authorizationContext": token, "format": string(p.Format)}
	switch {
	case p.MappingReference != "":
		a["ingestionMappingReference"] = p.MappingReference
	case p.Mapping != "":
		a["ingestionMapping"] = p.Mapping
	}
	if p.MappingReference != "" || p.Mapping != "" {
		a["ingestionMappingType"] = string(p.Format.MappingKind())
	}
	tags, unless := tagsOf(b)
	if len(tags) > 0 {
		a["tags"] = jsonText(tags)
	}
	if len(unless) > 0 {
		a["ingestIfNotExists"] = jsonText(unless)
	}
	if !p.CreationTime.IsZero() {
		a["creationTime"] = p.CreationTime.UTC().Format(time.RFC3339Nano)
	}
	if v := p.Validation; v != nil {
		implications := 0
		if v.BestEffort {
			implications = 1
		}
		a["validationPolicy"] = fmt.Sprintf(`{"ValidationOptions":%d,"ValidationImplications":%d}`, v.Options, implications)
	}
	if p.ZipPattern != "" {
		a["zipPattern"] = p.ZipPattern
	}
	if p.Folder != "" {
		a["folder"] = p.Folder
	}
	if p.IngestionTimePolicy != nil {
		a["policy_ingestiontime"] = *p.IngestionTimePolicy
	}
	for key, on := range map[string]bool{
		"ignoreFirstRecord": p.IgnoreFirstRecord, "ignoreLastRecordIfInvalid": p.IgnoreLastRecordIfInvalid,
		"TreatGzAsUncompressed": p.TreatGzAsUncompressed, "extend_schema": p.ExtendSchema, "recreate_schema": p.RecreateSchema,
	} {
		if on {
			a[key] = true
		}
	}
	return a
}

// tagsOf is the tags of a batch's extents, and those that must not be there.
func tagsOf(b *ingest.Batch) (tags, unless []string) {
	tags, unless = b.Properties.Tags, b.Properties.IngestIfNotExists
	if by := b.IngestBy(); by != "" {
		// Both are needed: the tag makes a later copy detectable, the condition
		// makes this one check (section 10.2).
		tags = append(tags[:len(tags):len(tags)], ingest.TagIngestBy+by)
		unless = append(unless[:len(unless):len(unless)], by)
	}
	return tags, unless
}

// jsonText is a value as JSON without the escaping for HTML, which would cost
// five bytes for each & of a SAS.
func jsonText(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("queued: a message of plain fields does not marshal: " + err.Error())
	}
	return strings.TrimSuffix(buf.String(), "\n")
}

// encode is the message as the queue takes it. A message over the queue's
// limit is an error: Held where the inline mapping is what is too long, for a
// mapping reference would fit, and Permanent otherwise.
func (m *message) encode() (string, error) {
	text := jsonText(m)
	n := base64.StdEncoding.EncodedLen(len(text))
	if n <= maxMessageBytes {
		return base64.StdEncoding.EncodeToString([]byte(text)), nil
	}
	e := &transport.Error{Op: "message", Class: transport.Permanent, Code: "MessageTooLarge",
		Message: fmt.Sprintf("the ingestion message has %d bytes, the queue takes %d; use fewer or shorter tags", n, maxMessageBytes)}
	if mapping, ok := m.AdditionalProperties["ingestionMapping"].(string); ok && base64.StdEncoding.EncodedLen(len(text)-len(jsonText(mapping))) <= maxMessageBytes {
		e.Class = transport.Held
		e.Message = fmt.Sprintf("the ingestion message has %d bytes, the queue takes %d; create the mapping of %d bytes at the service and refer to it by name", n, maxMessageBytes, len(mapping))
	}
	return "", e
}
