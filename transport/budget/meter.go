package budget

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/transport"
)

// Reservation is how many bytes are counted in the file at a time, before they
// pass, and so the most that a kill wastes.
const Reservation = 256 << 10

// headroom is what must be left of a period for a request to begin.
const headroom = 64 << 10

// Meter counts what passes over connections, and says when nothing more may. It
// is for all transports of one destination; each takes it in its ClientOptions.
// Their user closes it, behind them. It is safe for concurrent use, and a nil one
// bounds nothing.
type Meter struct {
	opts    Options
	now     func() time.Time
	out, in *rate.Limiter // nil without BytesPerSecond

	mu       sync.Mutex // guards what follows, and is held while the file is written
	file     file
	loaded   bool
	damaged  error // the file was, when it was read
	count    count
	periods  int   // counts the beginnings of periods
	reserved int64 // in the file, and not used yet
	passed   int64 // in this process
	closed   bool
}

// ClosedError says that no byte may pass now. Its text names the bound.
type ClosedError struct {
	Reason string
	Until  time.Time     // when it is over, if the clock goes on as it does
	wait   time.Duration // until then
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("%s; goes on at %s", e.Reason, e.Until.UTC().Format(time.RFC3339))
}

// Wait is how long it is until Until, for whoever asks again then.
func (e *ClosedError) Wait() time.Duration { return e.wait }

// Open makes a meter that counts in the file at path, "budget" in the directory
// of a spool, say. Nothing is read, made or locked before something is to pass, so
// that a spool that another process has open is refused by the spool. Only
// BytesPerDay and BytesPerMonth need the file. The error names every option that
// breaks a rule ([ingest.ErrInvalid]).
func Open(path string, o *Options) (*Meter, error) { return open(vfs.OS, path, o, time.Now) }

func open(fs vfs.FS, path string, o *Options, now func() time.Time) (*Meter, error) {
	m := &Meter{now: now, file: file{fs: fs, path: filepath.Clean(path)}}
	if o != nil {
		m.opts = *o
	}
	err := m.opts.validate()
	if path == "" && m.opts.counts() {
		err = errors.Join(err, &ingest.FieldError{Field: "path", Rule: "must name the file that counts for a day or a month"})
	}
	if err != nil {
		return nil, err
	}
	if r := m.opts.BytesPerSecond; r > 0 {
		burst := m.piece()
		m.out, m.in = rate.NewLimiter(rate.Limit(r), burst), rate.NewLimiter(rate.Limit(r), burst)
	}
	return m, nil
}

// piece is the most that passes in one go.
func (m *Meter) piece() int {
	const most = 16 << 10
	if r := m.opts.BytesPerSecond; r > 0 {
		return int(min(max(r/20, 1), most))
	}
	return most
}

// Check reports whether a request may begin: nil, or a [*ClosedError], or what is
// wrong with the file.
func (m *Meter) Check() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.openLocked(headroom)
}

// openLocked reports why not so many bytes may pass now.
func (m *Meter) openLocked(bytes int64) error {
	if m.closed {
		return errors.New("budget: the meter is closed")
	}
	now := m.now()
	if wait := m.window(now); wait > 0 {
		return &ClosedError{"outside of the hours in which something may be sent", now.Add(wait), wait}
	}
	if !m.opts.counts() {
		return nil
	}
	if !m.loaded {
		if err := m.loadLocked(now); err != nil {
			return err
		}
	}
	if m.count.advance(now) {
		m.periods++
		m.reserved = 0 // it was of the period before
	}
	for _, p := range m.periodsLocked() {
		if left := p.limit - p.used + m.reserved; p.limit > 0 && left < min(bytes, p.limit/10) || p.limit > 0 && left <= 0 {
			reason := fmt.Sprintf("the budget of the %s, %d bytes, is used up", p.name, p.limit)
			if m.damaged != nil {
				reason += fmt.Sprintf(", because %v: delete the file to begin with an unused one", m.damaged)
			}
			return &ClosedError{reason, p.ends, p.ends.Sub(now)}
		}
	}
	return nil
}

// window is how long it is until a window is open; 0 where one is.
func (m *Meter) window(now time.Time) time.Duration {
	if len(m.opts.Windows) == 0 {
		return 0
	}
	least := time.Duration(math.MaxInt64)
	for _, w := range m.opts.Windows {
		least = min(least, w.opens(now))
	}
	return least
}

// loadLocked takes the file over.
func (m *Meter) loadLocked(now time.Time) error {
	c, err := m.file.open()
	var damaged *damagedError
	switch {
	case errors.As(err, &damaged):
		m.damaged = damaged
		c.advance(now)
		c.DayBytes, c.MonthBytes = math.MaxInt64/2, math.MaxInt64/2
		if err := m.file.write(c); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	m.count, m.loaded = c, true
	return nil
}

// period is a day or a month of the count.
type period struct {
	name        string
	limit, used int64
	ends        time.Time
}

func (m *Meter) periodsLocked() [2]period {
	d, _ := time.Parse(dayForm, m.count.Day)
	mo, _ := time.Parse(monthForm, m.count.Month)
	return [2]period{
		{"month", m.opts.BytesPerMonth, m.count.MonthBytes, mo.AddDate(0, 1, 0)},
		{"day", m.opts.BytesPerDay, m.count.DayBytes, d.AddDate(0, 0, 1)},
	}
}

// grant is bytes that may pass.
type grant struct {
	bytes  int
	period int
}

// take grants up to want bytes, one at least.
func (m *Meter) take(want int) (grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.openLocked(1); err != nil {
		return grant{}, err
	}
	if m.opts.counts() && m.reserved == 0 {
		if err := m.reserveLocked(); err != nil {
			return grant{}, err
		}
	}
	if m.opts.counts() {
		want = int(min(int64(want), m.reserved))
		m.reserved -= int64(want)
	}
	m.passed += int64(want)
	return grant{want, m.periods}, nil
}

// reserveLocked counts the next bytes, durably, before any of them passes.
func (m *Meter) reserveLocked() error {
	n := int64(Reservation)
	for _, p := range m.periodsLocked() {
		if p.limit > 0 {
			n = min(n, p.limit-p.used)
		}
	}
	c := m.count
	c.DayBytes += n
	c.MonthBytes += n
	if err := m.file.write(c); err != nil {
		// It may be in the file nevertheless: it counts as used.
		m.count = c
		return err
	}
	m.count, m.reserved = c, n
	return nil
}

// settle says how much of a grant has passed. What passed in another period than
// it was granted in counts there.
func (m *Meter) settle(g grant, used int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passed -= int64(g.bytes - used)
	if !m.opts.counts() {
		return
	}
	if m.count.advance(m.now()) {
		m.periods++
		m.reserved = 0
	}
	if g.period == m.periods {
		m.reserved += int64(g.bytes - used)
		return
	}
	for n := int64(used); n > 0; {
		if m.reserved == 0 && m.reserveLocked() != nil {
			return
		}
		if m.reserved <= 0 {
			return
		}
		part := min(n, m.reserved)
		m.reserved -= part
		n -= part
	}
}

// Figures are the meter's in [transport.Gauged] form: budget_open is 1 while
// something may pass, and budget_passed is what passed in this process; for each
// bound that is set there is the bound and, of days and months, what is used
// (budget_day, budget_day_used, budget_month ...). What is used is known once
// something was to pass. It counts a whole reservation.
func (m *Meter) Figures() []transport.Figure {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	open := int64(1)
	if !m.closed && (m.loaded || !m.opts.counts()) && m.openLocked(headroom) != nil {
		open = 0
	}
	list := []transport.Figure{{Name: "budget_open", Value: open}, {Name: "budget_passed", Value: m.passed}}
	if r := m.opts.BytesPerSecond; r > 0 {
		list = append(list, transport.Figure{Name: "budget_bytes_per_second", Value: r})
	}
	for _, p := range m.periodsLocked() {
		if p.limit == 0 {
			continue
		}
		list = append(list, transport.Figure{Name: "budget_" + p.name, Value: p.limit})
		if m.loaded {
			list = append(list, transport.Figure{Name: "budget_" + p.name + "_used", Value: min(p.used, p.limit)})
		}
	}
	return list
}

// Close gives back what is reserved and not used, and lets nothing pass any
// more. Call it when the transports are closed.
func (m *Meter) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	var err error
	if m.reserved > 0 {
		c := m.count
		c.DayBytes -= m.reserved
		c.MonthBytes -= m.reserved
		c.DayBytes, c.MonthBytes = max(c.DayBytes, 0), max(c.MonthBytes, 0)
		err = m.file.write(c)
	}
	return cmp.Or(err, m.file.close())
}
