// Package telemetry makes the records that the examples, the command's tests
// and the benchmarks send: readings of a small fleet of ships, one JSON
// document a line, with nested objects, arrays, text of many scripts, numbers
// beyond 2^53 and absent values.
//
// The same seed gives the same bytes on every platform: all values come from
// integer arithmetic on a PCG sequence and no float is ever rounded. There is
// no I/O, no clock and no error. The records are made up; the package does
// not try to be a load model of any real fleet.
package telemetry

import (
	"io"
	"math/rand/v2"
	"strconv"
	"time"
)

// Seed and Records are what testdata/telemetry.jsonl was made with.
const (
	Seed    = 20261103
	Records = 52_000
)

// start is the time of the first record.
var start = time.Date(2026, time.November, 3, 4, 5, 6, 0, time.UTC)

// Generator makes records one after the other. It is not safe for two
// goroutines at once.
type Generator struct {
	rnd  *rand.Rand
	at   time.Time
	next int64
	ship []vessel
}

// vessel is the slowly moving part of a record. Positions are in
// micro-degrees, temperatures in hundredths of a degree.
type vessel struct {
	name, flag  string
	imo         int
	lat, lon    int64
	temperature int64
	rpm         int64
}

var names = []struct{ name, flag string }{
	{"Nordlicht", "DE"}, {"Žemyna", "LT"}, {"Ægir", "DK"}, {"海燕号", "CN"}, {"さくら丸", "JP"},
	{"Αργώ", "GR"}, {"Чайка", "BG"}, {"نجمة البحر", "EG"}, {"Saint-Malo", "FR"}, {"İstanbul Ekspres", "TR"},
	{"Ñandú", "AR"}, {"한라", "KR"},
}

// notes are free text that is awkward somewhere: quotes, escapes, right to
// left, combining marks, surrogate pairs, a line separator inside a string.
var notes = []string{
	`Öldruck zu niedrig, Filter wechseln`,
	`crew reports \"knocking\" at 60 % load`,
	`path C:\\logs\\engine\\2026`,
	`تم فحص المضخة`,
	`点検済み🔧 異常なし`,
	`tab\there, newline\nthere`,
	`cafe\u0301 closed; cafés open`,
	`🚢🌊 high swell`,
	`line\u2028separator`,
	``,
	`Ελέγχθηκε ✓`,
	`<b>not html</b> & 'not sql'; --`,
}

var events = []string{"bilge", "door", "fire", "gps", "nav", "power"}

// New starts a sequence. Equal seeds give equal sequences.
func New(seed uint64) *Generator {
	g := &Generator{rnd: rand.New(rand.NewPCG(seed, 0x6b7573746f)), at: start}
	for i, n := range names {
		g.ship = append(g.ship, vessel{name: n.name, flag: n.flag, imo: 9_100_000 + 7919*i,
			lat: g.between(-60_000_000, 65_000_000), lon: g.between(-179_000_000, 179_000_000),
			temperature: g.between(6_000, 8_500), rpm: g.between(400, 1_800)})
	}
	return g
}

// Append adds the next record to b, without a line ending.
func (g *Generator) Append(b []byte) []byte {
	i := g.rnd.IntN(len(g.ship))
	v := &g.ship[i]
	g.at = g.at.Add(time.Duration(g.between(1, 900)) * time.Millisecond)
	v.lat = wrap(v.lat+g.between(-2_000, 2_000), 80_000_000)
	v.lon = wrap(v.lon+g.between(-2_000, 2_000), 179_999_999)
	v.temperature = clamp(v.temperature+g.between(-40, 40), -500, 11_000)
	v.rpm = clamp(v.rpm+g.between(-25, 25), 0, 2_400)
	seq := g.next
	g.next++

	b = append(b, `{"seq":`...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, `,"at":"`...)
	b = g.at.AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `","vessel":{"imo":`...)
	b = strconv.AppendInt(b, int64(v.imo), 10)
	b = append(b, `,"name":"`...)
	b = append(b, v.name...)
	b = append(b, `","flag":"`...)
	b = append(b, v.flag...)
	b = append(b, `"},"position":[`...)
	b = appendFixed(b, v.lat, 6)
	b = append(b, ',')
	b = appendFixed(b, v.lon, 6)
	b = append(b, `],"engine":{"rpm":`...)
	b = strconv.AppendInt(b, v.rpm, 10)
	b = append(b, `,"coolant":`...)
	b = appendFixed(b, v.temperature, 2)
	b = append(b, `,"cylinders":[`...)
	for c := range 4 {
		if c > 0 {
			b = append(b, ',')
		}
		b = appendFixed(b, v.temperature*4+g.between(-900, 900), 2)
	}
	// Odometers of the hull count in nanometres, past what a float64 holds.
	b = append(b, `],"odometer":`...)
	b = strconv.AppendInt(b, 9_007_199_254_740_993+seq*1_000_003, 10)
	b = append(b, `},"ok":`...)
	b = strconv.AppendBool(b, g.rnd.IntN(50) != 0)
	switch g.rnd.IntN(10) {
	case 0:
		b = append(b, `,"note":"`...)
		b = append(b, notes[g.rnd.IntN(len(notes))]...)
		b = append(b, '"')
	case 1:
		b = append(b, `,"note":null`...)
	case 2:
		b = g.appendEvents(b)
	}
	return append(b, '}')
}

// appendEvents adds an array of up to three objects, which may be empty.
func (g *Generator) appendEvents(b []byte) []byte {
	b = append(b, `,"events":[`...)
	for e := range g.rnd.IntN(4) {
		if e > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"kind":"`...)
		b = append(b, events[g.rnd.IntN(len(events))]...)
		b = append(b, `","level":`...)
		b = strconv.AppendInt(b, g.between(-1, 5), 10)
		b = append(b, `,"data":{}}`...)
	}
	return append(b, ']')
}

// Write writes n records, each with a line ending.
func (g *Generator) Write(w io.Writer, n int) error {
	var line []byte
	for range n {
		line = append(g.Append(line[:0]), '\n')
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// between is uniform from low to high, both included.
func (g *Generator) between(low, high int64) int64 { return low + g.rnd.Int64N(high-low+1) }

func clamp(v, low, high int64) int64 { return min(max(v, low), high) }

// wrap turns a ship around at the edge of the map.
func wrap(v, limit int64) int64 {
	if v > limit || v < -limit {
		return -v
	}
	return v
}

// appendFixed writes v with the given number of decimals, as a JSON number.
func appendFixed(b []byte, v int64, decimals int) []byte {
	if v < 0 {
		b, v = append(b, '-'), -v
	}
	unit := int64(1)
	for range decimals {
		unit *= 10
	}
	b = append(strconv.AppendInt(b, v/unit, 10), '.')
	for f := unit / 10; f > 0; f /= 10 {
		b = append(b, byte('0'+v/f%10))
	}
	return b
}
