package goclient

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-kusto-go/azkustoingest"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/judge"
	"kustospool/transport/queued"
)

// lost has the simulator take what is posted to a queue and say nothing: once,
// or with 0 each time. Three accounts are as many as the official client tries.
// Each message is a batch of its own, for in one batch the service ingests a
// blob once (BlobAlreadyReceived_BlobAlreadyFoundInBatch).
func lost(t *testing.T, times int) *service {
	t.Helper()
	s := start(t, &kustosim.Options{Accounts: 3, BatchItems: 1})
	s.table(t, "T", false)
	s.Fault(kustosim.Queue, kustosim.Fault{Kind: kustosim.DropReply, Method: http.MethodPost, Times: times})
	return s
}

// posts compares how often the message was posted and taken, and how often the
// rows are there.
func (s *service) posts(t *testing.T, posts, copies int) {
	t.Helper()
	if n := s.asked(http.MethodPost, ".queue.localhost"); n != posts {
		t.Errorf("the message was posted %d times, want %d", n, posts)
	}
	if s.Stats().FaultsStruck == 0 {
		t.Error("no reply was lost")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	rows := len(judge.Values().Diff(nil, 1)) * copies // a difference for each row that is not there
	if err := s.Wait(ctx, func() bool { return s.Count(db, "T") >= rows }); err != nil {
		t.Errorf("%v; %d rows, want %d", err, s.Count(db, "T"), rows)
	}
	s.holds(t, "T", judge.Values(), copies)
}

// The official client does not know that a message whose reply is lost was
// taken: it posts it again, and the rows are there twice.
func TestOneLostReplyOfTheQueue(t *testing.T) {
	t.Parallel()
	s := lost(t, 1)
	s.send(t, s.queued(t), "T", judge.Values())
	s.posts(t, 2, 2)
}

// Four times for each of three queues, and an error to its caller: twelve
// copies of rows that the caller is told were not ingested.
func TestEveryReplyOfTheQueueIsLost(t *testing.T) {
	t.Parallel()
	s := lost(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := s.queued(t).FromReader(ctx, bytes.NewReader(judge.Values().Data(ingest.CSV)), azkustoingest.Table("T"))
	if err == nil {
		t.Error("the client is content")
	}
	t.Logf("the client says: %v", err)
	s.posts(t, 12, 12)
}

// Our own, under the same: it posts once, learns from the status table what
// became of it, and the rows are there once.
func TestLostRepliesOfTheQueueUnderOurs(t *testing.T) {
	for name, times := range map[string]int{"One": 1, "Every": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lost(t, times)
			client, err := queued.NewClient(s.front.DM(), s.cred, &queued.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: s.http}, TrackInterval: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			spool, err := engine.Open(t.TempDir(), client, &engine.Options{UnknownGrace: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := spool.Close(); err != nil {
					t.Errorf("closing the spool: %v", err)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			props := ingest.Properties{Database: db, Table: "T", Format: ingest.CSV}
			if _, err := spool.IngestReader(ctx, props, bytes.NewReader(judge.Values().Data(ingest.CSV))); err != nil {
				t.Fatal(err)
			}
			if err := spool.Drain(ctx); err != nil {
				t.Fatalf("%v; %+v", err, spool.Stats())
			}
			s.posts(t, 1, 1)
		})
	}
}
