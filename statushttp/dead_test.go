package statushttp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kustospool/operate"
)

// A dead letter's page shows why, what a retry would do, and the records.
func TestDeadLetter(t *testing.T) {
	s := &whole{payload: []byte("{\"n\":1}\n\x1b]0;x\x07\u202e{\"n\":\"<img src=x onerror=alert(1)>\"}\xff\n")}
	p := open(t, s, &Options{Actions: true})
	get := func(path string) string { return bodyOf(t, serve(p, local("GET", path, ""))) }
	body := get("/dead/" + letterID)
	for _, want := range []string{"no such column", "It stores 3 records again, 99 B, for the table Demo.Readings", `action="../do/dead-retry"`, `action="../do/dead-drop"`,
		`\u001b]0;x\u0007\u202e{&#34;n&#34;:&#34;&lt;img src=x onerror=alert(1)&gt;&#34;}\xff`, `href="../assets/page.css"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	s.refused = "it may be in the table already"
	if body := get("/dead/" + letterID); !strings.Contains(body, "It would be refused: it may be in the table already") {
		t.Error(body)
	}
	if body := get("/dead/"); !strings.Contains(body, `href="../dead/`+letterID) || !strings.Contains(body, `action="../do/dead-drop"`) {
		t.Error(body)
	}
	if body := get("/dead/?after=" + letterID); !strings.Contains(body, "None from here on") {
		t.Error(body)
	}
	if s.all() != "" {
		t.Errorf("looking did %s", s.all())
	}
	for _, path := range []string{"/dead/11111111-89ab-8def-8123-456789abcdef", "/dead/x", "/dead/..%2f..%2fetc"} {
		if got := serve(p, local("GET", path, "")).StatusCode; got != 404 {
			t.Errorf("%s: %d", path, got)
		}
	}
}

// Records that are long are shown a piece at a time, each byte once and no
// character in two.
func TestLongDeadLetter(t *testing.T) {
	s := &whole{payload: []byte(strings.Repeat("aß表\U0001f600", 5000))}
	p := open(t, s, nil)
	var all strings.Builder
	for at, pages := 0, 0; ; pages++ {
		if pages > len(s.payload)/maxRecords+2 {
			t.Fatal("it does not end")
		}
		body := bodyOf(t, serve(p, local("GET", fmt.Sprintf("/dead/%s?at=%d", letterID, at), "")))
		_, rest, ok := strings.Cut(body, `aria-label="Records">`)
		if !ok {
			t.Fatal(body)
		}
		shown, _, _ := strings.Cut(rest, "</pre>")
		if len(shown) > maxRecords {
			t.Fatalf("%d bytes at once", len(shown))
		}
		all.WriteString(shown)
		at += len(shown)
		if !strings.Contains(body, "Further on") {
			break
		}
		if !strings.Contains(body, fmt.Sprintf(`href="?at=%d"`, at)) {
			t.Fatalf("the next page is not at %d", at)
		}
	}
	if all.String() != string(s.payload) {
		t.Errorf("%d bytes came, of %d", all.Len(), len(s.payload))
	}
}

// Records that are hardly more than a page shows are cut like those that are much more.
func TestDeadLetterOfAboutOnePage(t *testing.T) {
	for n := maxRecords - 1; n < maxRecords+6; n++ {
		data := slices.Clip(bytes.Repeat([]byte("a"), n)) // as one that came by the socket: with no room behind it
		body := bodyOf(t, serve(open(t, &whole{payload: data}, nil), local("GET", "/dead/"+letterID, "")))
		if strings.Contains(body, "Further on") != (n > maxRecords) || !strings.Contains(body, strings.Repeat("a", min(n, maxRecords))) {
			t.Errorf("%d bytes: %d of the page", n, len(body))
		}
	}
}

// What may be in the table already is stored again only for who says so, and is asked about
// only where there is a doubt; what is missing is told.
func TestDoubtfulDeadLetter(t *testing.T) {
	for _, doubt := range []bool{false, true} {
		s := &whole{payload: []byte("x"), more: doubt, letter: func(d *operate.DeadLetter) {
			if doubt {
				d.Attempts, d.Unresolved, d.Damaged, d.Failure, d.Properties.MappingReference = 3, 1, 2, nil, "the <mapping>"
			}
		}}
		body := bodyOf(t, serve(open(t, s, &Options{Actions: true}), local("GET", "/dead/"+letterID, "")))
		for _, words := range []string{`name="accept_doubles"`, "1 of them with an outcome that was never learned", "1 record, 1 B; 2 missing because of damage", "It is not known.", "the &lt;mapping&gt;", "Further on"} {
			if strings.Contains(body, words) != doubt {
				t.Errorf("doubt %t: %s", doubt, words)
			}
		}
		if t.Failed() {
			t.Log(body)
		}
	}
}

// A page that only reads offers nothing else, on any of its pages.
func TestNoFormsWithoutActions(t *testing.T) {
	for _, actions := range []bool{false, true} {
		p := open(t, &whole{payload: []byte("x")}, &Options{Actions: actions})
		for _, path := range []string{"/", "/dead/", "/dead/" + letterID} {
			if body := bodyOf(t, serve(p, local("GET", path, ""))); strings.Contains(body, "<form") != actions || !strings.Contains(body, letterID) {
				t.Errorf("actions %t, %s: %s", actions, path, body)
			}
		}
	}
}
