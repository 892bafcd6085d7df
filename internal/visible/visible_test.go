package visible

import (
	"strings"
	"testing"
	"unicode"
)

func TestString(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"plain, Größe 表 जहाज़ C:\\new": "plain, Größe 表 जहाज़ C:\\new",
		"a\nb\tc\r":                 `a\nb\tc\r`,
		"\x1b[2J\x1b]0;title\x07":   `\u001b[2J\u001b]0;title\u0007`,
		"\u009b31m":                 `\u009b31m`,
		"invoice\u202efdp.exe":      `invoice\u202efdp.exe`,
		"\u2066a\u2069\u200f\u061c": `\u2066a\u2069\u200f\u061c`,
		"a\u2028b\u2029c\u0085":     `a\u2028b\u2029c\u0085`,
		"\ufeffa\u200bb\u00adc":     `\ufeffa\u200bb\u00adc`,
		"\xff\x80a\x7f":             `\xff\x80a\u007f`,
		"\U000e0041":                `\udb40\udc41`,
		"\ufffd":                    "\ufffd",
	} {
		if got := String(in); got != want {
			t.Errorf("%q became %s, want %s", in, got, want)
		}
	}
	if got := Lines("a\n\tb\r\n\x1b"); got != "a\n\tb\\r\n\\u001b" {
		t.Errorf("lines: %q", got)
	}
}

// A character that is cut between two writes is whole, and an escape is none.
func TestWriter(t *testing.T) {
	const text = "Größe \u202e表\x1b[2J\xff\n"
	for cut := range len(text) {
		var b strings.Builder
		w := &Writer{W: &b}
		for _, part := range []string{text[:cut], text[cut:]} {
			if n, err := w.Write([]byte(part)); err != nil || n != len(part) {
				t.Fatal(n, err)
			}
		}
		if want := "Größe \\u202e表\\u001b[2J\\xff\n"; b.String() != want {
			t.Errorf("cut at %d: %q", cut, b.String())
		}
	}
}

func FuzzString(f *testing.F) {
	f.Add("a\x1b\u202e\xff表")
	f.Fuzz(func(t *testing.T, s string) {
		got := String(s)
		for _, r := range got {
			if !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q became %q", s, got)
			}
		}
		if String(got) != got {
			t.Errorf("%q twice is another text", s)
		}
	})
}
