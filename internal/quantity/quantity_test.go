package quantity

import (
	"math"
	"testing"
)

func TestText(t *testing.T) {
	for _, test := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Number, 0, "0"}, {Number, 1, "1"}, {Number, 999, "999"}, {Number, 1000, "1000"}, {Number, 1234, "1234"}, {Number, 10_000, "10k"}, {Number, 12_345, "12.3k"}, {Number, 0.593333, "0.593"}, {Bytes, 7_654_321, "7.3 MiB"}, {Number, 1_500_000, "1.5M"}, {Number, -2500, "-2500"}, {Number, 0.25, "0.25"},
		{Number, math.NaN(), "none"}, {Number, math.Inf(1), "none"}, {Number, 1e300, "1000000T"},
		{Bytes, 0, "0"}, {Bytes, 512, "512 B"}, {Bytes, 1 << 20, "1 MiB"}, {Bytes, 1536, "1.5 KiB"},
		{Seconds, 0.00025, "250 µs"}, {Seconds, 0.0015, "1.5 ms"}, {Seconds, 20, "20 s"}, {Seconds, 300, "5 min"}, {Seconds, 3 * 3600, "3 h"}, {Seconds, 2 * 86400, "2 d"},
	} {
		if got := test.unit.Text(test.v); got != test.want {
			t.Errorf("Text(%v) of unit %d is %q, want %q", test.v, test.unit, got, test.want)
		}
	}
}

func TestCountAndSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999", 1234567: "1,234,567", math.MinInt64: "-9,223,372,036,854,775,808"} {
		if got := Count(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1: "1 B", 1536: "1.5 KiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d bytes are %s, want %s", n, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.0 / 600: "0.00167", 0.5: "0.5", 12.345: "12.3", 999.4: "999", 999.6: "1,000", 12345.6: "12,346", 2.5e6: "2,500,000", math.Inf(1): "none", 1e300: "1,000,000,000,000,000,000"} {
		if got := Rate(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	if got := Rate(math.NaN()); got != "none" {
		t.Error(got)
	}
}
