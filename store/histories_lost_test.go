package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"kustospool/ingest"
)

// lose ends a history by the loss of the ledger's file. The store must open all
// the same, and must have every record that was not settled, as it was; what
// was settled may come back. Numbers go on behind those that were given.
func (h *history) lose() error {
	h.s.upkeep(h.rng.IntN(10))
	if err := h.fall(); err != nil {
		return err
	}
	h.rig.put(nil)
	h.note("the ledger is lost")
	if err := h.tryOpen(); err != nil {
		return fmt.Errorf("opening without a ledger failed: %w", err)
	}
	st := h.s.Stats()
	if sum := st.Open + st.Sealed + st.Ingested + st.Skipped + st.HandedOver + st.DeadLettered + st.Dropped; sum != st.Acked {
		return fmt.Errorf("without the ledger the books do not balance: %+v", st)
	}
	if err := h.w.checkPositions(h.s); err != nil {
		return fmt.Errorf("without the ledger: %w", err)
	}
	there := map[place]bool{}
	for f, err := range h.s.Unsealed() {
		if err != nil {
			return err
		}
		if err := h.known(f, there); err != nil {
			return err
		}
	}
	for i, l := range h.w.lanes {
		for j, state := range l.state {
			if state == 0 && !there[place{i, uint64(j + 1)}] {
				return fmt.Errorf("record %d of lane %s is lost with the ledger", j+1, l.name)
			}
		}
	}
	for i, l := range h.w.lanes {
		no, err := h.s.Lane(ctx, l.props(), FrameLimit{})
		if err != nil {
			return err
		}
		a, err := h.s.AppendOne(ctx, no, []byte(h.data(10)), "")
		if errors.Is(err, ErrFull) {
			continue // a quota that was reached, or a ballast that was given up
		}
		if err != nil {
			return err
		}
		// A batch is known by its lane and numbers, to the destination too.
		if old := h.w.lane(no); old >= 0 && (old != i || a.Seq <= l.high()) {
			return fmt.Errorf("after the loss of the ledger lane %s is number %d, which it was for %s, and a record gets number %d; it had ended at %d",
				l.name, no, h.w.lanes[old].name, a.Seq, l.high())
		}
	}
	return h.close()
}

// known compares a frame with the records that were stored.
func (h *history) known(f Frame, there map[place]bool) error {
	props, _ := h.s.LaneProperties(f.Lane)
	for i, l := range h.w.lanes {
		if l.props().Key() != props.Key() {
			continue
		}
		if f.Last > l.high() {
			return fmt.Errorf("records %d..%d of lane %s are there, it ended at %d", f.First, f.Last, l.name, l.high())
		}
		r := h.s.Payload(&ingest.Batch{Lane: f.Lane, First: f.First, Last: f.Last, RawBytes: f.Bytes}).Open()
		got, err := io.ReadAll(r)
		if err != nil && l.settled(f.First, f.Last) {
			return r.Close() // its object was given back, and the frame was not yet
		}
		if err != nil || !bytes.Equal(got, l.payload(f.First, f.Last)) {
			return fmt.Errorf("without the ledger records %d..%d of lane %s read %.60q, %w", f.First, f.Last, l.name, got, err)
		}
		if err := r.Close(); err != nil {
			return err
		}
		for seq := f.First; seq <= f.Last; seq++ {
			there[place{i, seq}] = true
		}
		return nil
	}
	return fmt.Errorf("lane %d is of nobody: %+v", f.Lane, props)
}

func (l *laneWorld) settled(first, last uint64) bool {
	return !slices.Contains(l.state[first-1:last], 0)
}
