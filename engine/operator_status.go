package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"kustospool/engine/internal/answers"
	"kustospool/operate"
)

// Status tells what the spool holds, since when, and why.
func (o *operator) Status(ctx context.Context, q operate.StatusQuery) (*operate.Status, error) {
	most, err := answers.Limit("limit", q.Limit, operate.DefaultListed, operate.MaxListed)
	if err != nil {
		return nil, err
	}
	n := o.stats()
	out := &operate.Status{Spool: o.books.Dir(), ID: n.Spool.String(), At: n.At.UTC(), InUse: o.inUse, Unhealthy: n.Unhealthy,
		Lanes: []operate.Lane{}, Batches: []operate.Batch{}, Dead: []operate.Batch{}, Quarantine: []operate.File{}, Cut: map[string]int{},
		Counters: operate.Counters{
			Acked: n.Acked, Open: n.Waiting.Open, Sealed: n.Waiting.Records - n.Waiting.Open, Ingested: n.Settled.Ingested + n.Settled.Skipped,
			Skipped: n.Settled.Skipped, HandedOver: n.Settled.HandedOver, DeadLettered: n.Settled.DeadLettered, Dropped: n.Settled.Dropped,
			PossibleDuplicates: n.Duplicates.Possible, AvoidedByKey: n.Duplicates.AvoidedByKey, RawBytes: n.RawBytes, CompressedBytes: n.WireBytes,
			DiskBytes: n.Disk.Bytes, QuotaBytes: n.Disk.Quota, FreeBytes: n.Disk.Free, Damaged: n.Disk.Damaged,
			Oldest: n.Waiting.Oldest, OldestSeconds: n.Waiting.Age.Seconds(), WaitingBytes: n.Waiting.Bytes, WaitingForRoom: n.WaitingForRoom,
			DeadWaiting: n.DeadLetters.Waiting, DeadHandled: n.DeadLetters.Handled, Attempts: n.Attempts,
		}}
	if n.Failed != nil {
		out.Failed = n.Failed.Error()
	}
	for i := range n.Paused {
		out.Paused = append(out.Paused, *pausedOf(&n.Paused[i]))
	}
	if o.inUse {
		out.Rate, out.TimeToEmpty = rateOf(n.Rate, n.TimeToEmpty, n.Unhealthy != nil || n.Failed != nil)
	}
	cut := func(list string, more int) {
		if more > 0 {
			out.Cut[list] = more
		}
	}
	lanes := n.Backlogged()
	slices.SortStableFunc(lanes, func(a, b LaneStats) int { return cmp.Compare(b.Waiting.Age, a.Waiting.Age) })
	for _, l := range lanes {
		out.Lanes = append(out.Lanes, o.laneOf(&l, n.Failed != nil))
	}
	live, all := o.books.FirstLive(most)
	cut("batches", all-len(live))
	for _, e := range live {
		shown := o.shown(e)
		out.Batches = append(out.Batches, answers.Batch(&shown))
	}
	for e, err := range o.books.DeadLetters() {
		if err == nil {
			err = ctx.Err()
		}
		if len(out.Dead) == most {
			break
		}
		if err != nil {
			out.Found = append(out.Found, "a dead letter cannot be read: "+err.Error())
			if len(out.Found) == most {
				break
			}
			continue
		}
		out.Dead = append(out.Dead, answers.Batch(&e.Entry))
	}
	cut("dead_letters", int(n.DeadLetters.Waiting)-len(out.Dead)-len(out.Found))
	files, err := o.books.Quarantine()
	if err != nil {
		out.Found = append(out.Found, "the quarantine cannot be read: "+err.Error())
	}
	out.Counters.QuarantinedFiles = len(files)
	cut("quarantine", len(files)-most)
	for i, f := range files {
		out.Counters.QuarantinedBytes += f.Bytes
		if i < most {
			out.Quarantine = append(out.Quarantine, operate.File{Name: f.Name, Bytes: f.Bytes, At: f.At})
		}
	}
	out.Troubles = operate.Diagnose(out) // of all tables, also those that are not listed
	cut("lanes", len(out.Lanes)-operate.MaxListed)
	out.Lanes = out.Lanes[:min(len(out.Lanes), operate.MaxListed)]
	return out, ctx.Err()
}

func (o *operator) laneOf(l *LaneStats, failed bool) operate.Lane {
	p := &l.Properties
	out := operate.Lane{Lane: l.Lane, Database: p.Database, Table: p.Table, Format: string(p.Format), Blobs: p.ByReference,
		Open: l.Waiting.Open, Batches: l.Batches.Live(), Records: l.Waiting.Records - l.Waiting.Open, RawBytes: l.Waiting.Bytes,
		Oldest: l.Waiting.Oldest, OldestSeconds: l.Waiting.Age.Seconds(), Held: l.Held, Next: l.Next, Failure: l.Failure,
		Awaited: l.Batches.Accepted + l.Batches.Unknown, Unhealthy: l.Unhealthy}
	if p.ByReference {
		out.RawBytes = 0 // that of the addresses
	}
	if l.Paused != nil {
		out.Paused = pausedOf(l.Paused)
	}
	if o.inUse {
		out.Rate, out.TimeToEmpty = rateOf(l.Rate, l.TimeToEmpty, failed || l.Held || l.Paused != nil || l.Failure != nil || l.Unhealthy != "")
	}
	return out
}

// rateOf is a rate, and how long what waits takes at it. The rate is that of ten
// minutes: of what stands still now, with something waiting, it would promise an end.
func rateOf(r Rate, toEmpty func() (time.Duration, bool), still bool) (*operate.Rate, *float64) {
	rate := &operate.Rate{Records: r.Records, Bytes: r.Bytes}
	if d, ok := toEmpty(); ok && (d == 0 || !still) {
		seconds := d.Seconds()
		return rate, &seconds
	}
	return rate, nil
}
