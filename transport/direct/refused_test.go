package direct

import (
	"testing"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/transporttest"
)

// What the cluster refuses to say of one table costs the others nothing: they
// are asked about all the same, in whatever order, and an attempt at the one
// is held without a word against the cluster.
func TestRefusedAnswersAreOneTables(t *testing.T) {
	sim := startSim(t, nil)
	tables := []string{"closed", "ingested", "lost"}
	for _, table := range tables {
		if err := sim.CreateTable("db1", table); err != nil {
			t.Fatal(err)
		}
	}
	client, err := NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deliveries := make(map[string]*transport.Delivery)
	var pending []transport.Pending
	for i, table := range tables {
		b, j := jsonBatch(ingest.ExactlyOnce), &transporttest.Journal{}
		b.ID = ingest.NewBatchID(ingest.SpoolID{1}, uint32(i+1), 1, 2)
		b.Properties.Table = table
		kind := kustosim.DropRequest
		if table == "ingested" {
			kind = kustosim.DropReply
		}
		sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kind, PathContains: ".ingest into", Times: 1})
		d := &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(lines), Journal: j}
		if _, err := client.Send(t.Context(), d); classOf(err) != transport.Unknown {
			t.Fatal(err)
		}
		d.Progress = j.Last()
		deliveries[table] = d
		pending = append(pending, transport.Pending{Batch: b, Progress: j.Last()})
	}
	// The log is silent too, so that the extents are asked.
	sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 400, PathContains: ".show commands"})
	remove := sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 400, PathContains: "['closed'] extents"})
	verdicts, err := client.Track(t.Context(), pending)
	if !kusto.Refused(err) || len(verdicts) != 2 || verdicts[0].Batch != pending[1].Batch.ID || verdicts[0].State != ingest.Succeeded ||
		verdicts[1].Batch != pending[2].Batch.ID || verdicts[1].State != 0 {
		t.Errorf("%+v, %v", verdicts, err)
	}
	d := deliveries["closed"]
	d.Attempt, d.Journal = 2, &transporttest.Journal{}
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Held || sim.Count("db1", "closed") != 0 {
		t.Errorf("an attempt whose predecessor may not be looked for: %v", err)
	}
	remove()
	if _, err := client.Send(t.Context(), d); err != nil || sim.Count("db1", "closed") != 2 {
		t.Errorf("after it was answered: %v", err)
	}
	// An endpoint that answers nobody is not asked about each batch.
	sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 503, PathContains: "extents"})
	before := sim.Stats().FaultsStruck
	if verdicts, err := client.Track(t.Context(), pending); err == nil || len(verdicts) != 0 || sim.Stats().FaultsStruck-before != 2 {
		t.Errorf("%+v, %v, %d requests", verdicts, err, sim.Stats().FaultsStruck-before)
	}
}
