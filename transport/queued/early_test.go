package queued

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/netfault"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/upload"
	"kustospool/transport/transporttest"
)

// A child process uploads to a storage account that answers in the middle of
// each body and goes on reading: "old" by azblob's UploadStream, as this package
// once did, "new" as it does now. The child ends well after childUploads;
// the old code dies within seconds, of some hundred.
const (
	childVariable = "QUEUED_TEST_UPLOADS"
	childUploads  = 4000
	childSenders  = 32
)

// uploadChild is the child's main.
func uploadChild(kind string) int {
	account, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return 3
	}
	go func() {
		for {
			c, err := account.Accept()
			if err != nil {
				return
			}
			go busy(c)
		}
	}()
	data := make([]byte, 9<<20)
	rand.NewChaCha8([32]byte{9}).Read(data)
	address := "http://" + account.Addr().String()
	container := address + "/account/container"
	// Little of a body fits in the kernel, so that net/http is still reading it.
	carrier := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = tcp.SetWriteBuffer(64 << 10)
		}
		return c, err
	}}}
	var send func() error
	switch kind {
	case "old":
		// As it was: net/http reads the SDK's own body.
		send = func() error {
			client, err := blockblob.NewClientWithNoCredential(container+"/blob?sig=x", &blockblob.ClientOptions{ClientOptions: azcore.ClientOptions{
				Transport: carrier, Retry: policy.RetryOptions{MaxRetries: -1}}})
			if err != nil {
				return nil
			}
			_, err = client.UploadStream(context.Background(), bytes.NewReader(data), &blockblob.UploadStreamOptions{BlockSize: upload.BlockBytes, Concurrency: 2})
			return err
		}
	case "new":
		service, err := kusto.NewService(address, nil, &kusto.Options{ClientOptions: azcore.ClientOptions{Transport: carrier}})
		if err != nil {
			fmt.Println(err)
			return 3
		}
		u := upload.New(service.Wire(), kusto.NewIngestion(service), upload.Options{UploadTimeout: time.Minute, StallTimeout: time.Minute, MinRate: 1, RequestTimeout: time.Minute, CompressionLevel: 2})
		r, _ := kusto.ParseResource(container+"?sig=x", true)
		send = func() error {
			d := &transport.Delivery{Batch: testBatch(ingest.Properties{Format: ingest.Parquet}), Attempt: 1, Payload: transporttest.Bytes(data), Journal: &transporttest.Journal{}}
			_, _, _, err := u.Upload(context.Background(), d, []kusto.Resource{r}, upload.Blob{}, func(context.Context, upload.Blob) error { return nil })
			return err
		}
	}
	// Many at a time: what kills needs a thread that is held up at the wrong moment.
	var done sync.WaitGroup
	var left, through atomic.Int64
	left.Store(childUploads)
	if kind == "old" {
		left.Store(10 * childUploads)
	}
	for range childSenders {
		done.Go(func() {
			for left.Add(-1) >= 0 {
				if send() == nil {
					through.Add(1)
				}
			}
		})
	}
	done.Wait()
	if through.Load() > 0 {
		fmt.Println("an upload went through")
		return 3
	}
	fmt.Println("lived")
	return 0
}

// busy is one connection to an account that says 503 after a part of a body,
// and takes the rest all the same.
func busy(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, r.Body, 100<<10)
	const words = "<Error><Code>ServerBusy</Code></Error>"
	if _, err := fmt.Fprintf(c, "HTTP/1.1 503 Server Busy\r\nx-ms-error-code: ServerBusy\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(words), words); err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// The process that uploads lives when storage answers early. The control dies of
// what the SDK does with its memory, which no recover helps against.
func TestProcessLivesThroughEarlyReplies(t *testing.T) {
	if testing.Short() {
		t.Skip("not run with -short: the control must die in time, and under the race detector the writers are too slow for that")
	}
	run := func(kind string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+kind)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("new"); err != nil || !strings.Contains(out, "lived") {
		t.Errorf("%v: %.2000s", err, out)
	}
	out, err := run("old")
	if err == nil || !strings.Contains(out, "fault") {
		t.Errorf("the control lives, so this test sees nothing: %v: %.2000s", err, out)
	}
	first, _, _ := strings.Cut(out, "\n")
	t.Logf("the control ended in %v: %s", err, first)
}

// uploads is how many batches TestUploadsThroughEarlyReplies sends; UPLOADS in
// the environment says another number.
func uploads(t *testing.T) int {
	if s := os.Getenv("UPLOADS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("UPLOADS=%s", s)
		}
		return n
	}
	if testing.Short() {
		return 150
	}
	return 1000
}

// Every third request of an upload is answered in the middle of its body, in
// each way that a service or what is before it does, by eight senders that share
// their buffers. Each batch arrives once, with the bytes that it had.
func TestUploadsThroughEarlyReplies(t *testing.T) {
	n := uploads(t)
	replies := netfault.Replies()
	thens := []netfault.Then{netfault.ThenClose, netfault.ThenReset, netfault.ThenDrain}
	faults := new(netfault.Set)
	var active []*netfault.Active
	kinds := len(replies) * len(thens)
	for i := range kinds {
		active = append(active, faults.Add(netfault.Fault{Kind: netfault.EarlyReply, Match: isUpload, Skip: 3 * i, Every: 3 * kinds, At: netfault.Middle,
			Reply: replies[i%len(replies)].Reply, Then: thens[i/len(replies)]}))
	}
	l := newLinked(t, nil, &netfault.Options{Faults: faults})
	clients := []*Client{
		l.client(ClientOptions{}, upload.Options{}),
		l.client(ClientOptions{}, upload.Options{MinBlock: 64 << 10, BlockTime: time.Microsecond}), // always in small blocks
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var attempts, wrong atomic.Int64
	sums := make([][sha256.Size]byte, n)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				data := make([]byte, 200<<10+rng.IntN(400<<10))
				fill(data, rng)
				sums[i] = sha256.Sum256(data)
				b := numbered(i)
				b.Properties.Format, b.Properties.DeleteBlobOnSuccess = ingest.Parquet, true
				var progress []byte
				for attempt := 1; ; attempt++ {
					attempts.Add(1)
					d, j := delivery(b, data)
					d.Attempt, d.Progress = attempt, progress
					_, err := clients[i%2].Send(t.Context(), d)
					if err == nil {
						break
					}
					if c := classOf(err); c == transport.Permanent || c == transport.Malformed || c == transport.Unknown || attempt == 100 {
						t.Errorf("batch %d, attempt %d: %v", i, attempt, err)
						wrong.Add(1)
						break
					}
					progress = j.Last()
				}
			}
		})
	}
	wg.Wait()
	settleSim(t, l.sim)
	struck := 0
	for i, a := range active {
		if a.Struck() == 0 {
			t.Errorf("no upload met %s, %v", replies[i%len(replies)].Name, thens[i/len(replies)])
		}
		struck += a.Struck()
	}
	rows := map[string]int{}
	for _, r := range l.sim.Rows("db1", "tbl1") {
		rows[hashOf(t, r)]++
	}
	for i := range sums {
		if k := rows[fmt.Sprintf("%x", sums[i])]; k != 1 {
			t.Errorf("batch %d is there %d times with its bytes", i, k)
			if wrong.Add(1) > 10 {
				t.FailNow()
			}
		}
	}
	t.Logf("%d batches in %d attempts, %d early replies; %d rows", n, attempts.Load(), struck, len(rows))
}

// isUpload matches requests that carry a payload.
func isUpload(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "kustospool__") && r.URL.Query().Get("comp") != "blocklist"
}

func fill(p []byte, rng *rand.Rand) {
	for i := 0; i+8 <= len(p); i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			p[i+j] = byte(v >> (8 * j))
		}
	}
}

// hashOf is the hash that the simulator keeps of a format it does not read.
func hashOf(t *testing.T, r kustosim.Row) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(r), `"_opaque":"`)
	if !ok {
		t.Fatalf("a row without a hash: %.200s", r)
	}
	return rest[:2*sha256.Size]
}
