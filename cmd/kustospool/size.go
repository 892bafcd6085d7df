package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a flag's number of bytes: a whole number and, if wanted, a unit
// of 1000 (KB, MB, GB) or 1024 (KiB, MiB, GiB).
type byteSize int64

var byteUnits = []struct {
	suffix string
	size   int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

// Set reads the text form.
func (b *byteSize) Set(s string) error {
	text := strings.TrimSpace(s)
	for _, u := range byteUnits {
		digits, ok := cutSuffixFold(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.size {
			break
		}
		*b = byteSize(n * u.size)
		return nil
	}
	return fmt.Errorf("%q must be a number of bytes such as 1048576, 100MB or 64MiB", s)
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

// String is the number of bytes in the largest unit of 1024 that divides it;
// empty for the zero value, so that help shows no default.
func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	for i := 2; i >= 0; i-- {
		if u := byteUnits[i]; int64(*b)%u.size == 0 {
			return strconv.FormatInt(int64(*b)/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type is what help calls the value.
func (b *byteSize) Type() string { return "bytes" }
