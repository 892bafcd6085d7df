package store_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kustospool/store"
)

func init() { childJobs["file limit"] = fileLimit }

// fileLimit meets the end of the room for a file twice: when the file is to
// grow, and when a page in the part it had grown to is to be written.
func fileLimit(dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := store.Open(dir, &store.Options{SegmentBytes: 4 << 20})
	must(err)
	lane, err := s.Lane(ctx, jsonTable("t"), store.FrameLimit{})
	must(err)
	data := []byte(strings.Repeat("x", 10_000))
	var old unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	limit := func(n uint64) { must(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: old.Max})) }
	acked := 0
	untilFull := func() {
		for {
			_, err := s.AppendOne(ctx, lane, data, "")
			if errors.Is(err, store.ErrFull) {
				return
			}
			must(err)
			if acked++; acked > 10_000 {
				must(errors.New("the limit was never met"))
			}
		}
	}
	for _, n := range []uint64{400 << 10, 800 << 10} {
		limit(n)
		untilFull()
		must(s.Err())
		limit(old.Cur)
		for range 5 {
			_, err := s.AppendOne(ctx, lane, data, "")
			must(err)
			acked++
		}
	}
	// The file is larger than this by now, so it is the write that fails.
	limit(64 << 10)
	untilFull()
	must(s.Err())
	limit(old.Cur)
	_, err = s.AppendOne(ctx, lane, data, "")
	must(err)
	acked++
	must(s.Close())
	s, err = store.Open(dir, nil)
	must(err)
	if st := s.Stats(); st.Acked != int64(acked) || st.Damaged != 0 || st.Suspect != 0 {
		must(fmt.Errorf("%d acknowledged, %+v", acked, st))
	}
	balance(s)
	must(s.Close())
}

// TestNoRoomIsHarmless: a write that fails for want of room is ErrFull; the
// store stays healthy, keeps what it acknowledged, and goes on when it can.
func TestNoRoomIsHarmless(t *testing.T) {
	out, err := child(t, "file limit", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
}

// peakMemory is the most memory that this process had, in bytes. A parent is
// told another figure: in its account of a child the fork itself counts, and so
// all that the parent had.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, _ = fmt.Sscan(rest, &kib)
	return kib << 10
}

// limitProcessor ends the process when it has used so many seconds of the processor.
func limitProcessor(seconds uint64) {
	must(unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds + 1}))
}

// processorTime is what the process has used of the processor.
func processorTime() time.Duration {
	var u unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
