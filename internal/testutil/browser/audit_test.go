package browser

import (
	_ "embed"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp/kb"
)

// auditor is an object of JavaScript that finds what is wrong with a layout.
//
//go:embed testdata/layout.js
var auditor string

// audit asks the auditor of a tab.
func audit[T any](b *tab, call string) T {
	b.t.Helper()
	// The comments before the object would end the line that it is put in.
	return ask[T](b, "("+auditor[strings.Index(auditor, "({"):]+").valueOf()."+call)
}

// size gives a tab the window of a desktop, or the screen of a phone that is touched.
func (b *tab) size(width, height int64, phone bool) {
	b.t.Helper()
	b.do(command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: phone}),
		command(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: phone}))
}

// media sets what a page can ask about its reader, in pairs of name and value.
func (b *tab) media(features ...string) {
	b.t.Helper()
	var list []*emulation.MediaFeature
	for pair := range slices.Chunk(features, 2) {
		list = append(list, &emulation.MediaFeature{Name: pair[0], Value: pair[1]})
	}
	b.do(command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: list}))
}

// marked is an element and how it is drawn.
type marked struct{ Name, Look string }

// unreached goes through a page by Tab, from where the focus is until it is there again,
// and lists what does not get the focus, or does not show it.
func (b *tab) unreached() (out []string) {
	b.t.Helper()
	before := map[string]string{}
	for _, m := range audit[[]marked](b, "reachable()") {
		before[m.Name] = m.Look
	}
	seen := map[string]bool{}
	for range len(before) + 2 {
		b.press(kb.Tab)
		m := audit[*marked](b, "focused()")
		if m == nil {
			continue // behind the last one, and before the first
		}
		if seen[m.Name] {
			break
		}
		seen[m.Name] = true
		if look, known := before[m.Name]; known && look == m.Look {
			out = append(out, m.Name+" has the focus and does not show it")
		}
	}
	for name := range before {
		if !seen[name] {
			out = append(out, name+" is not reached by Tab")
		}
	}
	slices.Sort(out)
	return out
}

// What is wrong with a layout is found where it is, and only there.
func TestAuditFinds(t *testing.T) {
	for _, tt := range []struct{ name, body, call, want string }{
		{"wide", `<p style="width: 500px">x</p>`, "wide()", "p ends at 508"},
		{"wide in a box", `<div style="overflow-x: auto"><p style="width: 500px">x</p></div>`, "wide()", ""},
		{"small", `<button style="width: 20px; height: 20px; padding: 0">x</button>`, "small()", `button ("x") is 20.0 by 20.0`},
		{"large enough", `<button style="width: 24px; height: 24px; padding: 0">x</button>`, "small()", ""},
		{"a link in a sentence", `<p>more of <a href=#>this</a></p>`, "small()", ""},
		{"a link by itself", `<p><a href=#>this</a></p>`, "small()", `p > a ("this") is`},
		{"faint", `<p style="color: #888">x</p>`, "faint()", `p ("x") has a contrast of 3.54`},
		{"faint by its background", `<p style="color: #000; background: #555">x</p>`, "faint()", "has a contrast of 2.8"},
		{"faint by opacity", `<div style="opacity: 0.3"><p style="color: #000">x</p></div>`, "faint()", "has a contrast of"},
		{"faint in a drawing", `<svg width=50 height=50><text y=20 fill="#aaa">x</text></svg>`, "faint()", "has a contrast of 2.3"},
		{"clear", `<p style="color: #666">x</p>`, "faint()", ""},
		{"large letters", `<p style="color: #888; font-size: 24px">x</p>`, "faint()", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, serve(t, "", `<meta name=viewport content="width=device-width"><body>`+tt.body))
			b.size(360, 740, true)
			b.load("/")
			found := strings.Join(audit[[]string](b, tt.call), "\n")
			if tt.want == "" && found != "" || !strings.Contains(found, tt.want) {
				t.Errorf("found %q, want %q", found, tt.want)
			}
		})
	}
	b := open(t, serve(t, "", `<style>.quiet:focus { outline: none }</style><button>a</button><button tabindex=-1>b</button><button class=quiet>c</button><a href="#">d</a>`))
	b.load("/")
	want := []string{"body > button:nth-of-type(2) is not reached by Tab", "body > button:nth-of-type(3) has the focus and does not show it"}
	if got := b.unreached(); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
