package direct

import (
	"context"
	"errors"
	"slices"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// trackAtMost is how many batches one Track asks about; logAtMost how many
// request ids stand in one question to the log of commands.
const (
	trackAtMost = 64
	logAtMost   = 64
)

// Cadence is ClientOptions.TrackInterval and 64.
func (c *Client) Cadence() (time.Duration, int) { return c.opts.TrackInterval, trackAtMost }

// Track looks for batches whose command's outcome is unknown: in the log of
// commands by request id, in the table's extents by tag. The log lists
// commands that have ended, so a batch that is in neither may be under way
// still, and is left out. The error is a *[transport.Error], the first of
// those met; the verdicts beside it hold. A database or table about which the
// cluster refuses to answer costs the others nothing. A look that the
// credential's role forbids is no error, and finds nothing: an Ingestor of the database may
// not look at a table's extents.
func (c *Client) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	secrets := c.service.Secrets()
	defer secrets.Repanic()
	verdicts, err := c.track(ctx, pending)
	secrets.SealVerdicts(verdicts)
	return verdicts, secrets.Seal(err)
}

func (c *Client) track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	byDatabase := make(map[string][]transport.Pending)
	for _, p := range pending {
		db := p.Batch.Properties.Database
		byDatabase[db] = append(byDatabase[db], p)
	}
	var verdicts, quiet []transport.Verdict // quiet: nothing can be said
	var first error
	for db, list := range byDatabase {
		log, logErr := c.log(ctx, db, list)
		if logErr != nil && !kusto.Forbidden(logErr) && first == nil {
			first = logErr
		}
		for _, p := range list {
			v, err := c.judge(ctx, p, log)
			if err != nil {
				if first == nil {
					first = err
				}
				if kusto.Refused(err) {
					continue // it is this table that it does not speak of
				}
				break // an endpoint that does not answer is not asked about every batch in turn
			}
			c.underWay.ended(p.Batch.ID, seenVerdict(v))
			switch {
			case v.State != 0:
				verdicts = append(verdicts, v)
			case askedEnough(p, logErr):
				quiet = append(quiet, v)
			case first == nil:
				first = logErr
			}
		}
	}
	if first == nil {
		return verdicts, nil
	}
	return append(verdicts, quiet...), first
}

// verdict looks for one batch; its State is 0 where nothing can be said.
func (c *Client) verdict(ctx context.Context, p transport.Pending) (transport.Verdict, error) {
	log, err := c.log(ctx, p.Batch.Properties.Database, []transport.Pending{p})
	v, jerr := c.judge(ctx, p, log)
	if jerr == nil && (v.State.Ingested() || v.State == ingest.Accepted || askedEnough(p, err)) {
		return v, nil // found, whatever else could not be asked
	}
	return v, errors.Join(err, jerr)
}

// askedEnough reports whether a batch that was looked for among the table's
// extents, but not found, may be sent again although the log of commands
// answered with err: a batch with a tag is repeated under the same tag. One
// without is repeated where nobody may look, which the engine counts; an operation
// that was accepted has the engine's time for a verdict until then.
func askedEnough(p transport.Pending, err error) bool {
	return err == nil || p.Batch.IngestBy() != "" || kusto.Forbidden(err)
}

// States that more than one place looks for.
const (
	stateInProgress = "InProgress"
	stateScheduled  = "Scheduled"
	statePartial    = "PartiallySucceeded"
)

// logged is what the log of commands says of one, or the operation that it
// began.
type logged struct {
	state  string
	reason string
}

// log asks about every command of these batches: about the operations of those
// that are known to have begun one, and in the log of commands about the rest.
// What was found before an error holds.
func (c *Client) log(ctx context.Context, db string, list []transport.Pending) (map[string]logged, error) {
	found := make(map[string]logged)
	err := c.operations(ctx, db, list, found)
	var ids []string
	for _, p := range list {
		for _, id := range decodeProgress(p.Progress).Requests {
			if found[id].state == "" {
				ids = append(ids, id)
			}
		}
	}
	for chunk := range slices.Chunk(ids, logAtMost) {
		t, askErr := c.ask(ctx, db, showCommands(chunk))
		if askErr != nil {
			return found, errors.Join(err, askErr)
		}
		for i := range t.Rows {
			found[t.Text(i, "ClientActivityId")] = logged{t.Text(i, "State"), t.Text(i, "FailureReason")}
		}
	}
	return found, err
}

func (c *Client) ask(ctx context.Context, db, command string) (*kusto.Table, error) {
	rctx, cancel := context.WithTimeout(ctx, c.opts.RequestTimeout)
	defer cancel()
	tables, err := c.service.Mgmt(rctx, kusto.Call{Op: opResolve, Engine: true, Database: db, Command: command, Role: kusto.RoleLook})
	if kusto.Forbidden(err) {
		c.forbidden.Add(1)
	}
	if err != nil {
		return nil, err
	}
	return &tables[0], nil
}

// tagged reports whether the table has an extent with the batch's tag. A table
// that does not exist has none: that is the lane's trouble, not everybody's.
func (c *Client) tagged(ctx context.Context, b *ingest.Batch) (bool, error) {
	t, err := c.ask(ctx, b.Properties.Database, showTagged(b))
	if kusto.EntityNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return len(t.Rows) > 0, nil
}

// judge gives the outcome of a batch. A command that completed brought it in,
// or met its tag. Otherwise the extents of a tagged batch have the last word
// over a log that says failed: a gateway's timeout can come after the commit.
// A failure is taken from the latest command only, because the earlier ones
// are what that one came after.
func (c *Client) judge(ctx context.Context, p transport.Pending, log map[string]logged) (transport.Verdict, error) {
	v := transport.Verdict{Batch: p.Batch.ID}
	progress := decodeProgress(p.Progress)
	if len(progress.Requests) == 0 {
		return v, nil // nothing was sent, or not by this transport
	}
	for _, id := range progress.Requests {
		if log[id].state == "Completed" {
			v.State = ingest.Succeeded
			return v, nil
		}
	}
	last, known := log[progress.latest()]
	switch last.state {
	case stateInProgress, stateScheduled:
		v.State = ingest.Accepted
		return v, nil
	}
	if p.Batch.IngestBy() != "" && last.state != statePartial {
		there, err := c.tagged(ctx, p.Batch)
		if err != nil && !kusto.Forbidden(err) {
			return v, err
		}
		if there {
			v.State = ingest.Succeeded
			return v, nil
		}
	}
	if !known {
		return v, nil
	}
	code := kusto.CodeIn(last.reason)
	failure := &transport.Error{Op: opIngest, Class: transport.Transient, Code: code, Message: c.service.Secrets().Words(last.reason), RequestID: progress.latest()}
	switch last.state {
	case "Skipped":
		v.State = ingest.Skipped
		return v, nil
	case statePartial:
		// A repeat would be skipped by the tag, or double what is there: somebody
		// has to compare the table with the dead letter.
		failure.Class, failure.Code = transport.Permanent, last.state
	case "Throttled":
		failure.Class = transport.Throttled
	case "Failed", "BadInput":
		o := kusto.FailureOutcome(code, "")
		switch {
		case code != "" && o.State == ingest.Skipped:
			v.State = ingest.Skipped
			return v, nil
		case code != "" && o.State == ingest.DeadLettered:
			failure.Class = o.Class
		}
		if p.Batch.Properties.ByReference {
			failure.Class = kusto.ReferenceClass(code, failure.Class)
		}
	case "Canceled", "Abandoned": // and no extent of it is there
	default:
		return v, nil // a state this client does not know is no verdict
	}
	v.State, v.Failure = ingest.DeadLettered, failure
	return v, nil
}
