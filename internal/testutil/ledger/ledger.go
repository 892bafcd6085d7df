// Package ledger checks the conservation law after a fault run: each record
// that was acknowledged is in exactly one place, and nothing is anywhere that
// was not offered.
//
//	acknowledged = ingested + dead-lettered + pending + dropped by policy
//
// A test fills a [Ledger] while it runs and asks [Ledger.Check] in the end.
// Records are compared by content, so give each one a content of its own. The
// ledger does not look anywhere itself, and holds all contents in memory.
package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Guarantee is how often a record may be at the destination.
type Guarantee int

// The guarantees.
const (
	// ExactlyOnce: a second copy of an acknowledged record is an error.
	ExactlyOnce Guarantee = iota + 1
	// AtLeastOnce: further copies are counted in [Report.Extra].
	AtLeastOnce
)

// Ledger collects what happened. It is safe for use by many goroutines; the
// zero value is ready.
type Ledger struct {
	// mu guards everything below.
	mu    sync.Mutex
	acked map[string]string // id to content
	maybe map[string]bool   // contents
	twice []string          // ids acknowledged for two contents
}

// Acked books a record that was acknowledged under an id. The same id with
// the same content may come again, as with a repeated request.
func (l *Ledger) Acked(id, content string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked == nil {
		l.acked = map[string]string{}
	}
	if old, ok := l.acked[id]; ok && old != content {
		l.twice = append(l.twice, id)
	}
	l.acked[id] = content
}

// Maybe books a record that was offered and whose answer never came, or was
// that the outcome is unknown: it may be found, at most as often as an
// acknowledged one, or not.
func (l *Ledger) Maybe(content string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.maybe == nil {
		l.maybe = map[string]bool{}
	}
	l.maybe[content] = true
}

// Len is the number of acknowledged ids.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// Places is what was found in the end, by content, each as often as found.
type Places struct {
	Ingested     []string
	DeadLettered []string
	Pending      []string
	// Dropped is what a policy dropped and reported.
	Dropped []string
}

// Report is the result of a check. The lists are sorted.
type Report struct {
	// Missing: acknowledged, and in no place.
	Missing []string
	// Duplicated: more than once at the destination under ExactlyOnce, or
	// more than once in the dead letters, the spool or the dropped.
	Duplicated []string
	// Forged: found, and never offered.
	Forged []string
	// Torn: in more than one place at once, ingested and pending say.
	Torn []string
	// Reused: ids that were acknowledged for two different contents.
	Reused []string
	// Extra counts the further copies at the destination under AtLeastOnce.
	Extra int
	// Maybes counts the records booked with Maybe that were found.
	Maybes int
}

// Check compares the books with what was found.
func (l *Ledger) Check(found Places, g Guarantee) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	var r Report
	r.Reused = slices.Sorted(slices.Values(l.twice))

	acked := make(map[string]bool, len(l.acked))
	for _, content := range l.acked {
		acked[content] = true
	}
	counts := [...]map[string]int{count(found.Ingested), count(found.DeadLettered), count(found.Pending), count(found.Dropped)}
	places := map[string]int{}
	for i, place := range counts {
		for content, n := range place {
			places[content]++
			if n == 1 {
				continue
			}
			if i == 0 && g == AtLeastOnce {
				r.Extra += n - 1
			} else {
				r.Duplicated = append(r.Duplicated, content)
			}
		}
	}
	for content, n := range places {
		switch {
		case acked[content]:
		case l.maybe[content]:
			r.Maybes++
		default:
			r.Forged = append(r.Forged, content)
		}
		if n > 1 {
			r.Torn = append(r.Torn, content)
		}
	}
	for content := range acked {
		if places[content] == 0 {
			r.Missing = append(r.Missing, content)
		}
	}
	for _, list := range [][]string{r.Missing, r.Duplicated, r.Forged, r.Torn} {
		slices.Sort(list)
	}
	return r
}

func count(contents []string) map[string]int {
	m := make(map[string]int, len(contents))
	for _, c := range contents {
		m[c]++
	}
	return m
}

// Err is nil when the law holds, and otherwise says how often it does not,
// with the first few records of each kind.
func (r Report) Err() error {
	var parts []string
	for _, kind := range []struct {
		name string
		list []string
	}{{"missing", r.Missing}, {"duplicated", r.Duplicated}, {"forged", r.Forged}, {"in two places", r.Torn}, {"ids reused", r.Reused}} {
		if len(kind.list) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(kind.list), kind.name, first(kind.list)))
		}
	}
	if parts == nil {
		return nil
	}
	return errors.New("conservation law: " + strings.Join(parts, "; "))
}

// first is the head of a list, short enough for one line.
func first(list []string) string {
	const shown = 3
	var out []string
	for _, s := range list[:min(shown, len(list))] {
		out = append(out, fmt.Sprintf("%.80q", s))
	}
	if len(list) > shown {
		out = append(out, "...")
	}
	return strings.Join(out, ", ")
}
