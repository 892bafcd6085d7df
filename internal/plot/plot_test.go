package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kustospool/internal/quantity"
)

var update = flag.Bool("update", false, "write the golden files")

// backlog is a chart as a page has it: an outage, and a while without an answer.
func backlog(width, height int) *Chart {
	const start = 1764244800 // 2025-11-27 12:00 UTC
	waiting, second := Line{Name: "records that wait"}, Line{Name: "the oldest of table Logs"}
	for i := range 600 {
		x, y := float64(start+2*i), 0.0
		switch {
		case i >= 150 && i < 300:
			y = 200 * float64(i-150)
		case i >= 300 && i < 350:
			y = 200*150 - 600*float64(i-300)
		case i >= 500 && i < 530:
			y = math.NaN()
		}
		waiting.Points = append(waiting.Points, Point{x, y})
		second.Points = append(second.Points, Point{x, y/3 + 500})
	}
	return &Chart{ID: "backlog", Title: "Backlog", Desc: "Rises from 12:05 to 12:10 and is gone at 12:12.", Y: "records", Width: width, Height: height, Time: true,
		Lines: []Line{waiting, second}, Marks: []Mark{{"no answer", start + 1000, start + 1060}}}
}

func producers(width, height int) *Chart {
	x := []float64{1, 16, 64, 256, 1024}
	line := func(name string, ys ...float64) Line {
		l := Line{Name: name}
		for i, y := range ys {
			l.Points = append(l.Points, Point{x[i], y})
		}
		return l
	}
	return &Chart{ID: "acks", Title: "Acknowledgements a second", X: "producers", Y: "acks a second", Width: width, Height: height, LogX: true, LogY: true, TicksX: x, Background: "#ffffff",
		Lines: []Line{
			line("kustospool", 11056, 124530, 279441, 455831, 656282), line("the limit", 9436, 143149, 472250, 879507, 1529063),
			line("raft-wal", 9445, 8483, 8621, 8749, 7603), line("pebble", 6383, 42140, 148911, 245903, 163097),
			line("tidwall-wal", 7279, 5838, 6625, 6476, 6372), line("goqite", 5251, 5065, 5393, 5316, 5001), line("nats-sync", 5862, 6329, 7212, 7024, 7193),
		}}
}

func charts() map[string]*Chart {
	nan := math.NaN()
	one := func(points ...Point) []Line { return []Line{{"x", points}} }
	return map[string]*Chart{
		"backlog-720":   backlog(720, 260),
		"backlog-360":   backlog(360, 220),
		"producers-720": producers(720, 380),
		"producers-360": producers(360, 380),
		"bars": {ID: "ratio", Title: "Of the limit", X: "producers", Y: "ratio", Background: "#0d1117", Categories: []string{"1", "16", "64", "256", "1024"},
			Bars: []Bar{{"store", []float64{1.12, 0.92, 0.83, 0.97, 0.79}, []float64{0.95, 0.92, 0.82, 0.85, 0.9}}, {"engine", []float64{1.2, 0.97, nan, 0.8, 0.53}, []float64{0.9, 0.9, 0.75, 0.75, 0.8}}}},
		"across": {ID: "bars", Title: "Of what plain files allow", Y: "ratio", Width: 360, Height: 260, Across: true, Categories: []string{"drain, one lane, cold", "drain, one lane, warm", "drain, 20 lanes in turn, cold: a name that is too long for the drawing"},
			Bars: []Bar{{"", []float64{0.95, 0.94, 0.67}, []float64{0.95, 0.97, 0.7}}}},
		"empty":     {Title: "Nothing"},
		"one-point": {Lines: one(Point{5, 7})},
		"equal":     {Lines: one(Point{1, 3}, Point{2, 3}, Point{3, 3}), UnitY: quantity.Bytes},
		"hostile": {ID: "<a b>", Title: "<script>alert(1)</script>\x00\u202eback\n", Desc: `"'&<>`, Y: strings.Repeat("long ", 100), Background: `red" onload="x`,
			Lines: []Line{{`</text><script>`, []Point{{math.Inf(-1), 1}, {0, math.MaxFloat64}, {1, -math.MaxFloat64}, {math.Inf(1), nan}, {2, math.Inf(1)}, {math.MaxFloat64, math.SmallestNonzeroFloat64}}}},
			Marks: []Mark{{"", nan, 1}, {"<b>", math.Inf(-1), math.Inf(1)}, {"all", -1e300, 1e300}}},
	}
}

func TestGolden(t *testing.T) {
	for name, c := range charts() {
		t.Run(name, func(t *testing.T) {
			got := c.SVG()
			check(t, got)
			file := filepath.Join("testdata", name+".svg")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; look at it, and write it anew with: go test ./internal/plot -run TestGolden -update", file)
			}
		})
	}
}

// check says what every chart is: XML of few elements and attributes, with finite
// numbers, and no style or script.
func check(t interface {
	Helper()
	Errorf(string, ...any)
}, svg []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("no XML: %v\n%s", err, svg)
			return
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !slices.Contains([]string{"svg", "title", "desc", "text", "line", "rect", "circle", "polygon", "polyline"}, e.Name.Local) {
			t.Errorf("element %s", e.Name.Local)
		}
		for _, a := range e.Attr {
			switch name := a.Name.Local; name {
			case "style", "href", "filter", "mask":
				t.Errorf("attribute %s", name)
			case "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height":
				v, err := strconv.ParseFloat(a.Value, 64)
				if err != nil || !(math.Abs(v) <= 5000) {
					t.Errorf("%s %s=%q", e.Name.Local, name, a.Value)
				}
			case "points":
				for _, s := range strings.FieldsFunc(a.Value, func(r rune) bool { return r == ' ' || r == ',' }) {
					if v, err := strconv.ParseFloat(s, 64); err != nil || !(math.Abs(v) <= 5000) {
						t.Errorf("points %q", a.Value)
						break
					}
				}
			default:
				if strings.HasPrefix(name, "on") || strings.Contains(a.Value, "url(") {
					t.Errorf("attribute %s=%q", name, a.Value)
				}
			}
		}
	}
}

// TestCheckSees is the control of check.
func TestCheckSees(t *testing.T) {
	for _, bad := range []string{"<svg", "<svg><script/></svg>", `<svg style="x"/>`, `<svg onload="x"/>`, `<svg x="NaN"/>`, `<svg><line y1="1e9"/></svg>`, `<svg fill="url(#a)"/>`, `<polyline points="1,+Inf"/>`} {
		var r recorder
		if check(&r, []byte(bad)); r.n == 0 {
			t.Errorf("%s passes", bad)
		}
	}
}

type recorder struct{ n int }

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.n++ }

// Whatever a chart holds, it is drawn, the same twice, and is not changed.
func TestAnyChart(t *testing.T) {
	value := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-1000, 1000), rapid.Float64Range(1.7e9, 1.8e9),
		rapid.SampledFrom([]float64{0, 1, -1, 1e-300, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, firstTime, lastTime}))
	values := rapid.SliceOfN(value, 0, 30)
	point := rapid.Custom(func(t *rapid.T) Point { return Point{value.Draw(t, "x"), value.Draw(t, "y")} })
	line := rapid.Custom(func(t *rapid.T) Line {
		return Line{rapid.String().Draw(t, "name"), rapid.SliceOfN(point, 0, 40).Draw(t, "points")}
	})
	mark := rapid.Custom(func(t *rapid.T) Mark {
		return Mark{rapid.String().Draw(t, "name"), value.Draw(t, "from"), value.Draw(t, "to")}
	})
	bar := rapid.Custom(func(t *rapid.T) Bar {
		return Bar{rapid.String().Draw(t, "name"), values.Draw(t, "values"), values.Draw(t, "wanted")}
	})
	yes := rapid.Bool()
	rapid.Check(t, func(t *rapid.T) {
		c := Chart{ID: rapid.String().Draw(t, "id"), Title: rapid.String().Draw(t, "title"), Desc: rapid.String().Draw(t, "desc"), X: rapid.String().Draw(t, "x"), Y: rapid.String().Draw(t, "y"),
			Width: rapid.IntRange(-1, 5000).Draw(t, "width"), Height: rapid.IntRange(-1, 5000).Draw(t, "height"), Background: rapid.SampledFrom([]string{"", "#000000", "#zzzzzz", "x"}).Draw(t, "background"),
			UnitX: quantity.Unit(rapid.IntRange(-1, 3).Draw(t, "unit x")), UnitY: quantity.Unit(rapid.IntRange(-1, 3).Draw(t, "unit y")), Time: yes.Draw(t, "time"), LogX: yes.Draw(t, "log x"), LogY: yes.Draw(t, "log y"),
			TicksX: values.Draw(t, "ticks"), Lines: rapid.SliceOfN(line, 0, 25).Draw(t, "lines"), Marks: rapid.SliceOfN(mark, 0, 3).Draw(t, "marks"), Across: yes.Draw(t, "across")}
		if yes.Draw(t, "bars") {
			c.Categories, c.Bars = rapid.SliceOfN(rapid.String(), 0, 70).Draw(t, "categories"), rapid.SliceOfN(bar, 0, 25).Draw(t, "bars")
		}
		before := fmt.Sprint(c)
		first := c.SVG()
		check(t, first)
		if !bytes.Equal(first, c.SVG()) {
			t.Errorf("the same chart is drawn in two ways")
		}
		if fmt.Sprint(c) != before {
			t.Errorf("drawing changed the chart")
		}
	})
}

// What is left out is said.
func TestLeftOut(t *testing.T) {
	var c Chart
	for i := range MaxLines + 3 {
		c.Lines = append(c.Lines, Line{strconv.Itoa(i), []Point{{1, 1}, {2, float64(i)}}})
	}
	if svg := string(c.SVG()); !strings.Contains(svg, "3 more lines are not drawn") {
		t.Error(svg)
	}
}

// A day of samples is not a day of elements, and its highest is still there.
func TestThin(t *testing.T) {
	var l Line
	for i := range 86400 {
		y := 10.0
		if i == 40000 {
			y = 1000
		}
		l.Points = append(l.Points, Point{float64(i), y})
	}
	svg := (&Chart{Time: true, Lines: []Line{l}}).SVG()
	if len(svg) > 40_000 {
		t.Errorf("%d bytes", len(svg))
	}
	c := Chart{Lines: []Line{l}}
	d := &drawing{Chart: c, width: 720, height: 300}
	d.size = 13
	d.choose()
	d.drawLines(0)
	if !strings.Contains(d.String(), ","+num(d.y.at(1000))) && !strings.Contains(d.String(), " "+num(d.y.at(1000))+" ") {
		t.Error("the one high sample is not drawn")
	}
}

func TestTicks(t *testing.T) {
	words := func(a axis) string {
		var out []string
		for _, t := range a.ticks {
			out = append(out, t.text)
		}
		return strings.Join(out, ", ")
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	const noon = 1764244800
	for _, test := range []struct {
		name string
		a    axis
		want string
	}{
		{"1-2-5", linear(span{0, 93, true}, quantity.Number, 5, true), "0, 20, 40, 60, 80, 100"},
		{"thousands", linear(span{0, 2000, true}, quantity.Number, 4, true), "0, 500, 1000, 1500, 2000"},
		{"negative", linear(span{-7, 3, true}, quantity.Number, 5, true), "-8, -6, -4, -2, 0, 2, 4"},
		{"quarter of a MiB", linear(span{0, 1 << 20, true}, quantity.Bytes, 4, true), "0, 256 KiB, 512 KiB, 768 KiB, 1 MiB"},
		{"minutes", linear(span{0, 1000, true}, quantity.Seconds, 4, true), "0, 5 min, 10 min, 15 min, 20 min"},
		{"milliseconds", linear(span{0, 0.004, true}, quantity.Seconds, 4, true), "0, 1 ms, 2 ms, 3 ms, 4 ms"},
		{"next to nothing", linear(span{0, 1 / float64(1<<30), true}, quantity.Bytes, 3, true), "0, 1 B"},
		{"all the same", linear(span{3, 3, true}, quantity.Number, 3, true), "0, 1, 2, 3"},
		{"far from 0", linear(span{1_000_000, 1_000_004, true}, quantity.Number, 4, false), "1M, 1.000001M, 1.000002M, 1.000003M, 1.000004M"},
		{"decades", logarithmic(span{5001, 1_529_063, true}, quantity.Number, 6, true), "1000, 10k, 100k, 1M, 10M"},
		{"within two", logarithmic(span{130, 700, true}, quantity.Number, 6, true), "100, 200, 500, 1000"},
		{"clock", clock(span{noon, noon + 1200, true}, time.UTC, 5), "12:00, 12:05, 12:10, 12:15, 12:20"},
		{"seconds", clock(span{noon, noon + 20, true}, time.UTC, 5), "12:00:00, 12:00:05, 12:00:10, 12:00:15, 12:00:20"},
		{"midnight", clock(span{noon + 11*3600, noon + 14*3600, true}, time.UTC, 4), "23:00, 28 Nov, 01:00, 02:00"},
		{"elsewhere", clock(span{noon, noon + 12*3600, true}, berlin, 4), "15:00, 18:00, 21:00, 28 Nov"},
		{"days", clock(span{noon, noon + 5*86400, true}, time.UTC, 5), "28 Nov, 29 Nov, 30 Nov, 1 Dec, 2 Dec"},
		{"centuries", clock(span{firstTime, lastTime, true}, time.UTC, 2), "1970-01-01, 7445-10-25"},
	} {
		if got := words(test.a); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// Colours can be told from white and from near black by everybody: WCAG 2.2,
// 1.4.11, asks for 3.
func TestContrast(t *testing.T) {
	for _, c := range colours {
		for _, ground := range []string{"#ffffff", "#0d1117"} {
			if r := contrast(light(t, c), light(t, ground)); r < 3 {
				t.Errorf("%s on %s has a contrast of %.2f", c, ground, r)
			}
		}
	}
	if r := contrast(light(t, "#ffff00"), light(t, "#ffffff")); r > 1.1 { // the control: yellow on white
		t.Errorf("yellow on white is %.2f", r)
	}
}

// light is the relative luminance as WCAG defines it.
func light(t *testing.T, s string) float64 {
	t.Helper()
	rgb, err := strconv.ParseUint(s[1:], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	part := func(v uint64) float64 {
		if c := float64(v&255) / 255; c <= 0.04045 {
			return c / 12.92
		} else {
			return math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*part(rgb>>16) + 0.7152*part(rgb>>8) + 0.0722*part(rgb)
}

func contrast(a, b float64) float64 { return (max(a, b) + 0.05) / (min(a, b) + 0.05) }

// Lines of one chart differ though no colour is seen.
func TestLinesDifferWithoutColour(t *testing.T) {
	seen := map[[2]int]bool{}
	for i := range MaxLines {
		look := [2]int{i % len(dashes), i % 4}
		if seen[look] {
			t.Errorf("line %d looks like one before it", i)
		}
		seen[look] = true
	}
}

func BenchmarkSVG(b *testing.B) {
	c := backlog(360, 220)
	for b.Loop() {
		c.SVG()
	}
}
