package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"time"

	"kustospool/internal/vfs"
)

const (
	version    = 1
	mostFile   = 4 << 10
	dayForm    = "2006-01-02"
	monthForm  = "2006-01"
	lockSuffix = ".lock"
	tempSuffix = ".new"
)

// count is what was reserved of the latest day and month that were seen. It is
// what the file holds, with a checksum over the rest.
type count struct {
	Version    int    `json:"version"`
	Day        string `json:"day"`
	DayBytes   int64  `json:"day_bytes"`
	Month      string `json:"month"`
	MonthBytes int64  `json:"month_bytes"`
	Checksum   uint32 `json:"crc32c"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (c count) checksum() uint32 {
	return crc32.Checksum(fmt.Appendf(nil, "%d %s %d %s %d", c.Version, c.Day, c.DayBytes, c.Month, c.MonthBytes), castagnoli)
}

// encode is the file's content.
func (c count) encode() []byte {
	c.Version = version
	c.Checksum = c.checksum()
	data, err := json.Marshal(c)
	if err != nil {
		panic("budget: a count cannot be encoded: " + err.Error())
	}
	return append(data, '\n')
}

// decode reads what encode has written, and nothing else.
func decode(data []byte) (count, error) {
	var c count
	if err := json.Unmarshal(data, &c); err != nil {
		return count{}, fmt.Errorf("is no count: %w", err)
	}
	_, dayErr := time.Parse(dayForm, c.Day)
	_, monthErr := time.Parse(monthForm, c.Month)
	switch {
	case c.Version != version:
		return count{}, fmt.Errorf("has version %d; this program knows %d", c.Version, version)
	case c.Checksum != c.checksum():
		return count{}, errors.New("does not have its checksum")
	case dayErr != nil || monthErr != nil || c.DayBytes < 0 || c.MonthBytes < 0:
		return count{}, errors.New("has no day, month or bytes that can be")
	}
	return c, nil
}

// advance begins the periods that now is in where they are later than those
// that were seen; it reports whether one began.
func (c *count) advance(now time.Time) (began bool) {
	now = now.UTC()
	if d := now.Format(dayForm); d > c.Day {
		c.Day, c.DayBytes, began = d, 0, true
	}
	if m := now.Format(monthForm); m > c.Month {
		c.Month, c.MonthBytes, began = m, 0, true
	}
	return began
}

// file is where a count is durable.
type file struct {
	fs   vfs.FS
	path string
	lock vfs.File
}

// open takes the lock and reads the count. Damage is an error beside a zero
// count, and the lock is kept.
func (f *file) open() (count, error) {
	if f.lock == nil {
		lock, err := f.fs.Lock(f.path + lockSuffix)
		if errors.Is(err, vfs.ErrLocked) {
			return count{}, fmt.Errorf("budget: another process counts in %s", f.path)
		}
		if err != nil {
			return count{}, fmt.Errorf("budget: %w", err)
		}
		f.lock = lock
	}
	r, err := f.fs.Open(f.path, vfs.ReadOnly)
	if vfs.Missing(err) {
		return count{}, nil
	}
	if err != nil {
		return count{}, fmt.Errorf("budget: %w", err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.NewSectionReader(r, 0, mostFile))
	if err != nil {
		return count{}, fmt.Errorf("budget: %w", err)
	}
	c, err := decode(data)
	if err != nil {
		return count{}, &damagedError{path: f.path, err: err}
	}
	return c, nil
}

// damagedError is a file that does not say what was used.
type damagedError struct {
	path string
	err  error
}

func (e *damagedError) Error() string { return fmt.Sprintf("budget: %s %v", e.path, e.err) }

// write makes a count durable: the file has the one or the other, whatever
// happens meanwhile.
func (f *file) write(c count) (err error) {
	temp := f.path + tempSuffix
	if err := f.fs.Remove(temp); err != nil && !vfs.Missing(err) {
		return fmt.Errorf("budget: %w", err)
	}
	w, err := f.fs.Open(temp, vfs.Create)
	if err != nil {
		return fmt.Errorf("budget: %w", err)
	}
	_, err = w.WriteAt(c.encode(), 0)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err == nil {
		err = f.fs.Rename(temp, f.path)
	}
	if err == nil {
		err = f.fs.SyncDir(filepath.Dir(f.path))
	}
	if err != nil {
		return fmt.Errorf("budget: %w", err)
	}
	return nil
}

func (f *file) close() error {
	if f.lock == nil {
		return nil
	}
	err := f.lock.Close()
	f.lock = nil
	return err
}
