package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"kustospool/statushttp"
)

// A reader acts by clicking, by the keyboard alone, or without JavaScript.
var readers = []struct {
	name string
	as   func(*tab) *tab
	use  func(b *tab, selector string)
}{
	{"mouse", func(b *tab) *tab { return b }, (*tab).click},
	{"keyboard", func(b *tab) *tab { return b }, func(b *tab, selector string) {
		b.tabTo(selector)
		b.press(kb.Enter)
	}},
	{"without JavaScript", withoutScript, (*tab).click},
}

func row(id string) string { return `#dead [data-dead="` + id + `"]` }

// there is true in a page with an element that the selector finds.
func there(selector string) string { return `document.querySelector(` + quoted(selector) + `)` }

// A dead letter is shown, and retried once the service takes it: it is in the table once,
// and no dead letter any more.
func TestRetryDeadLetter(t *testing.T) {
	for _, reader := range readers {
		t.Run(reader.name, func(t *testing.T) {
			s := start(t, statushttp.Options{}, "Events")
			const record = `{"n":1,"name":"Möwe"}`
			id, mend := s.kill(t, "Events", record, "column n is of another kind")
			b := reader.as(open(t, s.url))
			b.load("/")
			b.news(there(row(id)))
			reader.use(b, row(id)+` a[href*="dead/"]`)
			b.until(`location.pathname.endsWith(` + quoted("/dead/"+id) + `)`)
			for _, want := range []string{record, "column n is of another kind", "BadRequest_InvalidSchema", "Events"} {
				b.until(`document.body.innerText.includes(` + quoted(want) + `)`)
			}
			mend()
			b.load("/")
			b.news(there(row(id)))
			reader.use(b, row(id)+" button[name=retry]")
			b.until(`location.pathname === "/" && !` + there(row(id)))
			if told := b.text(".told"); !strings.Contains(told, "1 record") {
				t.Errorf("the page says of it: %q", told)
			}
			s.drain(t)
			s.holds(t, "Events", record)
			if n := s.spool.Stats().DeadLetters.Waiting; n != 0 {
				t.Errorf("%d dead letters wait", n)
			}
		})
	}
}

// A dead letter is dropped after one more question, and its records are nowhere then.
func TestDropDeadLetter(t *testing.T) {
	for _, reader := range readers {
		t.Run(reader.name, func(t *testing.T) {
			s := start(t, statushttp.Options{}, "Events")
			id, mend := s.kill(t, "Events", `{"n":1}`, "no")
			other, _ := s.kill(t, "Events", `{"n":2}`, "no")
			mend()
			b := reader.as(open(t, s.url))
			b.load("/")
			b.news(there(row(id)) + " && " + there(row(other)))
			reader.use(b, row(id)+" [name=drop]")
			b.until(`location.pathname !== "/"`)
			if n := s.spool.Stats().DeadLetters.Waiting; n != 2 {
				t.Fatalf("before the question is answered %d dead letters wait", n)
			}
			reader.use(b, `form[action$="do/dead-drop"] button`)
			b.until(`location.pathname === "/" && !` + there(row(id)) + " && " + there(row(other)))
			if n := s.spool.Stats().DeadLetters.Waiting; n != 1 {
				t.Errorf("%d dead letters wait, want the other one", n)
			}
			if n := s.sim.Count(database, "Events"); n != 0 {
				t.Errorf("the table has %d rows of what was dropped", n)
			}
		})
	}
}

// Who holds the button of the mouse down for a while has clicked all the same, although
// the page was drawn anew meanwhile.
func TestSlowClick(t *testing.T) {
	s := start(t, statushttp.Options{}, "Events", "Telemetry")
	s.kill(t, "Events", `{"n":1}`, "no")
	defer s.down()()
	s.produce(t, "Telemetry")
	b := open(t, s.url)
	b.load("/")
	const button = `#tables [data-table="Demo.Telemetry"] [data-key^="retry-"]`
	b.until(isLive + " && " + there(button))
	at := b.place(button)
	b.do(chromedp.MouseEvent(chromedp.MousePressed, at[0], at[1], chromedp.ButtonLeft, chromedp.ClickCount(1)))
	// What is drawn meanwhile shows that the page goes on, and may not take the button away.
	if err := b.rises(patience); err != nil {
		b.fatalf("the page does not go on while the button is down: %v", err)
	}
	b.do(chromedp.MouseEvent(chromedp.MouseReleased, at[0], at[1], chromedp.ButtonLeft, chromedp.ClickCount(1)))
	b.until(`document.querySelector(".told")`)
}
