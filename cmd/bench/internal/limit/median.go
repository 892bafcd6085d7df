package limit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"kustospool/internal/datasync"
)

// MedianSync appends n pages of 4 KiB to a new file in dir, syncs after each,
// and returns the median time of the syncs alone: the least that one durable
// acknowledgement can take there. n must be at least 1. The file is removed.
func MedianSync(dir string, n int) (median time.Duration, err error) {
	if n < 1 {
		return 0, fmt.Errorf("limit: the median of %d syncs", n)
	}
	f, err := os.CreateTemp(dir, "median-sync-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	page := make([]byte, 4096)
	took := make([]time.Duration, 0, n)
	for i := range n {
		page[0] = byte(i)
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		begun := time.Now()
		if err := datasync.File(f); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
