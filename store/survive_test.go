package store_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"kustospool/ingest"
	"kustospool/store"
)

func init() {
	childJobs["survive"] = survive
	childJobs["die"] = die
}

// die opens a spool, appends to it, and is killed with it open.
func die(dir string) {
	s, err := store.Open(dir, store.Manual(crashOptions()))
	must(err)
	for i := range 40 {
		lane := s.Lanes()[i%2]
		data := fmt.Sprintf("last%d-%s", i, strings.Repeat("w", 50*i))
		a, err := s.AppendOne(ctx, lane, []byte(data), "")
		must(err)
		fmt.Println(ack{lane, a.Seq, data})
	}
	p, _ := os.FindProcess(os.Getpid())
	_ = p.Kill()
	select {}
}

// survive opens a damaged spool as an engine would: appends, seals, reads
// around the damage, settles and dead-letters everything.
func survive(dir string) {
	opts := crashOptions()
	opts.NoSync = true // this child is not killed
	limitProcessor(60)
	s, err := store.Open(dir, opts)
	must(err)
	fmt.Println("opened", processorTime().Milliseconds())
	balance(s)
	for _, p := range s.Positions() {
		fmt.Printf("position %s %s\n", p.Name, p.Value)
	}
	must(filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			fmt.Println("file", filepath.ToSlash(rel))
		}
		return nil
	}))
	for _, lane := range s.Lanes() {
		a, err := s.AppendOne(ctx, lane, []byte("after"), "")
		if errors.Is(err, store.ErrExhausted) {
			continue // somebody has seen to it; see TestHostile
		}
		must(err)
		fmt.Println(ack{lane, a.Seq, "after"})
	}
	for _, err := range s.DeadLetters() {
		_ = err // told, and no reason to stop
	}
	drainAround(s)
	balance(s)
	if n := len(s.Live()); n != 0 || s.Stats().Open != 0 {
		must(fmt.Errorf("%d batches live, %d records open after the drain", n, s.Stats().Open))
	}
	before := s.Stats()
	must(s.Close())
	s, err = store.Open(dir, opts)
	must(err)
	balance(s)
	after := s.Stats()
	if before.Damaged != after.Damaged || before.Suspect != after.Suspect || before.Acked != after.Acked {
		must(fmt.Errorf("the second open found it otherwise: %+v, then %+v", before, after))
	}
	must(s.Close())
	fmt.Println("peak", peakMemory())
	fmt.Println("stats", after.Damaged, after.Suspect, after.DeadLettered)
}

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
			if e.State == ingest.Sealed {
				e, err = s.Transition(ctx, e.Batch.ID, e.State, func(e *store.Entry) { e.State = ingest.Sending })
				must(err)
			}
			_, err = s.Split(ctx, e.Batch.ID, e.State, cuts, nil)
		} else {
			_, err = s.DeadLetter(ctx, e.Batch.ID, e.State, &ingest.Failure{Class: "damaged"})
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

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
