package crash

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kustospool/internal/crashpoint"
	"kustospool/internal/testutil/ledger"
)

func TestMain(m *testing.M) {
	Main(map[string]func(*Child){
		"three": func(c *Child) {
			for i := range 3 {
				content := fmt.Sprintf("record \"%d\"\n%s", i, strings.Join(c.Args, " "))
				c.Try(content)
				crashpoint.Reach("tried")
				c.Ack(fmt.Sprint("id ", i), content)
			}
			c.Try("never acked")
			c.Say("env " + os.Getenv("CRASH_TEST"))
		},
		"endless": func(c *Child) {
			for i := 0; ; i++ {
				c.Try(fmt.Sprint(i))
				c.Ack(fmt.Sprint(i), fmt.Sprint(i))
			}
		},
		"stuck": func(c *Child) { c.Ack("1", "one"); select {} },
		// parent leaves a child of its own behind when it is killed.
		"parent": func(c *Child) {
			exe, err := os.Executable()
			if err != nil {
				c.Fatalf("%v", err)
			}
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), childEnv+"=orphan")
			cmd.Stdout = os.Stdout
			if _, err = cmd.StdinPipe(); err == nil {
				err = cmd.Start()
			}
			if err != nil {
				c.Fatalf("%v", err)
			}
			select {}
		},
		"orphan": func(c *Child) { c.Ack("1", "the orphan lives"); select {} },
	})
	goleak.VerifyTestMain(m)
}

func TestRunsToItsEnd(t *testing.T) {
	r := Run(t, Options{Program: "three", Args: []string{"x", "-y"}, Env: []string{"CRASH_TEST=set"}})
	if r.Killed || r.Reached || r.ExitCode != 0 || len(r.Acks) != 3 || len(r.Tried) != 4 || !slices.Equal(r.Said, []string{"env set"}) {
		t.Errorf("result %+v", r)
	}
	if r.Acks[1] != (Ack{"id 1", "record \"1\"\nx -y"}) {
		t.Errorf("the second ack is %q", r.Acks[1])
	}
	var l ledger.Ledger
	r.Book(&l)
	report := l.Check(ledger.Places{Ingested: r.Tried}, ledger.ExactlyOnce)
	if report.Err() != nil || report.Maybes != 1 {
		t.Errorf("books %+v", report)
	}
}

func TestKillAfterAcks(t *testing.T) {
	n := 1 + Seed(t).IntN(500)
	r := Run(t, Options{Program: "endless", KillAcks: n})
	if !r.Killed || len(r.Acks) < n {
		t.Errorf("killed %v after %d acks, want %d or more", r.Killed, len(r.Acks), n)
	}
	// The books of a killed child have no hole.
	for i, a := range r.Acks {
		if a.ID != fmt.Sprint(i) {
			t.Fatalf("ack %d is %q", i, a.ID)
		}
	}
}

func TestKillAfterTime(t *testing.T) {
	if r := Run(t, Options{Program: "stuck", KillAfter: 50 * time.Millisecond}); !r.Killed {
		t.Errorf("result %+v", r)
	}
}

func TestKillAtPoint(t *testing.T) {
	r := Run(t, Options{Program: "three", Point: "tried", Nth: 2})
	if !r.Killed || !r.Reached || len(r.Acks) != 1 || len(r.Tried) != 2 {
		t.Errorf("result %+v", r)
	}
	if r = Run(t, Options{Program: "three", Point: "tried", Nth: 9}); r.Killed || r.Reached || len(r.Acks) != 3 {
		t.Errorf("a point that is not reached: %+v", r)
	}
}

// The pipe ends when the last holder of it does: Run would hang on an orphan
// that lives on.
func TestOrphansEnd(t *testing.T) {
	if r := Run(t, Options{Program: "parent", KillAcks: 1, Timeout: 30 * time.Second}); !r.Killed || len(r.Acks) != 1 {
		t.Errorf("result %+v", r)
	}
}

// fatal is a test that only notes its failure.
type fatal struct {
	testing.TB
	said string
}

func (f *fatal) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		o    Options
		want string
	}{
		"no such program": {Options{Program: "nothing"}, "exits with 2"},
		"timeout":         {Options{Program: "stuck", Timeout: 50 * time.Millisecond}, "has not ended"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fatal{TB: t}
			func() {
				defer func() {
					if p := recover(); p != nil && p != any(f) {
						panic(p)
					}
				}()
				Run(f, tt.o)
			}()
			if !strings.Contains(f.said, tt.want) {
				t.Errorf("it says %q, want %q", f.said, tt.want)
			}
		})
	}
}

func TestHear(t *testing.T) {
	r := &Result{}
	for _, line := range []string{"", "ack", `ack "1"`, `ack "1" "2" "3"`, `ack 1 2`, `try "a`, "panic: x", `point "x"`} {
		if err := r.hear(line); err == nil {
			t.Errorf("%q is heard", line)
		}
	}
	got, err := listen(strings.NewReader("ack \"1\" \"a\"\nack \"2\" \"b\"\nack \"3\" \"cut of"), 0, nil)
	if err != nil || len(got.Acks) != 2 {
		t.Errorf("a cut off line: %+v, %v", got, err)
	}
}

func FuzzHear(f *testing.F) {
	f.Add(`ack "1" "a\n\x00"`)
	f.Add(`try "`)
	f.Fuzz(func(t *testing.T, line string) {
		r := &Result{}
		if r.hear(line) == nil && len(r.Acks)+len(r.Tried)+len(r.Said) == 0 && !r.Reached {
			t.Errorf("%q is heard and not in the books", line)
		}
	})
}
