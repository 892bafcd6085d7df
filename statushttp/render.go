package statushttp

import (
	"bytes"
	"embed"
	"html/template"
	"io"
	"net/http"

	"kustospool/internal/quantity"
	"kustospool/operate"
)

//go:embed assets/*.html
var templateFiles embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"text": text, "count": quantity.Count, "counted": counted, "count64": func(n int) string { return quantity.Count(int64(n)) }, "counted64": func(n int, one string) string { return counted(int64(n), one) }, "size": quantity.Size, "span": span, "when": when, "said": said, "batchState": batchState, "name": nameOf,
	"pieces": pieces, "sign": sign, "level": levelClass, "words": func(l operate.Level) string { return text(string(l)) }, "title": troubleTitle,
}).ParseFS(templateFiles, "assets/*.html"))

// partNames are the parts of the page that change, each an element with this id.
var partNames = []string{"state", "backlog", "troubles", "tables", "batches", "dead"}

// partsOf makes the parts of the page from a look.
func partsOf(l *look, m may) map[string]string {
	v := viewOf(l, m)
	out := make(map[string]string, len(partNames))
	for _, name := range partNames {
		out[name] = execute(name, v)
	}
	return out
}

// execute makes one template into text. The templates are the page's own, and are
// given what they expect, so it does not fail.
func execute(name string, data any) string {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		panic("statushttp: template " + name + ": " + err.Error())
	}
	return b.String()
}

// shell is what every page has around it.
type shell struct {
	Title  string
	Base   string
	Reload string // of a page that is not reloaded by script: seconds, and where to
	Login  bool   // there is a token, so that one can log out
	Live   bool   // the page follows the stream
	Range  string
	// Troubles is how many there are, without those that end by themselves.
	Troubles int
	Told     *message
	Body     template.HTML
}

// send writes a whole page.
func (p *Page) send(w http.ResponseWriter, r *http.Request, status int, s shell) {
	s.Title = text(s.Title)
	s.Login = p.guard.guarded && s.Login
	s.Told = p.told.of(r)
	body := execute("shell", s)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if r.Method == http.MethodHead {
		w.WriteHeader(status)
		return
	}
	out, end := io.Writer(w), func() error { return nil }
	if len(body) >= packFrom {
		out, _, end = packed(w, r)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(out, body) // who has gone away is told nothing
	_ = end()                        // the same
}
