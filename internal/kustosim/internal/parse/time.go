package parse

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// iso8601 are the forms of ISO 8601 that the service takes; Parse takes a
// fraction behind the seconds by itself
// (https://learn.microsoft.com/kusto/query/scalar-data-types/datetime).
var iso8601 = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

// otherDatetimes are the forms of RFC 822 and RFC 850 and the sortable ones of
// the same page, without the day of the week before and GMT behind. The year of
// four digits is RFC 1123, which the page does not name.
var otherDatetimes = []string{"2 Jan 06 15:04:05", "2 Jan 06 15:04", "2-Jan-06 15:04:05", "2-Jan-06 15:04",
	"2006-1-2 15:04:05", "2006-1-2 15:04", "2006-1-2T15:04:05", "2006-1-2T15:04", "2 Jan 2006 15:04:05", "2 Jan 2006 15:04:05 -0700"}

var weekdays = regexp.MustCompile(`^(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Mon|Tue|Wed|Thu|Fri|Sat|Sun), `)

// ISODatetime reads a datetime in one of the forms of ISO 8601. One without a
// zone is in UTC.
func ISODatetime(text string) (time.Time, bool) { return firstLayout(iso8601, text) }

func parseDatetime(text string) (time.Time, bool) {
	if t, ok := ISODatetime(text); ok {
		return t, true
	}
	text = text[len(weekdays.FindString(text)):]
	text = strings.TrimSuffix(text, " GMT") // no other zone is named by the page
	return firstLayout(otherDatetimes, text)
}

func firstLayout(layouts []string, text string) (time.Time, bool) {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// FormatTime is a time as replies and reports have it.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// The forms of a timespan
// (https://learn.microsoft.com/kusto/query/scalar-data-types/timespan): a number
// with a unit, of days without one, or [days.]hours:minutes:seconds[.fraction].
var (
	unitTimespan  = regexp.MustCompile(`^(-?\d{1,20}(?:\.\d{1,20})?) ?(d|h|m|s|seconds|ms|microsecond|tick|)$`)
	clockTimespan = regexp.MustCompile(`^(-?)(?:(\d{1,8})\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?$`)
)

const ticksPerSecond = 10_000_000

var ticksOf = map[string]int64{"tick": 1, "microsecond": 10, "ms": ticksPerSecond / 1000, "s": ticksPerSecond, "seconds": ticksPerSecond,
	"m": 60 * ticksPerSecond, "h": 3600 * ticksPerSecond, "d": 24 * 3600 * ticksPerSecond, "": 24 * 3600 * ticksPerSecond}

// parseTimespan counts the ticks of 100 ns in a timespan; what is below a tick
// is cut off. ok is false for what is none, or is beyond 64 bits.
func parseTimespan(text string) (ticks int64, ok bool) {
	if m := unitTimespan.FindStringSubmatch(text); m != nil {
		r, _ := new(big.Rat).SetString(m[1])
		r.Mul(r, new(big.Rat).SetInt64(ticksOf[m[2]]))
		n := new(big.Int).Quo(r.Num(), r.Denom())
		return n.Int64(), n.IsInt64()
	}
	m := clockTimespan.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	var part [4]int64 // days, hours, minutes, seconds
	for i := range part {
		part[i], _ = strconv.ParseInt("0"+m[i+2], 10, 64) // a few digits
	}
	fraction, _ := strconv.ParseInt((m[6] + "0000000")[:7], 10, 64)
	if part[1] > 23 || part[2] > 59 || part[3] > 59 {
		return 0, false
	}
	n := big.NewInt(part[0]*86400 + part[1]*3600 + part[2]*60 + part[3])
	n.Add(n.Mul(n, big.NewInt(ticksPerSecond)), big.NewInt(fraction))
	if m[1] == "-" {
		n.Neg(n)
	}
	return n.Int64(), n.IsInt64()
}

// appendTimespan appends the JSON of a timespan as the service writes it, such as
// "1.12:30:55.1230000" (https://learn.microsoft.com/kusto/query/make-timespan-function).
func appendTimespan(dst []byte, ticks int64) []byte {
	dst = append(dst, '"')
	n := uint64(ticks)
	if ticks < 0 {
		dst = append(dst, '-')
		n = -n
	}
	seconds, fraction := n/ticksPerSecond, n%ticksPerSecond
	if days := seconds / 86400; days > 0 {
		dst = append(strconv.AppendUint(dst, days, 10), '.')
	}
	for i, part := range []uint64{seconds / 3600 % 24, seconds / 60 % 60, seconds % 60} {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = append(dst, byte('0'+part/10), byte('0'+part%10))
	}
	if fraction > 0 {
		dst = append(dst, '.')
		dst = append(dst, strconv.FormatUint(fraction+ticksPerSecond, 10)[1:]...)
	}
	return append(dst, '"')
}
