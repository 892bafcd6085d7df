package engine

import (
	"context"
	"errors"
	"time"

	"kustospool/transport"
)

var errAttemptTimeout = errors.New("the attempt took longer than AttemptTimeout, and no upload moved meanwhile")

// attemptContext is the context of one attempt. It ends when limit has passed
// since its beginning, or since the last call of moved: an upload may take as
// long as it moves. cancel ends it for good.
func attemptContext(ctx context.Context, limit time.Duration) (_ context.Context, moved, cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { end(errAttemptTimeout) })
	moved = func() {
		if ctx.Err() == nil {
			timer.Reset(limit)
		}
	}
	return ctx, moved, func() {
		timer.Stop()
		end(nil)
	}
}

// timedOut puts the cause beside what a transport said of an attempt that its
// time ended.
func timedOut(ctx context.Context, e *transport.Error) *transport.Error {
	if context.Cause(ctx) != errAttemptTimeout {
		return e
	}
	other := *e
	if other.Message == "" && other.Err != nil {
		other.Message = other.Err.Error()
	}
	other.Message = errAttemptTimeout.Error() + ": " + other.Message
	return &other
}
