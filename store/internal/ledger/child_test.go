package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

const (
	childEnv    = "LEDGER_TEST_CHILD"
	childMemory = 256 << 20 // what a child may take from the system, the maps of its files not counted
	childTime   = 60 * time.Second
)

// childMain is the child's part: it opens each variant that its standard input
// describes, works with it, and says of each what came of it.
func childMain() bool {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return false
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	var sounds, befores [][]byte
	for range childFiles {
		var sound, before []byte
		sound, before, input = cutBlob(input)
		sounds, befores = append(sounds, sound), append(befores, before)
	}
	for n := 0; len(input) > 0; n++ {
		var damage []byte
		damage, input = cutOne(input)
		of := binary.BigEndian.Uint64(damage)
		damage = damage[8:]
		sound, before := sounds[of], befores[of]
		file := bytes.Clone(sound)
		for ; len(damage) > 0; damage = damage[8:] {
			bit := binary.BigEndian.Uint64(damage)
			file[bit/8] ^= 1 << (bit % 8)
		}
		fmt.Println("begin", n)
		fmt.Println(tryVariant(filepath.Join(dir, strconv.Itoa(n)), file, sound, before))
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	if mem.Sys > childMemory {
		fmt.Println("memory", mem.Sys)
	}
	return true
}

func cutOne(p []byte) (one, rest []byte) {
	n := binary.BigEndian.Uint32(p)
	return p[4 : 4+n], p[4+n:]
}

func cutBlob(p []byte) (sound, before, rest []byte) {
	sound, p = cutOne(p)
	before, p = cutOne(p)
	return sound, before, p
}

func appendBlob(p, one []byte) []byte {
	return append(binary.BigEndian.AppendUint32(p, uint32(len(one))), one...)
}

// tryVariant opens a file and does what an engine would do with it.
func tryVariant(path string, file, sound, before []byte) string {
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return "wrong " + err.Error()
	}
	defer os.Remove(path)
	l, found, err := Open(vfs.OS, path, &Options{NoSync: true}, nil)
	if errors.Is(err, ErrDamaged) {
		if now, rerr := os.ReadFile(path); rerr != nil || !bytes.Equal(now, file) {
			return "wrong: a refused file was changed"
		}
		return "refused"
	}
	if err != nil {
		return "wrong " + err.Error()
	}
	// With one meta page invalid the other one rules, whichever it is.
	got := l.mirror.books()
	asWritten := func(file []byte) bool {
		p, err := verify(bytes.NewReader(file), int64(len(file)), false)
		if err != nil {
			return false
		}
		want := p.mirror.books()
		if found.Renewed != nil {
			want.Counters.Damaged++
		}
		if found.HistoryLost {
			want.State.History = 0
		}
		return reflect.DeepEqual(got, want)
	}
	if !asWritten(sound) && !(found.Suspect && asWritten(before)) {
		return fmt.Sprintf("wrong rows: %+v", got)
	}
	if err := work(l); err != nil {
		return "wrong " + err.Error()
	}
	want := l.mirror.books()
	if err := l.Close(); err != nil {
		return "wrong " + err.Error()
	}
	if again, _, err := readBooks(path); err != nil || !reflect.DeepEqual(again, want) {
		return fmt.Sprintf("wrong after work: %v", err)
	}
	return "opened"
}

// work changes every bucket.
func work(l *Ledger) error {
	ctx := context.Background()
	var lane Lane
	err := l.Do(ctx, func(tx *Tx) (err error) {
		lane, err = tx.AddLane(props(77))
		return errors.Join(err, tx.PutPositions(99, []Position{{"new", []byte("x"), 99}}), tx.PutSegment(Segment{No: 50, Lanes: map[uint32]Span{lane.No: {1, 9}}}))
	})
	if err != nil {
		return err
	}
	if _, err := l.Seal(ctx, []Seal{seal(lane.No, 1, 9)}, ends(9), evenly); err != nil {
		return err
	}
	for _, e := range l.Live() {
		for _, to := range []ingest.State{ingest.Sending, ingest.Succeeded} {
			if e.State == to {
				continue
			}
			if e, err = l.Transition(ctx, e.Batch.ID, e.State, func(e *Entry) { e.State = to }); err != nil {
				return err
			}
		}
	}
	if err := l.Do(ctx, func(tx *Tx) error {
		tx.PutKeys([]Key{{Hash: KeyHash{200}, Lane: 1, Seq: 5, At: 5}, {Hash: KeyHash{37, 1}, Lane: 1, Seq: 5, At: 500}})
		for _, seg := range l.Segments() {
			if err := tx.SettleSegment(seg.No); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if _, err := l.PruneKeys(ctx, time.Unix(0, 50)); err != nil {
		return err
	}
	for _, err := range l.History() {
		if err != nil {
			return err
		}
	}
	return nil
}

const childFiles = 2 // a fresh one and a used one

// structure lists the bits of a file in which a page says what it is and where
// its rows are: what bbolt follows.
func structure(file []byte, high uint64) (bits []uint64) {
	for page := range high {
		head := file[page*4096:]
		n := 16
		switch flags, count := native.Uint16(head[8:]), int(native.Uint16(head[10:])); {
		case flags&4 != 0: // meta
			n += 64
		case flags&16 != 0: // free list
			n += 8 * count
		default:
			n += 16 * count
		}
		for bit := range uint64(min(n, 4096) * 8) {
			bits = append(bits, page*4096*8+bit)
		}
	}
	return bits
}

// TestChildren opens variants of a fresh and of a used file in child processes,
// with bounds of time and memory: those that the reader lets pass (with
// -ledger.long each with one bit of the structure flipped), and some of the rest.
// Each is opened, worked with, and read again.
func TestChildren(t *testing.T) {
	if testing.Short() {
		t.Skip("not run with -short: it starts some hundred processes")
	}
	used, beforeUsed := usedFile(t)
	fresh, beforeFresh := freshFile(t)
	sounds, befores := [childFiles][]byte{fresh, used}, [childFiles][]byte{beforeFresh, beforeUsed}
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	var input []byte
	for i := range sounds {
		input = appendBlob(appendBlob(input, sounds[i]), befores[i])
	}
	var variants [][]byte
	for i, sound := range sounds {
		p, err := verify(bytes.NewReader(sound), int64(len(sound)), false)
		if err != nil {
			t.Fatal(err)
		}
		passing, refused := 150, 30
		if *long {
			passing, refused = 1500, 300
		}
		add := func(bits ...uint64) {
			file := bytes.Clone(sound)
			damage := binary.BigEndian.AppendUint64(nil, uint64(i))
			for _, bit := range bits {
				file[bit/8] ^= 1 << (bit % 8)
				damage = binary.BigEndian.AppendUint64(damage, bit)
			}
			if _, err := verify(bytes.NewReader(file), int64(len(file)), false); err == nil && passing > 0 {
				passing--
			} else if err != nil && refused > 0 {
				refused--
			} else {
				return
			}
			variants = append(variants, damage)
			input = appendBlob(input, damage)
		}
		all := structure(sound, p.meta.high)
		for passing+refused > 0 {
			bits := make([]uint64, 1+rng.IntN(2))
			for j := range bits {
				if bits[j] = rng.Uint64N(uint64(len(sound)) * 8); rng.IntN(2) == 0 {
					bits[j] = all[rng.IntN(len(all))]
				}
			}
			add(bits...)
		}
		if *long {
			passing = len(all)
			for _, bit := range all {
				add(bit)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), childTime*time.Duration(1+len(variants)/500))
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+t.TempDir())
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	counts := map[string]int{}
	for i, line := range lines {
		if !strings.HasPrefix(line, "begin ") {
			word, _, _ := strings.Cut(line, " ")
			counts[word]++
			if word != "opened" && word != "refused" {
				t.Errorf("%s: %s", lines[max(i-1, 0)], line)
			}
		}
	}
	if err != nil {
		t.Errorf("seed %d: the child ended with %v after %s", seed, err, lines[len(lines)-1])
	}
	t.Logf("seed %d: of %d variants %d were opened and %d refused", seed, len(variants), counts["opened"], counts["refused"])
	if counts["opened"]+counts["refused"] != len(variants) || counts["opened"] == 0 || counts["refused"] == 0 {
		t.Errorf("%d variants and %v", len(variants), counts)
	}
}
