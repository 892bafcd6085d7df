package statushttp

import (
	"embed"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

//go:embed assets/page.css assets/page.js assets/icon.svg
var assetFiles embed.FS

// asset serves the style, the script and the icon.
func (p *Page) asset(w http.ResponseWriter, r *http.Request) {
	types := map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
	name := r.PathValue("name")
	data, err := assetFiles.ReadFile("assets/" + name)
	if types[name] == "" || err != nil {
		p.nowhere(w, r)
		return
	}
	w.Header().Set("Content-Type", types[name])
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // who has gone away is told nothing
	}
}

// home is the page of the spool.
func (p *Page) home(w http.ResponseWriter, r *http.Request) {
	l := p.watch.first(r.Context())
	if l == nil {
		l = &look{at: time.Now()}
		l.show(p.watch.may, nil, nil)
	}
	name := rangeOf(r.URL.Query().Get("range"))
	data := struct{ Parts []template.HTML }{}
	parts := l.parts()
	for _, part := range partNames {
		data.Parts = append(data.Parts, template.HTML(parts[part]))
		if part == "backlog" {
			data.Parts = append(data.Parts, template.HTML(l.charts[name]()))
		}
	}
	// A browser without script comes again, and leaves behind what an action said.
	again := max(5, int((p.o.Every+time.Second-1)/time.Second))
	p.send(w, r, http.StatusOK, shell{Title: p.o.Title, Base: "./", Login: true, Live: true, Range: name, Troubles: l.troubles(),
		Reload: strconv.Itoa(again) + "; url=./?range=" + name, Body: template.HTML(execute("home", data))})
}

// rangeLink leads to the charts of another range.
type rangeLink struct {
	Name, Words string
	Now         bool
}

// chartsPart is the section with the charts of a range.
func chartsPart(name, svg string) string {
	data := struct {
		Ranges []rangeLink
		SVG    template.HTML
	}{SVG: template.HTML(svg)}
	for _, r := range ranges {
		words := map[string]string{"15m": "15 minutes", "24h": "24 hours"}[r]
		data.Ranges = append(data.Ranges, rangeLink{Name: r, Words: words, Now: r == name})
	}
	return execute("charts", data)
}

// loginPage asks for the token.
func (p *Page) loginPage(w http.ResponseWriter, r *http.Request, status int, wrong string) {
	if !wantsHTML(r) {
		http.Error(w, "A token is needed: Authorization: Bearer TOKEN.", status)
		return
	}
	base := baseOf(r)
	p.send(w, r, status, shell{Title: defaultTitle, Base: base, Body: template.HTML(execute("login", struct{ Base, Wrong string }{base, wrong}))})
}
