package queued

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// lent is a container of the simulator, which stands for one of the user's.
func lent(t *testing.T, sim *kustosim.Sim) (container, sas string) {
	t.Helper()
	s, err := kusto.NewService(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Wire().CloseIdle()
	r, err := kusto.NewIngestion(s).Resources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	container, sas, _ = strings.Cut(r.Containers[0].URL(), "?")
	return container, sas
}

// Blobs go to the caller's container with a signature of the caller's, which
// shows nowhere, by queue and over REST.
func TestOwnStorageWithSAS(t *testing.T) {
	for _, protocol := range []Protocol{Queue, REST} {
		sim := startSim(t, nil)
		container, sas := lent(t, sim)
		var mu sync.Mutex
		asked := 0
		fail := false
		client := simClient(t, sim, &ClientOptions{Protocol: protocol, Storage: &Storage{Containers: []string{container},
			SAS: func(_ context.Context, of string) (string, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				if of != container {
					t.Errorf("asked for %s", of)
				}
				if fail {
					return "", errors.New("no signature, sig=" + secretSig)
				}
				return "?" + sas, nil
			}}})
		for n := range 4 {
			d, j := delivery(numbered(n), jsonLines)
			if _, err := client.Send(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(j.Last()), "sig=") {
				t.Errorf("progress %s", j.Last())
			}
		}
		settleSim(t, sim)
		account := strings.Join(strings.Split(container, "/")[3:], "/")
		for _, b := range sim.Blobs() {
			if !strings.HasPrefix(b, account+"/") {
				t.Errorf("a blob in another container: %s", b)
			}
		}
		if n := sim.Count("db1", "tbl1"); n != 8 || len(sim.Blobs()) != 4 || asked != 4 {
			t.Errorf("%d rows, %d blobs, %d signatures", n, len(sim.Blobs()), asked)
		}
		mu.Lock()
		fail = true
		mu.Unlock()
		d, _ := delivery(numbered(9), jsonLines)
		if _, err := client.Send(t.Context(), d); classOf(err) != transport.Transient || strings.Contains(err.Error(), secretSig) {
			t.Errorf("without a signature: %v", err)
		}
	}
}

// web answers for https hosts from a handler.
type web struct{ http.Handler }

func (c web) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	c.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// A credential writes, and the message tells the service how to read.
func TestOwnStorageWithCredential(t *testing.T) {
	var uploads []*http.Request
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The simulator's part: configuration absent, resources and token.
		if r.Method == http.MethodGet {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"Tables":[{"Columns":[{"ColumnName":"ResourceTypeName"},{"ColumnName":"StorageRoot"},{"ColumnName":"AuthorizationContext"}],"Rows":[`)
		if strings.Contains(r.Header.Get("x-test"), "token") {
			fmt.Fprint(w, `["","","id"]]}]}`)
			return
		}
		fmt.Fprint(w, `["TempStorage","https://lent.blob.core.windows.net/c?sig=a",""],["SecuredReadyForAggregationQueue","https://lent.queue.core.windows.net/q?sig=a",""]]}]}`)
	}))
	defer service.Close()
	var message string
	all := web{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Host, "127.0.0.1"):
			body := make([]byte, 1024)
			n, _ := r.Body.Read(body)
			if strings.Contains(string(body[:n]), "identity token") {
				r.Header.Set("x-test", "token")
			}
			service.Config.Handler.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Host, "mine.blob."):
			uploads = append(uploads, r)
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(http.StatusCreated)
		case strings.HasPrefix(r.URL.Host, "lent.queue."):
			body := make([]byte, 128<<10)
			n, _ := r.Body.Read(body)
			message = string(body[:n])
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `<QueueMessagesList><QueueMessage><MessageId>1</MessageId></QueueMessage></QueueMessagesList>`)
		default:
			t.Errorf("a request to %s", r.URL.Host)
		}
	})}
	opts := &ClientOptions{Protocol: Queue, Storage: &Storage{Containers: []string{"https://mine.blob.core.windows.net/box"},
		Credential: static("storage-token"), Access: "managed_identity=system"}}
	opts.Transport = all
	client, err := NewClient(service.URL, nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d, _ := delivery(jsonBatch(), jsonLines)
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if len(uploads) != 1 || uploads[0].Header.Get("Authorization") != "Bearer storage-token" || !strings.HasPrefix(uploads[0].URL.Path, "/box/") {
		t.Errorf("uploads: %v", uploads)
	}
	_, text, _ := strings.Cut(message, "<MessageText>")
	text, _, _ = strings.Cut(text, "</MessageText>")
	if m := decodeText(t, text); !strings.HasPrefix(m, "https://mine.blob.core.windows.net/box/kustospool__") || !strings.HasSuffix(m, ".json.gz;managed_identity=system") {
		t.Errorf("BlobPath %s", m)
	}
}

func TestOwnStorageValidates(t *testing.T) {
	sas := func(context.Context, string) (string, error) { return "", nil }
	good := "https://mine.blob.core.windows.net/box"
	for name, tc := range map[string]struct {
		s    Storage
		want string
	}{
		"nothing":           {Storage{}, "Containers"},
		"http":              {Storage{Containers: []string{"http://mine.blob.core.windows.net/box"}, SAS: sas}, "https"},
		"no container":      {Storage{Containers: []string{"https://mine.blob.core.windows.net"}, SAS: sas}, "Containers"},
		"signature":         {Storage{Containers: []string{good + "?sig=" + secretSig}, SAS: sas}, "without a query"},
		"suffix":            {Storage{Containers: []string{good + ";impersonate"}, SAS: sas}, "Access"},
		"neither":           {Storage{Containers: []string{good}}, "only one"},
		"both":              {Storage{Containers: []string{good}, SAS: sas, Credential: static("x"), Access: "impersonate"}, "only one"},
		"SAS and access":    {Storage{Containers: []string{good}, SAS: sas, Access: "impersonate"}, "goes with Credential"},
		"no access":         {Storage{Containers: []string{good}, Credential: static("x")}, "managed_identity"},
		"key as access":     {Storage{Containers: []string{good}, Credential: static("x"), Access: "sharedkey=" + secretSig}, "managed_identity"},
		"token to nowhere":  {Storage{Containers: []string{"https://mine.example.org/box"}, Credential: static("x"), Access: "impersonate"}, "AllowHosts"},
		"look-alike domain": {Storage{Containers: []string{"https://blob.core.windows.net.example.org/box"}, Credential: static("x"), Access: "impersonate"}, "AllowHosts"},
	} {
		_, err := NewClient("https://c.kusto.windows.net", static("x"), &ClientOptions{Storage: &tc.s})
		if !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(fmt.Sprint(err), tc.want) || strings.Contains(fmt.Sprint(err), secretSig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range []Storage{
		{Containers: []string{good}, SAS: sas},
		{Containers: []string{good}, Credential: static("x"), Access: "managed_identity=1b4e28ba-2fa1-11d2-883f-0016d3cca427"},
		{Containers: []string{"https://mine.example.org/box"}, Credential: static("x"), Access: "impersonate", AllowHosts: []string{".example.org"}},
	} {
		if _, err := NewClient("https://c.kusto.windows.net", static("x"), &ClientOptions{Storage: &s}); err != nil {
			t.Errorf("%+v: %v", s.Containers, err)
		}
	}
}

// decodeText is the BlobPath of a posted message.
func decodeText(t *testing.T, text string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ BlobPath string }
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m.BlobPath
}
