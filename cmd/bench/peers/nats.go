package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var natsEngines = []engine{
	{"nats-sync", "NATS JetStream, file storage, sync always", openNATS(true)},
	{"nats-sync-batch100", "the same, the record a hundred times in an atomic batch; batches are counted", openNATSBatches},
	{"nats-default", "NATS JetStream, file storage, default: fsync every two minutes", openNATS(false)},
}

// natsSubject is the subject of the stream.
const natsSubject = "bench"

// natsPayload is the largest message that the server advises.
const natsPayload = 8 << 20

// natsPeer is a server in this process with a stream, and a client without a
// network between.
type natsPeer struct {
	server *server.Server
	conn   *nats.Conn
	stream jetstream.JetStream
}

func openNATS(always bool) func(context.Context, string) (peer, error) {
	return func(ctx context.Context, dir string) (peer, error) {
		p, err := startNATS(ctx, dir, always, false)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
}

// startNATS starts a server and makes the stream, where batches are wanted one
// that takes atomic ones.
func startNATS(ctx context.Context, dir string, always, batches bool) (*natsPeer, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: "bench", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: always, MaxPayload: natsPayload,
		// A thousand producers of large records are no overload here.
		StreamMaxBufferedMsgs: maxProducers * natsBatch, StreamMaxBufferedSize: maxProducers * natsPayload,
		// The limits that a server would derive from free memory and disk.
		JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: quota,
		// The default is 50 batches under way in a stream.
		JetStreamLimits: server.JSLimitOpts{MaxBatchInflightPerStream: maxProducers, MaxBatchInflightTotal: maxProducers},
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	p := &natsPeer{server: s}
	if err := p.connect(ctx, batches); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *natsPeer) connect(ctx context.Context, batches bool) (err error) {
	const patience = 10 * time.Second
	if !p.server.ReadyForConnections(patience) {
		return fmt.Errorf("the NATS server is not ready after %s", patience)
	}
	if p.conn, err = nats.Connect("", nats.InProcessServer(p.server)); err != nil {
		return err
	}
	if p.stream, err = jetstream.New(p.conn); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = p.stream.CreateStream(ctx, jetstream.StreamConfig{Name: "bench", Subjects: []string{natsSubject}, Storage: jetstream.FileStorage, AllowAtomicPublish: batches})
	return err
}

func (p *natsPeer) Put(ctx context.Context, data []byte) error {
	// The client wants an end to its patience, and by default has 5 seconds.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := p.stream.Publish(ctx, natsSubject, data)
	return err
}

// natsBatchPeer puts each record a hundred times, in one atomic batch: nothing
// of it is stored before the last message of it is (NATS ADR-50).
type natsBatchPeer struct {
	*natsPeer
	last atomic.Uint64
}

// natsBatch is as many records as kustospool-all100 has in a call.
const natsBatch = 100

func openNATSBatches(ctx context.Context, dir string) (peer, error) {
	p, err := startNATS(ctx, dir, true, true)
	if err != nil {
		return nil, err
	}
	return &natsBatchPeer{natsPeer: p}, nil
}

// Put sends all but the last message without asking for an answer, which is
// the quickest way there is: the answer to the last one is that to them all.
func (p *natsBatchPeer) Put(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	id := strconv.FormatUint(p.last.Add(1), 10)
	for i := range natsBatch {
		m := nats.NewMsg(natsSubject)
		m.Data = data
		m.Header.Set(server.JSBatchId, id)
		m.Header.Set(server.JSBatchSeq, strconv.Itoa(i+1))
		if i < natsBatch-1 {
			if err := p.conn.PublishMsg(m); err != nil {
				return err
			}
			continue
		}
		m.Header.Set(server.JSBatchCommit, "1")
		answer, err := p.conn.RequestMsgWithContext(ctx, m)
		if err != nil {
			return err
		}
		return committed(answer.Data)
	}
	return nil
}

// committed reads the answer to a batch's last message.
func committed(answer []byte) error {
	var ack server.JSPubAckResponse
	if err := json.Unmarshal(answer, &ack); err != nil {
		return fmt.Errorf("the answer to a batch: %w", err)
	}
	if err := ack.ToError(); err != nil {
		return err
	}
	if ack.PubAck == nil || ack.BatchSize != natsBatch {
		return fmt.Errorf("the answer to a batch of %d: %.200q", natsBatch, answer)
	}
	return nil
}

func (p *natsPeer) Close() error {
	if p.conn != nil {
		p.conn.Close()
	}
	p.server.Shutdown()
	p.server.WaitForShutdown()
	return nil
}
