package plot

import (
	"bytes"
	"encoding/xml"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"kustospool/internal/visible"
)

// Colours that differ for the common kinds of colour blindness (after Okabe and
// Ito, the light ones darkened) and have a contrast of 3 to white and to near
// black, which WCAG 2.2 asks of graphics (1.4.11).
var colours = [...]string{"#0072b2", "#d55e00", "#008f68", "#b8639a", "#9a7400", "#7a7a7a"}

// Dashes by number of the line; the first is whole. Five of them and four markers
// are 20 lines that differ without colour: MaxLines.
var dashes = [...]string{"", "7 3", "2 3", "9 3 2 3", "4 2"}

// canvas writes elements. Where a product is added to a place, it is converted to
// float64 first: the compiler may fuse the two on some processors, and a place that
// is rounded another way would be other bytes.
type canvas struct {
	bytes.Buffer
	size float64 // of the font
}

// num writes a length with one decimal.
func num(v float64) string {
	v = math.Round(v*10) / 10
	if v == 0 {
		return "0" // and never -0
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// open begins an element, with pairs of attribute and value. A value that is
// empty leaves its attribute out.
func (c *canvas) open(name string, attributes ...string) {
	c.WriteString("<" + name)
	for i := 0; i+1 < len(attributes); i += 2 {
		if attributes[i+1] != "" {
			c.WriteString(" " + attributes[i] + `="`)
			c.escaped(attributes[i+1])
			c.WriteString(`"`)
		}
	}
	c.WriteString(">")
}

// element is one without content.
func (c *canvas) element(name string, attributes ...string) {
	c.open(name, attributes...)
	c.Truncate(c.Len() - 1)
	c.WriteString("/>\n")
}

// text is one with text alone.
func (c *canvas) text(s, name string, attributes ...string) {
	c.open(name, attributes...)
	c.escaped(s)
	c.WriteString("</" + name + ">\n")
}

func (c *canvas) escaped(s string) {
	// A bytes.Buffer takes everything, and what XML does not have becomes U+FFFD.
	_ = xml.EscapeText(&c.Buffer, []byte(s))
}

// label is text on the drawing: anchor is start, middle or end.
func (c *canvas) label(s string, x, y float64, anchor string, attributes ...string) {
	if s != "" {
		c.text(s, "text", append([]string{"class", "plot-text", "x", num(x), "y", num(y), "text-anchor", anchor}, attributes...)...)
	}
}

// line is a straight line.
func (c *canvas) line(x1, y1, x2, y2 float64, attributes ...string) {
	c.element("line", append([]string{"x1", num(x1), "y1", num(y1), "x2", num(x2), "y2", num(y2)}, attributes...)...)
}

func (c *canvas) rect(x, y, width, height float64, attributes ...string) {
	c.element("rect", append([]string{"x", num(x), "y", num(y), "width", num(max(0, width)), "height", num(max(0, height))}, attributes...)...)
}

// width is about how wide a text is drawn.
func (c *canvas) width(s string) float64 {
	n := 0.0
	for _, r := range s {
		switch {
		case r >= 0x1100: // letters of East Asia are about twice as wide
			n += 1
		case strings.ContainsRune("iIjlt.,:;'| ", r):
			n += 0.35
		case strings.ContainsRune("mwMW", r):
			n += 0.92
		default:
			n += 0.61
		}
	}
	return float64(n * c.size)
}

// fit cuts a text to a width.
func (c *canvas) fit(s string, width float64) string {
	if c.width(s) <= width {
		return s
	}
	for len(s) > 0 && c.width(s+"…") > width {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimRight(s, " ") + "…"
}

// wrap cuts a text into lines of a width, at spaces, at most three.
func (c *canvas) wrap(s string, width float64) (lines []string) {
	line := ""
	words := strings.Fields(s)
	for i, w := range words {
		longer := strings.TrimSpace(line + " " + w)
		if line != "" && c.width(longer) > width {
			if len(lines) == 2 {
				return append(lines, c.fit(line+" "+strings.Join(words[i:], " "), width))
			}
			lines = append(lines, c.fit(line, width))
			longer = w
		}
		line = longer
	}
	if line != "" {
		lines = append(lines, c.fit(line, width))
	}
	return lines
}

// shown is a text from outside as it may be drawn: without control characters,
// and at most so many letters.
func shown(s string, most int) string {
	if n := most * utf8.UTFMax; len(s) > n {
		s = s[:n] // before it is looked through
	}
	s = visible.String(s)
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	runes := []rune(s)
	return string(runes[:most-1]) + "…"
}

func colour(i int) string { return colours[i%len(colours)] }
func class(i int) string  { return "plot-" + strconv.Itoa(i%len(colours)+1) }

// marker draws the sign of line i at a point.
func (c *canvas) marker(i int, x, y float64) {
	const r = 3.2
	look := []string{"class", class(i), "fill", colour(i)}
	switch i % 4 {
	case 0:
		c.element("circle", append([]string{"cx", num(x), "cy", num(y), "r", num(r)}, look...)...)
	case 1:
		c.rect(x-r+0.3, y-r+0.3, 2*r-0.6, 2*r-0.6, look...)
	case 2:
		c.polygon([]float64{x, y - r - 0.6, x + r + 0.4, y + r - 0.6, x - r - 0.4, y + r - 0.6}, look...)
	case 3:
		c.polygon([]float64{x, y - r - 1, x + r + 1, y, x, y + r + 1, x - r - 1, y}, look...)
	}
}

func (c *canvas) polygon(xy []float64, attributes ...string) {
	points := make([]string, len(xy))
	for i, v := range xy {
		points[i] = num(v)
	}
	c.element("polygon", append([]string{"points", strings.Join(points, " ")}, attributes...)...)
}
