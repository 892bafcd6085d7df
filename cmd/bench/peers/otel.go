package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
)

var otelEngines = []engine{
	{"otel-storage-fsync", "OpenTelemetry file_storage, Set of a new key, fsync: true", openOTelStorage(true)},
	{"otel-storage-default", "OpenTelemetry file_storage, Set of a new key, default: no fsync", openOTelStorage(false)},
	{"otel-queue-fsync", "OpenTelemetry exporterhelper persistent queue on file_storage, fsync: true", openOTelQueue(true)},
	{"otel-queue-default", "OpenTelemetry exporterhelper persistent queue on file_storage, default: no fsync", openOTelQueue(false)},
}

var (
	otelStorageID  = component.MustNewID("file_storage")
	otelExporterID = component.MustNewID("bench")
)

// openFileStorage starts the extension as a collector would.
func openFileStorage(ctx context.Context, dir string, fsync bool) (storage.Extension, error) {
	factory := filestorage.NewFactory()
	config := factory.CreateDefaultConfig().(*filestorage.Config)
	config.Directory, config.Compaction.Directory, config.FSync = dir, dir, fsync
	if err := config.Validate(); err != nil {
		return nil, err
	}
	settings := extensiontest.NewNopSettings(factory.Type())
	settings.ID = otelStorageID
	made, err := factory.Create(ctx, settings, config)
	if err != nil {
		return nil, err
	}
	if err := made.Start(ctx, otelHost{}); err != nil {
		return nil, err
	}
	extension, ok := made.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("file_storage is a %T and no storage extension", made)
	}
	return extension, nil
}

// otelHost is the collector, as far as its parts ask for it.
type otelHost map[component.ID]component.Component

func (h otelHost) GetExtensions() map[component.ID]component.Component { return h }

// otelStoragePeer uses the extension as a key-value store.
type otelStoragePeer struct {
	extension storage.Extension
	client    storage.Client
	last      atomic.Uint64
}

func openOTelStorage(fsync bool) func(context.Context, string) (peer, error) {
	return func(ctx context.Context, dir string) (peer, error) {
		extension, err := openFileStorage(ctx, dir, fsync)
		if err != nil {
			return nil, err
		}
		client, err := extension.GetClient(ctx, component.KindExporter, otelExporterID, "")
		if err != nil {
			return nil, errors.Join(err, extension.Shutdown(ctx))
		}
		return &otelStoragePeer{extension: extension, client: client}, nil
	}
}

func (p *otelStoragePeer) Put(ctx context.Context, data []byte) error {
	return p.client.Set(ctx, strconv.FormatUint(p.last.Add(1), 10), data)
}

func (p *otelStoragePeer) Close() error {
	ctx := context.Background()
	return errors.Join(p.client.Close(ctx), p.extension.Shutdown(ctx))
}

// otelQueuePeer is an exporter whose destination refuses everything, in front
// of it the persistent queue, without a collector around. A record is the
// body of a log record. The exporter retries with its default pauses, so that
// its consumers keep a few records and leave the disk alone.
type otelQueuePeer struct {
	extension storage.Extension
	exporter  exporter.Logs
}

var errRefused = errors.New("the destination refuses")

func openOTelQueue(fsync bool) func(context.Context, string) (peer, error) {
	return func(ctx context.Context, dir string) (peer, error) {
		extension, err := openFileStorage(ctx, dir, fsync)
		if err != nil {
			return nil, err
		}
		queue := exporterhelper.NewDefaultQueueConfig()
		queue.StorageID = &otelStorageID
		queue.QueueSize = quota // the default of 1000 requests is full at once
		retry := configretry.NewDefaultBackOffConfig()
		retry.MaxElapsedTime = 0 // never give up, which is never delete
		settings := exportertest.NewNopSettings(otelExporterID.Type())
		settings.ID = otelExporterID
		p := &otelQueuePeer{extension: extension}
		p.exporter, err = exporterhelper.NewLogs(ctx, settings, struct{}{},
			func(context.Context, plog.Logs) error { return errRefused },
			exporterhelper.WithQueue(configoptional.Some(queue)), exporterhelper.WithRetry(retry))
		if err == nil {
			err = p.exporter.Start(ctx, otelHost{otelStorageID: extension})
		}
		if err != nil {
			return nil, errors.Join(err, extension.Shutdown(ctx))
		}
		return p, nil
	}
}

func (p *otelQueuePeer) Put(ctx context.Context, data []byte) error {
	logs := plog.NewLogs()
	record := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.Body().SetStr(string(data))
	return p.exporter.ConsumeLogs(ctx, logs)
}

func (p *otelQueuePeer) Close() error {
	ctx := context.Background()
	return errors.Join(p.exporter.Shutdown(ctx), p.extension.Shutdown(ctx))
}
