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
	sound, before, rest := cutBlob(input)
	for n := 0; len(rest) > 0; n++ {
		var damage []byte
		damage, rest = cutOne(rest)
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
	wrote := sound
	if found.Suspect {
		wrote = before
	}
	p, err := verify(bytes.NewReader(wrote), int64(len(wrote)), false)
	if err != nil {
		return "wrong " + err.Error()
	}
	got, want := l.mirror.books(), p.mirror.books()
	if found.Renewed != nil {
		want.Counters.Damaged++
	}
	if found.HistoryLost {
		want.State.History = 0
	}
	if !reflect.DeepEqual(got, want) && !found.Suspect {
		return fmt.Sprintf("wrong rows: %+v", got)
	}
	if err := work(l); err != nil {
		return "wrong " + err.Error()
	}
	want = l.mirror.books()
	if err := l.Close(); err != nil {
		return "wrong " + err.Error()
	}
	if again, _, err := ReadBooks(vfs.OS, path); err != nil || !reflect.DeepEqual(again, want) {
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
		return errors.Join(tx.SettleSegment(2), tx.SettleSegment(50))
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

// TestChildren opens variants of a used file in child processes, with bounds
// of time and memory: those that the reader lets pass, and some of the rest.
// Each is opened, worked with, and read again.
func TestChildren(t *testing.T) {
	if testing.Short() {
		t.Skip("not run with -short: it starts some hundred processes")
	}
	sound, before := usedFile(t)
	p, err := verify(bytes.NewReader(sound), int64(len(sound)), false)
	if err != nil {
		t.Fatal(err)
	}
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	passing, refused := 250, 50
	if *long {
		passing, refused = 3000, 500
	}
	input := appendBlob(appendBlob(nil, sound), before)
	var variants [][]byte
	for passing+refused > 0 {
		var damage []byte
		file := bytes.Clone(sound)
		for range 1 + rng.IntN(2) {
			bit := rng.Uint64N(p.meta.high * uint64(p.meta.pageSize) * 8)
			if rng.IntN(2) == 0 { // near the beginning of a page, where its structure is
				bit = bit/(uint64(p.meta.pageSize)*8)*uint64(p.meta.pageSize)*8 + rng.Uint64N(64*8)
			}
			file[bit/8] ^= 1 << (bit % 8)
			damage = binary.BigEndian.AppendUint64(damage, bit)
		}
		if _, err := verify(bytes.NewReader(file), int64(len(file)), false); err == nil && passing > 0 {
			passing--
		} else if err != nil && refused > 0 {
			refused--
		} else {
			continue
		}
		variants = append(variants, damage)
		input = appendBlob(input, damage)
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
