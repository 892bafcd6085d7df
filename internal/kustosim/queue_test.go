package kustosim

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"kustospool/internal/kustosim/internal/storage"
)

// refused asserts the status and code of a refusal by storage.
func refused(t *testing.T, err error, status int, code string) {
	t.Helper()
	var reply *azcore.ResponseError
	if !errors.As(err, &reply) || reply.StatusCode != status || reply.ErrorCode != code {
		t.Errorf("error is %v, want %d %s", err, status, code)
	}
}

func TestQueueMessages(t *testing.T) {
	c := start(t, nil)
	c.sim.storage.(*storage.Builtin).AddQueue("q")
	root := mustParse(t, c.success)
	root.Path, root.RawQuery = "/simstorage0/q", c.sim.issuer.Sign(storage.QueueService, "simstorage0", "q", "rap", time.Now())
	q := c.queue(root.String())
	for _, text := range []string{"one", "two <&> ü", strings.Repeat("x", 64<<10)} {
		reply, err := q.EnqueueMessage(t.Context(), text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m := reply.Messages[0]; m.MessageID == nil || m.PopReceipt == nil || m.ExpirationTime.Sub(*m.InsertionTime) != 7*24*time.Hour {
			t.Errorf("the reply is %+v", m)
		}
	}
	_, err := q.EnqueueMessage(t.Context(), strings.Repeat("x", 64<<10+1), nil)
	refused(t, err, http.StatusRequestEntityTooLarge, "RequestBodyTooLarge")

	peeked, err := q.PeekMessages(t.Context(), &azqueue.PeekMessagesOptions{NumberOfMessages: to.Ptr(int32(2))})
	if err != nil || len(peeked.Messages) != 2 || *peeked.Messages[1].MessageText != "two <&> ü" {
		t.Fatalf("PeekMessages: %+v, %v", peeked.Messages, err)
	}
	got, err := q.DequeueMessages(t.Context(), &azqueue.DequeueMessagesOptions{NumberOfMessages: to.Ptr(int32(2)), VisibilityTimeout: to.Ptr(int32(60))})
	if err != nil || len(got.Messages) != 2 || *got.Messages[0].MessageText != "one" || *got.Messages[0].DequeueCount != 1 {
		t.Fatalf("DequeueMessages: %+v, %v", got.Messages, err)
	}
	if _, err := q.DeleteMessage(t.Context(), *got.Messages[0].MessageID, *got.Messages[0].PopReceipt, nil); err != nil {
		t.Fatal(err)
	}
	_, err = q.DeleteMessage(t.Context(), *got.Messages[1].MessageID, "other", nil)
	refused(t, err, http.StatusBadRequest, "PopReceiptMismatch")
	_, err = q.DeleteMessage(t.Context(), *got.Messages[0].MessageID, *got.Messages[0].PopReceipt, nil)
	refused(t, err, http.StatusNotFound, "MessageNotFound")
	if got, err = q.DequeueMessages(t.Context(), &azqueue.DequeueMessagesOptions{NumberOfMessages: to.Ptr(int32(32))}); err != nil || len(got.Messages) != 1 {
		t.Errorf("%d messages are visible, want the long one: %v", len(got.Messages), err)
	}
	props, err := q.GetProperties(t.Context(), nil)
	if err != nil || *props.ApproximateMessagesCount != 2 {
		t.Errorf("GetProperties: %+v, %v", props, err)
	}
}

func TestQueueRefusals(t *testing.T) {
	c := start(t, nil)
	_, err := c.queue(c.queues[0]).DequeueMessages(t.Context(), nil)
	refused(t, err, http.StatusForbidden, "AuthorizationPermissionMismatch")
	_, err = c.queue(strings.Replace(c.queues[0], "sig=", "sig=x", 1)).EnqueueMessage(t.Context(), "x", nil)
	refused(t, err, http.StatusForbidden, "AuthenticationFailed")
	if err := c.sim.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = c.queue(c.queues[0]).EnqueueMessage(t.Context(), "x", nil)
	refused(t, err, http.StatusNotFound, "QueueNotFound")
	old := c.containers[0]
	_, err = c.blob(old, "b").UploadBuffer(t.Context(), []byte("x"), nil)
	refused(t, err, http.StatusNotFound, "ContainerNotFound")
	c.discover()
	if c.containers[0] == old {
		t.Error("the container is the same after Rotate")
	}
	c.create()
	c.expect(c.send("a.json", "{}\n"), "Succeeded", "")
}

func TestReportQueues(t *testing.T) {
	c := start(t, nil)
	c.create()
	toQueues := field("ReportMethod", "Queue")
	good := c.send("good.json", "{}\n", toQueues)
	bad := c.send("bad.csv", "\"", format("csv"), toQueues)
	c.wait(func() bool { return c.sim.Stats().ReportsWritten == 2 })
	for _, tt := range []struct{ root, id, key string }{{c.success, good, "SucceededOn"}, {c.failure, bad, "FailedOn"}} {
		got, err := c.queue(tt.root).DequeueMessage(t.Context(), nil)
		if err != nil || len(got.Messages) != 1 {
			t.Fatalf("DequeueMessage: %v, %v", got.Messages, err)
		}
		text, err := base64.StdEncoding.DecodeString(*got.Messages[0].MessageText)
		if err != nil {
			t.Fatal(err)
		}
		var report map[string]any
		if err := json.Unmarshal(text, &report); err != nil {
			t.Fatal(err)
		}
		if report["IngestionSourceId"] != tt.id || report[tt.key] == nil || strings.Contains(string(text), "sig=") {
			t.Errorf("the report is %s", text)
		}
		if tt.id == bad && (report["ErrorCode"] != "Stream_ClosingQuoteMissing" || report["FailureStatus"] != Permanent || report["ShouldRetry"] != false) {
			t.Errorf("the failure is %s", text)
		}
	}
}
