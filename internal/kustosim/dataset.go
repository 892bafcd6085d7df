package kustosim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// dataset is a v1 reply: one table, as management commands have it (protocol
// reference section 2.2).
type dataset struct {
	columns []Column
	rows    [][]any
}

// netTypes are the DataType names of the v1 form.
var netTypes = map[string]string{
	"string": "String", "long": "Int64", "int": "Int32", "real": "Double", "decimal": "SqlDecimal", "bool": "SByte",
	"datetime": "DateTime", "timespan": "TimeSpan", "guid": "Guid", "dynamic": "Object",
}

func (d *dataset) v1() any {
	type column struct{ ColumnName, DataType, ColumnType string }
	columns := make([]column, len(d.columns))
	for i, c := range d.columns {
		columns[i] = column{c.Name, netTypes[c.Type], c.Type}
	}
	rows := d.rows
	if rows == nil {
		rows = [][]any{}
	}
	return struct{ Tables []any }{[]any{struct {
		TableName string
		Columns   []column
		Rows      [][]any
	}{"Table_0", columns, rows}}}
}

// v2 is the frames form of /v2/rest/query, without progress frames.
func (d *dataset) v2() any {
	type column struct{ ColumnName, ColumnType string }
	columns := make([]column, len(d.columns))
	for i, c := range d.columns {
		columns[i] = column{c.Name, c.Type}
	}
	rows := d.rows
	if rows == nil {
		rows = [][]any{}
	}
	return []any{
		struct {
			FrameType     string
			IsProgressive bool
			Version       string
		}{"DataSetHeader", false, "v2.0"},
		struct {
			FrameType string
			TableId   int
			TableKind string
			TableName string
			Columns   []column
			Rows      [][]any
		}{"DataTable", 0, "PrimaryResult", "PrimaryResult", columns, rows},
		struct {
			FrameType string
			HasErrors bool
			Cancelled bool
		}{"DataSetCompletion", false, false},
	}
}

// kustoError is an error reply of the Kusto endpoint (protocol reference
// section 2.3).
type kustoError struct {
	status    int
	code      string
	kind      string // the exception's class, without its namespace
	message   string
	permanent bool
}

func (e *kustoError) Error() string { return e.code + ": " + e.message }

func badCommand(code, message string) *kustoError {
	return &kustoError{http.StatusBadRequest, code, "Kusto.Data.Exceptions.SyntaxException", message, true}
}

func (e *kustoError) write(w http.ResponseWriter, r *http.Request) {
	activity := w.Header().Get("x-ms-activity-id")
	body := map[string]any{"error": map[string]any{
		"code":         e.code,
		"message":      "Request is invalid and cannot be executed.",
		"@type":        e.kind,
		"@message":     e.message,
		"@failureCode": e.status,
		"@context": map[string]any{
			"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z"), "serviceAlias": "KUSTOSIM", "machineName": "KUSTOSIM",
			"processName": "kustosim", "processId": 1, "threadId": 1, "clientRequestId": r.Header.Get("x-ms-client-request-id"),
			"activityId": activity, "subActivityId": activity, "activityType": "KD.Execute", "parentActivityId": activity,
			"activityStack": "(Activity stack: CRID=" + r.Header.Get("x-ms-client-request-id") + ")",
		},
		"@permanent": e.permanent,
	}}
	writeKusto(w, e.status, body)
}

func writeKusto(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"General_InternalServerError","@permanent":false}}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// stampKusto sets the headers every reply of the Kusto endpoint has.
func stampKusto(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("x-ms-activity-id", newGUID())
	if id := r.Header.Get("x-ms-client-request-id"); id != "" {
		w.Header().Set("x-ms-client-request-id", strings.ToValidUTF8(id, "?"))
	}
}
