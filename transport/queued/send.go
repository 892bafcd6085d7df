package queued

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/reference"
	"kustospool/transport/internal/upload"
)

// Send makes one attempt, as [transport.Transport] says: upload, status row,
// message. It posts at most one message, after Journal.Commit. Its Ack is
// Accepted, or Skipped where the status table says that an earlier attempt
// brought the batch in; nothing is posted then.
func (c *Client) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	secrets := c.service.Secrets()
	defer secrets.Repanic()
	sealed := *d
	sealed.Journal = secrets.Journal(d.Journal)
	a := &attempt{Client: c, d: &sealed, progress: decodeProgress(d.Progress)}
	ack, err := a.run(ctx)
	if err != nil {
		a.noteUploaded(ctx)
	}
	if a.source != nil {
		ack.BlobBytes = a.source.RawSize
	}
	return ack, secrets.Seal(err)
}

// attempt is one Send under way.
type attempt struct {
	*Client
	d          *transport.Delivery
	progress   progress
	rest       bool              // over REST; otherwise by queue
	containers []kusto.Resource  // to upload to
	resources  *kusto.Resources  // nil: not needed over REST, and not to be had
	token      string            // by queue only
	queue      kusto.Resource    // by queue only
	table      *kusto.Resource   // by queue only; nil: outcomes are not tracked
	source     *reference.Source // of a batch by reference; nil for others
	unnoted    bool              // the blob is uploaded, and the Journal does not say so
}

func (a *attempt) run(ctx context.Context) (transport.Ack, error) {
	if a.d.Payload.Size() <= 0 {
		return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Permanent, Code: "Empty", Message: "the batch has no bytes; the service refuses an empty blob"}
	}
	if e := transport.CheckNames(a.d.Batch); e != nil {
		return transport.Ack{}, e
	}
	if err := a.prepare(ctx); err != nil {
		return transport.Ack{}, err
	}
	submit := a.submit
	if a.goesTogether() {
		submit = a.submitTogether
		defer a.together.begin()()
	}
	if a.progress.latest() > 0 {
		// An earlier message or request may have been posted. What the service
		// said of it counts more than another copy of it.
		in, err := a.earlier(ctx)
		if err != nil {
			return transport.Ack{}, err
		}
		if in {
			return transport.Ack{State: ingest.Skipped}, nil
		}
	}
	var container kusto.Resource
	var wire int64
	if a.source == nil {
		var err error
		if container, wire, err = a.upload(ctx); err != nil {
			return transport.Ack{}, err
		}
	}
	if a.rest {
		tracked, err := submit(ctx, container)
		if err != nil {
			return transport.Ack{}, err
		}
		if !tracked { // not wanted, or the service does not: nothing more will be heard
			return transport.Ack{State: ingest.HandedOver, WireBytes: wire}, nil
		}
		return transport.Ack{State: ingest.Accepted, WireBytes: wire}, nil
	}
	var row *statusRow
	if a.table != nil {
		row = a.statusRow()
		in, err := a.insertRow(ctx, *a.table, row, a.plainURL(container))
		if err != nil {
			return transport.Ack{}, err
		}
		if in {
			return transport.Ack{State: ingest.Skipped, WireBytes: wire}, nil
		}
	}
	text, err := a.message(container, row).encode()
	if err != nil {
		return transport.Ack{}, err
	}
	a.progress.Stage = stageEnqueue
	a.progress = a.progress.with(a.d.Attempt)
	a.progress.Reports, a.progress.Posted = a.byReport(), 0
	if err := a.commit(ctx); err != nil {
		return transport.Ack{}, err
	}
	taken, err := a.enqueue(ctx, text)
	if err != nil {
		return transport.Ack{}, err
	}
	if a.byReport() {
		if !taken.IsZero() {
			a.progress.Posted = taken.Unix()
			if err := a.d.Journal.Note(context.WithoutCancel(ctx), a.progress.encode()); err != nil {
				return transport.Ack{}, fmt.Errorf("journal: %w", err)
			}
		}
		return transport.Ack{State: ingest.Accepted, WireBytes: wire}, nil
	}
	if a.table == nil { // not wanted, or the cluster has none: nothing more will be heard
		return transport.Ack{State: ingest.HandedOver, WireBytes: wire}, nil
	}
	return transport.Ack{State: ingest.Accepted, WireBytes: wire}, nil
}

// prepare gets what the attempt needs of the service, and refuses a message
// that would be too long before anything is uploaded for it.
func (a *attempt) prepare(ctx context.Context) error {
	if err := a.refer(ctx); err != nil {
		return err
	}
	rctx, cancel := context.WithTimeout(ctx, a.opts.RequestTimeout)
	defer cancel()
	if a.progress.Blob == "" && a.source == nil {
		a.progress.Blob = upload.Name(a.d.Batch)
	}
	lent, err := a.choose(rctx)
	if err != nil {
		return err
	}
	// Resources and token are kept up over REST too: with them Auto goes on by
	// queue while data management is down.
	if a.resources, err = a.ingestion.Resources(rctx); err == nil {
		a.token, err = a.ingestion.Token(rctx)
		if len(lent) == 0 {
			lent = a.resources.Containers
		}
	}
	if err != nil && (!a.rest || len(lent) == 0 && a.source == nil || a.resources == nil && len(a.progress.Attempts) > 0) {
		return err
	}
	a.containers = lent
	if a.own != nil && a.source == nil {
		if a.containers, err = a.own.containers(rctx, a.service.Secrets()); err != nil {
			return err
		}
	}
	if a.rest {
		return nil
	}
	switch {
	case a.d.Batch.Confirm == ingest.ConfirmAccepted:
	case a.reports != nil && (len(a.resources.Successes) == 0 || len(a.resources.Failures) == 0):
		return &transport.Error{Op: opReports, Class: transport.Transient, Code: "NoReportQueue", Message: "the cluster names no report queues; use Outcomes StatusTable"}
	case a.reports == nil && len(a.resources.StatusTables) > 0:
		a.table = &a.resources.StatusTables[0]
	}
	a.queue = a.ingestion.Ranking.Order(a.resources.Queues)[0]
	var row *statusRow
	if a.table != nil {
		row = a.statusRow()
	}
	var container kusto.Resource
	if a.source == nil {
		container = a.containers[0]
	}
	_, err = a.message(container, row).encode()
	return err
}

// restPause is how long Auto goes by queue after a request over REST, or for
// the configuration, failed.
const restPause = 5 * time.Minute

func (c *Client) pauseREST() { c.restAgain.Store(c.now().Add(restPause).UnixNano()) }

// choose decides how the service is asked, and returns the containers that it
// lends for that.
func (a *attempt) choose(ctx context.Context) ([]kusto.Resource, error) {
	if a.opts.Protocol == Queue || a.opts.Protocol == Auto && a.now().UnixNano() < a.restAgain.Load() {
		return nil, nil
	}
	conf, err := a.ingestion.Configuration(ctx)
	switch {
	case a.opts.Protocol == Auto && err != nil:
		a.pauseREST()
		return nil, nil
	case err != nil:
		return nil, err
	case a.opts.Protocol == Auto:
		if a.rest = conf.PreferREST && a.autoByREST(ctx); a.rest {
			return conf.Containers, nil
		}
		return nil, nil
	}
	if conf.Absent {
		return nil, &transport.Error{Op: opSubmit, Class: transport.Transient, Code: "404", Message: "the service has no REST API for queued ingestion; use Protocol Auto or Queue"}
	}
	if a.d.Batch.Confirm != ingest.ConfirmAccepted {
		if err := a.mayTrack(ctx); err != nil {
			return nil, notTracked(err)
		}
	}
	a.rest = true
	return conf.Containers, nil
}

// byReport reports whether the outcome is to be had from the report queues.
func (a *attempt) byReport() bool {
	return a.reports != nil && !a.rest && a.d.Batch.Confirm != ingest.ConfirmAccepted
}

func (a *attempt) statusRow() *statusRow {
	return &statusRow{TableConnectionString: a.table.URL(), PartitionKey: a.d.Batch.ID.String(), RowKey: rowKey(a.d.Attempt)}
}

func (a *attempt) message(container kusto.Resource, row *statusRow) *message {
	return newMessage(a.d.Batch, envelope{
		blobURL: a.blobURL(container), size: a.rawSize(), token: a.token, created: time.Now(),
		row: row, report: a.byReport(), app: a.service.App(), version: a.service.ClientVersion(),
	})
}

// blobURL is the blob's address as the service is told it: a secret.
func (a *attempt) blobURL(container kusto.Resource) string {
	if a.source != nil {
		return a.source.URL
	}
	u := container.Join(a.progress.Blob)
	if a.own != nil {
		u += a.own.suffix
	}
	return u
}

// asError finds the classified error in err, nil where there is none.
func asError(err error) *transport.Error {
	var e *transport.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
