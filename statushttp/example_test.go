package statushttp_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"kustospool/engine"
	"kustospool/statushttp"
	"kustospool/transport/transporttest"
)

// A program shows its spool below /spool/ of its own server, to this machine.
func Example() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	spool, err := engine.Open(dir, transporttest.NewFake(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer spool.Close()

	page, err := statushttp.New(spool.Operator(), &statushttp.Options{Title: "pump 7", Actions: true})
	if err != nil {
		log.Fatal(err)
	}
	defer page.Close()
	http.Handle("/spool/", http.StripPrefix("/spool", page))

	server := httptest.NewServer(http.DefaultServeMux)
	defer server.Close()
	answer, err := http.Get(server.URL + "/spool/readyz")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	var b strings.Builder
	_ = answer.Write(&b)
	fmt.Println(answer.Status, strings.HasSuffix(b.String(), "ok\n"))
	// Output:
	// 200 OK true
}
