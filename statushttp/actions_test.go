package statushttp

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"kustospool/operate"
)

// post sends a form and follows it to the page that tells what became of it.
func post(t *testing.T, p *Page, path string, form url.Values) (location, page string) {
	t.Helper()
	r := serve(p, local("POST", path, form.Encode()))
	location = r.Header.Get("Location")
	if r.StatusCode != http.StatusSeeOther {
		return "", bodyOf(t, r)
	}
	to := local("GET", path, "").URL.ResolveReference(&url.URL{Path: "x"})
	at, err := to.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return location, bodyOf(t, serve(p, local("GET", at.RequestURI(), "")))
}

// Each button asks the spool for what it says, and the page says what became of it.
func TestActions(t *testing.T) {
	for _, tt := range []struct {
		path       string
		form       url.Values
		done, told string
	}{
		{"/do/pause", url.Values{"table": {"Demo.A"}, "reason": {"because"}}, "pause Demo.A because", "is paused"},
		{"/do/resume", url.Values{"table": {"Demo.A"}}, "resume Demo.A", "is resumed"},
		{"/do/retry", url.Values{"table": {"Demo.A"}}, "retry Demo.A", "is tried now, 2 batches"},
		{"/do/dead-retry", url.Values{"id": {letterID}}, "retry dead " + letterID, "Stored again: 3 records, for Demo.Readings"},
		{"/do/dead-retry", url.Values{"id": {letterID}, "accept_doubles": {"yes"}}, "retry dead " + letterID + " with doubles", "Stored again"},
		{"/do/dead-drop", url.Values{"id": {letterID}, "sure": {"yes"}}, "drop " + letterID, "is dropped"},
	} {
		s := &whole{}
		p := open(t, s, &Options{Actions: true})
		location, page := post(t, p, tt.path, tt.form)
		if !strings.HasPrefix(location, "../?told=") || s.all() != tt.done || !strings.Contains(page, tt.told) || !strings.Contains(page, "✔ Done") {
			t.Errorf("%s: did %q, to %s: %.300s", tt.path, s.all(), location, page)
		}
		s.failure = errors.New("the spool <b>cannot</b>")
		if _, page = post(t, p, tt.path, tt.form); !strings.Contains(page, "✖ Not done") || !strings.Contains(page, "&lt;b&gt;cannot") {
			t.Errorf("%s: a failure is not told", tt.path)
		}
		// Read-only, nothing is done and nothing offered.
		s = &whole{}
		p = open(t, s, nil)
		if location, page := post(t, p, tt.path, tt.form); location != "" || !strings.Contains(page, "only reads") || s.all() != "" {
			t.Errorf("%s: did %q on a page that only reads: %s", tt.path, s.all(), page)
		}
		if body := bodyOf(t, serve(p, local("GET", "/", ""))); strings.Contains(body, "<form") || strings.Contains(body, "<button") {
			t.Error("a page that only reads offers something")
		}
	}
}

// A dead letter is dropped only when it was asked for twice.
func TestDropAsksOnceMore(t *testing.T) {
	s := &whole{}
	p := open(t, s, &Options{Actions: true})
	location, page := post(t, p, "/do/dead-drop", url.Values{"id": {letterID}})
	if location != "../dead/"+letterID+"/drop" || s.all() != "" {
		t.Errorf("did %q, to %s", s.all(), location)
	}
	for _, want := range []string{"Drop this dead letter?", `name="sure" value="yes"`, `action="../../do/dead-drop"`, "3 records of Demo.Readings"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	if _, page := post(t, p, "/do/dead-drop", url.Values{"id": {"../../x"}}); !strings.Contains(page, "no such dead letter") || s.all() != "" {
		t.Errorf("did %q: %s", s.all(), page)
	}
}

// What a spool cannot do is not offered, and refused.
func TestSpoolsThatOnlyTell(t *testing.T) {
	p := open(t, &reader{}, &Options{Actions: true})
	body := bodyOf(t, serve(p, local("GET", "/", "")))
	if strings.Contains(body, "<form") || strings.Contains(body, `href="dead/`) || !strings.Contains(body, `data-dead="`+letterID) {
		t.Error(body)
	}
	for path, want := range map[string]int{"/do/retry": 501, "/do/dead-drop": 501, "/do/nothing": 404} {
		if got := serve(p, local("POST", path, "table=x&sure=yes&id="+letterID)).StatusCode; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for path, want := range map[string]int{"/dead/" + letterID: 501, "/dead/": 501, "/pause?table=x": 403, "/dead/" + letterID + "/drop": 403} {
		if got := serve(p, local("GET", path, "")).StatusCode; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// The address cannot make the page say anything, and what was told is kept in bounds.
func TestNothingIsReflected(t *testing.T) {
	p := open(t, &whole{}, &Options{Actions: true})
	for _, path := range []string{"/?told=PLANTED", "/?range=PLANTED", "/?x=PLANTED", "/PLANTED", "/dead/PLANTED", "/dead/?after=PLANTED", "/dead/" + letterID + "?at=PLANTED"} {
		if body := bodyOf(t, serve(p, local("GET", path, ""))); strings.Contains(body, "PLANTED") {
			t.Errorf("%s is in the page: %s", path, body)
		}
	}
	first := p.told.keep(message{Text: "first"})
	for range maxTold {
		p.told.keep(message{Text: "later"})
	}
	if p.told.of(local("GET", "/?told="+first, "")) != nil || len(p.told.list) != maxTold {
		t.Errorf("%d messages are kept", len(p.told.list))
	}
}

// A form of a table's pause keeps the name as it is.
func TestPauseAsks(t *testing.T) {
	p := open(t, &whole{}, &Options{Actions: true})
	body := bodyOf(t, serve(p, local("GET", "/pause?table="+url.QueryEscape(`Demo."><i>`), "")))
	if !strings.Contains(body, `value="Demo.&#34;&gt;&lt;i&gt;"`) || strings.Contains(body, "<i>") {
		t.Error(body)
	}
	if got := serve(p, local("GET", "/pause?table="+strings.Repeat("x", 5000), "")).StatusCode; got != http.StatusBadRequest {
		t.Errorf("a long name: %d", got)
	}
	// A table in which nothing waits is not listed, and can be paused by its name.
	if body := bodyOf(t, serve(p, local("GET", "/pause", ""))); !strings.Contains(body, `<input type="text" id="table" name="table" required`) {
		t.Error(body)
	}
}

var _ operate.DeadKeeper = (*whole)(nil)
