package queued

import (
	"context"
	"sync"
	"time"

	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// Bounds of a request for several blobs (protocol reference section 7.1), and
// how long the first waits for others that are on their way.
const (
	togetherAtMost = 20
	togetherWait   = 20 * time.Millisecond
)

// together is the requests over REST that still take blobs. Batches without a
// tag of their own, of one table and equal properties, go in one request, as
// far as they are on their way at the same time.
type together struct {
	mu sync.Mutex
	// mu guards the following, and what each request says so of.
	open map[string]*request
	way  int // attempts on their way to a request
}

// request is one request for several blobs. Its leader is the attempt that
// opened it, and posts it; the others wait for that.
type request struct {
	id     string        // x-ms-client-request-id
	full   chan struct{} // closed when no more blobs fit
	ready  chan struct{} // closed when it takes no more and everybody has decided
	posted chan struct{} // closed when operation, n and err are written

	// Guarded by together.mu.
	blobs     []kusto.SubmittedBlob
	joined    int
	undecided int // joined, and not committed or withdrawn yet
	closed    bool

	operation string
	n         int // blobs that were posted together
	err       error
}

// begin counts an attempt that will come to a request; the result ends that.
func (t *together) begin() (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.way++
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.way--
	})
}

// join finds the request for a key, or opens it. Who joined must decide.
func (t *together) join(key string) (r *request, leads bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r = t.open[key]; r == nil {
		r = &request{id: kusto.NewRequestID(), full: make(chan struct{}), ready: make(chan struct{}), posted: make(chan struct{})}
		if t.open == nil {
			t.open = make(map[string]*request)
		}
		t.open[key] = r
		leads = true
	}
	r.joined++
	r.undecided++
	if r.joined == togetherAtMost {
		delete(t.open, key)
		close(r.full)
	}
	return r, leads
}

// decide says that an attempt's intent is durable, with its blob, or with nil
// that it withdraws.
func (t *together) decide(r *request, blob *kusto.SubmittedBlob) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if blob != nil {
		r.blobs = append(r.blobs, *blob)
	}
	if r.undecided--; r.closed && r.undecided == 0 {
		close(r.ready)
	}
}

// gather waits for others, as long as some are on their way, and returns the
// blobs of those who decided for it. The error is that of ctx.
func (t *together) gather(ctx context.Context, key string, r *request) ([]kusto.SubmittedBlob, error) {
	t.mu.Lock()
	alone := t.way <= r.joined
	t.mu.Unlock()
	if !alone {
		timer := time.NewTimer(togetherWait)
		defer timer.Stop()
		select {
		case <-r.full:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	t.mu.Lock()
	if t.open[key] == r {
		delete(t.open, key)
	}
	r.closed = true
	if r.undecided == 0 {
		close(r.ready)
	}
	t.mu.Unlock()
	select {
	case <-r.ready:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return r.blobs, ctx.Err()
}

// goesTogether reports whether the batch may share a request. A tag of its own,
// or a condition, is the request's, and so would be every blob's; what was sent
// before goes alone, so that a refusal in company is nobody else's fault twice.
func (a *attempt) goesTogether() bool {
	b := a.d.Batch
	return a.rest && b.IngestBy() == "" && len(b.Properties.IngestIfNotExists) == 0 && a.progress.latest() == 0
}

// submitTogether is submit in company. Each attempt has committed before the
// one request leaves, and each gets its outcome: a lost reply is Unknown for
// all of them. Where the service refuses the request of several, which may be
// one blob's doing, each posts its own: a refusal was certainly not taken.
func (a *attempt) submitTogether(ctx context.Context, container kusto.Resource) (tracked bool, err error) {
	p := &a.d.Batch.Properties
	properties := submitProperties(a.d.Batch)
	key := p.Database + "\x00" + p.Table + "\x00" + jsonText(properties)
	r, leads := a.together.join(key)
	s := submitted{Attempt: a.d.Attempt, Request: r.id}
	a.progress.Stage = stageSubmit
	a.progress = a.progress.submit(s)
	err = a.commit(ctx)
	if err == nil {
		a.together.decide(r, &kusto.SubmittedBlob{URL: a.blobURL(container), SourceID: a.d.Batch.ID.String(), RawSize: a.rawSize()})
	} else {
		a.together.decide(r, nil)
	}
	if leads {
		a.postTogether(ctx, key, r, properties)
	}
	if err != nil {
		return false, err
	}
	if !leads {
		select {
		case <-r.posted:
		case <-ctx.Done(): // the request may be on its way
			return false, &transport.Error{Op: opSubmit, Class: transport.Unknown, Message: "cut off: " + ctx.Err().Error(), RequestID: r.id, Err: ctx.Err()}
		}
	}
	if e := asError(r.err); e != nil && r.n > 1 && e.Class != transport.Unknown && !e.Class.Destination() {
		return a.post(ctx, container, submitted{Attempt: a.d.Attempt, Request: kusto.NewRequestID()})
	}
	if r.err != nil {
		return false, r.err
	}
	return a.submittedAs(ctx, s, r.operation)
}

// postTogether is the leader's part. It posts for the others also where it has
// withdrawn itself; with its time over, nothing is posted.
func (a *attempt) postTogether(ctx context.Context, key string, r *request, properties map[string]any) {
	defer close(r.posted)
	blobs, err := a.together.gather(ctx, key, r)
	switch {
	case err != nil:
		r.err = &transport.Error{Op: opSubmit, Class: transport.Transient, Message: "not begun: " + err.Error(), Err: err}
		return
	case len(blobs) == 0:
		return
	}
	r.n = len(blobs)
	r.err = &transport.Error{Op: opSubmit, Class: transport.Unknown, Message: "not answered: the request ended in a panic", RequestID: r.id}
	r.operation, r.err = a.request(ctx, blobs, properties, r.id)
}
