package load

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// Heading writes the configuration lines by which benchstat groups results.
// pkg is the import path that they are shown under.
func Heading(w io.Writer, pkg string) error {
	_, err := fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: %s\n", runtime.GOOS, runtime.GOARCH, pkg)
	return err
}

// Print writes the result as one line of Go's benchmark format
// (golang.org/design/14313-benchmark-format). name is what follows
// "Benchmark", in parts of the form key=value.
func (r Result) Print(w io.Writer, name ...string) error {
	var perOp, rate float64
	if r.N > 0 {
		perOp = float64(r.Elapsed.Nanoseconds()) / float64(r.N)
	}
	if r.Elapsed > 0 {
		rate = float64(r.Bytes) / 1e6 / r.Elapsed.Seconds()
	}
	_, err := fmt.Fprintf(w, "Benchmark%s-%d\t%8d\t%10.0f ns/op\t%8.2f MB/s\t%10.0f acks/s\t%8.1f p50-us\t%8.1f p99-us\t%8.1f p999-us\t%8.1f max-us\n",
		strings.Join(name, "/"), runtime.GOMAXPROCS(0), r.N, perOp, rate, r.PerSecond(),
		micros(r.P50), micros(r.P99), micros(r.P999), micros(r.Max))
	return err
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
