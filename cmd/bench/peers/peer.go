package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"kustospool/cmd/bench/internal/load"
)

// peer is one way to keep a record. Put returns when the record is kept as
// well as the engine promises; data stays the caller's. It is called from many goroutines.
type peer interface {
	Put(ctx context.Context, data []byte) error
	Close() error
}

// engine is a peer that can be opened. The directory is there and empty.
type engine struct {
	name  string
	about string
	open  func(ctx context.Context, dir string) (peer, error)
}

// engines are all there are, in the order of the tables.
var engines = slices.Concat(kustospoolEngines, floorEngines, bboltEngines, otelEngines, walEngines, databaseEngines, natsEngines)

// choose finds engines by their names, with commas between. A name may end in
// * for all that begin so.
func choose(names string) (chosen []engine, err error) {
	for _, name := range strings.Split(names, ",") {
		name = strings.TrimSpace(name)
		prefix, many := strings.CutSuffix(name, "*")
		found := false
		for _, e := range engines {
			if e.name != name && (!many || !strings.HasPrefix(e.name, prefix)) {
				continue
			}
			found = true
			if !slices.ContainsFunc(chosen, func(c engine) bool { return c.name == e.name }) {
				chosen = append(chosen, e)
			}
		}
		if !found {
			err = errors.Join(err, fmt.Errorf("-engines: there is no %q", name))
		}
	}
	return chosen, err
}

// contender opens the engine in a new directory under parent for each
// measurement, and removes that afterwards.
func (e engine) contender(parent string) load.Contender {
	return load.Contender{Name: e.name, Open: func(ctx context.Context) (load.Target, error) {
		dir, err := os.MkdirTemp(parent, "peer-"+e.name+"-")
		if err != nil {
			return load.Target{}, err
		}
		p, err := e.open(ctx, dir)
		if err != nil {
			return load.Target{}, errors.Join(err, os.RemoveAll(dir))
		}
		return load.Target{
			Put:   func(ctx context.Context, _ int, data []byte) error { return p.Put(ctx, data) },
			Close: func() error { return errors.Join(p.Close(), os.RemoveAll(dir)) },
		}, nil
	}}
}
