package store

import (
	"path/filepath"
	"strings"

	"kustospool/store/internal/ledger"
)

// FormatVersion is the version of the format of the spools that this package
// writes, and the highest that it reads.
const FormatVersion uint32 = ledger.FormatVersion

// Names inside the directory.
const (
	lockName      = "lock"
	socketName    = "socket" // where the process that has the spool answers; package operate
	ballastName   = "ballast"
	ledgerName    = "manifest.db"
	pausedName    = "paused.json"
	segmentsName  = "segments"
	objectsName   = "objects"
	deadName      = "dead"
	quarantined   = "quarantine"
	segmentSuffix = ".log"
	oldSuffix     = ".db" // of segments of format 2
	tempSuffix    = ".tmp"
)

// subdirectories are made with the spool.
var subdirectories = []string{segmentsName, objectsName, deadName, quarantined}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// numbered reports whether a name is digits and a suffix, as a segment's is.
func numbered(name, suffix string) bool {
	digits, ok := strings.CutSuffix(name, suffix)
	return ok && len(digits) >= 8 && strings.Trim(digits, "0123456789") == ""
}
