package store

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"kustospool/internal/crashpoint"
)

// shrinkFrom is the size of a manifest that is worth to be written again when
// most of it is free: a bbolt file never shrinks by itself, and its free list is
// part of every commit.
const shrinkFrom = 4 << 20

// worthShrinking reports whether at least half of a manifest's pages are free.
func worthShrinking(found findings, path string) bool {
	if found.size < shrinkFrom {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	free, _, err := readFreelist(f, found.meta)
	return err == nil && int64(len(free))*found.meta.pageSize >= found.size/2
}

// shrink writes the manifest again without its free pages. The new file is
// complete before it takes the old one's place. A failure leaves the old one.
func (r *recovery) shrink(path string) error {
	opts := &r.s.opts
	temp := path + tempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	old, err := openBolt(path, &bolt.Options{ReadOnly: true, Timeout: opts.LockTimeout, NoStatistics: true})
	if err != nil {
		return err
	}
	fresh, err := bolt.Open(temp, 0o600, opts.manifestDB())
	if err == nil {
		// Under guard: Compact reads every page.
		err = guard(func() error { return bolt.Compact(fresh, old, shrinkAtOnce) })
		err = errors.Join(err, fresh.Close())
	}
	err = errors.Join(err, old.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("writing the manifest again: %w", err), os.Remove(temp))
	}
	crashpoint.Reach("create.written")
	if opts.NoSync {
		return os.Rename(temp, path)
	}
	return renameDurably(temp, path)
}

// shrinkAtOnce bounds one transaction of the new file, in bytes.
const shrinkAtOnce = 1 << 20
