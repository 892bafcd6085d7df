package engine

import (
	"context"
	"errors"
	"time"

	"kustospool/engine/internal/answers"
	"kustospool/operate"
	"kustospool/store"
)

// inUse is an operator that also changes what a process that has the spool open can
// change.
type inUse struct {
	*operator
	spool *Spool
}

var (
	_ operate.Controller = (*inUse)(nil)
	_ operate.Checker    = (*inUse)(nil)
)

// Pause pauses a table.
func (o *inUse) Pause(_ context.Context, q operate.PauseQuery) (*operate.Paused, error) {
	t, err := o.tableNamed(q.Table, o.spool.store.Paused())
	if err != nil {
		return nil, err
	}
	p, err := o.spool.Pause(t, q.Reason)
	if err != nil {
		return nil, err
	}
	return pausedOf(&p), nil
}

// Resume resumes a table.
func (o *inUse) Resume(_ context.Context, q operate.TableQuery) (*operate.Resumed, error) {
	t, err := o.tableNamed(q.Table, o.spool.store.Paused())
	if err != nil {
		return nil, err
	}
	was, err := o.spool.Resume(t)
	return &operate.Resumed{Database: t.Database, Table: t.Table, Was: was}, err
}

// Retry has a table's next batch attempted now.
func (o *inUse) Retry(_ context.Context, q operate.TableQuery) (*operate.Retried, error) {
	t, err := o.tableNamed(q.Table, nil)
	if err != nil {
		return nil, err
	}
	n, err := o.spool.Retry(t)
	if errors.Is(err, ErrPaused) {
		err = isPaused(t)
	}
	return &operate.Retried{Database: t.Database, Table: t.Table, Batches: int64(n), InUse: true}, err
}

// isPaused is why a table is not tried.
func isPaused(t TableName) error {
	return &operate.Error{Code: operate.Invalid, Message: "table " + t.Database + "." + t.Table + " is paused: resume it"}
}

// tableNamed is the table that is named as TABLE or DB.TABLE: one of the spool's, or of
// those that are paused.
func (o *operator) tableNamed(name string, paused []store.Pause) (TableName, error) {
	for i := range paused {
		if t := tableOf(&paused[i]); name == t.Database+"."+t.Table {
			return t, nil
		}
	}
	if name == "" {
		return TableName{}, &operate.Error{Code: operate.Invalid, Message: "no table is named"}
	}
	lanes, err := answers.Lanes(o.books, name)
	if err != nil {
		return TableName{}, err
	}
	p, _ := o.books.LaneProperties(lanes[0])
	return TableName{p.Database, p.Table}, nil
}

func pausedOf(p *Pause) *operate.Paused {
	return &operate.Paused{Database: p.Table.Database, Table: p.Table.Table, Since: p.Since, Reason: p.Reason}
}

// ControlAtRest pauses and resumes tables of a spool that no process has open. Each
// call takes the spool's lock while it lasts. Of the options TrustDirectory and LockTimeout have a
// meaning. The errors of its methods are also those of [Look].
func ControlAtRest(dir string, opts *Options) operate.Controller {
	return &atRest{dir: dir, opts: opts.withDefaults()}
}

type atRest struct {
	dir  string
	opts Options
}

// look finds the table, and hands the view to see.
func (a *atRest) look(table string, see func(*View, TableName)) error {
	v, err := Look(a.dir, &a.opts)
	if err != nil {
		return err
	}
	t, err := v.operator().tableNamed(table, v.picture.Paused())
	if err == nil {
		see(v, t)
	}
	return errors.Join(err, v.Close())
}

func (a *atRest) change(change func([]store.Pause) ([]store.Pause, error)) error {
	return ownError(store.ChangePausedAt(a.dir, &store.Options{TrustDirectory: a.opts.TrustDirectory, LockTimeout: a.opts.LockTimeout}, change))
}

// Pause pauses a table.
func (a *atRest) Pause(_ context.Context, q operate.PauseQuery) (*operate.Paused, error) {
	out := &operate.Paused{Since: time.Now().UTC(), Reason: q.Reason}
	if err := a.look(q.Table, func(_ *View, t TableName) { out.Database, out.Table = t.Database, t.Table }); err != nil {
		return nil, err
	}
	return out, a.change(func(list []store.Pause) ([]store.Pause, error) {
		list, since := without(list, TableName{out.Database, out.Table})
		if !since.IsZero() {
			out.Since = since
		}
		return append(list, store.Pause{Database: out.Database, Table: out.Table, Since: out.Since, Reason: out.Reason}), nil
	})
}

// Resume resumes a table.
func (a *atRest) Resume(_ context.Context, q operate.TableQuery) (*operate.Resumed, error) {
	out := &operate.Resumed{}
	if err := a.look(q.Table, func(_ *View, t TableName) { out.Database, out.Table = t.Database, t.Table }); err != nil {
		return nil, err
	}
	return out, a.change(func(list []store.Pause) ([]store.Pause, error) {
		list, since := without(list, TableName{out.Database, out.Table})
		out.Was = !since.IsZero()
		return list, nil
	})
}

// Retry tells how many batches of a table wait: who opens the spool next tries it at once.
func (a *atRest) Retry(_ context.Context, q operate.TableQuery) (*operate.Retried, error) {
	out, paused := &operate.Retried{}, false
	err := a.look(q.Table, func(v *View, t TableName) {
		out.Database, out.Table = t.Database, t.Table
		_, since := without(v.picture.Paused(), t)
		paused = !since.IsZero()
		for _, l := range v.Stats().Lanes {
			if l.Properties.Database == t.Database && l.Properties.Table == t.Table {
				out.Batches += l.Batches.Sealed
			}
		}
	})
	if err == nil && paused {
		err = isPaused(TableName{Database: out.Database, Table: out.Table})
	}
	return out, err
}
