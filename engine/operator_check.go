package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"kustospool/operate"
)

// checks runs the checks that an operator asks for, one at a time, each in a goroutine
// that end joins.
type checks struct {
	mu   sync.Mutex // guards what follows; held for memory only
	now  operate.Check
	seen time.Time          // when somebody last asked
	stop context.CancelFunc // of the one under way; nil for none
	over bool               // the spool is closing: none begins

	running sync.WaitGroup
}

// end ends the check under way, joins it, and lets none begin any more.
func (k *checks) end() {
	k.mu.Lock()
	k.over = true
	if k.stop != nil {
		k.stop()
	}
	k.mu.Unlock()
	k.running.Wait()
}

// StartCheck begins a check, or says how far the one is that is under way.
func (o *inUse) StartCheck(context.Context) (*operate.Check, error) {
	s, k := o.spool, &o.spool.checks
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return nil, ErrClosed
	}
	k.seen = time.Now()
	if k.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		k.now, k.stop = operate.Check{ID: k.now.ID + 1}, stop
		k.running.Go(func() { k.run(ctx, s) })
	}
	now := k.now
	return &now, nil
}

// Check says how far a check is, or what it found.
func (o *inUse) Check(_ context.Context, q operate.CheckQuery) (*operate.Check, error) {
	k := &o.spool.checks
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now.ID == 0 || q.ID != k.now.ID {
		return nil, &operate.Error{Code: operate.NotFound, Message: fmt.Sprintf("there is no check %d; the latest one is %d", q.ID, k.now.ID)}
	}
	k.seen = time.Now()
	now := k.now
	return &now, nil
}

// run makes one check, and ends it when nobody asks any more.
func (k *checks) run(ctx context.Context, s *Spool) {
	report, err := s.Check(ctx, &CheckOptions{Progress: k.progress})
	var text []byte
	if err == nil {
		text, err = json.Marshal(report)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stop()
	k.stop = nil
	k.now.Done, k.now.Report = true, text
	if err != nil {
		k.now.Error = err.Error()
	}
}

func (k *checks) progress(p CheckProgress) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now.Bytes, k.now.Total, k.now.Records, k.now.Bad = p.Bytes, p.Total, p.Records, p.Bad
	if time.Since(k.seen) > operate.CheckLease*time.Second {
		k.stop()
	}
}
