package statushttp

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// In a server that bounds nothing, whoever sends no body or reads no answer keeps its place
// among those who ask the spool for a bounded time.
func TestPlacesAreGivenBack(t *testing.T) {
	for name, request := range map[string]string{
		"a body that does not come":    "POST /v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
		"an answer that is not read":   "GET /dead/" + letterID + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a form that does not come":    "POST /do/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
		"JSON that is not read":        "GET /v1/dead HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"an answer to a form not read": "POST /do/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := open(t, &whole{payload: []byte(strings.Repeat("x", maxRecords))}, &Options{Actions: true})
				l := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
				server := &http.Server{Handler: p}
				done := make(chan struct{})
				go func() { defer close(done); _ = server.Serve(l) }()
				defer func() { _ = server.Close(); <-done }()
				for range maxAsked {
					client, conn := net.Pipe()
					defer client.Close()
					l.conns <- here{conn}
					if _, err := fmt.Fprint(client, request); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				time.Sleep(bodyTime + answerTime + time.Second)
				if got := serve(p, local("GET", "/dead/", "")).StatusCode; got != http.StatusOK {
					t.Errorf("others are told %d", got)
				}
			})
		})
	}
}
