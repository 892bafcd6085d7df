package budget

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"kustospool/internal/testutil/crash"
)

const (
	killBudget = 24 << 20
	killPiece  = 16 << 10
)

// spender sends over a connection that is counted until the budget is used up.
// Its arguments are the file, the server, and whether it forgets what was used.
func spender(c *crash.Child) {
	if c.Args[2] == "forgets" {
		_ = os.Remove(c.Args[0]) // as a count in memory would
	}
	m, err := Open(c.Args[0], &Options{BytesPerMonth: killBudget})
	if err != nil {
		c.Fatalf("%v", err)
	}
	raw, err := net.Dial("tcp", c.Args[1])
	if err != nil {
		c.Fatalf("%v", err)
	}
	conn := m.Conn(raw)
	for n := 0; ; n++ {
		_, err := conn.Write(make([]byte, killPiece))
		var closed *ClosedError
		if errors.As(err, &closed) {
			c.Say("closed")
			break
		}
		if err != nil {
			c.Fatalf("%v", err)
		}
		c.Ack(strconv.Itoa(n), "")
	}
	conn.Close()
	if err := m.Close(); err != nil {
		c.Fatalf("%v", err)
	}
}

// sink counts what arrives.
type sink struct {
	net.Listener
	arrived atomic.Int64
	running sync.WaitGroup
}

func newSink(t *testing.T) *sink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{Listener: l}
	s.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() {
				defer c.Close()
				n, _ := io.Copy(io.Discard, c)
				s.arrived.Add(n)
			})
		}
	})
	return s
}

// A month's budget is not exceeded over 20 kills, and each wastes at most one
// reservation. The control forgets the count with each process, and exceeds it.
func TestKillsDoNotExceedTheBudget(t *testing.T) {
	for _, how := range []string{"remembers", "forgets"} {
		t.Run(how, func(t *testing.T) {
			random := crash.Seed(t)
			server := newSink(t)
			path := filepath.Join(t.TempDir(), "budget")
			args := []string{path, server.Addr().String(), how}
			const kills = 20
			killed := 0
			for range kills {
				r := crash.Run(t, crash.Options{Program: "spender", Args: args, KillAcks: 20 + random.IntN(30)})
				if r.Killed {
					killed++
				}
			}
			last := crash.Run(t, crash.Options{Program: "spender", Args: args})
			server.Close()
			server.running.Wait()
			arrived := server.arrived.Load()
			t.Logf("%d kills, %d bytes of %d arrived, %d wasted", killed, arrived, killBudget, killBudget-arrived)
			if killed != kills {
				t.Errorf("%d of %d processes were killed", killed, kills)
			}
			if len(last.Said) != 1 {
				t.Errorf("the last one said %q, want that the budget is used up", last.Said)
			}
			if how == "forgets" {
				if arrived <= killBudget {
					t.Error("without a count that is kept the budget is not exceeded, so this test sees nothing")
				}
				return
			}
			if arrived > killBudget {
				t.Errorf("%d bytes arrived, %d too many", arrived, arrived-killBudget)
			}
			if least := int64(killBudget - killed*Reservation); arrived < least {
				t.Errorf("%d bytes arrived, want %d at least", arrived, least)
			}
		})
	}
}
