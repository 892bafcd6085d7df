package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var natsEngines = []engine{
	{"nats-sync", "NATS JetStream, file storage, sync always", openNATS(true)},
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
		s, err := server.NewServer(&server.Options{
			ServerName: "bench", DontListen: true, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: dir, SyncAlways: always, MaxPayload: natsPayload,
			// A thousand producers of large records are no overload here.
			StreamMaxBufferedMsgs: maxProducers, StreamMaxBufferedSize: maxProducers * natsPayload,
			// The limits that a server would derive from free memory and disk.
			JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: quota,
		})
		if err != nil {
			return nil, err
		}
		s.Start()
		p := &natsPeer{server: s}
		if err := p.connect(ctx); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		return p, nil
	}
}

func (p *natsPeer) connect(ctx context.Context) (err error) {
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
	_, err = p.stream.CreateStream(ctx, jetstream.StreamConfig{Name: "bench", Subjects: []string{natsSubject}, Storage: jetstream.FileStorage})
	return err
}

func (p *natsPeer) Put(ctx context.Context, data []byte) error {
	// The client wants an end to its patience, and by default has 5 seconds.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := p.stream.Publish(ctx, natsSubject, data)
	return err
}

func (p *natsPeer) Close() error {
	if p.conn != nil {
		p.conn.Close()
	}
	p.server.Shutdown()
	p.server.WaitForShutdown()
	return nil
}
