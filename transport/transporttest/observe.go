package transporttest

import (
	"context"
	"slices"
)

// Sends is every attempt so far, in the order in which they began.
func (f *Fake) Sends() []Send {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Send, len(f.sends))
	for i, s := range f.sends {
		out[i] = *s
	}
	return out
}

// Kept is every copy of a batch at the destination, in order of arrival.
func (f *Fake) Kept() []Kept {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.kept)
}

// Rows is the records in a table, in order of arrival, each as often as it is
// there.
func (f *Fake) Rows(table Table) []string {
	var rows []string
	for _, k := range f.Kept() {
		if TableOf(k.Batch.Properties) == table {
			rows = append(rows, Split(k.Batch.Properties, k.Payload)...)
		}
	}
	return rows
}

// AllRows is Rows over all tables.
func (f *Fake) AllRows() []string {
	var rows []string
	for _, k := range f.Kept() {
		rows = append(rows, Split(k.Batch.Properties, k.Payload)...)
	}
	return rows
}

// Skips is how many repeats the destination has skipped.
func (f *Fake) Skips() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.skips
}

// MaxInFlight is how many attempts were under way at once at most.
func (f *Fake) MaxInFlight() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.maxFlight
}

// Closed reports whether Close was called.
func (f *Fake) Closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// Violations is what the caller did against the contract of package transport:
// two attempts of a batch at once, an attempt number that does not grow, a
// batch or payload that changed, a Send after Close. A test ends by checking
// that there are none.
func (f *Fake) Violations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.violations)
}

// WaitSends returns when n attempts have begun.
func (f *Fake) WaitSends(ctx context.Context, n int) error {
	return f.waitFor(ctx, func() bool { return len(f.sends) >= n })
}

// WaitEnded returns when n attempts have ended.
func (f *Fake) WaitEnded(ctx context.Context, n int) error {
	return f.waitFor(ctx, func() bool { return f.ended >= n })
}

// WaitRows returns when a table holds at least n records.
func (f *Fake) WaitRows(ctx context.Context, table Table, n int) error {
	return f.waitFor(ctx, func() bool { return f.rows[table] >= n })
}

// waitFor waits until done, which is called with mu held, is true; the error
// is the context's.
func (f *Fake) waitFor(ctx context.Context, done func() bool) error {
	for {
		f.mu.Lock()
		ok, changed := done(), f.changed
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notifyLocked wakes every waitFor.
func (f *Fake) notifyLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}
