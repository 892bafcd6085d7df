package kustosim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// noReply reports whether err is a connection that ended, not an HTTP reply.
func noReply(err error) bool {
	var reply *azcore.ResponseError
	return err != nil && !errors.As(err, &reply)
}

func TestFaultsOnUpload(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  Fault
		fails  func(error) bool
		stored bool
	}{
		{"down", Fault{Kind: Down}, noReply, false},
		{"drop request", Fault{Kind: DropRequest}, noReply, false},
		{"drop reply", Fault{Kind: DropReply}, noReply, true},
		{"refuse", Fault{Kind: Refuse}, noReply, false},
		{"500", Fault{Kind: Respond, Status: 500}, responds(500, "InternalError"), false},
		{"503", Fault{Kind: Respond, Status: 503, RetryAfter: time.Second}, responds(503, "ServerBusy"), false},
		{"403", Fault{Kind: Respond, Status: 403}, responds(403, "AuthenticationFailed"), false},
		{"404", Fault{Kind: Respond, Status: 404}, responds(404, "ContainerNotFound"), false},
		{"429", Fault{Kind: Respond, Status: 429}, responds(429, "TooManyRequests"), false},
		{"own code", Fault{Kind: Respond, Status: 500, Code: "OperationTimedOut"}, responds(500, "OperationTimedOut"), false},
		{"slow", Fault{Kind: Slow, Delay: time.Millisecond}, func(err error) bool { return err == nil }, true},
		{"slow reply", Fault{Kind: SlowReply, Delay: time.Millisecond}, func(err error) bool { return err == nil }, true},
		{"other method", Fault{Kind: Down, Method: "GET"}, func(err error) bool { return err == nil }, true},
		{"other path", Fault{Kind: Down, PathContains: "other"}, func(err error) bool { return err == nil }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, nil)
			for _, host := range []Host{Blob, Blob.Account(0)} {
				name := "b" + strings.ReplaceAll(string(host), "/", "")
				remove := c.sim.Fault(host, tt.fault)
				_, err := c.blob(c.containers[0], name).UploadBuffer(t.Context(), []byte("x"), nil)
				remove()
				remove()
				if !tt.fails(err) {
					t.Errorf("the upload gives %v", err)
				}
				if stored := slices.Contains(c.sim.Blobs(), "simstorage0/ingestdata-0/"+name); stored != tt.stored {
					t.Errorf("the blob is stored: %v", stored)
				}
				if _, err := c.blob(c.containers[0], name+"2").UploadBuffer(t.Context(), []byte("x"), nil); err != nil {
					t.Errorf("after the fault: %v", err)
				}
			}
			remove := c.sim.Fault(Blob.Account(1), tt.fault)
			defer remove()
			if _, err := c.blob(c.containers[0], "c").UploadBuffer(t.Context(), []byte("x"), nil); err != nil {
				t.Errorf("the fault of the other account: %v", err)
			}
		})
	}
}

func responds(status int, code string) func(error) bool {
	return func(err error) bool {
		var reply *azcore.ResponseError
		return errors.As(err, &reply) && reply.StatusCode == status && reply.ErrorCode == code
	}
}

// A lost reply of the enqueue is how duplicates are born: the message is in.
func TestLostEnqueueReplyStillIngests(t *testing.T) {
	c := start(t, nil)
	c.create()
	uri := c.upload("a.json", "{}\n")
	remove := c.sim.Fault(Queue, Fault{Kind: DropReply, Times: 2})
	defer remove()
	for range 2 {
		_, text := c.message(uri, 3, field("FlushImmediately", true))
		if _, err := c.queue(c.queues[0]).EnqueueMessage(t.Context(), text, nil); !noReply(err) {
			t.Fatalf("the enqueue gives %v", err)
		}
	}
	c.wait(func() bool { return c.sim.Count("db1", "t1") == 2 })
	for range 2 { // with the tag pair, once
		_, text := c.message(uri, 3, tagged("x"))
		c.enqueue(text)
	}
	c.wait(func() bool { return c.sim.Stats().SkippedByTag == 1 })
	c.count(3)
	if s := c.sim.Stats(); s.FaultsStruck != 2 || s.MessagesPosted != 4 || s.Requests[Queue.Account(0)] != 4 {
		t.Errorf("stats are %+v", s)
	}
}

func TestFaultsOnStatusTable(t *testing.T) {
	c := start(t, nil)
	remove := c.sim.Fault(Table, Fault{Kind: Respond, Status: 503})
	_, err := c.status().AddEntity(t.Context(), entityJSON("p", "r", nil), nil)
	if !responds(503, "ServerBusy")(err) {
		t.Errorf("the insert gives %v", err)
	}
	remove()
	remove = c.sim.Fault(Table, Fault{Kind: DropReply, Times: 1})
	defer remove()
	if _, err := c.status().AddEntity(t.Context(), entityJSON("p", "r", nil), nil); !noReply(err) {
		t.Errorf("the insert gives %v", err)
	}
	_, err = c.status().AddEntity(t.Context(), entityJSON("p", "r", nil), nil)
	refused(t, err, http.StatusConflict, "EntityAlreadyExists")
}

func TestEveryAndTimes(t *testing.T) {
	c := start(t, nil)
	remove := c.sim.Fault(Blob, Fault{Kind: Respond, Status: 500, Every: 3, Times: 2})
	defer remove()
	var got strings.Builder
	for range 12 {
		if _, err := c.blob(c.containers[0], "b").UploadBuffer(t.Context(), []byte("x"), nil); err != nil {
			got.WriteByte('x')
		} else {
			got.WriteByte('.')
		}
	}
	if want := "..x..x......"; got.String() != want {
		t.Errorf("the fault strikes %s, want %s", &got, want)
	}
}

func (c *client) kusto(path, csl string) (status int, retryAfter string, body map[string]any, err error) {
	text, _ := json.Marshal(map[string]string{"db": "db1", "csl": csl})
	reply, err := c.http.Post(c.sim.Endpoint()+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, "", nil, err
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	if err != nil {
		return 0, "", nil, err
	}
	return reply.StatusCode, reply.Header.Get("Retry-After"), body, json.Unmarshal(data, &body)
}

func TestFaultsOnKusto(t *testing.T) {
	c := start(t, nil)
	c.create()
	const resources, engine = ".get ingestion resources", ".show tables"
	for _, tt := range []struct {
		fault     Fault
		status    int
		code      string
		permanent bool
	}{
		{Fault{Kind: Respond, Status: 429, RetryAfter: 1500 * time.Millisecond}, 429, "TooManyRequests", false},
		{Fault{Kind: Respond, Status: 500}, 500, "General_InternalServerError", false},
		{Fault{Kind: Respond, Status: 503}, 503, "ServiceUnavailable", false},
		{Fault{Kind: Respond, Status: 504}, 504, "Timeout", false},
		{Fault{Kind: Respond, Status: 401}, 401, "Unauthorized", true},
		{Fault{Kind: Respond, Status: 403}, 403, "Forbidden", true},
		{Fault{Kind: Respond, Status: 404}, 404, "NotFound", true},
		{Fault{Kind: Respond, Status: 400}, 400, "General_BadRequest", true},
		{Fault{Kind: Respond, Status: 400, Transient: true, Code: "X", Message: "y"}, 400, "X", false},
		{Fault{Kind: Respond, Status: 500, Permanent: true}, 500, "General_InternalServerError", true},
	} {
		t.Run(strconv.Itoa(tt.status), func(t *testing.T) {
			remove := c.sim.Fault(DM, tt.fault)
			defer remove()
			status, retryAfter, body, err := c.kusto("/v1/rest/mgmt", resources)
			if err != nil {
				t.Fatal(err)
			}
			e, _ := body["error"].(map[string]any)
			if status != tt.status || e["code"] != tt.code || e["@permanent"] != tt.permanent || e["@message"] == "" {
				t.Errorf("the reply is %d %v", status, body)
			}
			if tt.fault.RetryAfter > 0 && retryAfter != "2" {
				t.Errorf("Retry-After is %q", retryAfter)
			}
			if status, _, _, err := c.kusto("/v1/rest/mgmt", engine); err != nil || status != 200 {
				t.Errorf("the engine gives %d, %v", status, err)
			}
		})
	}
	remove := c.sim.Fault(Engine, Fault{Kind: Down})
	if _, _, _, err := c.kusto("/v1/rest/mgmt", engine); err == nil {
		t.Error("the engine answers although it is down")
	}
	if status, _, _, err := c.kusto("/v1/rest/mgmt", resources); err != nil || status != 200 {
		t.Errorf("the DM gives %d, %v", status, err)
	}
	remove()
	for _, kind := range []FaultKind{Slow, SlowReply} {
		remove = c.sim.Fault(DM, Fault{Kind: kind, Delay: time.Millisecond})
		if status, _, _, err := c.kusto("/v1/rest/mgmt", resources); err != nil || status != 200 {
			t.Errorf("the slow DM gives %d, %v", status, err)
		}
		remove()
	}
	remove = c.sim.Fault(DM, Fault{Kind: Respond, Status: 503, PathContains: "identity token"})
	if status, _, _, _ := c.kusto("/v1/rest/mgmt", ".get kusto identity token"); status != 503 {
		t.Errorf("the token command gives %d", status)
	}
	if status, _, _, err := c.kusto("/v1/rest/mgmt", resources); err != nil || status != 200 {
		t.Errorf("the resources command gives %d, %v", status, err)
	}
	remove()
	remove = c.sim.Fault(Engine, Fault{Kind: DropReply})
	if _, _, _, err := c.kusto("/v1/rest/mgmt", ".create table made (a:string)"); err == nil {
		t.Error("a reply came back")
	}
	remove()
	if _, ok := c.sim.Columns("db1", "made"); !ok {
		t.Error("the command had no effect")
	}
}

func TestStallEndsWithTheClientOrTheFault(t *testing.T) {
	c := start(t, nil)
	remove := c.sim.Fault(Queue, Fault{Kind: Stall})
	defer remove()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Add(2)
	var first, second error
	go func() {
		defer wg.Done()
		_, first = c.queue(c.queues[0]).EnqueueMessage(ctx, "x", nil)
	}()
	c.wait(func() bool { return c.sim.Stats().FaultsStruck == 1 })
	go func() {
		defer wg.Done()
		_, second = c.queue(c.queues[0]).EnqueueMessage(t.Context(), "x", nil)
	}()
	c.wait(func() bool { return c.sim.Stats().FaultsStruck == 2 })
	cancel()
	remove()
	wg.Wait()
	if !errors.Is(first, context.Canceled) || !noReply(second) {
		t.Errorf("the errors are %v and %v", first, second)
	}
	if got := c.sim.Stats().MessagesPosted; got != 0 {
		t.Errorf("%d messages were accepted", got)
	}
}

// What a slow service was asked, it does although the client has left.
func TestSlowOutlivesTheClient(t *testing.T) {
	c := start(t, nil)
	c.create()
	uri := c.upload("a.json", "{}\n")
	remove := c.sim.Fault(Queue, Fault{Kind: Slow, Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	_, text := c.message(uri, 3)
	go func() {
		_, err := c.queue(c.queues[0]).EnqueueMessage(ctx, text, nil)
		done <- err
	}()
	c.wait(func() bool { return c.sim.Stats().FaultsStruck == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the enqueue gives %v", err)
	}
	remove() // ends the delay, too
	c.wait(func() bool { return c.sim.Count("db1", "t1") == 1 })
}

func TestRefuseIsKnownNotToHaveArrived(t *testing.T) {
	c := start(t, nil)
	remove := c.sim.Fault(Queue, Fault{Kind: Refuse})
	_, err := c.queue(c.queues[0]).EnqueueMessage(t.Context(), "x", nil)
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" || !errors.Is(err, syscall.ECONNREFUSED) && !strings.Contains(err.Error(), "refused") {
		t.Errorf("the enqueue gives %v, want a refused connection", err)
	}
	remove()
	if _, err := c.queue(c.queues[0]).EnqueueMessage(t.Context(), "x", nil); err != nil {
		t.Errorf("after the fault: %v", err)
	}
	remove = c.sim.Fault(DM, Fault{Kind: Refuse})
	if _, _, _, err := c.kusto("/v1/rest/mgmt", ".show tables"); err == nil {
		t.Error("the endpoint answers")
	}
	if err := c.sim.Close(); err != nil {
		t.Errorf("Close during the fault: %v", err)
	}
	remove()
}

func TestCloseEndsStalledRequests(t *testing.T) {
	c := start(t, nil)
	c.sim.Fault(Queue, Fault{Kind: Stall})
	done := make(chan error, 1)
	go func() {
		_, err := c.queue(c.queues[0]).EnqueueMessage(t.Context(), "x", nil)
		done <- err
	}()
	c.wait(func() bool { return c.sim.Stats().FaultsStruck == 1 })
	if err := c.sim.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the request was answered")
	}
	if err := c.sim.Wait(t.Context(), func() bool { return false }); !errors.Is(err, ErrClosed) {
		t.Errorf("Wait gives %v", err)
	}
}
