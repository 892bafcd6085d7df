package queued

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"golang.org/x/sync/errgroup"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// Outcomes is where a client learns what became of a batch that it sent by
// queue. A batch sent over REST is tracked there, whatever this says.
type Outcomes uint8

const (
	// StatusTable is a row of the cluster's status table for each attempt. It is
	// nobody else's, says all there is to say, and is what the official clients
	// recommend up to some 10,000 batches a day.
	StatusTable Outcomes = iota
	// PeekReports looks at the cluster's two report queues, for successes and
	// for failures, and changes nothing in them: no other reader is disturbed.
	// It sees the 32 reports at the head of each. Where nobody takes reports
	// out, they stay for 7 days, and those behind them are not seen: a batch
	// is then sent again when its time is up, and skipped by its tag.
	PeekReports
	// TakeReports takes every report out of the two queues, those about other
	// clients' ingestions as well: whoever else reads them, an official client
	// or a monitor, finds nothing. Reports of other kustospools are left to
	// come back after a minute, and so is what a process took that ended then. A
	// report about a batch of this client is deleted only after its outcome was
	// handed to the engine.
	TakeReports
)

const opReports = "report queues"

// Bounds of one look at the report queues.
const (
	reportsAtOnce  = 32 // the most that storage gives in one reply
	reportPages    = 10 // of one queue, in one call
	reportHidden   = time.Minute
	reportLooks    = 1000 // after so many a report that nobody asks about is deleted
	maxHeldReports = 100_000
	reportDeletes  = 8 // at once
)

// report is one message of a report queue (protocol reference section 6.2).
type report struct {
	batch    ingest.BatchID
	row      row // without a key
	inserted time.Time

	// To delete it with, in TakeReports.
	queue   *azqueue.QueueClient
	id      string
	receipt string
	hidden  time.Time // until then it is this client's
	told    bool      // its outcome was handed out
}

// reports reads the report queues.
type reports struct {
	take bool
	open func(kusto.Resource) (*azqueue.QueueClient, error)
	now  func() time.Time

	turn sync.Mutex // held while the queues are read
	mu   sync.Mutex
	// mu guards the following.
	held map[string]*report // by message id: taken and not deleted
	told map[string]bool    // message ids of failures handed out
}

func newReports(take bool, open func(kusto.Resource) (*azqueue.QueueClient, error), now func() time.Time) *reports {
	return &reports{take: take, open: open, now: now, held: map[string]*report{}, told: map[string]bool{}}
}

// read looks at the queues and returns what they say of some batches. The
// error is a *[transport.Error]; what was read beside it holds.
func (r *reports) read(ctx context.Context, queues []kusto.Resource, asked map[ingest.BatchID]bool, failed func(kusto.Resource, error) *transport.Error) (map[ingest.BatchID][]*report, error) {
	r.turn.Lock()
	defer r.turn.Unlock()
	if r.take {
		r.deleteTold(ctx, asked)
		r.forget()
	}
	out := make(map[ingest.BatchID][]*report)
	var first error
	for _, q := range queues {
		client, err := r.open(q)
		if err == nil && r.take {
			err = r.drain(ctx, client, asked)
		} else if err == nil {
			err = peek(ctx, client, func(p *report) {
				if asked[p.batch] {
					out[p.batch] = append(out[p.batch], p)
				}
			})
		}
		if err != nil && first == nil {
			first = failed(q, err)
		}
	}
	if r.take {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, h := range r.held {
			if asked[h.batch] {
				out[h.batch] = append(out[h.batch], h)
			}
		}
	}
	return out, first
}

// peek looks at the head of a queue.
func peek(ctx context.Context, client *azqueue.QueueClient, found func(*report)) error {
	n := int32(reportsAtOnce)
	reply, err := client.PeekMessages(ctx, &azqueue.PeekMessagesOptions{NumberOfMessages: &n})
	if err != nil {
		return err
	}
	for _, m := range reply.Messages {
		if p, ok := decodeReport(text(m.MessageText)); ok {
			p.id = text(m.MessageID)
			if m.InsertionTime != nil {
				p.inserted = *m.InsertionTime
			}
			found(p)
		}
	}
	return nil
}

// drain takes what is in a queue, some hundreds at most. Reports that are
// nobody's here are deleted at once, but for those of other kustospools.
func (r *reports) drain(ctx context.Context, client *azqueue.QueueClient, asked map[ingest.BatchID]bool) error {
	n, hide := int32(reportsAtOnce), int32(reportHidden/time.Second)
	for range reportPages {
		begun := r.now()
		reply, err := client.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: &n, VisibilityTimeout: &hide})
		if err != nil {
			return err
		}
		var gone []*report
		for _, m := range reply.Messages {
			p, ok := decodeReport(text(m.MessageText))
			if !ok {
				p = &report{}
			}
			p.queue, p.id, p.receipt, p.hidden = client, text(m.MessageID), text(m.PopReceipt), begun.Add(reportHidden)
			if m.InsertionTime != nil {
				p.inserted = *m.InsertionTime
			}
			spent := m.DequeueCount != nil && *m.DequeueCount > reportLooks
			if !ok || !asked[p.batch] && (!isOurs(p.batch) || spent) {
				gone = append(gone, p)
				continue
			}
			r.hold(p)
		}
		r.delete(ctx, gone)
		if len(reply.Messages) < reportsAtOnce {
			return nil
		}
	}
	return nil
}

// isOurs reports whether an id is made as batch ids are ([ingest.NewBatchID]);
// other clients take random ones, of version 4.
func isOurs(id ingest.BatchID) bool { return id[6]>>4 == 8 }

// forget drops the reports that are in the queue again.
func (r *reports) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for id, h := range r.held {
		if !h.told && now.After(h.hidden) {
			delete(r.held, id)
		}
	}
}

// hold keeps a report until its batch is asked about. Beyond the bound it is
// not kept, and comes back.
func (r *reports) hold(p *report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.held) < maxHeldReports {
		r.held[p.id] = p
	}
}

// deleteTold deletes the reports whose outcome an earlier call handed out. A
// batch that is asked about again has not been settled by it: its report stays.
func (r *reports) deleteTold(ctx context.Context, asked map[ingest.BatchID]bool) {
	r.mu.Lock()
	var gone []*report
	for id, h := range r.held {
		if h.told && !asked[h.batch] {
			gone = append(gone, h)
			delete(r.held, id)
		}
	}
	r.mu.Unlock()
	r.delete(ctx, gone)
}

// delete deletes messages; one that cannot be deleted comes up again.
func (r *reports) delete(ctx context.Context, gone []*report) {
	var group errgroup.Group
	group.SetLimit(reportDeletes)
	for _, p := range gone {
		group.Go(func() error {
			_ = transport.Guard("deleting a report", func() error { // the HTTP client and the credential are the caller's
				_, err := p.queue.DeleteMessage(ctx, p.id, p.receipt, nil)
				return err
			})
			return nil
		})
	}
	_ = group.Wait()
}

// rows are reports as rows of the latest attempt. Posted is when the latest
// message was posted, by the clock of storage, zero where that is not known: a
// failure reported before that is of an earlier attempt, and so is one that was
// handed out once.
func (r *reports) rows(list []*report, latest int, posted time.Time) (rows []row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range list {
		if p.row.Status != "Succeeded" && (r.told[p.id] || p.inserted.Before(posted)) {
			p.told = true // as good as handed out
			continue
		}
		out := p.row
		out.Key = rowKey(latest)
		rows = append(rows, out)
	}
	return rows
}

// handedOut notes that a batch's outcome was handed out, for these reports.
func (r *reports) handedOut(list []*report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.told) > maxHeldReports {
		clear(r.told)
	}
	for _, p := range list {
		p.told = true
		if p.row.Status != "Succeeded" {
			r.told[p.id] = true
		}
	}
}

// maxReportText bounds a report; storage does too.
const maxReportText = 64 << 10

// decodeReport reads the text of a report. false means that it is none that
// names an ingestion.
func decodeReport(encoded string) (*report, bool) {
	if len(encoded) > maxReportText {
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		raw = []byte(encoded) // not every writer encodes
	}
	var in struct {
		IngestionSourceID, OperationID, SucceededOn, FailedOn string
		Details, ErrorCode                                    string
		FailureStatus                                         any
	}
	if json.Unmarshal(raw, &in) != nil {
		return nil, false
	}
	id, err := ingest.ParseBatchID(strings.ToLower(in.IngestionSourceID))
	if err != nil {
		return nil, false
	}
	p := &report{batch: id, row: row{Status: "Succeeded", Operation: in.OperationID}}
	if in.FailedOn != "" || in.ErrorCode != "" || in.FailureStatus != nil {
		p.row.Status, p.row.Code, p.row.Details = "Failed", in.ErrorCode, in.Details
		p.row.FailureStatus = textOf(in.FailureStatus)
	} else if in.SucceededOn == "" {
		return nil, false
	}
	return p, true
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
