package statushttp

import (
	"strings"
	"testing"

	"kustospool/operate"
)

func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{-1: "0 s", 0: "0 s", 59.9: "59 s", 60: "1 min 0 s", 3599: "59 min 59 s", 3600: "1 h 0 min", 5*3600 + 7*60 + 8: "5 h 7 min", 86399: "23 h 59 min", 86400: "1 d 0 h", 3*86400 + 5*3600 + 59: "3 d 5 h", 1e300: "11574074 d 1 h"} {
		if got := span(seconds); got != want {
			t.Errorf("%v seconds are %q, want %q", seconds, got, want)
		}
	}
}

// A rate is read at a glance, a large one too, and says when what waits will be gone, or that
// nothing goes.
func TestRateText(t *testing.T) {
	zero, minute := 0.0, 90.0
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
		{&operate.Rate{Records: 2.5e6, Bytes: 2 << 20}, &minute, "2,500,000 records/s, 2 MiB/s; empty in 1 min 30 s"},
		{&operate.Rate{}, &zero, "0 records/s, 0 B/s"},
		{&operate.Rate{Records: 12.345, Bytes: 2048}, nil, "12.3 records/s, 2 KiB/s"},
		{&operate.Rate{Records: 12.345, Bytes: 2048}, &zero, "12.3 records/s, 2 KiB/s"},
		{&operate.Rate{Records: 1, Bytes: 1}, &minute, "1 records/s, 1 B/s; empty in 1 min 30 s"},
	} {
		if got := rateText(tt.rate, tt.toEmpty); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// The files of damage are named.
func TestFilesOfTrouble(t *testing.T) {
	s := sample()
	s.Troubles = []operate.Trouble{{Kind: operate.Damaged, Level: operate.Critical, Files: []string{"quarantine/00000001.log", "quarantine/<b>"}}}
	s.Quarantine = []operate.File{{Name: "quarantine/00000001.log", Bytes: 4096, At: at}}
	l := &look{at: at, status: s, seen: at}
	l.show(may{}, nil, nil)
	if part := l.parts()["troubles"]; !strings.Contains(part, "File: <code>quarantine/00000001.log</code>") || !strings.Contains(part, "quarantine/&lt;b&gt;") {
		t.Error(part)
	}
	if part := l.parts()["dead"]; !strings.Contains(part, "1 damaged file set aside") || !strings.Contains(part, "4 KiB") {
		t.Error(part)
	}
}
