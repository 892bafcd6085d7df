package queued

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/azurite"
	"kustospool/internal/testutil/netfault"
	"kustospool/transport"
	"kustospool/transport/internal/upload"
)

// Uploads in these tests go over a link of linkRate, on which a block of
// linkBlock takes the time that one should.
const (
	linkRate  = 512 << 10
	linkBlock = 32 << 10
)

// linked is a simulated service whose one storage account is behind a slow link.
type linked struct {
	t     *testing.T
	sim   *kustosim.Sim
	link  *netfault.Proxy
	blobs string // host:port of the account, which the link leads to
	url   string // of its container, with a signature
}

func newLinked(t *testing.T, storage *kustosim.ExternalStorage, o *netfault.Options) *linked {
	t.Helper()
	l := &linked{t: t, sim: startSim(t, &kustosim.Options{Accounts: 1, Storage: storage})}
	if err := l.sim.CreateTable("db1", "tbl1"); err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(l.sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r, err := client.ingestion.Resources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.blobs, l.url = r.Containers[0].Host, r.Containers[0].URL()
	if l.link, err = netfault.Listen(l.blobs, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.link.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// carrier is an HTTP client that reaches the account over the link.
func (l *linked) carrier() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == l.blobs {
			addr = l.link.Addr()
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	l.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// client is as a new process has it: nothing is remembered but the journal.
func (l *linked) client(o ClientOptions, so upload.Options) *Client {
	l.t.Helper()
	o.ClientOptions, o.Protocol = azcore.ClientOptions{Transport: l.carrier()}, Queue
	c, err := NewClient(l.sim.Endpoint(), nil, &o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	so.ClientOptions, so.CompressionLevel, so.RequestTimeout = c.opts.ClientOptions, c.opts.CompressionLevel, c.opts.RequestTimeout
	so.UploadTimeout, so.StallTimeout, so.MinRate = c.opts.UploadTimeout, c.opts.StallTimeout, c.opts.MinRate
	c.uploads = upload.New(c.service.Wire(), c.ingestion, so)
	return c
}

// small are blocks for the link's rate.
var small = upload.Options{MinBlock: linkBlock / 4, BlockTime: time.Second * linkBlock / linkRate}

// lines are n records that do not compress well, and hardly alike.
func lines(seed uint64, n int) (data []byte, texts []string) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	raw := make([]byte, 150)
	for i := range n {
		for j := range raw {
			raw[j] = byte(rng.Uint32())
		}
		texts = append(texts, fmt.Sprintf(`{"n":%d,"text":%q}`, i, base64.StdEncoding.EncodeToString(raw)))
		b.WriteString(texts[i] + "\n")
	}
	return b.Bytes(), texts
}

func (l *linked) ingested(want []string) {
	l.t.Helper()
	settleSim(l.t, l.sim)
	var got []string
	for _, r := range l.sim.Rows("db1", "tbl1") {
		got = append(got, string(r))
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		l.t.Errorf("%d rows, want %d, or their bytes differ", len(got), len(want))
	}
}

func figure(c *Client, name string) int64 {
	for _, f := range c.Figures() {
		if f.Name == name {
			return f.Value
		}
	}
	return 0
}

// killed uploads until the link has carried so many bytes and is then gone, as
// a process is: what its journal said at that moment is all that is left.
func (l *linked) killed(c *Client, data []byte, after int64) (progress []byte, carried int64) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	d, j := delivery(jsonBatch(), data)
	dead := make(chan struct{})
	j.OnNote = func([]byte) error {
		select {
		case <-dead:
			return context.Canceled
		default:
			return nil
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := c.Send(ctx, d)
		ended <- err
	}()
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if carried, _ = l.link.Carried(); carried >= after {
			tick.Stop()
			break
		}
	}
	progress = j.Last()
	close(dead)
	cancel()
	if err := <-ended; err == nil {
		l.t.Fatal("the upload was over before it was killed")
	}
	carried, _ = l.link.Carried()
	return progress, carried
}

func storages(t *testing.T, run func(t *testing.T, storage *kustosim.ExternalStorage)) {
	t.Run("simulator", func(t *testing.T) { run(t, nil) })
	t.Run("Azurite", func(t *testing.T) {
		az := azurite.Start(t)
		run(t, &kustosim.ExternalStorage{BlobURL: az.BlobURL, QueueURL: az.QueueURL, TableURL: az.TableURL, Account: az.Account, Key: az.Key})
	})
}

// A process that was killed in the middle of an upload costs two blocks at most,
// whether storage tells what it has or not, in the service's containers and in
// one's own.
func TestUploadGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	storages(t, func(t *testing.T, storage *kustosim.ExternalStorage) {
		for _, tc := range []struct {
			name          string
			listing, owns bool
		}{{"listed", true, false}, {"not listed", false, false}, {"own container", false, true}} {
			t.Run(tc.name, func(t *testing.T) {
				l := newLinked(t, storage, &netfault.Options{BytesPerSecond: linkRate})
				if !tc.listing {
					l.sim.Fault(kustosim.Blob, kustosim.Fault{Kind: kustosim.Respond, Method: http.MethodGet, PathContains: "kustospool__", Status: 403, Code: "AuthorizationPermissionMismatch"})
				}
				var o ClientOptions
				if tc.owns {
					container, sas, _ := strings.Cut(l.url, "?")
					o.Storage = &Storage{Containers: []string{container}, SAS: func(context.Context, string) (string, error) { return sas, nil }}
				}
				data, texts := lines(1, 5000)
				progress, before := l.killed(l.client(o, small), data, 500<<10)

				c := l.client(o, small)
				d, j := delivery(jsonBatch(), data)
				d.Attempt, d.Progress = 2, progress
				ack, err := c.Send(t.Context(), d)
				if err != nil || ack.State != ingest.Accepted {
					t.Fatalf("%+v, %v", ack, err)
				}
				kept := figure(c, "upload_bytes_kept")
				carried, _ := l.link.Carried()
				if lost := before - kept; figure(c, "uploads_resumed") != 1 || lost > 2*linkBlock+before/20 {
					t.Errorf("of %d bytes before the kill %d were kept", before, kept)
				}
				if float64(carried) > 1.15*float64(ack.WireBytes) {
					t.Errorf("%d bytes on the wire of %d", carried, ack.WireBytes)
				}
				t.Logf("killed at %d bytes: %d kept, %d carried of %d", before, kept, carried, ack.WireBytes)
				if p := decodeProgress(j.Last()); p.Blocks != "" || p.ETag == "" {
					t.Errorf("%+v", p)
				}
				l.ingested(texts)
			})
		}
	})
}

// What the journal says of blocks can be wrong: storage forgot them, their
// container is not lent any more, or the compressor is another one. The upload
// begins again and says so, and what arrives is right.
func TestUploadBeginsAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		o      ClientOptions
		change func(*linked)
		fails  bool // once
	}{
		{name: "blocks forgotten", fails: true, change: func(l *linked) {
			l.sim.Fault(kustosim.Blob, kustosim.Fault{Kind: kustosim.Respond, Method: http.MethodGet, PathContains: "kustospool__", Status: 403})
			l.sim.ForgetBlocks()
		}},
		{name: "container rotated", change: func(l *linked) {
			if err := l.sim.Rotate(l.t.Context()); err != nil {
				l.t.Fatal(err)
			}
		}},
		{name: "compressor changed", o: ClientOptions{CompressionLevel: 9}, change: func(*linked) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLinked(t, nil, &netfault.Options{BytesPerSecond: 2 * linkRate})
			data, texts := lines(2, 5000)
			progress, _ := l.killed(l.client(ClientOptions{}, small), data, 500<<10)
			tc.change(l)
			c := l.client(tc.o, small)
			d, j := delivery(jsonBatch(), data)
			d.Attempt, d.Progress = 2, progress
			_, err := c.Send(t.Context(), d)
			if tc.fails {
				e := asError(err)
				if e == nil || e.Class != transport.Transient || e.Code != "InvalidBlockList" || !strings.Contains(e.Message, "begins again") {
					t.Fatalf("%v", err)
				}
				d.Attempt, d.Progress = 3, j.Last()
				_, err = c.Send(t.Context(), d)
			}
			if err != nil {
				t.Fatal(err)
			}
			if figure(c, "uploads_begun_again") != 1 {
				t.Errorf("figures %v", c.Figures())
			}
			l.ingested(texts)
		})
	}
}

// Where storage tells that it has no block, nothing has to fail first.
func TestForgottenBlocksAreSeenInTheList(t *testing.T) {
	l := newLinked(t, nil, &netfault.Options{BytesPerSecond: 2 * linkRate})
	data, texts := lines(3, 4000)
	progress, _ := l.killed(l.client(ClientOptions{}, small), data, 400<<10)
	l.sim.ForgetBlocks()
	c := l.client(ClientOptions{}, small)
	d, _ := delivery(jsonBatch(), data)
	d.Attempt, d.Progress = 2, progress
	if _, err := c.Send(t.Context(), d); err != nil || figure(c, "upload_bytes_kept") > linkBlock {
		// One block may have been on its way when the others were forgotten.
		t.Errorf("%v, %v", err, c.Figures())
	}
	l.ingested(texts)
}

// A reply that was lost to the block list is no reason to send the blocks again,
// in this process or in the next.
func TestLostReplyToTheBlockList(t *testing.T) {
	l := newLinked(t, nil, nil)
	data, texts := lines(4, 4000)
	list := func(r *http.Request) bool {
		return r.URL.Query().Get("comp") == "blocklist" && r.Method == http.MethodPut
	}
	faults := new(netfault.Set)
	faults.Add(netfault.Fault{Kind: netfault.ResetReply, Match: list})
	proxy, err := netfault.Listen(l.blobs, &netfault.Options{Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	whole := l.link
	l.link = proxy
	d, j := delivery(jsonBatch(), data)
	o := ClientOptions{StallTimeout: 2 * time.Second}
	if _, err := l.client(o, small).Send(t.Context(), d); classOf(err) != transport.Transient {
		t.Fatal(err)
	}
	proxy.Close()
	l.link = whole
	before, _ := l.link.Carried()
	d.Attempt, d.Progress = 2, j.Last()
	if _, err := l.client(o, small).Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if after, _ := l.link.Carried(); after-before > 100<<10 {
		t.Errorf("%d bytes were sent again", after-before)
	}
	l.ingested(texts)
}

// An upload that has moved waits for the link within its attempt; nothing of it
// is sent twice but the block that was under way.
func TestUploadWaitsForTheLink(t *testing.T) {
	t.Parallel()
	l := newLinked(t, nil, &netfault.Options{BytesPerSecond: linkRate, Up: 500 * time.Millisecond, Down: 200 * time.Millisecond})
	data, texts := lines(5, 8000)
	d, j := delivery(jsonBatch(), data)
	moved := 0
	d.Moved = func() { moved++ }
	ack, err := l.client(ClientOptions{}, small).Send(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	carried, _ := l.link.Carried()
	t.Logf("%d bytes of %d on the wire, %d notes, %d moves", carried, ack.WireBytes, j.Notes(), moved)
	if float64(carried) > 1.3*float64(ack.WireBytes) || moved < 10 {
		t.Error("too much was sent again")
	}
	l.ingested(texts)
}

// What stands still ends after StallTimeout, with what it has; at MinRate it
// goes on for longer than any timeout.
func TestUploadStandsStill(t *testing.T) {
	t.Parallel()
	l := newLinked(t, nil, &netfault.Options{BytesPerSecond: linkRate, Stall: true})
	data, texts := lines(6, 4000)
	o := ClientOptions{StallTimeout: time.Second, MinRate: 64 << 10}
	d, j := delivery(jsonBatch(), data)
	moves := 0
	d.Moved = func() {
		if moves++; moves == 5 {
			l.link.SetLink(false)
		}
	}
	begun := time.Now()
	_, err := l.client(o, small).Send(t.Context(), d)
	if took := time.Since(begun); classOf(err) != transport.Transient || took < time.Second || took > 15*time.Second {
		t.Fatalf("%v after %v", err, took)
	}
	l.link.SetLink(true)
	d.Attempt, d.Progress, d.Moved = 2, j.Last(), nil
	c := l.client(o, small)
	if _, err := c.Send(t.Context(), d); err != nil || figure(c, "upload_bytes_kept") < 3*linkBlock/4 {
		t.Errorf("%v, %v", err, c.Figures())
	}
	l.ingested(texts)

	slow := newLinked(t, nil, &netfault.Options{BytesPerSecond: 24 << 10})
	data, texts = lines(7, 400) // 3 s on this link
	d, _ = delivery(jsonBatch(), data)
	o.MinRate = 8 << 10
	begun = time.Now()
	if _, err := slow.client(o, small).Send(t.Context(), d); err != nil || time.Since(begun) < 2*o.StallTimeout {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	slow.ingested(texts)
}
