package budget

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"kustospool/ingest"
)

// Options of a [Meter]. A zero field bounds nothing.
type Options struct {
	// BytesPerSecond bounds the rate of all connections together, in each
	// direction; at least 128.
	BytesPerSecond int64
	// BytesPerDay and BytesPerMonth bound what passes in a day and a month of UTC,
	// both directions together; at least 64 KiB.
	BytesPerDay, BytesPerMonth int64
	// Windows are the hours in which anything may pass; none means always.
	Windows []Window
}

const (
	leastRate   = 128
	leastPeriod = 64 << 10
)

func (o *Options) validate() error {
	var errs []error
	least := func(field string, v, least int64) {
		if v != 0 && v < least {
			errs = append(errs, &ingest.FieldError{Field: field, Value: fmt.Sprint(v), Rule: fmt.Sprintf("must be 0 for no bound, or at least %d", least)})
		}
	}
	least("BytesPerSecond", o.BytesPerSecond, leastRate)
	least("BytesPerDay", o.BytesPerDay, leastPeriod)
	least("BytesPerMonth", o.BytesPerMonth, leastPeriod)
	for _, w := range o.Windows {
		if w.From < 0 || w.From >= day || w.To < 0 || w.To > day || w.From == w.To {
			errs = append(errs, &ingest.FieldError{Field: "Windows", Value: w.String(), Rule: "must be two different times of a day, 00:00 to 24:00"})
		}
	}
	return errors.Join(errs...)
}

// counts reports whether what passes has to be counted durably.
func (o *Options) counts() bool { return o.BytesPerDay > 0 || o.BytesPerMonth > 0 }

const day = 24 * time.Hour

// Window is a time of each day, in UTC: from From, and until before To, both
// from midnight on. One whose To is before its From lasts over midnight.
type Window struct{ From, To time.Duration }

// ParseWindow reads a window such as 22:00-06:00. The error matches
// [ingest.ErrInvalid].
func ParseWindow(s string) (Window, error) {
	bad := &ingest.FieldError{Field: "window", Value: s, Rule: "must be two different times of a day in UTC, such as 22:00-06:00"}
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return Window{}, bad
	}
	var w Window
	if w.From, ok = timeOfDay(from); !ok {
		return Window{}, bad
	}
	if w.To, ok = timeOfDay(to); to == "24:00" {
		w.To, ok = day, true
	}
	if !ok || w.From == w.To {
		return Window{}, bad
	}
	return w, nil
}

func timeOfDay(s string) (time.Duration, bool) {
	t, err := time.Parse("15:04", s)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err == nil
}

// String is the text that ParseWindow reads.
func (w Window) String() string {
	text := func(d time.Duration) string { return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60) }
	return text(w.From) + "-" + text(w.To)
}

// opens is how long it is until the window is open; 0 where it is.
func (w Window) opens(now time.Time) time.Duration {
	now = now.UTC()
	at := now.Sub(time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC))
	open := at >= w.From && at < w.To
	if w.To < w.From {
		open = at >= w.From || at < w.To
	}
	switch {
	case open:
		return 0
	case at < w.From:
		return w.From - at
	}
	return day - at + w.From
}
