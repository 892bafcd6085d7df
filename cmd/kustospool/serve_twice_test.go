package main

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"kustospool/engine"
	"kustospool/operate"
	"kustospool/statushttp"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// A dead letter that is retried by many clicks at once, through the page and the socket, is
// stored again once: one click is told so, and each other that it was not.
func TestManyClicksRetryOnce(t *testing.T) {
	fake := transporttest.NewFake()
	dir := filepath.Join(shortDir(t), "spool")
	s, err := engine.Open(dir, fake, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	fake.Down(transporttest.Fail(transport.Permanent))
	put(t, s, 3)
	_ = s.Flush(t.Context()) // says that they were refused, or nothing
	for s.Stats().DeadLetters.Waiting == 0 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	f := follow(t, dir)
	page, err := statushttp.New(f, &statushttp.Options{Actions: true})
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	list, err := f.ListDead(t.Context(), operate.DeadQuery{})
	if err != nil || len(list.Letters) != 1 || s.Stats().Acked != 3 {
		t.Fatalf("%+v, %v, %d acked", list, err, s.Stats().Acked)
	}
	fake.Down(nil)
	form := url.Values{"id": {list.Letters[0].ID.String()}}.Encode()
	request := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Host, r.RemoteAddr = "localhost", "127.0.0.1:1"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w
	}
	var clicks sync.WaitGroup
	told := make([]string, 6)
	for i := range told {
		clicks.Go(func() {
			w := request(http.MethodPost, "/do/dead-retry", form)
			told[i] = html.UnescapeString(request(http.MethodGet, "/"+strings.TrimPrefix(w.Header().Get("Location"), "../"), "").Body.String())
		})
	}
	clicks.Wait()
	done, refused := 0, 0
	for _, text := range told {
		done += strings.Count(text, "✔ Done:")
		refused += strings.Count(text, "✖ Not done:")
	}
	if done != 1 || refused != len(told)-1 || s.Stats().Acked != 6 || s.Stats().DeadLetters.Waiting != 0 {
		t.Errorf("%d were told that it is done, %d that it is not; %d acked, of which 3 before", done, refused, s.Stats().Acked)
	}
}
