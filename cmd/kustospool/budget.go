package main

import (
	"path/filepath"

	"github.com/spf13/pflag"

	"kustospool/transport/budget"
)

// budgetFile is where the budgets of a day and a month are counted, in the
// directory of the spool.
const budgetFile = "budget"

// budgetSettings are the flags that bound what passes over the link.
type budgetSettings struct {
	second, day, month byteSize
	windows            []string
}

func (s *budgetSettings) register(fs *pflag.FlagSet) {
	fs.Var(&s.second, "budget-second", "most bytes a second over the link to a cluster, in each direction; default no bound")
	fs.Var(&s.day, "budget-day", "most bytes a day of UTC, both directions together, counted in the spool; default no bound")
	fs.Var(&s.month, "budget-month", "most bytes a month of UTC, as --budget-day")
	fs.StringArrayVar(&s.windows, "window", nil, "hours of UTC in which something may be sent, such as 22:00-06:00; may be repeated; default always")
}

// counts reports whether something has to be counted in the spool.
func (s *budgetSettings) counts() bool { return s.day > 0 || s.month > 0 }

// meter is the meter that the flags ask for, which counts in the spool; nil where
// they ask for none.
func (s *deliverySettings) meter(t target) (*budget.Meter, error) {
	b := &s.budget
	o := budget.Options{BytesPerSecond: int64(b.second), BytesPerDay: int64(b.day), BytesPerMonth: int64(b.month)}
	for _, text := range b.windows {
		w, err := budget.ParseWindow(text)
		if err != nil {
			return nil, usageError{err}
		}
		o.Windows = append(o.Windows, w)
	}
	if o.BytesPerSecond == 0 && !b.counts() && len(o.Windows) == 0 {
		return nil, nil
	}
	if t.kind != toCluster {
		return nil, usagef("--budget-second, --budget-day, --budget-month and --window bound what passes to a cluster; --to %q is none", t.text)
	}
	dir := s.spool
	if dir == "" {
		var err error
		if dir, _, err = t.defaultSpool(); err != nil {
			return nil, err
		}
	}
	m, err := budget.Open(filepath.Join(dir, budgetFile), &o)
	if err != nil {
		return nil, usageError{err}
	}
	return m, nil
}
