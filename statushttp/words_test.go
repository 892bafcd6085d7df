package statushttp

import (
	"testing"

	"kustospool/operate"
)

// A rate is read at a glance, a large one too.
func TestRateText(t *testing.T) {
	soon := 90.0
	for _, tt := range []struct {
		rate    *operate.Rate
		toEmpty *float64
		want    string
	}{
		{nil, nil, ""},
		{&operate.Rate{}, nil, "0 records/s, 0 B/s; not emptying"},
		{&operate.Rate{Records: 1.0 / 600, Bytes: 10}, nil, "0.00167 records/s, 10 B/s"},
		{&operate.Rate{Records: 999.4, Bytes: 10}, nil, "999 records/s, 10 B/s"},
		{&operate.Rate{Records: 999.6, Bytes: 10}, nil, "1,000 records/s, 10 B/s"},
		{&operate.Rate{Records: 2.5e6, Bytes: 2 << 20}, &soon, "2,500,000 records/s, 2 MiB/s; empty in 1 min 30 s"},
	} {
		if got := rateText(tt.rate, tt.toEmpty); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
