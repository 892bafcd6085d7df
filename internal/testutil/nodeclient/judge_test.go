package nodeclient

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/judge"
)

// table makes one of the judge's, that takes streams or does not.
func table(t *testing.T, sim *kustosim.Sim, name string, streams bool) {
	t.Helper()
	if err := judge.Prepare(sim, "db", name); err != nil {
		t.Fatal(err)
	}
	if err := sim.SetStreaming("db", name, streams); err != nil {
		t.Fatal(err)
	}
}

// task is for the simulator behind a front.
func task(front *judge.Front, items []Item) Task {
	return Task{Endpoint: front.DM(), Engine: front.Engine(), Token: judge.Token, Database: "db", CA: front.CA(), Items: items}
}

// The official client ingests every format in every way, from memory, from
// files and from a blob where it is; it learns that it succeeded; and every
// value is what the documentation says it becomes.
func TestEveryFormatInEveryWay(t *testing.T) {
	sim, front := judge.Start(t, nil)
	set := judge.Values()
	var items []Item
	for _, format := range []ingest.Format{ingest.CSV, ingest.JSON, ingest.MultiJSON} {
		data := set.Data(format)
		path := filepath.Join(t.TempDir(), "rows."+string(format))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".gz", judge.Gzip(data), 0o600); err != nil {
			t.Fatal(err)
		}
		uri, err := sim.PutBlob(t.Context(), "in/rows."+string(format), data)
		if err != nil {
			t.Fatal(err)
		}
		sas, err := sim.BlobSAS(uri)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{Queued, Streaming, Managed} {
			item := Item{Format: string(format), Way: way}
			if way != Queued || format == ingest.MultiJSON {
				item.Mapping = judge.MappingName
			}
			stream, file, blob, gz := item, item, item, item
			stream.Table, stream.Data = way+"Stream"+string(format), string(data)
			file.Table, file.File = way+"File"+string(format), path
			blob.Table, blob.Blob = way+"Blob"+string(format), uri+"?"+sas
			gz.Table, gz.File = way+"Gz"+string(format), path+".gz"
			items = append(items, stream, file)
			if way == Queued {
				items = append(items, blob, gz)
			}
		}
	}
	for _, item := range items {
		table(t, sim, item.Table, item.Way != Queued)
	}
	result := Run(t, task(front, items))
	reported := make(map[string]string)
	for _, r := range result.Reports {
		reported[r.Table] = r.Queue
	}
	for i, item := range items {
		o := result.Outcomes[i]
		switch {
		case o.Error != "":
			t.Errorf("%s: %s", item.Table, o.Error)
		case item.Way == Queued && (o.Status != "Queued" || reported[item.Table] != "success"):
			t.Errorf("%s: %+v, and reported as %q", item.Table, o, reported[item.Table])
		}
		for _, d := range set.Diff(sim.Rows("db", item.Table), 1) {
			t.Errorf("%s: %s", item.Table, d)
		}
		for _, e := range sim.Extents("db", item.Table) {
			if streamed := strings.HasPrefix(e.Source, "stream:"); streamed != (item.Way != Queued) {
				t.Errorf("%s: an extent of %s", item.Table, e.Source)
			}
		}
	}
}

// The status table has the last word on what succeeded, failed for good, was
// given up, and came later; and a table that takes no streams is served by the
// queue, once.
func TestOutcomes(t *testing.T) {
	sim, front := judge.Start(t, nil)
	set := judge.Values()
	for _, name := range []string{"Good", "Later", "Exhausted", "NoStreams", "LoseRow", "AlterText"} {
		table(t, sim, name, false)
	}
	sim.IngestFault("db", "Later", kustosim.IngestFault{Kind: kustosim.FailTransient, Times: 3})
	sim.IngestFault("db", "Exhausted", kustosim.IngestFault{Kind: kustosim.FailExhausted})
	// Were the simulator to lose a row or alter a value, this judge would see it.
	sim.IngestFault("db", "LoseRow", kustosim.IngestFault{Kind: kustosim.LoseRow})
	sim.IngestFault("db", "AlterText", kustosim.IngestFault{Kind: kustosim.AlterValue, Column: "text"})
	data := string(set.Data(ingest.CSV))
	result := Run(t, task(front, []Item{
		{Table: "Good", Format: "csv", Data: data, InTable: true},
		{Table: "Later", Format: "csv", Data: data, InTable: true},
		{Table: "Absent", Format: "csv", Data: data, InTable: true},
		{Table: "Exhausted", Format: "csv", Data: data, InTable: true},
		{Table: "NoStreams", Format: "csv", Data: data, Way: Managed},
		{Table: "LoseRow", Format: "csv", Data: data},
		{Table: "AlterText", Format: "csv", Data: data},
	}))
	var got []string
	for _, o := range result.Outcomes {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", o.Status, o.ErrorCode, o.FailureStatus, o.Error)))
	}
	want := []string{"Succeeded", "Succeeded", "Failed BadRequest_TableNotExist Permanent", "Failed General_RetryAttemptsExceeded Exhausted", "Queued", "Queued", "Queued"}
	if !slices.Equal(got, want) {
		t.Errorf("outcomes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, name := range []string{"Good", "Later", "NoStreams"} {
		for _, d := range set.Diff(sim.Rows("db", name), 1) {
			t.Errorf("%s: %s", name, d)
		}
	}
	for _, name := range []string{"LoseRow", "AlterText"} {
		if len(set.Diff(sim.Rows("db", name), 1)) != 1 {
			t.Errorf("%s is not seen", name)
		}
	}
	if n := sim.Count("db", "Exhausted"); n != 0 {
		t.Errorf("%d rows of what was given up", n)
	}
}

// A message whose reply is lost was taken, and the official client posts it
// again: the rows are there twice, and it is content.
func TestOneLostReplyOfTheQueue(t *testing.T) {
	// In one batch the service would ingest the blob once.
	sim, front := judge.Start(t, &kustosim.Options{BatchItems: 1})
	set := judge.Values()
	table(t, sim, "T", false)
	sim.Fault(kustosim.Queue, kustosim.Fault{Kind: kustosim.DropReply, Method: http.MethodPost, Times: 1})
	result := Run(t, task(front, []Item{{Table: "T", Format: "csv", Data: string(set.Data(ingest.CSV))}}))
	if o := result.Outcomes[0]; o.Status != "Queued" {
		t.Errorf("the client says %+v", o)
	}
	if posted := sim.Stats().MessagesPosted; posted != 2 {
		t.Errorf("the message was posted %d times, want 2", posted)
	}
	rows := len(set.Diff(nil, 1)) // a difference for each row that is not there
	if err := sim.Wait(t.Context(), func() bool { return sim.Count("db", "T") >= 2*rows }); err != nil {
		t.Fatal(err)
	}
	for _, d := range set.Diff(sim.Rows("db", "T"), 2) {
		t.Error(d)
	}
}
