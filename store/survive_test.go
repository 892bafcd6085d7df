package store_test

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"kustospool/ingest"
	"kustospool/store"
)

func balance(s *store.Store) {
	st := s.Stats()
	if st.Acked != st.Open+st.Sealed+st.Ingested+st.Skipped+st.HandedOver+st.DeadLettered+st.Dropped {
		must(fmt.Errorf("books do not balance: %+v", st))
	}
}

func drainAround(s *store.Store) {
	var seals []store.Seal
	for f, err := range s.Unsealed() {
		must(err)
		seals = append(seals, store.Seal{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
	}
	_, err := s.Seal(ctx, seals)
	must(err)
	for live := s.Live(); len(live) > 0; live = s.Live() {
		for _, e := range live {
			deliver(s, e)
		}
	}
}

// deliver ends a batch, or cuts the damage out of it.
func deliver(s *store.Store, e store.Entry) {
	r := s.Payload(&e.Batch).Open()
	data, err := io.ReadAll(r)
	r.Close()
	var damage *store.CorruptionError
	if errors.As(err, &damage) {
		var cuts []uint64
		for _, c := range []uint64{damage.First, damage.Last + 1} {
			if c > e.Batch.First && c <= e.Batch.Last {
				cuts = append(cuts, c)
			}
		}
		if len(cuts) > 0 {
			_, err = s.Split(ctx, e.Batch.ID, ingest.Sealed, cuts, nil)
		} else {
			_, err = s.DeadLetter(ctx, e.Batch.ID, ingest.Sealed, &ingest.Failure{Class: "damaged"})
		}
		must(err)
		return
	}
	must(err)
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if int64(len(lines)) != e.Batch.Records() {
		must(fmt.Errorf("%d lines for %d records", len(lines), e.Batch.Records()))
	}
	for i, l := range lines {
		fmt.Println("got", e.Batch.Lane, e.Batch.First+uint64(i), l)
	}
	_, err = s.Transition(ctx, e.Batch.ID, ingest.Sealed, func(e *store.Entry) { e.State = ingest.Sending })
	must(err)
	_, err = s.Transition(ctx, e.Batch.ID, ingest.Sending, func(e *store.Entry) { e.State = ingest.Succeeded })
	must(err)
}
