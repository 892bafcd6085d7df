package statushttp

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"net/url"

	"kustospool/internal/visible"
	"kustospool/operate"
)

// An action does what a form asks for, and says what it did.
type action struct {
	what  string // it needs, for who cannot have it
	offer func(may) bool
	do    func(context.Context, *Page, func(string) string) (string, error)
}

var actions = map[string]action{
	"pause": {"pause a table", may.tables, func(ctx context.Context, p *Page, field func(string) string) (string, error) {
		a, err := p.tables.Pause(ctx, operate.PauseQuery{Table: field("table"), Reason: field("reason")})
		if err != nil {
			return "", err
		}
		return a.Database + "." + a.Table + " is paused.", nil
	}},
	"resume": {"resume a table", may.tables, func(ctx context.Context, p *Page, field func(string) string) (string, error) {
		a, err := p.tables.Resume(ctx, operate.TableQuery{Table: field("table")})
		switch {
		case err != nil:
			return "", err
		case !a.Was:
			return a.Database + "." + a.Table + " was not paused.", nil
		}
		return a.Database + "." + a.Table + " is resumed.", nil
	}},
	"retry": {"retry a table", may.tables, func(ctx context.Context, p *Page, field func(string) string) (string, error) {
		a, err := p.tables.Retry(ctx, operate.TableQuery{Table: field("table")})
		switch {
		case err != nil:
			return "", err
		case !a.InUse:
			return "No process has the spool open. The next one tries " + a.Database + "." + a.Table + " at once.", nil
		case a.Batches == 0:
			return "No batch of " + a.Database + "." + a.Table + " waits for an attempt.", nil
		}
		return fmt.Sprintf("%s.%s is tried now, %s.", a.Database, a.Table, counted(a.Batches, "batch")), nil
	}},
	"dead-retry": {"retry a dead letter", may.dead, func(ctx context.Context, p *Page, field func(string) string) (string, error) {
		a, err := p.keeper.RetryDead(ctx, operate.RetryDead{ID: field("id"), Apply: true, AcceptDoubles: field("accept_doubles") == "yes"})
		switch {
		case err != nil:
			return "", err
		case a.Before:
			return "Its records had been stored again before; the dead letter is gone now.", nil
		}
		return fmt.Sprintf("Stored again: %s, for %s.%s. The dead letter is gone.", counted(a.Records, "record"), a.Database, a.Table), nil
	}},
	"dead-drop": {"drop a dead letter", may.dead, func(ctx context.Context, p *Page, field func(string) string) (string, error) {
		a, err := p.keeper.DropDead(ctx, operate.DropDead{ID: field("id")})
		if err != nil {
			return "", err
		}
		return "The dead letter " + a.ID + " is dropped.", nil
	}},
}

func (m may) tables() bool { return m.Tables }
func (m may) dead() bool   { return m.Dead }

// do does what a form asks for, and sends the browser back to the page, which says
// what became of it.
func (p *Page) do(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("action")
	a, ok := actions[name]
	switch {
	case !ok:
		p.nowhere(w, r)
		return
	case !p.o.Actions:
		p.refuse(w, r, http.StatusForbidden, "This page only reads: it was not set up for actions.")
		return
	case !a.offer(p.watch.may):
		p.refuse(w, r, http.StatusNotImplemented, "This spool cannot "+a.what+".")
		return
	}
	field, ok := p.form(w, r)
	if !ok {
		return
	}
	if name == "dead-drop" && field("sure") != "yes" {
		id, ok := p.deadID(w, r, field("id"))
		if ok {
			seeOther(w, "../dead/"+id+"/drop")
		}
		return
	}
	ctx, end, ok := p.ask(w, r)
	if !ok {
		return
	}
	defer end()
	m := message{}
	said, err := a.do(ctx, p, field)
	on, _ := cutText(field("table")+field("id"), maxText)
	if err != nil {
		m.Failed, m.Text = true, text(err.Error())
		p.o.Log.Warn("action failed", "action", name, "on", visible.String(on), "remote", r.RemoteAddr, "error", visible.String(err.Error()))
	} else {
		m.Text = text(said)
		p.o.Log.Info("action done", "action", name, "on", visible.String(on), "remote", r.RemoteAddr)
	}
	p.watch.again(ctx)
	seeOther(w, "../?told="+url.QueryEscape(p.told.keep(m)))
}

// pauseAsk asks why a table is to be paused.
func (p *Page) pauseAsk(w http.ResponseWriter, r *http.Request) {
	if !p.watch.may.Tables {
		p.refuse(w, r, http.StatusForbidden, "Tables cannot be paused on this page.")
		return
	}
	table, more := cutText(r.URL.Query().Get("table"), 4<<10)
	if more > 0 {
		p.refuse(w, r, http.StatusBadRequest, "The parameter table must be the name of a table.")
		return
	}
	p.send(w, r, http.StatusOK, shell{Title: p.o.Title, Base: "./", Login: true, Body: template.HTML(execute("pauseask", struct{ Table string }{table}))})
}
