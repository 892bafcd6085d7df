// Command bench measures kustospool and prints Go benchmark lines, which
// benchstat compares.
//
//	go run ./cmd/bench ingest    acknowledged records a second, by size, tables and producers; peak heap
//	go run ./cmd/bench e2e       from producers to rows, with an outage in the middle
//	go run ./cmd/bench drain     a backlog read, verified and compressed, beside plain files
//	go run ./cmd/bench mixed     ingestion at full rate while draining, beside ingestion alone, and the limit's
//	go run ./cmd/bench recover   opening a spool with a backlog, beside an empty one, and after a kill; peak heap
//	go run ./cmd/bench wear      bytes on the device for each byte of payload
//	go run ./cmd/bench lines     lines of the store's code
//	go run ./cmd/bench limit     what the disk allows: a plain file with a group commit
//	go run ./cmd/bench report    charts (SVG) of what bars.sh, module peers and those with verdicts printed
//
// # What is promised
//
// Every acknowledgement that is counted was fsynced. e2e compares each row of
// the simulated service with what was acknowledged, and exits with 1 when one
// is lost or doubled. Figures compare within one machine and one run of it;
// run the floor (ingest -floor) beside it to know the disk. drain, mixed, recover, wear and
// lines end in verdicts, medians held against what the store is to reach; a
// failed one is no error, and what cannot be measured here is told as n/a.
// bars.sh runs all that have any, those of module peers too.
//
// # What it does not do
//
// It does not measure a real cluster, nor the network. Nothing is left behind
// in the temporary directory, unless the process is killed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `usage: bench ingest|e2e|drain|mixed|recover|wear|lines|limit [flags]
       bench report [flags] FILE...
  bench NAME -h   flags of a benchmark
`

// run returns the exit code: 0 done, 1 failed or a row lost or doubled, 2 the
// command is wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var measure func(context.Context, []string, io.Writer, io.Writer) error
	if len(args) > 0 {
		switch args[0] {
		case "ingest":
			measure = runIngest
		case "e2e":
			measure = runE2E
		case "drain":
			measure = runDrain
		case "mixed":
			measure = runMixed
		case "recover":
			measure = runRecover
		case "wear":
			measure = runWear
		case "lines":
			measure = runLines
		case "limit":
			measure = runLimit
		case "report":
			measure = runReport
		case "fill":
			measure = runFill
		}
	}
	if measure == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	err := measure(ctx, args[1:], stdout, stderr)
	var bad usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &bad):
		fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
		return 2
	}
	fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
	return 1
}

// usageError is a mistake in the flags.
type usageError struct{ error }

func parse(fs *flag.FlagSet, args []string) error {
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return usageError{err}
	case fs.NArg() > 0:
		return usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	}
	return nil
}

// heading is what benchstat groups results by.
func heading(w io.Writer) {
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: kustospool/cmd/bench\n", runtime.GOOS, runtime.GOARCH)
}
