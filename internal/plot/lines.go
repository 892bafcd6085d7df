package plot

import (
	"math"
	"slices"
	"strings"
)

// drawLines draws lines and spans with their axes, from top on.
func (d *drawing) drawLines(top float64) {
	var xs, ys span
	for _, l := range d.lines {
		for _, p := range l.Points {
			if !math.IsNaN(p.Y) && !math.IsNaN(p.X) {
				xs.add(p.X)
				ys.add(p.Y)
			}
		}
	}
	if !ys.some {
		d.empty(top)
		return
	}
	if !d.LogY {
		ys.add(0) // so that a length tells the size
	}

	bottom := d.height - edge - d.row()
	if d.X != "" {
		bottom -= d.row()
	}
	if d.Y != "" {
		top += d.row()
		d.label(d.fit(shown(d.Y, 60), d.width-2*edge), edge, top-2, "start", "fill-opacity", "0.8")
	}
	top += float64(d.size * 0.6)
	bottom = max(bottom, top+20)

	rows := int(max(2, (bottom-top)/(float64(d.size*3))))
	if d.LogY {
		d.y = logarithmic(ys, d.UnitY, rows, true)
	} else {
		d.y = linear(ys, d.UnitY, rows, true)
	}
	d.y.start, d.y.end = bottom, top
	left := d.leftOf()
	right := d.width - edge - 10
	ends := d.ends()
	if len(ends) > 0 {
		widest := 0.0
		for _, e := range ends {
			widest = max(widest, d.canvas.width(e.name))
		}
		right = d.width - edge - min(widest, d.width*0.35) - 14
	}

	columns := int(max(2, (right-left)/(float64(d.size*6))))
	switch {
	case d.Time:
		d.x = clock(xs, d.zone(), columns)
	case d.LogX:
		d.x = logarithmic(xs, d.UnitX, columns, false)
	default:
		d.x = linear(xs, d.UnitX, columns, false)
	}
	d.x.start, d.x.end = left, right
	d.ticksX()
	d.drawMarks(top, bottom)
	d.gridY(left, right)
	d.axisX(bottom, d.X)
	for i, l := range d.lines {
		d.drawLine(i, l.Points)
	}
	d.nameEnds(ends, right, top, bottom)
}

// empty is the frame of a chart without a value.
func (d *drawing) empty(top float64) {
	d.rect(edge, top+6, d.width-2*edge, max(20, d.height-top-6-edge), "class", "plot-axis", "fill", "none", "stroke", "currentColor", "stroke-opacity", "0.4")
	d.label("no data yet", d.width/2, (top+d.height)/2+d.size/2, "middle")
}

// leftOf is where the plane begins: right of the words at the Y axis.
func (d *drawing) leftOf() float64 {
	widest := 0.0
	for _, t := range d.y.ticks {
		widest = max(widest, d.canvas.width(t.text))
	}
	return math.Ceil(edge + widest + 6)
}

// ticksX are those that were asked for, where they can be seen.
func (d *drawing) ticksX() {
	if d.Time || len(d.TicksX) == 0 {
		return
	}
	d.x.ticks = nil
	for _, v := range d.TicksX[:min(len(d.TicksX), 100)] {
		if v = d.valueX(v); v >= d.x.low && v <= d.x.high {
			d.x.ticks = append(d.x.ticks, tick{v, d.UnitX.Text(v)})
		}
	}
}

func (d *drawing) drawMarks(top, bottom float64) {
	for _, m := range d.marks {
		from, to := d.valueX(m.From), d.valueX(m.To)
		if math.IsNaN(from) || math.IsNaN(to) || to < d.x.low || from > d.x.high || to < from {
			continue
		}
		x := d.x.at(from)
		d.shade(x, top, max(1, d.x.at(to)-x), bottom-top)
	}
}

// gridY writes the ticks of the Y axis and a faint line across at each.
func (d *drawing) gridY(left, right float64) {
	for _, t := range d.y.ticks {
		y := d.y.at(t.at)
		opacity := "0.15"
		if t.at == 0 && !d.LogY {
			opacity = "0.6"
		}
		d.line(left, y, right, y, "class", "plot-grid", "stroke", "currentColor", "stroke-opacity", opacity)
		d.label(t.text, left-5, y+float64(d.size*0.35), "end")
	}
}

// axisX writes the axis, its ticks where their words do not overlap, and its name.
func (d *drawing) axisX(bottom float64, name string) {
	d.line(d.x.start, bottom, d.x.end, bottom, "class", "plot-axis", "stroke", "currentColor", "stroke-opacity", "0.6")
	free := 0.0
	for _, t := range d.x.ticks {
		x, half := d.x.at(t.at), d.canvas.width(t.text)/2
		d.line(x, bottom, x, bottom+4, "class", "plot-axis", "stroke", "currentColor", "stroke-opacity", "0.6")
		if x = min(x, d.width-2-half); x-half < free {
			continue
		}
		free = x + half + 6
		d.label(t.text, x, bottom+d.row(), "middle")
	}
	d.nameX(bottom, name)
}

// nameX writes the name of the axis below its ticks.
func (d *drawing) nameX(bottom float64, name string) {
	d.label(d.fit(shown(name, 60), d.width-2*edge), d.x.end, bottom+2*d.row(), "end", "fill-opacity", "0.8")
}

// drawLine draws line i piece by piece: a gap ends a piece, a piece of one point is
// its marker.
func (d *drawing) drawLine(i int, points []Point) {
	between := 0.0 // markers of a line, in pixels
	if len(points) > 12 {
		between = 36
	}
	var places [][2]float64
	free := 0.0 // from here on
	flush := func() {
		places = thin(places)
		if len(places) > 1 {
			xy := make([]float64, 0, 2*len(places))
			for _, p := range places {
				xy = append(xy, p[0], p[1])
			}
			d.stroke(i, xy)
		}
		// Markers tell lines apart, and show where a short line was measured.
		for _, p := range places {
			if len(places) == 1 || (len(d.lines) > 1 || len(places) <= 12) && p[0] >= free {
				d.marker(i, p[0], p[1])
				free = p[0] + between
			}
		}
		places = nil
	}
	for _, p := range points {
		if math.IsNaN(p.X) || math.IsNaN(p.Y) {
			flush()
			continue
		}
		places = append(places, [2]float64{d.x.at(p.X), d.y.at(p.Y)})
	}
	flush()
}

// thin takes out what cannot be seen: of more than four places in one column of
// pixels the first, the lowest, the highest and the last are left.
func thin(places [][2]float64) [][2]float64 {
	var out [][2]float64
	for len(places) > 0 {
		n := 1
		for n < len(places) && math.Floor(places[n][0]) == math.Floor(places[0][0]) {
			n++
		}
		column := places[:n]
		places = places[n:]
		if n <= 4 {
			out = append(out, column...)
			continue
		}
		low, high := 0, 0
		for k, p := range column {
			if p[1] < column[low][1] {
				low = k
			}
			if p[1] > column[high][1] {
				high = k
			}
		}
		keep := []int{0, low, high, n - 1}
		slices.Sort(keep)
		for _, k := range slices.Compact(keep) {
			out = append(out, column[k])
		}
	}
	return out
}

// end is the name of a line, at the height of its last point.
type end struct {
	name string
	line int
	x    float64 // value of the last point
	y    float64 // its place
	at   float64 // of the name, moved where another one is
}

func (d *drawing) ends() (all []end) {
	if !d.direct() {
		return nil
	}
	for i, l := range d.lines {
		for k := len(l.Points) - 1; k >= 0; k-- {
			if p := l.Points[k]; l.Name != "" && !math.IsNaN(p.X) && !math.IsNaN(p.Y) {
				y := d.y.at(p.Y)
				all = append(all, end{shown(l.Name, 60), i, p.X, y, y})
				break
			}
		}
	}
	return all
}

// nameEnds writes the names of lines right of their ends, none over another, each
// with its marker.
func (d *drawing) nameEnds(ends []end, right, top, bottom float64) {
	slices.SortStableFunc(ends, func(a, b end) int {
		if a.y != b.y {
			return int(math.Copysign(1, a.y-b.y))
		}
		return strings.Compare(a.name, b.name)
	})
	row := min(float64(d.size*1.15), (bottom-top+d.size)/float64(max(1, len(ends))))
	for i := 1; i < len(ends); i++ {
		ends[i].at = max(ends[i].at, ends[i-1].at+row)
	}
	// Back up from the bottom, where that moved them out of the plane.
	lowest := bottom
	for i := len(ends) - 1; i >= 0; i-- {
		ends[i].at = min(ends[i].at, lowest)
		lowest = ends[i].at - row
	}
	for _, e := range ends {
		x := right + 8
		if math.Abs(e.at-e.y) > 1 {
			d.line(right+1, e.y, x, e.at, "class", class(e.line), "stroke", colour(e.line), "stroke-opacity", "0.7")
		}
		if math.Abs(e.at-e.y) > 1 || d.x.at(e.x) < right-1 || len(d.lines[e.line].Points) > 12 { // else its own marker is beside
			d.marker(e.line, x+1, e.at)
		}
		d.label(d.fit(e.name, d.width-2-x-8), x+8, e.at+float64(d.size*0.35), "start")
	}
}
