package main

import (
	"context"
	"errors"
	"os"
	"sync"
)

// measureFloor measures what the disk allows: a file that is only appended
// to, one write and one fsync for whatever waits, and nothing else. No store
// that fsyncs each acknowledgement into a growing file is faster.
func measureFloor(ctx context.Context, s ingestSettings, producers int) (r *acks, err error) {
	f, err := os.CreateTemp(s.dir, "kustospool-floor-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	log := &appendLog{file: f, wake: make(chan struct{}, 1), group: newGroup()}
	stop := make(chan struct{})
	var committer sync.WaitGroup
	committer.Go(func() { log.commit(stop) })
	defer committer.Wait()
	defer close(stop)
	return produce(ctx, s, producers, func(_ context.Context, _ int, record []byte) error { return log.append(record) })
}

// appendLog is a file with a group commit.
type appendLog struct {
	file *os.File
	wake chan struct{} // something waits

	// mu guards what is below.
	mu    sync.Mutex
	group *appendGroup
}

// appendGroup is what the next write takes.
type appendGroup struct {
	data []byte
	done chan struct{} // closed when err is set
	err  error
}

func newGroup() *appendGroup { return &appendGroup{done: make(chan struct{})} }

func (l *appendLog) append(record []byte) error {
	l.mu.Lock()
	g := l.group
	g.data = append(g.data, record...)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	<-g.done
	return g.err
}

func (l *appendLog) commit(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-l.wake:
		}
		l.mu.Lock()
		g := l.group
		l.group = newGroup()
		l.mu.Unlock()
		if _, g.err = l.file.Write(g.data); g.err == nil {
			g.err = l.file.Sync()
		}
		close(g.done)
	}
}
