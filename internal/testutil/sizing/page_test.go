package sizing

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kustospool/batching"
)

var update = flag.Bool("update", false, "write the tables of docs/sizing.md anew")

const page = "../../../docs/sizing.md"

// The tables of the page are what the formulas say:
//
//	go test ./internal/testutil/sizing -run Page -update
func TestPage(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for name, want := range Tables() {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
		before, rest, found := strings.Cut(text, begin)
		have, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("the page has no marks of %s", name)
		}
		if have != want {
			if !*update {
				t.Errorf("the table %s is not what the formulas say: run this test with -update", name)
			}
			text = before + begin + want + end + after
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Numbers that stand in sentences.
	sensor := Devices[0]
	for _, words := range []string{
		fmt.Sprintf("%.0f concurrent ingestions", Capacity()),
		fmt.Sprintf("%s batches", count(MergedTags())),
		fmt.Sprintf("%d bytes of the device", BatchWritten),
		fmt.Sprintf("%d bytes of memory", BatchMemory),
		fmt.Sprintf("%d of `manifest.db`", BatchBooks),
		fmt.Sprintf("%d + %d bytes", CommitBytes, FrameBytes),
		fmt.Sprintf("%s a day", size(sensor.Batches(day, time.Minute)*BatchWritten)),
		fmt.Sprintf("%.1f%% of what a sensor writes", 100*sensor.Batches(day, time.Minute)*BatchWritten/sensor.Written(time.Minute, 0)),
		fmt.Sprintf("%s of a machine's records take %s", size(AdvisedBatch), span(time.Duration(AdvisedBatch/Devices[1].Payload(time.Second)*float64(time.Second)))),
		fmt.Sprintf("%d MiB and %s", batching.DefaultMaxBytes>>20, span(batching.DefaultMaxAge)),
	} {
		if !strings.Contains(text, words) {
			t.Errorf("the page does not say %q", words)
		}
	}
}

// The formula of what a commit writes holds against what docs/benchmarks.md
// measured on a device, recycled space: lone records of 1 KiB and of 65 bytes, and
// 64 and 1024 of 1 KiB together.
func TestWrittenAsMeasured(t *testing.T) {
	for _, c := range []struct {
		record   int
		together float64
		measured float64 // bytes on the device for each of payload
	}{{1024, 1, 5.21}, {65, 1, 67.3}, {1024, 64, 1.08}, {1024, 1024, 1.01}} {
		d := Device{"", 1, c.record, c.together}
		got := (d.Written(day, 0) - d.Batches(day, day)*BatchWritten) / d.Payload(day)
		if got < 0.95*c.measured || got > 1.05*c.measured {
			t.Errorf("%d bytes, %g together: %.2f, measured %.2f", c.record, c.together, got, c.measured)
		}
	}
}
