package progress

import (
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"kustospool/internal/visible"
)

const (
	// linesEvery is how often progress is a line where there is no terminal, and
	// stillEvery where nothing has changed since the last one.
	linesEvery = 2 * time.Second
	stillEvery = 30 * time.Second
	// usualColumns are those of a terminal that does not tell.
	usualColumns = 80
	// longestLine bounds a line where there is no terminal.
	longestLine = 400
)

// Screen is standard error: the one place where progress and everything else
// that is said meet. Many goroutines may write to it.
type Screen struct {
	size   func() int // columns now; nil where there is no terminal
	codes  bool       // the terminal knows the usual control codes
	colour bool

	mu    sync.Mutex // guards what follows, and the order of writes
	w     io.Writer
	shown int // columns that the line on the screen takes; 0: there is none
	width int // of the terminal when it was painted
}

// NewScreen is the screen on w, which is a terminal if it is a file that is one.
func NewScreen(w io.Writer) *Screen {
	s := &Screen{w: w}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return s
	}
	s.size = func() int {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
		return usualColumns
	}
	s.codes = runtime.GOOS != "windows" // old consoles show them
	s.colour = s.codes && os.Getenv("NO_COLOR") == ""
	return s
}

// Write takes the line away, if there is one, and writes p with all that it
// holds made visible. Control codes are the screen's own alone.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clearLocked()
	if _, err := io.WriteString(s.w, visible.Lines(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// clear takes the line away.
func (s *Screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clearLocked()
}

func (s *Screen) clearLocked() {
	if s.shown > 0 {
		_, _ = io.WriteString(s.w, "\r"+s.restLocked(s.size(), 0)+"\r")
		s.shown = 0
	}
}

// restLocked takes away what is left of the line on the screen behind the
// first columns. Blanks do that on every terminal, up to the last column. Only
// a line that was cut because the terminal has become narrower may fill that.
func (s *Screen) restLocked(width, columns int) string {
	rest := strings.Repeat(" ", max(min(s.shown, width-1)-columns, 0))
	if s.codes && width < s.width {
		rest += "\x1b[K"
	}
	s.width = width
	return rest
}

// paint shows the line in the place of the one before.
func (s *Screen) paint(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	width := s.size()
	if width < 2 {
		return
	}
	l := st.fit(width - 1)
	used := l.columns()
	rest := s.restLocked(width, used)
	s.shown = used
	if s.colour && l.note != "" {
		l.note = "\x1b[33m" + l.note + "\x1b[0m"
	}
	_, _ = io.WriteString(s.w, "\r"+l.text+l.note+rest)
}

// Phase is one thing that a run does and counts. One goroutine uses it at a time.
type Phase struct {
	screen *Screen // nil: nothing is shown
	state  state
	meter  meter

	last    time.Time // of a line, where there is no terminal
	written state     // in that line
}

// Begin starts a phase on the screen, or one that shows nothing on none. total
// is 0 when it is not known.
func Begin(s *Screen, now time.Time, what, unit string, total int64) *Phase {
	p := &Phase{screen: s, state: state{what: what, unit: unit, total: total}, last: now}
	p.meter.add(now, 0)
	return p
}

// Show shows that n are done; note is what stands in the way, empty for
// nothing. Without a terminal a new note is shown at once, and the rest every
// two seconds.
func (p *Phase) Show(now time.Time, n int64, note string) {
	if p.screen == nil {
		return
	}
	p.meter.add(now, n)
	s := &p.state
	s.n, s.note = n, plain(note)
	s.rate, s.rated = p.meter.rate()
	s.left = 0
	if s.total > 0 {
		s.left, _ = p.meter.left(s.total)
	}
	if p.screen.size != nil {
		p.screen.paint(s)
		return
	}
	news := s.note != "" && s.note != p.written.note
	every := linesEvery
	if s.n == p.written.n && s.note == p.written.note {
		every = stillEvery
	}
	if !news && now.Sub(p.last) < every {
		return
	}
	p.last, p.written = now, *s
	l := s.long()
	_, _ = io.WriteString(p.screen, cut(l.text+l.note, longestLine)+"\n")
}

// End takes the line away.
func (p *Phase) End() {
	if p.screen != nil {
		p.screen.clear()
	}
}
