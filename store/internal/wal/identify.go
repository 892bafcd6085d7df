package wal

import (
	"bytes"
	"fmt"
	"path/filepath"

	"kustospool/internal/vfs"
)

// Identify finds out whose segments are in a directory: the spool that most of
// them name. It is for who has lost what knew it. It reads the head of each
// segment, and of one without a head the first of its frames.
func Identify(fsys vfs.FS, dir string) (spool [8]byte, ok bool, err error) {
	infos, err := fsys.List(dir)
	if err != nil {
		return spool, false, err
	}
	votes := map[[8]byte]int{}
	for _, info := range infos {
		if _, ext, is := parseName(info.Name); !is || ext != extLog || !info.Regular {
			continue
		}
		if id, named := identify(fsys, filepath.Join(dir, info.Name), info.Size); named {
			if votes[id]++; votes[id] > votes[spool] || spool == [8]byte{} {
				spool, ok = id, true
			}
		}
	}
	return spool, ok, nil
}

// identifyBytes is how far a frame is looked for in a file without a head.
const identifyBytes = 4 << 20

func identify(fsys vfs.FS, name string, size int64) (id [8]byte, ok bool) {
	f, err := fsys.Open(name, vfs.ReadOnly)
	if err != nil {
		return id, false
	}
	defer f.Close()
	p := make([]byte, min(size, identifyBytes))
	n, _ := f.ReadAt(p, 0)
	p = p[:n]
	if n >= headLen {
		copy(id[:], p[8:])
		if _, err := parseHead(p, id); err == nil {
			return id, true
		}
	}
	mark := append([]byte(frameMagic), frameVersion)
	for {
		i := bytes.Index(p, mark)
		if i < 0 || len(p)-i < frameHeaderLen {
			return id, false
		}
		p = p[i:]
		copy(id[:], p[8:])
		if _, err := parseHeader(id, p[:frameHeaderLen]); err == nil {
			return id, true
		}
		p = p[1:]
	}
}

// Skip makes next the number of a lane's next record, if it is higher than
// what it would be. Nothing may be appended meanwhile, and the active segment
// must be empty, since a segment cannot hold numbers that are far apart.
func (l *Log) Skip(no uint32, next uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lanes[no]
	if ln == nil {
		return fmt.Errorf("%w %d", ErrNoLane, no)
	}
	if next > ln.next {
		ln.next, ln.durableNext = next, next
	}
	return nil
}
