package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kustospool/ingest"
	"kustospool/store"
)

// powerVariable makes the test binary a child that appends to a store until it
// is stopped: its value is "directory|nosync".
const powerVariable = "KUSTOSPOOL_POWER_CHILD"

// runPowerChild prints "ack LANE SEQ NUMBER" for every record that is said to
// be on stable storage. Two lanes and four writers make frames of both kinds.
func runPowerChild(spec string) int {
	dir, mode, _ := strings.Cut(spec, "|")
	s, err := store.Open(dir, &store.Options{SegmentBytes: 256 << 10, MaxBytes: 48 << 20, NoSync: mode == "nosync"})
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	if mode == "nosync" {
		syscall.Sync() // the spool itself is there; it is the records that the control must lose
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			p := telemetry
			p.Table = fmt.Sprint("T", w%2)
			lane, err := s.Lane(context.Background(), &p, store.FrameLimit{})
			for n := 0; err == nil; n++ {
				number := w*1_000_000 + n
				var a store.Appended
				if a, err = s.AppendOne(context.Background(), lane, powerRecord(number), ""); err == nil {
					fmt.Fprintf(os.Stdout, "ack %d %d %d\n", lane, a.Seq, number)
				}
			}
			fmt.Fprintln(os.Stderr, "append:", err)
			os.Exit(1)
		})
	}
	wg.Wait()
	return 0
}

// powerRecord is between 100 bytes and 3 KiB, a function of its number.
func powerRecord(number int) []byte {
	return fmt.Appendf(nil, `{"number":%d,"pad":"%s"}`, number, strings.Repeat("p", 80+number*37%3000))
}

// TestPowerCut takes the disk away from under a store, as a power cut does: a
// file system in a file is copied as the device sees it at that moment, without
// what is still in the page cache, and the copy is mounted. Every acknowledged
// record must be there. The control leaves the fsyncs out, and must lose.
func TestPowerCut(t *testing.T) {
	needMount(t)
	cuts := rounds(t, 10)
	t.Run("synced", func(t *testing.T) {
		acked := 0
		for cut := range cuts {
			n, lost := powerCut(t, "sync", 50+cut%25*40)
			if lost > 0 {
				t.Fatalf("cut %d: %d of %d acknowledged records are lost", cut, lost, n)
			}
			acked += n
		}
		t.Logf("%d power cuts, %d acknowledged records, none lost", cuts, acked)
	})
	t.Run("control without fsync", func(t *testing.T) {
		for cut := range cuts {
			if n, lost := powerCut(t, "nosync", 200); lost > 0 {
				t.Logf("as it must be: %d of %d acknowledged records lost at cut %d", lost, n, cut)
				return
			}
		}
		t.Fatal("nothing was lost without fsync: this test cannot see a loss")
	})
}

var errNoLoop = errors.New("no loop devices")

// needMount skips the test, and says why, where a file cannot be mounted.
func needMount(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not run: mounting a file system needs root")
	}
	if err := tryMount(t); err != nil {
		if os.Getenv("CI") != "" && !errors.Is(err, errNoLoop) {
			t.Fatal(err)
		}
		t.Skipf("not run: this machine cannot mount a file as a file system: %v", err)
	}
}

func tryMount(t *testing.T) error {
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return fmt.Errorf("%w: %v", errNoLoop, err)
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	image := makeImage(t, 96<<20)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %v: %s", errNoLoop, err, out)
	}
	unmount(t, dir)
	return nil
}

func makeImage(t *testing.T, size int64) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	return image
}

func mount(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	return dir
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		t.Fatalf("umount: %v: %s", err, out)
	}
}

// powerCut runs one child until it has acknowledged some records, cuts, and
// returns how many were acknowledged before and how many of them are lost.
func powerCut(t *testing.T, mode string, after int) (acked, lost int) {
	t.Helper()
	image := makeImage(t, 96<<20)
	disk := mount(t, image)
	mounted := true
	defer func() {
		if mounted {
			unmount(t, disk)
		}
	}()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), powerVariable+"="+filepath.Join(disk, "spool")+"|"+mode)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	type ack struct {
		lane uint32
		seq  uint64
	}
	got := make(map[ack]int)
	lines := bufio.NewScanner(out)
	for len(got) < after && lines.Scan() {
		var a ack
		var number int
		if n, _ := fmt.Sscanf(lines.Text(), "ack %d %d %d", &a.lane, &a.seq, &number); n == 3 {
			got[a] = number
		}
	}
	// The cut: the writer stands still, and what the device has is copied.
	// Only acknowledgements read before it count.
	stopped := cmd.Process.Signal(syscall.SIGSTOP)
	after = len(got)
	cutImage := filepath.Join(t.TempDir(), "cut.img")
	copyErr := copyFile(cutImage, image)
	_ = cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if err := errors.Join(stopped, copyErr); err != nil || after == 0 {
		t.Fatalf("%v; the child said %s", err, stderr.String())
	}
	unmount(t, disk)
	mounted = false

	after = len(got)
	disk = mount(t, cutImage)
	mounted = true
	dir := filepath.Join(disk, "spool")
	if _, err := os.Stat(dir); err != nil {
		return after, after // not even the directory is there
	}
	s, err := store.Open(dir, &store.Options{SegmentBytes: 256 << 10, MaxBytes: 48 << 20})
	if err != nil {
		if mode == "nosync" {
			return after, after
		}
		t.Fatalf("the spool does not open after the cut: %v", err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	text := readOpen(t, s)
	for a, number := range got {
		e, err := s.Find(a.lane, a.seq)
		if err != nil || e.State != ingest.Sealed || !text[string(powerRecord(number))] {
			lost++
		}
	}
	return after, lost
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// readOpen seals all that a store holds and reads it back.
func readOpen(t *testing.T, s *store.Store) map[string]bool {
	t.Helper()
	var seals []store.Seal
	for f, err := range s.Unsealed() {
		if err != nil {
			t.Fatal(err)
		}
		if n := len(seals); n > 0 && seals[n-1].Lane == f.Lane && seals[n-1].Last+1 == f.First {
			seals[n-1].Last, seals[n-1].Bytes = f.Last, seals[n-1].Bytes+f.Bytes
			continue
		}
		seals = append(seals, store.Seal{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes,
			Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
	}
	text := make(map[string]bool)
	if len(seals) == 0 {
		return text
	}
	entries, err := s.Seal(t.Context(), seals)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		r := s.Payload(&e.Batch).Open()
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatalf("batch %s..%s: %v", strconv.FormatUint(e.Batch.First, 10), strconv.FormatUint(e.Batch.Last, 10), err)
		}
		for line := range strings.Lines(string(data)) {
			text[strings.TrimSuffix(line, "\n")] = true
		}
	}
	return text
}
