package store

import (
	"bytes"
	"os"
	"path/filepath"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
	"kustospool/store/internal/ledger"
)

// rig is the machine of a history: a strict file system in memory, and the
// ledger's file, which bbolt needs on a real one. It keeps a copy of that file
// as the disk would hold it, told of each transaction, and puts it back at a
// crash.
type rig struct {
	fs     *memfs.FS
	wrap   func(vfs.FS) vfs.FS // a planted fault; nil: none
	ledger string              // path of the ledger's file

	image   []byte // the ledger on the disk; nil: none
	imageOf os.FileInfo
	steps   int // transactions until the power goes at one; 0: never
	beside  int // which side of it: 0 before, 1 after

	refuse  int         // transactions until one fails; 0: never
	side    ledger.Step // before or after it was written
	refusal error

	under bool   // the power went beside a transaction
	other []byte // the ledger as it would be had it gone at the other side

	forget bool   // a planted fault: a transaction is durable only with the next one
	late   []byte // of it
}

func newRig(seed uint64, dir string) *rig {
	return &rig{fs: memfs.New(seed), ledger: filepath.Join(dir, "manifest.db")}
}

func (r *rig) files() vfs.FS {
	if r.wrap != nil {
		return r.wrap(r.fs)
	}
	return r.fs
}

// step is the ledger's Options.Step.
func (r *rig) step(s ledger.Step) {
	if s == ledger.Before {
		r.note()
	}
	if r.fs.Off() {
		if r.under && s == ledger.After && r.beside == 0 && r.other == nil {
			r.other = r.read()
		}
		return
	}
	if s == ledger.Before {
		if r.steps--; r.steps == 0 && r.beside == 0 {
			r.under, r.other = true, nil
			r.cut()
		}
		return
	}
	before := r.image
	r.image, r.under, r.other = r.read(), false, nil
	if r.forget {
		r.image, r.late = r.late, r.image
	}
	if r.steps == 0 && r.beside == 1 {
		r.steps, r.under, r.other = -1, true, before
		r.cut()
	}
}

// fault is the ledger's Options.Fault. After a failed sync of a transaction that
// was written the disk may hold either side of it.
func (r *rig) fault(s ledger.Step) error {
	if s == ledger.Before {
		r.refuse--
	}
	if r.fs.Off() || r.refuse != 0 || s != r.side {
		return nil
	}
	if s == ledger.After {
		r.under, r.other = true, r.read()
	}
	return r.refusal
}

// note takes in a file that was made without a step: a new ledger takes its
// name whole.
func (r *rig) note() {
	info, err := os.Stat(r.ledger)
	if err != nil || r.imageOf != nil && os.SameFile(info, r.imageOf) {
		return
	}
	r.image, r.imageOf = r.read(), info
	r.late = r.image
}

func (r *rig) read() []byte {
	b, err := os.ReadFile(r.ledger)
	if err != nil {
		panic(err) // a file of our own
	}
	return b
}

// cut takes the power away.
func (r *rig) cut() {
	r.fs.Calm()
	r.fs.CutAfter(1)
	_ = r.fs.SyncDir("/")
}

// calm takes back all faults that have not come yet.
func (r *rig) calm() {
	r.fs.Calm()
	r.steps, r.refuse = 0, 0
}

// fallen is what a power cut, or with kill the end of the process, leaves. The
// store must be closed, after the cut. Where the power went beside a
// transaction there are two: the second has the other side's ledger.
func (r *rig) fallen(kill bool, dir string) (next, other *rig) {
	end := r.fs.Crash
	if kill {
		end = r.fs.Kill
	}
	next = &rig{fs: end(), wrap: r.wrap, ledger: r.ledger, forget: r.forget}
	next.fs.Calm() // a volume that was full is so no more
	if r.under && !bytes.Equal(r.image, r.other) {
		now := next.fs
		next.fs = now.Kill()
		other = &rig{fs: now.Kill(), wrap: r.wrap, ledger: filepath.Join(dir, "other.db"), forget: r.forget}
		other.put(r.other)
	}
	next.put(r.image)
	return next, other
}

// put makes the ledger's file of an image.
func (r *rig) put(image []byte) {
	// A file of its own, whose handles nobody has.
	if err := os.Remove(r.ledger); err != nil && !os.IsNotExist(err) {
		panic(err)
	}
	r.image, r.imageOf, r.late = image, nil, image
	if image == nil {
		return
	}
	if err := os.WriteFile(r.ledger, image, 0o600); err != nil {
		panic(err)
	}
	info, err := os.Stat(r.ledger)
	if err != nil {
		panic(err)
	}
	r.imageOf = info
}
