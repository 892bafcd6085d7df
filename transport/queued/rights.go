package queued

import (
	"context"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// How long what the service said of a right counts, and of how many tables it is
// remembered. A right is taken away rarely, and then the tag and the queue heal
// what went over REST; one that is granted is used after a pause.
const (
	rightAgain  = time.Hour
	rightTables = 10_000
)

// rights remember for which tables the credential may ask what became of a request
// over REST. Sending takes the role Ingestor, asking takes User of the database as
// well, so an Ingestor's rows would be in the table and its batches without an
// outcome for ever.
type rights struct {
	mu sync.Mutex
	// mu guards the following.
	tables map[tableName]right
}

type tableName struct{ database, table string }

// right is what the service said of one table, and until when that counts.
type right struct {
	may   bool
	until time.Time
}

func (r *rights) known(t tableName, now time.Time) (may, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	said, ok := r.tables[t]
	return said.may, ok && now.Before(said.until)
}

func (r *rights) note(t tableName, may bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tables == nil || len(r.tables) >= rightTables {
		r.tables = make(map[tableName]right) // asked again, each table once
	}
	until := now.Add(rightAgain)
	if !may {
		until = now.Add(restPause)
	}
	r.tables[t] = right{may, until}
}

// mayTrack asks whether the outcome of a request over REST may be asked for. The
// error is a refusal, or that of a question that failed.
func (a *attempt) mayTrack(ctx context.Context) error {
	t := tableOf(a.d.Batch)
	if may, known := a.rights.known(t, a.now()); known && may {
		return nil
	}
	err := a.ingestion.MayTrack(ctx, t.database, t.table)
	if err == nil || kusto.Forbidden(err) {
		a.rights.note(t, err == nil, a.now())
	}
	return err
}

// autoByREST decides for Auto, where the service prefers REST. What cannot be
// found out goes by queue.
func (a *attempt) autoByREST(ctx context.Context) bool {
	if may, known := a.rights.known(tableOf(a.d.Batch), a.now()); known {
		return may
	}
	err := a.mayTrack(ctx)
	if err != nil && !kusto.Forbidden(err) {
		a.pauseREST()
	}
	return err == nil
}

// notTracked is the error of a client that insists on REST where nobody would learn
// the outcome.
func notTracked(err error) error {
	e := asError(err)
	if e == nil || !kusto.Forbidden(err) {
		return err
	}
	held := *e
	held.Op, held.Class = opSubmit, transport.Held
	held.Message = "not sent, for its outcome could not be asked for: " + e.Message + "; or use Protocol Auto or Queue"
	return &held
}

func tableOf(b *ingest.Batch) tableName {
	return tableName{b.Properties.Database, b.Properties.Table}
}
