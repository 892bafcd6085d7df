package queued

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// company is batches that are sent at the same time: none commits before all
// are there.
type company struct {
	batches  []*ingest.Batch
	journals []*transporttest.Journal
	acks     []transport.Ack
	errs     []error
}

// sendTogether sends n at-least-once batches of two rows each. commit, when not
// nil, is what the journal of the n-th answers.
func sendTogether(t *testing.T, client *Client, n int, g ingest.Guarantee, commit func(int) error) *company {
	t.Helper()
	c := &company{errs: make([]error, n), acks: make([]transport.Ack, n)}
	var all, sends sync.WaitGroup
	all.Add(n)
	for i := range n {
		b := numbered(i + 1)
		b.Guarantee = g
		data := fmt.Appendf(nil, "{\"batch\":%d}\n{\"batch\":%d}\n", i, i)
		d, j := delivery(b, data)
		d.Payload = &transporttest.Payload{Data: data, OnRead: func(offset int) {
			if offset == 0 {
				all.Done()
				all.Wait()
			}
		}}
		j.OnCommit = func([]byte) error {
			if commit == nil {
				return nil
			}
			return commit(i)
		}
		c.batches, c.journals = append(c.batches, b), append(c.journals, j)
		sends.Go(func() { c.acks[i], c.errs[i] = client.Send(t.Context(), d) })
	}
	sends.Wait()
	return c
}

// tracked checks that every batch of the company that was accepted is in once.
func (c *company) tracked(t *testing.T, client *Client, sim *kustosim.Sim) {
	t.Helper()
	settleSim(t, sim)
	rows := map[string]int{}
	for _, r := range sim.Rows("db1", "tbl1") {
		rows[r.String()]++
	}
	for i, b := range c.batches {
		if c.errs[i] != nil {
			continue
		}
		v, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: c.journals[i].Last()}})
		if err != nil || len(v) != 1 || v[0].State != ingest.Succeeded {
			t.Errorf("batch %d: %+v, %v", i, v, err)
		}
		if n := rows[fmt.Sprintf("{\"batch\":%d}", i)]; n != 2 {
			t.Errorf("batch %d has %d rows, want 2", i, n)
		}
	}
}

func TestBatchesGoTogether(t *testing.T) {
	for g, most := range map[ingest.Guarantee]int64{ingest.AtLeastOnce: 20, ingest.ExactlyOnce: 1} {
		sim := startSim(t, nil)
		client := simClient(t, sim, &ClientOptions{Protocol: REST})
		const n = 45
		c := sendTogether(t, client, n, g, nil)
		for i, err := range c.errs {
			if err != nil || c.acks[i].State != ingest.Accepted || c.journals[i].Commits() != 1 {
				t.Errorf("%v: batch %d: %v, %v", g, i, c.acks[i], err)
			}
		}
		s := sim.Stats()
		if s.BlobsQueued != n || s.RequestsQueued < (n+most-1)/most || g == ingest.ExactlyOnce && s.RequestsQueued != n || g == ingest.AtLeastOnce && s.RequestsQueued > n/3 {
			t.Errorf("%v: %d requests for %d blobs", g, s.RequestsQueued, s.BlobsQueued)
		}
		c.tracked(t, client, sim)
	}
}

// A lost reply is unknown for everybody whose blob was in it, and known to be
// nothing for nobody.
func TestLostReplyInCompany(t *testing.T) {
	sim := startSim(t, nil)
	client := simClient(t, sim, &ClientOptions{Protocol: REST})
	sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.DropReply, Method: "POST", PathContains: "/ingestion/queued/", Times: 1})
	c := sendTogether(t, client, 5, ingest.AtLeastOnce, nil)
	unknown := 0
	for _, err := range c.errs {
		switch classOf(err) {
		case transport.Unknown:
			unknown++
		case 0:
		default:
			t.Errorf("%v", err)
		}
	}
	if unknown == 0 {
		t.Error("no reply was lost")
	}
	settleSim(t, sim)
	if n := sim.Count("db1", "tbl1"); n != 10 {
		t.Errorf("%d rows, want 10: what is unknown was taken", n)
	}
	c.tracked(t, client, sim)
}

// What the service refuses of several, one by one it takes: a refusal was
// certainly not taken, and may be one blob's doing.
func TestRefusedInCompany(t *testing.T) {
	sim := startSim(t, nil)
	client := simClient(t, sim, &ClientOptions{Protocol: REST})
	sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 400, Method: "POST", PathContains: "/ingestion/queued/", Times: 1})
	c := sendTogether(t, client, 5, ingest.AtLeastOnce, nil)
	for i, err := range c.errs {
		if err != nil {
			t.Errorf("batch %d: %v", i, err)
		}
	}
	c.tracked(t, client, sim)
	// One that is refused alone has nobody else to blame.
	sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 400, Method: "POST", PathContains: "/ingestion/queued/", Times: 1})
	b := numbered(99)
	b.Guarantee = ingest.AtLeastOnce
	d, _ := delivery(b, jsonLines)
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Permanent {
		t.Errorf("%v", err)
	}
}

// A batch whose intent could not be written, be it the leader's, is not in the
// request, and the others are.
func TestWithdrawnFromCompany(t *testing.T) {
	for withdrawn := range 4 {
		sim := startSim(t, nil)
		client := simClient(t, sim, &ClientOptions{Protocol: REST})
		full := errors.New("the journal's disk is full")
		c := sendTogether(t, client, 4, ingest.AtLeastOnce, func(i int) error {
			if i == withdrawn {
				return full
			}
			return nil
		})
		for i, err := range c.errs {
			if i == withdrawn && !errors.Is(err, full) || i != withdrawn && err != nil {
				t.Errorf("%d withdrawn: batch %d: %v", withdrawn, i, err)
			}
		}
		c.tracked(t, client, sim)
		if n := strings.Count(fmt.Sprint(sim.Rows("db1", "tbl1")), fmt.Sprintf("{\"batch\":%d}", withdrawn)); n != 0 {
			t.Errorf("the withdrawn batch has %d rows", n)
		}
	}
}
