package kusto

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
)

// Whoever answers for a cluster chooses, in its metadata, what the token is
// for. It is asked for nothing but what a cluster takes.
func TestAudienceIsBound(t *testing.T) {
	allow := []string{"kusto.corp.example", ".adx.example"}
	for resource, scope := range map[string]string{
		"https://kusto.kusto.windows.net":                                   "https://kusto.kusto.windows.net/.default",
		"https://kusto.kusto.windows.net/":                                  "https://kusto.kusto.windows.net/.default",
		"https://api.kusto.windows.net":                                     "https://api.kusto.windows.net/.default",
		"https://kusto.kusto.usgovcloudapi.net":                             "https://kusto.kusto.usgovcloudapi.net/.default",
		"https://kusto.corp.example":                                        "https://kusto.corp.example/.default",
		"https://a.adx.example":                                             "https://a.adx.example/.default",
		"https://management.azure.com":                                      "",
		"https://graph.microsoft.com":                                       "",
		"https://vault.azure.net":                                           "",
		"https://storage.azure.com":                                         "",
		"https://evil.example":                                              "",
		"https://kusto.windows.net.evil.example":                            "",
		"https://evil.example/.kusto.windows.net":                           "",
		"https://evil.example?.kusto.windows.net":                           "",
		"https://evil.example#.kusto.windows.net":                           "",
		"https://kusto.kusto.windows.net/other":                             "",
		"https://kusto.kusto.windows.net?x":                                 "",
		"https://kusto.kusto.windows.net:8443":                              "",
		"https://evil.example\\.kusto.windows.net":                          "",
		"https://management.azure.com/.default https://a.kusto.windows.net": "",
	} {
		c := newCluster(t)
		c.metadata = func(w http.ResponseWriter) {
			_ = json.NewEncoder(w).Encode(map[string]any{"AzureAD": map[string]any{"KustoServiceResourceId": resource}})
		}
		c.mgmt = func(w http.ResponseWriter, _ *http.Request, _ string) {
			io.WriteString(w, one(`{"ColumnName":"A"}`, `["x"]`))
		}
		cred := &tokens{}
		s := service(t, c.URL, cred, &Options{AllowHosts: allow})
		_, err := s.Mgmt(t.Context(), Call{Op: "x", Command: ".show version"})
		var want []string
		if scope != "" {
			want = []string{scope}
		}
		if !slices.Equal(cred.scopes, want) {
			t.Errorf("%s: a token for %q was made, want %q", resource, cred.scopes, want)
		}
		if e := transport.Classify(err, false); scope == "" && (err == nil || e.Class == transport.Malformed || e.Class == transport.Permanent) {
			t.Errorf("%s: %v", resource, err)
		}
	}
}

// A redirect is no address of the cluster: nothing follows it, with a token or without.
func TestRedirectsAreRefused(t *testing.T) {
	var mu sync.Mutex
	var reached []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		reached = append(reached, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := newCluster(t)
		c.metadata = func(w http.ResponseWriter) { w.Header().Set("Location", other.URL+"/metadata"); w.WriteHeader(status) }
		s := service(t, c.URL, &tokens{}, nil)
		if _, err := s.Mgmt(t.Context(), Call{Op: "x", Command: ".show version"}); err == nil {
			t.Errorf("%d of the metadata is taken", status)
		}
		c = newCluster(t)
		c.mgmt = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Location", other.URL+"/mgmt")
			w.WriteHeader(status)
		}
		s = service(t, c.URL, &tokens{}, nil)
		if _, err := s.Mgmt(t.Context(), Call{Op: "x", Command: ".show version"}); err == nil {
			t.Errorf("%d of a command is taken", status)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(reached) > 0 {
		t.Errorf("followed to %q", reached)
	}
}

func TestLoopbackIsAnAddress(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "LocalHost": true, "127.0.0.1": true, "127.8.9.1": true, "::1": true, "[::1]": true, "::ffff:127.0.0.1": true,
		"x.localhost": false, "a.b.localhost": false, ".localhost": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "0.0.0.0": false, "10.0.0.1": false, "127.1": false, "": false} {
		if ingest.IsLoopback(host) != want {
			t.Errorf("%q: %t", host, !want)
		}
	}
	for _, raw := range []string{"http://x.localhost", "https://x.localhost", "http://x.localhost:8080"} {
		if c, err := ParseCluster(raw, nil); err == nil {
			t.Errorf("%s is taken as %+v", raw, c)
		}
	}
	if _, ok := ParseResource("http://x.localhost/c?sig=s", true); ok {
		t.Error("storage at x.localhost may be plain")
	}
}

const loopbackChild = "KUSTO_TEST_LOOPBACK_CHILD"

// What is dialled as this machine is this machine, whatever the environment
// says of proxies, and the resolver of names.
func TestLoopbackIsDialledAsSuch(t *testing.T) {
	if endpoint := os.Getenv(loopbackChild); endpoint != "" {
		s, err := NewService(endpoint, &tokens{}, nil)
		if err != nil {
			fmt.Println("refused:", err)
			return
		}
		_, err = s.Mgmt(t.Context(), Call{Op: "x", Command: ".show version"})
		s.Wire().CloseIdle()
		fmt.Println("asked:", err)
		return
	}
	var mu sync.Mutex
	var carried []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		carried = append(carried, r.URL.String()+" "+r.Header.Get("Authorization"))
		if strings.HasSuffix(r.URL.Path, "metadata") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(w, one(`{"ColumnName":"A"}`, `["x"]`))
	}))
	defer proxy.Close()
	c := newCluster(t)
	c.mgmt = func(w http.ResponseWriter, _ *http.Request, _ string) {
		io.WriteString(w, one(`{"ColumnName":"A"}`, `["x"]`))
	}
	_, port, _ := net.SplitHostPort(c.Listener.Addr().String())
	for host, want := range map[string]string{"x.localhost": "refused:", "localhost": "asked: <nil>", "127.0.0.1": "asked: <nil>"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLoopbackIsDialledAsSuch$", "-test.v")
		cmd.Env = append(os.Environ(), loopbackChild+"=http://"+host+":"+port, "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q\n%s", host, err, want, out)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(carried) > 0 {
		t.Errorf("the proxy carried %q", carried)
	}
}
