package kustosim

import "testing"

func TestTransientFailureIsRepeatedByTheService(t *testing.T) {
	c := start(t, nil)
	c.create()
	remove := c.sim.IngestFault("db1", "t1", IngestFault{Kind: FailTransient, Times: 3})
	defer remove()
	row := c.expect(c.send("a.json", "{}\n"), "Succeeded", "")
	if row["FailureStatus"] != nil {
		t.Errorf("the row is %v", row)
	}
	c.count(1)
	if got := c.sim.Stats().Retried; got != 3 {
		t.Errorf("%d repeats, want 3", got)
	}
}

func TestTransientFailureCanBeSeen(t *testing.T) {
	c := start(t, nil)
	c.create()
	remove := c.sim.IngestFault("db1", "t1", IngestFault{Kind: FailTransient, Report: true})
	id := c.send("a.json", "{}\n")
	c.wait(func() bool {
		row := c.row(id)
		return row != nil && row["Status"] == "Failed" && row["FailureStatus"] == Transient && row["ErrorCode"] == "General_InternalServerError"
	})
	c.count(0)
	remove()
	row := c.expect(id, "Succeeded", "")
	if row["FailureStatus"] != "Unknown" {
		t.Errorf("the row is %v", row)
	}
	c.count(1)
}

func TestFinalFailures(t *testing.T) {
	for _, tt := range []struct {
		fault        IngestFault
		code, status string
	}{
		{IngestFault{Kind: FailExhausted}, "General_RetryAttemptsExceeded", Exhausted},
		{IngestFault{Kind: FailPermanent}, "General_BadRequest", Permanent},
		{IngestFault{Kind: FailPermanent, Code: "Download_Forbidden", Details: "why"}, "Download_Forbidden", Permanent},
	} {
		t.Run(tt.code, func(t *testing.T) {
			c := start(t, nil)
			c.create()
			remove := c.sim.IngestFault("", "", tt.fault)
			row := c.expect(c.send("a.json", "{}\n"), "Failed", tt.code)
			if row["FailureStatus"] != tt.status || tt.fault.Details != "" && row["Details"] != tt.fault.Details {
				t.Errorf("the row is %v", row)
			}
			remove()
			c.expect(c.send("a.json", "{}\n"), "Succeeded", "")
			c.count(1)
		})
	}
}

func TestFailureAfterCommit(t *testing.T) {
	c := start(t, nil)
	c.create()
	c.sim.IngestFault("db1", "t1", IngestFault{Kind: FailTransient, AfterCommit: true, Times: 2})
	c.expect(c.send("a.json", "{}\n"), "Succeeded", "")
	c.count(3) // the service's own repeats double what has no tag
	c.sim.IngestFault("db1", "t1", IngestFault{Kind: FailTransient, AfterCommit: true, Times: 1})
	c.expect(c.send("b.json", "{}\n", tagged("b")), "Skipped", "Skipped_IngestByTagAlreadyExists")
	c.count(4)
	c.sim.IngestFault("db1", "t1", IngestFault{Kind: FailExhausted, AfterCommit: true, Times: 1})
	c.expect(c.send("c.json", "{}\n", tagged("c")), "Failed", "General_RetryAttemptsExceeded")
	c.count(5)
}

func TestPendingForEverAndHeld(t *testing.T) {
	c := start(t, nil)
	c.create()
	c.sim.IngestFault("db1", "t1", IngestFault{Kind: LeavePending, SourceContains: "lost"})
	release := c.sim.IngestFault("db1", "t1", IngestFault{Kind: Hold, SourceContains: "held"})
	flush := field("FlushImmediately", true)
	lost, held := c.send("lost.json", "{}\n", flush), c.send("held.json", "{}\n", flush)
	c.expect(c.send("free.json", "{}\n", flush), "Succeeded", "")
	if c.row(lost) != nil || c.row(held) != nil {
		t.Error("a report was written")
	}
	c.count(1)
	release()
	c.expect(held, "Succeeded", "")
	c.count(2)
	if c.row(lost) != nil {
		t.Error("a report was written")
	}
}

func TestDuplicateDelivery(t *testing.T) {
	c := start(t, nil)
	c.create()
	c.sim.IngestFault("db1", "t1", IngestFault{Kind: Duplicate, Copies: 2, Times: 3})
	flush := field("FlushImmediately", true)
	c.send("a.json", "{}\n", flush)
	c.wait(func() bool { return c.sim.Count("db1", "t1") == 3 })
	c.send("b.json", "{}\n", tagged("b"))
	c.wait(func() bool { return c.sim.Stats().SkippedByTag == 2 })
	c.count(4)
	c.send("c.json", "{}\n") // in one batch the service notices
	c.wait(func() bool { return c.sim.Stats().Failed["BlobAlreadyReceived_BlobAlreadyFoundInBatch"] == 2 })
	c.count(5)
}

func TestLostReport(t *testing.T) {
	c := start(t, nil)
	c.create()
	c.sim.IngestFault("db1", "t1", IngestFault{Kind: LoseReport, Times: 1})
	lost := c.send("a.json", "{}\n", field("FlushImmediately", true))
	c.expect(c.send("b.json", "{}\n"), "Succeeded", "")
	c.count(2)
	if c.row(lost) != nil {
		t.Error("a report was written")
	}
}
