package kusto

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"kustospool/internal/testutil/netfault"
)

const blockAddress = "http://127.0.0.1:9/account/container/blob?sig=x"

// blockClient is a storage client over a carrier.
func blockClient(t *testing.T, address string, carrier policy.Transporter, retries int32) *blockblob.Client {
	t.Helper()
	c, err := blockblob.NewClientWithNoCredential(address, &blockblob.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: carrier,
		Retry: policy.RetryOptions{MaxRetries: retries, RetryDelay: time.Millisecond, StatusCodes: []int{http.StatusInternalServerError}}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reuse stages a block that is answered in the middle of its body, uses the
// buffer for something else as soon as the call has returned, and counts the
// bytes of that something which went out for the block.
func reuse(t *testing.T, wire bool) (wrong, early int64) {
	t.Helper()
	faults, hold := new(netfault.Set), make(chan struct{})
	faults.Add(netfault.Fault{Kind: netfault.EarlyReply, At: netfault.Middle, Reply: netfault.Status(503, 0), Then: netfault.ThenDrain, Hold: hold})
	var bad, good atomic.Int64
	rt := &netfault.RoundTripper{Faults: faults, Read: func(_ *http.Request, p []byte, late bool) {
		bad.Add(int64(len(p) - bytes.Count(p, []byte{'a'})))
		if !late {
			good.Add(int64(len(p)))
		}
	}}
	var carrier policy.Transporter = &http.Client{Transport: rt}
	if wire {
		carrier = NewWire(carrier, Timeouts{}, nil)
	}
	data := bytes.Repeat([]byte{'a'}, 1<<20)
	ctx, body := t.Context(), NewBody(data)
	if wire {
		ctx = WithBody(ctx, body)
	}
	_, err := blockClient(t, blockAddress, carrier, -1).StageBlock(ctx, "AAAA", streaming.NopCloser(bytes.NewReader(data)), nil)
	if err == nil {
		t.Fatal("the block was staged")
	}
	body.End()
	for i := range data {
		data[i] = 'b'
	}
	close(hold) // only now the transport reads on, as net/http may
	rt.Close()
	return bad.Load(), good.Load()
}

// A buffer that is used again as soon as a call has returned goes out as it was,
// or not at all. The control is the SDK alone.
func TestBufferIsNotReadAfterItsLoan(t *testing.T) {
	if wrong, early := reuse(t, true); wrong != 0 || early == 0 {
		t.Errorf("%d wrong bytes, %d before the answer", wrong, early)
	}
	if wrong, _ := reuse(t, false); wrong == 0 {
		t.Error("without the wire no wrong byte is seen: the test sees nothing")
	} else {
		t.Logf("without the wire %d wrong bytes go out", wrong)
	}
}

// A try reads bytes of its own, also while the one before it reads on: the
// SDK's retries give the same reader to both.
func TestTriesShareNoReader(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		mu.Lock()
		got = data
		mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i >> 8)
	}
	for _, lent := range []bool{true, false} {
		faults := new(netfault.Set)
		faults.Add(netfault.Fault{Kind: netfault.EarlyReply, At: 1000, Times: 1, Reply: netfault.Status(500, 0), Then: netfault.ThenDrain, Late: time.Microsecond})
		rt := &netfault.RoundTripper{Next: &http.Transport{DisableKeepAlives: true}, Faults: faults}
		ctx := t.Context()
		if lent {
			ctx = WithBody(ctx, NewBody(data))
		}
		if _, err := blockClient(t, server.URL+"/account/container/blob", NewWire(&http.Client{Transport: rt}, Timeouts{}, nil), 1).
			StageBlock(ctx, "AAAA", streaming.NopCloser(bytes.NewReader(data)), nil); err != nil {
			t.Fatal(err)
		}
		rt.Close()
		mu.Lock()
		if !bytes.Equal(got, data) {
			t.Errorf("lent %v: %d bytes arrived, not those that were sent", lent, len(got))
		}
		mu.Unlock()
	}
}

// The loan of one request's bytes is not taken for another's of the same
// context, and a body that cannot be read is the error's.
func TestBodyOfAnotherRequest(t *testing.T) {
	var got string
	carrier := carrierFunc(func(r *http.Request) (*http.Response, error) {
		data, err := io.ReadAll(r.Body)
		got = string(data)
		return &http.Response{StatusCode: 200, Body: http.NoBody}, err
	})
	ctx := WithBody(t.Context(), NewBody([]byte("a block")))
	send := func(body io.Reader) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://h/", body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewWire(carrier, Timeouts{}, nil).Do(req)
		return err
	}
	if err := send(bytes.NewReader([]byte("a token request"))); err != nil || got != "a token request" {
		t.Errorf("%q, %v", got, err)
	}
	if err := send(bytes.NewReader([]byte("a block"))); err != nil || got != "a block" {
		t.Errorf("%q, %v", got, err)
	}
	if err := send(io.MultiReader(bytes.NewReader([]byte("x")), failing{})); err == nil {
		t.Error("a body that cannot be read was sent")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, fmt.Errorf("broken") }

type carrierFunc func(*http.Request) (*http.Response, error)

func (f carrierFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// A read that is under way when the loan ends has ended when End returns.
func TestEndWaitsForReads(t *testing.T) {
	for range 200 {
		data := bytes.Repeat([]byte{1}, 1<<16)
		b := NewBody(data)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				p := make([]byte, 100)
				for r := b.reader(); ctx.Err() == nil; {
					n, err := r.Read(p)
					if bytes.IndexByte(p[:n], 0) >= 0 {
						t.Error("a byte of after the loan")
					}
					if err == io.EOF {
						r = b.reader()
					} else if err != nil {
						return
					}
				}
			})
		}
		for b.Moved() == 0 {
		}
		b.End()
		clear(data) // -race sees a read that goes on
		cancel()
		wg.Wait()
	}
}
