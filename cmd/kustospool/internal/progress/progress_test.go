package progress

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 3, 4, 5, 6, 0, time.UTC)

func TestMeter(t *testing.T) {
	type step struct {
		at time.Duration
		n  int64
	}
	every := func(d time.Duration, n int, per int64) []step {
		var out []step
		for i := 1; i <= n; i++ {
			out = append(out, step{time.Duration(i) * d, int64(i) * per})
		}
		return out
	}
	for _, tc := range []struct {
		name  string
		steps []step
		rate  float64 // -1: none
		left  time.Duration
	}{
		{"nothing", nil, -1, 0},
		// What came at once is no rate: not billions a second.
		{"all in a nanosecond", []step{{1, 52000}}, -1, 0},
		{"in the first second", every(100*time.Millisecond, 9, 1000), -1, 0},
		{"even", every(time.Second, 20, 1000), 1000, 80 * time.Second},
		{"even, looked at often", every(10*time.Millisecond, 6000, 10), 1000, 40 * time.Second},
		{"slower now", append(every(time.Second, 10, 5000), step{30 * time.Second, 50000}, step{40 * time.Second, 50000}), 0, 0},
		{"stalled for less than the window", []step{{time.Second, 15000}, {15 * time.Second, 15000}}, 1000, 85 * time.Second},
		{"done", []step{{2 * time.Second, 100000}}, 50000, 0},
		{"went back", []step{{time.Second, 10}, {2 * time.Second, 0}}, 0, 0},
		{"so slow that nobody waits", []step{{25 * time.Second, 1}}, 0.04, 0},
		{"nearly done", []step{{2 * time.Second, 99999}}, 49999.5, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m meter
			m.add(start, 0)
			for _, s := range tc.steps {
				m.add(start.Add(s.at), s.n)
			}
			rate, ok := m.rate()
			if ok != (tc.rate >= 0) || ok && (rate < tc.rate*0.95 || rate > tc.rate*1.05) {
				t.Errorf("rate %f, %v", rate, ok)
			}
			left, ok := m.left(100000)
			if ok != (tc.left > 0) || (left-tc.left).Abs() > tc.left/20 {
				t.Errorf("left %s, %v", left, ok)
			}
			if kept := len(m.samples); kept > int(meterWindow/meterStep)*11/10 {
				t.Errorf("%d samples are kept", kept)
			}
		})
	}
}

func TestFit(t *testing.T) {
	running := state{what: "settled", unit: "records", n: 12000, total: 52000, rate: 5230, rated: true, left: 8 * time.Second}
	stalled := running
	stalled.note = "spool full, waiting for room: transient: upload: connection refused"
	stream := state{what: "spooled", unit: "records", n: 1234567, rate: 0, rated: true}
	wide := running
	wide.note = "D.表格表格表格表格 waits: no such table"
	for _, tc := range []struct {
		name  string
		s     state
		width int
		want  string
	}{
		{"all of it", running, 79, "settled: 12000 of 52000 records, 23%, 5.2k/s, 8s left"},
		{"what there is room for", running, 45, "settled: 12000 of 52000 records, 23%, 5.2k/s"},
		{"20 columns", running, 19, "settled 12k/52k"},
		{"very few", running, 8, "12k/52k"},
		{"hardly any", running, 3, "..."},
		{"note", stalled, 79, "settled: 12000 of 52000 records; spool full, waiting for room: transient: up..."},
		{"note, 200", stalled, 199, "settled: 12000 of 52000 records; spool full, waiting for room: transient: upload: connection refused"},
		{"note, 40", stalled, 39, "settled 12k/52k; spool full, waiting..."},
		{"note, 20", stalled, 19, "12k/52k; spool f..."},
		{"stream", stream, 79, "spooled: 1234567 records, 0/s"},
		{"wide characters", wide, 40, "settled 12k/52k; D.表格表格表格表格 w..."},
		{"wide characters, cut", wide, 30, "12k/52k; D.表格表格表格表格..."},
		{"wide characters, cut before one", wide, 29, "12k/52k; D.表格表格表格表..."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := tc.s.fit(tc.width)
			if got := l.text + l.note; got != tc.want || columns(got) > tc.width {
				t.Errorf("%q (%d columns), want %q", got, columns(got), tc.want)
			}
		})
	}
}

// Whatever is to be shown, it fits, and is text.
func TestFitAlways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := state{what: rapid.SampledFrom([]string{"spooled", "settled", "checked"}).Draw(t, "what"), unit: "records",
			n: rapid.Int64Min(0).Draw(t, "n"), total: rapid.Int64Min(0).Draw(t, "total"),
			rate: rapid.Float64Range(0, 1e18).Draw(t, "rate"), rated: rapid.Bool().Draw(t, "rated"),
			left: time.Duration(rapid.Int64Range(0, int64(longest)).Draw(t, "left")), note: plain(rapid.String().Draw(t, "note"))}
		width := rapid.IntRange(1, 200).Draw(t, "width")
		l := s.fit(width)
		if l.columns() > width || l.text == "" || !utf8.ValidString(l.text+l.note) {
			t.Fatalf("%q and %q take %d columns of %d", l.text, l.note, l.columns(), width)
		}
	})
}

func TestShortAndSpan(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.04: "0", 0.44: "0.4", 7: "7", 9.94: "9.9", 9.97: "10", 999: "999", 999.9: "1k", 1000: "1k", 1234: "1.2k", 52000: "52k", 999999: "1M", 3.4e6: "3.4M", 2.4e10: "24G", 5e12: "5T", 5e17: "500000T"} {
		if got := short(n); got != want {
			t.Errorf("%g: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Second: "1s", 59*time.Second + 700*time.Millisecond: "1m00s", 200 * time.Second: "3m20s", 26 * time.Hour: "26h00m"} {
		if got := span(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "no  such\r\n\ttable": "no such table",
		"transient: upload: refused (request 4f1c; KPC.x)":                         "transient: upload: refused",
		"cut in the middle (request 4f1c":                                          "cut in the middle",
		"RequestId:8a7 Time:x, ActivityId: 99; x-ms-client-request-id=abc the end": "Time:x, ; the end",
		"transient: 502: <html>\n<head><title>502 Bad Gateway</title><style>p{color:red}</style></head>\r\n<body><center><h1>502 &amp; more</h1></center><!-- padding --></body></html>": "transient: 502: 502 Bad Gateway 502 & more",
		"<!DOCTYPE html><html><body>cut in <a href='https://x":           "cut in",
		"expected <EOF> and 3 < 4":                                       "expected <EOF> and 3 < 4",
		"\x1b]0;owned\x07\x1b[31mred\x1b[0m \u202e\u200bx\u0085y\u2028z": "]0;owned [31mred [0m x y z",
		"broken \xff\xfe utf":                                            "broken utf",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("<html>x (request 1)")
	f.Add("a\x1b[0m\xff&lt;html&gt;")
	f.Fuzz(func(t *testing.T, s string) {
		got := plain(s)
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }) || !utf8.ValidString(got) || got != strings.TrimSpace(got) {
			t.Errorf("%q: %q", s, got)
		}
		if n := columns(cut(got, 20)); n > 20 {
			t.Errorf("%q takes %d columns", got, n)
		}
	})
}

func TestLinesWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out)
	p := Begin(s, start, "delivered", "records", 10)
	at := func(d time.Duration, n int64, note string) { p.Show(start.Add(d), n, note) }
	at(time.Second, 1, "")                                                // before its time
	at(1100*time.Millisecond, 2, "D.T waits: <html>no table (request 1)") // news
	at(1200*time.Millisecond, 3, "D.T waits: <html>no table (request 2)") // none
	at(3200*time.Millisecond, 4, "")                                      // its time
	at(29*time.Second, 4, "")                                             // nothing new
	at(34*time.Second, 4, "")                                             // still here
	at(36*time.Second, 4, "spool full, waiting for room")                 // news
	at(36500*time.Millisecond, 5, "")                                     //
	at(36600*time.Millisecond, 5, "spool full, waiting for room")         // no news so soon
	at(40*time.Second, 5, "x"+strings.Repeat(" word", longestLine))       // bounded
	p.End()
	lines := strings.Split(out.String(), "\n")
	last := lines[len(lines)-2]
	lines = lines[:len(lines)-2]
	if got, want := strings.Join(lines, "\n"), `delivered: 2 of 10 records, 20%, 1.8/s; D.T waits: no table
delivered: 4 of 10 records, 40%, 1.2/s, 5s left
delivered: 4 of 10 records, 40%, 0/s
delivered: 4 of 10 records, 40%, 0/s; spool full, waiting for room`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if columns(last) != longestLine || !strings.HasSuffix(last, "...") {
		t.Errorf("the last line is %q", last)
	}
	if strings.ContainsAny(out.String(), "\r\x1b") {
		t.Error("codes of a terminal")
	}

	out.Reset()
	p = Begin(nil, start, "x", "records", 0)
	p.Show(start.Add(time.Hour), 1, "note")
	p.End()
	if out.Len() != 0 {
		t.Errorf("quiet progress says %q", out.String())
	}
}

// terminal is a screen of a width that changes, and what it shows: one line,
// whose wrapping is an error.
type terminal struct {
	t      *testing.T
	width  int
	lines  []string // ended by a newline
	cells  []rune   // of the line that the cursor is on
	cursor int
	raw    bytes.Buffer
}

func (x *terminal) Write(p []byte) (int, error) {
	x.raw.Write(p)
	text := string(p)
	for _, code := range []string{"\x1b[33m", "\x1b[0m"} {
		text = strings.ReplaceAll(text, code, "")
	}
	text = strings.ReplaceAll(text, "\x1b[K", "\v") // for the loop below
	for _, r := range text {
		switch r {
		case '\r':
			x.cursor = 0
		case '\n':
			x.lines = append(x.lines, strings.TrimRight(string(x.cells), " "))
			x.cells, x.cursor = nil, 0
		case '\v':
			x.cells = x.cells[:min(len(x.cells), x.cursor)]
		default:
			if x.cursor >= x.width-1 {
				x.t.Errorf("column %d of %d is written to", x.cursor+1, x.width)
			}
			for len(x.cells) <= x.cursor {
				x.cells = append(x.cells, ' ')
			}
			x.cells[x.cursor] = r
			x.cursor++
		}
	}
	return len(p), nil
}

func (x *terminal) line() string { return strings.TrimRight(string(x.cells), " ") }

// resize is what a terminal does that cuts its lines.
func (x *terminal) resize(width int) {
	x.width = width
	x.cells = x.cells[:min(len(x.cells), width)]
	x.cursor = min(x.cursor, width-1)
}

func TestPaint(t *testing.T) {
	x := &terminal{t: t, width: 80}
	s := &Screen{w: x, size: func() int { return x.width }, codes: true, colour: true}
	p := Begin(s, start, "settled", "records", 52000)
	now := start
	show := func(n int64, note string) string {
		now = now.Add(time.Second)
		p.Show(now, n, note)
		return x.line()
	}
	if got := show(12000, ""); got != "settled: 12000 of 52000 records, 23%, 12k/s, 3s left" {
		t.Errorf("%q", got)
	}
	if got := show(12000, "D.T waits: no such table"); got != "settled: 12000 of 52000 records; D.T waits: no such table" {
		t.Errorf("%q", got)
	}
	if !strings.Contains(x.raw.String(), "\x1b[33mD.T waits: no such table\x1b[0m") {
		t.Errorf("no colour: %q", x.raw.String())
	}
	if got := show(13000, ""); got != "settled: 13000 of 52000 records, 25%, 4.3k/s, 9s left" {
		t.Errorf("something of the longer line is left: %q", got)
	}
	for _, width := range []int{20, 200, 33, 2, 1, 120, 80} {
		x.resize(width)
		for _, note := range []string{"", strings.Repeat("a long note ", 30)} {
			if got := show(14000, note); len(got) >= width && width > 1 || got == "" && width > 1 {
				t.Errorf("width %d: %q", width, got)
			}
		}
	}
	fmt.Fprintf(s, "something else\n")
	if x.lines[len(x.lines)-1] != "something else" {
		t.Errorf("lines %q", x.lines)
	}
	show(15000, "")
	p.End()
	if got := x.line(); got != "" {
		t.Errorf("left behind: %q", got)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no more") }

func TestBrokenScreen(t *testing.T) {
	s := &Screen{w: broken{}, size: func() int { return 80 }}
	p := Begin(s, start, "x", "records", 0)
	p.Show(start.Add(time.Minute), 1, "") // no panic, no end
	p.End()
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("the error of a write is lost")
	}
}
