package store

// bugs are planted by tests, to see that the tests would notice them. Nothing
// else sets them.
type bugs struct {
	skipKeys      bool // a segment is listed, and given back, before its keys are in the ledger
	skipPositions bool // and before its positions are
	skipTombstone bool // a segment is given back while its row stands
	dropObjects   bool // an object is given back with its first record settled
	deadLate      bool // a batch becomes a dead letter before its files are written
	tornStats     bool // a snapshot takes the log's ends before the ledger's watermarks
	keepUndead    bool // a dead letter that did not become one stays
	markEarly     bool // the mark of a dead letter that is retried goes before its files
}
