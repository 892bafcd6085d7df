package crash

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"

	"kustospool/internal/crashpoint"
)

// The environment that makes a test binary a child.
const (
	childEnv = "KUSTOSPOOL_CRASH_CHILD"
	pointEnv = "KUSTOSPOOL_CRASH_POINT"
	nthEnv   = "KUSTOSPOOL_CRASH_NTH"
)

// exitOrphan is a child's exit code when its parent is gone.
const exitOrphan = 97

// Child is a child's link to its parent. It is safe for use by many
// goroutines.
type Child struct {
	// Args are the parent's [Options.Args].
	Args []string

	mu  sync.Mutex // serialises lines
	out io.Writer
}

// Main runs one of the programs and exits, when this process is a child of
// [Run]; otherwise it returns at once. Call it first in TestMain. The exit
// code of a program that returns is 0.
func Main(programs map[string]func(*Child)) {
	name := os.Getenv(childEnv)
	if name == "" {
		return
	}
	program, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "crash: no program %q\n", name)
		os.Exit(2)
	}
	c := &Child{Args: os.Args[1:], out: os.Stdout}
	if point := os.Getenv(pointEnv); point != "" {
		nth, err := strconv.Atoi(os.Getenv(nthEnv))
		if err != nil {
			fmt.Fprintf(os.Stderr, "crash: %v\n", err)
			os.Exit(2)
		}
		crashpoint.Arm(point, nth, c.die)
	}
	// The parent never writes: the end of standard input is the parent's end.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(exitOrphan)
	}()
	program(c)
	os.Exit(0)
}

// Try says that a record is about to be offered.
func (c *Child) Try(content string) { c.line("try", content) }

// Ack says that a record was acknowledged under an id. Nothing may stand
// between the acknowledgement and this call.
func (c *Child) Ack(id, content string) { c.line("ack", id, content) }

// Say gives the parent a text of any other kind, for [Result.Said].
func (c *Child) Say(text string) { c.line("say", text) }

// Fatalf ends the child with an exit code that the parent takes for an error.
func (c *Child) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

// line is one write, so that lines of many goroutines do not mix.
func (c *Child) line(kind string, parts ...string) {
	b := []byte(kind)
	for _, p := range parts {
		b = append(b, ' ')
		b = strconv.AppendQuote(b, p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.out.Write(append(b, '\n')); err != nil {
		os.Exit(exitOrphan)
	}
}

// die is SIGKILL to oneself; nothing deferred runs.
func (c *Child) die() {
	c.line("point")
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {} // the kill is on its way
}
