package wal

import (
	"runtime"
	"time"
)

// run is the committer: it commits whatever callers do not commit themselves.
func (l *Log) run() {
	for {
		select {
		case <-l.wake:
		case <-l.quit:
			return
		}
		l.pause()
		l.gather()
		l.mu.Lock()
		if l.open.calls == 0 || l.lone {
			// Another one took it, or has the turn and will signal: Close has
			// signalled, so that nobody pauses.
			l.mu.Unlock()
			continue
		}
		g := l.open
		l.takeOpen()
		l.mu.Unlock()
		l.commit(g)
		l.mu.Lock()
		l.done(g)
		l.release()
		l.mu.Unlock()
	}
}

// gather lets producers run that are about to join: those of the last group are
// just coming back, and one that finds the group gone waits for two commits.
func (l *Log) gather() {
	waiting, last := l.waiting()
	want := last + waiting
	if want > gatherAll {
		want = gatherSome
	}
	for idle := 0; idle < gatherIdle && waiting < want; {
		runtime.Gosched()
		before := waiting
		if waiting, _ = l.waiting(); waiting > before {
			idle = 0
		} else {
			idle++
		}
	}
}

// waiting is how many calls are in the open group, and were in the last one.
func (l *Log) waiting() (now, last int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open.calls, l.last
}

// pause waits for Options.CommitInterval, or until the group is full or the
// log closes.
func (l *Log) pause() {
	if l.opts.CommitInterval == 0 {
		return
	}
	t := time.NewTimer(l.opts.CommitInterval)
	defer t.Stop()
	for {
		l.mu.Lock()
		hurry := l.closing || l.open.size >= groupBytes || l.room != nil || l.open.rotate
		l.mu.Unlock()
		if hurry {
			return
		}
		select {
		case <-t.C:
			return
		case <-l.wake:
		case <-l.quit:
			return
		}
	}
}
