// Package prometheus writes the metrics of spools in Prometheus's text format
// 0.0.4, which everything that scrapes can read.
//
// The format is a hundred lines, so it is written here: the client library would
// bring a registry and protocol buffers for values that are collected already.
//
// # Promise
//
// Each scrape is a snapshot of its own: what [telemetry.Meter] says of one moment is
// of one moment here.
//
// # Failure
//
// [Handler] answers 405 to what is neither GET nor HEAD, and ends a scrape whose reader
// has gone without a word. A meter that watches no spool yet has no lines.
//
// # What it does not do
//
// It keeps nothing between scrapes. It has no TLS and asks nobody who they are: that is
// the server's that it is put into. Names of tables are in the text.
package prometheus

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"kustospool/telemetry"
)

// ContentType is that of the text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Handler answers each GET with the values of this moment, of all meters
// together: give the spools of one program different names
// ([telemetry.Options].Spool), or none.
func Handler(meters ...*telemetry.Meter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", ContentType)
		_ = Write(w, meters...) // whoever asked has gone
	})
}

// Write writes the values of this moment. Its error is w's.
func Write(w io.Writer, meters ...*telemetry.Meter) error {
	collected := make([][]telemetry.Series, len(meters))
	for i, m := range meters {
		collected[i] = m.Collect()
	}
	return WriteSeries(w, collected...)
}

// WriteSeries writes what was collected. Each is all that one meter collects.
func WriteSeries(w io.Writer, collected ...[]telemetry.Series) error {
	out := bufio.NewWriterSize(w, 64<<10)
	for i, in := range telemetry.Instruments() {
		name, first := in.Prometheus(), true
		for _, all := range collected {
			for j := range all[i].Points {
				if first {
					first = false
					fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, helpText.Replace(in.Help), name, in.Kind)
				}
				writePoint(out, in, name, &all[i].Points[j])
			}
		}
	}
	return out.Flush()
}

// helpText and labelText escape what the format gives a meaning.
var (
	helpText  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func writePoint(out *bufio.Writer, in *telemetry.Instrument, name string, p *telemetry.Point) {
	if p.Buckets == nil {
		writeSample(out, in, name, p, "", p.Value)
		return
	}
	sum := int64(0)
	for i, n := range p.Buckets.Counts {
		sum += n
		le := math.Inf(1)
		if i < len(p.Buckets.Bounds) {
			le = p.Buckets.Bounds[i]
		}
		writeSample(out, in, name+"_bucket", p, number(le), float64(sum))
	}
	writeSample(out, in, name+"_sum", p, "", p.Buckets.Sum)
	writeSample(out, in, name+"_count", p, "", float64(sum))
}

func writeSample(out *bufio.Writer, in *telemetry.Instrument, name string, p *telemetry.Point, le string, v float64) {
	out.WriteString(name)
	out.WriteString(`{spool="`)
	labelText.WriteString(out, p.Labels[0])
	for i, key := range in.Labels {
		out.WriteString(`",`)
		out.WriteString(key)
		out.WriteString(`="`)
		labelText.WriteString(out, strings.ToValidUTF8(p.Labels[i+1], "\uFFFD"))
	}
	if le != "" {
		out.WriteString(`",le="`)
		out.WriteString(le)
	}
	out.WriteString(`"} `)
	out.WriteString(number(v))
	out.WriteByte('\n')
}

// number is a value as short as it can be without a loss: counts without an
// exponent.
func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
