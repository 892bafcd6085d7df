// Command gen writes the example data, testdata/telemetry.jsonl, to standard
// output. Its result never changes; a test of cmd/bench/telemetry compares it
// with the committed file.
//
//	go run ./testdata/gen > testdata/telemetry.jsonl
package main

import (
	"bufio"
	"fmt"
	"os"

	"kustospool/cmd/bench/telemetry"
)

func main() {
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	err := telemetry.New(telemetry.Seed).Write(w, telemetry.Records)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
