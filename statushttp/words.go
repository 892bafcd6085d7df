package statushttp

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode/utf8"

	"kustospool/ingest"
	"kustospool/internal/quantity"
	"kustospool/internal/visible"
	"kustospool/operate"
)

// maxText bounds a text of the service, of an operator or of a name on the page, in
// bytes.
const maxText = 1000

// text is foreign text on one line: bounded, with what cannot be seen as escapes.
func text(s string) string {
	head, more := cutText(s, maxText)
	if head = visible.String(head); more > 0 {
		return head + fmt.Sprintf(" … (%d bytes more)", more)
	}
	return head
}

// cutText is the beginning of s, cut between characters, and how much more there is.
func cutText(s string, most int) (head string, more int) {
	if len(s) <= most {
		return s, 0
	}
	n := most
	for n > most-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], len(s) - n
}

// counted is a number and what it counts.
func counted(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "ch") {
		return quantity.Count(n) + " " + one + "es"
	}
	return quantity.Count(n) + " " + one + "s"
}

// span is a time in seconds, in its two largest units.
func span(seconds float64) string {
	n := int64(max(min(seconds, 1e12), 0))
	switch {
	case n < 60:
		return fmt.Sprintf("%d s", n)
	case n < 3600:
		return fmt.Sprintf("%d min %d s", n/60, n%60)
	case n < 86400:
		return fmt.Sprintf("%d h %d min", n/3600, n%3600/60)
	}
	return fmt.Sprintf("%d d %d h", n/86400, n%86400/3600)
}

// when is a moment, for people and for programs.
func when(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format("2006-01-02T15:04:05Z") + `">` + t.Format("2006-01-02 15:04:05") + `</time>`)
}

// rateText is a speed, and how long the backlog takes at it.
func rateText(r *operate.Rate, toEmpty *float64) string {
	if r == nil {
		return ""
	}
	out := fmt.Sprintf("%s records/s, %s/s", quantity.Rate(r.Records), quantity.Size(int64(r.Bytes)))
	switch {
	case toEmpty == nil && r.Records == 0:
		return out + "; not emptying"
	case toEmpty != nil && *toEmpty > 0:
		return out + "; empty in " + span(*toEmpty)
	}
	return out
}

// said is a failure in one line. The words of the service are cut and not what stands behind
// them: its support asks for the request id.
func said(f *ingest.Failure) string {
	if f == nil {
		return ""
	}
	short := *f
	short.Message, short.RequestID = text(f.Message), text(f.RequestID)
	head, _ := cutText(short.String(), 3*maxText)
	return visible.String(head)
}

// batchState says what the state of a batch means.
func batchState(state string) string {
	switch state {
	case "sealed":
		return "waits to be sent"
	case "unknown":
		return "the service may have it"
	case "accepted":
		return "the service has it, and has not told the outcome"
	}
	return ""
}

// piece is a part of a sentence that is a command, or is not.
type piece struct {
	Text string
	Code bool
}

// pieces are the commands, in backquotes, of a sentence and what is between them.
func pieces(sentence string) []piece {
	var out []piece
	for i, s := range strings.Split(text(sentence), "`") {
		if s != "" {
			out = append(out, piece{s, i%2 == 1})
		}
	}
	return out
}

// sign is a level of a trouble as a character, for who sees no colours.
func sign(l operate.Level) string {
	switch l {
	case operate.Critical:
		return "✖"
	case operate.Warning:
		return "▲"
	}
	return "ℹ"
}

// levelClass is a level as the style sheet knows it.
func levelClass(l operate.Level) string {
	if l == operate.Critical || l == operate.Warning {
		return string(l)
	}
	return string(operate.Note)
}

// troubleTitle is a trouble in one line.
func troubleTitle(t *operate.Trouble) string {
	title := string(t.Kind)
	switch {
	case t.Table != "":
		title += ", table " + t.Table
	case t.Tables > 1:
		title += ", " + counted(int64(t.Tables), "table")
	}
	return text(title + ": " + t.What)
}
