package e2e_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/admin"
	"kustospool/transport/direct"
	"kustospool/transport/queued"
	"kustospool/transport/transporttest"
)

// The secrets that a service is given or gives, none of which looks like one
// where it stands alone.
const (
	echoedSignature = "hJ3k+Zm9v/c2VjcmV0Q0FGRUJBQkU2Nzg5MDEyMzQ="
	echoedIdentity  = "Identity7hQ2mN5cVwX1rT8yU4pLz6KdE3gBfA9sJ0o"
	echoedBearer    = "bearer-token-of-the-user" // fixedToken's
)

// An echo is how a service says a secret again. each is what it makes of it.
var spoken = map[string]func(string) string{
	"as it is":       func(s string) string { return s },
	"percent":        url.QueryEscape,
	"percent twice":  func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"base64":         func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 in more": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("v:" + s + ":e")) },
	"hexadecimal":    func(s string) string { return hex.EncodeToString([]byte(s)) },
	"entities":       func(s string) string { return html.EscapeString(strings.ReplaceAll(s, "e", "&#101;")) },
}

// echo is a cluster of which one kind of reply says something, everywhere.
type echo struct {
	*recorder
	at     func(*http.Request) bool
	secret string // what is said
	say    string // and in which spelling
	how    string
	armed  atomic.Bool // until then all replies are good ones: a client must have got a secret to know it
	spoken atomic.Int64
}

// The ways of a reply to say something.
var echoes = []string{"400", "403", "404", "409", "429", "500", "503", "good", "broken", "exception", "redirect", "error", "panic"}

func (e *echo) Do(r *http.Request) (*http.Response, error) {
	if !e.armed.Load() || !e.at(r) {
		return e.recorder.Do(r)
	}
	e.spoken.Add(1)
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	say := e.say
	header := http.Header{"Content-Type": {"application/json"}}
	for _, name := range []string{"x-ms-error-code", "x-ms-request-id", "x-ms-client-request-id", "x-ms-activity-id", "ETag", "Retry-After", "WWW-Authenticate", "Location", "Server", "Date", "x-ms-version"} {
		header.Set(name, say)
	}
	reply := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Status: say, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	quoted, _ := json.Marshal(say)
	q := string(quoted)
	switch e.how {
	case "error":
		return nil, fmt.Errorf("dial tcp: lookup %s: %w", say, errors.New(say))
	case "panic":
		panic("no " + say)
	case "broken":
		return reply(http.StatusOK, say)
	case "redirect":
		return reply(http.StatusTemporaryRedirect, say)
	case "exception":
		return reply(http.StatusOK, `{"Tables":[],"Exceptions":[`+q+`]}`)
	case "good":
		header.Del("Date")
		return reply(e.good(r, say, q))
	}
	var status int
	_, _ = fmt.Sscan(e.how, &status)
	if xmlReply(r) {
		header.Del("x-ms-error-code")
		return reply(status, "<Error><Code>"+html.EscapeString(say)+"</Code><Message>"+html.EscapeString(say)+"</Message></Error>")
	}
	return reply(status, `{"error":{"code":`+q+`,"message":`+q+`,"@type":`+q+`,"@message":`+q+`,"@permanent":false,"innererror":{"code":`+q+`}}}`)
}

func xmlReply(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/messages") || strings.HasPrefix(r.URL.Path, "/acc/c/")
}

// good is a reply as it should be, that says it in every field.
func (e *echo) good(r *http.Request, say, q string) (int, string) {
	table := func(columns ...string) string {
		var names, values []string
		for _, c := range columns {
			names = append(names, `{"ColumnName":"`+c+`"}`)
			switch c {
			case "State":
				values = append(values, `"Failed"`)
			default:
				values = append(values, q)
			}
		}
		return `{"Tables":[{"TableName":` + q + `,"Columns":[` + strings.Join(names, ",") + `],"Rows":[[` + strings.Join(values, ",") + `]]}]}`
	}
	switch p := r.URL.Path; {
	case strings.HasSuffix(p, "/metadata"):
		return 200, `{"AzureAD":{"LoginEndpoint":` + q + `,"KustoServiceResourceId":` + q + `}}`
	case p == "/v1/rest/mgmt":
		return 200, table("ResourceTypeName", "StorageRoot", "AuthorizationContext", "Total", "ExtentId", "OperationId", "ClientActivityId", "State", "FailureReason", "Status")
	case strings.HasSuffix(p, "/configuration"):
		return 200, `{"containerSettings":{"containers":[{"path":"` + recordedHost + `/acc/` + strings.Trim(url.PathEscape(say), "/") + `?sig=` + e.signature + `"}]},"ingestionSettings":{"preferredIngestionMethod":"Rest"}}`
	case strings.Contains(p, "/queued/") && r.Method == http.MethodPost:
		return 200, `{"ingestionOperationId":` + q + `}`
	case strings.Contains(p, "/queued/"):
		return 200, `{"status":{"failed":1},"details":[{"status":"Failed","errorCode":` + q + `,"failureStatus":` + q + `,"details":` + q + `}]}`
	case strings.HasPrefix(p, "/acc/t") && r.Method == http.MethodGet:
		return 200, `{"value":[{"PartitionKey":` + q + `,"RowKey":` + q + `,"Status":"Failed","ErrorCode":` + q + `,"FailureStatus":` + q + `,"Details":` + q + `,"OperationId":` + q + `}]}`
	case strings.Contains(p, "/messages") && r.Method == http.MethodGet:
		report, _ := json.Marshal(map[string]string{"IngestionSourceId": echoBatch().ID.String(), "FailedOn": say, "ErrorCode": say, "FailureStatus": say, "Details": say, "OperationId": say})
		return 200, "<QueueMessagesList><QueueMessage><MessageId>" + html.EscapeString(say) + "</MessageId><MessageText>" + base64.StdEncoding.EncodeToString(report) + "</MessageText></QueueMessage></QueueMessagesList>"
	case strings.Contains(p, "/messages"):
		return 201, "<QueueMessagesList><QueueMessage><MessageId>" + html.EscapeString(say) + "</MessageId><PopReceipt>" + html.EscapeString(say) + "</PopReceipt></QueueMessage></QueueMessagesList>"
	case strings.Contains(r.URL.RawQuery, "blocklist"):
		return 200, "<BlockList><CommittedBlocks><Block><Name>" + html.EscapeString(say) + "</Name><Size>1</Size></Block></CommittedBlocks></BlockList>"
	}
	return 201, ""
}

func echoBatch() *ingest.Batch {
	return &ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{1}, 1, 1, 1), Lane: 1, First: 1, Last: 1, RawBytes: 11, SealedAt: time.Unix(1e9, 0),
		Properties: ingest.Properties{Database: "D", Table: "T", Format: ingest.CSV}, Guarantee: ingest.ExactlyOnce}
}

// TestNoSecretLeavesATransport has a hostile service say each secret again, in
// each spelling, wherever a reply has room for it, and looks at all that the
// transports let out: errors with all that they hold, verdicts, progress.
func TestNoSecretLeavesATransport(t *testing.T) {
	if testing.Short() {
		t.Skip("searches every reply in every spelling; runs without -short")
	}
	asked := make(map[string]bool)
	spellings := slices.Sorted(maps.Keys(spoken))
	for k, kind := range slices.Sorted(maps.Keys(replies)) {
		if kind == "metadata" { // asked for once, before there is a secret
			continue
		}
		for h, how := range echoes {
			for n, secret := range []string{echoedSignature, echoedIdentity, echoedBearer} {
				// As it is, and in one of the others: all of them have their turn.
				for _, name := range []string{"as it is", spellings[(k+h+n)%len(spellings)]} {
					e := &echo{recorder: newRecorder(), at: replies[kind], secret: secret, say: spoken[name](secret), how: how}
					e.signature, e.identity = url.QueryEscape(echoedSignature), echoedIdentity
					var out bytes.Buffer
					synctest.Test(t, func(t *testing.T) { e.useAll(t, &out) })
					asked[kind] = asked[kind] || e.spoken.Load() > 0
					if found := leaked(out.Bytes()); found != "" {
						t.Errorf("%s, %s, %s: %s", kind, how, name, found)
					}
				}
			}
		}
		if !asked[kind] {
			t.Errorf("%s: nothing asks for it", kind)
		}
	}
}

// Control: the search finds a secret in each spelling.
func TestLeaksAreFound(t *testing.T) {
	for name, spell := range spoken {
		for _, secret := range []string{echoedSignature, echoedIdentity, echoedBearer} {
			if leaked([]byte("before "+spell(secret)+" after")) == "" {
				t.Errorf("%s of %s is not found", name, secret)
			}
		}
	}
	if found := leaked([]byte("nothing of it; REDACTED")); found != "" {
		t.Errorf("found %s", found)
	}
}

var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}`)

// leaked says which piece of a secret is in data, in any spelling; empty for none.
func leaked(data []byte) string {
	texts := []string{string(data)}
	for range 3 {
		last := html.UnescapeString(texts[len(texts)-1])
		last = regexp.MustCompile(`%[0-9A-Fa-f]{2}`).ReplaceAllStringFunc(last, func(s string) string { u, _ := url.PathUnescape(s); return u })
		texts = append(texts, last)
	}
	for _, run := range encoded.FindAllString(string(data), -1) {
		if b, err := hex.DecodeString(run[:len(run)&^1]); err == nil {
			texts = append(texts, string(b))
		}
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for off := range 4 {
			if len(run)-off >= 16 {
				b, _ := base64.RawStdEncoding.DecodeString(run[off : off+(len(run)-off)&^3])
				texts = append(texts, string(b))
			}
		}
	}
	for _, text := range texts {
		text = strings.ToLower(text)
		for _, secret := range []string{echoedSignature, echoedIdentity, echoedBearer} {
			const piece = 14
			for off := 0; off+piece <= len(secret); off++ {
				if at := strings.Index(text, strings.ToLower(secret[off:off+piece])); at >= 0 {
					return fmt.Sprintf("%q of %s in %.200q", secret[off:off+piece], secret[:8], text[max(at-100, 0):])
				}
			}
		}
	}
	return ""
}

// useAll has all clients ask for all that they ask for, and writes out what
// comes of it.
func (e *echo) useAll(t *testing.T, out io.Writer) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
	defer cancel()
	sdk := azcore.ClientOptions{Transport: e}
	guarded := func(call func() error) {
		err := transport.Guard("x", call)
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(out, "%v\n%+v\n", err, err)
			var te *transport.Error
			if errors.As(err, &te) {
				fmt.Fprintf(out, "%+v\n%s\n", *te, te.Failure(time.Time{}))
			}
		}
	}
	b := echoBatch()
	send := func(tr transport.Transport, b *ingest.Batch, attempt int, progress string) {
		if attempt == 1 {
			e.armed.Store(false)
			if _, err := tr.Send(ctx, &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes([]byte("the,record\n")), Journal: new(transporttest.Journal)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Hour) // so that all that is kept is asked for again
			e.armed.Store(true)
		}
		j := new(transporttest.Journal)
		guarded(func() error {
			ack, err := tr.Send(ctx, &transport.Delivery{Batch: b, Attempt: attempt, Progress: []byte(progress), Payload: transporttest.Bytes([]byte("the,record\n")), Journal: j})
			fmt.Fprintf(out, "%+v\n", ack)
			return err
		})
		fmt.Fprintf(out, "%s\n", j.Last())
		tracker, ok := tr.(transport.Tracker)
		if !ok {
			return
		}
		for _, p := range []string{string(j.Last()), progress, `{"v":1,"attempts":[1]}`, `{"v":1,"submits":[{"attempt":1,"operation":"op-1"}]}`, `{"v":1,"attempts":[1],"reports":true}`, `{"v":1,"requests":["KSP.ingest;1"]}`} {
			guarded(func() error {
				verdicts, err := tracker.Track(ctx, []transport.Pending{{Batch: b, Progress: []byte(p)}})
				for _, v := range verdicts {
					fmt.Fprintf(out, "%+v\n", v)
					if v.Failure != nil {
						fmt.Fprintf(out, "%+v\n", *v.Failure)
					}
				}
				return err
			})
		}
	}
	begun := `{"v":1,"host":"127.0.0.1:1","container":"acc/c","blob":"kustospool__D__T__` + b.ID.String() + `.csv.gz","blocks":"1:16x1:` + strings.Repeat("0", 32) + `"}`
	for _, o := range []queued.ClientOptions{{Protocol: queued.Queue}, {Protocol: queued.REST}, {Protocol: queued.Queue, Outcomes: queued.PeekReports}} {
		o.ClientOptions = sdk
		c, err := queued.NewClient(recordedHost, fixedToken{}, &o)
		if err != nil {
			t.Fatal(err)
		}
		send(c, b, 1, "")
		send(c, b, 2, begun)
		fmt.Fprintf(out, "%+v\n", c.Figures())
	}
	for _, o := range []direct.ClientOptions{{}, {Async: true}, {Inline: true}} {
		// A client knows what it has in use: this one asks for no identity token,
		// and for no signature where it puts the data into the command.
		if e.secret == echoedIdentity || o.Inline && e.secret != echoedBearer {
			return
		}
		o.ClientOptions = sdk
		c, err := direct.NewClient(recordedHost, fixedToken{}, &o)
		if err != nil {
			t.Fatal(err)
		}
		send(c, b, 1, "")
		send(c, b, 2, begun)
		fmt.Fprintf(out, "%+v\n", c.Figures())
	}
	s, err := direct.NewStreamingClient(recordedHost, fixedToken{}, &direct.ClientOptions{ClientOptions: sdk})
	if err != nil {
		t.Fatal(err)
	}
	b2 := *b
	b2.Guarantee = ingest.AtLeastOnce
	send(s, &b2, 1, "")
	a, err := admin.NewClient(recordedHost, fixedToken{}, &admin.ClientOptions{ClientOptions: sdk})
	if err != nil {
		t.Fatal(err)
	}
	e.armed.Store(false)
	if err := a.SetStreaming(ctx, "D", "T", true); err != nil {
		t.Fatal(err)
	}
	e.armed.Store(true)
	guarded(func() error { return a.SetStreaming(ctx, "D", "T", true) })
}

// TestNoSecretReachesTheSpool runs a spool against such a service, and searches
// the bytes of its directory, its log, and all that it says.
func TestNoSecretReachesTheSpool(t *testing.T) {
	if testing.Short() {
		t.Skip("searches every reply in every spelling; runs without -short")
	}
	for _, how := range []string{"403", "good", "panic"} {
		for _, kind := range []string{"command", "message", "status table", "operation"} {
			for _, name := range []string{map[bool]string{true: "as it is", false: "base64 in more"}[how == "403"]} {
				say := spoken[name](echoedSignature) + " " + spoken[name](echoedIdentity) + " " + spoken[name](echoedBearer)
				e := &echo{recorder: newRecorder(), at: replies[kind], say: say, how: how}
				e.signature, e.identity = url.QueryEscape(echoedSignature), echoedIdentity
				protocol := queued.Queue
				if kind == "submission" || kind == "operation" || kind == "configuration" {
					protocol = queued.REST
				}
				dir := t.TempDir()
				var log lockedBuffer
				var said bytes.Buffer
				synctest.Test(t, func(t *testing.T) {
					c, err := queued.NewClient(recordedHost, fixedToken{}, &queued.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: e}, Protocol: protocol})
					if err != nil {
						t.Fatal(err)
					}
					s, err := engine.Open(dir, c, &engine.Options{NoSocket: true, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
					if err != nil {
						t.Fatal(err)
					}
					first, err := s.Ingest(t.Context(), &ingest.Request{Properties: echoBatch().Properties, Data: []byte("the,first")})
					if err != nil {
						t.Fatal(err)
					}
					_ = s.Flush(t.Context())
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					_, _ = s.Wait(ctx, first.ID)
					cancel()
					time.Sleep(2 * time.Hour)
					e.armed.Store(true)
					receipt, err := s.Ingest(t.Context(), &ingest.Request{Properties: echoBatch().Properties, Data: []byte("the,record")})
					if err != nil {
						t.Fatal(err)
					}
					_ = s.Flush(t.Context())
					ctx, cancel = context.WithTimeout(t.Context(), 3*time.Hour)
					status, err := s.Wait(ctx, receipt.ID)
					cancel()
					stats := s.Stats()
					fmt.Fprintf(&said, "%+v %v %+v\n", status, err, stats)
					for _, l := range stats.Lanes {
						fmt.Fprintf(&said, "%+v %s\n", l.Failure, l.Failure)
					}
					if status, err := s.Status(t.Context(), receipt.ID); err == nil {
						fmt.Fprintf(&said, "%+v %s\n", status.Failure, status.Failure)
					}
					fmt.Fprintf(&said, "%v\n", s.Close())
				})
				what := strings.Join([]string{kind, how, name}, ", ")
				if e.spoken.Load() == 0 {
					t.Fatalf("%s: nothing asks for it", what)
				}
				if found := leaked(log.Bytes()); found != "" {
					t.Errorf("%s: the log holds %s", what, found)
				}
				if found := leaked(said.Bytes()); found != "" {
					t.Errorf("%s: the spool says %s", what, found)
				}
				eachFile(t, dir, func(path string, data []byte) {
					if found := leaked(data); found != "" {
						t.Errorf("%s: %s holds %s", what, path, found)
					}
				})
			}
		}
	}
}
