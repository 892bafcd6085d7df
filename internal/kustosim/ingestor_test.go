package kustosim

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/internal/kustosim/internal/ingestor"
)

func TestIngestsAndReports(t *testing.T) {
	c := start(t, nil)
	c.create()
	id := c.send("a.json", "{\"n\":1}\n{\"n\": 2}\n")
	row := c.expect(id, "Succeeded", "")
	if row["IngestionSourceId"] != id || row["Database"] != "db1" || row["Table"] != "t1" || strings.Contains(fmt.Sprint(row), "sig=") {
		t.Errorf("status row is %v", row)
	}
	rows := c.sim.Rows("db1", "t1")
	if len(rows) != 2 || rows[0].String() != `{"n":1}` || rows[1].String() != `{"n": 2}` {
		t.Errorf("rows are %s", rows)
	}
	if s := c.sim.Stats(); s.RawSizeMismatch != 0 || s.Batches["Time"] != 1 || s.Ingested != 1 || s.Rows != 2 {
		t.Errorf("stats are %+v", s)
	}
}

func TestRefusesMessages(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "string"}, Column{Name: "b", Type: "long"})
	const good = `{"a":"x","b":1}` + "\n"
	uri := c.upload("good.json", good)
	mapping := `[{"column":"a","Properties":{"Path":"$.a"}}]`
	for _, tt := range []struct {
		name, code string
		edit       edit
	}{
		{"id", "BadRequest_CorruptedMessage", field("Id", "x")},
		{"database", "BadRequest_DatabaseNotExist", field("DatabaseName", "db2")},
		{"no database", "BadRequest_EmptyDatabaseName", field("DatabaseName", "")},
		{"table", "BadRequest_TableNotExist", field("TableName", "t2")},
		{"no table", "BadRequest_InvalidOrEmptyTableName", field("TableName", nil)},
		{"no blob", "BadRequest_EmptyBlobUri", field("BlobPath", "")},
		{"blob", "BadRequest_InvalidBlobUri", field("BlobPath", "a.json")},
		{"token", "BadRequest_InvalidKustoIdentityToken", property("authorizationContext", "other")},
		{"no token", "BadRequest_InvalidKustoIdentityToken", property("authorizationContext", nil)},
		{"format", "BadRequest_FormatNotSupported", format("xml")},
		{"tags", "BadRequest_MalformedIngestionProperty", property("tags", "ingest-by:x")},
		{"ingestIfNotExists", "BadRequest_MalformedIngestionProperty", property("ingestIfNotExists", "x")},
		{"creationTime", "BadRequest_MalformedIngestionProperty", property("creationTime", "yesterday")},
		{"mapping reference", "BadRequest_MappingReferenceWasNotFound", property("ingestionMappingReference", "m")},
		{"mapping", "BadRequest_InvalidMapping", property("ingestionMapping", "{}")},
		{"mapping to an unknown column", "BadRequest_InvalidMapping", property("ingestionMapping", `[{"column":"z","Properties":{"Path":"$.a"}}]`)},
		{"mapping kind", "BadRequest_InconsistentMapping", func(m, p map[string]any) {
			p["ingestionMapping"], p["ingestionMappingType"] = mapping, "Csv"
		}},
		{"mapping kind's spelling", "BadRequest_MalformedIngestionProperty", func(m, p map[string]any) {
			p["ingestionMapping"], p["ingestionMappingType"] = mapping, "json"
		}},
		{"two mappings", "BadRequest_DuplicateMapping", func(m, p map[string]any) {
			p["ingestionMapping"], p["ingestionMappingReference"] = mapping, "m"
		}},
		{"raw size", "BadRequest_FileTooLarge", field("RawDataSize", int64(7)<<30)},
		{"missing blob", "Download_SourceNotFound", field("BlobPath", strings.Replace(uri, "good", "gone", 1))},
		{"blob's signature", "Download_Forbidden", field("BlobPath", ingestor.WithoutQuery(uri)+"?sig=x")},
		{"blob's account", "Download_AccountNotFound", field("BlobPath", strings.Replace(uri, "simstorage0", "other", 1))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, text := c.message(uri, len(good), tt.edit)
			if tt.name == "id" {
				id = "x"
				text = c.with(text, id)
			}
			c.enqueue(text)
			row := c.expect(id, "Failed", tt.code)
			if row["FailureStatus"] != Permanent {
				t.Errorf("FailureStatus is %v", row["FailureStatus"])
			}
		})
	}
	c.count(0)
	for _, text := range []string{"%%%", base64.StdEncoding.EncodeToString([]byte("[")), base64.StdEncoding.EncodeToString([]byte(`{"RawDataSize":{}}`))} {
		before := c.sim.Stats().Failed["BadRequest_CorruptedMessage"]
		c.enqueue(text)
		c.wait(func() bool { return c.sim.Stats().Failed["BadRequest_CorruptedMessage"] == before+1 })
	}
}

// with returns the message with the row of the status table set to id.
func (c *client) with(text, id string) string {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := Row(data).Map()
	if err != nil {
		c.t.Fatal(err)
	}
	status := m["IngestionStatusInTable"].(map[string]any)
	status["PartitionKey"], status["RowKey"] = id, id
	m["Id"] = id
	return encode(c.t, m)
}

func TestBadBlobs(t *testing.T) {
	for _, tt := range []struct {
		name, data, format, code string
	}{
		{"empty.json", "", "json", "BadRequest_EmptyBlob"},
		{"nothing.json.gz", "", "json", "BadRequest_NoRecordsOrWrongFormat"},
		{"blank.json", " \n\n", "json", "BadRequest_NoRecordsOrWrongFormat"},
		{"notjson.json", "a,b\n", "json", "BadRequest_NoRecordsOrWrongFormat"},
		{"torn.multijson", `{"a":1}{"a":`, "multijson", "BadRequest_InvalidBlob"},
		{"list.multijson", `[1,2]`, "multijson", "BadRequest_InvalidBlob"},
		{"few.csv", "x,1\nx\n", "csv", "Stream_WrongNumberOfFields"},
		{"many.csv", "x,1\nx,1,2\n", "csv", "Stream_WrongNumberOfFields"},
		{"quote.csv", "x,\"1\n", "csv", "Stream_ClosingQuoteMissing"},
		{"big.csv", strings.Repeat("x,1\n", 2000), "csv", "Stream_InputStreamTooLarge"},
		{"bad.zip", "PK", "csv", "BadRequest_InvalidArchive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, &Options{MaxBlobBytes: 4000})
			c.create(Column{Name: "a", Type: "string"}, Column{Name: "b", Type: "long"})
			var uri string
			if tt.name == "big.csv" {
				uri = c.upload(tt.name+".gz", tt.data)
			} else {
				uri = c.upload(tt.name, tt.data)
			}
			id, text := c.message(uri, max(len(tt.data), 1), format(tt.format))
			c.enqueue(text)
			c.expect(id, "Failed", tt.code)
			c.count(0)
		})
	}
	t.Run("not gzip", func(t *testing.T) {
		c := start(t, nil)
		c.create()
		blob := c.blob(c.containers[0], "a.json.gz")
		if _, err := blob.UploadBuffer(t.Context(), []byte("{}\n"), nil); err != nil {
			t.Fatal(err)
		}
		id, text := c.message(blob.URL(), 3)
		c.enqueue(text)
		c.expect(id, "Failed", "BadRequest_InvalidBlob")
		if _, err := blob.UploadBuffer(t.Context(), []byte(gzipped(t, "{}\n")[:20]), nil); err != nil {
			t.Fatal(err)
		}
		id, text = c.message(blob.URL(), 3)
		c.enqueue(text)
		c.expect(id, "Failed", "BadRequest_InvalidBlob")
	})
}

func TestMalformedLines(t *testing.T) {
	const data = "{\"n\":1}\nnot json\n{\"n\":2}\n[3]\n"
	c := start(t, nil)
	c.create()
	c.expect(c.send("a.json", data), "Succeeded", "")
	c.count(2)
	if got := c.sim.Stats().MalformedLines; got != 2 {
		t.Errorf("%d malformed lines counted, want 2", got)
	}
	strict := start(t, &Options{FailMalformedJSON: true})
	strict.create()
	strict.expect(strict.send("a.json", data), "Failed", "BadRequest_UnexpectedCharacterInInputStream")
	strict.count(0)
}

func TestTagStopsTheSecond(t *testing.T) {
	for _, asFailed := range []bool{false, true} {
		t.Run(fmt.Sprint(asFailed), func(t *testing.T) {
			c := start(t, &Options{TagHitAsFailed: asFailed})
			c.create()
			first := c.send("a.json", "{}\n", tagged("b1"))
			c.expect(first, "Succeeded", "")
			second := c.send("b.json", "{}\n", tagged("b1"))
			want := "Skipped"
			if asFailed {
				want = "Failed"
			}
			c.expect(second, want, "Skipped_IngestByTagAlreadyExists")
			// The tag is looked for before the blob, which need not be there.
			id, text := c.message(ingestor.WithoutQuery(c.containers[0])+"/gone.json?x", 3, tagged("b1"))
			c.enqueue(text)
			c.expect(id, want, "Skipped_IngestByTagAlreadyExists")
			c.count(1)
			if e := c.sim.Extents("db1", "t1"); len(e) != 1 || !slices.Equal(e[0].Tags, []string{"ingest-by:b1"}) || e[0].RowCount != 1 || !strings.HasSuffix(e[0].Source, "/a.json") {
				t.Errorf("extents are %+v", e)
			}
			c.sim.DropTag("db1", "t1", "ingest-by:b1")
			c.expect(c.send("c.json", "{}\n", tagged("b1")), "Succeeded", "")
			c.count(2)
		})
	}
}

func TestTagAloneDoesNotStop(t *testing.T) {
	c := start(t, nil)
	c.create()
	only := property("tags", `["ingest-by:x"]`)
	c.expect(c.send("a.json", "{}\n", only), "Succeeded", "")
	c.expect(c.send("a.json", "{}\n", only), "Succeeded", "")
	c.count(2)
	check := property("ingestIfNotExists", `["y"]`)
	c.expect(c.send("b.json", "{}\n", check), "Succeeded", "")
	c.expect(c.send("b.json", "{}\n", check), "Succeeded", "")
	c.count(4)
}

func TestRawSizeIsCompared(t *testing.T) {
	c := start(t, nil)
	c.create()
	c.expect(c.send("a.json.gz", "{}\n", field("RawDataSize", 4)), "Succeeded", "")
	c.expect(c.send("b.json.gz", "{}\n", field("RawDataSize", "3")), "Succeeded", "")
	c.expect(c.send("c.json.gz", "{}\n", field("RawDataSize", nil)), "Succeeded", "")
	if got := c.sim.Stats().RawSizeMismatch; got != 1 {
		t.Errorf("%d wrong sizes, want 1", got)
	}
}

func TestBatching(t *testing.T) {
	for _, tt := range []struct {
		name   string
		opts   Options
		edits  []edit
		send   int
		reason string
		want   int64
	}{
		{"time", Options{}, nil, 3, "Time", 1},
		{"items", Options{BatchTime: time.Hour, BatchItems: 3}, nil, 6, "Count", 2},
		{"bytes", Options{BatchTime: time.Hour, BatchBytes: 6}, nil, 4, "Size", 2},
		{"flush", Options{BatchTime: time.Hour}, []edit{field("FlushImmediately", true)}, 2, "FlushImmediately", 2},
		{"tag", Options{BatchTime: time.Hour}, []edit{property("tags", `["ingest-by:x"]`)}, 2, "SingleBlob_IngestByTag", 2},
		{"if not exists", Options{BatchTime: time.Hour}, []edit{property("ingestIfNotExists", `["x"]`)}, 2, "SingleBlob_IngestIfNotExists", 2},
		{"size unknown", Options{BatchTime: time.Hour}, []edit{field("RawDataSize", nil)}, 2, "SingleBlob_SizeUnknown", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "time" {
				tt.opts.BatchTime = 300 * time.Millisecond // long enough for all three to meet
			}
			c := start(t, &tt.opts)
			c.create()
			var texts []string
			for i := range tt.send {
				_, text := c.message(c.upload(fmt.Sprintf("b%d.json", i), "{}\n"), 3, tt.edits...)
				texts = append(texts, text)
			}
			for _, text := range texts {
				c.enqueue(text)
			}
			c.wait(func() bool { return c.sim.Count("db1", "t1") == tt.send })
			if got := c.sim.Stats().Batches; got[tt.reason] != tt.want || len(got) != 1 {
				t.Errorf("batches are %v, want %d for %s", got, tt.want, tt.reason)
			}
		})
	}
}

func TestPropertiesDivideBatches(t *testing.T) {
	c := start(t, &Options{BatchTime: time.Hour, BatchItems: 2})
	c.create()
	a := c.send("1.json", "{}\n")
	c.send("2.json", "{}\n", property("tags", `["drop-by:x"]`))
	c.send("3.json", "{}\n", property("creationTime", "2025-01-01T00:00:00Z"))
	b := c.send("4.json", "{}\n", property("creationTime", "0001-01-01T00:00:00Z"))
	c.expect(a, "Succeeded", "")
	c.expect(b, "Succeeded", "")
	c.count(2)
	e := c.sim.Extents("db1", "t1")
	if len(e) != 2 || e[0].Operation != e[1].Operation || e[0].ID == e[1].ID {
		t.Errorf("extents are %+v, want two of one operation", e)
	}
}

func TestSameBlobTwiceInOneBatch(t *testing.T) {
	c := start(t, &Options{BatchTime: time.Hour, BatchItems: 2})
	c.create()
	uri := c.upload("a.json", "{}\n")
	first, text := c.message(uri, 3)
	c.enqueue(text)
	second, text := c.message(uri, 3)
	c.enqueue(text)
	c.expect(first, "Succeeded", "")
	c.expect(second, "Failed", "BlobAlreadyReceived_BlobAlreadyFoundInBatch")
	c.count(1)
	// In another batch the service knows nothing of it any more.
	for range 2 {
		third, text := c.message(uri, 3, field("FlushImmediately", true))
		c.enqueue(text)
		c.expect(third, "Succeeded", "")
	}
	c.count(3)
}

func TestDeletesTheBlob(t *testing.T) {
	c := start(t, nil)
	c.create()
	uri := c.upload("a.json", "{}\n")
	id, text := c.message(uri, 3, field("RetainBlobOnSuccess", false))
	c.enqueue(text)
	c.expect(id, "Succeeded", "")
	if got := c.sim.Blobs(); len(got) != 0 {
		t.Errorf("blobs are left: %q", got)
	}
	again, text := c.message(uri, 3)
	c.enqueue(text)
	c.expect(again, "Failed", "Download_SourceNotFound")
	c.count(1)
}

func TestReportLevels(t *testing.T) {
	c := start(t, nil)
	c.create()
	for _, tt := range []struct {
		level         any
		good, failure bool
	}{{0, false, true}, {"FailuresOnly", false, true}, {1, false, false}, {"none", false, false}, {2, true, true}, {"FailuresAndSuccesses", true, true}} {
		good := c.send("a.json", "{}\n", field("ReportLevel", tt.level), field("FlushImmediately", true))
		bad := c.send("a.json", "{}\n", field("ReportLevel", tt.level), field("TableName", "no"))
		c.expect(c.send("a.json", "{}\n", field("FlushImmediately", true)), "Succeeded", "") // in order behind the others
		if got := c.row(good) != nil; got != tt.good {
			t.Errorf("level %v reports a success: %v", tt.level, got)
		}
		if got := c.row(bad) != nil; got != tt.failure {
			t.Errorf("level %v reports a failure: %v", tt.level, got)
		}
	}
}

func TestAutoCreate(t *testing.T) {
	c := start(t, &Options{AutoCreate: true})
	c.expect(c.send("a.json", "{}\n"), "Succeeded", "")
	c.count(1)
	known := start(t, &Options{AutoCreate: true, Databases: []string{"db1"}})
	known.expect(known.send("a.json", "{}\n"), "Succeeded", "")
	known.expect(known.send("a.json", "{}\n", field("DatabaseName", "db2")), "Failed", "BadRequest_DatabaseNotExist")
}

func TestTokensExpire(t *testing.T) {
	c := start(t, nil)
	c.create()
	c.sim.ExpireTokens()
	c.expect(c.send("a.json", "{}\n"), "Failed", "BadRequest_InvalidKustoIdentityToken")
	c.token = c.sim.IssueToken()
	c.expect(c.send("a.json", "{}\n"), "Succeeded", "")
	short := start(t, &Options{TokenLifetime: time.Nanosecond})
	short.create()
	short.expect(short.send("a.json", "{}\n"), "Failed", "BadRequest_InvalidKustoIdentityToken")
}
