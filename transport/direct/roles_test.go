package direct

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/transporttest"
)

type bearer string

func (b bearer) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(b), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// lookups is a figure of the client.
func lookups(c *Client) int64 {
	for _, f := range c.Figures() {
		if f.Name == "lookups_forbidden" {
			return f.Value
		}
	}
	return 0
}

// With the role Ingestor alone nobody may look at the extents. What was refused is
// sent again, and what is unknown as well, under its tag; with a Viewer's right
// too, as the control, the extents tell.
func TestIngestorMayNotLook(t *testing.T) {
	refused := kustosim.Fault{Kind: kustosim.Respond, Status: 429}
	lost := kustosim.Fault{Kind: kustosim.Respond, Status: 520}
	late := kustosim.Fault{Kind: kustosim.RespondLate, Status: 520}
	const exactly, least = ingest.ExactlyOnce, ingest.AtLeastOnce
	for _, tt := range []struct {
		name      string
		fault     kustosim.Fault
		log       bool // the log of commands may be asked
		look      bool // and the extents
		guarantee ingest.Guarantee
		tracked   ingest.State // what Track says before the second attempt
		ack       ingest.State // of that attempt
		rows      int
		forbidden bool
	}{
		{"a definite refusal", refused, true, false, exactly, ingest.DeadLettered, ingest.Succeeded, 2, true},
		{"a definite refusal, no log", refused, false, false, exactly, 0, ingest.Succeeded, 2, true},
		{"a definite refusal, no log, at least once", refused, false, false, least, 0, ingest.Succeeded, 2, true},
		{"nothing arrived", lost, true, false, exactly, 0, ingest.Succeeded, 2, true},
		{"nothing arrived, no log", lost, false, false, exactly, 0, ingest.Succeeded, 2, true},
		{"nothing arrived, at least once", lost, true, false, least, 0, ingest.Succeeded, 2, false},
		{"the reply was lost", late, true, false, exactly, ingest.Succeeded, ingest.Skipped, 2, false},
		{"the reply was lost, no log", late, false, false, exactly, 0, ingest.Skipped, 2, true},
		{"the reply was lost, at least once", late, true, false, least, ingest.Succeeded, ingest.Skipped, 2, false},
		{"the reply was lost, no log, at least once", late, false, false, least, 0, ingest.Succeeded, 4, true},
		{"control: a viewer too", late, false, true, exactly, ingest.Succeeded, ingest.Skipped, 2, true},
		{"control: nothing arrived", lost, true, true, exactly, 0, ingest.Succeeded, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			role := kustosim.Ingestor
			if tt.look {
				role |= kustosim.Viewer
			}
			sim := startSim(t, &kustosim.Options{Principals: map[string]kustosim.Role{"box": role}})
			if err := sim.CreateTable("db1", "tbl1"); err != nil {
				t.Fatal(err)
			}
			client, err := NewClient(sim.Endpoint(), bearer("box"), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			tt.fault.PathContains, tt.fault.Times = ".ingest into", 1
			sim.Fault(kustosim.Engine, tt.fault)
			if !tt.log {
				sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: ".show commands"})
			}
			b, j := jsonBatch(tt.guarantee), &transporttest.Journal{}
			d := &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(lines), Journal: j}
			if _, err := client.Send(t.Context(), d); err == nil {
				t.Fatal("the first attempt went well")
			}
			verdicts, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}})
			if tt.fault.Status == 429 {
				tt.tracked = 0 // the simulator's fault leaves no command in the log
			}
			state := ingest.State(0)
			for _, v := range verdicts {
				state = v.State
			}
			if err != nil || state != tt.tracked {
				t.Errorf("Track: %+v, %v; want %v", verdicts, err, tt.tracked)
			}
			d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
			ack, err := client.Send(t.Context(), d)
			if err != nil || ack.State != tt.ack {
				t.Errorf("again: %v, %v; want %v", ack.State, err, tt.ack)
			}
			if n := sim.Count("db1", "tbl1"); n != tt.rows {
				t.Errorf("%d rows, want %d", n, tt.rows)
			}
			if n := lookups(client); (n > 0) != tt.forbidden {
				t.Errorf("%d looks were forbidden", n)
			}
		})
	}
}

// An operation that was accepted and that nobody may ask for is no failure, and no
// question that failed, which would have it waited for without end: the engine gives
// it the time for a verdict. Control: a service that does not answer is one.
func TestForbiddenOperationHasItsTime(t *testing.T) {
	for _, guarantee := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
		sim := startSim(t, &kustosim.Options{AutoCreate: true})
		client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{Async: true})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		b, j := jsonBatch(guarantee), &transporttest.Journal{}
		d := &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(lines), Journal: j}
		if _, err := client.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		var removes []func()
		for _, command := range []string{".show operations", ".show commands", "extents"} {
			removes = append(removes, sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: command}))
		}
		verdicts, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}})
		if len(verdicts) != 0 || err != nil {
			t.Errorf("%v: %+v, %v", guarantee, verdicts, err)
		}
		removes[0]()
		sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 503, PathContains: ".show operations"})
		if _, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}}); guarantee == ingest.AtLeastOnce && err == nil {
			t.Error("a service that does not answer was asked")
		}
	}
}

func TestForbidden(t *testing.T) {
	sim := startSim(t, nil)
	client, err := NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ask := func(status int) error {
		defer sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: status})()
		_, err := client.ask(t.Context(), "db1", ".show commands")
		return err
	}
	denied, busy := ask(403), ask(503)
	for _, tt := range []struct {
		err  error
		want bool
	}{{nil, false}, {denied, true}, {busy, false}, {ask(401), false}, {fmt.Errorf("x: %w", denied), true},
		{errors.Join(denied, denied), true}, {errors.Join(denied, busy), false}, {errors.Join(busy, denied), false}} {
		if got := kusto.Forbidden(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}
