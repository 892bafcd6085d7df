package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"net/url"
	"path/filepath"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"maragu.dev/goqite"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

var databaseEngines = []engine{
	{"pebble", "cockroachdb/pebble, Set with Sync: a group commit of its own", openPebble},
	{"goqite", "maragu.dev/goqite on SQLite (modernc.org/sqlite), WAL, synchronous FULL", openGoqite},
}

type pebblePeer struct {
	db   *pebble.DB
	last atomic.Uint64
}

func openPebble(_ context.Context, dir string) (peer, error) {
	db, err := pebble.Open(dir, &pebble.Options{Logger: quietPebble{}})
	if err != nil {
		return nil, err
	}
	return &pebblePeer{db: db}, nil
}

func (p *pebblePeer) Put(_ context.Context, data []byte) error {
	var key [8]byte
	binary.BigEndian.PutUint64(key[:], p.last.Add(1))
	return p.db.Set(key[:], data, pebble.Sync)
}

func (p *pebblePeer) Close() error { return p.db.Close() }

// quietPebble drops what pebble reports in passing and keeps what is fatal.
type quietPebble struct{}

func (quietPebble) Infof(string, ...any)  {}
func (quietPebble) Errorf(string, ...any) {}
func (quietPebble) Fatalf(format string, args ...any) {
	pebble.DefaultLogger.Fatalf(format, args...)
}

type goqitePeer struct {
	db    *sql.DB
	queue *goqite.Queue
}

// goqiteTable has the columns and the index that goqite's statements use.
const goqiteTable = `
CREATE TABLE goqite (
	id TEXT PRIMARY KEY DEFAULT ('m_' || lower(hex(randomblob(16)))),
	created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
	updated TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
	queue TEXT NOT NULL, body BLOB NOT NULL, timeout TEXT NOT NULL,
	received INTEGER NOT NULL DEFAULT 0, priority INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX goqite_order ON goqite (queue, priority DESC, created);`

func openGoqite(ctx context.Context, dir string) (peer, error) {
	settings := url.Values{
		"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)"},
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "queue.db")+"?"+settings.Encode())
	if err != nil {
		return nil, err
	}
	// SQLite has one writer. Waiting for the connection is fair and cheap;
	// waiting for its lock is neither.
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, goqiteTable); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &goqitePeer{db, goqite.New(goqite.NewOpts{DB: db, Name: "bench"})}, nil
}

func (p *goqitePeer) Put(ctx context.Context, data []byte) error {
	return p.queue.Send(ctx, goqite.Message{Body: data})
}

func (p *goqitePeer) Close() error { return p.db.Close() }
