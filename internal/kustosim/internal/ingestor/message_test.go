package ingestor

import (
	"encoding/base64"
	"testing"
)

const guid = "0f0f0f0f-1111-2222-3333-444444444444"

func TestMessageSpellings(t *testing.T) {
	for name, text := range map[string]string{
		"pascal": `{"Id":"` + guid + `","BlobPath":"http://h/a/c/b.csv.gz?s=1","RawDataSize":7,"DatabaseName":"d","TableName":"t","RetainBlobOnSuccess":true,"FlushImmediately":true,
			"ReportLevel":2,"ReportMethod":1,"AdditionalProperties":{"format":"csv","ingestionMappingReference":"m","tags":"[\"x\"]","ignoreFirstRecord":true},"Unknown":{}}`,
		"camel and names": `{"id":"` + guid + `","blobPath":"http://h/a/c/b.csv.gz?s=1","rawDataSize":"7","databaseName":"d","tableName":"t","retainBlobOnSuccess":"true","flushImmediately":"True",
			"reportLevel":"FailuresAndSuccesses","reportMethod":"Table","additionalProperties":{"Format":"CSV","csvMappingReference":"m","Tags":["x"],"IgnoreFirstRecord":"true","jsonMappingReference":""},"ingestionStatusInTable":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, end := range []string{"", "\x00"} {
				m, bad := decodeMessage(base64.StdEncoding.EncodeToString([]byte(text + end)))
				if bad != nil {
					t.Fatal(bad)
				}
				in, bad := understand(m)
				if bad != nil {
					t.Fatal(bad)
				}
				if in.RawDataSize != (LooseInt{7, true}) || !bool(in.RetainBlobOnSuccess) || !bool(in.FlushImmediately) || in.ReportLevel != failuresAndSuccesses || in.ReportMethod != toTable ||
					in.format != "csv" || in.mappingName != "m" || len(in.tags) != 1 || !in.skipFirst || in.source() != "http://h/a/c/b.csv.gz" {
					t.Errorf("understood as %+v of %+v", in, in.Message)
				}
			}
		})
	}
}

func TestFormatFromTheName(t *testing.T) {
	for path, want := range map[string]string{"b.json.gz": "json", "b.multijson": "multijson", "b..gz": "csv", "b": "csv", "b.parquet": "parquet", "x.csv.zip": "csv"} {
		m, bad := decodeMessage(base64.StdEncoding.EncodeToString([]byte(`{"Id":"` + guid + `","BlobPath":"http://h/a/c/` + path + `?x","DatabaseName":"d","TableName":"t"}`)))
		if bad != nil {
			t.Fatal(bad)
		}
		if in, bad := understand(m); bad != nil || string(in.format) != want {
			t.Errorf("%s is %s, want %s: %v", path, in.format, want, bad)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(`{"Id":"` + guid + `","BlobPath":"http://h/b","DatabaseName":"d","TableName":"t","AdditionalProperties":{"tags":"[]","validationPolicy":"{}"}}`)
	f.Add(`{"ReportLevel":"x"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		m, bad := decodeMessage(base64.StdEncoding.EncodeToString([]byte(text)))
		if m == nil {
			if bad == nil {
				t.Fatal("neither message nor error")
			}
			return
		}
		if bad != nil {
			return
		}
		in, _ := understand(m)
		in.single()
		in.batchKey()
		in.source()
	})
}
