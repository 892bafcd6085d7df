package statushttp

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"unicode/utf8"

	"kustospool/ingest"
	"kustospool/internal/quantity"
	"kustospool/internal/visible"
	"kustospool/operate"
)

// maxRecords is how many bytes of a dead letter's records one page shows.
const maxRecords = 16 << 10

// maxLetters is how many dead letters one page lists.
const maxLetters = 100

// deadID reads the ID of a dead letter, in its one form.
func (p *Page) deadID(w http.ResponseWriter, r *http.Request, s string) (string, bool) {
	id, err := ingest.ParseBatchID(s)
	if err != nil {
		p.refuse(w, r, http.StatusNotFound, "There is no such dead letter.")
		return "", false
	}
	return id.String(), true
}

// letterPage is a dead letter, as the template takes it.
type letterPage struct {
	May     may
	D       *operate.DeadLetter
	Format  string
	Mapping string
	Records int64
	Plan    string
	Doubt   bool // it may be in the table already
	Unread  string
	Text    string
	From    int64
	To      int64
	More    bool
}

// deadShow shows one dead letter.
func (p *Page) deadShow(w http.ResponseWriter, r *http.Request) {
	from, ok := offset(r.URL.Query().Get("at"))
	if !ok {
		p.refuse(w, r, http.StatusBadRequest, "The parameter at must be a number.")
		return
	}
	ctx, end, d := p.named(w, r)
	if d == nil {
		return
	}
	defer end()
	id := d.ID.String()
	v := letterPage{May: p.watch.may, D: d, Format: string(d.Properties.Format), Mapping: d.Properties.MappingReference, From: from,
		Records: int64(d.Last-d.First+1) - d.Damaged, Doubt: d.Unresolved > 0}
	if d.Properties.Mapping != "" {
		v.Mapping = d.Properties.Mapping
	}
	v.Plan = p.plan(ctx, id)
	piece, err := p.keeper.DeadPayload(ctx, operate.DeadPayloadQuery{ID: id, Offset: uint64(from)})
	if err != nil {
		v.Unread = text(err.Error())
	} else {
		shown := piece.Data
		if len(shown) > maxRecords {
			head, _ := cutText(string(shown[:min(len(shown), maxRecords+utf8.UTFMax)]), maxRecords)
			shown, v.More = []byte(head), true
		}
		v.More = v.More || !piece.End
		v.Text, v.To = visible.Lines(string(shown)), from+int64(len(shown))
	}
	p.send(w, r, http.StatusOK, shell{Title: p.o.Title, Base: "../", Login: true, Body: template.HTML(execute("letter", v))})
}

// offset reads where in the records a page begins.
func offset(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && n < 1<<50
}

// plan says what a retry would do.
func (p *Page) plan(ctx context.Context, id string) string {
	a, err := p.keeper.RetryDead(ctx, operate.RetryDead{ID: id})
	switch {
	case err != nil:
		return text("It is not known: " + err.Error())
	case a.Refused != "":
		return text("It would be refused: " + a.Refused)
	}
	return text(fmt.Sprintf("It stores %s again, %s, for the table %s.%s. Then the dead letter is gone.", counted(a.Records, "record"), quantity.Size(a.Bytes), a.Database, a.Table))
}

// named finds the dead letter that the path names, and has a place for what else is to
// be asked about it until end; nil where that was refused.
func (p *Page) named(w http.ResponseWriter, r *http.Request) (ctx context.Context, end func(), d *operate.DeadLetter) {
	id, ok := p.deadID(w, r, r.PathValue("id"))
	if !ok {
		return nil, nil, nil
	}
	if ctx, end, ok = p.ask(w, r); !ok {
		return nil, nil, nil
	}
	if d = p.letter(ctx, w, r, id); d == nil {
		end()
	}
	return ctx, end, d
}

// letter finds a dead letter; where there is none, or no answer, it says so.
func (p *Page) letter(ctx context.Context, w http.ResponseWriter, r *http.Request, id string) *operate.DeadLetter {
	if p.keeper == nil {
		p.refuse(w, r, http.StatusNotImplemented, "The dead letters of this spool cannot be shown here. See kustospool dead show.")
		return nil
	}
	// There is no question for one alone. Those behind all but its last digit are at
	// most sixteen, and it is one of them.
	list, err := p.keeper.ListDead(ctx, operate.DeadQuery{After: id[:len(id)-1], Limit: 16})
	if err != nil {
		p.refuseFor(w, r, err)
		return nil
	}
	for i := range list.Letters {
		if list.Letters[i].ID.String() == id {
			return &list.Letters[i]
		}
	}
	p.refuse(w, r, http.StatusNotFound, "There is no such dead letter, or no longer.")
	return nil
}

// deadAsk asks whether a dead letter is really to be dropped.
func (p *Page) deadAsk(w http.ResponseWriter, r *http.Request) {
	if !p.watch.may.Dead {
		p.refuse(w, r, http.StatusForbidden, "Dead letters cannot be dropped on this page.")
		return
	}
	_, end, d := p.named(w, r)
	if d == nil {
		return
	}
	defer end()
	words := fmt.Sprintf("%s of %s, %s, set aside %s UTC.", counted(int64(d.Last-d.First+1)-d.Damaged, "record"), nameOf(d.Properties.Database, d.Properties.Table), quantity.Size(d.Bytes), d.Updated.UTC().Format("2006-01-02 15:04:05"))
	p.send(w, r, http.StatusOK, shell{Title: p.o.Title, Base: "../../", Login: true, Body: template.HTML(execute("dropask", struct{ ID, Text string }{d.ID.String(), words}))})
}

// deadList lists all dead letters, some on each page.
func (p *Page) deadList(w http.ResponseWriter, r *http.Request) {
	if p.keeper == nil {
		p.refuse(w, r, http.StatusNotImplemented, "The dead letters of this spool cannot be listed here. See kustospool dead list.")
		return
	}
	after := r.URL.Query().Get("after")
	if after != "" {
		var ok bool
		if after, ok = p.deadID(w, r, after); !ok {
			return
		}
	}
	ctx, end, ok := p.ask(w, r)
	if !ok {
		return
	}
	defer end()
	list, err := p.keeper.ListDead(ctx, operate.DeadQuery{After: after, Limit: maxLetters})
	if err != nil {
		p.refuseFor(w, r, err)
		return
	}
	data := struct {
		May        may
		Base       string
		Dead       []operate.Batch
		Next       string
		Unreadable []string
	}{May: p.watch.may, Base: "../", Next: list.Next, Unreadable: list.Unreadable[:min(len(list.Unreadable), maxShown)]}
	for i := range list.Letters[:min(len(list.Letters), maxLetters)] {
		d := &list.Letters[i]
		data.Dead = append(data.Dead, operate.Batch{ID: d.ID.String(), Database: d.Properties.Database, Table: d.Properties.Table,
			Records: int64(d.Last - d.First + 1), RawBytes: d.RawBytes, Updated: d.Updated, Failure: d.Failure})
	}
	p.send(w, r, http.StatusOK, shell{Title: p.o.Title, Base: "../", Login: true, Body: template.HTML(execute("deadlist", data))})
}
