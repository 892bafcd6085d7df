package direct

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"kustospool/ingest"
	"kustospool/transport/internal/kusto"
)

// ingestInto is the command that ingests blobs, as one operation. Their
// addresses hold a SAS; the h keeps it out of the cluster's logs.
func ingestInto(b *ingest.Batch, async bool, blobURLs ...string) string {
	verb := ".ingest into table "
	if async {
		verb = ".ingest async into table "
	}
	sources := make([]string, len(blobURLs))
	for i, u := range blobURLs {
		sources[i] = "h" + kusto.Literal(u)
	}
	return verb + kusto.Entity(b.Properties.Table) + " (" + strings.Join(sources, ", ") + ") with (" + properties(b) + ")"
}

// ingestInline is the command that carries the data. What follows "<|" is data
// to the command's end: nothing in it can be a command.
func ingestInline(b *ingest.Batch, data string) string {
	return ".ingest inline into table " + kusto.Entity(b.Properties.Table) + " with (" + properties(b) + ") <|\n" + data
}

// properties is section 5.4 of the protocol reference in command syntax. What
// is not asked for is absent.
func properties(b *ingest.Batch) string {
	p := &b.Properties
	var list []string
	text := func(key, value string) { list = append(list, key+"="+kusto.Literal(value)) }
	text("format", string(p.Format))
	switch {
	case p.MappingReference != "":
		text("ingestionMappingReference", p.MappingReference)
	case p.Mapping != "":
		text("ingestionMapping", p.Mapping)
	}
	if p.MappingReference != "" || p.Mapping != "" {
		text("ingestionMappingType", string(p.Format.MappingKind()))
	}
	tags, unless := p.Tags, p.IngestIfNotExists
	if by := b.IngestBy(); by != "" {
		// Both are needed: the tag makes a later copy detectable, the condition
		// makes this one check (section 10.2).
		tags = append(tags[:len(tags):len(tags)], ingest.TagIngestBy+by)
		unless = append(unless[:len(unless):len(unless)], by)
	}
	if len(tags) > 0 {
		text("tags", jsonList(tags))
	}
	if len(unless) > 0 {
		text("ingestIfNotExists", jsonList(unless))
	}
	if !p.CreationTime.IsZero() {
		text("creationTime", p.CreationTime.UTC().Format(time.RFC3339Nano))
	}
	if v := p.Validation; v != nil {
		implications := 0
		if v.BestEffort {
			implications = 1
		}
		text("validationPolicy", fmt.Sprintf(`{"ValidationOptions":%d,"ValidationImplications":%d}`, v.Options, implications))
	}
	if p.ZipPattern != "" {
		text("zipPattern", p.ZipPattern)
	}
	if p.Folder != "" {
		text("folder", p.Folder)
	}
	if p.IngestionTimePolicy != nil {
		list = append(list, fmt.Sprintf("policy_ingestiontime=%t", *p.IngestionTimePolicy))
	}
	for _, f := range []struct {
		key string
		on  bool
	}{
		{"ignoreFirstRecord", p.IgnoreFirstRecord}, {"ignoreLastRecordIfInvalid", p.IgnoreLastRecordIfInvalid},
		{"TreatGzAsUncompressed", p.TreatGzAsUncompressed}, {"extend_schema", p.ExtendSchema}, {"recreate_schema", p.RecreateSchema},
	} {
		if f.on {
			list = append(list, f.key+"=true")
		}
	}
	return strings.Join(list, ", ")
}

func jsonList(list []string) string {
	b, err := json.Marshal(list)
	if err != nil {
		panic("direct: a list of strings does not marshal: " + err.Error())
	}
	return string(b)
}

// showCommands asks for the commands with these client request ids.
func showCommands(ids []string) string {
	quoted := make([]string, len(ids))
	for i, id := range ids {
		quoted[i] = kusto.Literal(id)
	}
	return ".show commands | where ClientActivityId in (" + strings.Join(quoted, ", ") + ")"
}

// showOperations asks for operations by their ids. An id stands there as it
// is, so it must be a [uuid.UUID]'s text.
func showOperations(ids []uuid.UUID) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return ".show operations (" + strings.Join(list, ", ") + ")"
}

// showTagged asks for the extents that a batch left in its table.
func showTagged(b *ingest.Batch) string {
	return ".show table " + kusto.Entity(b.Properties.Table) + " extents where tags has " + kusto.Literal(ingest.TagIngestBy+b.IngestBy())
}
