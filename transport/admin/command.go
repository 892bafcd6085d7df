package admin

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/transport/internal/kusto"
)

// The commands. Whatever is not fixed text is one literal, or one of a closed
// set of words.

func createTable(t Table) string {
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = kusto.Entity(c.Name) + ":" + canonical(c.Type)
	}
	command := ".create-merge table " + kusto.Entity(t.Name) + " (" + strings.Join(columns, ", ") + ")"
	var with []string
	if t.Folder != "" {
		with = append(with, "folder="+kusto.Literal(t.Folder))
	}
	if t.DocString != "" {
		with = append(with, "docstring="+kusto.Literal(t.DocString))
	}
	if len(with) > 0 {
		command += " with (" + strings.Join(with, ", ") + ")"
	}
	return command
}

func createMapping(table string, m Mapping) string {
	return ".create-or-alter table " + kusto.Entity(table) + " ingestion " + mappingWord(m.Kind) + " mapping " + kusto.Literal(m.Name) + " " + kusto.Literal(m.JSON)
}

// mappingWord is the kind in command syntax: lower case.
func mappingWord(k ingest.MappingKind) string { return strings.ToLower(string(k)) }

func alterBatching(table string, b Batching) string {
	policy, err := json.Marshal(struct {
		MaximumBatchingTimeSpan string
		MaximumNumberOfItems    int
		MaximumRawDataSizeMB    int
	}{timespan(b.Time), b.Items, b.RawMB})
	if err != nil {
		panic("admin: a policy of plain fields does not marshal: " + err.Error())
	}
	return ".alter table " + kusto.Entity(table) + " policy ingestionbatching " + kusto.Literal(string(policy))
}

// timespan is whole seconds as the service writes them.
func timespan(d time.Duration) string {
	s := int(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

func alterStreaming(table string, on bool) string {
	word := "disable"
	if on {
		word = "enable"
	}
	return ".alter table " + kusto.Entity(table) + " policy streamingingestion " + word
}
