package progress

import (
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"

	"kustospool/internal/visible"
)

// Canvas is a whole terminal that is painted again and again. One goroutine uses
// it at a time.
type Canvas struct {
	w    io.Writer
	size func() (columns, rows int)
}

// NewCanvas is the terminal that w is; nil where it is none, or one that knows no
// control codes.
func NewCanvas(w io.Writer) *Canvas {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || runtime.GOOS == "windows" {
		return nil
	}
	return &Canvas{w: w, size: func() (int, int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || columns < 1 || rows < 1 {
			return usualColumns, 24
		}
		return columns, rows
	}}
}

// Size is that of the terminal now.
func (c *Canvas) Size() (columns, rows int) { return c.size() }

// Paint shows lines in the place of those before. What does not fit is cut, at
// the right and at the bottom; the last column and the last line stay free, so
// that nothing scrolls. Control characters are made visible.
func (c *Canvas) Paint(lines []string) error {
	columns, rows := c.size()
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines[:min(len(lines), max(rows-1, 1))] {
		b.WriteString(Fit(visible.String(line), columns-1))
		b.WriteString("\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(c.w, b.String())
	return err
}

// Begin clears the terminal.
func (c *Canvas) Begin() error {
	_, err := io.WriteString(c.w, "\x1b[2J")
	return err
}

// Fit cuts text to a number of columns.
func Fit(text string, columns int) string { return cut(text, columns) }
