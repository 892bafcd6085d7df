package engine

import (
	"reflect"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/store"
)

// TestEachFigureIsThatOfTheBooks: of books in which no two figures are the same, each is
// under its own name.
func TestEachFigureIsThatOfTheBooks(t *testing.T) {
	oldest := time.Now().Add(-time.Hour)
	p := &ingest.Properties{Database: "D", Table: "T"}
	got := statsOf(store.Stats{Acked: 1, AckedBytes: 2, Open: 3, Sealed: 4, Ingested: 5, Skipped: 6, HandedOver: 7, DeadLettered: 8, Dropped: 9,
		BatchesLive: 10, BatchesIngested: 11, BatchesSkipped: 12, BatchesHandedOver: 13, BatchesSplit: 14, BatchesDeadLettered: 15, BatchesDropped: 16,
		RawBytes: 17, WireBytes: 18, PossibleDuplicates: 19, DiskBytes: 20, MaxBytes: 21, Segments: 22, Damaged: 23, Suspect: 24},
		[]store.LaneStats{{Lane: 25, Properties: p, Open: 26, OpenBytes: 27, Live: store.LiveBatches{Sealed: 28, Sending: 29, Unknown: 30, Accepted: 31}, Sealed: 32, SealedBytes: 33, Oldest: oldest}})
	if age := got.Waiting.Age; age < time.Hour || age > 2*time.Hour || got.Lanes[0].Waiting.Age != age {
		t.Errorf("ages %v and %v", age, got.Lanes[0].Waiting.Age)
	}
	got.At, got.Waiting.Age, got.Lanes[0].Waiting.Age = time.Time{}, 0, 0
	batches := Batches{Sealed: 28, Sending: 29, Unknown: 30, Accepted: 31}
	want := Stats{Acked: 1, AckedBytes: 2, Waiting: Backlog{Records: 3 + 4, Open: 3, Bytes: 27 + 33, Oldest: oldest}, Batches: batches,
		Settled:        Settled{Ingested: 5, Skipped: 6, HandedOver: 7, DeadLettered: 8, Dropped: 9},
		SettledBatches: SettledBatches{Ingested: 11, Skipped: 12, HandedOver: 13, Split: 14, DeadLettered: 15, Dropped: 16},
		RawBytes:       17, WireBytes: 18, Duplicates: Duplicates{Possible: 19, AvoidedByTag: 6},
		Disk:  DiskStats{Bytes: 20, Segments: 22, Damaged: 23, Suspect: 24},
		Lanes: []LaneStats{{Lane: 25, Properties: *p, Batches: batches, Waiting: Backlog{Records: 26 + 32, Open: 26, Bytes: 27 + 33, Oldest: oldest}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
