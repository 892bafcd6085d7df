package sizing

import (
	"fmt"
	"strings"
	"time"
)

// Tables are those of the page by the name of their mark.
func Tables() map[string]string {
	return map[string]string{"device": deviceTable(), "wear": wearTable(), "fleet": fleetTable(), "age": ageTable()}
}

const outage = 7 * day

func deviceTable() string {
	var b strings.Builder
	b.WriteString("| program | payload a day | `MaxDiskBytes` for 7 days offline | batches that wait then | memory then |\n|---|---|---|---|---|\n")
	for _, d := range Devices {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", d, size(d.Payload(day)), size(d.Quota(outage)), count(d.Waiting(outage)), size(d.Memory(outage)))
	}
	return b.String()
}

func wearTable() string {
	var b strings.Builder
	b.WriteString("| program | `MaxAge` | a batch | batches a day | written to the device a day | with `CommitInterval` 1 s |\n|---|---|---|---|---|---|\n")
	for _, d := range Devices {
		for _, age := range []time.Duration{time.Minute, 15 * time.Minute} {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", d.Name, span(age), size(d.Payload(d.BatchEvery(age))), count(d.Batches(day, age)), size(d.Written(age, 0)), size(d.Written(age, time.Second)))
		}
	}
	return b.String()
}

func fleetTable() string {
	var b strings.Builder
	b.WriteString("| devices | `MaxAge` | a batch | messages a second | of one queue | extents a day, exactly once | seconds for each ingestion | extents a day, at least once |\n|---|---|---|---|---|---|---|---|\n")
	for _, n := range []int{10, 1000, 100_000} {
		for _, age := range []time.Duration{time.Minute, time.Hour, 12 * time.Hour} {
			f := Fleet{n, Devices[1], age}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", count(float64(n)), span(age), size(f.Payload(f.BatchEvery(age))), small(f.BatchesPerSecond()), percent(f.BatchesPerSecond()/QueueMessages),
				count(f.ExtentsExactlyOnce()), small(f.SecondsEach()), count(f.ExtentsAtLeastOnce()))
		}
	}
	return b.String()
}

func ageTable() string {
	var b strings.Builder
	b.WriteString("| devices | least `MaxAge`, 1 s an ingestion | least `MaxAge`, 10 s an ingestion |\n|---|---|---|\n")
	for _, n := range []int{10, 1000, 100_000} {
		f := Fleet{Devices: n}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", count(float64(n)), span(f.LeastAge(time.Second)), span(f.LeastAge(10*time.Second)))
	}
	return b.String()
}

// size is a number of bytes in three digits, in units of 1000.
func size(n float64) string {
	for _, unit := range []string{"B", "KB", "MB", "GB", "TB"} {
		if n < 999.5 {
			return small(n) + " " + unit
		}
		n /= 1000
	}
	return small(n) + " PB"
}

// small is a number in three digits.
func small(n float64) string {
	switch {
	case n < 0.1:
		return fmt.Sprintf("%.2g", n)
	case n < 10:
		return fmt.Sprintf("%.2f", n)
	case n < 100:
		return fmt.Sprintf("%.1f", n)
	}
	return count(n)
}

func percent(n float64) string {
	if n < 0.0001 {
		return "< 0.01%"
	}
	return small(100*n) + "%"
}

// count is a whole number with commas.
func count(n float64) string {
	s := fmt.Sprintf("%.0f", n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return small(d.Seconds()) + " s"
	case d < time.Hour:
		return trim(d.Minutes()) + " min"
	}
	return trim(d.Hours()) + " h"
}

func trim(n float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") }
