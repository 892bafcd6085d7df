package plot

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// drawing is a chart being drawn.
type drawing struct {
	canvas
	Chart
	id            string
	width, height float64

	lines      []Line
	bars       []Bar
	categories []string
	marks      []Mark
	left       []string // what was left out, in words

	x, y axis // of lines; bars use y alone, or x where they lie
}

// SVG draws the chart. It changes nothing of it.
func (c *Chart) SVG() []byte {
	d := &drawing{Chart: *c, id: identifier(c.ID), width: within(c.Width, 720, 200), height: within(c.Height, 300, 120)}
	d.size = 12
	if d.width >= 600 {
		d.size = 13 // it is seldom shown at its full size
	}
	d.choose()
	d.begin()
	top := d.head()
	switch {
	case len(d.categories) > 0 && d.Across:
		d.drawAcross(top)
	case len(d.categories) > 0:
		d.drawBars(top)
	default:
		d.drawLines(top)
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

func within(v, byDefault, least int) float64 {
	if v == 0 {
		v = byDefault
	}
	return float64(max(least, min(v, 4000)))
}

// identifier is an id without what an id or a reference to it may not have.
func identifier(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, s)
	if s == "" {
		return "plot"
	}
	return s[:min(len(s), 64)]
}

// choose takes what is drawn, as it can be drawn.
func (d *drawing) choose() {
	d.categories = d.Categories[:min(len(d.Categories), MaxCategories)]
	d.bars = d.Bars[:min(len(d.Bars), MaxLines)]
	chosen := d.Lines[:min(len(d.Lines), MaxLines)]
	d.marks = d.Marks[:min(len(d.Marks), MaxCategories)]
	for _, over := range []struct {
		n    int
		what string
	}{{len(d.Categories) - len(d.categories), "categories"}, {len(d.Bars) - len(d.bars), "bars"}, {len(d.Lines) - len(chosen), "lines"}, {len(d.Marks) - len(d.marks), "spans"}} {
		if over.n > 0 {
			d.left = append(d.left, strconv.Itoa(over.n)+" more "+over.what)
		}
	}
	for _, l := range chosen {
		points := make([]Point, len(l.Points))
		for i, p := range l.Points {
			points[i] = Point{d.valueX(p.X), d.valueY(p.Y)}
		}
		d.lines = append(d.lines, Line{l.Name, points})
	}
}

func (d *drawing) valueX(v float64) float64 {
	v = bounded(v)
	if d.Time && (v < firstTime || v > lastTime) || d.LogX && !d.Time && v <= 0 {
		return math.NaN()
	}
	return v
}

func (d *drawing) valueY(v float64) float64 {
	if v = bounded(v); d.LogY && v <= 0 {
		return math.NaN()
	}
	return v
}

// begin writes the root, the texts for screen readers and the background.
func (d *drawing) begin() {
	title, desc := shown(d.Title, 200), shown(d.Desc, 1000)
	names := ""
	if title != "" {
		names = d.id + "-title"
	}
	if desc != "" {
		names = strings.TrimSpace(names + " " + d.id + "-desc")
	}
	background, text := ground(d.Background)
	d.open("svg", "xmlns", "http://www.w3.org/2000/svg", "class", "plot", "role", "img", "aria-labelledby", names,
		"viewBox", "0 0 "+num(d.width)+" "+num(d.height), "width", num(d.width), "height", num(d.height),
		"color", text, "font-family", "system-ui, sans-serif", "font-size", num(d.size), "fill", "currentColor")
	d.WriteString("\n")
	if title != "" {
		d.text(title, "title", "id", d.id+"-title")
	}
	if desc != "" {
		d.text(desc, "desc", "id", d.id+"-desc")
	}
	if background != "" {
		d.rect(0, 0, d.width, d.height, "class", "plot-ground", "fill", background)
	}
}

// ground is a background and the text colour on it. Both are empty where s is no
// "#rrggbb".
func ground(s string) (background, text string) {
	if len(s) != 7 || s[0] != '#' {
		return "", ""
	}
	rgb, err := strconv.ParseUint(s[1:], 16, 32)
	if err != nil {
		return "", ""
	}
	// The share of each colour in what the eye takes for light, in thousandths.
	if light := 213*(rgb>>16) + 715*(rgb>>8&255) + 72*(rgb&255); light < 128*1000 {
		return s, "#f0f0f0"
	}
	return s, "#1a1a1a"
}

const edge = 8.0 // between the drawing and its border

// row is the height of a line of text.
func (d *drawing) row() float64 { return math.Round(d.size * 1.35) }

// head writes title and legend, and returns where the rest begins.
func (d *drawing) head() (bottom float64) {
	y := edge
	for _, line := range d.wrap(shown(d.Title, 200), (d.width-2*edge)/1.1) {
		y += d.row()
		d.label(line, edge, y-float64(d.size*0.3), "start", "font-weight", "bold")
	}
	return d.legend(y + 2)
}

// entry of a legend: the sample is drawn into 24 by a row.
type entry struct {
	name   string
	sample func(x, y float64)
}

// direct says that lines are named at their ends.
func (d *drawing) direct() bool {
	named := 0
	for _, l := range d.lines {
		if l.Name != "" {
			named++
		}
	}
	return d.width >= 560 && named > 1
}

// legend names what is not named where it is, in rows from y on.
func (d *drawing) legend(y float64) (bottom float64) {
	x, some := edge, false
	for _, e := range d.entries() {
		name := d.fit(e.name, d.width-2*edge-30)
		width := d.canvas.width(name) + 30
		if !some {
			y += d.row()
		} else if x+width > d.width-edge {
			x, y = edge, y+d.row()
		}
		some = true
		if e.sample != nil {
			e.sample(x, y-float64(d.size*0.35))
			d.label(name, x+28, y, "start")
			x += width + 12
		} else {
			d.label(name, x, y, "start")
			x += width - 16
		}
	}
	if some {
		y += 4
	}
	return y
}

func (d *drawing) entries() (all []entry) {
	if len(d.categories) > 0 {
		for i, b := range d.bars {
			if b.Name != "" {
				all = append(all, entry{shown(b.Name, 60), func(x, y float64) { d.bar(i, x+6, y-5, 12, 10) }})
			}
		}
		for _, b := range d.bars {
			if len(b.Wanted) > 0 {
				all = append(all, entry{"wanted", func(x, y float64) { d.want(x+4, y, x+20, y) }})
				break
			}
		}
	} else {
		for i, l := range d.lines {
			if l.Name != "" && !d.direct() {
				all = append(all, entry{shown(l.Name, 60), func(x, y float64) {
					d.stroke(i, []float64{x, y, x + 24, y})
					if len(d.lines) > 1 {
						d.marker(i, x+12, y)
					}
				}})
			}
		}
		seen := map[string]bool{"": true}
		for _, m := range d.marks {
			if name := shown(m.Name, 60); !seen[name] {
				seen[name] = true
				all = append(all, entry{name, func(x, y float64) { d.shade(x+2, y-6, 20, 12) }})
			}
		}
	}
	for _, words := range d.left {
		all = append(all, entry{words + " are not drawn", nil})
	}
	return all
}

// shade is a span of time, or its sample.
func (d *drawing) shade(x, y, width, height float64) {
	d.rect(x, y, width, height, "class", "plot-mark", "fill", "currentColor", "fill-opacity", "0.14")
	d.line(x, y, x, y+height, "class", "plot-mark", "stroke", "currentColor", "stroke-opacity", "0.5", "stroke-dasharray", "1 2")
	d.line(x+width, y, x+width, y+height, "class", "plot-mark", "stroke", "currentColor", "stroke-opacity", "0.5", "stroke-dasharray", "1 2")
}

// stroke draws line i through several places.
func (d *drawing) stroke(i int, xy []float64) {
	points := make([]string, len(xy))
	for k, v := range xy {
		points[k] = num(v)
	}
	d.element("polyline", "class", class(i), "points", strings.Join(points, " "), "fill", "none", "stroke", colour(i),
		"stroke-width", "2", "stroke-linejoin", "round", "stroke-dasharray", dashes[i%len(dashes)])
}

// zone is that of the clock at the axis.
func (d *drawing) zone() *time.Location {
	if d.Zone == nil {
		return time.UTC
	}
	return d.Zone
}

// bounded holds a value within what can be drawn. What is no number, or
// infinite, is a gap.
func bounded(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return math.NaN()
	}
	const most = 1e18
	return max(-most, min(v, most))
}
