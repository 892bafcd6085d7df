package device

import (
	"fmt"
	"strconv"
	"strings"
)

// sectorBytes is the unit of the kernel's block counters, whatever the device's
// own sector size (Documentation/block/stat.rst of Linux).
const sectorBytes = 512

// writtenField is the place of "write sectors" in a stat file, from 0.
const writtenField = 6

// parseStat reads a block device's stat file, /sys/dev/block/MAJOR:MINOR/stat:
// one line of at least eleven numbers, of which the seventh counts the sectors
// written since boot.
func parseStat(text string) (written int64, err error) {
	fields := strings.Fields(text)
	if len(fields) < 11 {
		return 0, fmt.Errorf("device: %d numbers in a block device's stat, want at least 11", len(fields))
	}
	sectors, err := strconv.ParseUint(fields[writtenField], 10, 64)
	if err != nil || sectors > 1<<62/sectorBytes {
		return 0, fmt.Errorf("device: %q sectors written: must be a count", fields[writtenField])
	}
	return int64(sectors) * sectorBytes, nil
}
