package main

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	bolt "go.etcd.io/bbolt"

	"kustospool/internal/datasync"
)

// bboltEngines are what bbolt allows: a group commit in front of it and nothing
// else, no checksums, no tables, no bounds, no second file.
var bboltEngines = []engine{
	{"bbolt2", "bare bbolt: a group commit, one value a group in a bucket of its own, two fdatasyncs", openBbolt(false)},
	{"bbolt1", "the same with one fdatasync, behind the meta page", openBbolt(true)},
}

// bareBbolt has one committer, which Close joins.
type bareBbolt struct {
	db   *bolt.DB
	file *os.File
	once bool // one sync
	wake chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex // guards all below
	group  *bareGroup
	last   int
	closed bool
}

type bareGroup struct {
	data    []byte
	records int
	done    chan struct{} // closed when err is set
	err     error
}

func openBbolt(once bool) func(context.Context, string) (peer, error) {
	return func(_ context.Context, dir string) (peer, error) {
		p := &bareBbolt{once: once, wake: make(chan struct{}, 1), group: &bareGroup{done: make(chan struct{})}}
		db, err := bolt.Open(filepath.Join(dir, "bare.db"), 0o600, &bolt.Options{
			FreelistType: bolt.FreelistMapType, NoStatistics: true, NoSync: once, NoGrowSync: once, InitialMmapSize: 1 << 30,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				p.file = f
				return f, err
			},
		})
		if err != nil {
			return nil, err
		}
		p.db = db
		p.done.Go(p.run)
		return p, nil
	}
}

func (p *bareBbolt) Put(_ context.Context, data []byte) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errors.New("closed")
	}
	g := p.group
	g.data = append(g.data, data...)
	g.records++
	first := g.records == 1
	p.mu.Unlock()
	if first {
		p.wake <- struct{}{}
	}
	<-g.done
	return g.err
}

func (p *bareBbolt) run() {
	for number := uint64(1); ; number++ {
		if _, ok := <-p.wake; !ok {
			return
		}
		p.gather()
		p.mu.Lock()
		g := p.group
		p.group, p.last = &bareGroup{done: make(chan struct{}), data: make([]byte, 0, len(g.data))}, g.records
		p.mu.Unlock()
		g.err = p.commit(number, g.data)
		close(g.done)
	}
}

// gather lets the producers of the last group come back, as kustospool does.
func (p *bareBbolt) gather() {
	for idle, before := 0, 0; idle < 8; idle++ {
		p.mu.Lock()
		waiting, last := p.group.records, p.last
		p.mu.Unlock()
		if waiting >= last || last <= 1 {
			return
		}
		if waiting > before {
			idle, before = 0, waiting
		}
		runtime.Gosched()
	}
}

func (p *bareBbolt) commit(number uint64, data []byte) error {
	err := p.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(binary.BigEndian.AppendUint64(nil, number))
		if err != nil {
			return err
		}
		return b.Put([]byte("v"), data)
	})
	if err == nil && p.once {
		err = datasync.File(p.file)
	}
	return err
}

func (p *bareBbolt) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	close(p.wake)
	p.done.Wait()
	return p.db.Close()
}
