package queued

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/klauspost/compress/gzip"

	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// One upload stages blocks of blockBytes, uploadBlocks of them at a time. A
// payload that fits in one block is one request. At most 50,000 blocks make a
// blob, far more than maxBatchBytes needs.
const (
	blockBytes   = 4 << 20
	uploadBlocks = 2
	blockRetries = 2
)

// maxContainers is how many containers one attempt tries, as the official
// clients do (protocol reference section 3.3).
const maxContainers = 3

const opUpload = "upload"

// upload puts the batch's blob into a container, unless an earlier attempt's is
// there still, and returns the container and the bytes sent. It leaves the
// progress naming the blob and its ETag.
func (a *attempt) upload(ctx context.Context) (kusto.Resource, int64, error) {
	containers := a.ingestion.Ranking.Order(a.containers)
	if last, ok := kusto.Find(a.containers, a.progress.Host, a.progress.Container); ok {
		if a.there(ctx, last) {
			return last, 0, nil
		}
		// The same container again: the blob is overwritten instead of left behind twice.
		containers = slices.DeleteFunc(containers, func(r kusto.Resource) bool { return r.Same(last.Host, last.Path) })
		containers = slices.Insert(containers, 0, last)
	}
	var failure error
	for _, container := range containers[:min(len(containers), maxContainers)] {
		a.progress.Host, a.progress.Container, a.progress.Blob = container.Host, container.Path, blobName(a.d.Batch)
		a.progress.Stage, a.progress.ETag, a.progress.Wire = stageUpload, "", 0
		if note := a.progress.encode(); !bytes.Equal(note, a.d.Progress) {
			if err := a.d.Journal.Note(ctx, note); err != nil {
				return kusto.Resource{}, 0, fmt.Errorf("journal: %w", err)
			}
		}
		wire, err := a.put(ctx, container)
		if err == nil {
			a.ingestion.Ranking.Report(container.Account, true)
			return container, wire, a.noteUploaded(ctx)
		}
		failure = err
		if e := asError(err); e == nil || e.Class == transport.Permanent || ctx.Err() != nil {
			break // the payload's own error, its size, or no time left
		}
	}
	return kusto.Resource{}, 0, failure
}

// worthNoting is from how many bytes on an upload is noted when it has ended,
// so that an attempt after a failure between here and Commit does not repeat
// it. Below, the repeat costs less than the note.
const worthNoting = 1 << 20

func (a *attempt) noteUploaded(ctx context.Context) error {
	if a.progress.Wire < worthNoting || a.progress.ETag == "" {
		return nil
	}
	if err := a.d.Journal.Note(ctx, a.progress.encode()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// put uploads the payload to one container. An error of the payload is
// returned wrapped and unclassified: it is not the destination's.
func (a *attempt) put(ctx context.Context, container kusto.Resource) (int64, error) {
	client, err := a.blob(container, a.storage(blockRetries, a.opts.UploadTimeout))
	if err != nil {
		return 0, kusto.WireFailure(opUpload, err, kusto.NoEffect, nil)
	}
	var zip *gzip.Writer
	if a.d.Batch.Properties.Compressed() {
		zip = a.zippers.Get().(*gzip.Writer)
		defer a.zippers.Put(zip)
	}
	src := newSource(a.d.Payload, zip)
	defer src.Close()
	resp, err := client.UploadStream(ctx, src, &blockblob.UploadStreamOptions{BlockSize: blockBytes, Concurrency: uploadBlocks})
	if src.failure != nil {
		return 0, fmt.Errorf("read payload: %w", src.failure)
	}
	if err != nil {
		return 0, a.failed(ctx, opUpload, container, err, kusto.NoEffect, nil)
	}
	if resp.ETag != nil && len(*resp.ETag) <= maxETag {
		a.progress.ETag = string(*resp.ETag)
	}
	a.progress.Wire = src.wire
	return src.wire, nil
}

// blob opens the batch's blob in a container.
func (a *attempt) blob(container kusto.Resource, o azcore.ClientOptions) (*blockblob.Client, error) {
	if a.own != nil && a.own.cred != nil {
		return blockblob.NewClient(container.Join(a.progress.Blob), a.own.cred, &blockblob.ClientOptions{ClientOptions: o})
	}
	return blockblob.NewClientWithNoCredential(container.Join(a.progress.Blob), &blockblob.ClientOptions{ClientOptions: o})
}

// maxETag bounds what is remembered of a blob's version.
const maxETag = 128

// there reports whether the blob that an earlier attempt uploaded to the
// container is there unchanged. Any doubt, the lack of a right to look
// included, means that it is uploaded again.
func (a *attempt) there(ctx context.Context, container kusto.Resource) bool {
	if a.progress.ETag == "" || a.progress.Blob == "" {
		return false
	}
	client, err := a.blob(container, a.storage(0, a.opts.RequestTimeout))
	if err != nil {
		return false
	}
	p, err := client.GetProperties(ctx, nil)
	return err == nil && p.ETag != nil && string(*p.ETag) == a.progress.ETag &&
		p.ContentLength != nil && *p.ContentLength == a.progress.Wire
}
