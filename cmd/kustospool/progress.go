package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// lineEvery is how often progress is a line where there is no terminal.
const lineEvery = 2 * time.Second

// progress shows how far a run is: a bar on a terminal, now and then a line
// otherwise, nothing when quiet. One goroutine uses it at a time.
type progress struct {
	w     io.Writer
	quiet bool
	tty   bool

	bar   *progressbar.ProgressBar
	what  string
	total int64 // 0 when it is not known
	last  time.Time
	note  string
}

func newProgress(w io.Writer, quiet bool) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, quiet: quiet, tty: ok && term.IsTerminal(int(f.Fd()))}
}

// begin starts a phase. total is 0 when it is not known.
func (p *progress) begin(what string, total int64) {
	p.end()
	p.what, p.total, p.last, p.note = what, total, time.Now(), ""
	if p.quiet || !p.tty {
		return
	}
	limit := total
	if limit == 0 {
		limit = -1
	}
	p.bar = progressbar.NewOptions64(limit,
		progressbar.OptionSetWriter(p.w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("records"),
		progressbar.OptionThrottle(100*time.Millisecond),
		// Without an interval the bar of unknown length starts no goroutine.
		progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionClearOnFinish(),
	)
}

// at shows that n records of the phase are done; note is what stands in the
// way, empty for nothing. A new note is shown at once.
func (p *progress) at(n int64, note string) {
	if p.quiet {
		return
	}
	// The id of the request changes with each attempt and is no news.
	what, _, _ := strings.Cut(note, " (request ")
	changed := what != p.note && what != ""
	p.note = what
	if p.bar != nil {
		if changed {
			p.clear()
			fmt.Fprintln(p.w, note)
		}
		// A bar that cannot be drawn is no reason to stop.
		_ = p.bar.Set64(n)
		return
	}
	if !changed && time.Since(p.last) < lineEvery {
		return
	}
	p.last = time.Now()
	line := fmt.Sprintf("%s: %d records", p.what, n)
	if p.total > 0 {
		line = fmt.Sprintf("%s: %d of %d records", p.what, n, p.total)
	}
	if note != "" {
		line += "; " + note
	}
	fmt.Fprintln(p.w, line)
}

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end takes the bar away.
func (p *progress) end() {
	p.clear()
	p.bar = nil
}
