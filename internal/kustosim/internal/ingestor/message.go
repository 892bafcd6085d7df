package ingestor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"kustospool/ingest"
	"kustospool/internal/kustosim/internal/parse"
)

// reportLevel and reportMethod are the enums of a message, which clients send
// as numbers or as names.
type reportLevel int

const (
	failuresOnly reportLevel = iota
	NoReports
	failuresAndSuccesses
)

type reportMethod int

const (
	toQueue reportMethod = iota
	toTable
	toQueueAndTable
	toAzureMonitor
)

func (l *reportLevel) UnmarshalJSON(b []byte) error {
	return decodeEnum(b, (*int)(l), map[string]int{"failuresonly": 0, "none": 1, "failuresandsuccesses": 2, "all": 2}, 2)
}

func (m *reportMethod) UnmarshalJSON(b []byte) error {
	return decodeEnum(b, (*int)(m), map[string]int{"queue": 0, "table": 1, "queueandtable": 2, "azuremonitor": 3}, 3)
}

// validationOptions and validationImplications are the enums of a validation
// policy (https://learn.microsoft.com/azure/data-explorer/ingestion-properties;
// their numbers are told by the clients): which failure to look for, and whether
// one fails the blob. What the service does with option 2,
// ValidateCsvInputColumnLevelOnly, is not known; here it is as 1.
type validationOptions int

const doNotValidate validationOptions = 0

type validationImplications int

const bestEffort validationImplications = 1

func (o *validationOptions) UnmarshalJSON(b []byte) error {
	return decodeEnum(b, (*int)(o), map[string]int{"donotvalidate": 0, "validatecsvinputconstantcolumns": 1, "validatecsvinputcolumnlevelonly": 2}, 2)
}

func (i *validationImplications) UnmarshalJSON(b []byte) error {
	return decodeEnum(b, (*int)(i), map[string]int{"fail": 0, "besteffort": 1}, 1)
}

func decodeEnum(b []byte, value *int, names map[string]int, highest int) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		var ok bool
		if n, ok = names[strings.ToLower(text)]; !ok {
			return fmt.Errorf("unknown enum value %q", text)
		}
	}
	if n < 0 || n > highest {
		return fmt.Errorf("unknown enum value %d", n)
	}
	*value = n
	return nil
}

// LooseBool and looseInt also read their value from a string.
type LooseBool bool

func (v *LooseBool) UnmarshalJSON(b []byte) error {
	switch strings.ToLower(strings.Trim(string(b), `"`)) {
	case "true":
		*v = true
	case "false", "null", "":
		*v = false
	default:
		return fmt.Errorf("%s is not a boolean", b)
	}
	return nil
}

// LooseInt is a number that may stand in a string, or not be there.
type LooseInt struct {
	value int64
	set   bool
}

func (v *LooseInt) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	*v = LooseInt{n, true}
	return err
}

// Tracker is told how the ingestion of one blob goes.
type Tracker interface {
	// Begin says that it has been taken up.
	Begin()
	// Set records an outcome; a transient failure may be followed by another.
	Set(Outcome)
}

// Message is an ingestion message as clients put it on the queue (protocol
// reference section 5.3). Decoding matches names in any case.
type Message struct {
	Id                     string
	BlobPath               string
	RawDataSize            LooseInt
	DatabaseName           string
	TableName              string
	RetainBlobOnSuccess    LooseBool
	FlushImmediately       LooseBool
	IgnoreSizeLimit        LooseBool
	ReportLevel            reportLevel
	ReportMethod           reportMethod
	AdditionalProperties   map[string]json.RawMessage
	IngestionStatusInTable *struct {
		TableConnectionString string
		PartitionKey          string
		RowKey                string
	}

	Submitted bool    // came over REST, whose bearer has been checked
	Tracked   Tracker // of a tracked request; nil otherwise
}

// decodeMessage reads the text of a queue message. The error is
// BadRequest_CorruptedMessage; a message comes with it if its JSON was whole,
// so that the failure can be reported.
func decodeMessage(text string) (*Message, *parse.Error) {
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, parse.Permanentf("BadRequest_CorruptedMessage", "the message is not base64")
	}
	data = bytes.TrimRight(data, "\x00") // Fluent Bit sends the terminator of its C string
	var m Message
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, parse.Permanentf("BadRequest_CorruptedMessage", "the message is not a JSON object of the expected types")
	}
	lower := make(map[string]json.RawMessage, len(m.AdditionalProperties))
	for k, v := range m.AdditionalProperties {
		lower[strings.ToLower(k)] = v
	}
	m.AdditionalProperties = lower
	switch {
	case !parse.IsGUID(m.Id):
		return &m, parse.Permanentf("BadRequest_CorruptedMessage", "Id is not a GUID")
	case m.BlobPath == "":
		return &m, parse.Permanentf("BadRequest_EmptyBlobUri", "BlobPath is empty")
	case m.DatabaseName == "":
		return &m, parse.Permanentf("BadRequest_EmptyDatabaseName", "DatabaseName is empty")
	case m.TableName == "":
		return &m, parse.Permanentf("BadRequest_InvalidOrEmptyTableName", "TableName is empty")
	}
	return &m, nil
}

// property is an additional property as text: a JSON string's value, or the
// JSON itself. Empty means absent; null and "" count as absent.
func (m *Message) property(names ...string) string {
	for _, name := range names {
		raw := m.AdditionalProperties[strings.ToLower(name)]
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		if s != "" {
			return s
		}
	}
	return ""
}

// ingestion is a message with its properties understood.
type ingestion struct {
	*Message
	blob        *url.URL // without what stands behind a semicolon
	access      string   // that: how the service is to get at the blob
	format      ingest.Format
	kind        string // mapping kind, lower case
	mappingName string
	mapping     []parse.MappingItem // inline
	mappingText string
	tags        []string
	notExists   []string
	created     time.Time
	skipFirst   bool
	lenientCSV  bool
	treatGzAs   bool // .gz is no gzip
	queued      bool // not a command or a stream

	extendSchema bool
	zipPattern   *regexp.Regexp
	policyText   string

	operation string // GUID of the batch it was last in
	reported  bool   // a transient failure stands in its status
}

// understand validates the properties of a message as the service does before
// it batches: everything that needs no table.
func understand(m *Message) (*ingestion, *parse.Error) {
	in := &ingestion{Message: m, operation: uuid.NewString()}
	var err error
	address, access, _ := strings.Cut(m.BlobPath, ";")
	in.access = access
	if in.blob, err = url.Parse(address); err != nil || in.blob.Host == "" {
		return in, parse.Permanentf("BadRequest_InvalidBlobUri", "BlobPath is not a URI")
	}
	if bad := in.readFormat(); bad != nil {
		return in, bad
	}
	if bad := in.readMapping(); bad != nil {
		return in, bad
	}
	if in.tags, err = stringArray(m.property("tags")); err != nil {
		return in, parse.Permanentf("BadRequest_MalformedIngestionProperty", "tags must be a JSON array of strings")
	}
	if in.notExists, err = stringArray(m.property("ingestIfNotExists")); err != nil {
		return in, parse.Permanentf("BadRequest_MalformedIngestionProperty", "ingestIfNotExists must be a JSON array of strings")
	}
	if text := m.property("creationTime"); text != "" {
		// "formatted as an ISO8601 string", and 2017-02-13 is the example
		// (https://learn.microsoft.com/azure/data-explorer/ingestion-properties).
		var ok bool
		if in.created, ok = parse.ISODatetime(text); !ok {
			return in, parse.Permanentf("BadRequest_MalformedIngestionProperty", "creationTime must be ISO 8601")
		}
		if in.created.Year() == 1 { // how the Go client says nothing
			in.created = time.Time{}
		}
	}
	var recreate bool // of .set-or-replace only
	for _, f := range []struct {
		name string
		set  *bool
	}{{"ignoreFirstRecord", &in.skipFirst}, {"TreatGzAsUncompressed", &in.treatGzAs}, {"extend_schema", &in.extendSchema}, {"recreate_schema", &recreate}} {
		var v LooseBool
		if err := v.UnmarshalJSON([]byte(m.property(f.name))); err != nil {
			return in, parse.Permanentf("BadRequest_MalformedIngestionProperty", "%s must be a boolean", f.name)
		}
		*f.set = bool(v)
	}
	if text := m.property("zipPattern"); text != "" {
		if in.zipPattern, err = regexp.Compile(text); err != nil {
			return in, parse.Permanentf("BadRequest_MalformedIngestionProperty", "zipPattern must be a regular expression")
		}
	}
	in.policyText = m.property("validationPolicy")
	if in.policyText != "" {
		var policy struct {
			ValidationOptions      validationOptions
			ValidationImplications validationImplications
		}
		if err := json.Unmarshal([]byte(in.policyText), &policy); err != nil {
			return in, parse.Permanentf("BadRequest_MalformedIngestionProperty", "validationPolicy must be a JSON object")
		}
		in.lenientCSV = policy.ValidationOptions == doNotValidate || policy.ValidationImplications == bestEffort
	}
	if !m.IgnoreSizeLimit && m.RawDataSize.value > 6<<30 {
		return in, parse.Permanentf("BadRequest_FileTooLarge", "the raw size is over 6 GiB")
	}
	return in, nil
}

// readFormat takes the format from its property or else from the blob's name;
// a name that tells nothing is csv.
func (in *ingestion) readFormat() *parse.Error {
	in.format = ingest.CSV
	if text := in.property("format"); text != "" {
		f, err := ingest.ParseFormat(text)
		if err != nil {
			return parse.Permanentf("BadRequest_FormatNotSupported", "format %q is not supported", text)
		}
		in.format = f
	} else if f, ok := ingest.FormatOf(path.Base(in.blob.Path)); ok {
		in.format = f
	}
	in.kind = strings.ToLower(string(in.format.MappingKind()))
	return nil
}

func (in *ingestion) readMapping() *parse.Error {
	in.mappingName = in.property("ingestionMappingReference", "mappingReference", "csvMappingReference", "jsonMappingReference", "avroMappingReference")
	in.mappingText = in.property("ingestionMapping", "csvMapping", "jsonMapping", "avroMapping")
	if in.mappingName != "" && in.mappingText != "" {
		return parse.Permanentf("BadRequest_DuplicateMapping", "the message has a mapping and a mapping reference")
	}
	if kind := in.property("ingestionMappingType"); kind != "" {
		known := []string{"Csv", "Json", "Avro", "ApacheAvro", "Parquet", "Orc", "orc", "SStream", "Unknown"}
		// The pages spell w3clogfile and W3CLOGFILE, the clients W3CLogFile and
		// W3cLogFile (https://learn.microsoft.com/kusto/management/w3c-log-file-mapping).
		if !strings.EqualFold(kind, "w3clogfile") && !slices.Contains(known, kind) {
			return parse.Permanentf("BadRequest_MalformedIngestionProperty", "ingestionMappingType %q is not one of the service's spellings", kind)
		}
		if (in.mappingName != "" || in.mappingText != "") && kind != "Unknown" && !strings.EqualFold(kind, in.kind) &&
			(!strings.HasSuffix(in.kind, "avro") || !strings.HasSuffix(strings.ToLower(kind), "avro")) {
			return parse.Permanentf("BadRequest_InconsistentMapping", "a mapping of kind %s does not fit format %s", kind, in.format)
		}
	}
	if in.mappingText != "" {
		var bad *parse.Error
		if in.mapping, bad = parse.ParseMapping(in.kind, in.mappingText); bad != nil {
			return bad
		}
	}
	return nil
}

var errNotStrings = errors.New("not a JSON array of strings")

// stringArray reads a JSON array of strings, or nothing. The service wants it
// encoded as a string, and that layer is already gone here; a real array is
// the same text.
func stringArray(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var list []*string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, errNotStrings
	}
	values := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			return nil, errNotStrings
		}
		values[i] = *s
	}
	return values, nil
}

// single tells why the service ingests this blob alone, or "".
func (in *ingestion) single() string {
	if len(in.notExists) > 0 {
		return "SingleBlob_IngestIfNotExists"
	}
	if slices.ContainsFunc(in.tags, func(t string) bool { return strings.HasPrefix(t, "ingest-by:") }) {
		return "SingleBlob_IngestByTag"
	}
	if !in.RawDataSize.set || in.RawDataSize.value <= 0 {
		return "SingleBlob_SizeUnknown"
	}
	return ""
}

// batchKey tells which ingestions may share a batch: same table, same
// properties (protocol reference section 13).
func (in *ingestion) batchKey() string {
	tags := slices.Sorted(slices.Values(in.tags))
	parts := []string{in.DatabaseName, in.TableName, string(in.format), in.mappingName, in.mappingText, strings.Join(tags, "\x01"),
		in.created.UTC().Format(time.RFC3339Nano), strconv.FormatBool(in.skipFirst), in.policyText, in.property("zipPattern"),
		strconv.FormatBool(in.treatGzAs), in.property("extend_schema"), in.property("recreate_schema"), in.property("folder")}
	return strings.Join(parts, "\x00")
}

// source is the blob's URI without credentials.
func (in *ingestion) source() string { return WithoutQuery(in.BlobPath) }

// WithoutQuery removes the credentials of a blob URI: its query, and what
// follows a semicolon.
func WithoutQuery(uri string) string {
	if i := strings.IndexAny(uri, "?;"); i >= 0 {
		return uri[:i]
	}
	return uri
}
