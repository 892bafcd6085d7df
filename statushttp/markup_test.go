package statushttp

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"kustospool/ingest"
	"kustospool/operate"
)

var update = flag.Bool("update", false, "accept the words of the page as they are")

// evil is text that would be more than text if it could, with a mark to find it by.
const evil = `EVIL"'><script>bad()</script><img src=x onerror=bad()></title></style></textarea><!--` + "\x1b[2J\u202e\x00\xff{{.}}`"

// hostile has it in every place that somebody else can write to.
func hostile() *operate.Status {
	f := &ingest.Failure{Class: evil, Code: evil, Message: evil, RequestID: evil, At: at, First: at}
	s := sample()
	s.Spool, s.ID = evil, evil
	s.Found = []string{evil}
	s.Quarantine = []operate.File{{Name: evil, At: at}}
	for i := range s.Lanes {
		l := &s.Lanes[i]
		l.Database, l.Table, l.Format, l.Failure = evil, fmt.Sprint(evil, i), evil, f
	}
	s.Lanes[1].Paused = &operate.Paused{Database: evil, Table: evil, Reason: evil}
	s.Paused = []operate.Paused{{Database: evil, Table: evil, Reason: evil}}
	for _, list := range [][]operate.Batch{s.Batches, s.Dead} {
		for i := range list {
			b := &list[i]
			b.ID, b.Database, b.Table, b.State, b.Failure = evil, evil, evil, evil, f
		}
	}
	s.Troubles = []operate.Trouble{{Kind: evil, Level: evil, Table: evil, What: evil, Class: evil, Code: evil, Said: evil, RequestID: evil, Files: []string{evil}, Next: evil, Since: at}}
	return s
}

// allowed are the attributes of the page's own, beside those of charts.
var allowed = []string{"lang", "charset", "name", "content", "http-equiv", "rel", "href", "type", "src", "defer", "class", "id", "for", "role", "method", "action", "value", "scope",
	"aria-labelledby", "aria-hidden", "aria-label", "aria-current", "tabindex", "autocomplete", "required", "maxlength", "autofocus", "datetime", "open"}

// inspect says what of a page is not its own text and elements.
func inspect(t *testing.T, page string) (bad []string, found int) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	for n := range root.Descendants() {
		switch n.Type {
		case html.TextNode:
			found += strings.Count(n.Data, "EVIL")
			if strings.ContainsAny(n.Data, "\x1b\u202e\x00\u009b") {
				say("a control character in %q", n.Data)
			}
		case html.CommentNode:
			say("a comment: %s", n.Data)
		case html.ElementNode:
			if n.Data == "script" {
				if n.FirstChild != nil || n.Attr[0].Key != "src" || !strings.HasSuffix(n.Attr[0].Val, "assets/page.js") {
					say("a script of somebody else: %v", n.Attr)
				}
			}
			if slices.Contains([]string{"img", "iframe", "object", "embed", "style", "textarea", "base"}, n.Data) {
				say("an element %s", n.Data)
			}
			for _, a := range n.Attr {
				own := n.Namespace == "svg" || slices.Contains(allowed, a.Key) || strings.HasPrefix(a.Key, "data-")
				if !own || strings.HasPrefix(a.Key, "on") || a.Key == "style" {
					say("an attribute %s=%q of %s", a.Key, a.Val, n.Data)
				}
				if (a.Key == "href" || a.Key == "action" || a.Key == "src") && (strings.Contains(a.Val, ":") || strings.HasPrefix(a.Val, "/")) {
					say("an address %q", a.Val)
				}
			}
		}
	}
	return bad, found
}

// Whatever comes from outside is text on the page, in every part of it.
func TestMarkupStaysText(t *testing.T) {
	s := &whole{payload: []byte(evil), refused: evil}
	s.set(func(context.Context) (*operate.Status, error) { return hostile(), nil })
	p := open(t, s, &Options{Actions: true, Title: evil})
	s.failure = fmt.Errorf("%s", evil)
	key := p.told.keep(message{Text: text(evil)})
	for path, least := range map[string]int{"/?told=" + key: 25, "/dead/" + letterID: 3, "/dead/": 1, "/dead/" + letterID + "/drop": 1, "/nowhere?told=" + key: 1} {
		bad, found := inspect(t, bodyOf(t, serve(p, local("GET", path, ""))))
		for _, b := range bad {
			t.Errorf("%s: %s", path, b)
		}
		if found < least {
			t.Errorf("%s: the text is there %d times: is it looked for?", path, found)
		}
	}
	// The controls: what the inspection is for is seen by it.
	for _, planted := range []string{"<p>\x1b", "<!-- x -->", "<script>x</script>", "<img>", "<p onclick=x>", "<p style=x>", `<a href="http://x">`, `<a href="/x">`, "<p title=x>"} {
		if bad, _ := inspect(t, planted); len(bad) == 0 {
			t.Errorf("the inspection does not see %s", planted)
		}
	}
}

// What is much is bounded, and the page says how much more there is.
func TestMuchIsBounded(t *testing.T) {
	long := strings.Repeat("長", 20000)
	s := &whole{payload: []byte(strings.Repeat(long, 40))}
	s.set(func(context.Context) (*operate.Status, error) {
		st := many(1000)
		st.Spool = long
		st.Cut = map[string]int{"dead_letters": 1280, "batches": 1}
		st.Lanes[0].Failure = &ingest.Failure{Class: long, Message: long}
		for range 500 {
			st.Dead = append(st.Dead, st.Dead[0])
			st.Batches = append(st.Batches, st.Batches[0])
			st.Troubles = append(st.Troubles, operate.Trouble{Kind: operate.Full, Said: long, Files: make([]string, 1000)})
			st.Quarantine = append(st.Quarantine, operate.File{Name: long})
		}
		return st, nil
	})
	p := open(t, s, &Options{Actions: true})
	body := bodyOf(t, serve(p, local("GET", "/", "")))
	if len(body) > 600<<10 {
		t.Errorf("the page has %d KiB", len(body)>>10)
	}
	if n := strings.Count(body, "data-table="); n != maxTables || !strings.Contains(body, "And 801 more rows") { // 800, and one that is paused
		t.Errorf("%d rows", n)
	}
	if n := strings.Count(body, "data-dead="); n != maxShown {
		t.Errorf("%d dead letters", n)
	}
	for _, want := range []string{"And 1,280 more: <a", "And 1 more batch: see <a"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if !strings.Contains(body, "bytes more)") {
		t.Error("a cut is not told")
	}
	if body := bodyOf(t, serve(p, local("GET", "/dead/"+letterID, ""))); len(body) > 64<<10 {
		t.Errorf("a dead letter has %d KiB", len(body)>>10)
	}
}

// many is a status with n tables.
func many(n int) *operate.Status {
	s := sample()
	lane := s.Lanes[0]
	s.Lanes = nil
	for i := range n {
		l := lane
		l.Lane, l.Table, l.OldestSeconds = uint32(i), fmt.Sprintf("Readings_%04d", i), float64(n-i)
		s.Lanes = append(s.Lanes, l)
	}
	return s
}

// The words of the page, as somebody without eyes or colours has them. To accept a
// change: go test ./statushttp -run TestText -update
func TestText(t *testing.T) {
	l := &look{at: at, status: sample(), seen: at}
	l.show(may{Tables: true, Dead: true, Show: true}, nil, nil)
	silent := &look{at: at, status: sample(), seen: at.Add(-time.Minute), failing: at.Add(-50 * time.Second), err: fmt.Errorf("connection refused")}
	silent.show(may{}, nil, nil)
	var b strings.Builder
	for _, l := range []*look{l, silent} {
		for _, name := range partNames {
			root, err := html.Parse(strings.NewReader(l.parts()[name]))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "== %s\n", name)
			for n := range root.Descendants() {
				if words := strings.Join(strings.Fields(n.Data), " "); n.Type == html.TextNode && words != "" {
					b.WriteString(words + "\n")
				}
			}
			if l == silent && name == "state" {
				break
			}
		}
	}
	path := filepath.Join("testdata", "page.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("the page says\n%s", b.String())
	}
}

func BenchmarkRender(b *testing.B) {
	l := &look{at: at, status: many(1000), seen: at}
	points := make([]point, 451)
	for i := range points {
		points[i] = point{at: at.Add(time.Duration(i) * 2 * time.Second), ok: true, records: int64(i * i), age: float64(i), acked: int64(i * 1000), settled: int64(i * 900)}
	}
	for b.Loop() {
		l.show(may{Tables: true, Dead: true, Show: true}, points, points)
		n := len(l.charts["15m"]())
		for _, part := range l.parts() {
			n += len(part)
		}
		b.ReportMetric(float64(n), "bytes/page")
	}
}
