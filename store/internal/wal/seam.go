package wal

// What is here is for the tests of a package that uses the log: histories that
// a seed decides, and planted bugs that they must notice.

// Inline leaves the upkeep of the files to calls of Turn, and takes generations
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
