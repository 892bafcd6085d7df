package browser

import (
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/statushttp"
)

// hostile is text that is more than text where it is not escaped. Each of its parts sets
// a flag in the window if it runs.
const hostile = `</title></textarea><script>window.struck="script"</script><img src=x onerror="window.struck='img'">` +
	`<svg onload="window.struck='svg'"></svg>"'><a id=planted href="javascript:window.struck=1">x</a>`

// invisible is text that shows otherwise than it is: the end of a line of a terminal's
// command, and letters that run the other way.
const invisible = "\x1b]0;struck\x07\u202egnp.exe\u2066\u200b"

// struck lists what of the hostile text is more than text in a page.
const struck = `[
	...[...document.querySelectorAll("script:not([src]), img, svg[onload], #planted, [onerror], a[href^=javascript]")].map(e => e.outerHTML.slice(0, 80)),
	...(window.struck ? ["it ran: " + window.struck] : []),
	...(/[\u001b\u0007\u200b\u202a-\u202e\u2066-\u2069]/.test(document.documentElement.innerHTML) ? ["a control character"] : []),
]`

// Markup in records, in what the service says, in the reason of a pause and in the title
// stays text, on every page that shows it.
func TestMarkup(t *testing.T) {
	s := start(t, statushttp.Options{Title: hostile[:150]}, "Events", "Held")
	if _, err := s.spool.Pause(engine.TableName{Database: database, Table: "Held"}, "because "+hostile[:190]); err != nil {
		t.Fatal(err)
	}
	id, _ := s.kill(t, "Events", `{"text":`+quoted(hostile)+`}`, "said "+hostile+invisible)
	table, err := s.spool.Table(ingest.Properties{Database: database, Table: "Events", Format: ingest.TXT})
	if err != nil {
		t.Fatal(err)
	}
	receipts, err := table.DeadLetter(t.Context(), engine.Refused{Data: []byte(hostile + invisible), Why: "refused " + hostile + invisible})
	if err != nil {
		t.Fatal(err)
	}
	status, err := s.spool.Wait(t.Context(), receipts[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	raw := status.Batch.String()

	b := open(t, s.url)
	b.load("/")
	b.until(isLive + " && " + there(row(id)) + " && " + there(row(raw)))
	for _, path := range []string{"/", "/dead/" + id, "/dead/" + raw, "/dead/" + id + "/drop", "/dead/" + raw + "/drop"} {
		if path != "/" {
			b.load(path)
		}
		b.until(`document.documentElement.textContent.includes("onerror=")`)
		if found := ask[[]string](b, struck); len(found) > 0 {
			t.Errorf("%s: %q", path, found)
		}
		if title := ask[string](b, `document.title`); !strings.Contains(title, "<script>") {
			t.Errorf("%s: the title is %q", path, title)
		}
	}
	b.load("/dead/" + raw)
	for _, want := range []string{`<script>window.struck="script"</script>`, `<img src=x`, "gnp.exe"} {
		b.until(`document.body.innerText.includes(` + quoted(want) + `)`)
	}
}

// The control: a page that escapes nothing is struck in each of these ways.
func TestMarkupStrikes(t *testing.T) {
	b := watched(t, serve(t, "", hostile+invisible))
	b.load("/")
	b.until(`window.struck`)
	if found := ask[[]string](b, struck); len(found) != 6 {
		t.Errorf("the control is struck in %d ways: %q", len(found), found)
	}
}
