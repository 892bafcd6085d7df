package store

import (
	"cmp"
	"slices"
	"strings"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/object"
)

// loadObjects finds what is not settled of each object. Files that no frame
// refers to are what a crash left before the commit, and go, as do those of
// settled objects; after damage, when a frame may have been lost, the former
// go to the quarantine instead.
func (r *recovery) loadObjects() error {
	s := r.s
	files, err := s.objects.List()
	if err != nil && !(r.look && vfs.Missing(err)) {
		return err
	}
	there := map[object.ID]int64{}
	for _, f := range files {
		there[f.ID] = f.Size
	}
	known := map[object.ID]bool{}
	enter := func(o *liveObject) {
		l := s.lanes.get(o.lane)
		if known[o.id] || l == nil {
			return
		}
		known[o.id] = true
		if o.live = s.ledger.Unsettled(o.lane, o.span, l.high); o.live > 0 {
			l.objects = append(l.objects, o)
			delete(there, o.id)
		} else if o.saved {
			r.fresh = append(r.fresh, ledger.ObjectID(o.id))
		}
	}
	for _, row := range s.ledger.Objects() {
		enter(&liveObject{id: object.ID(row.ID), lane: row.Lane, span: span{First: row.First, Last: row.Last}, size: row.Size, saved: true})
	}
	for _, ref := range r.log.Refs {
		enter(&liveObject{id: object.ID(ref.Object), lane: ref.Lane, span: span{First: ref.First, Last: ref.Last}, size: ref.Size, segment: ref.Segment})
	}
	for _, l := range s.lanes.sorted() {
		slices.SortFunc(l.objects, func(a, b *liveObject) int { return cmp.Compare(a.First, b.First) })
	}
	if r.look {
		return nil
	}
	for id := range there {
		if !known[id] && (r.tailMissing || r.damaged > 0 || r.suspect > 0) {
			err = s.quarantine(s.objects.FilePath(id))
		} else {
			err = s.objects.Remove(id)
		}
		if err != nil && !vfs.Missing(err) {
			return err
		}
	}
	return nil
}

// undoneDeadLetters: files of a dead letter whose batch did not become one
// any more are removed; the batch is sent on.
func (r *recovery) undoneDeadLetters() error {
	s := r.s
	infos, err := s.fs.List(s.path(deadName))
	if err != nil {
		return err
	}
	if s.opts.bugs.keepUndead {
		return nil
	}
	for _, info := range infos {
		text, _, _ := strings.Cut(info.Name, ".")
		id, err := ingest.ParseBatchID(text)
		if _, live := s.ledger.Entry(id); err != nil || !live || !info.Regular || !ownName(deadName, info.Name) {
			continue
		}
		if err := s.fs.Remove(s.deadPath(info.Name)); err != nil {
			return err
		}
	}
	// Or they would come back when the batch has met another fate. An Open that
	// failed may have removed them, so this one syncs even where it finds none.
	return s.syncDir(s.path(deadName))
}
