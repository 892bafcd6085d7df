package catalog

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/parse"
)

// Aging is what becomes of extents after their commit. The zero value is
// nothing: they stay as they are.
type Aging struct {
	// Merge merges the extents of a table with each commit, as Merge does.
	Merge bool
	// Tags is after how long an extent loses its ingest-by: tags, counted from its
	// creation, which an ingestion's creationTime sets; 0 is never. The service
	// guarantees that they are not lost before, and loses them some time later
	// (https://learn.microsoft.com/kusto/management/extent-tags-retention-policy).
	Tags time.Duration
	// Extents is after how long an extent goes with its rows, counted likewise; 0
	// is never (https://learn.microsoft.com/kusto/management/retention-policy).
	Extents time.Duration
}

// Prefixes of tags that mean something to the service.
const (
	ingestBy = "ingest-by:"
	dropBy   = "drop-by:"
)

// maxMergedTags is how many characters the tags of a merged extent may have
// (https://learn.microsoft.com/kusto/management/merge-policy).
const maxMergedTags = 1_000_000

// table is a table as it is now, nil if there is none. The mutex must be held.
func (c *Catalog) table(db, name string) *table {
	t := c.mu.databases[db][name]
	if t != nil {
		t.age(c.Aging, time.Now())
	}
	return t
}

func (t *table) age(a Aging, now time.Time) {
	if a.Extents > 0 {
		t.expire(func(e *extent) bool { return now.Sub(e.Created) >= a.Extents })
	}
	if a.Tags > 0 {
		t.untag(func(e *extent, tag string) bool {
			return strings.HasPrefix(tag, ingestBy) && now.Sub(e.Created) >= a.Tags
		})
	}
}

// expire removes extents with their rows and tags.
func (t *table) expire(gone func(*extent) bool) {
	kept := slices.DeleteFunc(slices.Clone(t.extents), gone)
	if len(kept) < len(t.extents) {
		t.extents = kept
		t.recount()
	}
}

// untag removes tags from extents.
func (t *table) untag(gone func(e *extent, tag string) bool) {
	changed := false
	for _, e := range t.extents {
		if slices.ContainsFunc(e.Tags, func(tag string) bool { return gone(e, tag) }) {
			e.Tags = slices.DeleteFunc(slices.Clone(e.Tags), func(tag string) bool { return gone(e, tag) })
			changed = true
		}
	}
	if changed {
		t.recount()
	}
}

func (t *table) recount() {
	t.count = 0
	clear(t.tags)
	for _, e := range t.extents {
		t.count += len(e.rows)
		for _, tag := range e.Tags {
			t.tags[tag]++
		}
	}
}

// merge makes one extent of those with the same set of drop-by: tags, with the
// tags of all of them and an id of its own
// (https://learn.microsoft.com/kusto/management/extent-tags).
func (t *table) merge() {
	merged := make(map[string]*extent) // by the set of drop-by: tags
	var list []*extent
	for _, e := range t.extents {
		key := dropSet(e.Tags)
		into := merged[key]
		if into == nil {
			merged[key] = e
			list = append(list, e)
			continue
		}
		tags := union(into.Tags, e.Tags)
		if len(strings.Join(tags, "")) > maxMergedTags {
			merged[key] = e
			list = append(list, e)
			continue
		}
		one := &extent{into.Extent, slices.Concat(into.rows, e.rows)}
		one.ID, one.Tags, one.RowCount, one.Source = uuid.NewString(), tags, len(one.rows), ""
		if one.Operation != e.Operation {
			one.Operation = ""
		}
		if e.Created.After(one.Created) {
			one.Created = e.Created
		}
		if e.Oldest.Before(one.Oldest) {
			one.Oldest = e.Oldest
		}
		list[slices.Index(list, into)] = one
		merged[key] = one
	}
	t.extents = list
	t.recount()
}

func dropSet(tags []string) string {
	var drops []string
	for _, tag := range tags {
		if strings.HasPrefix(tag, dropBy) {
			drops = append(drops, tag)
		}
	}
	slices.Sort(drops)
	return strings.Join(slices.Compact(drops), "\x00")
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, tag := range b {
		if !slices.Contains(all, tag) {
			all = append(all, tag)
		}
	}
	return all
}

// Merge merges the extents of a table: those with the same set of drop-by: tags
// become one, with the tags of all of them. It reports whether there is such a table.
func (c *Catalog) Merge(db, name string) bool {
	return c.change(db, name, (*table).merge)
}

// ExpireTags removes the ingest-by: tags of a table's extents, as a retention
// policy does. It reports whether there is such a table.
func (c *Catalog) ExpireTags(db, name string) bool {
	return c.change(db, name, func(t *table) {
		t.untag(func(_ *extent, tag string) bool { return strings.HasPrefix(tag, ingestBy) })
	})
}

// ExpireExtents removes the extents of a table with their rows and tags, as a
// retention policy does. It reports whether there is such a table.
func (c *Catalog) ExpireExtents(db, name string) bool {
	return c.change(db, name, func(t *table) { t.expire(func(*extent) bool { return true }) })
}

func (c *Catalog) change(db, name string, do func(*table)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table(db, name)
	if t != nil {
		do(t)
	}
	return t != nil
}

// Rows returns the rows of a table in the order of their commit; those of merged
// extents stand together.
func (c *Catalog) Rows(db, name string) []parse.Row {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table(db, name)
	if t == nil {
		return nil
	}
	rows := make([]parse.Row, 0, t.count)
	for _, e := range t.extents {
		rows = append(rows, e.rows...)
	}
	return rows
}

// Count is the number of rows of a table.
func (c *Catalog) Count(db, name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.table(db, name); t != nil {
		return t.count
	}
	return 0
}

// Extents describes the extents of a table in the order of their commit.
func (c *Catalog) Extents(db, name string) []Extent {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table(db, name)
	if t == nil {
		return nil
	}
	list := make([]Extent, len(t.extents))
	for i, e := range t.extents {
		list[i] = e.Extent
		list[i].Tags = slices.Clone(e.Tags)
	}
	return list
}

// DropTag removes a tag from all extents of a table, as an operator does.
func (c *Catalog) DropTag(db, name, tag string) {
	c.change(db, name, func(t *table) { t.untag(func(_ *extent, has string) bool { return has == tag }) })
}
