package azurite

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const childEnv = "AZURITE_TEST_CHILD"

// TestMain runs, as a child of TestEndsWithTheTestBinary, a binary that starts
// the emulator and then hangs.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		az, err := start()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(az.BlobURL)
		select {}
	}
	goleak.VerifyTestMain(m)
}

// with inserts a path element before the SAS.
func with(t *testing.T, target, path string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return u.JoinPath(path).String()
}

func request(t *testing.T, want int, method, target, body string) string {
	t.Helper()
	status, answer, err := call(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	if status != want {
		t.Errorf("%s: status %d, want %d: %s", method, status, want, answer)
	}
	return answer
}

func TestQueueAndItsSAS(t *testing.T) {
	az := Start(t)
	queue := az.Queue(t)
	const message = "<QueueMessage><MessageText>aGk=</MessageText></QueueMessage>"
	messages := with(t, queue, "messages")
	request(t, 201, "POST", messages, message)
	if got := request(t, 200, "GET", messages, ""); !strings.Contains(got, "aGk=") {
		t.Errorf("the queue gives %s", got)
	}
	u, _ := url.Parse(queue)
	name := u.Path[strings.LastIndex(u.Path, "/")+1:]
	addOnly := with(t, az.QueueSAS(name, "a", time.Now().Add(time.Hour)), "messages")
	request(t, 201, "POST", addOnly, message)
	request(t, 403, "GET", addOnly, "")
	request(t, 403, "POST", with(t, az.QueueSAS(name, "a", time.Now().Add(-time.Minute)), "messages"), message)
	request(t, 403, "POST", strings.Replace(messages, "sig=", "sig=x", 1), message)
}

func TestTableAndItsSAS(t *testing.T) {
	az := Start(t)
	table := az.Table(t)
	const entity = `{"PartitionKey":"p","RowKey":"r","Status":"Pending"}`
	request(t, 201, "POST", table, entity)
	request(t, 409, "POST", table, entity)
	u, _ := url.Parse(table)
	u.Path += "(PartitionKey='p',RowKey='r')"
	if got := request(t, 200, "GET", u.String(), ""); !strings.Contains(got, "Pending") {
		t.Errorf("the table gives %s", got)
	}
}

func TestContainersAreFresh(t *testing.T) {
	az := Start(t)
	a, b := az.Container(t), az.Container(t)
	if a == b {
		t.Errorf("two containers are %s", a)
	}
	list, _ := url.Parse(a)
	list.RawQuery += "&restype=container&comp=list"
	if got := request(t, 200, "GET", list.String(), ""); !strings.Contains(got, "<Blobs") {
		t.Errorf("the container lists %s", got)
	}
	if Start(t) != az {
		t.Error("a second Start gave another emulator")
	}
}

// A test binary that is killed leaves no emulator behind. The parent sees the
// end of it as the end of a connection.
func TestEndsWithTheTestBinary(t *testing.T) {
	Start(t) // skips where there is none, and pays for the installation
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	u, parseErr := url.Parse(strings.TrimSpace(line))
	if err != nil || parseErr != nil || u.Host == "" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the child says %q, %v", line, err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	if e, ok := err.(net.Error); err == nil || ok && e.Timeout() {
		t.Errorf("the emulator outlives its test binary: %v", err)
	}
}

// The lock must name no registry: the machine's own configuration decides.
func TestLockNamesNoRegistry(t *testing.T) {
	lock, err := files.ReadFile("npm/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(lock), "\n") {
		if strings.Contains(line, `"resolved"`) && !strings.Contains(line, `"stubs/`) {
			t.Errorf("the lock file says %s", line)
		}
	}
}
