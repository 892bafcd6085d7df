package wal

import "kustospool/internal/vfs"

// What is here is for the tests of a package that uses the log: histories that
// a seed decides, and planted bugs that they must notice.

// Inline leaves the upkeep of the files to calls of Maintain, and takes generations
// from the caller.
func (o *Options) Inline(generation func() uint64) { o.inline, o.generation = true, generation }

// Maintain does the upkeep that waits, after Options.Inline, and reports whether
// there is more. It is for one goroutine.
func (l *Log) Maintain() bool { return l.files.maintain(false) }

// Plant switches a bug on by its name, and panics for one that there is not.
func (o *Options) Plant(name string) {
	b := &o.bugs
	*map[string]*bool{
		"ack before sync": &b.ackBeforeSync, "ignore generation": &b.ignoreGeneration, "ignore number": &b.ignoreNumber,
		"ignore chain": &b.ignoreChain, "ignore sum": &b.ignoreSum, "ignore frame sum": &b.ignoreFrameSum, "accept torn": &b.acceptTorn,
		"cut too far": &b.cutTooFar, "no rewrite": &b.noRewrite, "same generation": &b.sameGeneration, "trust index": &b.trustIndex,
		"keep staged": &b.keepStaged, "forget duplicate": &b.forgetDuplicate, "keep settled": &b.keepSettled,
	}[name] = true
}

// bugs are planted by tests, to see that the tests would notice them. Nothing
// else sets them.
type bugs struct {
	skipSync         bool // commits are not synced
	skipHeadSync     bool // a new segment's head is not synced
	skipDirSync      bool // names are not made durable
	ackBeforeSync    bool // callers are answered before the sync
	ignoreGeneration bool // commits of another use of the file are taken
	ignoreNumber     bool // and of any number
	ignoreChain      bool // and behind any other
	ignoreSum        bool // and whatever they say
	ignoreFrameSum   bool // a frame is believed without its sum
	acceptTorn       bool // the last commit needs no whole frames
	noSearch         bool // damage is taken for the end of the log
	cutTooFar        bool // the last commit is taken for a torn one
	noRewrite        bool // what is read after a kill is taken for durable
	sameGeneration   bool // recycled files keep their generation
	trustIndex       bool // an index is believed without its sum
	keepStaged       bool // a refused group's numbers are not taken back
	forgetDuplicate  bool // keys of commits under way are not looked at
	keepSettled      bool // a settled segment is said to be gone and is not
}

// lateSync is a file of which a write is acknowledged and not synced.
type lateSync struct{ file vfs.File }

func (s lateSync) sync() error {
	if s.file == nil {
		return nil
	}
	return s.file.Sync()
}
