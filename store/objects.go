package store

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"kustospool/internal/crashpoint"
)

// object is a file in objects/ that a committed frame refers to. It lives as
// long as one of its records is not settled.
type object struct {
	id   objectID
	lane uint32
	span

	// Guarded by Store.mu.
	live    int64 // records not settled
	saved   bool  // the manifest knows
	damaged bool  // found so by a reader
}

// addObjectLocked enters an object into the mirror. The books get it when its
// segment is listed: until then Open finds the frame by a survey.
func (s *Store) addObjectLocked(o object) {
	l := s.lanes.get(o.lane)
	o.live = o.count()
	l.objects = append(l.objects, &o)
}

// freeObjectsLocked takes a settled range off the objects that hold it.
func (s *Store) freeObjectsLocked(l *lane, r span) {
	i, _ := slices.BinarySearchFunc(l.objects, r.First, func(o *object, seq uint64) int { return cmp.Compare(o.Last, seq) })
	spent := false
	for ; i < len(l.objects) && l.objects[i].First <= r.Last; i++ {
		o := l.objects[i]
		if o.live -= o.overlap(r); o.live == 0 {
			s.spent = append(s.spent, o)
			spent = true
		}
	}
	if spent {
		l.objects = slices.DeleteFunc(l.objects, func(o *object) bool { return o.live == 0 })
	}
}

// objectDamaged notes that an object's file is worth keeping for inspection.
func (s *Store) objectDamaged(l *lane, id objectID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range l.objects {
		if o.id == id {
			o.damaged = true
		}
	}
}

// saveObjects stages the rows of the objects that the manifest does not know.
func (g *group) saveObjects() {
	g.s.mu.RLock()
	var fresh []*object
	for _, l := range g.s.lanes.sorted() {
		for _, o := range l.objects {
			if !o.saved {
				fresh = append(fresh, o)
			}
		}
	}
	g.s.mu.RUnlock()
	for _, o := range fresh {
		g.put(bktObjects, o.id[:], pack(&objectRow{Lane: o.lane, First: o.First, Last: o.Last}))
	}
	g.publish(func() {
		for _, o := range fresh {
			o.saved = true
		}
	})
}

// objectsAtOnce bounds one transaction of dropObjects.
const objectsAtOnce = 256

// dropObjects gives settled objects back: first the manifest forgets them,
// then their files go. A damaged one goes to the quarantine. A file that
// cannot be removed is in nobody's books any more, and the next Open's.
func (k *keeper) dropObjects(spent []*object) error {
	s := k.s
	err := k.change(func(g *group) error {
		for _, o := range spent {
			g.del(bktObjects, o.id[:])
		}
		g.publish(func() { s.spent = slices.Clone(s.spent[len(spent):]) })
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Reach("object.forgotten")
	var errs []error
	for _, o := range spent {
		path := s.objectPath(o.id)
		if o.damaged {
			if _, err := quarantine(s.dir, path); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
			s.disk.measure(path)
			s.measureQuarantine()
			continue
		}
		if err := s.unlink(path); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// objectFiles finds the files of objects by id.
func objectFiles(dir string) map[objectID]string {
	found := map[objectID]string{}
	entries, _ := os.ReadDir(filepath.Join(dir, objectsName))
	for _, e := range entries {
		if id, ok := objectOf(e.Name()); ok && e.Type().IsRegular() {
			found[id] = filepath.Join(dir, objectsName, e.Name())
		}
	}
	return found
}

// countObjects finds what is not settled of each object. Files that no frame
// refers to are what a crash left before the commit, and go, as do those of
// settled objects; after damage, when a frame may have been lost, the former
// go to the quarantine instead.
func (r *recovery) countObjects() error {
	s := r.s
	files := objectFiles(s.dir)
	for id, row := range r.objects {
		l := s.lanes.get(row.Lane)
		if l == nil {
			return fmt.Errorf("%w: object of an unknown lane", errDamaged)
		}
		o := &object{id: id, lane: row.Lane, span: span{row.First, row.Last}}
		o.live = o.overlap(span{l.marks.Mark + 1, l.marks.High})
		for _, e := range l.live {
			o.live += o.overlap(span{e.Batch.First, e.Batch.Last})
		}
		if o.live > 0 {
			l.objects = append(l.objects, o)
			delete(files, id)
		} else {
			r.settled = append(r.settled, id)
		}
	}
	for _, l := range s.lanes.sorted() {
		slices.SortFunc(l.objects, func(a, b *object) int { return cmp.Compare(a.First, b.First) })
	}
	for id, path := range files {
		if _, known := r.objects[id]; !known && (r.doubt || r.damaged > 0 || r.suspect > 0) {
			if _, err := quarantine(s.dir, path); err != nil {
				return err
			}
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
