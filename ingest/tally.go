package ingest

import "fmt"

// Tally is what is known of all records of a receipt: how many are in which
// state. The batches of one source are settled one by one, so it may be in
// several.
type Tally struct {
	Receipt Receipt
	// States counts the receipt's records by state; a state without any has no
	// entry.
	States map[State]int64
	// Failure is the newest thing that was said against any of their batches;
	// nil where nothing was said.
	Failure *Failure
}

// Final reports whether nothing moves any of the records any more.
func (t Tally) Final() bool {
	for s, n := range t.States {
		if n > 0 && !s.Final() {
			return false
		}
	}
	return true
}

// Ingested is the number of records that are in the table.
func (t Tally) Ingested() int64 { return t.States[Succeeded] + t.States[Skipped] }

// Err is nil when every record's fate is good or not yet decided, and an error
// with the service's message when some were dead-lettered or dropped.
func (t Tally) Err() error {
	lost := t.States[DeadLettered] + t.States[Dropped]
	if lost == 0 {
		return nil
	}
	if t.Failure == nil {
		return fmt.Errorf("%d of %d records from %s: not ingested", lost, t.Receipt.Records, t.Receipt.ID)
	}
	return fmt.Errorf("%d of %d records from %s: not ingested: %s", lost, t.Receipt.Records, t.Receipt.ID, t.Failure)
}
