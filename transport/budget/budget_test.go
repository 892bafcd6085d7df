package budget

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

// clock is a clock that a test sets.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func mustOpen(t *testing.T, path string, o *Options, c *clock) *Meter {
	t.Helper()
	m, err := open(vfs.OS, path, o, c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// spend has up to n bytes pass and returns how many did.
func spend(t *testing.T, m *Meter, n int) (passed int) {
	t.Helper()
	for passed < n {
		g, err := m.take(n - passed)
		var closed *ClosedError
		if errors.As(err, &closed) {
			return passed
		}
		if err != nil {
			t.Fatal(err)
		}
		m.settle(g, g.bytes)
		passed += g.bytes
	}
	return passed
}

const mib = 1 << 20

// A day's budget is there again on the next day of UTC, a month's in the next
// month, and neither because a clock is set back.
func TestPeriods(t *testing.T) {
	c := &clock{at("2026-11-29T22:00:00-01:00")} // 23:00 of UTC
	path := filepath.Join(t.TempDir(), "budget")
	o := &Options{BytesPerDay: mib, BytesPerMonth: 5 * mib / 2}
	m := mustOpen(t, path, o, c)
	for _, step := range []struct {
		now  string
		want int
	}{
		{"2026-11-29T23:00:00Z", mib},
		{"2026-11-29T23:59:59Z", 0},
		{"2026-11-30T00:00:00Z", mib},
		{"2026-11-29T12:00:00Z", 0}, // set back
		{"2026-10-29T12:00:00Z", 0}, // by a month
		{"2026-11-30T12:00:00Z", 0},
		{"2026-12-01T00:00:00Z", mib},
		{"2026-12-02T00:00:00Z", mib},
		{"2026-12-03T00:00:00Z", mib / 2}, // what the month has left
		{"2026-12-04T00:00:00Z", 0},
		{"2026-11-01T00:00:00Z", 0},
		{"2027-01-01T00:00:00Z", mib},
	} {
		c.Time = at(step.now)
		if got := spend(t, m, 2*mib); got != step.want {
			t.Errorf("at %s %d bytes passed, want %d", step.now, got, step.want)
		}
		if err := m.Close(); err != nil { // the next process knows as much
			t.Fatal(err)
		}
		m = mustOpen(t, path, o, c)
	}
}

// The error says until when, and what the bound is.
func TestClosedErrorSaysUntilWhen(t *testing.T) {
	c := &clock{at("2026-11-29T23:00:00Z")}
	m := mustOpen(t, filepath.Join(t.TempDir(), "budget"), &Options{BytesPerDay: mib}, c)
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	spend(t, m, mib-1000)
	var closed *ClosedError
	if err := m.Check(); !errors.As(err, &closed) || closed.Wait() != time.Hour || !strings.Contains(err.Error(), "day, 1048576 bytes") {
		t.Errorf("a request may begin with 1000 bytes left: %v", err)
	}
	figures := map[string]int64{}
	for _, f := range m.Figures() {
		figures[f.Name] = f.Value
	}
	if figures["budget_open"] != 0 || figures["budget_day"] != mib || figures["budget_day_used"] != mib || figures["budget_passed"] != mib-1000 {
		t.Errorf("figures %v", figures)
	}
}

// A clean end gives back what was reserved and not used; a kill does not.
func TestCloseGivesBack(t *testing.T) {
	c := &clock{at("2026-11-29T23:00:00Z")}
	path := filepath.Join(t.TempDir(), "budget")
	o := &Options{BytesPerDay: 2 * Reservation}
	m := mustOpen(t, path, o, c)
	spend(t, m, 1000)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = mustOpen(t, path, o, c)
	if got := spend(t, m, mib); got != 2*Reservation-1000 {
		t.Errorf("%d bytes passed after a clean end, want %d", got, 2*Reservation-1000)
	}
}

// A file that does not say what was used lets nothing pass on its day, and says
// what helps; the next day begins as any other.
func TestDamageCountsAsUsedUp(t *testing.T) {
	c := &clock{at("2026-11-29T23:00:00Z")}
	path := filepath.Join(t.TempDir(), "budget")
	o := &Options{BytesPerDay: mib}
	m := mustOpen(t, path, o, c)
	spend(t, m, 1000)
	m.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)/2], "a digit": bytes.Replace(good, []byte(`"day_bytes":1000`), []byte(`"day_bytes":0`), 1),
		"another version": bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		m := mustOpen(t, path, o, c)
		if err := m.Check(); err == nil || !strings.Contains(err.Error(), "delete the file") {
			t.Errorf("%s: %v", name, err)
		}
		if n := spend(t, m, 1); n != 0 {
			t.Errorf("%s: %d bytes passed", name, n)
		}
		m.Close()
	}
	c.Time = c.Add(time.Hour) // the next day
	m = mustOpen(t, path, o, c)
	if n := spend(t, m, mib); n != mib {
		t.Errorf("%d bytes passed on the day after the damage, want all of its budget", n)
	}
}

// A file that another process counts in, or that cannot be written, lets nothing pass.
func TestFileThatCannotBeHad(t *testing.T) {
	c := &clock{at("2026-11-29T23:00:00Z")}
	path := filepath.Join(t.TempDir(), "budget")
	o := &Options{BytesPerDay: mib}
	m := mustOpen(t, path, o, c)
	spend(t, m, 1)
	other := mustOpen(t, path, o, c)
	if err := other.Check(); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("two count in one file: %v", err)
	}
	lost := mustOpen(t, filepath.Join(t.TempDir(), "missing", "budget"), o, c)
	if err := lost.Check(); err == nil {
		t.Error("a meter without a directory is open")
	}
}

// What passes a connection is counted in both directions, and no byte beyond the
// budget passes, on the day of the grant or the next.
func TestConnIsCounted(t *testing.T) {
	c := &clock{at("2026-11-29T23:00:00Z")}
	m := mustOpen(t, filepath.Join(t.TempDir(), "budget"), &Options{BytesPerDay: leastPeriod}, c)
	here, there := net.Pipe()
	conn := m.Conn(here)
	defer conn.Close()
	read := make(chan int64)
	go func() {
		_, _ = there.Write(make([]byte, 1000))
		n, _ := io.Copy(io.Discard, there)
		read <- n
	}()
	if n, err := io.ReadFull(conn, make([]byte, 1000)); n != 1000 || err != nil {
		t.Fatal(n, err)
	}
	n, err := conn.Write(make([]byte, mib))
	var closed *ClosedError
	if n != leastPeriod-1000 || !errors.As(err, &closed) {
		t.Errorf("%d bytes were written: %v; want %d", n, err, leastPeriod-1000)
	}
	if _, err := conn.Read(make([]byte, 10)); !errors.As(err, &closed) {
		t.Errorf("a read beyond the budget: %v", err)
	}
	conn.Close()
	if got := <-read; got != leastPeriod-1000 {
		t.Errorf("%d bytes arrived", got)
	}
	// A read that waits over midnight is paid by the day on which it ends.
	c.Time = c.Add(2 * time.Hour)
	g, err := m.take(100)
	if err != nil {
		t.Fatal(err)
	}
	c.Time = c.Add(24 * time.Hour)
	m.settle(g, 100)
	if got := spend(t, m, mib); got != leastPeriod-100 {
		t.Errorf("%d bytes passed, want what the read of 100 has left", got)
	}
}

// The rate is that of all connections together, whatever their number.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := Open("", &Options{BytesPerSecond: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		done := make(chan error)
		for range 2 {
			here, there := net.Pipe()
			conn := m.Conn(here)
			go func() { _, _ = io.Copy(io.Discard, there) }()
			go func() {
				_, err := conn.Write(make([]byte, 50_000))
				conn.Close()
				there.Close()
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took < 9900*time.Millisecond || took > 11*time.Second {
			t.Errorf("100000 bytes at 10000 a second took %v", took)
		}
	})
}

// A connection that is closed while it waits for its rate ends at once.
func TestCloseEndsTheWaitForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := Open("", &Options{BytesPerSecond: 128})
		if err != nil {
			t.Fatal(err)
		}
		here, there := net.Pipe()
		conn := m.Conn(here)
		go func() { _, _ = io.Copy(io.Discard, there) }()
		done := make(chan error)
		go func() {
			_, err := conn.Write(make([]byte, mib))
			done <- err
		}()
		synctest.Wait()
		conn.Close()
		there.Close()
		if err := <-done; err == nil {
			t.Error("the write is done")
		}
	})
}

func TestWindows(t *testing.T) {
	for _, c := range []struct {
		windows []string
		now     string
		wait    time.Duration
	}{
		{[]string{"22:00-06:00"}, "2026-11-29T21:30:00Z", 30 * time.Minute},
		{[]string{"22:00-06:00"}, "2026-11-29T22:00:00Z", 0},
		{[]string{"22:00-06:00"}, "2026-11-29T05:59:59Z", 0},
		{[]string{"22:00-06:00"}, "2026-11-29T06:00:00Z", 16 * time.Hour},
		{[]string{"22:00-06:00", "12:00-13:00"}, "2026-11-29T06:00:00Z", 6 * time.Hour},
		{[]string{"22:00-24:00"}, "2026-11-29T23:59:59Z", 0},
		{[]string{"02:00-03:00"}, "2026-11-29T03:00:00Z", 23 * time.Hour},
		{[]string{"02:00-03:00"}, "2026-11-29T04:30:00+02:00", 0}, // UTC
	} {
		var o Options
		for _, text := range c.windows {
			w, err := ParseWindow(text)
			if err != nil || w.String() != text {
				t.Fatal(text, w, err)
			}
			o.Windows = append(o.Windows, w)
		}
		m := mustOpen(t, "", &o, &clock{at(c.now)})
		err := m.Check()
		var closed *ClosedError
		if errors.As(err, &closed); c.wait == 0 && err != nil || c.wait > 0 && (closed == nil || closed.Wait() != c.wait) {
			t.Errorf("%v at %s: %v, want %v until it opens", c.windows, c.now, err, c.wait)
		}
	}
	for _, bad := range []string{"", "22:00", "22:00-22:00", "24:00-01:00", "22-6", "22:00-25:00", "a-b"} {
		if _, err := ParseWindow(bad); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Open("", &Options{BytesPerSecond: 1, BytesPerDay: 1, BytesPerMonth: -1, Windows: []Window{{}}})
	for _, field := range []string{"BytesPerSecond", "BytesPerDay", "BytesPerMonth", "Windows", "path"} {
		if !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if m, err := Open("", nil); err != nil || m.Check() != nil {
		t.Errorf("no bounds: %v", err)
	}
}

// Whatever a file holds is read as a count that can be, or refused.
func FuzzCount(f *testing.F) {
	f.Add(count{Day: "2026-11-29", DayBytes: 1, Month: "2026-11", MonthBytes: 2}.encode())
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(c.encode())
		if err != nil || again != c {
			t.Fatalf("%+v is read again as %+v, %v", c, again, err)
		}
	})
}
