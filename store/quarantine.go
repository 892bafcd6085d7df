package store

import (
	"cmp"
	"slices"
	"time"

	"kustospool/internal/vfs"
)

// SetAside is a file in the quarantine.
type SetAside struct {
	Name  string // below the spool's directory
	Bytes int64
	At    time.Time // when it last changed
}

// Quarantine lists the files that were set aside because of damage, the newest
// first. It reads the directory and none of them.
func (s *Store) Quarantine() ([]SetAside, error) {
	infos, err := s.fs.List(s.path(quarantined))
	if err != nil {
		if vfs.Missing(err) {
			return nil, nil
		}
		return nil, err
	}
	out := make([]SetAside, 0, len(infos))
	for _, info := range infos {
		if info.Regular {
			out = append(out, SetAside{Name: quarantined + "/" + info.Name, Bytes: info.Size, At: info.Changed})
		}
	}
	slices.SortFunc(out, func(a, b SetAside) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// Quarantine is as of [Store.Quarantine].
func (p *Picture) Quarantine() ([]SetAside, error) { return p.s.Quarantine() }

// Dir is the spool's directory, as an absolute path.
func (p *Picture) Dir() string { return p.s.dir }
