package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of names and properties. The service's own limit for an entity name
// is 1024 characters; the others keep a queue message under its 64 KiB.
const (
	MaxNameBytes    = 1024
	MaxMappingBytes = 32 << 10
	MaxTags         = 64
	MaxTagBytes     = 1024
	// MaxPropertiesBytes bounds names, mapping and tags together, as they stand in
	// a queue message: quotes are escaped there, in tags twice. A message may
	// have 48 KiB before its encoding as base64; a quarter of that is for addresses,
	// signatures and the identity token.
	MaxPropertiesBytes = 36 << 10
)

// Tag prefixes with a meaning to the service.
const (
	TagIngestBy = "ingest-by:"
	TagDropBy   = "drop-by:"
)

// Properties say where records go and how the service reads them. Two
// requests share a lane, and may share a batch, when their Properties are
// equal. Database, Table and Format are required; the zero value of every
// other field leaves the property out of the request. The names in brackets
// are the protocol's (protocol reference sections 5.3 and 5.4).
type Properties struct {
	Database string `json:"database"`
	Table    string `json:"table"`
	Format   Format `json:"format"` // [format]

	// MappingReference names a mapping that exists at the service
	// [ingestionMappingReference]; Mapping is one in line, a JSON array
	// [ingestionMapping]. At most one of the two. The mapping's kind follows
	// from Format [ingestionMappingType].
	MappingReference string `json:"mappingReference,omitempty"`
	Mapping          string `json:"mapping,omitempty"`

	// Tags are put on the extents, prefix included ("drop-by:2026-11") [tags].
	// With ExactlyOnce the engine adds the batch's own ingest-by tag.
	Tags []string `json:"tags,omitempty"`
	// IngestIfNotExists are ingest-by values, without prefix, whose presence
	// in the table makes the service skip the batch [ingestIfNotExists]. With
	// ExactlyOnce the engine adds the batch's own.
	IngestIfNotExists []string `json:"ingestIfNotExists,omitempty"`
	// CreationTime back-dates the extents, for retention and caching
	// [creationTime]. Its zero value means the time of ingestion.
	CreationTime time.Time `json:"creationTime,omitzero"`

	// Validation checks CSV input at the service [validationPolicy].
	Validation *ValidationPolicy `json:"validation,omitempty"`
	// IgnoreFirstRecord drops the first record of every blob, for objects that
	// begin with a header [ignoreFirstRecord]. Each request is then one whole
	// object with its header, and a batch of its own.
	IgnoreFirstRecord bool `json:"ignoreFirstRecord,omitempty"`
	// IgnoreLastRecordIfInvalid tolerates a torn last record; the queued REST
	// API has it [ignoreLastRecordIfInvalid].
	IgnoreLastRecordIfInvalid bool `json:"ignoreLastRecordIfInvalid,omitempty"`
	// ZipPattern selects files of a zip archive, a regular expression
	// [zipPattern]. Each request is then one whole archive.
	ZipPattern string `json:"zipPattern,omitempty"`
	// TreatGzAsUncompressed turns the service's detection of .gz names off
	// [TreatGzAsUncompressed]. Payloads then travel uncompressed.
	TreatGzAsUncompressed bool `json:"treatGzAsUncompressed,omitempty"`

	// ExtendSchema and RecreateSchema let the ingestion change the table; the
	// principal must be Table Admin [extend_schema, recreate_schema].
	ExtendSchema   bool `json:"extendSchema,omitempty"`
	RecreateSchema bool `json:"recreateSchema,omitempty"`
	// IngestionTimePolicy sets the table's ingestion time policy when the
	// ingestion creates the table; nil leaves it out [policy_ingestiontime].
	IngestionTimePolicy *bool `json:"ingestionTimePolicy,omitempty"`
	// Folder is the table's folder when the ingestion creates it [folder].
	Folder string `json:"folder,omitempty"`

	// FlushImmediately asks the service not to aggregate [FlushImmediately].
	// It costs the cluster; prefer the table's batching policy.
	FlushImmediately bool `json:"flushImmediately,omitempty"`
	// IgnoreSizeLimit lets the service take a blob over its size limit
	// [IgnoreSizeLimit].
	IgnoreSizeLimit bool `json:"ignoreSizeLimit,omitempty"`
	// DeleteBlobOnSuccess lets the service delete the uploaded blob after the
	// ingestion [RetainBlobOnSuccess, reversed]. Off by default: a late repeat
	// of a message then still finds its blob and ends as skipped, not failed.
	DeleteBlobOnSuccess bool `json:"deleteBlobOnSuccess,omitempty"`

	// ByReference: each request's data is not the data itself but the address
	// of a blob that the service fetches ([Blob.Record]). Such a request is a
	// batch of its own; Format, mapping and the rest are the blob's.
	ByReference bool `json:"byReference,omitempty"`

	// Refused: the records are none that the service could take. They are never
	// delivered: each is a batch of its own and becomes a dead letter. The engine
	// sets it for what a source holds beside records.
	Refused bool `json:"refused,omitempty"`
}

// ValidationPolicy is the CSV validation of the service.
type ValidationPolicy struct {
	Options    ValidationOptions `json:"options"`
	BestEffort bool              `json:"bestEffort"` // ingest what is valid instead of failing
}

// ValidationOptions selects what is validated, as the wire counts it.
type ValidationOptions int

// What the service can check of CSV input.
const (
	ValidateNothing ValidationOptions = iota
	ValidateConstantColumns
	ValidateColumnLevelOnly
)

// Concatenates reports whether many records may share one batch. Where it is
// false every request is one whole object and becomes a batch by itself.
func (p *Properties) Concatenates() bool {
	return p.Format.Concatenates() && !p.IgnoreFirstRecord && p.ZipPattern == "" && !p.ByReference && !p.Refused
}

// Compressed reports whether the payload is gzipped on its way.
func (p *Properties) Compressed() bool {
	return p.Format.Compressible() && p.ZipPattern == "" && !p.TreatGzAsUncompressed && !p.ByReference
}

// Extension is what the name of a file with a payload ends in, uncompressed:
// that of the format, or ".blob.json" for a blob's reference.
func (p *Properties) Extension() string {
	if p.ByReference {
		return ".blob.json"
	}
	return p.Format.Extension()
}

// Key is equal for two valid Properties exactly when they are equal, that is
// when their records may share a batch. It is printable JSON.
func (p *Properties) Key() string {
	norm := *p
	norm.CreationTime = norm.CreationTime.UTC().Round(0)
	b, err := json.Marshal(&norm)
	if err != nil {
		// Only a time past the year 9999 fails to marshal, and Validate refuses it.
		panic("ingest: Key of invalid properties: " + err.Error())
	}
	return string(b)
}

// Validate checks every rule and reports all violations at once, joined. Each
// is a [FieldError]; the result matches [ErrInvalid].
func (p *Properties) Validate() error {
	var errs []error
	bad := func(field, value, rule string) {
		errs = append(errs, &FieldError{Field: field, Value: value, Rule: rule})
	}
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	add(CheckName("database", p.Database))
	add(CheckName("table", p.Table))
	add(p.Format.validate())
	if p.MappingReference != "" {
		add(CheckQuotedName("mapping reference", p.MappingReference))
	}
	if p.Mapping != "" {
		switch {
		case p.MappingReference != "":
			bad("mapping", quote(p.Mapping), fmt.Sprintf("cannot be given together with mapping reference %s", quote(p.MappingReference)))
		case len(p.Mapping) > MaxMappingBytes:
			bad("mapping", fmt.Sprintf("of %d bytes", len(p.Mapping)), fmt.Sprintf("must have at most %d bytes; create it at the service and name it instead", MaxMappingBytes))
		case !isMapping(p.Mapping):
			bad("mapping", quote(p.Mapping), "must be a JSON array of column objects")
		}
	}
	checkTags(p.Tags, "tags", bad)
	checkTags(p.IngestIfNotExists, "ingestIfNotExists", bad)
	for _, v := range p.IngestIfNotExists {
		if strings.HasPrefix(v, TagIngestBy) {
			bad("ingestIfNotExists", quote(v), "is written without the prefix "+TagIngestBy)
		}
	}
	if y := p.CreationTime.UTC().Year(); !p.CreationTime.IsZero() && (y < 1900 || y > 9999) {
		bad("creationTime", quote(p.CreationTime.Format(time.RFC3339)), "must be between the years 1900 and 9999")
	}
	if v := p.Validation; v != nil {
		if v.Options < ValidateNothing || v.Options > ValidateColumnLevelOnly {
			bad("validation", fmt.Sprint(int(v.Options)), "options must be 0, 1 or 2")
		}
		if p.Format != CSV {
			bad("validation", "", "applies to the format csv only")
		}
	}
	if p.ZipPattern != "" {
		checkText("zipPattern", p.ZipPattern, bad)
	}
	if p.Folder != "" {
		checkText("folder", p.Folder, bad)
	}
	if n := p.messageBytes(); n > MaxPropertiesBytes {
		bad("properties", fmt.Sprintf("of %d bytes in a message", n), fmt.Sprintf("mapping, tags and names together must have at most %d, or no queue message can hold them; create the mapping at the service and name it, or use fewer or shorter tags", MaxPropertiesBytes))
	}
	if p.ExtendSchema && p.RecreateSchema {
		bad("recreateSchema", "", "cannot be given together with extendSchema")
	}
	return errors.Join(errs...)
}

// messageBytes is how much of a queue message the texts of the properties take
// (protocol reference section 5.4); 0 where they are so short that it need not
// be counted.
func (p *Properties) messageBytes() int {
	raw := len(p.Database) + len(p.Table) + len(p.MappingReference) + len(p.Mapping) + len(p.ZipPattern) + len(p.Folder)
	for _, tag := range slices.Concat(p.Tags, p.IngestIfNotExists) {
		raw += len(tag) + len(`"",`)
	}
	if raw < MaxPropertiesBytes/6 { // nothing grows more than that
		return 0
	}
	n := 0
	for _, text := range []string{p.Database, p.Table, p.MappingReference, p.Mapping, p.ZipPattern, p.Folder, jsonText(p.Tags), jsonText(p.IngestIfNotExists)} {
		n += len(jsonText(text))
	}
	return n
}

// jsonText is a text or a list of texts as JSON, as a message holds it.
func jsonText(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("ingest: a text does not marshal: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func checkText(field, v string, bad func(field, value, rule string)) {
	if !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) || len(v) > MaxNameBytes {
		bad(field, quote(v), fmt.Sprintf("must be valid UTF-8 without control characters, at most %d bytes", MaxNameBytes))
	}
}

func checkTags(tags []string, field string, bad func(field, value, rule string)) {
	if len(tags) > MaxTags {
		bad(field, fmt.Sprintf("of %d entries", len(tags)), fmt.Sprintf("must have at most %d entries", MaxTags))
	}
	for _, t := range tags {
		if t == "" || len(t) > MaxTagBytes || !utf8.ValidString(t) || strings.ContainsFunc(t, unicode.IsControl) {
			bad(field, quote(t), fmt.Sprintf("must be non-empty valid UTF-8 without control characters, at most %d bytes", MaxTagBytes))
		}
	}
}

func isMapping(s string) bool {
	var columns []map[string]json.RawMessage
	return json.Unmarshal([]byte(s), &columns) == nil && len(columns) > 0
}
