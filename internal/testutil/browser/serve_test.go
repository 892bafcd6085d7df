package browser

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"kustospool/statushttp"
)

// beside starts the command kustospool serve, as a process of its own, for the site's
// spool, which this one has open. It returns the address of its page.
func (s *site) beside(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kustospool")
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", name, "./cmd/kustospool")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var said bytes.Buffer
	cmd := exec.Command(name, "serve", "--spool", s.dir, "--listen", "127.0.0.1:0", "--every", "200ms", "--actions")
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			_ = cmd.Process.Kill()
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("kustospool serve ends with %v: %s", err, said.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("kustospool serve says %q, %v: %s", line, err, said.String())
	}
	return strings.TrimSuffix(url, "/")
}

// The page of kustospool serve, a process beside the one that has the spool open, shows
// an outage and its end, and a dead letter is retried by a click on it.
func TestServe(t *testing.T) {
	s := start(t, statushttp.Options{}, "Telemetry", "Events")
	const record = `{"n":1}`
	id, mend := s.kill(t, "Events", record, "no")
	b := open(t, s.beside(t))
	b.load("/")
	b.until(isLive + " && " + there(row(id)))

	up := s.down()
	stop := s.produce(t, "Telemetry")
	if err := b.rises(patience); err != nil {
		b.fatalf("the backlog does not rise: %v", err)
	}
	b.until(trouble + " && " + climbs)
	up()
	acked := stop()
	s.drain(t)
	b.until(records + ` === 0 && ` + falls + ` && !(` + trouble + `)`)
	if n := s.sim.Count(database, "Telemetry"); n != acked {
		t.Errorf("%d records were acknowledged, the table has %d rows", acked, n)
	}

	mend()
	b.click(row(id) + " button[name=retry]")
	b.until(`document.querySelector(".told") && !` + there(row(id)))
	s.drain(t)
	s.holds(t, "Events", record)
}
