package storage

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"kustospool/internal/kustosim/internal/stats"
)

// poll takes messages off the ready queues until ctx ends.
func (e *External) poll(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		taken := 0
		for n := range e.units {
			e.mu.Lock()
			name := e.queue(n)
			e.mu.Unlock()
			taken += e.take(ctx, name)
		}
		if taken > 0 {
			timer.Reset(0)
		} else {
			timer.Reset(pollEvery)
		}
	}
}

// take moves the messages at the head of one queue to the ingestor. A message
// whose deletion fails comes up again and is known by its id.
func (e *External) take(ctx context.Context, name string) int {
	queue := e.queues.NewQueueClient(name)
	count, hidden := int32(maxReceive), int32(pollHidden)
	reply, err := queue.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: &count, VisibilityTimeout: &hidden})
	if err != nil {
		return 0
	}
	for _, m := range reply.Messages {
		if m.MessageID == nil || m.PopReceipt == nil || m.MessageText == nil {
			continue
		}
		if !e.taken[*m.MessageID] {
			e.deliver(*m.MessageText)
			e.taken[*m.MessageID] = true
		}
		if _, err := queue.DeleteMessage(ctx, *m.MessageID, *m.PopReceipt, nil); err == nil {
			delete(e.taken, *m.MessageID)
		}
	}
	return len(reply.Messages)
}

// posted counts the messages that a queue has taken, before anybody hears of it.
func (e *External) posted(reply *http.Response) error {
	if reply.StatusCode == http.StatusCreated && reply.Request.Method == http.MethodPost && strings.HasSuffix(reply.Request.URL.Path, "/messages") {
		e.stats.Add(func(s *stats.Stats) { s.MessagesPosted++ })
	}
	return nil
}
