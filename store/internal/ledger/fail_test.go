package ledger

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

func addProps(i int) func(*Tx) error {
	return func(tx *Tx) error { _, err := tx.AddLane(props(i)); return err }
}

// TestFull: for want of space nothing happens, room that is made is used at
// once, and the ledger goes on.
func TestFull(t *testing.T) {
	asked, makesRoom, full := 0, false, true
	l := newLedger(t, &Options{NoSpace: func() bool { asked++; full = !makesRoom; return makesRoom }})
	l.failCommits(func(tx *bolt.Tx) error {
		if full {
			return errors.Join(tx.Rollback(), &os.PathError{Op: "write", Err: syscall.ENOSPC})
		}
		return tx.Commit()
	})
	if err := l.Do(ctx, addProps(1)); !errors.Is(err, ErrFull) || asked != 1 || len(l.Lanes()) != 0 || l.Err() != nil {
		t.Fatalf("%v, asked %d times, %v, %v", err, asked, l.Lanes(), l.Err())
	}
	makesRoom = true
	do(t, l, addProps(1))
	if asked != 2 || len(l.Lanes()) != 1 {
		t.Fatalf("asked %d times, %v", asked, l.Lanes())
	}
}

// TestFailedWrite: what a failed write is told as depends on whether the meta
// page may have been written, and afterwards nothing is accepted, while
// reading goes on.
func TestFailedWrite(t *testing.T) {
	eio := &os.PathError{Op: "write", Err: syscall.EIO}
	for name, c := range map[string]struct {
		commit func(l *Ledger, tx *bolt.Tx) error
		want   error
		lanes  int // after the next open
	}{
		"before the meta page": {func(_ *Ledger, tx *bolt.Tx) error { return errors.Join(tx.Rollback(), eio) }, ErrFailed, 1},
		"after the meta page":  {func(_ *Ledger, tx *bolt.Tx) error { return errors.Join(tx.Commit(), eio) }, ErrOutcomeUnknown, 2},
		"a torn meta page": {func(l *Ledger, tx *bolt.Tx) error {
			slot := int64(tx.ID()%2) * 4096
			err := tx.Rollback()
			f, ferr := os.OpenFile(l.path, os.O_WRONLY, 0)
			_, werr := f.WriteAt(make([]byte, 40), slot+pageHeaderLen)
			return errors.Join(err, ferr, werr, f.Close(), eio)
		}, ErrOutcomeUnknown, 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			mustCreate(t, path)
			var cause error
			failures := 0
			l := mustOpen(t, path, &Options{Failed: func(err error) { cause = err; failures++ }})
			defer l.Close()
			addLane(t, l, 1)
			l.failCommits(func(tx *bolt.Tx) error { return c.commit(l, tx) })
			if err := l.Do(ctx, addProps(2)); !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			if err := l.Do(ctx, addProps(3)); !errors.Is(err, ErrFailed) || !errors.Is(l.Err(), ErrFailed) || !errors.Is(cause, syscall.EIO) || failures != 1 {
				t.Errorf("got %v, %v, %v, told %d times", err, l.Err(), cause, failures)
			}
			if len(l.Lanes()) != 1 {
				t.Errorf("the mirror shows %v", l.Lanes())
			}
			if _, err := l.FindHistory(1, 1); !errors.Is(err, ErrNotFound) {
				t.Errorf("reading: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			l, found, err := Open(vfs.OS, path, &Options{NoSync: true}, nil)
			if err != nil || found.Suspect != (name == "a torn meta page") {
				t.Fatal(found, err)
			}
			if len(l.Lanes()) != c.lanes {
				t.Errorf("the next run finds %v", l.Lanes())
			}
			l.Close()
		})
	}
}

// TestPanic: damage that bbolt meets while it runs does not end the process;
// it is remembered, and the file is written again at the next open.
func TestPanic(t *testing.T) {
	path := newPath(t)
	mustCreate(t, path)
	l := mustOpen(t, path, nil)
	lane := addLane(t, l, 1)
	move(t, l, mustSeal(t, l, lane, 1, 5), ingest.Sending, ingest.Succeeded)
	do(t, l, func(tx *Tx) error { tx.PutKeys([]Key{{Hash: KeyHash{1}, Lane: lane, Seq: 3, At: 1}}); return nil })
	want := l.mirror.books()
	l.failCommits(func(tx *bolt.Tx) error { panic("page 7 already freed") })
	if err := l.Do(ctx, addProps(2)); !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before := read(t, path)
	books, found, err := readBooks(path)
	if err != nil || !bytes.Equal(read(t, path), before) || !reflect.DeepEqual(books, want) {
		t.Fatal(found, err)
	}
	kept := false
	l, found, err = Open(vfs.OS, path, &Options{NoSync: true}, func(f Findings) error {
		kept = bytes.Equal(read(t, path), before)
		return nil
	})
	if err != nil || found.Renewed == nil || found.HistoryLost || found.KeysLost || !kept {
		t.Fatal(found, err, kept)
	}
	want.Counters.Damaged++
	if got := l.mirror.books(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if _, err := l.FindHistory(lane, 3); err != nil {
		t.Error(err)
	}
	if seq, ok, err := l.FindKey(lane, KeyHash{1}, 0); seq != 3 || !ok || err != nil {
		t.Error(seq, ok, err)
	}
	l.Close()
	mustOpen(t, path, nil).Close() // trusted again
}

// TestDamagedRowMet: a row of the history that goes bad while the file is open
// is an error of its own, and is remembered.
func TestDamagedRowMet(t *testing.T) {
	path := newPath(t)
	mustCreate(t, path)
	l := mustOpen(t, path, nil)
	lane := addLane(t, l, 1)
	for i := range uint64(3) {
		move(t, l, mustSeal(t, l, lane, i+1, i+1), ingest.Sending, ingest.Succeeded)
	}
	if err := l.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketNames[bktHistory])
		v := bytes.Clone(b.Get(rowKey(lane, 2)))
		v[7] ^= 1
		return errors.Join(b.Put(rowKey(lane, 2), v), ofThis(tx))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.FindHistory(lane, 2); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	good, bad := 0, 0
	for _, err := range l.History() {
		if err == nil {
			good++
		} else if errors.Is(err, ErrDamaged) {
			bad++
		}
	}
	if good != 2 || bad != 1 {
		t.Errorf("%d good rows and %d bad ones", good, bad)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !hasDamageFlag(vfs.OS, path) {
		t.Error("the damage was not remembered")
	}
	l, found, err := Open(vfs.OS, path, &Options{NoSync: true}, nil)
	if err != nil || found.Renewed == nil || !found.HistoryLost || found.KeysLost || l.State().History != 0 || l.Counters().Ingested != 3 {
		t.Fatal(found, err)
	}
	l.Close()
}

// TestRenew damages history, keys and the free list, and finds the live rows,
// and what else was sound, in the file that Open writes.
func TestRenew(t *testing.T) {
	used, _ := usedFile(t)
	p, err := verify(bytes.NewReader(used), int64(len(used)), false)
	if err != nil {
		t.Fatal(err)
	}
	at := func(b bucket) int64 { return int64(native.Uint64(p.roots[b])) * p.meta.pageSize }
	for name, c := range map[string]struct {
		at            int64
		history, keys bool
	}{
		"history":   {at(bktHistory), true, false},
		"by time":   {at(bktByTime), true, false},
		"keys":      {at(bktKeys), false, true},
		"free list": {int64(p.meta.freelist) * p.meta.pageSize, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			file := bytes.Clone(used)
			file[c.at+8] ^= 0x40 // its kind
			write(t, path, file)
			want := p.mirror.books()
			_, look, err := readBooks(path)
			if err != nil || !bytes.Equal(read(t, path), file) {
				t.Fatal(err)
			}
			refuse := errors.New("no")
			if _, _, err := Open(vfs.OS, path, nil, func(Findings) error { return refuse }); !errors.Is(err, refuse) || !bytes.Equal(read(t, path), file) {
				t.Fatal(err)
			}
			l, found, err := Open(vfs.OS, path, &Options{NoSync: true}, nil)
			if err != nil || found.HistoryLost != c.history || found.KeysLost != c.keys || found.Renewed == nil || look.HistoryLost != c.history || look.KeysLost != c.keys {
				t.Fatalf("%+v, %+v, %v", found, look, err)
			}
			defer l.Close()
			want.Counters.Damaged++
			if c.history {
				want.State.History = 0
			}
			if got := l.mirror.books(); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if _, err := l.FindHistory(1, 3); (err == nil) == c.history {
				t.Errorf("history: %v", err)
			}
			if _, ok, err := l.FindKey(1, KeyHash{37, 1}, 0); ok == c.keys || err != nil {
				t.Errorf("keys: %v, %v", ok, err)
			}
			names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
			if err != nil || !slices.Equal(names, []string{path}) {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

// TestRefusedUntouched: a file that is refused is not changed, and neither is
// one that is not there made.
func TestRefusedUntouched(t *testing.T) {
	path := newPath(t)
	if _, _, err := Open(vfs.OS, path, nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	used, _ := usedFile(t)
	for _, file := range [][]byte{{}, used[:5000], make([]byte, 1<<16), []byte("not a ledger")} {
		write(t, path, file)
		if _, _, err := Open(vfs.OS, path, nil, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", len(file), err)
		}
		if !bytes.Equal(read(t, path), file) {
			t.Errorf("%d bytes: the file was changed", len(file))
		}
	}
	write(t, path, used)
	if !Exists(vfs.OS, path) || Exists(vfs.OS, path+"x") {
		t.Error("Exists is wrong")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(vfs.OS, path, nil, nil); !errors.Is(err, vfs.ErrNotRegular) {
		t.Errorf("a directory: %v", err)
	}
}

// TestShrink: a file that is mostly free is written again, with history and keys.
func TestShrink(t *testing.T) {
	path := newPath(t)
	mustCreate(t, path)
	l := mustOpen(t, path, nil)
	lane := addLane(t, l, 1)
	move(t, l, mustSeal(t, l, lane, 1, 5), ingest.Sending, ingest.Succeeded)
	var keys []Key
	for i := range 30_000 {
		keys = append(keys, Key{Hash: KeyHash{byte(i), byte(i >> 8), byte(i >> 16), 1}, Lane: 1, Seq: uint64(i + 1), At: int64(i)})
	}
	do(t, l, func(tx *Tx) error { tx.PutKeys(keys); return nil })
	for more := true; more; {
		var err error
		if more, err = l.PruneKeys(ctx, timeUnixNano(29_990)); err != nil {
			t.Fatal(err)
		}
	}
	want := l.mirror.books()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before := len(read(t, path))
	l = mustOpen(t, path, nil)
	defer l.Close()
	after := len(read(t, path))
	if before < shrinkFrom || after > before/4 {
		t.Errorf("%d bytes became %d", before, after)
	}
	if got := l.mirror.books(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if seq, ok, err := l.FindKey(1, keys[29_995].Hash, 0); seq != 29_996 || !ok || err != nil {
		t.Error(seq, ok, err)
	}
	if _, err := l.FindHistory(lane, 3); err != nil {
		t.Error(err)
	}
}

// TestSuspect: when the newer meta page is invalid, the older one rules, and
// that is told.
func TestSuspect(t *testing.T) {
	used, before := usedFile(t)
	p, err := verify(bytes.NewReader(used), int64(len(used)), false)
	if err != nil {
		t.Fatal(err)
	}
	path := newPath(t)
	used[int64(p.meta.txid%2)*p.meta.pageSize+pageHeaderLen+20] ^= 1
	write(t, path, used)
	l, found, err := Open(vfs.OS, path, &Options{NoSync: true}, nil)
	if err != nil || !found.Suspect || found.Renewed != nil {
		t.Fatal(found, err)
	}
	defer l.Close()
	if got, want := l.mirror.books(), booksOf(t, before); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
