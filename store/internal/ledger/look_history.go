package ledger

import (
	"errors"
	"fmt"
	"iter"

	"kustospool/internal/vfs"
)

// errSkipped ends a walk whose caller wants no more.
var errSkipped = errors.New("the walk was ended")

// LookHistory walks the rows of settled batches of a ledger that [Look] gave, by
// lane and first record. It reads the file and changes nothing. A row that cannot
// be read is an error of its own and does not end the walk; a page that cannot be
// read, or a file that is another by now, does.
func (l *Ledger) LookHistory() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := l.lookHistory(yield); err != nil && !errors.Is(err, errSkipped) {
			yield(Entry{}, err)
		}
	}
}

func (l *Ledger) lookHistory(yield func(Entry, error) bool) error {
	f, err := l.fs.Open(l.path, vfs.ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p := &proof{size: info.Size}
	if err := p.metaPage(f); err != nil {
		return err
	}
	if p.meta.txid != l.mirror.state.txid {
		return fmt.Errorf("%w: the file was changed since it was looked at", ErrDamaged)
	}
	w := newPageVerifier(f, p.meta)
	if err := w.claim(0, 2); err != nil {
		return err
	}
	if err := p.rootTree(w); err != nil {
		return err
	}
	return w.bucket(p.roots[bktHistory], false, func(key, value []byte, isBucket bool) error {
		e, err := &Entry{}, errRowForm
		if !isBucket {
			e, err = entryOf(bktHistory, l.Spool(), key, value, l.Lane)
		}
		if err != nil {
			e, err = &Entry{}, fmt.Errorf("%w: a row of the history: %v", ErrDamaged, err)
		}
		if !yield(*e, err) {
			return errSkipped
		}
		return nil
	})
}
