package engine

import (
	"errors"
	"slices"
	"time"

	"kustospool/engine/internal/live"
	"kustospool/ingest"
	"kustospool/store"
)

// ErrPaused is returned by Retry for a table that is paused.
var ErrPaused = errors.New("engine: the table is paused")

// Pause says that a table is paused: see [Spool.Pause].
type Pause struct {
	Table  TableName
	Since  time.Time
	Reason string // as it was given; may be empty
}

// Pause stops the delivery of a table, durably, until Resume: also after a restart, and
// for tables of which the spool has nothing yet. Records are accepted, kept and made into
// batches as before, and count towards MaxDiskBytes; with the policy DropOldest for a full
// spool they may be dropped. No attempt at a batch of the table begins once Pause has
// returned; one that is under way is finished, and outcomes are asked for. A Drain waits
// for Resume. A table that is paused already keeps its Since and takes the reason,
// which has at most 256 bytes. A spool has at most 1000 paused tables.
//
// Errors: one that matches [ingest.ErrInvalid], ErrClosed, ErrFull, that of the file
// system. Nothing was changed then.
func (s *Spool) Pause(table TableName, reason string) (Pause, error) {
	made := Pause{table, time.Now().UTC(), reason}
	err := s.changePaused(func(list []store.Pause) []store.Pause {
		var since time.Time
		if list, since = without(list, table); !since.IsZero() {
			made.Since = since
		}
		return append(list, store.Pause{Database: table.Database, Table: table.Table, Since: made.Since, Reason: reason})
	})
	if err != nil {
		return Pause{}, err
	}
	s.log.Warn("a table is paused", "database", table.Database, "table", table.Table, "reason", reason)
	return made, nil
}

// Resume ends a pause, durably, and reports whether there was one. The errors are those of
// Pause.
func (s *Spool) Resume(table TableName) (bool, error) {
	if err := table.check(); err != nil {
		return false, err
	}
	was := false
	err := s.changePaused(func(list []store.Pause) []store.Pause {
		list, since := without(list, table)
		was = !since.IsZero()
		return list
	})
	if err != nil {
		return false, err
	}
	if was {
		s.log.Info("a table is resumed", "database", table.Database, "table", table.Table)
	}
	return was, nil
}

// Retry has the table's next batch attempted now: it ends the pause after a failure, of
// the table and of the destination that it goes to, also one that the service has asked for, and the state Held. One
// attempt is made; when that fails the pauses begin again with the shortest one. What is of
// unknown outcome is still looked for first. It returns how many of the table's batches
// wait for an attempt. After a restart every table is tried at once, without Retry.
//
// Errors: ErrPaused, ErrClosed, one that matches [ingest.ErrInvalid].
func (s *Spool) Retry(table TableName) (batches int, err error) {
	if err := table.check(); err != nil {
		return 0, err
	}
	if s.closing.Load() {
		return 0, ErrClosed
	}
	if slices.ContainsFunc(s.store.Paused(), func(p store.Pause) bool { return tableOf(&p) == table }) {
		return 0, ErrPaused
	}
	return s.live.RetryNow(live.Table(table), time.Now()), nil
}

func (t TableName) check() error {
	if err := ingest.CheckName("database", t.Database); err != nil {
		return err
	}
	return ingest.CheckName("table", t.Table)
}

func tableOf(p *store.Pause) TableName { return TableName{p.Database, p.Table} }

// without is a list without a table, and since when that was paused.
func without(list []store.Pause, table TableName) (out []store.Pause, since time.Time) {
	for _, p := range list {
		if tableOf(&p) == table {
			since = p.Since
			continue
		}
		out = append(out, p)
	}
	return out, since
}

// changePaused makes a change durable, and then has the dispatcher see it. One call at a
// time does both, so that the later one is the one that counts.
func (s *Spool) changePaused(change func([]store.Pause) []store.Pause) error {
	if s.closing.Load() {
		return ErrClosed
	}
	s.pausing <- struct{}{}
	defer func() { <-s.pausing }()
	err := s.store.ChangePaused(func(list []store.Pause) ([]store.Pause, error) { return change(list), nil })
	if err == nil {
		s.live.SetPaused(s.store.Paused())
	}
	return err
}

// showPaused enters the pauses into a snapshot.
func (st *Stats) showPaused(list []store.Pause) {
	for i := range list {
		p := Pause{tableOf(&list[i]), list[i].Since, list[i].Reason}
		st.Paused = append(st.Paused, p)
		for j := range st.Lanes {
			if l := &st.Lanes[j]; l.Properties.Database == p.Table.Database && l.Properties.Table == p.Table.Table {
				l.Paused = &p
			}
		}
	}
}
