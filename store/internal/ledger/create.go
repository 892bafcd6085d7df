package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
)

const (
	tempSuffix       = ".tmp"
	damageFlagSuffix = ".damaged"
)

// Names lists the names that a ledger at path uses beside its own: a temporary
// file, which Open and Create remove, and the flag of damage that was met.
func Names(path string) []string { return []string{path + tempSuffix, path + damageFlagSuffix} }

// row is a row as it is stored.
type row struct {
	b          bucket
	key, value []byte
}

// Create writes a new file with these books, for a first start and for a
// rebuild. It is complete and durable before it takes the name, in place of
// what has it. Of Books.State only what Tx.SetState takes and Positions are
// used; of a lane, Key and Watermarks; a batch's Properties and ID are made anew.
// Books that break a law of the ledger are an error that matches
// [ingest.ErrInvalid]; a volume without room gives ErrFull.
func Create(fs vfs.FS, path string, books *Books, opts *Options) error {
	o := opts.withDefaults()
	rows, ld := booksRows(books), newLoader()
	ld.m.spool, ld.head, ld.state = books.Spool, true, true
	st := &ld.m.state
	st.State, st.counters = books.State, books.Counters
	st.History = 0
	for _, l := range books.Lanes {
		st.Lanes = max(st.Lanes, l.No)
	}
	for _, s := range books.Segments {
		st.HighestNo = max(st.HighestNo, s.No)
	}
	for _, r := range rows {
		st.census.add(r.b, r.value)
		if err := ld.row(r.b, r.key, r.value); err != nil {
			return &ingest.FieldError{Field: "books", Value: r.b.String(), Rule: err.Error()}
		}
	}
	if err := ld.check(); err != nil {
		return &ingest.FieldError{Field: "books", Value: "rows", Rule: err.Error()}
	}
	_, err := build(fs, path, &o, st, ld.m.spool, func(put func(row) error) error {
		for _, r := range rows {
			if err := put(r); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// booksRows gives the rows of books in the order of their buckets.
func booksRows(books *Books) (rows []row) {
	add := func(b bucket, key, body []byte) { rows = append(rows, row{b, key, sealRow(b, key, body)}) }
	for _, l := range books.Lanes {
		add(bktLanes, u32(l.No), encodeLane(l.Key))
	}
	for _, l := range books.Lanes {
		add(bktWatermarks, u32(l.No), encodeWatermarks(&l.Watermarks))
	}
	for _, s := range books.Segments {
		add(bktSegments, u64(s.No), encodeSegment(&s))
	}
	for _, t := range books.Tombstones {
		add(bktTombstones, u64(t.No), encodeTombstone(t))
	}
	for _, e := range books.Entries {
		add(bktBatches, rowKey(e.Batch.Lane, e.Batch.First), encodeBatch(&e))
	}
	for _, obj := range books.Objects {
		add(bktObjects, obj.ID[:], encodeObject(&obj))
	}
	for _, p := range books.Positions {
		add(bktPositions, []byte(p.Name), encodePosition(&p))
	}
	return rows
}

// renew writes the file f anew from what a proof has shown. What is damaged of
// history and keys is left out, and the other rows are as they were. It closes
// f, because not every system gives the name of an open file to another.
func renew(fs vfs.FS, path string, f vfs.File, p *proof, damaged bool, o *Options) (fresh *proof, history, keys error, err error) {
	st := p.mirror.state
	history, keys = p.history, p.keys
	if damaged {
		st.counters.Damaged++
	}
	for b := firstRest; b < bucketCount; b++ {
		st.census[b].Rows, st.census[b].Sum = 0, 0
	}
	if p.partial {
		// Nobody has read the leaves of the rest.
		w := newPageVerifier(f, p.meta)
		whole := *p
		whole.partial = false
		whole.rest(w)
		history, keys = errors.Join(history, whole.history), errors.Join(keys, whole.keys)
	}
	if history != nil {
		st.History = 0
	}
	fresh, err = build(fs, path, o, &st, p.mirror.spool, func(put func(row) error) error {
		w := newPageVerifier(f, p.meta)
		for b := bktMeta + 1; b < bucketCount; b++ {
			if b >= bktKeys && keys != nil || b >= firstRest && b < bktKeys && history != nil {
				continue
			}
			err := w.bucket(p.roots[b], false, func(key, value []byte, _ bool) error {
				if b >= firstRest {
					st.census.add(b, value)
				}
				return put(row{b, key, bytes.Clone(value)})
			})
			if err != nil {
				return err
			}
		}
		return f.Close()
	})
	return fresh, history, keys, err
}

// buildAtOnce bounds one transaction of a new file, in bytes.
const buildAtOnce = 1 << 20

// build makes a file of rows: temporary name, fsync, a look at whether it is
// sound, rename, fsync of the directory. st is stored as it is once fill has
// returned. A row's value must stay as it is.
func build(fs vfs.FS, path string, o *Options, st *state, spool ingest.SpoolID, fill func(put func(row) error) error) (p *proof, err error) {
	temp := path + tempSuffix
	if err := fs.Remove(temp); err != nil && !vfs.Missing(err) {
		return nil, err
	}
	if err = guard(func() error { return fillFile(temp, o, st, spool, fill) }); err == nil {
		p, err = examineSound(fs, temp)
	}
	if err == nil {
		crashpoint.Reach("create.written")
		err = fs.Rename(temp, path)
	}
	if err != nil {
		if wantsSpace(err) {
			err = fmt.Errorf("%w: writing a new ledger: %v", ErrFull, err)
		}
		if rerr := fs.Remove(temp); rerr != nil && !vfs.Missing(rerr) {
			err = errors.Join(err, rerr)
		}
		return nil, err
	}
	if err := removeDamageFlag(fs, path); err != nil {
		return nil, err
	}
	if o.NoSync {
		return p, nil
	}
	return p, fs.SyncDir(filepath.Dir(path))
}

// examineSound verifies a file that was just written.
func examineSound(fs vfs.FS, path string) (*proof, error) {
	f, err := fs.Open(path, vfs.ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := examine(f, true)
	if err == nil {
		err = p.damage()
	}
	return p, err
}

func fillFile(temp string, o *Options, st *state, spool ingest.SpoolID, fill func(put func(row) error) error) (err error) {
	bo := o.bolt()
	bo.NoSync, bo.NoGrowSync = true, true // one sync at the end
	bo.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		return os.OpenFile(name, flag|os.O_EXCL|vfs.Direct, mode) // it was removed: what has the name is another's
	}
	db, err := bolt.Open(temp, 0o600, bo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.AllocSize = growth
	tx, err := db.Begin(true)
	if err != nil {
		return err
	}
	defer func() {
		if tx != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	for _, name := range bucketNames {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	staged := 0
	put := func(r row) error {
		b := tx.Bucket(bucketNames[r.b])
		b.FillPercent = 0.9 // rows come in order
		if err := b.Put(r.key, r.value); err != nil {
			return err
		}
		if staged += len(r.key) + len(r.value) + elementLen; staged < buildAtOnce {
			return nil
		}
		staged = 0
		err := tx.Commit()
		if tx = nil; err == nil {
			tx, err = db.Begin(true)
		}
		return err
	}
	if err := fill(put); err != nil {
		return err
	}
	if err := put(row{bktMeta, keyHead, sealRow(bktMeta, keyHead, encodeHead(head{Spool: spool, Version: FormatVersion}))}); err != nil {
		return err
	}
	st.txid = uint64(tx.ID()) // the last one: put may have begun another
	if err := tx.Bucket(bucketNames[bktMeta]).Put(keyState, sealRow(bktMeta, keyState, encodeState(st))); err != nil {
		return err
	}
	err = tx.Commit()
	tx = nil
	if err == nil && !o.NoSync {
		err = db.Sync()
	}
	return err
}

// growth is what bbolt adds to the file when it is full.
const growth = 128 << 10

// bolt are the options of the file.
func (o *Options) bolt() *bolt.Options {
	return &bolt.Options{Timeout: o.LockTimeout, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		NoSync: o.NoSync, NoGrowSync: o.NoSync, OpenFile: os.OpenFile}
}

// putDamageFlag makes the flag, durably if it can be.
func putDamageFlag(fs vfs.FS, path string, sync bool) error {
	f, err := fs.Open(path+damageFlagSuffix, vfs.Create)
	if err != nil {
		return err
	}
	if sync {
		err = errors.Join(f.Sync(), fs.SyncDir(filepath.Dir(path)))
	}
	return errors.Join(err, f.Close())
}

func removeDamageFlag(fs vfs.FS, path string) error {
	if err := fs.Remove(path + damageFlagSuffix); err != nil && !vfs.Missing(err) {
		return err
	}
	return nil
}

func hasDamageFlag(fs vfs.FS, path string) bool {
	_, err := fs.Stat(path + damageFlagSuffix)
	return err == nil
}
