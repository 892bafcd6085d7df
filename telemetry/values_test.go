package telemetry_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
	"kustospool/transport"
)

// TestEachValueIsThatOfItsName: a snapshot of which no two figures are the same, and
// each of them under its name.
func TestEachValueIsThatOfItsName(t *testing.T) {
	at := time.Unix(10_000, 0)
	lane := func(table string, n int64) engine.LaneStats {
		return engine.LaneStats{Properties: ingest.Properties{Database: "D", Table: table}, Held: n == 300,
			Waiting: engine.Backlog{Records: n + 1, Bytes: n + 2, Age: time.Duration(n+3) * time.Second},
			Batches: engine.Batches{Sealed: n, Sending: 10 * n, Unknown: 100 * n, Accepted: 1000 * n}}
	}
	st := engine.Stats{At: at, Acked: 1, AckedBytes: 2, Attempts: 3, RawBytes: 4, WireBytes: 5, WaitingForRoom: 6,
		Waiting:        engine.Backlog{Records: 70, Open: 8, Bytes: 9, Age: 10 * time.Second},
		Rate:           engine.Rate{Records: 2},
		Settled:        engine.Settled{Ingested: 11, Skipped: 12, HandedOver: 13, DeadLettered: 14, Dropped: 15},
		SettledBatches: engine.SettledBatches{Ingested: 16, Skipped: 17, HandedOver: 18, DeadLettered: 19, Dropped: 20, Split: 21},
		Batches:        engine.Batches{Sealed: 22, Sending: 23, Unknown: 24, Accepted: 25},
		Duplicates:     engine.Duplicates{Possible: 26, AvoidedByTag: 27, AvoidedByKey: 28},
		DeadLetters:    engine.DeadLetterStats{Total: 61, Waiting: 29, Handled: 32},
		Disk:           engine.DiskStats{Bytes: 33, Quota: 34, Free: 35, Written: 36, Segments: 37, Damaged: 38, Suspect: 39},
		Paused:         make([]engine.Pause, 40),
		Lanes:          []engine.LaneStats{lane("T", 300), lane("U", 400), lane("V", 300)},
		Transport:      []transport.Figure{{Name: "f", Value: 41}},
	}
	// By the name in a scrape, and the values of the labels but for "spool".
	want := map[string]float64{
		"records_acknowledged_total": 1, "payload_acknowledged_bytes_total": 2, "attempts_begun_total": 3,
		"payload_delivered_bytes_total": 4, "wire_delivered_bytes_total": 5, "calls_waiting_for_room": 6,
		"records_waiting batch": 62, "records_waiting open": 8, "payload_waiting_bytes": 9, "queue_age_seconds": 10, "queue_lag_seconds": 35,
		"records_settled_total ingested": 11, "records_settled_total skipped": 12, "records_settled_total handed_over": 13,
		"records_settled_total dead_lettered": 14, "records_settled_total dropped": 15,
		"batches_settled_total ingested": 16, "batches_settled_total skipped": 17, "batches_settled_total handed_over": 18,
		"batches_settled_total dead_lettered": 19, "batches_settled_total dropped": 20, "batches_settled_total split": 21,
		"batches_waiting sealed": 22, "batches_waiting sending": 23, "batches_waiting unknown": 24, "batches_waiting accepted": 25,
		"duplicates_total possible": 26, "duplicates_total avoided_by_tag": 27, "duplicates_total avoided_by_key": 28,
		"dead_letters_waiting": 29, "dead_letters_handled_total": 32,
		"disk_used_bytes": 33, "disk_quota_bytes": 34, "disk_free_bytes": 35, "disk_written_bytes_total": 36,
		"disk_segments": 37, "disk_damaged_total": 38, "disk_suspect_total": 39,
		"tables_paused": 40, "tables_held": 2, "transport_figure f": 41, "spool_failed": 0, "destination_failing_seconds": 0,
		"table_records_waiting D T": 301, "table_payload_waiting_bytes D T": 302, "table_queue_age_seconds D T": 303, "table_batches_waiting D T": 333_300, "table_held D T": 1,
		"table_records_waiting D U": 401, "table_payload_waiting_bytes D U": 402, "table_queue_age_seconds D U": 403, "table_batches_waiting D U": 444_400, "table_held D U": 0,
		"table_records_waiting D V": 301, "table_payload_waiting_bytes D V": 302, "table_queue_age_seconds D V": 303, "table_batches_waiting D V": 333_300, "table_held D V": 1,
		"attempts_ended_total accepted": 1, "attempts_ended_total throttled": 4, "events_folded_total": 42, "table_records_settled_total D T dropped": 6,
	}
	m := telemetry.New(&telemetry.Options{Spool: "edge"})
	m.Watch(source{st})
	m.Observe(engine.AttemptEnded{Outcome: "accepted"})
	m.Observe(engine.EventsFolded{Events: 42, AttemptsEnded: map[string]int64{"throttled": 4}})
	m.Observe(engine.BatchSettled{Batch: ingest.Batch{First: 1, Last: 6, Properties: ingest.Properties{Database: "D", Table: "T"}}, State: ingest.Dropped})
	got := func() map[string]float64 {
		out := map[string]float64{}
		for _, s := range m.Collect() {
			for _, p := range s.Points {
				if p.Buckets == nil && s.Name != "kustospool.build.info" {
					out[strings.TrimPrefix(strings.Join(append([]string{s.Prometheus()}, p.Labels[1:]...), " "), "kustospool_")] = p.Value
				}
			}
		}
		return out
	}
	differ := func(want map[string]float64) {
		t.Helper()
		all := got()
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if v, ok := all[name]; !ok || v != want[name] {
				t.Errorf("%s is %v (%v), want %v", name, v, ok, want[name])
			}
			delete(all, name)
		}
		if len(all) > 0 {
			t.Errorf("not looked at: %v", all)
		}
	}
	differ(want)

	// In trouble two of them are others, and the lag promises nothing.
	st.Failed, st.Unhealthy = engine.ErrFailed, &ingest.Failure{At: at.Add(-time.Minute)}
	m.Watch(source{st})
	want["spool_failed"], want["destination_failing_seconds"] = 1, 60
	delete(want, "queue_lag_seconds")
	differ(want)
}
