package queued

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kustospool/transport"
)

func TestProgressRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := progress{Version: progressVersion, Host: "acc.blob.core.windows.net", Container: "c", Blob: "b.gz", Stage: stageEnqueue,
			ETag: rapid.StringN(0, 100, 128).Draw(t, "etag"), Wire: rapid.Int64Min(0).Draw(t, "wire")}
		n := rapid.IntRange(0, 300).Draw(t, "attempts")
		for i := range n {
			p = p.with(i*3 + 1)
		}
		b := p.encode()
		if len(b) > transport.MaxProgressBytes {
			t.Fatalf("%d bytes", len(b))
		}
		back := decodeProgress(b)
		if back.latest() != p.latest() || len(back.Attempts) > maxAttempts || len(back.Attempts) < min(n, 32) {
			t.Fatalf("attempts %v became %v", p.Attempts, back.Attempts)
		}
		p.Attempts, back.Attempts = nil, nil
		if strings.ToValidUTF8(p.ETag, "") == p.ETag && !reflect.DeepEqual(p, back) {
			t.Fatalf("%+v became %+v", p, back)
		}
	})
}

func FuzzDecodeProgress(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(`{"v":1,"host":"h","container":"c","blob":"b","stage":"enqueue","etag":"\"1\"","wire":7,"attempts":[3,1,1,-2]}`))
	f.Add([]byte(`{"v":2,"attempts":[1]}`))
	f.Add([]byte(`{"v":1,"attempts":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := decodeProgress(b)
		if p.Version != progressVersion {
			t.Fatalf("version %d", p.Version)
		}
		for i, n := range p.Attempts {
			if n < 1 || i > 0 && n <= p.Attempts[i-1] {
				t.Fatalf("attempts %v", p.Attempts)
			}
		}
		if again := p.encode(); len(again) > transport.MaxProgressBytes {
			t.Fatalf("%d bytes", len(again))
		}
	})
}

func FuzzDecodeRow(f *testing.F) {
	f.Add([]byte(`{"RowKey":"k","Status":"Failed","ErrorCode":"BadRequest_TableNotExist","FailureStatus":1,"Details":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRow(b)
		if err != nil {
			return
		}
		if o, _ := judge([]row{r, r}, 0); o.State != 0 && !o.State.Valid() {
			t.Fatalf("%+v: %+v", r, o)
		}
	})
}
