package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kustospool/cmd/kustospool/internal/progress"
	"kustospool/cmd/kustospool/internal/snapshot"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/visible"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // something is dead-lettered, dropped, or went wrong
	exitUsage   = 2 // the command or its input is wrong; this run stored nothing
	exitPending = 3 // durable, and not all delivered
	exitPart    = 4 // a part of the input is stored, and the rest is not
	exitChanged = 5 // an input changed while it was read
)

// console is where a command reads and writes.
type console struct {
	in    io.Reader
	out   io.Writer        // the report and nothing else; shows what cannot be seen, as err does
	err   *progress.Screen // progress, hints, errors
	quiet bool             // errors only
}

// note prints a line of an error: what went wrong, and what helps. The line
// ends of its format are its own; what is printed into it has none.
func (c *console) note(format string, args ...any) {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = visible.String(arg)
		case error:
			args[i] = errorText(arg)
		}
	}
	fmt.Fprintf(c.err, format+"\n", args...)
}

// ownLines is text whose line ends are this program's.
type ownLines string

// errorText is an error's text, a line for each of those that were joined. A
// line end within one of them is the name of a file, or somebody's words.
func errorText(err error) ownLines {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		var lines, shown []string
		for _, part := range e.Unwrap() {
			lines, shown = append(lines, part.Error()), append(shown, string(errorText(part)))
		}
		if err.Error() == strings.Join(lines, "\n") {
			return ownLines(strings.Join(shown, "\n"))
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil && inner.Error() == err.Error() {
			return errorText(inner)
		}
	}
	return ownLines(visible.String(err.Error()))
}

// tell prints a line that nobody has to know.
func (c *console) tell(format string, args ...any) {
	if !c.quiet {
		c.note(format, args...)
	}
}

// begin begins a phase of progress, which shows nothing when quiet.
func (c *console) begin(what, unit string, total int64) *progress.Phase {
	screen := c.err
	if c.quiet {
		screen = nil
	}
	return progress.Begin(screen, time.Now(), what, unit, total)
}

// command is one subcommand. run parses args itself. Its code counts unless it
// is 0 beside an error, which then tells the code.
type command struct {
	name     string
	synopsis string // behind the name
	summary  string // one line
	help     string // what the flags do not say, with examples
	flags    func(*pflag.FlagSet) any
	run      func(ctx context.Context, c *console, settings any, args []string) (code int, err error)
}

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// refusedError is a spool that could not be opened. Nothing was stored.
type refusedError struct{ err error }

func (e refusedError) Error() string { return e.err.Error() }
func (e refusedError) Unwrap() error { return e.err }

// codeOf is the exit code of a command that failed with err.
func codeOf(err error) int {
	var (
		usage   usageError
		refused refusedError
		change  *snapshot.ChangeError
	)
	if errors.As(err, &change) {
		return exitChanged
	}
	if errors.As(err, &usage) || errors.As(err, &refused) || errors.Is(err, ingest.ErrInvalid) || errors.Is(err, engine.ErrUntrusted) {
		return exitUsage
	}
	return exitFailed
}

// run is the whole command: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &console{in: stdin, out: &visible.Writer{W: stdout}, err: progress.NewScreen(stderr)}
	if len(args) == 0 {
		printOverview(c.err)
		return exitUsage
	}
	switch args[0] {
	case completeCall, completePlainCall:
		return complete(c, args)
	case "--version":
		args = append([]string{"version"}, args[1:]...)
	case "help", "-h", "--help":
		if len(args) < 2 {
			printOverview(c.out)
			return exitOK
		}
		if args[1] == "configuration" {
			fmt.Fprint(c.out, configurationHelp)
			return exitOK
		}
		cmd := find(args[1])
		if cmd == nil {
			return unknown(c, args[1])
		}
		printHelp(c.out, cmd)
		return exitOK
	}
	cmd := find(args[0])
	if cmd == nil {
		return unknown(c, args[0])
	}
	fs, settings := flagSet(cmd)
	if err := fs.Parse(args[1:]); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			printHelp(c.out, cmd)
			return exitOK
		}
		return fail(c, cmd, exitUsage, usageError{err})
	}
	if err := fromOutside(fs); err != nil {
		return fail(c, cmd, exitUsage, usageError{err})
	}
	code, err := cmd.run(ctx, c, settings, fs.Args())
	if err != nil {
		return fail(c, cmd, code, err)
	}
	return code
}

func unknown(c *console, name string) int {
	c.note("kustospool: there is no command %q; see kustospool help", name)
	return exitUsage
}

func fail(c *console, cmd *command, code int, err error) int {
	c.note("kustospool %s: %s", cmd.name, ownLines(inFlags(err)))
	var usage usageError
	if errors.As(err, &usage) {
		c.tell("See kustospool help %s.", cmd.name)
	}
	if code == exitOK {
		code = codeOf(err)
	}
	return code
}

func flagSet(cmd *command) (*pflag.FlagSet, any) {
	fs := pflag.NewFlagSet(cmd.name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.SortFlags = false
	fs.Usage = func() {}
	settings := cmd.flags(fs)
	fs.String(configFlag, "", "file with flags, one NAME VALUE a line; see kustospool help configuration")
	return fs, settings
}

func commands() []*command {
	return []*command{sendCommand(), drainCommand(), statusCommand(), peekCommand(), historyCommand(), checkCommand(), deadCommand(), salvageCommand(),
		pauseCommand(), resumeCommand(), retryCommand(), serveCommand(), simCommand(), completionCommand(), versionCommand()}
}

func find(name string) *command {
	for _, cmd := range commands() {
		if cmd.name == name {
			return cmd
		}
	}
	return nil
}

func printOverview(w io.Writer) {
	fmt.Fprint(w, "kustospool stores records on disk and delivers them to Azure Data Explorer (Kusto).\n\nCommands:\n")
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", cmd.name, cmd.summary)
	}
	fmt.Fprint(w, `
Try it, with nothing but this program:
  kustospool send --to sim: --database Demo --table Telemetry testdata/telemetry.jsonl

kustospool help COMMAND tells more, and kustospool help configuration how flags are
given by the environment or a file.
`)
}

func printHelp(w io.Writer, cmd *command) {
	fs, _ := flagSet(cmd)
	fmt.Fprintf(w, "kustospool %s %s\n\n%s\n\nFlags:\n%s", cmd.name, cmd.synopsis, cmd.help, fs.FlagUsagesWrapped(100))
}
