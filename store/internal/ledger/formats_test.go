package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	bolt "go.etcd.io/bbolt"

	"kustospool/internal/vfs"
)

// TestOtherFormats: a ledger of another format is named as such.
func TestOtherFormats(t *testing.T) {
	old := newPath(t)
	db, err := bolt.Open(old, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("by-time"))
		meta, merr := tx.CreateBucket(bucketNames[bktMeta])
		return errors.Join(err, merr, meta.Put(oldKeyIdentity, make([]byte, 8)), meta.Put(oldKeyVersion, binary.BigEndian.AppendUint32(nil, 2)), meta.Put([]byte("state"), []byte("{}")))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	future := newPath(t)
	mustCreate(t, future)
	if db, err = bolt.Open(future, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("new"))
		return errors.Join(err, tx.Bucket(bucketNames[bktMeta]).Put(keyHead, sealRow(bktMeta, keyHead, append([]byte{rowVersion, 4}, "whatever"...))))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	// One of the version before, as a program with one more bucket and longer rows
	// would find it; and one whose meta bucket has pages of its own.
	before, large := newPath(t), newPath(t)
	for path, change := range map[string]func(tx *bolt.Tx, meta *bolt.Bucket) error{
		before: func(tx *bolt.Tx, meta *bolt.Bucket) error {
			state := meta.Get(keyState)
			return errors.Join(tx.DeleteBucket(bucketNames[bktKeyTimes]), meta.Put(keyState, sealRow(bktMeta, keyState, bytes.Clone(state[sumLen:len(state)-8]))))
		},
		large: func(_ *bolt.Tx, meta *bolt.Bucket) error {
			return meta.Put(keyState, sealRow(bktMeta, keyState, make([]byte, 8<<10)))
		},
	} {
		mustCreate(t, path)
		if db, err = bolt.Open(path, 0o600, nil); err != nil {
			t.Fatal(err)
		}
		version := byte(FormatVersion - 1)
		if path == large {
			version = FormatVersion + 1
		}
		err = db.Update(func(tx *bolt.Tx) error {
			meta := tx.Bucket(bucketNames[bktMeta])
			return errors.Join(change(tx, meta), meta.Put(keyHead, sealRow(bktMeta, keyHead, append([]byte{rowVersion, version}, "whatever"...))))
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for path, version := range map[string]uint32{old: 2, future: 4, before: FormatVersion - 1, large: FormatVersion + 1} {
		content := read(t, path)
		var ve *VersionError
		if _, _, err := Open(vfs.OS, path, nil, nil); !errors.As(err, &ve) || ve.Version != version {
			t.Errorf("format %d: %v", version, err)
		}
		if _, _, err := readBooks(path); !errors.As(err, &ve) || ve.Version != version {
			t.Errorf("format %d: %v", version, err)
		}
		if !bytes.Equal(read(t, path), content) {
			t.Errorf("format %d: the file was changed", version)
		}
	}
}
