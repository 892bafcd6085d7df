package ingest

import (
	"maps"
	"slices"
	"strings"

	"kustospool/ingest/record"
)

// Format is a data format of the ingestion protocol, in the lower-case
// spelling of the wire.
type Format string

// The formats of the service. AzMonStream is known but not accepted: the
// service takes it from Event Hubs only.
const (
	CSV         Format = "csv"
	TSV         Format = "tsv"
	TSVE        Format = "tsve"
	PSV         Format = "psv"
	SCSV        Format = "scsv"
	SOHSV       Format = "sohsv"
	TXT         Format = "txt"
	Raw         Format = "raw"
	JSON        Format = "json" // JSON Lines: one document a line
	MultiJSON   Format = "multijson"
	SingleJSON  Format = "singlejson"
	Avro        Format = "avro"
	ApacheAvro  Format = "apacheavro"
	Parquet     Format = "parquet"
	ORC         Format = "orc"
	SStream     Format = "sstream"
	W3CLogFile  Format = "w3clogfile"
	AzMonStream Format = "azmonstream"
)

// MappingKind is the kind of ingestion mapping a format takes. The service
// compares the name exactly, so the spelling matters.
type MappingKind string

// The mapping kinds of the service.
const (
	MappingCSV        MappingKind = "Csv"
	MappingJSON       MappingKind = "Json"
	MappingAvro       MappingKind = "Avro"
	MappingApacheAvro MappingKind = "ApacheAvro"
	MappingParquet    MappingKind = "Parquet"
	MappingORC        MappingKind = "Orc"
	MappingSStream    MappingKind = "SStream"
	MappingW3CLogFile MappingKind = "W3CLogFile"
)

type formatFacts struct {
	cut       record.Cut // how records stand in a blob; 0 where one request is one blob
	comma     byte       // of record.QuotedLines
	gzip      bool       // worth compressing: the format has no compression of its own
	extension string
	kind      MappingKind
}

// whole is the cut of formats that do not concatenate.
const whole record.Cut = 0

// formats is section 11 of the protocol reference as data: which formats are
// gzipped, which concatenate, what a blob of it is called.
var formats = map[Format]formatFacts{
	CSV:        {record.QuotedLines, ',', true, ".csv", MappingCSV},
	TSV:        {record.Lines, 0, true, ".tsv", MappingCSV},
	TSVE:       {record.Lines, 0, true, ".tsv", MappingCSV},
	PSV:        {record.Lines, 0, true, ".psv", MappingCSV},
	SCSV:       {record.QuotedLines, ';', true, ".scsv", MappingCSV},
	SOHSV:      {record.Lines, 0, true, ".sohsv", MappingCSV},
	TXT:        {record.Lines, 0, true, ".txt", MappingCSV},
	Raw:        {whole, 0, true, ".raw", MappingCSV},
	JSON:       {record.JSONLines, 0, true, ".json", MappingJSON},
	MultiJSON:  {record.Documents, 0, true, ".multijson", MappingJSON},
	SingleJSON: {whole, 0, true, ".json", MappingJSON},
	Avro:       {whole, 0, false, ".avro", MappingAvro},
	ApacheAvro: {whole, 0, false, ".avro", MappingApacheAvro},
	Parquet:    {whole, 0, false, ".parquet", MappingParquet},
	ORC:        {whole, 0, false, ".orc", MappingORC},
	SStream:    {whole, 0, false, ".ss", MappingSStream},
	W3CLogFile: {whole, 0, true, ".log", MappingW3CLogFile},
}

// Formats lists the formats a request may have, sorted.
func Formats() []Format { return slices.Sorted(maps.Keys(formats)) }

// ParseFormat reads a format's name in any case; jsonl and ndjson, as files of
// it are called, are JSON. An unknown name, and AzMonStream, are a [FieldError].
func ParseFormat(s string) (Format, error) {
	f := Format(strings.ToLower(strings.TrimSpace(s)))
	if f == "jsonl" || f == "ndjson" {
		return JSON, nil
	}
	if err := f.validate(); err != nil {
		return "", err
	}
	return f, nil
}

// FormatOf tells the format from a file's name: a trailing .gz or .zip is
// passed over, then the extension decides. ok is false where it tells nothing.
func FormatOf(name string) (f Format, ok bool) {
	name = strings.ToLower(name)
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zip")
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", false
	}
	switch ext := name[i+1:]; ext {
	case "jsonl", "ndjson":
		return JSON, true
	case "log":
		return W3CLogFile, true
	case "ss":
		return SStream, true
	default:
		f = Format(ext)
		_, ok = formats[f]
		return f, ok
	}
}

func (f Format) validate() error {
	if f == AzMonStream {
		return &FieldError{Field: "format", Value: quote(string(f)), Rule: "is accepted by the service from Event Hubs only"}
	}
	if _, ok := formats[f]; !ok {
		return &FieldError{Field: "format", Value: quote(string(f)), Rule: "must be one of " + joinFormats()}
	}
	return nil
}

func joinFormats() string {
	var b strings.Builder
	for i, f := range Formats() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(f))
	}
	return b.String()
}

// Concatenates reports whether records of this format can stand one after
// the other in one blob. Where it is false a request is a batch of its own.
func (f Format) Concatenates() bool { return f.known() && formats[f].cut != whole }

// Compressible reports whether data of this format should be gzipped for the
// upload. Formats with a compression of their own should not.
func (f Format) Compressible() bool { return formats[f].gzip }

// Extension is the blob name extension of the format, with its dot and
// without ".gz".
func (f Format) Extension() string { return formats[f].extension }

// MappingKind is the kind of mapping the format takes.
func (f Format) MappingKind() MappingKind { return formats[f].kind }

func (f Format) known() bool { _, ok := formats[f]; return ok }
