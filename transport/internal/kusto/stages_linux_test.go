package kusto

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"kustospool/transport"
)

// A host that does not answer connections: nothing was sent. It is a socket
// whose queue of connections is full, for which Linux drops further ones.
func TestConnectTimeout(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	full := false
	for range 10 {
		c, err := net.DialTimeout("tcp", addr, stage)
		if err != nil {
			full = true
			break
		}
		defer c.Close()
	}
	if !full {
		t.Fatal("the queue of connections does not fill up")
	}
	e, took := post(t, Timeouts{Connect: stage}, "http://"+addr+"/messages")
	ends(t, e, took, transport.Transient, "i/o timeout")
	// Control: the same with more time ends by that, and not by this.
	if e, took := post(t, Timeouts{Connect: 3 * stage}, "http://"+addr+"/messages"); e == nil || took < 3*stage-10*time.Millisecond {
		t.Errorf("with more time: %v after %v", e, took)
	}
}
