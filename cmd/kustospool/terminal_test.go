//go:build linux || darwin

package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/rivo/uniseg"

	"kustospool/internal/kustosim"
)

// gateway is a way to a simulator that answers as gateways in trouble do,
// until it is mended.
type gateway struct {
	*httptest.Server
	mended atomic.Bool
}

const badGateway = "<!DOCTYPE html>\r\n<html><head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body></html>\r\n"

func newGateway(t *testing.T, sim *kustosim.Sim) *gateway {
	t.Helper()
	to, err := url.Parse(sim.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	g := new(gateway)
	proxy := httputil.NewSingleHostReverseProxy(to)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.mended.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("x-ms-activity-id", "4f1c9f4e-0000-4000-8000-00000000beef")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, badGateway)
	}))
	t.Cleanup(g.Close)
	return g
}

// watcher is a command on a terminal of its own.
type watcher struct {
	t    *testing.T
	tty  *os.File
	cmd  *exec.Cmd
	seen []string // what stands between carriage returns, as it came
	rest string   // behind the last one
}

func watch(t *testing.T, columns uint16, env []string, args ...string) *watcher {
	t.Helper()
	cmd := process(t, args...)
	cmd.Env = append(cmd.Env, env...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: columns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return &watcher{t: t, tty: tty, cmd: cmd}
}

// next is what comes before the next carriage return; io.EOF when the command
// has ended.
func (w *watcher) next() (string, error) {
	buf := make([]byte, 4096)
	for {
		if frame, rest, ok := strings.Cut(w.rest, "\r"); ok {
			w.rest = rest
			w.seen = append(w.seen, frame)
			return frame, nil
		}
		n, err := w.tty.Read(buf)
		w.rest += string(buf[:n])
		if n == 0 && err != nil {
			if errors.Is(err, syscall.EIO) {
				err = io.EOF // how Linux says that the other side is closed
			}
			return "", err
		}
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// until reads frames up to the first for which cond holds of its text.
func (w *watcher) until(what string, cond func(text string) bool) string {
	w.t.Helper()
	for {
		frame, err := w.next()
		if err != nil {
			w.t.Fatalf("%s was never shown: %v in %q", what, err, w.seen)
		}
		if text := colours.ReplaceAllString(frame, ""); cond(text) {
			return text
		}
	}
}

func (w *watcher) resize(columns uint16) {
	w.t.Helper()
	if err := pty.Setsize(w.tty, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		w.t.Fatal(err)
	}
}

// ended waits for the command and returns its exit code.
func (w *watcher) ended() int {
	w.t.Helper()
	for {
		if _, err := w.next(); err == io.EOF {
			break
		} else if err != nil {
			w.t.Fatal(err)
		}
	}
	err := w.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return w.cmd.ProcessState.ExitCode()
}

// isProgress tells a painted line from what else is written.
func isProgress(text string) bool {
	return strings.HasPrefix(text, "settled") || strings.HasPrefix(text, "spooled") || regexp.MustCompile(`^\d+/\d+`).MatchString(text)
}

// TestTerminal watches a run against a gateway in trouble on a terminal whose
// width changes: each painted line fits, says what is wrong in plain words,
// and in the end it goes away.
func TestTerminal(t *testing.T) {
	t.Parallel()
	sim := simulator(t, &kustosim.Options{AutoCreate: true})
	g := newGateway(t, sim)
	w := watch(t, 80, nil, "send", "--to", g.URL, "--database", "Fleet", "--table", "Readings", "--spool", filepath.Join(t.TempDir(), "s"),
		write(t, "a.json", "{\"n\":1}\n{\"n\":2}\n"))

	fits := func(columns int) func(string) bool {
		return func(text string) bool { return isProgress(text) && uniseg.StringWidth(text) < columns }
	}
	trouble := w.until("the trouble", func(text string) bool { return isProgress(text) && strings.Contains(text, "502") })
	if !fits(80)(trouble) || !strings.HasPrefix(trouble, "settled: 0 of 2 records; Fleet.Readings: ") && !strings.HasPrefix(trouble, "settled: 0 of 2") {
		t.Errorf("at 80 columns: %q", trouble)
	}
	for _, columns := range []int{20, 21, 40, 200, 20, 132, 80} {
		w.resize(uint16(columns))
		// A line of the width before may be on its way.
		w.until("a line that fits", func(text string) bool {
			return fits(columns)(text) && (columns < 132 || uniseg.StringWidth(text) > 79)
		})
		for range 2 {
			if text := w.until("a line", isProgress); !fits(columns)(text) {
				t.Errorf("at %d columns: %d in %q", columns, uniseg.StringWidth(text), text)
			}
		}
	}
	// The next attempt may be a minute away.
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := w.ended(); code != exitPending {
		t.Errorf("code %d; %q", code, w.seen)
	}

	coloured := false
	for i, frame := range w.seen {
		text := colours.ReplaceAllString(frame, "")
		coloured = coloured || text != frame
		if !isProgress(text) {
			continue
		}
		if strings.ContainsAny(text, "<>\n") || strings.Contains(text, "request ") || strings.Contains(text, "beef") {
			t.Errorf("painted line %d: %q", i, text)
		}
	}
	if !coloured {
		t.Error("no colour on a terminal")
	}
	all := strings.Join(w.seen, "\r")
	if report := all[strings.LastIndex(all, "records read"):]; strings.Contains(report, "settled") || !strings.Contains(squeeze(report), "still spooled 2") {
		t.Errorf("the report is %q", report)
	}
}

// Rates and times left make sense: a run of a few milliseconds has none.
func TestTerminal_ShortRun(t *testing.T) {
	t.Parallel()
	w := watch(t, 80, nil, "send", "--to", "sim:", "--database", "D", "--table", "T", "--spool", filepath.Join(t.TempDir(), "s"),
		write(t, "a.json", strings.Repeat("{\"n\":1}\n", 20000)))
	if code := w.ended(); code != exitOK {
		t.Fatalf("code %d: %q", code, w.seen)
	}
	for _, frame := range w.seen {
		if text := colours.ReplaceAllString(frame, ""); isProgress(text) && (regexp.MustCompile(`\d[GT]/s|\b0s left`).MatchString(text) || uniseg.StringWidth(text) > 79) {
			t.Errorf("painted %q", text)
		}
	}
}

// Codes are for terminals, colour for those who want it.
func TestTerminal_NoColour(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		env      []string
		plain    bool // lines, as in a pipe
		coloured bool
	}{
		{"NO_COLOR", []string{"NO_COLOR=1"}, false, false},
		{"NO_COLOR, empty", []string{"NO_COLOR="}, false, true}, // no-color.org: not when it is empty
		{"dumb", []string{"TERM=dumb"}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sim := simulator(t, &kustosim.Options{AutoCreate: true})
			g := newGateway(t, sim)
			w := watch(t, 80, tc.env, "send", "--to", g.URL, "--database", "D", "--table", "T", "--spool", filepath.Join(t.TempDir(), "s"), write(t, "a.json", "{}\n"))
			w.until("the trouble", func(text string) bool { return strings.Contains(text, "502") })
			g.mended.Store(true)
			if code := w.ended(); code != exitOK {
				t.Errorf("code %d: %q", code, w.seen)
			}
			all := strings.Join(w.seen, "\r")
			if coloured := strings.Contains(all, "\x1b"); coloured != tc.coloured {
				t.Errorf("codes: %v in %q", coloured, all)
			}
			// The terminal itself puts a carriage return before each newline.
			if painted := strings.Contains(strings.ReplaceAll(all, "\r\n", "\n"), "\r"); painted == tc.plain {
				t.Errorf("painted: %v, %q", painted, all)
			}
		})
	}
}

// In a pipe progress is plain lines, and nothing of it gets into the report.
func TestPipe(t *testing.T) {
	t.Parallel()
	sim := simulator(t, &kustosim.Options{AutoCreate: true})
	g := newGateway(t, sim)
	cmd := process(t, "send", "--to", g.URL, "--database", "D", "--table", "T", "--json", "--spool", filepath.Join(t.TempDir(), "s"), write(t, "a.json", "{}\n"))
	var out strings.Builder
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, buf := "", make([]byte, 4096)
	for {
		n, err := stderr.Read(buf)
		text += string(buf[:n])
		if strings.Contains(text, "502") {
			g.mended.Store(true)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	if r := decode[report](t, out.String()); r.Ingested != 1 {
		t.Errorf("%+v", r)
	}
	if strings.ContainsAny(text, "\r\x1b<") || strings.Contains(text, "request ") || !strings.Contains(text, "settled: 0 of 1 records, 0%; D.T: transient: ") {
		t.Errorf("lines %q", text)
	}
}

// TestStatusWatchFits: on a terminal of any size nothing wraps or scrolls, and an
// interrupt ends it well.
func TestStatusWatchFits(t *testing.T) {
	dir := makeSample(t).dir
	w := watch(t, 40, nil, "status", "--spool", dir, "--watch", "--every", "100ms")
	check := func(columns int) {
		t.Helper()
		text := w.until("the spool", func(text string) bool { return strings.Contains(text, "acked 11") })
		_ = text
		for _, frame := range w.seen {
			for line := range strings.Lines(strings.ReplaceAll(frame, "\x1b", "\n")) {
				line = strings.TrimLeft(strings.TrimRight(line, "\n"), "[HJK2")
				if n := uniseg.StringWidth(line); n > columns-1 {
					t.Errorf("%d columns on a terminal of %d: %q", n, columns, line)
				}
			}
		}
		w.seen = nil
	}
	check(40)
	w.resize(100)
	check(100)
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := w.ended(); code != exitOK {
		t.Errorf("code %d", code)
	}
}
