package ledger

import (
	"bytes"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

// backlogBooks are the books of a spool with 20 GiB waiting: 320 segments, a
// few hundred batches.
func backlogBooks(tb testing.TB, lanes, segments, batches int) *Books {
	b := &Books{Spool: testSpool}
	held := map[uint32]Span{}
	for i := 1; i <= lanes; i++ {
		l, err := newLane(uint32(i), props(i).Key())
		if err != nil {
			tb.Fatal(err)
		}
		l.Watermarks = Watermarks{Sealed: uint64(batches/lanes) * 1000, High: 1 << 30, Bytes: 1 << 40}
		b.Lanes = append(b.Lanes, *l)
		held[l.No] = Span{1, 1 << 20}
		for n := range batches / lanes {
			b.Entries = append(b.Entries, Entry{Batch: ingest.Batch{Lane: l.No, First: uint64(n)*1000 + 1, Last: uint64(n+1) * 1000, RawBytes: 1 << 20,
				Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}, State: ingest.Sealed})
		}
	}
	for no := 1; no <= segments; no++ {
		b.Segments = append(b.Segments, Segment{No: uint64(no), Generation: 1, Size: 64 << 20, End: 63 << 20, Lanes: held})
	}
	return b
}

func BenchmarkOpen(b *testing.B) {
	for name, books := range map[string]*Books{"empty": {Spool: testSpool}, "backlog": backlogBooks(b, 5, 320, 300), "lanes": backlogBooks(b, 1000, 320, 1000)} {
		b.Run(name, func(b *testing.B) {
			path := newPath(b)
			if err := Create(vfs.OS, path, books, nil); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				l, _, err := Open(vfs.OS, path, nil, nil)
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	used, _ := usedFile(b)
	b.SetBytes(int64(len(used)))
	for b.Loop() {
		if _, err := verify(bytes.NewReader(used), int64(len(used)), true); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBatchLife is what the books of one batch cost: sealed, sent, settled.
func BenchmarkBatchLife(b *testing.B) {
	path := newPath(b)
	if err := Create(vfs.OS, path, &Books{Spool: testSpool}, nil); err != nil {
		b.Fatal(err)
	}
	l, _, err := Open(vfs.OS, path, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	lane := addLane(b, l, 1)
	seq := uint64(0)
	for b.Loop() {
		move(b, l, mustSeal(b, l, lane, seq+1, seq+10), ingest.Sending, ingest.Succeeded)
		seq += 10
	}
}
