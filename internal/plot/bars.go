package plot

import "math"

// bar draws the rectangle of bar i: the first is filled, the second faint, the
// third empty, each with its outline.
func (d *drawing) bar(i int, x, y, width, height float64) {
	d.rect(x, y, width, height, "class", class(i), "fill", colour(i), "fill-opacity", [...]string{"1", "0.4", "0"}[i%3],
		"stroke", colour(i), "stroke-width", "1.5")
}

// want draws the stroke of what is wanted.
func (d *drawing) want(x1, y1, x2, y2 float64) {
	d.line(x1, y1, x2, y2, "class", "plot-want", "stroke", "currentColor", "stroke-width", "2.5")
}

// figure is value k of a list, or a gap.
func (d *drawing) figure(list []float64, k int) float64 {
	if k >= len(list) {
		return math.NaN()
	}
	return d.valueY(list[k])
}

// values is the span of all bars and what is wanted of them.
func (d *drawing) values() (s span) {
	for k := range d.categories {
		for _, b := range d.bars {
			s.add(d.figure(b.Values, k))
			s.add(d.figure(b.Wanted, k))
		}
	}
	if s.some && !d.LogY {
		s.add(0)
	}
	return s
}

// foot is where a bar begins.
func (d *drawing) foot(a *axis) float64 {
	if d.LogY {
		return a.at(a.low)
	}
	return a.at(0)
}

// drawBars draws bars that stand, grouped by category.
func (d *drawing) drawBars(top float64) {
	ys := d.values()
	if !ys.some {
		d.empty(top)
		return
	}
	bottom := d.height - edge - d.row()
	if d.X != "" {
		bottom -= d.row()
	}
	if d.Y != "" {
		top += d.row()
		d.label(d.fit(shown(d.Y, 60), d.width-2*edge), edge, top-2, "start", "fill-opacity", "0.8")
	}
	top += float64(d.size * 1.4) // for the figure of the highest
	bottom = max(bottom, top+20)
	rows := int(max(2, (bottom-top)/(float64(d.size*3))))
	if d.LogY {
		d.y = logarithmic(ys, d.UnitY, rows, true)
	} else {
		d.y = linear(ys, d.UnitY, rows, true)
	}
	d.y.start, d.y.end = bottom, top
	d.x.start, d.x.end = d.leftOf(), d.width-edge
	d.gridY(d.x.start, d.x.end)

	group := (d.x.end - d.x.start) / float64(len(d.categories))
	width := group * 0.8 / float64(len(d.bars))
	for k, name := range d.categories {
		x := d.x.start + float64(group*(float64(k)+0.1))
		for i, b := range d.bars {
			if v := d.figure(b.Values, k); !math.IsNaN(v) {
				y, foot := d.y.at(v), d.foot(&d.y)
				d.bar(i, x+1, min(y, foot), width-2, math.Abs(foot-y))
				words := d.UnitY.Text(v)
				if w := d.figure(b.Wanted, k); d.canvas.width(words) <= width+2 {
					over := min(y, foot)
					if !math.IsNaN(w) && math.Abs(d.y.at(w)-over+float64(d.size*0.5)) < d.size {
						over = min(over, d.y.at(w)) // above the stroke, too
					}
					d.label(words, x+width/2, over-4, "middle")
				}
			}
			if w := d.figure(b.Wanted, k); !math.IsNaN(w) {
				y := d.y.at(w)
				d.want(x-1, y, x+width+1, y)
			}
			x += width
		}
		d.label(d.fit(shown(name, 60), group-2), d.x.start+float64(group*(float64(k)+0.5)), bottom+d.row(), "middle")
	}
	d.nameX(bottom, d.X)
}

// drawAcross draws bars that lie, each category's name above its bars.
func (d *drawing) drawAcross(top float64) {
	xs := d.values()
	if !xs.some {
		d.empty(top)
		return
	}
	bottom := d.height - edge - d.row()
	if d.Y != "" {
		bottom -= d.row()
	}
	bottom = max(bottom, top+20)
	left, right := edge, d.width-edge-d.canvas.width("888.8 MiB")
	columns := int(max(2, (right-left)/(float64(d.size*6))))
	if d.LogY {
		d.x = logarithmic(xs, d.UnitY, columns, true)
	} else {
		d.x = linear(xs, d.UnitY, columns, true)
	}
	d.x.start, d.x.end = left+2, right
	for _, t := range d.x.ticks {
		x := d.x.at(t.at)
		d.line(x, top+4, x, bottom, "class", "plot-grid", "stroke", "currentColor", "stroke-opacity", "0.15")
	}
	group := (bottom - top - 4) / float64(len(d.categories))
	name := min(d.row(), group/2)
	height := max(1, (group-name-6)/float64(len(d.bars)))
	for k, category := range d.categories {
		y := top + 4 + float64(group*float64(k))
		d.label(d.fit(shown(category, 120), d.width-2*edge), left, y+name-3, "start")
		y += name
		for i, b := range d.bars {
			v, w := d.figure(b.Values, k), d.figure(b.Wanted, k)
			end, words := d.foot(&d.x), d.UnitY.Text(v)
			if !math.IsNaN(v) {
				x, foot := d.x.at(v), d.foot(&d.x)
				d.bar(i, min(x, foot), y+1, math.Abs(foot-x), height-2)
				end = max(x, foot)
			}
			if !math.IsNaN(w) {
				x := d.x.at(w)
				d.want(x, y-1, x, y+height+1)
				if x > end-8 && x < end+d.canvas.width(words)+8 {
					end = x // the figure stands behind the stroke
				}
			}
			if !math.IsNaN(v) && height >= float64(d.size*0.8) {
				d.label(words, end+5, y+height/2+float64(d.size*0.35), "start")
			}
			y += height
		}
	}
	d.axisX(bottom, d.Y)
}
