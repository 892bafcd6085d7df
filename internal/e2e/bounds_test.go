package e2e_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/admin"
	"kustospool/transport/direct"
	"kustospool/transport/queued"
	"kustospool/transport/transporttest"
)

// maxReplyCost is what any one reply may cost in memory, above what was used
// before it.
const maxReplyCost = 64 << 20

// hostileSizes are how long the hostile replies are: up to a bound of 16 MiB,
// which was once thought to be enough, and up to what is read now.
var hostileSizes = []int64{15 << 20, 4 << 20}

// repeated is a reply: head, piece as often as there is room for, and tail.
type repeated struct{ head, piece, tail string }

func (r repeated) reader(size int64) io.Reader {
	size -= size % int64(len(r.piece))
	middle := &endless{[]byte(strings.Repeat(r.piece, 64<<10/len(r.piece)+1)), 0}
	return io.MultiReader(strings.NewReader(r.head), io.LimitReader(middle, size), strings.NewReader(r.tail))
}

type endless struct {
	piece []byte
	off   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.piece[e.off:])
	e.off = (e.off + n) % len(e.piece)
	return n, nil
}

const tableHead = `{"Tables":[{"TableName":"T","Columns":[{"ColumnName":"ResourceTypeName"}],"Rows":[`

// shapes are replies that are small for each byte that they make a decoder
// keep. Those of XML have names that begin so.
var shapes = map[string]repeated{
	"empty rows":         {tableHead, "[],", "[]]}]}"},
	"rows of a null":     {tableHead, "[0],", "[0]]}]}"},
	"one wide row":       {tableHead + "[", "0,", "0]]}]}"},
	"columns":            {`{"Tables":[{"Columns":[`, `{},`, `{}],"Rows":[]}]}`},
	"tables":             {`{"Tables":[`, `{},`, `{}]}`},
	"exceptions":         {`{"Exceptions":[`, `0,`, `0]}`},
	"a long code":        {`{"error":{"code":"`, "x", `"}}`},
	"a text of escapes":  {`{"Tables":[{"TableName":"T","Columns":[{"ColumnName":"AuthorizationContext"}],"Rows":[["`, `\u0001`, `"]]}]}`},
	"depth":              {"", "[", ""},
	"depth of objects":   {"", `{"a":`, ""},
	"keys":               {`{"value":[{`, `"":0,`, `"":0}]}`},
	"entities":           {`{"value":[`, `{"a":0},`, `{}]}`},
	"empty entities":     {`{"value":[`, `{},`, `{}]}`},
	"one long entity":    {`{"value":[{"Status":"Failed","Details":"`, `x`, `"}]}`},
	"containers":         {`{"containerSettings":{"containers":[`, `{},`, `{}]}}`},
	"details":            {`{"details":[`, `{},`, `{}]}`},
	"blanks":             {"", " ", ""},
	"XML depth":          {"", "<a>", ""},
	"XML depth of names": {"<QueueMessagesList>", "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>", ""},
	"XML blocks":         {"<BlockList><UncommittedBlocks>", "<Block/>", "</UncommittedBlocks></BlockList>"},
	"XML messages":       {"<QueueMessagesList>", "<QueueMessage/>", "</QueueMessagesList>"},
	"XML text":           {"<QueueMessagesList><QueueMessage><MessageText>", "x", "</MessageText></QueueMessage></QueueMessagesList>"},
	"XML attributes":     {"<QueueMessagesList ", `a="" `, "/>"},
	"XML behind text":    {"text ", "<a>", ""},
}

// hostile is a recorder of which one kind of reply is hostile.
type hostile struct {
	*recorder
	at     func(*http.Request) bool
	status int
	shape  repeated
	size   int64
	zipped []byte // instead of shape
	served atomic.Int64
}

func (h *hostile) Do(r *http.Request) (*http.Response, error) {
	if !h.at(r) {
		return h.recorder.Do(r)
	}
	h.served.Add(1)
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	header := http.Header{"Content-Type": {"application/xml"}}
	var body io.Reader
	if h.zipped != nil {
		header.Set("Content-Encoding", "gzip")
		body = bytes.NewReader(h.zipped)
	} else {
		body = h.shape.reader(h.size)
	}
	if strings.Contains(r.URL.Path, "rest") || strings.Contains(r.URL.Path, "/t") {
		header.Set("Content-Type", "application/json")
	}
	return &http.Response{StatusCode: h.status, Header: header, Body: io.NopCloser(body), Request: r, ContentLength: -1}, nil
}

// xmlReplies are those that storage writes in XML, or of which only an error is read.
var xmlReplies = map[string]bool{"block list": true, "blob": true, "message": true, "reports": true}

// replies are the kinds of requests that a reply is read of.
var replies = map[string]func(*http.Request) bool{
	"metadata":      func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/metadata") },
	"command":       func(r *http.Request) bool { return r.URL.Path == "/v1/rest/mgmt" },
	"configuration": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/configuration") },
	"submission": func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/queued/")
	},
	"operation": func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/queued/")
	},
	"stream":     func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/rest/ingest/") },
	"block list": func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "comp=blocklist") },
	"blob": func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/acc/c/")
	},
	"message": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/q/messages") },
	"reports": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/ok/messages") },
	"status row": func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/acc/t")
	},
	"status table": func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/acc/t")
	},
}

// TestHostileRepliesCostLittle has each kind of reply have each shape, and looks
// at the most memory that is ever in use meanwhile.
func TestHostileRepliesCostLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory, which the race detector multiplies; runs without -short")
	}
	bombs := make(map[string][]byte)
	for name, piece := range map[string]string{"empty rows": "[],", "XML blocks": "<Block/>"} {
		bombs[name] = gzipped(t, repeated{shapes[name].head, piece, shapes[name].tail}.reader(hostileSizes[0]))
	}
	most, where := int64(0), ""
	try := func(h *hostile, what string) {
		cost := peak(func() {
			synctest.Test(t, h.useAll) // retries wait
		})
		if h.served.Load() == 0 {
			t.Fatalf("%s: nothing asks for it", what)
		}
		if cost > most {
			most, where = cost, what
		}
		if cost > maxReplyCost {
			t.Errorf("%s: %d MiB", what, cost>>20)
		}
	}
	for kind, at := range replies {
		for name, shape := range shapes {
			if strings.HasPrefix(name, "XML") != xmlReplies[kind] {
				continue
			}
			for _, status := range []int{http.StatusOK, http.StatusBadRequest} {
				for _, size := range hostileSizes {
					if status != http.StatusOK && size == hostileSizes[0] {
						continue // more of it than of the other is never read
					}
					try(&hostile{recorder: newRecorder(), at: at, status: status, shape: shape, size: size}, fmt.Sprintf("%s, %s, %d, %d MiB", kind, name, status, size>>20))
				}
			}
		}
		for name, bomb := range bombs {
			try(&hostile{recorder: newRecorder(), at: at, status: http.StatusOK, zipped: bomb}, fmt.Sprintf("%s, %s in %d bytes of gzip", kind, name, len(bomb)))
		}
	}
	t.Logf("the most is %.1f MiB, of %s", float64(most)/(1<<20), where)
}

// Control: a reply of this size, decoded without a bound, is seen to cost more.
func TestHostileRepliesAreMeasured(t *testing.T) {
	cost := peak(func() {
		data, err := io.ReadAll(repeated{"", "x", ""}.reader(2 * hostileSizes[0]))
		if err != nil {
			t.Error(err)
		}
		again := append([]byte(nil), data...)
		kept := append([][]byte{data, again}, bytes.Split(data[:1<<20], []byte("x"))...)
		runtime.KeepAlive(kept)
	})
	if cost < maxReplyCost {
		t.Errorf("%d MiB", cost>>20)
	}
}

func gzipped(t *testing.T, r io.Reader) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.Copy(z, r)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// useAll has all the clients ask for all that they ever ask for. What they make
// of the replies is their own tests' matter: here nothing may panic or grow.
func (h *hostile) useAll(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sdk := azcore.ClientOptions{Transport: h}
	data := []byte("the,record\n")
	b := &ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{1}, 1, 1, 1), Lane: 1, First: 1, Last: 1, RawBytes: int64(len(data)),
		Properties: ingest.Properties{Database: "D", Table: "T", Format: ingest.CSV}, Guarantee: ingest.ExactlyOnce}
	send := func(tr transport.Transport, progress string) []byte {
		j := new(transporttest.Journal)
		_, _ = tr.Send(ctx, &transport.Delivery{Batch: b, Attempt: 2, Progress: []byte(progress), Payload: transporttest.Bytes(data), Journal: j})
		return j.Last()
	}
	// An upload that broke off: what storage has of it is asked for.
	begun := `{"v":1,"host":"127.0.0.1:1","container":"acc/c","blob":"kustospool__D__T__` + b.ID.String() + `.csv.gz","blocks":"1:16x1:` + strings.Repeat("0", 32) + `"}`
	for _, o := range []queued.ClientOptions{{Protocol: queued.Queue}, {Protocol: queued.REST}, {Protocol: queued.Queue, Outcomes: queued.PeekReports}} {
		o.ClientOptions = sdk
		c, err := queued.NewClient(recordedHost, nil, &o)
		if err != nil {
			t.Fatal(err)
		}
		send(c, begun)
		for _, p := range []string{`{"v":1,"attempts":[1]}`, `{"v":1,"submits":[{"attempt":1,"operation":"op-1"}]}`, `{"v":1,"attempts":[1],"reports":true}`} {
			_, _ = c.Track(ctx, []transport.Pending{{Batch: b, Progress: []byte(p)}})
		}
	}
	c, err := direct.NewClient(recordedHost, nil, &direct.ClientOptions{ClientOptions: sdk})
	if err != nil {
		t.Fatal(err)
	}
	send(c, begun)
	s, err := direct.NewStreamingClient(recordedHost, nil, &direct.ClientOptions{ClientOptions: sdk})
	if err != nil {
		t.Fatal(err)
	}
	b2 := *b
	b2.Guarantee = ingest.AtLeastOnce
	_, _ = s.Send(ctx, &transport.Delivery{Batch: &b2, Attempt: 1, Payload: transporttest.Bytes(data), Journal: new(transporttest.Journal)})
	a, err := admin.NewClient(recordedHost, fixedToken{}, &admin.ClientOptions{ClientOptions: sdk})
	if err != nil {
		t.Fatal(err)
	}
	_ = a.SetStreaming(ctx, "D", "T", true)
}

type fixedToken struct{}

func (fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "bearer-token-of-the-user", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// peak is the most memory in use while f runs, above what was before.
func peak(f func()) int64 {
	runtime.GC()
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	now := func() int64 { metrics.Read(sample); return int64(sample[0].Value.Uint64()) }
	idle := now()
	end, ended := make(chan struct{}), make(chan int64)
	go func() {
		most := idle
		ticker := time.NewTicker(200 * time.Microsecond)
		defer ticker.Stop()
		for {
			most = max(most, now())
			select {
			case <-end:
				ended <- most
				return
			case <-ticker.C:
			}
		}
	}()
	f()
	close(end)
	return <-ended - idle
}
