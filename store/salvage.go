package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// relic is a frame found in a file by its own marks.
type relic struct {
	h   frameHeader
	pos int64
}

// scanRelics finds every whole frame of a spool in a file, whatever became of
// the pages that led to it: a frame's bytes are contiguous on disk, and prove
// themselves. Where one place of a lane was written twice, because a commit
// was rolled back in between, the later one counts. Parts that cannot be read
// are passed over.
func scanRelics(f *os.File, spool ingest.SpoolID) []relic {
	type place struct {
		lane  uint32
		first uint64
	}
	const window = 4 << 20
	found := map[place]relic{}
	buf := make([]byte, window+frameHeaderLen)
	for base := int64(0); ; base += window {
		n, err := f.ReadAt(buf, base)
		if err != nil && !errors.Is(err, io.EOF) {
			n = readSectors(f, buf, base)
		}
		for at := 0; ; at++ {
			i := bytes.Index(buf[at:n], []byte(frameMagic))
			if i < 0 || at+i >= window {
				break
			}
			at += i
			h, err := parseHeader(spool, buf[at:n])
			if err != nil {
				continue
			}
			whole := make([]byte, frameHeaderLen+h.body)
			if _, err := f.ReadAt(whole, base+int64(at)); err != nil {
				continue
			}
			h, _, err = parseFrame(spool, whole)
			if err != nil {
				continue
			}
			p := place{h.lane, h.first}
			if old, ok := found[p]; !ok || old.h.at <= h.at {
				found[p] = relic{h: h, pos: base + int64(at)}
			}
		}
		if n < len(buf) {
			break
		}
	}
	out := make([]relic, 0, len(found))
	for _, r := range found {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b relic) int {
		return cmp.Or(cmp.Compare(a.h.lane, b.h.lane), cmp.Compare(a.h.first, b.h.first))
	})
	return withoutOverlaps(out)
}

// readSectors reads what can be read, with zeros for the rest.
func readSectors(f *os.File, buf []byte, base int64) int {
	const sector = 4 << 10
	clear(buf)
	end := 0
	for at := 0; at < len(buf); at += sector {
		n, err := f.ReadAt(buf[at:min(at+sector, len(buf))], base+int64(at))
		if n > 0 {
			end = at + n
		}
		if errors.Is(err, io.EOF) {
			return end
		}
	}
	return len(buf)
}

// withoutOverlaps drops frames that share numbers with a later written one.
func withoutOverlaps(all []relic) []relic {
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 && out[n-1].h.lane == r.h.lane && out[n-1].h.last() >= r.h.first {
			if out[n-1].h.at > r.h.at {
				continue
			}
			out = out[:n-1]
		}
		out = append(out, r)
	}
	return out
}

// salvage replaces a damaged segment file by a new one with every frame that
// can still be found in it, and moves the damaged one to the quarantine. The
// new file is complete under a name of its own before either is moved, and
// Open finishes the exchange if a crash comes between. When nothing is found
// there is no new file, and survived is false.
//
// snaps are the lanes that are known; frames of others stay in the
// quarantine. The deduplication keys go along as far as bbolt can read them.
func salvage(dir, path string, spool ingest.SpoolID, no uint64, snaps map[uint32]laneSnapshot, opts *Options) (survived bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	relics := scanRelics(f, spool)
	relics = slices.DeleteFunc(relics, func(r relic) bool { _, ok := snaps[r.h.lane]; return !ok })
	if len(relics) == 0 {
		_ = f.Close()
		_, err := quarantine(dir, path)
		return false, err
	}
	fresh := path + salvageSuffix
	frames := func(yield func(frameAtRest, error) bool) {
		for _, r := range relics {
			value := make([]byte, frameHeaderLen+r.h.body)
			_, err := f.ReadAt(value, r.pos)
			if !yield(frameAtRest{r.h.lane, r.h.first, r.h.last(), value}, err) || err != nil {
				return
			}
		}
	}
	keys := func(tx *bolt.Tx, holds *tally) error { return salvageKeys(path, tx.Bucket(bktKeys), holds) }
	if err := writeSegment(fresh, spool, no, snaps, frames, keys, opts); err != nil {
		return false, err
	}
	_ = f.Close()
	if _, err := quarantine(dir, path); err != nil {
		return false, err
	}
	return true, renameDurably(fresh, path)
}

// frameAtRest is a frame on its way from one file to another.
type frameAtRest struct {
	lane        uint32
	first, last uint64
	value       []byte
}

// writeSegment writes a rotated segment as a new file, durable under the name
// that it is given: the frames, and what rest enters. A frame that comes with an
// error ends it.
func writeSegment(path string, spool ingest.SpoolID, no uint64, snaps map[uint32]laneSnapshot, frames iter.Seq2[frameAtRest, error],
	rest func(*bolt.Tx, *tally) error, opts *Options) error {
	var holds tally
	err := createFile(path, opts, func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(bktMeta)
		if err != nil {
			return err
		}
		lanes, err := tx.CreateBucket(bktLanes)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bktKeys); err != nil {
			return err
		}
		for lane, snap := range snaps {
			value := pack(&snap)
			holds.add(ofLane, u32(lane), value)
			if err := lanes.Put(u32(lane), value); err != nil {
				return err
			}
		}
		return errors.Join(meta.Put(keyIdentity, spool[:]), meta.Put(keyVersion, u32(formatVersion)),
			meta.Put(keyNumber, u64(no)), meta.Put(keyActivated, []byte{1}))
	})
	if err != nil {
		return err
	}
	synced := opts.activeDB()
	synced.NoGrowSync = opts.NoSync
	db, err := bolt.Open(path, 0o600, synced)
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(frames)
	defer stop()
	for more := true; more && err == nil; {
		err = db.Update(func(tx *bolt.Tx) error {
			for size := 0; size < groupBytes; {
				f, ferr, ok := next()
				if more = ok; !ok || ferr != nil {
					return ferr
				}
				size += len(f.value)
				holds.addFrame(f.value)
				if err := putFrame(tx, f.lane, f.first, f.value); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil {
		err = db.Update(func(tx *bolt.Tx) error { return errors.Join(rest(tx, &holds), holds.put(tx)) })
	}
	return errors.Join(err, db.Close())
}

// salvageKeys copies the keys of a damaged segment, up to the first page that
// is not what it should be. Only writing them can fail.
func salvageKeys(path string, to *bolt.Bucket, holds *tally) error {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	found, err := preflight(path)
	if err != nil {
		return nil
	}
	keys := map[keyHash][]byte{}
	walk := pageWalk{f: f, m: found.meta, entry: func(buckets [][]byte, k, v []byte) {
		if len(buckets) == 1 && string(buckets[0]) == string(bktKeys) && len(k) == len(keyHash{}) && len(v) == keyValueLen {
			keys[keyHash(k)] = slices.Clone(v)
		}
	}}
	_ = walk.run()
	for k, v := range keys {
		holds.add(ofKey, k[:], v)
		if err := to.Put(k[:], v); err != nil {
			return err
		}
	}
	return nil
}

// errRepair is met by readers of a segment whose file is being exchanged.
var errRepair = errors.New("the segment is being exchanged")

// repair salvages a segment whose pages turned out to be broken while it was
// read, so that what is damaged costs itself alone. It is done once for each
// segment; again says whether reading once more may help. An error is a
// repair that could not be made for now, and nothing about the records.
//
// Who comes because of errRepair has found the file being exchanged, and waits
// for the end of that.
func (s *Store) repair(seg *segment, met error) (again bool, err error) {
	s.repairs.Lock()
	defer s.repairs.Unlock()
	s.mu.RLock()
	rotated, done, leaving := seg.rotated, seg.repaired, seg.leaving
	snaps := map[uint32]laneSnapshot{}
	for lane := range seg.lanes {
		snaps[lane] = laneSnapshot{Key: s.lanes.get(lane).key}
	}
	s.mu.RUnlock()
	switch {
	case errors.Is(met, errRepair):
		return !leaving, nil
	case done || leaving:
		return done && !leaving, nil
	case !rotated || s.unclosable.Load():
		// The committer has it open. Opening the store again salvages it.
		return false, s.fail(fmt.Errorf("%w in segment %d, which is being written", errDamaged, seg.no))
	}
	s.log.Error("a segment is damaged; salvaging its frames", "path", seg.path)
	survived := false
	if err = s.handles.drop(seg, errRepair); err == nil {
		survived, err = salvage(s.dir, seg.path, s.id, seg.no, snaps, &s.opts)
	}
	s.disk.measure(seg.path)
	s.measureQuarantine()
	s.handles.restore(seg)
	if err != nil {
		return false, fmt.Errorf("salvaging %s: %w", seg.path, err)
	}
	s.mu.Lock()
	seg.repaired, seg.lost, seg.txid = true, !survived, 0
	s.mu.Unlock()
	_, _ = s.manifest.post(func(g *group) error { g.counters.Damaged++; return nil })
	s.relist(seg)
	return true, nil
}

// relist brings a segment's row up to a file that was exchanged. It does not
// wait: until then the row has another size, and no claim that does not hold.
func (s *Store) relist(seg *segment) {
	_, _ = s.manifest.post(func(g *group) error {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if seg.listed && !seg.leaving {
			row := seg.rowLocked(s)
			g.put(bktSegments, u64(seg.no), pack(&row))
		}
		return nil
	})
}
