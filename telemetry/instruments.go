package telemetry

import (
	"slices"
	"strings"
)

// Kind is how the values of an instrument are to be read.
type Kind uint8

// The kinds.
const (
	Counter   Kind = iota + 1 // only grows; of the spool's life or, where Help says so, of the process
	Gauge                     // goes up and down
	Histogram                 // counts of times in buckets, of the process
)

// String is the kind in Prometheus's words.
func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Histogram:
		return "histogram"
	}
	return "unknown"
}

// Instrument is one row of the table. It must not be changed.
type Instrument struct {
	// Name is OpenTelemetry's: lower case, with points. [Instrument.Prometheus] is
	// the other one.
	Name string
	// Unit is in UCUM: "s", "By", or a noun in braces for what is counted. None is "1",
	// of which a collector makes the suffix _ratio.
	Unit string
	Kind Kind
	// Labels are the keys of its attributes, beside "spool", which all have.
	Labels []string
	Help   string // what it means
	Do     string // what to do about it, and when
	// Bounds are a histogram's upper bounds, in seconds.
	Bounds []float64
}

// Prometheus is the name in a scrape, made by the rules by which OpenTelemetry's
// names become Prometheus's: points are underscores, a unit of seconds or bytes is
// a suffix, and a counter ends in _total. So a scrape and what arrives by way of an
// OpenTelemetry collector have the same names.
func (in *Instrument) Prometheus() string {
	name := strings.ReplaceAll(in.Name, ".", "_")
	switch in.Unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	}
	if in.Kind == Counter {
		name += "_total"
	}
	return name
}

// Instruments lists the table. Its order, and the labels' order, is that of
// [Meter.Collect].
func Instruments() []*Instrument {
	out := make([]*Instrument, len(rows))
	for i := range rows {
		out[i] = &rows[i].Instrument
	}
	return out
}

// callBounds are engine.DurationBounds in seconds; attempts and deliveries take longer.
var (
	callBounds     = secondsOf()
	attemptBounds  = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600}
	deliveryBounds = []float64{0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 6 * 3600, 24 * 3600, 72 * 3600}
)

// row is an instrument and where its values come from.
type row struct {
	Instrument
	read func(r *reading, add func(v float64, labels ...string))
	hist func(s *sums) map[string]*Buckets // by the value of its label, if it has one
}

var rows = slices.Concat(spoolRows, batchRows, troubleRows, diskRows, tableRows, timeRows)

var spoolRows = []row{
	{Instrument{Name: "kustospool.records.acknowledged", Unit: "{record}", Kind: Counter,
		Help: "Records that were acknowledged: they were on stable storage when Ingest returned.",
		Do:   "Its rate is the load. Compare it with the rate of kustospool.records.settled: where it is higher for long, the backlog grows."},
		func(r *reading, add adder) { add(float64(r.st.Acked)) }, nil},
	{Instrument{Name: "kustospool.payload.acknowledged", Unit: "By", Kind: Counter,
		Help: "Payload of the records that were acknowledged.",
		Do:   "With kustospool.records.acknowledged it gives the size of a record."},
		func(r *reading, add adder) { add(float64(r.st.AckedBytes)) }, nil},
	{Instrument{Name: "kustospool.records.waiting", Unit: "{record}", Kind: Gauge, Labels: []string{"place"},
		Help: "Records that are acknowledged and not final: in no batch yet (open), or in one (batch).",
		Do:   "acknowledged = waiting + settled, at each scrape. Look at kustospool.queue.age before you worry about a number."},
		func(r *reading, add adder) {
			add(float64(r.st.Waiting.Open), "open")
			add(float64(r.st.Waiting.Records-r.st.Waiting.Open), "batch")
		}, nil},
	{Instrument{Name: "kustospool.payload.waiting", Unit: "By", Kind: Gauge,
		Help: "Payload of the records that wait.",
		Do:   "Compare it with what is left of kustospool.disk.quota."},
		func(r *reading, add adder) { add(float64(r.st.Waiting.Bytes)) }, nil},
	{Instrument{Name: "kustospool.queue.age", Unit: "s", Kind: Gauge,
		Help: "How long ago the oldest record that waits was accepted; 0 where nothing waits.",
		Do:   "Alert on it: it grows by a second a second while nothing is delivered, whatever the load. kustospool.destination.failing, kustospool.tables.held and kustospool.tables.paused say why."},
		func(r *reading, add adder) { add(r.st.Waiting.Age.Seconds()) }, nil},
	{Instrument{Name: "kustospool.queue.lag", Unit: "s", Kind: Gauge,
		Help: "How long the backlog takes at the rate of the last ten minutes. Missing where something waits and nothing was settled in them, or a destination fails now.",
		Do:   "After an outage it says when all is delivered. More senders (Options.Senders) make it shorter where the destination has room."},
		func(r *reading, add adder) {
			stuck := r.st.Unhealthy != nil || r.st.Failed != nil // the rate is of before, and promises an end that is not in sight
			if lag, ok := r.st.TimeToEmpty(); ok && (lag == 0 || !stuck) {
				add(lag.Seconds())
			}
		}, nil},
	{Instrument{Name: "kustospool.records.settled", Unit: "{record}", Kind: Counter, Labels: []string{"result"},
		Help: "Records in a final state: ingested, skipped (the service had them already), handed_over, dead_lettered, dropped.",
		Do:   "dead_lettered and dropped should not grow: look at the dead letters; a spool that drops is too small for its outages."},
		func(r *reading, add adder) {
			s := &r.st.Settled
			addResults(add, s.Ingested, s.Skipped, s.HandedOver, s.DeadLettered, s.Dropped)
		}, nil},
	{Instrument{Name: "kustospool.payload.delivered", Unit: "By", Kind: Counter,
		Help: "Payload of the batches that were delivered.",
		Do:   "Its rate is the throughput."},
		func(r *reading, add adder) { add(float64(r.st.RawBytes)) }, nil},
	{Instrument{Name: "kustospool.wire.delivered", Unit: "By", Kind: Counter,
		Help: "What the delivered batches took on the wire.",
		Do:   "For a metered link. Divided by kustospool.payload.delivered it is what compression leaves."},
		func(r *reading, add adder) { add(float64(r.st.WireBytes)) }, nil},
	{Instrument{Name: "kustospool.duplicates", Unit: "{record}", Kind: Counter, Labels: []string{"kind"},
		Help: "Records that a repeat may have doubled (possible), or would have without the tag of their batch (avoided_by_tag) or the key of the request (avoided_by_key, of the process).",
		Do:   "possible grows with lost replies for tables of the guarantee at-least-once only; for others it is a reason to look at the service's tags."},
		func(r *reading, add adder) {
			d := &r.st.Duplicates
			add(float64(d.Possible), "possible")
			add(float64(d.AvoidedByTag), "avoided_by_tag")
			add(float64(d.AvoidedByKey), "avoided_by_key")
		}, nil},
}

var batchRows = []row{
	{Instrument{Name: "kustospool.batches.waiting", Unit: "{batch}", Kind: Gauge, Labels: []string{"state"},
		Help: "Batches that are not final: sealed, sending, unknown (their attempt may have arrived), accepted (the service has them and has not told the outcome).",
		Do:   "Many sealed: an outage, or too few senders. Many accepted: the service is slow. Many unknown: replies get lost."},
		func(r *reading, add adder) {
			b := &r.st.Batches
			add(float64(b.Sealed), "sealed")
			add(float64(b.Sending), "sending")
			add(float64(b.Unknown), "unknown")
			add(float64(b.Accepted), "accepted")
		}, nil},
	{Instrument{Name: "kustospool.batches.settled", Unit: "{batch}", Kind: Counter, Labels: []string{"result"},
		Help: "Batches by the final state that they reached; split ones were replaced by their parts.",
		Do:   "With kustospool.records.settled it gives the size of a batch: small ones cost the service more (Options.Batch)."},
		func(r *reading, add adder) {
			b := &r.st.SettledBatches
			addResults(add, b.Ingested, b.Skipped, b.HandedOver, b.DeadLettered, b.Dropped)
			add(float64(b.Split), "split")
		}, nil},
	{Instrument{Name: "kustospool.attempts.begun", Unit: "{attempt}", Kind: Counter,
		Help: "Attempts at batches that this process has begun.",
		Do:   "More than one for each batch is repeats: see kustospool.attempts.ended."},
		func(r *reading, add adder) { add(float64(r.st.Attempts)) }, nil},
	{Instrument{Name: "kustospool.attempts.ended", Unit: "{attempt}", Kind: Counter, Labels: []string{"outcome"},
		Help: "Attempts of this process that ended: accepted, ingested, skipped, handed_over, the class of the failure, damaged, cut_off or not_recorded.",
		Do:   "throttled: fewer senders or larger batches. unknown: the network loses replies. malformed and permanent become dead letters."},
		func(r *reading, add adder) {
			for outcome, n := range r.sums.ended {
				add(float64(n), outcome)
			}
		}, nil},
	{Instrument{Name: "kustospool.dead_letters.waiting", Unit: "{dead_letter}", Kind: Gauge,
		Help: "Dead letters in the spool's directory.",
		Do:   "Somebody has to look at each: kustospool status lists them, with the reason."},
		func(r *reading, add adder) { add(float64(r.st.DeadLetters.Waiting)) }, nil},
	{Instrument{Name: "kustospool.dead_letters.handled", Unit: "{dead_letter}", Kind: Counter,
		Help: "Dead letters that were removed from there.",
		Do:   "None; it is the other half of those that were made."},
		func(r *reading, add adder) { add(float64(r.st.DeadLetters.Handled)) }, nil},
}

var troubleRows = []row{
	{Instrument{Name: "kustospool.spool.failed", Unit: "{spool}", Kind: Gauge,
		Help: "1 when a write to the disk has failed and the spool takes and delivers nothing until it is opened again; else 0.",
		Do:   "Alert on it: it does not go on by itself. Look at the disk, then restart the program."},
		func(r *reading, add adder) { add(oneIf(r.st.Failed != nil)) }, nil},
	{Instrument{Name: "kustospool.destination.failing", Unit: "s", Kind: Gauge,
		Help: "For how long a destination has failed in the same way; 0 while all are well.",
		Do:   "Stats.Unhealthy, and the log, have the service's words. Nothing is lost while the spool has room."},
		func(r *reading, add adder) {
			failing := 0.0
			if f := r.st.Unhealthy; f != nil {
				failing = max(r.st.At.Sub(f.Since()).Seconds(), 0.001) // not 0 in its first moment
			}
			add(failing)
		}, nil},
	{Instrument{Name: "kustospool.tables.held", Unit: "{table}", Kind: Gauge,
		Help: "Queues of tables that wait for an operator: the table is missing, or a permission is.",
		Do:   "Create the table, or grant the permission; delivery goes on by itself."},
		func(r *reading, add adder) {
			n := 0
			for i := range r.st.Lanes {
				if r.st.Lanes[i].Held {
					n++
				}
			}
			add(float64(n))
		}, nil},
	{Instrument{Name: "kustospool.tables.paused", Unit: "{table}", Kind: Gauge,
		Help: "Tables that an operator has paused: their records are taken and kept.",
		Do:   "kustospool status says since when and why; kustospool resume ends it."},
		func(r *reading, add adder) { add(float64(len(r.st.Paused))) }, nil},
	{Instrument{Name: "kustospool.calls.waiting_for_room", Unit: "{call}", Kind: Gauge,
		Help: "Calls that found the spool full and wait for room.",
		Do:   "The program stands still: enlarge MaxDiskBytes, or choose another Options.Full."},
		func(r *reading, add adder) { add(float64(r.st.WaitingForRoom)) }, nil},
	{Instrument{Name: "kustospool.transport.figure", Unit: "{figure}", Kind: Gauge, Labels: []string{"name"},
		Help: "What the transport tells of itself (transport.Gauged), by name: a cluster's capacity in use, say.",
		Do:   "See the package of the transport."},
		func(r *reading, add adder) {
			for i, f := range r.st.Transport {
				if i == maxFigures {
					break
				}
				add(float64(f.Value), f.Name)
			}
		}, nil},
	{Instrument{Name: "kustospool.events.folded", Unit: "{event}", Kind: Counter,
		Help: "Events of this process that were only counted, because the observer did not keep up.",
		Do:   "Sums are exact all the same; histograms of attempts and deliveries, results by table and traces miss those. A slow exporter is the cause."},
		func(r *reading, add adder) { add(float64(r.sums.folded)) }, nil},
	{Instrument{Name: "kustospool.build.info", Unit: "{build}", Kind: Gauge, Labels: []string{"version", "go"},
		Help: "Always 1; the labels say which version of the module runs, and which Go built it.",
		Do:   "Join it with others to see which version did what."},
		func(r *reading, add adder) { add(1, r.version, r.goVersion) }, nil},
}

var diskRows = []row{
	{Instrument{Name: "kustospool.disk.used", Unit: "By", Kind: Gauge,
		Help: "Sizes of all files of the spool.",
		Do:   "At kustospool.disk.quota the spool is full and Options.Full decides."},
		func(r *reading, add adder) { add(float64(r.st.Disk.Bytes)) }, nil},
	{Instrument{Name: "kustospool.disk.quota", Unit: "By", Kind: Gauge,
		Help: "Options.MaxDiskBytes.",
		Do:   "Large enough for the longest outage: docs/operations.md."},
		func(r *reading, add adder) { add(float64(r.st.Disk.Quota)) }, nil},
	{Instrument{Name: "kustospool.disk.free", Unit: "By", Kind: Gauge,
		Help: "Room on the volume. Missing where the system does not tell.",
		Do:   "Less than what is left of the quota: the volume will be full first."},
		func(r *reading, add adder) {
			if r.st.Disk.Free >= 0 {
				add(float64(r.st.Disk.Free))
			}
		}, nil},
	{Instrument{Name: "kustospool.disk.written", Unit: "By", Kind: Counter,
		Help: "Bytes that this process wrote to the spool's files.",
		Do:   "For the wear of flash memory. A CommitInterval makes it less."},
		func(r *reading, add adder) { add(float64(r.st.Disk.Written)) }, nil},
	{Instrument{Name: "kustospool.disk.segments", Unit: "{segment}", Kind: Gauge,
		Help: "Segment files of the log.",
		Do:   "None."},
		func(r *reading, add adder) { add(float64(r.st.Disk.Segments)) }, nil},
	{Instrument{Name: "kustospool.disk.damaged", Unit: "{damage}", Kind: Counter,
		Help: "Damage found: files and frames.",
		Do:   "Alert on any. What was damaged is in quarantine/; look at the disk, and run kustospool check."},
		func(r *reading, add adder) { add(float64(r.st.Disk.Damaged)) }, nil},
	{Instrument{Name: "kustospool.disk.suspect", Unit: "{sign}", Kind: Counter,
		Help: "Signs of damage that cannot be told from a torn write.",
		Do:   "One after a power cut is usual. More are a reason for kustospool check."},
		func(r *reading, add adder) { add(float64(r.st.Disk.Suspect)) }, nil},
}

var tableLabels = []string{"database", "table"}

var tableRows = []row{
	{Instrument{Name: "kustospool.table.records.waiting", Unit: "{record}", Kind: Gauge, Labels: tableLabels,
		Help: "Records of the table that wait.",
		Do:   "Which table the backlog is of."},
		func(r *reading, add adder) {
			r.eachTable(func(t *tableSum, db, name string) { add(float64(t.records), db, name) })
		}, nil},
	{Instrument{Name: "kustospool.table.payload.waiting", Unit: "By", Kind: Gauge, Labels: tableLabels,
		Help: "Payload of them.",
		Do:   "Which table takes the disk."},
		func(r *reading, add adder) {
			r.eachTable(func(t *tableSum, db, name string) { add(float64(t.bytes), db, name) })
		}, nil},
	{Instrument{Name: "kustospool.table.batches.waiting", Unit: "{batch}", Kind: Gauge, Labels: tableLabels,
		Help: "Batches of the table that are not final.",
		Do:   "See kustospool.batches.waiting."},
		func(r *reading, add adder) {
			r.eachTable(func(t *tableSum, db, name string) { add(float64(t.batches), db, name) })
		}, nil},
	{Instrument{Name: "kustospool.table.queue.age", Unit: "s", Kind: Gauge, Labels: tableLabels,
		Help: "How long ago the oldest of them was accepted; of the table other, the oldest of all that are in it.",
		Do:   "One table alone: it is held, or its data is refused. All of them: the destination is."},
		func(r *reading, add adder) {
			r.eachTable(func(t *tableSum, db, name string) { add(t.age.Seconds(), db, name) })
		}, nil},
	{Instrument{Name: "kustospool.table.held", Unit: "{queue}", Kind: Gauge, Labels: tableLabels,
		Help: "1 while the table waits for an operator, else 0; of the table other, how many of its queues do.",
		Do:   "See kustospool.tables.held."},
		func(r *reading, add adder) {
			r.eachTable(func(t *tableSum, db, name string) { add(float64(t.held), db, name) })
		}, nil},
	{Instrument{Name: "kustospool.table.records.settled", Unit: "{record}", Kind: Counter, Labels: []string{"database", "table", "result"},
		Help: "Records of the table that reached a final state in this process, as of kustospool.records.settled.",
		Do:   "Its rate is the table's throughput. What kustospool.events.folded counts is missing."},
		func(r *reading, add adder) {
			for of, n := range r.sums.results {
				add(float64(n), of.table.Database, of.table.Table, of.result)
			}
		}, nil},
}

var timeRows = []row{
	{Instrument{Name: "kustospool.call.duration", Unit: "s", Kind: Histogram, Bounds: callBounds,
		Help: "How long calls that stored records took (Ingest and its relatives), the wait for room included; of more than 512 in 20 milliseconds one in 16.",
		Do:   "What the program waits. It is a little more than kustospool.commit.duration; much more is a processor that is busy, or a full spool."},
		nil, func(s *sums) map[string]*Buckets { return map[string]*Buckets{"": &s.calls} }},
	{Instrument{Name: "kustospool.commit.duration", Unit: "s", Kind: Histogram, Bounds: callBounds,
		Help: "How long commits of the log took.",
		Do:   "See kustospool.sync.duration."},
		nil, func(s *sums) map[string]*Buckets { return map[string]*Buckets{"": &s.commits} }},
	{Instrument{Name: "kustospool.sync.duration", Unit: "s", Kind: Histogram, Bounds: callBounds,
		Help: "How much of that was the wait for the disk (fdatasync).",
		Do:   "The disk's, not ours: a slow one, a busy one, or flash memory that is worn."},
		nil, func(s *sums) map[string]*Buckets { return map[string]*Buckets{"": &s.syncs} }},
	{Instrument{Name: "kustospool.room.wait", Unit: "s", Kind: Histogram, Bounds: callBounds,
		Help: "How long calls waited for room in a full spool, those included that got an error in the end.",
		Do:   "Any is a spool that is too small for what it had to hold."},
		nil, func(s *sums) map[string]*Buckets { return map[string]*Buckets{"": &s.room} }},
	{Instrument{Name: "kustospool.attempt.duration", Unit: "s", Kind: Histogram, Labels: []string{"outcome"}, Bounds: attemptBounds,
		Help: "How long attempts took, by outcome as of kustospool.attempts.ended.",
		Do:   "Long ones that are accepted: a slow link, or batches too large for it. Long ones that fail: timeouts."},
		nil, func(s *sums) map[string]*Buckets { return s.attempts }},
	{Instrument{Name: "kustospool.delivery.duration", Unit: "s", Kind: Histogram, Labels: []string{"result"}, Bounds: deliveryBounds,
		Help: "How long after the oldest of its records was accepted a batch became final, downtime included.",
		Do:   "What a reader of the table waits, at most; Options.Batch.MaxAge is part of it, and the service's own batching."},
		nil, func(s *sums) map[string]*Buckets { return s.deliveries }},
}

// oneIf is a condition as a value.
func oneIf(so bool) float64 {
	if so {
		return 1
	}
	return 0
}

// addResults adds what is counted by final state.
func addResults(add adder, ingested, skipped, handedOver, deadLettered, dropped int64) {
	add(float64(ingested), "ingested")
	add(float64(skipped), "skipped")
	add(float64(handedOver), "handed_over")
	add(float64(deadLettered), "dead_lettered")
	add(float64(dropped), "dropped")
}
