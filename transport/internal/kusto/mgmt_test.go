package kusto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/ingest"
	"kustospool/transport"
)

// cluster is a scripted cluster on loopback.
type cluster struct {
	*httptest.Server

	mu sync.Mutex
	// mu guards the following.
	metadata func(http.ResponseWriter)
	mgmt     func(http.ResponseWriter, *http.Request, string)
	asked    int // metadata
	commands []string
	headers  []http.Header
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch r.URL.Path {
		case "/v1/rest/auth/metadata":
			c.asked++
			if r.Header.Get("Authorization") != "" {
				t.Error("the metadata request carries a token")
			}
			if c.metadata == nil {
				http.NotFound(w, r)
				return
			}
			c.metadata(w)
		case "/v1/rest/mgmt":
			var in struct {
				DB, CSL    string
				Properties struct{ Options map[string]string }
			}
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.DB == "" || in.Properties.Options["servertimeout"] == "" {
				t.Errorf("the command's body: %+v, %v", in, err)
			}
			c.commands = append(c.commands, in.CSL)
			c.headers = append(c.headers, r.Header.Clone())
			c.mgmt(w, r, in.CSL)
		default:
			t.Errorf("unexpected request for %s", r.URL.Path)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// seen is how many times the metadata were asked for, and the commands.
func (c *cluster) seen() (asked int, commands []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, slices.Clone(c.commands)
}

// service connects to a cluster; its connections end with the test.
func service(t *testing.T, endpoint string, cred azcore.TokenCredential, opts *Options) *Service {
	t.Helper()
	s, err := NewService(endpoint, cred, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Wire().CloseIdle)
	return s
}

type tokens struct {
	mu     sync.Mutex
	err    error
	scopes []string
}

func (c *tokens) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scopes = append(c.scopes, o.Scopes...)
	return azcore.AccessToken{Token: fmt.Sprint("secret-token-", len(c.scopes)), ExpiresOn: time.Now().Add(time.Hour)}, c.err
}

func one(columns, values string) string {
	return `{"Tables":[{"TableName":"Table_0","Columns":[` + columns + `],"Rows":[` + values + `]}]}`
}

func TestMgmtOnTheWire(t *testing.T) {
	c := newCluster(t)
	c.mgmt = func(w http.ResponseWriter, _ *http.Request, _ string) {
		io.WriteString(w, one(`{"ColumnName":"A"}`, `["x"]`))
	}
	cred := &tokens{}
	s := service(t, c.URL, cred, &Options{App: "böat\n7"})
	for range 2 {
		tables, err := s.Mgmt(t.Context(), Call{Op: "test", Command: ".show <version>"})
		if err != nil || tables[0].Text(0, "A") != "x" {
			t.Fatal(tables, err)
		}
	}
	asked, commands := c.seen()
	if asked != 1 || len(cred.scopes) != 1 || cred.scopes[0] != defaultResource+"/.default" {
		t.Errorf("%d metadata requests, scopes %v", asked, cred.scopes)
	}
	c.mu.Lock()
	h := c.headers[1]
	c.mu.Unlock()
	for key, want := range map[string]string{
		"Accept": "application/json", "Content-Type": "application/json; charset=utf-8", "X-Ms-Version": apiVersion,
		"X-Ms-App": "b?at?7", "Authorization": "Bearer secret-token-1",
	} {
		if got := h.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if !strings.HasPrefix(h.Get("X-Ms-Client-Request-Id"), "KSP.execute;") || !strings.HasPrefix(h.Get("X-Ms-Client-Version"), "Kusto.Spool:{") {
		t.Errorf("headers %v", h)
	}
	if commands[0] != ".show <version>" {
		t.Errorf("command %q", commands[0])
	}
}

func TestMetadata(t *testing.T) {
	for name, tc := range map[string]struct {
		reply func(http.ResponseWriter)
		scope string
		class transport.Class
	}{
		"empty": {func(w http.ResponseWriter) {}, defaultResource + "/.default", 0},
		"sovereign": {func(w http.ResponseWriter) {
			io.WriteString(w, `{"AzureAD":{"KustoServiceResourceId":"https://kusto.kusto.chinacloudapi.cn"}}`)
		}, "https://kusto.kusto.chinacloudapi.cn/.default", 0},
		"mfa": {func(w http.ResponseWriter) {
			io.WriteString(w, `{"AzureAD":{"LoginMfaRequired":true,"KustoServiceResourceId":"https://kusto.kusto.windows.net"}}`)
		}, "https://kusto.kustomfa.windows.net/.default", 0},
		"redirect": {func(w http.ResponseWriter) { w.Header().Set("Location", "https://evil.example/"); w.WriteHeader(302) }, "", transport.Transient},
		"down":     {func(w http.ResponseWriter) { w.WriteHeader(503) }, "", transport.Transient},
		"html":     {func(w http.ResponseWriter) { io.WriteString(w, "<html>") }, "", transport.Transient},
		"http":     {func(w http.ResponseWriter) { io.WriteString(w, `{"AzureAD":{"KustoServiceResourceId":"http://x"}}`) }, "", transport.Transient},
		"endless":  {func(w http.ResponseWriter) { io.WriteString(w, strings.Repeat(" ", maxMetadataBytes+1)) }, "", transport.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.metadata = tc.reply
			c.mgmt = func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, one("", "")) }
			cred := &tokens{}
			_, err := service(t, c.URL, cred, nil).Mgmt(t.Context(), Call{Op: "test", Effect: HasEffect})
			if tc.class == 0 {
				if err != nil || len(cred.scopes) != 1 || cred.scopes[0] != tc.scope {
					t.Fatalf("%v, scopes %v, want %s", err, cred.scopes, tc.scope)
				}
				return
			}
			var e *transport.Error
			if !errors.As(err, &e) || e.Class != tc.class || len(cred.scopes) != 0 {
				t.Fatalf("%v, scopes %v, want %v and no token", err, cred.scopes, tc.class)
			}
		})
	}
}

func TestCredentialRefuses(t *testing.T) {
	c := newCluster(t)
	for _, tc := range []struct {
		err  error
		want transport.Class
	}{
		{errors.New("invalid_client: client_secret=hunter2 is wrong"), transport.Unauthorized},
		{&net.DNSError{Err: "no such host", Name: "login.microsoftonline.com"}, transport.Transient},
	} {
		_, err := service(t, c.URL, &tokens{err: tc.err}, nil).Mgmt(t.Context(), Call{Op: "test", Effect: HasEffect})
		var e *transport.Error
		if !errors.As(err, &e) || e.Class != tc.want || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: got %v, want %v", tc.err, err, tc.want)
		}
	}
	if _, commands := c.seen(); len(commands) != 0 {
		t.Error("a command was sent without a token")
	}
}

func TestNoCredentialOnLoopbackOnly(t *testing.T) {
	_, err := NewService("https://c.kusto.windows.net", nil, nil)
	var fe *ingest.FieldError
	if !errors.As(err, &fe) || fe.Field != "credential" {
		t.Fatal(err)
	}
	c := newCluster(t)
	c.mgmt = func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a token out of nowhere")
		}
		io.WriteString(w, one("", ""))
	}
	_, err = service(t, c.URL, nil, nil).Mgmt(t.Context(), Call{Op: "test"})
	if asked, _ := c.seen(); err != nil || asked != 0 {
		t.Fatal(err, asked)
	}
}

func TestMgmtErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		status           int
		body             string
		discover, effect transport.Class
		code, message    string
	}{
		"throttled": {429, `{"error":{"code":"TooManyRequests","message":"m","@type":"X.ControlCommandThrottledException","@message":"slow down","@permanent":false}}`,
			transport.Throttled, transport.Throttled, "TooManyRequests", "slow down"},
		"wrong endpoint": {400, `{"error":{"code":"BadRequest","message":"use ingest-","@type":"AdminCommandWrongEndpointException","@permanent":false}}`,
			transport.Transient, transport.Transient, "BadRequest", "use ingest-"},
		"plain":     {502, "<html>bad gateway https://a/?sig=c2VjcmV0</html>", transport.Transient, transport.Unknown, "502", "bad gateway"},
		"empty":     {403, "", transport.Unauthorized, transport.Held, "403", "Forbidden"},
		"not json":  {200, "surprise", transport.Transient, transport.Unknown, "", "not a dataset"},
		"exception": {200, `{"Tables":[],"Exceptions":["died"]}`, transport.Transient, transport.Unknown, "", "died"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.mgmt = func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.body)
			}
			s := service(t, c.URL, nil, nil)
			for effect, want := range map[Effect]transport.Class{NoEffect: tc.discover, HasEffect: tc.effect} {
				_, err := s.Mgmt(t.Context(), Call{Op: "test", Effect: effect})
				var e *transport.Error
				if !errors.As(err, &e) || e.Class != want || e.Code != tc.code || !strings.Contains(e.Message, tc.message) || e.RequestID == "" {
					t.Errorf("effect %v: %+v, want %v", effect, err, want)
				}
				if strings.Contains(err.Error(), "c2VjcmV0") {
					t.Errorf("a secret: %v", err)
				}
				if tc.status != 200 && e.RetryAfter != 3*time.Second {
					t.Errorf("retry after %v", e.RetryAfter)
				}
			}
			if _, commands := c.seen(); len(commands) != 2 {
				t.Errorf("%d requests for 2 calls", len(commands))
			}
		})
	}
}

// A command that may have been taken is unknown; one that found no connection
// was certainly not.
func TestSentOrNot(t *testing.T) {
	dead := httptest.NewServer(nil)
	dead.Close()
	drop := newCluster(t)
	drop.mgmt = func(http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) }
	silent := carrier(func(*http.Request) (*http.Response, error) { return nil, errors.New("gone") })
	dial := carrier(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
	})
	for name, tc := range map[string]struct {
		endpoint string
		carrier  policy.Transporter
		want     transport.Class
	}{
		"refused":                    {dead.URL, nil, transport.Transient},
		"dropped":                    {drop.URL, nil, transport.Unknown},
		"foreign carrier":            {dead.URL, silent, transport.Unknown},
		"foreign carrier that dials": {dead.URL, dial, transport.Transient},
	} {
		s := service(t, tc.endpoint, nil, &Options{ClientOptions: azcore.ClientOptions{Transport: tc.carrier}})
		_, err := s.Mgmt(t.Context(), Call{Op: "test", Effect: HasEffect})
		var e *transport.Error
		if !errors.As(err, &e) || e.Class != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, commands := drop.seen(); len(commands) != 1 {
		t.Errorf("%d requests, want one", len(commands))
	}
}

type carrier func(*http.Request) (*http.Response, error)

func (c carrier) Do(r *http.Request) (*http.Response, error) { return c(r) }

func TestReplyIsBounded(t *testing.T) {
	endless := carrier(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(zeros{})}, nil
	})
	s := service(t, "http://127.0.0.1:1", nil, &Options{ClientOptions: azcore.ClientOptions{Transport: endless}})
	if _, err := s.Mgmt(t.Context(), Call{Op: "test"}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestResources(t *testing.T) {
	c := newCluster(t)
	const columns = `{"ColumnName":"StorageRoot"},{"ColumnName":"Novel"},{"ColumnName":"ResourceTypeName"}`
	rows := []string{
		`["https://acc1.blob.core.windows.net/cont?` + testSAS + `",1,"TempStorage"]`,
		`["http://127.0.0.1:5/acc2/cont?` + testSAS + `",1,"TempStorage"]`,
		`["http://acc3.blob.core.windows.net/plain-http?` + testSAS + `",1,"TempStorage"]`,
		`["https://acc1.queue.core.windows.net/q?` + testSAS + `",1,"SecuredReadyForAggregationQueue"]`,
		`["https://acc1.queue.core.windows.net/f?` + testSAS + `",1,"FailedIngestionsQueue"]`,
		`["not even a URL \u0001",1,"NovelKind"]`,
		`["https://acc1.table.core.windows.net/t?` + testSAS + `",1,"IngestionsStatusTable"]`,
	}
	usable := true
	c.mgmt = func(w http.ResponseWriter, _ *http.Request, csl string) {
		switch {
		case csl == ".get kusto identity token":
			io.WriteString(w, one(`{"ColumnName":"AuthorizationContext"}`, `["idtok"]`))
		case usable:
			io.WriteString(w, one(columns, strings.Join(rows, ",")))
		default:
			io.WriteString(w, one(columns, rows[0]))
		}
	}
	in := NewIngestion(service(t, c.URL, nil, nil))
	for range 3 {
		r, err := in.Resources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Containers) != 2 || len(r.Queues) != 1 || len(r.StatusTables) != 1 {
			t.Fatalf("%v", r)
		}
		if a, b := r.Containers[0], r.Containers[1]; a.Account != "acc1" || b.Account != "acc2" || b.Path != "acc2/cont" || r.Queues[0].Account != "acc1" {
			t.Errorf("accounts %v, %v", a, b)
		}
		if got, want := r.Containers[0].Join("b.gz"), "https://acc1.blob.core.windows.net/cont/b.gz?"+testSAS; got != want {
			t.Errorf("joined %s, want %s", got, want)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", r, *r, r.Containers, r.Queues[0]); strings.Contains(s, "sig") {
			t.Errorf("printing shows the SAS: %s", s)
		}
		if tok, err := in.Token(t.Context()); tok != "idtok" || err != nil {
			t.Fatal(tok, err)
		}
	}
	if _, commands := c.seen(); len(commands) != 2 {
		t.Errorf("commands %v", commands)
	}
	c.mu.Lock()
	usable = false
	c.mu.Unlock()
	_, err := NewIngestion(service(t, c.URL, nil, nil)).Resources(t.Context())
	var e *transport.Error
	if !errors.As(err, &e) || e.Class != transport.Transient || e.Op != opResources {
		t.Errorf("without a queue: %v", err)
	}
}
