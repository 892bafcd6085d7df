package progress

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rivo/uniseg"
)

// state is all that a line is made of.
type state struct {
	what  string // "spooled"
	unit  string // "records"
	n     int64
	total int64 // 0: not known
	rate  float64
	rated bool
	left  time.Duration // 0: not known
	note  string        // what stands in the way; plain text
}

// line is what is shown: text, then note, which may be coloured.
type line struct{ text, note string }

func (l line) columns() int { return columns(l.text) + columns(l.note) }

func columns(s string) int { return uniseg.StringWidth(s) }

// long is the line without a bound.
func (s *state) long() line {
	l := line{text: s.heads()[0]}
	for _, extra := range s.extras() {
		l.text += ", " + extra
	}
	if s.note != "" {
		l.text, l.note = l.text+"; ", s.note
	}
	return l
}

// fit is the line in at most width columns. The count comes first, then what
// stands in the way, then the rest, each as far as there is room.
func (s *state) fit(width int) line {
	heads := s.heads()
	room := width
	if s.note != "" {
		// Half of the line is the note's, if it is that long.
		room = max(width-2-min(columns(s.note), width/2), 0)
	}
	head := heads[len(heads)-1]
	for _, h := range heads {
		if columns(h) <= room {
			head = h
			break
		}
	}
	l := line{text: cut(head, width)}
	if s.note != "" {
		const least = 8 // fewer columns of a note say nothing
		if rest := width - columns(l.text) - 2; rest >= min(least, columns(s.note)) {
			l.text, l.note = l.text+"; ", cut(s.note, rest)
		}
		return l
	}
	for _, extra := range s.extras() {
		if longer := l.text + ", " + extra; columns(longer) <= width {
			l.text = longer
		}
	}
	return l
}

// heads say how far it is, the longest first.
func (s *state) heads() []string {
	if s.total <= 0 {
		return []string{
			fmt.Sprintf("%s: %d %s", s.what, s.n, s.unit),
			fmt.Sprintf("%s: %d", s.what, s.n),
			fmt.Sprintf("%s %s", s.what, short(float64(s.n))),
			short(float64(s.n)),
		}
	}
	return []string{
		fmt.Sprintf("%s: %d of %d %s", s.what, s.n, s.total, s.unit),
		fmt.Sprintf("%s: %d of %d", s.what, s.n, s.total),
		fmt.Sprintf("%s %s/%s", s.what, short(float64(s.n)), short(float64(s.total))),
		fmt.Sprintf("%s/%s", short(float64(s.n)), short(float64(s.total))),
	}
}

// extras are what is shown where there is room and nothing stands in the way.
func (s *state) extras() []string {
	var out []string
	if s.total > 0 {
		out = append(out, strconv.Itoa(int(100*min(max(float64(s.n)/float64(s.total), 0), 1)))+"%")
	}
	if s.rated {
		out = append(out, short(s.rate)+"/s")
	}
	if s.left > 0 && s.note == "" {
		out = append(out, span(s.left)+" left")
	}
	return out
}

// short is a number in a few columns: 0.4, 12, 950, 1.2k, 52k, 3.4M.
func short(n float64) string {
	unit := ""
	for _, u := range []string{"k", "M", "G", "T"} {
		if n < 999.5 {
			break
		}
		n, unit = n/1000, u
	}
	if n < 9.95 && (unit != "" || n != float64(int64(n))) {
		return strings.TrimSuffix(strconv.FormatFloat(n, 'f', 1, 64), ".0") + unit
	}
	return strconv.FormatFloat(n, 'f', 0, 64) + unit
}

// span is a duration in its two largest units.
func span(d time.Duration) string {
	s := int64(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
}

// cut shortens s to at most width columns, at the border of a character.
func cut(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	const dots = "..."
	if width <= len(dots) {
		return dots[:max(width, 0)]
	}
	var b strings.Builder
	used, state := 0, -1
	for s != "" {
		var cluster string
		var w int
		cluster, s, w, state = uniseg.FirstGraphemeClusterInString(s, state)
		if used+w > width-len(dots) {
			break
		}
		b.WriteString(cluster)
		used += w
	}
	return b.String() + dots
}
