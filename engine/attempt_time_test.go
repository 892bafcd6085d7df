package engine_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// uploader is a transport whose upload takes parts of a time each, and then
// hangs where it is told to, for as long as the attempt lasts.
type uploader struct {
	parts int
	part  time.Duration
	tells bool
	hangs int // attempts
	ended []error
}

func (*uploader) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

func (u *uploader) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	for range u.parts {
		select {
		case <-time.After(u.part):
		case <-ctx.Done():
			u.ended = append(u.ended, ctx.Err())
			return transport.Ack{}, ctx.Err()
		}
		if u.tells {
			d.Moved()
		}
	}
	if u.hangs > 0 {
		u.hangs--
		<-ctx.Done()
		u.ended = append(u.ended, ctx.Err())
		return transport.Ack{}, &transport.Error{Op: "enqueue", Class: transport.Transient, Err: ctx.Err()}
	}
	return transport.Ack{State: ingest.HandedOver}, nil
}

// An upload may take as long as it moves, and what is not an upload has
// AttemptTimeout. The control does not tell that it moves.
func TestAttemptTimeoutIsNotOfUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := soon()
		o.AttemptTimeout = 10 * time.Minute
		u := &uploader{parts: 100, part: 9 * time.Minute, tells: true, hangs: 1}
		s := open(t, t.TempDir(), u, o)
		begun := time.Now()
		put(t, s, telemetry, row(1))
		// The first attempt hangs behind its upload, and the second does not.
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Hour)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); len(u.ended) != 1 || took < 30*time.Hour || took > 31*time.Hour {
			t.Errorf("%d attempts ended, %v", len(u.ended), took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		o := soon()
		o.AttemptTimeout = 10 * time.Minute
		u := &uploader{parts: 100, part: 9 * time.Minute}
		s := open(t, t.TempDir(), u, o)
		r := put(t, s, telemetry, row(1))[0]
		time.Sleep(5 * time.Hour)
		st, err := s.Status(t.Context(), r.ID)
		if err != nil || st.State.Final() || len(u.ended) < 20 {
			t.Errorf("%+v, %v after %d attempts", st, err, len(u.ended))
		}
		if st.Failure == nil || !strings.Contains(st.Failure.Message, "AttemptTimeout") {
			t.Errorf("the failure says %+v", st.Failure)
		}
	})
}
