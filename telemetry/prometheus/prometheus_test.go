package prometheus_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
	"kustospool/telemetry/prometheus"
	"kustospool/transport"
)

type source struct{ st engine.Stats }

func (s source) Stats() engine.Stats { return s.st }

// busy is a meter with a value of every instrument.
func busy(name string) *telemetry.Meter {
	m := telemetry.New(&telemetry.Options{Spool: name})
	st := engine.Stats{At: time.Unix(1000, 0), Acked: 10, AckedBytes: 1 << 40,
		Waiting: engine.Backlog{Records: 4, Open: 1, Age: 1500 * time.Millisecond}, Settled: engine.Settled{Ingested: 6},
		Rate:      engine.Rate{Records: 2},
		Transport: []transport.Figure{{Name: "capacity_in_flight", Value: 3}},
		Lanes:     []engine.LaneStats{{Properties: ingest.Properties{Database: "D", Table: "a \"quoted\\\n\xff" + `table`}}},
	}
	if name == "failing" {
		st.Unhealthy = &ingest.Failure{At: time.Unix(970, 0)}
	}
	m.Watch(source{st})
	var took engine.Durations
	took.Add(time.Millisecond)
	took.Add(time.Hour)
	for _, ev := range []engine.Event{
		engine.RecordsAcked{Commits: 2, Commit: took, Sync: took}, engine.CallsReturned{Took: took},
		engine.AttemptEnded{Outcome: "accepted", Took: time.Second},
		engine.BatchSettled{Batch: ingest.Batch{First: 1, Last: 6}, State: ingest.Succeeded, Took: time.Minute},
	} {
		m.Observe(ev)
	}
	return m
}

var line = regexp.MustCompile(`^([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\} ([-+0-9.eInf]+)$`)

// valid reads the text as the format says, and returns what is wrong: each family
// is together, with its type before it, and no series is there twice.
func valid(text []byte) (wrong []string, samples map[string]float64) {
	samples = map[string]float64{}
	family, done := "", map[string]bool{}
	for i, l := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		say := func(what string) { wrong = append(wrong, fmt.Sprintf("line %d: %s: %s", i+1, what, l)) }
		if rest, ok := strings.CutPrefix(l, "# HELP "); ok {
			family, _, _ = strings.Cut(rest, " ")
			if done[family] {
				say("a family in two places")
			}
			done[family] = true
			continue
		}
		if strings.HasPrefix(l, "# TYPE "+family+" ") {
			continue
		}
		parts := line.FindStringSubmatch(l)
		if parts == nil || family == "" || !strings.HasPrefix(parts[1], family) {
			say("not a sample")
			continue
		}
		v, err := strconv.ParseFloat(parts[3], 64)
		key := parts[1] + "{" + parts[2] + "}"
		if _, twice := samples[key]; twice || err != nil {
			say("a sample twice, or no number")
		}
		samples[key] = v
	}
	return wrong, samples
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	if err := prometheus.Write(&out, busy("one"), busy("failing")); err != nil {
		t.Fatal(err)
	}
	wrong, samples := valid(out.Bytes())
	for _, w := range wrong {
		t.Error(w)
	}
	for _, in := range telemetry.Instruments() {
		if in.Name == "kustospool.room.wait" {
			continue
		}
		if !bytes.Contains(out.Bytes(), []byte("# TYPE "+in.Prometheus()+" "+in.Kind.String()+"\n")) {
			t.Errorf("%s is not in the text", in.Prometheus())
		}
	}
	for key, want := range map[string]float64{
		`kustospool_records_acknowledged_total{spool="one"}`:                                          10,
		`kustospool_payload_acknowledged_bytes_total{spool="failing"}`:                                1 << 40,
		`kustospool_records_waiting{spool="one",place="batch"}`:                                       3,
		`kustospool_queue_age_seconds{spool="one"}`:                                                   1.5,
		`kustospool_queue_lag_seconds{spool="one"}`:                                                   2,
		`kustospool_destination_failing_seconds{spool="failing"}`:                                     30,
		`kustospool_transport_figure{spool="one",name="capacity_in_flight"}`:                          3,
		`kustospool_sync_duration_seconds_bucket{spool="one",le="0.001"}`:                             1,
		`kustospool_sync_duration_seconds_bucket{spool="one",le="+Inf"}`:                              2,
		`kustospool_sync_duration_seconds_count{spool="one"}`:                                         2,
		`kustospool_sync_duration_seconds_sum{spool="one"}`:                                           3600.001,
		`kustospool_delivery_duration_seconds_bucket{spool="one",result="ingested",le="60"}`:          1,
		`kustospool_table_held{spool="one",database="D",table="a \"quoted\\\n` + "\uFFFD" + `table"}`: 0,
	} {
		if got, ok := samples[key]; !ok || got != want {
			t.Errorf("%s is %v, %v; want %v", key, got, ok, want)
		}
	}
	if lag, ok := samples[`kustospool_queue_lag_seconds{spool="failing"}`]; ok {
		t.Errorf("a backlog that stands still is to be gone in %v s", lag)
	}
	// The control: the reader sees a line that is none.
	for _, bad := range []string{"# HELP a b\n# TYPE a gauge\na{x=\"y\n\"} 1\n", "a 1\n", "# HELP a b\na{s=\"1\"} 1\na{s=\"1\"} 2\n", "# HELP a b\na{s=\"1\"} one\n"} {
		if wrong, _ := valid([]byte(bad)); len(wrong) == 0 {
			t.Errorf("%q passes", bad)
		}
	}
}

// promtool is Prometheus's own judge of the text.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed; TestText has read the text by the format's rules")
	}
	var out bytes.Buffer
	if err := prometheus.Write(&out, busy("one")); err != nil {
		t.Fatal(err)
	}
	check := exec.Command(tool, "check", "metrics")
	check.Stdin = &out
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}

func TestHandler(t *testing.T) {
	h := prometheus.Handler(busy("one"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 || w.Header().Get("Content-Type") != prometheus.ContentType || !strings.Contains(w.Body.String(), "kustospool_build_info") {
		t.Errorf("%d, %q", w.Code, w.Header())
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("a POST gets %d, %q", w.Code, w.Header())
	}
	// A spool that is not open yet has no values, and the answer is still one.
	w = httptest.NewRecorder()
	prometheus.Handler(telemetry.New(nil)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("%d, %q", w.Code, w.Body)
	}
}
