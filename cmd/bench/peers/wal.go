package main

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	tidwall "github.com/tidwall/wal"
)

// walEngines fsync each write and form no groups of concurrent ones.
var walEngines = []engine{
	{"tidwall-wal", "tidwall/wal, fsync after every write (its default)", openTidwall},
	{"raft-wal", "hashicorp/raft-wal, fsync after every append (it has no other mode)", openRaft},
}

// tidwallPeer gives the records their indexes, which the log wants without a gap.
type tidwallPeer struct {
	log *tidwall.Log

	// mu guards what is below, and the order of writes.
	mu   sync.Mutex
	last uint64
}

func openTidwall(_ context.Context, dir string) (peer, error) {
	l, err := tidwall.Open(filepath.Join(dir, "wal"), nil)
	if err != nil {
		return nil, err
	}
	return &tidwallPeer{log: l}, nil
}

func (p *tidwallPeer) Put(_ context.Context, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.log.Write(p.last+1, data); err != nil {
		return err
	}
	p.last++
	return nil
}

func (p *tidwallPeer) Close() error { return p.log.Close() }

// raftPeer gives the records their indexes, which the log wants without a gap.
type raftPeer struct {
	wal *raftwal.WAL

	// mu guards what is below, and the order of appends.
	mu   sync.Mutex
	last uint64
}

func openRaft(_ context.Context, dir string) (peer, error) {
	w, err := raftwal.Open(dir, raftwal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		return nil, err
	}
	return &raftPeer{wal: w}, nil
}

func (p *raftPeer) Put(_ context.Context, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.wal.StoreLog(&raft.Log{Index: p.last + 1, Data: data}); err != nil {
		return err
	}
	p.last++
	return nil
}

func (p *raftPeer) Close() error { return p.wal.Close() }
