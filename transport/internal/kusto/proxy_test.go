package kusto

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"testing"

	"kustospool/transport"
)

const proxyChild = "KUSTO_TEST_PROXY_CHILD"

// A proxy of the environment carries every request, and no host's name is
// looked up beside it. net/http reads the environment once in a process, so
// the requests are made by a child.
func TestProxyOfTheEnvironment(t *testing.T) {
	if os.Getenv(proxyChild) != "" {
		s := service(t, "https://c.region.kusto.windows.net", &tokens{}, nil)
		_, err := s.Mgmt(t.Context(), Call{Op: "x", Command: ".show version"})
		if e := transport.Classify(err, false); e.Class != transport.Transient {
			t.Errorf("through a proxy that refuses: %v", err)
		}
		return
	}
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyOfTheEnvironment$")
	cmd.Env = append(os.Environ(), proxyChild+"=1", "HTTPS_PROXY="+proxy.URL, "https_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 1 || asked[0] != "CONNECT ingest-c.region.kusto.windows.net:443" {
		t.Errorf("the proxy was asked for %q", asked)
	}
}
