package load

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRecords(t *testing.T) {
	for _, size := range []int{MinRecordBytes, 128, 1024, 16 << 10} {
		records := Records(50, size, 7)
		again := Records(50, size, 7)
		var all bytes.Buffer
		w, _ := flate.NewWriter(&all, flate.DefaultCompression)
		for i, r := range records {
			if len(r) != size || !json.Valid(r) || bytes.IndexByte(r, '\n') >= 0 {
				t.Fatalf("record of %d bytes, want %d: %.60q", len(r), size, r)
			}
			if !bytes.Equal(r, again[i]) {
				t.Fatal("the same seed gives other records")
			}
			if i > 0 && bytes.Equal(r, records[i-1]) {
				t.Fatal("two records are equal")
			}
			w.Write(r)
		}
		w.Close()
		if size >= 1024 && all.Len() < 50*size*7/10 {
			t.Errorf("records of %d bytes compress to %d", 50*size, all.Len())
		}
	}
	if bytes.Equal(Records(1, 128, 1)[0], Records(1, 128, 2)[0]) {
		t.Error("seeds make no difference")
	}
}

// after is a put that takes d.
func after(d time.Duration) Put {
	return func(context.Context, int, []byte) error {
		<-time.After(d)
		return nil
	}
}

func TestDrive_Duration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Drive(t.Context(), Load{Producers: 8, Records: Records(3, 100, 1), Warmup: time.Second, Duration: 2 * time.Second}, after(10*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if r.N != 8*200 || r.Bytes != r.N*100 || r.Elapsed != 2*time.Second {
			t.Errorf("%d records, %d bytes, %v; want 1600, 160000, 2s: the warm-up must not count", r.N, r.Bytes, r.Elapsed)
		}
		if r.P50 < 9800*time.Microsecond || r.P50 > 10*time.Millisecond || r.Max != 10*time.Millisecond {
			t.Errorf("p50 %v, max %v; want 10ms", r.P50, r.Max)
		}
		if r.PerSecond() != 800 {
			t.Errorf("%v acks/s, want 800", r.PerSecond())
		}
	})
}

func TestDrive_Count(t *testing.T) {
	var puts atomic.Int64
	r, err := Drive(t.Context(), Load{Producers: 5, Records: Records(3, 100, 1), Count: 101}, func(context.Context, int, []byte) error {
		puts.Add(1)
		return nil
	})
	if err != nil || r.N != 101 || puts.Load() != 101 {
		t.Errorf("%d counted, %d put, %v; want 101", r.N, puts.Load(), err)
	}
}

func TestDrive_StopsAtTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	var puts atomic.Int64
	_, err := Drive(t.Context(), Load{Producers: 4, Records: Records(1, 100, 1), Duration: time.Hour}, func(ctx context.Context, p int, _ []byte) error {
		if puts.Add(1) == 100 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Drive(ctx, Load{Producers: 4, Records: Records(1, 100, 1), Duration: time.Hour}, after(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of an ended context", err)
	}
	if _, err := Drive(t.Context(), Load{}, after(0)); err == nil || !strings.Contains(err.Error(), "producers") || !strings.Contains(err.Error(), "records") {
		t.Errorf("error %v of an empty load, want all that is wrong", err)
	}
}

func TestCompare_TakesTurnsAndMedians(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		open, closed := 0, 0
		contender := func(name string, takes ...time.Duration) Contender {
			round := 0
			return Contender{Name: name, Open: func(context.Context) (Target, error) {
				order = append(order, name)
				open++
				d := takes[round%len(takes)]
				round++
				return Target{Put: after(d), Close: func() error { closed++; return nil }}, nil
			}}
		}
		var lines strings.Builder
		small, large := Case{Record: 100, Producers: 1}, Case{Record: 200, Producers: 2}
		table, err := Compare(t.Context(), Comparison{
			Contenders: []Contender{contender("a", time.Millisecond), contender("b", 2*time.Millisecond, time.Second, 4*time.Millisecond)},
			Cases:      []Case{small, large}, Repeats: 3, Duration: 4 * time.Second,
			Measured: func(name string, c Case, r Result) {
				if err := r.Print(&lines, "Ack", "engine="+name, fmt.Sprintf("record=%d", c.Record)); err != nil {
					t.Error(err)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(order, ""), "abbaababbaab"; got != want {
			t.Errorf("order %s, want %s", got, want)
		}
		if open != closed || open != 12 {
			t.Errorf("%d opened, %d closed, want 12", open, closed)
		}
		if rate, ok := table.Rate("a", small); !ok || rate != 1000 {
			t.Errorf("rate of a %v, want 1000", rate)
		}
		// The rounds gave 500, 1 and 250 a second.
		if rate, _ := table.Rate("b", small); rate != 250 {
			t.Errorf("rate of b %v, want the median 250", rate)
		}
		if _, ok := table.Rate("c", small); ok {
			t.Error("there are figures of what was not measured")
		}
		var out strings.Builder
		if err := table.Print(&out, "a"); err != nil || !strings.Contains(out.String(), "0.25") || !strings.Contains(out.String(), "1.00") {
			t.Errorf("table: %v\n%s", err, out.String())
		}
		if n := strings.Count(lines.String(), "\n"); n != 12 || !strings.HasPrefix(lines.String(), "BenchmarkAck/engine=a/record=100-") {
			t.Errorf("%d lines, want 12:\n%s", n, lines.String())
		}
	})
}

func TestCompare_ReportsWhoFailed(t *testing.T) {
	broken := errors.New("broken")
	c := Comparison{Cases: []Case{{Record: 100, Producers: 3}}, Repeats: 1, Duration: time.Second}
	for _, open := range []func(context.Context) (Target, error){
		func(context.Context) (Target, error) { return Target{}, broken },
		func(context.Context) (Target, error) {
			return Target{Put: func(context.Context, int, []byte) error { return broken }}, nil
		},
	} {
		c.Contenders = []Contender{{Name: "fragile", Open: open}}
		if _, err := Compare(t.Context(), c); !errors.Is(err, broken) || !strings.Contains(err.Error(), "fragile with 3 producers of 100 bytes") {
			t.Errorf("error %v", err)
		}
	}
	if _, err := Compare(t.Context(), Comparison{}); err == nil {
		t.Error("an empty comparison ran")
	}
}

func TestCompare_GoesOnWithoutWhoFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		round := 0
		fragile := Contender{Name: "fragile", Open: func(context.Context) (Target, error) {
			if round++; round == 2 {
				return Target{}, errors.New("broken")
			}
			return Target{Put: after(time.Millisecond)}, nil
		}}
		sound := Contender{Name: "sound", Open: func(context.Context) (Target, error) { return Target{Put: after(time.Millisecond)}, nil }}
		first, second := Case{Record: 100, Producers: 1}, Case{Record: 100, Producers: 2}
		var failed []string
		table, err := Compare(t.Context(), Comparison{
			Contenders: []Contender{fragile, sound}, Cases: []Case{first, second}, Repeats: 3, Duration: time.Second,
			Failed: func(name string, c Case, err error) { failed = append(failed, fmt.Sprint(name, c.Producers, err)) },
		})
		if err != nil || len(failed) != 1 || failed[0] != "fragile1 opening: broken" {
			t.Fatalf("%q failed, %v", failed, err)
		}
		if _, ok := table.Rate("fragile", first); ok {
			t.Error("a contender that failed has figures of that case")
		}
		for _, name := range []string{"fragile", "sound"} {
			if rate, ok := table.Rate(name, second); !ok || rate != 2000 {
				t.Errorf("%s has %v in the next case, want 2000", name, rate)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Compare(ctx, Comparison{
			Contenders: []Contender{sound}, Cases: []Case{first}, Repeats: 1, Duration: time.Second,
			Failed: func(string, Case, error) { t.Error("an ended context is no failure of a contender") },
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v of an ended context", err)
		}
	})
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := Median(tc.values); got != tc.want {
			t.Errorf("median of %v is %v, want %v", tc.values, got, tc.want)
		}
	}
}

func TestBars(t *testing.T) {
	bar := func(over, under, least, most float64) Bar {
		return Bar{Name: "x", Over: Figure{"o", over}, Under: Figure{"u", under}, AtLeast: least, AtMost: most}
	}
	for _, tc := range []struct {
		bar  Bar
		pass bool
	}{
		{bar(5, 10, 0.5, 0), true},
		{bar(4, 10, 0.5, 0), false},
		{bar(20, 10, 0, 2), true},
		{bar(21, 10, 0, 2), false},
		{bar(15, 10, 1, 2), true},
		{bar(0, 10, 0, 2), false},
		{bar(10, 0, 0, 2), false},
	} {
		if tc.bar.Passes() != tc.pass {
			t.Errorf("%+v passes: %v", tc.bar, tc.bar.Passes())
		}
		var out strings.Builder
		failed, err := PrintBars(&out, []Bar{tc.bar})
		if err != nil || (failed == 0) != tc.pass || strings.Contains(out.String(), "PASS") != tc.pass {
			t.Errorf("%d failed, %v:\n%s", failed, err, out.String())
		}
	}
}

func TestBars_Notes(t *testing.T) {
	var out strings.Builder
	failed, err := PrintBars(&out, []Bar{{Name: "x", Over: Figure{"o", 5.25}, Under: Figure{"u", 1050}}})
	if err != nil || failed != 0 || !strings.HasPrefix(strings.SplitAfter(out.String(), "\n")[1], "note") || !strings.Contains(out.String(), "o 5.25 / u 1050") {
		t.Errorf("%d failed, %v:\n%s", failed, err, out.String())
	}
}

func TestTable_Quantiles(t *testing.T) {
	table, of := newTable(), Case{Record: 1, Producers: 64}
	for _, ms := range []time.Duration{3, 1, 2} {
		table.add("a", of, Result{P99: ms * time.Millisecond, P999: 10 * ms * time.Millisecond})
	}
	if p, ok := table.P99("a", of); !ok || p != 2*time.Millisecond {
		t.Errorf("p99 %v, %v", p, ok)
	}
	if p, ok := table.P999("a", of); !ok || p != 20*time.Millisecond {
		t.Errorf("p99.9 %v, %v", p, ok)
	}
	if _, ok := table.P999("b", of); ok {
		t.Error("what was not measured has a figure")
	}
}
