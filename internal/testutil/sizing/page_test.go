package sizing

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"kustospool/batching"
)

var update = flag.Bool("update", false, "write the tables of docs/sizing.md anew")

const (
	page     = "../../../docs/sizing.md"
	measured = "../../../docs/benchmarks/2026-11-27.txt"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

// The tables of the page are what the formulas say:
//
//	go test ./internal/testutil/sizing -run Page -update
func TestPage(t *testing.T) {
	text := readFile(t, page)
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
		fmt.Sprintf("%d MiB of heap", BaseMemory>>20),
		fmt.Sprintf("%d MiB for each upload", UploadMemory>>20),
		fmt.Sprintf("`Senders: 1` saves %d MiB", (Senders-1)*UploadMemory>>20),
		fmt.Sprintf("%d MiB is the least", int(Device{Rate: 1e-9, Record: 1, Together: 1}.Quota(day))>>20),
		fmt.Sprintf("reserve of %d MiB", Reserve>>20),
		fmt.Sprintf("whole pages of %d KiB", PageBytes>>10),
		fmt.Sprintf("A cluster of %d nodes with %d cores", Nodes, Cores),
		fmt.Sprintf("the example of the command %g and %d", CoreUtilization, MaxIngestions),
		fmt.Sprintf("| %.0f MB to 1 GB |", AdvisedBatch/1e6),
		fmt.Sprintf("%d GB, %d blobs or %.0f minutes", ServiceBatchBytes>>30, ServiceBatchBlobs, ServiceBatchAge.Minutes()),
		fmt.Sprintf("| %s; 20,000 |", count(QueueMessages)),
		fmt.Sprintf("%.0f million characters", TagCharacters/1e6),
		fmt.Sprintf("%d MiB and %s", batching.DefaultMaxBytes>>20, span(batching.DefaultMaxAge)),
	} {
		if !strings.Contains(text, words) {
			t.Errorf("the page does not say %q", words)
		}
	}
}

// The formula of what a commit writes is below what the quietest of the recorded rounds
// put on a device, recycled space, by no more than an eighth: what else writes there is
// counted too, the books and the file system's journal among it. The page has both.
func TestWrittenAsMeasured(t *testing.T) {
	recorded, text := readFile(t, measured), readFile(t, page)
	var formula, least []string
	for _, c := range []struct {
		record   int
		together float64
	}{{1024, 1}, {65, 1}, {1024, 64}, {1024, 1024}} {
		d := Device{"", 1, c.record, c.together}
		got := (d.Written(day, 0) - d.Batches(day, day)*BatchWritten) / d.Payload(day)
		want := leastWear(t, recorded, c.record, int(c.together))
		if got > want || got < want*7/8 {
			t.Errorf("%d bytes, %g together: %.2f, measured %.2f", c.record, c.together, got, want)
		}
		formula, least = append(formula, small(got)), append(least, small(want))
	}
	for _, words := range []string{list(formula), list(least), fmt.Sprintf("20 GiB waiting: %.1f)", figure(t, recorded, `peak heap with backlog=21474836480, producers=1024, in MiB .* MiB ([\d.]+) /`))} {
		if !strings.Contains(text, words) {
			t.Errorf("the page does not say %q", words)
		}
	}
}

func list(s []string) string {
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}

// leastWear is the least of the rounds, in bytes on the device for each of payload.
func leastWear(t *testing.T, recorded string, record, producers int) float64 {
	t.Helper()
	least := math.Inf(1)
	line := regexp.MustCompile(fmt.Sprintf(`BenchmarkWear/of=engine/space=recycled/record=%d/producers=%d-.*\s([\d.]+) device-B/B`, record, producers))
	rounds := line.FindAllString(recorded, -1)
	if len(rounds) < 5 {
		t.Fatalf("%d rounds of %d bytes and %d producers", len(rounds), record, producers)
	}
	for _, r := range rounds {
		least = min(least, figure(t, r, line.String()))
	}
	return least
}

// figure is the number that the pattern has in parentheses.
func figure(t *testing.T, text, pattern string) float64 {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("nothing like %s", pattern)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
