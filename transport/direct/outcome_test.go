package direct

import (
	"errors"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/transporttest"
)

var lines = []byte("{\"a\":1}\n{\"a\":2}\n")

func jsonBatch(g ingest.Guarantee) *ingest.Batch {
	return &ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{1}, 1, 1, 2), Lane: 1, First: 1, Last: 2, Guarantee: g, Confirm: ingest.ConfirmIngested,
		Properties: ingest.Properties{Database: "db1", Table: "tbl1", Format: ingest.JSON}, RawBytes: int64(len(lines)), SealedAt: time.Now()}
}

func classOf(err error) transport.Class {
	var e *transport.Error
	if errors.As(err, &e) {
		return e.Class
	}
	return 0
}

// Every ambiguous reply, with the effect and without it, is Unknown, and
// leaves one copy: with exactly-once always, with at-least-once because the
// log of commands tells.
func TestAmbiguousReplyLeavesOneCopy(t *testing.T) {
	for name, fault := range map[string]kustosim.Fault{
		"504 after":   {Kind: kustosim.RespondLate, Status: 504},
		"520 after":   {Kind: kustosim.RespondLate, Status: 520},
		"reset after": {Kind: kustosim.DropReply},
		"504 instead": {Kind: kustosim.Respond, Status: 504},
		"520 instead": {Kind: kustosim.Respond, Status: 520},
		"reset":       {Kind: kustosim.DropRequest},
	} {
		for _, guarantee := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
			t.Run(name+" "+guarantee.String(), func(t *testing.T) {
				sim := startSim(t, nil)
				if err := sim.CreateTable("db1", "tbl1"); err != nil {
					t.Fatal(err)
				}
				client, err := NewClient(sim.Endpoint(), nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				fault.PathContains, fault.Times = ".ingest into", 1
				sim.Fault(kustosim.Engine, fault)
				b, j := jsonBatch(guarantee), &transporttest.Journal{}
				d := &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(lines), Journal: j}
				if _, err = client.Send(t.Context(), d); classOf(err) != transport.Unknown {
					t.Fatalf("Send: %v, want unknown", err)
				}
				verdicts, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}})
				if err != nil {
					t.Fatal(err)
				}
				there := sim.Count("db1", "tbl1") > 0
				if there != (len(verdicts) == 1 && verdicts[0].State.Ingested()) {
					t.Errorf("the batch is there: %t, and Track says %+v", there, verdicts)
				}
				d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
				ack, err := client.Send(t.Context(), d)
				if err != nil || there != (ack.State == ingest.Skipped) {
					t.Errorf("again: %v, %v", ack.State, err)
				}
				if n := sim.Count("db1", "tbl1"); n != 2 {
					t.Errorf("%d rows, want 2", n)
				}
			})
		}
	}
}

// Over capacity the cluster refuses, nothing is ingested, and the figures say so.
func TestThrottledCommand(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true, IngestCapacity: 5})
	client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{Share: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	remove := sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 429, RetryAfter: 3 * time.Second, PathContains: ".ingest into"})
	d := &transport.Delivery{Batch: jsonBatch(ingest.ExactlyOnce), Attempt: 1, Payload: transporttest.Bytes(lines), Journal: &transporttest.Journal{}}
	_, err = client.Send(t.Context(), d)
	var e *transport.Error
	if !errors.As(err, &e) || e.Class != transport.Throttled || e.RetryAfter != 3*time.Second {
		t.Errorf("%v", err)
	}
	if f := client.Capacity(); f.Total != 5 || f.Share != 2 || f.Limit != 1 || f.Throttled != 1 {
		t.Errorf("%+v", f)
	}
	remove()
	d.Attempt = 2
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Error(err)
	}
}

// What the rows of a reply mean: an extent made is success, one made beside
// errors is a batch ingested in part, which is not repeated.
func TestRowsOfAReply(t *testing.T) {
	const extent = "11111111-1111-1111-1111-111111111111"
	for name, c := range map[string]struct {
		rows  string
		state ingest.State
		class transport.Class
	}{
		"one extent":          {`["` + extent + `",false]`, ingest.Succeeded, 0},
		"two extents":         {`["` + extent + `",false],["` + extent + `",0]`, ingest.Succeeded, 0},
		"in part":             {`["` + extent + `",false],["` + noExtent + `",true]`, 0, transport.Permanent},
		"in part, as numbers": {`["` + extent + `",1]`, 0, transport.Permanent},
		"errors only":         {`["` + noExtent + `",true]`, 0, transport.Unknown},
		"nothing":             {`["` + noExtent + `",false]`, 0, transport.Malformed},
		"no row":              {``, 0, transport.Malformed},
	} {
		tables, err := kusto.DecodeDataset([]byte(`{"Tables":[{"TableName":"T","Columns":[{"ColumnName":"ExtentId","DataType":"Guid"},{"ColumnName":"HasErrors","DataType":"Boolean"}],"Rows":[`+c.rows+`]}]}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := new(Client).read(t.Context(), jsonBatch(ingest.AtLeastOnce), &tables[0], "r")
		if ack.State != c.state || classOf(err) != c.class {
			t.Errorf("%s: %v, %v", name, ack.State, err)
		}
	}
}
