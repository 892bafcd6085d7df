package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"

	"kustospool/cmd/bench/internal/load"
	"kustospool/cmd/bench/internal/spools"
	"kustospool/store"
)

// childEnv tells a test binary that it is to be the command.
const childEnv = "KUSTOSPOOL_BENCH_CHILD"

const (
	// almostFull is how much goes into the one segment: no rotation is near.
	almostFull = store.DefaultSegmentBytes - 4<<20
	// killedFrame is how many records a commit has.
	killedFrame = 64
)

// killed has another process fill the active segment of a store in dir, kills
// it, and returns how many records it had acknowledged.
func killed(ctx context.Context, dir string) (records int64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, "fill", "-dir", dir)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	// The child waits for the end of its input, and that does not come: it
	// is killed, or this process ended before and took the pipe with it.
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "full %d\n", &records)
	}
	if killing := cmd.Process.Kill(); killing != nil {
		err = errors.Join(err, killing)
	}
	waited := cmd.Wait()
	var exit *exec.ExitError
	if err != nil || !errors.As(waited, &exit) {
		return 0, errors.Join(fmt.Errorf("the process to be killed said %q", line), err, waited)
	}
	return records, nil
}

// runFill is that process: it is no benchmark, and usage does not name it.
func runFill(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var dir string
	fs := flag.NewFlagSet("fill", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&dir, "dir", "", "empty directory for a store")
	if err := parse(fs, args); err != nil {
		return err
	}
	if dir == "" {
		return usageError{errors.New("-dir must name an empty directory")}
	}
	s, err := store.Open(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	props := spools.Properties(0)
	lane, err := s.Lane(ctx, &props, store.FrameLimit{})
	if err != nil {
		return err
	}
	recs := make([]store.Record, killedFrame)
	for i, data := range load.Records(len(recs), 1024, 1) {
		recs[i] = store.Record{Lane: lane, Data: data}
	}
	for s.Stats().AckedBytes < almostFull {
		if _, err := s.Append(ctx, recs); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(stdout, "full %d\n", s.Stats().Acked); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
