package store

import (
	"fmt"

	"kustospool/ingest"
)

// retryDead appends a record in place of a dead letter, with the mark that it is
// there, and takes the dead letter away. From the commit on it is none any more,
// whatever comes between. What an earlier process could not end is ended first, as the engine does.
func (h *history) retryDead(p place, id ingest.BatchID) error {
	if err := h.endRetries(); err != nil || h.over() {
		return err
	}
	h.unique++
	rec := wanted{lane: p.lane, data: fmt.Sprintf("{%d.%d}", h.seed, h.unique)}
	done := func(w *world) []Appended {
		delete(w.dead, p)
		return w.add([]wanted{rec}, nil)
	}
	got, err := h.s.AppendWith(ctx, []Record{{Lane: h.w.lanes[rec.lane].no, Data: []byte(rec.data)}}, []Position{DeadLetterMark(id)})
	if err != nil {
		return h.outcome("retry of a dead letter", err, func(w *world) { done(w) })
	}
	h.note("dead letter %v is retried: %v", p, got)
	if err := h.answered(done(h.w), got); err != nil || h.unique%4 == 0 {
		return err
	}
	return h.endRetry(id)
}

func (h *history) endRetries() error {
	for _, id := range h.s.RetriedDeadLetters() {
		if err := h.endRetry(id); err != nil || h.over() {
			return err
		}
	}
	return nil
}

func (h *history) endRetry(id ingest.BatchID) error {
	err := h.s.EndRetry(ctx, id)
	h.note("end of the retry of %s: %v", id, err)
	if err == nil || h.rig.fs.Off() {
		return nil
	}
	return h.refused("end of a retry", err)
}
