package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/budget"
	"kustospool/transport/dir"
	"kustospool/transport/direct"
	"kustospool/transport/managed"
	"kustospool/transport/queued"
	"kustospool/transport/route"
)

// destination is a transport and, for --to sim:, the simulator behind it.
type destination struct {
	target    target
	transport transport.Transport
	temporary string // a spool directory made for this run
	meter     *budget.Meter

	// Of --to sim: only.
	sim             *kustosim.Sim
	database, table string
	rows            io.WriteCloser // --rows-out; nil where it is not wanted
	rowsOnStdout    bool
}

// reach makes the transport of t. Nothing is sent yet. The simulator of
// --to sim: starts here, with the one table named, which has no schema; where
// none is named, it creates tables as data arrives for them.
// blobs answers for the secrets of blobs; the simulator may fetch those of this
// machine.
func reach(t target, s *deliverySettings, database, table string, blobs *blobInputs) (*destination, error) {
	d := &destination{target: t, database: database, table: table}
	var err error
	if d.meter, err = s.meter(t); err != nil {
		return nil, err
	}
	switch t.kind {
	case toDirectory:
		d.transport, err = dir.NewClient(t.dir, nil)
	case toCluster:
		d.transport, err = cluster(t.endpoint, t, s, blobs, d.meter)
	case toSimulator:
		d.sim, err = kustosim.Start(&kustosim.Options{AutoCreate: table == "", BlobHosts: blobs.localHosts()})
		if err != nil {
			return nil, err
		}
		if table != "" {
			if err := d.sim.CreateTable(database, table); err != nil {
				return nil, errors.Join(usageError{err}, d.sim.Close())
			}
			if err := d.sim.SetStreaming(database, table, true); err != nil {
				return nil, errors.Join(err, d.sim.Close())
			}
		}
		d.transport, err = cluster(d.sim.Endpoint(), target{kind: toCluster, text: t.text, loopback: true}, s, blobs, nil)
	}
	if err != nil {
		return nil, errors.Join(usagef("--to %q: %w", t.text, err), d.close())
	}
	return d, nil
}

// protocols are the values of --protocol.
var protocols = map[string]queued.Protocol{"auto": queued.Auto, "queue": queued.Queue, "rest": queued.REST}

// outcomeSources are the values of --outcomes.
var outcomeSources = map[string]queued.Outcomes{"table": queued.StatusTable, "peek": queued.PeekReports, "take": queued.TakeReports}

func cluster(endpoint string, t target, s *deliverySettings, blobs *blobInputs, meter *budget.Meter) (transport.Transport, error) {
	cred, err := s.identity.credential(t)
	if err != nil {
		return nil, err
	}
	protocol, ok := protocols[s.protocol]
	if !ok {
		return nil, usagef("--protocol %q: must be auto, queue or rest", s.protocol)
	}
	outcomes, ok := outcomeSources[s.outcomes]
	if !ok {
		return nil, usagef("--outcomes %q: must be table, peek or take", s.outcomes)
	}
	opts := &queued.ClientOptions{App: "kustospool", Outcomes: outcomes, AllowHosts: s.allowHosts, Protocol: protocol, BlobSecret: blobs.secret, Budget: meter}
	if t.loopback {
		// A simulator does not take minutes, and is not worn out by questions.
		opts.TrackInterval = 100 * time.Millisecond
	}
	commands := &direct.ClientOptions{App: opts.App, AllowHosts: opts.AllowHosts, TrackInterval: opts.TrackInterval, BlobSecret: blobs.secret, Budget: meter}
	modes := map[string]func() (transport.Transport, error){
		"queued":    func() (transport.Transport, error) { return queued.NewClient(endpoint, cred, opts) },
		"direct":    func() (transport.Transport, error) { return direct.NewClient(endpoint, cred, commands) },
		"streaming": func() (transport.Transport, error) { return direct.NewStreamingClient(endpoint, cred, commands) },
		"managed": func() (transport.Transport, error) {
			return managed.NewClient(endpoint, cred, &managed.ClientOptions{Stream: commands, Queued: opts})
		},
	}
	if modes[s.mode] == nil {
		return nil, usagef("--mode %q: must be queued, direct, streaming or managed", s.mode)
	}
	if s.mode == "streaming" && s.guarantee != ingest.AtLeastOnce.String() {
		return nil, usagef("--mode streaming: a stream has no tag by which the service could skip a repeat; give --guarantee at-least-once, or a mode that keeps exactly-once: queued, direct, managed")
	}
	// All of them, because what an earlier run began in another mode is settled
	// in that mode. None opens a connection before it is used.
	routes := route.Options{Transports: make(map[string]transport.Transport, len(modes)), Default: s.mode}
	for mode, client := range modes {
		if routes.Transports[mode], err = client(); err != nil {
			return nil, err
		}
	}
	return route.New(routes)
}

// abandon closes a destination that no spool has taken over.
func (d *destination) abandon() error {
	var err error
	if c, ok := d.transport.(io.Closer); ok {
		err = c.Close()
	}
	return errors.Join(err, d.close())
}

// spoolDir is the directory to spool in: the named one, a temporary one for
// sim:, the target's default otherwise.
func (d *destination) spoolDir(c *console, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if d.target.kind == toSimulator {
		tmp, err := os.MkdirTemp("", "kustospool-")
		if err != nil {
			return "", usagef("--spool is missing, and no temporary directory can be made: %w", err)
		}
		d.temporary = tmp
		return tmp, nil
	}
	path, older, err := d.target.defaultSpool()
	if err != nil {
		return "", err
	}
	d.target.tellOlder(c, older)
	c.tell("Spool: %s", path)
	return path, nil
}

// checkRows refuses a --rows-out that cannot be had.
func checkRows(t target, path string, json bool) error {
	switch {
	case path == "":
	case t.kind != toSimulator:
		return usagef("--rows-out reads the rows of --to sim: only; those of a kustospool sim elsewhere are read with curl, as it prints")
	case path == "-" && json:
		return usagef("--rows-out - and --json both want standard output; name a file")
	}
	return nil
}

// openRows creates the file of --rows-out, before anything is stored.
func (d *destination) openRows(c *console, path string) error {
	switch path {
	case "":
		return nil
	case "-":
		d.rows, d.rowsOnStdout = unclosed{c.out}, true
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return usagef("--rows-out: %w", err)
	}
	d.rows = f
	return nil
}

// writeRows writes the simulator's rows to --rows-out, each on one line.
func (d *destination) writeRows() error {
	if d.rows == nil {
		return nil
	}
	w := bufio.NewWriterSize(d.rows, 1<<20)
	var line bytes.Buffer
	for _, row := range d.sim.Rows(d.database, d.table) {
		line.Reset()
		if err := json.Compact(&line, row); err != nil {
			return fmt.Errorf("--rows-out: %w", err)
		}
		line.WriteByte('\n')
		if _, err := w.Write(line.Bytes()); err != nil {
			return fmt.Errorf("--rows-out: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("--rows-out: %w", err)
	}
	return nil
}

// close ends the simulator. The transport is the engine's to close.
func (d *destination) close() error {
	var errs []error
	if d.rows != nil {
		errs = append(errs, d.rows.Close())
		d.rows = nil
	}
	if d.sim != nil {
		errs = append(errs, d.sim.Close())
		d.sim = nil
	}
	if d.meter != nil { // the transport is closed before
		errs = append(errs, d.meter.Close())
	}
	return errors.Join(errs...)
}

// removeTemporary deletes a spool directory that was made for this run, and
// that holds nothing any more.
func (d *destination) removeTemporary() error {
	if d.temporary == "" {
		return nil
	}
	return os.RemoveAll(d.temporary)
}

// unclosed keeps standard output open.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }
