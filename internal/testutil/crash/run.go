package crash

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"kustospool/internal/testutil/ledger"
)

// Options say which child runs and how it ends. Without KillAcks, KillAfter
// and Point it runs until it returns.
type Options struct {
	// Program is a name that TestMain gave to [Main]. Required.
	Program string
	// Args are for the program; Env is added to the test's environment.
	Args, Env []string

	// KillAcks kills the child when its nth acknowledgement is read.
	KillAcks int
	// KillAfter kills the child so long after it was started.
	KillAfter time.Duration
	// Point and Nth make the child kill itself when it reaches the named
	// crashpoint for the Nth time, 0 meaning the first.
	Point string
	Nth   int

	// Timeout fails the test; 0 means two minutes.
	Timeout time.Duration
}

// Ack is one acknowledged record.
type Ack struct{ ID, Content string }

// Result is what the child said before its end.
type Result struct {
	Acks []Ack
	// Tried is what was offered, acknowledged or not.
	Tried []string
	Said  []string
	// Killed: the parent killed it, or it killed itself at its point, which
	// Reached says. A child may return before it is killed.
	Killed, Reached bool
	// ExitCode is that of a child that was not killed.
	ExitCode int
	Stderr   string // the last 64 KiB
}

// Book enters the child's books into a ledger: its acknowledged records, and
// as maybe what was offered and not acknowledged.
func (r *Result) Book(l *ledger.Ledger) {
	acked := make(map[string]bool, len(r.Acks))
	for _, a := range r.Acks {
		l.Acked(a.ID, a.Content)
		acked[a.Content] = true
	}
	for _, content := range r.Tried {
		if !acked[content] {
			l.Maybe(content)
		}
	}
}

// Seed makes a source of randomness and logs how to repeat it.
func Seed(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("CRASH_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("CRASH_SEED: %v", err)
		}
	}
	t.Logf("repeat with CRASH_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Run starts a child, waits for its end and returns its books. A child that
// ends by itself with another exit code than 0 fails the test, and so does one
// that says what it should not.
func Run(t testing.TB, o Options) *Result {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	cmd, out, stderr, err := launch(o)
	if err != nil {
		t.Fatalf("crash: %v", err)
	}
	// The killer is the only goroutine beside this one, and joined below.
	done, killed := make(chan struct{}), make(chan killing, 1)
	acks := make(chan struct{}, 1)
	go func() { killed <- killer(cmd.Process, o, acks, done) }()
	r, readErr := listen(out, o.KillAcks, acks)
	waitErr := cmd.Wait()
	close(done)
	k := <-killed

	r.Stderr = stderr.String()
	var exit *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exit) {
		t.Fatalf("crash: %v", waitErr)
	}
	r.Killed = r.Reached || k == byPlan && waitErr != nil
	switch {
	case k == byTimeout:
		t.Fatalf("crash: the child has not ended after %v; it said %d acks\n%s", o.Timeout, len(r.Acks), r.Stderr)
	case readErr != nil:
		t.Fatalf("crash: %v\n%s", readErr, r.Stderr)
	case !r.Killed:
		if r.ExitCode = cmd.ProcessState.ExitCode(); r.ExitCode != 0 {
			t.Fatalf("crash: the child exits with %d\n%s", r.ExitCode, r.Stderr)
		}
	}
	return r
}

func launch(o Options) (*exec.Cmd, io.Reader, *tail, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd := exec.Command(exe, o.Args...)
	cmd.Env = append(os.Environ(), o.Env...)
	cmd.Env = append(cmd.Env, childEnv+"="+o.Program)
	if o.Point != "" {
		cmd.Env = append(cmd.Env, pointEnv+"="+o.Point, nthEnv+"="+strconv.Itoa(max(o.Nth, 1)))
	}
	stderr := &tail{}
	cmd.Stderr = stderr
	// Held open, never written: see Main. Wait closes both.
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	return cmd, out, stderr, cmd.Start()
}

// killing is who ended the child.
type killing int

const (
	byItself killing = iota
	byPlan
	byTimeout
)

// killer kills the child when its time has come, or returns when it is gone.
func killer(p *os.Process, o Options, acks, done <-chan struct{}) killing {
	timeout := time.NewTimer(o.Timeout)
	defer timeout.Stop()
	var after <-chan time.Time
	if o.KillAfter > 0 {
		timer := time.NewTimer(o.KillAfter)
		defer timer.Stop()
		after = timer.C
	}
	k := byPlan
	select {
	case <-done:
		return byItself
	case <-acks:
	case <-after:
	case <-timeout.C:
		k = byTimeout
	}
	_ = p.Kill()
	return k
}

// maxLine bounds what a child may say at once.
const maxLine = 16 << 20

// listen reads the child's lines to their end, past its death. A last line
// without its end was cut off by the kill and was never said.
func listen(out io.Reader, killAcks int, acks chan<- struct{}) (*Result, error) {
	r := &Result{}
	var failed error
	lines := bufio.NewReader(out)
	for {
		line, err := readLine(lines)
		if err != nil {
			if err != io.EOF && failed == nil {
				failed = err
			}
			_, _ = io.Copy(io.Discard, lines)
			return r, failed
		}
		if err := r.hear(line); err != nil && failed == nil {
			failed = err
		}
		if killAcks > 0 && len(r.Acks) == killAcks {
			select {
			case acks <- struct{}{}:
			default:
			}
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := r.ReadSlice('\n')
		b.Write(part)
		switch {
		case err == nil:
			return strings.TrimSuffix(b.String(), "\n"), nil
		case err != bufio.ErrBufferFull:
			return "", io.EOF
		case b.Len() > maxLine:
			return "", errors.New("the child's line is too long")
		}
	}
}

// hear takes one line into the books.
func (r *Result) hear(line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	var parts []string
	for rest != "" {
		q, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return fmt.Errorf("the child says %.200q", line)
		}
		text, err := strconv.Unquote(q)
		if err != nil {
			return fmt.Errorf("the child says %.200q", line)
		}
		parts = append(parts, text)
		rest = strings.TrimPrefix(rest[len(q):], " ")
	}
	switch {
	case kind == "ack" && len(parts) == 2:
		r.Acks = append(r.Acks, Ack{parts[0], parts[1]})
	case kind == "try" && len(parts) == 1:
		r.Tried = append(r.Tried, parts[0])
	case kind == "say" && len(parts) == 1:
		r.Said = append(r.Said, parts[0])
	case kind == "point" && len(parts) == 0:
		r.Reached = true
	default:
		return fmt.Errorf("the child says %.200q", line)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ buf bytes.Buffer }

const tailBytes = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.buf.Write(b)
	if extra := t.buf.Len() - 2*tailBytes; extra > 0 {
		t.buf.Next(extra + tailBytes)
	}
	return len(b), nil
}

func (t *tail) String() string {
	b := t.buf.Bytes()
	return string(b[max(0, len(b)-tailBytes):])
}
