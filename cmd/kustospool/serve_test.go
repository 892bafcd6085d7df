package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/operate"
)

// served is kustospool serve, as a process.
type served struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string // with the slash at its end
	stderr bytes.Buffer
	client *http.Client
}

// serving starts kustospool serve on a free port of loopback, unless args say otherwise.
func serving(t *testing.T, args ...string) *served {
	t.Helper()
	s := &served{t: t, cmd: process(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--every", "100ms"}, args...)...)}
	s.client = &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(s.client.CloseIdleConnections)
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if s.url = strings.TrimSpace(strings.TrimPrefix(line, "listening on ")); err != nil || !strings.HasPrefix(line, "listening on http") {
		_ = s.cmd.Wait()
		t.Fatalf("%q, %v: %s", line, err, s.stderr.String())
	}
	return s
}

// do makes a request. Of header, every two belong together.
func (s *served) do(method, path, body string, header ...string) (int, string, *http.Response) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp
}

// until asks for the status again and again until it is so.
func (s *served) until(what string, so func(*operate.Status) bool) *operate.Status {
	s.t.Helper()
	for {
		code, text, _ := s.do("GET", "v1/status", "")
		st := new(operate.Status)
		if code == http.StatusOK && json.Unmarshal([]byte(text), st) == nil && so(st) {
			return st
		}
		if err := s.t.Context().Err(); err != nil {
			s.t.Fatalf("not %s: %d, %s", what, code, text)
		}
	}
}

// end ends the process with a signal, and is what it left.
func (s *served) end() (code int, stderr string) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait() // the code tells
	return s.cmd.ProcessState.ExitCode(), s.stderr.String()
}

// sending is kustospool send with an input that does not end until the test does.
func sending(t *testing.T, target, dir string, lines ...string) *exec.Cmd {
	t.Helper()
	cmd := process(t, "send", "--to", target, "--database", "D", "--table", "T", "--format", "json", "--spool", dir, "--batch-age", "50ms")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	if _, err := io.WriteString(stdin, strings.Join(lines, "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// spoolOf makes a spool at rest, with a record that waits.
func spoolOf(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(shortDir(t), "spool")
	s := owner(t, dir)
	put(t, s, 1)
	closed(t, s)
	return dir
}

// The page beside a program that owns the spool: it shows what that has, what it left when it
// is killed, and what the next one has; and ends at once, with a stream open.
func TestServe(t *testing.T) {
	sim := simspool.Start(t, &kustosim.Options{Databases: []string{"D"}})
	dir := filepath.Join(shortDir(t), "spool")
	first := sending(t, sim.Endpoint(), dir, `{"n":1}`, `{"n":2}`)
	for { // until there is a spool
		if _, err := os.Lstat(filepath.Join(dir, operate.SocketName)); err == nil {
			break
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	s := serving(t, "--spool", dir)
	st := s.until("in use with its trouble", func(st *operate.Status) bool {
		return st.InUse && st.Counters.Acked == 2 && len(st.Troubles) > 0
	})
	if st.Spool != dir || st.Troubles[0].Kind != operate.MissingTable {
		t.Errorf("%+v", st)
	}
	// The page is of a look of its own, which comes soon.
	for _, path := range []string{"", "healthz", "readyz"} {
		code, text := 0, ""
		for code != http.StatusOK || path == "" && !strings.Contains(text, `data-records="2"`) {
			if err := t.Context().Err(); err != nil {
				t.Fatalf("%q: %d, %s", path, code, text)
			}
			code, text, _ = s.do("GET", path, "")
		}
	}
	if code, text, _ := s.do("POST", "v1/pause", `{"table":"T"}`, "Content-Type", "application/json"); code != http.StatusForbidden {
		t.Errorf("a pause without --actions: %d, %s", code, text)
	}
	if code, _, _ := s.do("GET", "", "", "Host", "evil.example"); code != http.StatusForbidden {
		t.Errorf("asked by another name: %d", code)
	}

	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	s.until("at rest", func(st *operate.Status) bool { return !st.InUse && st.Counters.Acked == 2 })
	for code := 0; code != http.StatusServiceUnavailable; {
		if code, _, _ = s.do("GET", "readyz", ""); t.Context().Err() != nil {
			t.Fatal("ready without a process")
		}
	}
	sending(t, sim.Endpoint(), dir, `{"n":3}`)
	s.until("in use again", func(st *operate.Status) bool { return st.InUse && st.Counters.Acked == 3 })

	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"events", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if _, err := bufio.NewReader(stream.Body).ReadString('\n'); err != nil || stream.StatusCode != http.StatusOK {
		t.Fatalf("the stream: %d, %v", stream.StatusCode, err)
	}
	if code, said := s.end(); code != exitOK {
		t.Errorf("ended with %d: %s", code, said)
	}
}

// With --actions the program that owns the spool does what is asked for on the page.
func TestServe_Actions(t *testing.T) {
	dir := filepath.Join(shortDir(t), "spool")
	spool := owner(t, dir)
	defer closed(t, spool)
	put(t, spool, 1)
	s := serving(t, "--spool", dir, "--actions")
	form := url.Values{"table": {"D.T"}, "reason": {"schema"}}.Encode()
	if code, text, _ := s.do("POST", "do/pause", form, "Content-Type", "application/x-www-form-urlencoded"); code != http.StatusSeeOther {
		t.Fatalf("%d, %s", code, text)
	}
	if p := spool.Stats().Paused; len(p) != 1 || p[0].Reason != "schema" {
		t.Errorf("paused: %+v", p)
	}
	if code, text, _ := s.do("POST", "v1/resume", `{"table":"T"}`); code != http.StatusOK || !strings.Contains(text, `"was_paused":true`) {
		t.Errorf("%d, %s", code, text)
	}
	if code, _, _ := s.do("POST", "v1/pause", `{"table":"T"}`, "Origin", "https://evil.example"); code != http.StatusForbidden || len(spool.Stats().Paused) != 0 {
		t.Errorf("a pause that another site asks for: %d", code)
	}
	if code, said := s.end(); code != exitOK {
		t.Errorf("ended with %d: %s", code, said)
	}
}

// Who does not show the token sees nothing, and a browser logs in with it.
func TestServe_Token(t *testing.T) {
	const token = "0123456789abcdef-secret"
	file := write(t, "token", token+"\n")
	s := serving(t, "--spool", spoolOf(t), "--token-file", file, "-v")
	for _, path := range []string{"", "v1/status", "dead/", "events"} {
		if code, text, _ := s.do("GET", path, ""); code != http.StatusUnauthorized || strings.Contains(text, "D.T") {
			t.Errorf("%q without the token: %d, %s", path, code, text)
		}
	}
	if code, text, _ := s.do("GET", "v1/status", "", "Authorization", "Bearer "+token); code != http.StatusOK || !strings.Contains(text, `"table":"T"`) {
		t.Errorf("with the token: %d, %s", code, text)
	}
	login := func(token string) (int, *http.Response) {
		code, _, resp := s.do("POST", "login", url.Values{"token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		return code, resp
	}
	if code, resp := login(token + "x"); code != http.StatusUnauthorized || len(resp.Cookies()) != 0 {
		t.Errorf("a wrong token: %d", code)
	}
	code, resp := login(token)
	if code != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		t.Fatalf("the login: %d, %v", code, resp.Cookies())
	}
	c := resp.Cookies()[0]
	if code, text, _ := s.do("GET", "", "", "Cookie", c.Name+"="+c.Value); code != http.StatusOK || !strings.Contains(text, `id="backlog"`) {
		t.Errorf("after the login: %d, %s", code, text)
	}
	if code, said := s.end(); code != exitOK || strings.Contains(said, token) {
		t.Errorf("ended with %d: %s", code, said)
	}
}

// A dead letter of a spool at rest is shown, as text, and the command that deals with it.
func TestServe_DeadLetterAtRest(t *testing.T) {
	in := write(t, "in.json", "{\"n\":1}\n<b>bold</b>\n")
	dir, out := filepath.Join(shortDir(t), "spool"), "dir:"+t.TempDir()
	if got := kustospool(t, "", "send", "--to", out, "--database", "D", "--table", "T", "--spool", dir, "--on-bad-record", "dead-letter", in); got.code != exitFailed {
		t.Fatalf("%+v", got)
	}
	s := serving(t, "--spool", dir, "--actions")
	code, text, _ := s.do("GET", "v1/dead", "")
	list := decode[operate.DeadList](t, text)
	if code != http.StatusOK || len(list.Letters) != 1 {
		t.Fatalf("%d, %s", code, text)
	}
	id := list.Letters[0].ID.String()
	if code, text, _ := s.do("GET", "dead/"+id, ""); code != http.StatusOK || !strings.Contains(text, "&lt;b&gt;bold") || strings.Contains(text, "<b>bold") {
		t.Errorf("%d, %s", code, text)
	}
	code, text, _ = s.do("POST", "v1/dead/drop", `{"id":"`+id+`"}`)
	if code != http.StatusConflict || !strings.Contains(text, "kustospool dead drop ID --spool "+dir) {
		t.Errorf("%d, %s", code, text)
	}
}

// More clients than it takes wait outside until others have gone.
func TestServe_Clients(t *testing.T) {
	s := serving(t, "--spool", spoolOf(t))
	address := strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/")
	var silent []net.Conn
	for range mostClients {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	s.client.Timeout = headTime / 10 // who says nothing may stay for headTime
	if resp, err := s.client.Get(s.url + "healthz"); err == nil {
		resp.Body.Close()
		t.Errorf("client %d was answered", mostClients+1)
	}
	for _, c := range silent {
		_ = c.Close()
	}
	s.client.Timeout = 0
	if code, text, _ := s.do("GET", "healthz", ""); code != http.StatusOK {
		t.Errorf("%d, %s", code, text)
	}
}

// pemFiles are a certificate of tests for example.com and loopback, and its key.
func pemFiles(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	borrowed := httptest.NewTLSServer(http.NotFoundHandler())
	defer borrowed.Close()
	pair := borrowed.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	return write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))),
		write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), roots
}

func TestServe_TLS(t *testing.T) {
	cert, key, roots := pemFiles(t)
	s := serving(t, "--spool", spoolOf(t), "--tls-cert", cert, "--tls-key", key)
	tr := s.client.Transport.(*http.Transport)
	tr.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	code, text, resp := s.do("GET", "v1/status", "")
	if code != http.StatusOK || resp.TLS == nil || resp.ProtoMajor != 1 || !strings.HasPrefix(s.url, "https://") {
		t.Errorf("%s: %d, %s, %+v", s.url, code, text, resp.TLS)
	}
	if code, said := s.end(); code != exitOK {
		t.Errorf("ended with %d: %s", code, said)
	}
}

// On an address that others reach it warns once that there is no TLS, and answers by that address.
func TestServe_BeyondLoopback(t *testing.T) {
	token := write(t, "token", "0123456789abcdef")
	s := serving(t, "--spool", spoolOf(t), "--listen", "0.0.0.0:0", "--token-file", token, "--host", "fleet.example.org")
	if !strings.HasPrefix(s.url, "http://localhost:") {
		t.Errorf("it tells the address %s", s.url)
	}
	for host, want := range map[string]int{"fleet.example.org": http.StatusOK, "FLEET.example.org:80": http.StatusOK, "other.example.org": http.StatusForbidden} {
		if code, text, _ := s.do("GET", "v1/status", "", "Host", host, "Authorization", "Bearer 0123456789abcdef"); code != want {
			t.Errorf("host %s: %d, %s", host, code, text)
		}
	}
	if code, said := s.end(); code != exitOK || strings.Count(said, "go over the network as they are") != 1 {
		t.Errorf("ended with %d: %s", code, said)
	}
}

// A file that systemd made for the unit is taken with the mode that it has; of the
// same mode elsewhere, and a wider one there, are not.
func TestServe_Credential(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	path := write(t, "token", "0123456789abcdef\n")
	for _, test := range []struct {
		mode os.FileMode
		dir  string
		ok   bool
	}{
		{0o440, filepath.Dir(path) + "/", true},
		{0o400, "", true},
		{0o440, "", false},
		{0o440, filepath.Dir(filepath.Dir(path)), false},
		{0o444, filepath.Dir(path), false},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", test.dir)
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		token, err := readToken(path)
		if ok := err == nil && token == "0123456789abcdef"; ok != test.ok {
			t.Errorf("mode %04o, directory of credentials %q: %q, %v", test.mode, test.dir, token, err)
		}
	}
}

// What cannot be served is refused with the rule, before anything is listened to.
func TestServe_Refuses(t *testing.T) {
	dir := spoolOf(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good, short, open, lines := write(t, "good", "0123456789abcdef"), write(t, "short", "0123456789abcde\n"), write(t, "open", "0123456789abcdef"), write(t, "lines", "0123456789abcdef\nx\n")
	long := write(t, "long", strings.Repeat("x", mostToken+1))
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	cert, key, _ := pemFiles(t)
	for _, test := range []struct {
		args []string
		says string
		unix bool
	}{
		{args: []string{"x"}, says: "serve takes no arguments"},
		{args: []string{"--listen", "8765"}, says: `--listen "8765": must be HOST:PORT`},
		{args: []string{"--listen", "127.0.0.1:99999"}, says: "--listen 127.0.0.1:99999: "},
		{args: []string{"--listen", taken.Addr().String()}, says: "--listen " + taken.Addr().String() + ": "},
		{args: []string{"--listen", "0.0.0.0:0"}, says: "others can reach that address, so --token-file must name a token"},
		{args: []string{"--listen", ":0"}, says: "--token-file must name a token"},
		{args: []string{"--listen", "[::]:0"}, says: "--token-file must name a token"},
		{args: []string{"--listen", "fleet.example.org:0"}, says: "--token-file must name a token"},
		{args: []string{"--every", "1ms"}, says: "--every 1ms: must be at least 100ms"},
		{args: []string{"--tls-cert", cert}, says: "--tls-cert and --tls-key go together"},
		{args: []string{"--tls-cert", cert, "--tls-key", good}, says: "--tls-key " + good},
		{args: []string{"--tls-cert", cert, "--tls-key", key + "x"}, says: "--tls-key " + key + "x"},
		{args: []string{"--token-file", short}, says: "must have 16 to 1024 characters"},
		{args: []string{"--token-file", long}, says: "must have 16 to 1024 characters"},
		{args: []string{"--token-file", lines}, says: "must be of one line"},
		{args: []string{"--token-file", filepath.Dir(good)}, says: "must be a plain file"},
		{args: []string{"--token-file", good + "x"}, says: "--token-file: "},
		{args: []string{"--token-file", open}, says: "has mode 0640, and must be for its owner alone: chmod 600 " + open, unix: true},
		{args: []string{"--host", "http://x"}, says: `--host "http://x": must be`},
		{args: []string{"--spool", filepath.Join(dir, "none")}, says: "there is no spool in"},
	} {
		if test.unix && runtime.GOOS == "windows" {
			continue
		}
		got := kustospool(t, "", append([]string{"serve", "--spool", dir, "--listen", "127.0.0.1:0"}, test.args...)...)
		if got.code != exitUsage || got.out != "" || !strings.Contains(got.stderr, test.says) || strings.Contains(got.stderr, "0123456789abcde") {
			t.Errorf("%q: %+v, want %q", test.args, got, test.says)
		}
	}
	if got := kustospool(t, "", "serve"); got.code != exitUsage || !strings.Contains(got.stderr, "name the spool") {
		t.Errorf("%+v", got)
	}
}

// Its flags can be given by the environment and by a file, as those of the others.
func TestServe_Configuration(t *testing.T) {
	t.Setenv("KUSTOSPOOL_SPOOL", spoolOf(t))
	file := configFile(t, "actions\nevery 200ms\nhost a.example\nhost b.example\nbatch-age 5m\n")
	cmd := find("serve")
	fs, settings := flagSet(cmd)
	if err := fs.Parse([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	if err := fromOutside(fs); err != nil {
		t.Fatal(err)
	}
	if s := settings.(*serveSettings); !s.actions || s.spool == "" || fmt.Sprint(s.hosts) != "[a.example b.example]" || s.every.String() != "200ms" {
		t.Errorf("%+v", s)
	}
}
