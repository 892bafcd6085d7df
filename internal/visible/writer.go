package visible

import (
	"io"
	"unicode/utf8"
)

// Writer passes text on with all that it holds made visible, but for line ends
// and tabulators. It keeps the beginning of a character back until the rest of
// it is written. One goroutine uses it at a time.
type Writer struct {
	W    io.Writer
	rest []byte // of a character
}

// Write reports all of p as written, or none of it with the error of W.
func (w *Writer) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	end := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if c := text[len(text)-back]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(text[len(text)-back:]) {
				end = len(text) - back
			}
			break
		}
	}
	w.rest = append([]byte(nil), text[end:]...)
	if _, err := io.WriteString(w.W, Lines(string(text[:end]))); err != nil {
		return 0, err
	}
	return len(p), nil
}
