package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// A batch of which nothing can be read is a dead letter with the code damaged,
// whether its damage was found at the opening or by the attempt. The transports
// refuse what is empty before they read, which hid the damage from the operator.
func TestABatchThatIsAllDamagedIsCalledSo(t *testing.T) {
	for _, atRest := range []bool{false, true} {
		name := "in use"
		if atRest {
			name = "at rest"
		}
		t.Run(name, func(t *testing.T) {
			dir, fake := t.TempDir(), transporttest.NewFake()
			fake.Down(transporttest.Fail(transport.Transient))
			strict := &rogue{Fake: fake, send: func(_ int64, ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
				if d.Payload.Size() <= 0 {
					return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Permanent, Code: "Empty", Message: "the batch has no bytes"}
				}
				return fake.Send(ctx, d)
			}}
			first := soon()
			if atRest {
				first.Batch.MaxAge = time.Hour // in no batch yet when they are damaged
			}
			s := open(t, dir, strict, first)
			put(t, s, telemetry, rows(20)...)
			if atRest {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			spoil(t, dir, `"n":7,`)
			if atRest {
				fake = transporttest.NewFake() // the first is closed with its spool
				strict.Fake = fake
				s = open(t, dir, strict, soon())
			} else {
				fake.Down(nil)
			}
			drain(t, s)
			if st := s.Stats(); st.Settled.DeadLettered != 1 || st.Settled.Ingested != 19 {
				t.Errorf("%+v", st.Settled)
			}
			dead := waiting(t, s)
			if len(dead) != 1 {
				t.Fatalf("%d dead letters", len(dead))
			}
			if why := dead[0].Failure; why == nil || why.Class != "damaged" || why.Code != "damaged" || strings.Count(why.Message, "segment 1") != 1 {
				t.Errorf("%v", why)
			}
		})
	}
}
