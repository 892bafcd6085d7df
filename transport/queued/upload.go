package queued

import (
	"bytes"
	"context"
	"fmt"

	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/upload"
)

// upload puts the batch's blob into a container, unless an earlier attempt's is
// there still, and returns the container and the bytes sent. An upload that an
// earlier attempt began goes on where it broke off. It leaves the progress
// naming the blob and its ETag.
func (a *attempt) upload(ctx context.Context) (kusto.Resource, int64, error) {
	p, noted := &a.progress, a.d.Progress
	container, b, wire, err := a.uploads.Upload(ctx, a.d, a.containers,
		upload.Blob{Host: p.Host, Container: p.Container, Blob: p.Blob, Blocks: p.Blocks, ETag: p.ETag, Wire: p.Wire},
		func(ctx context.Context, b upload.Blob) error {
			p.Stage = stageUpload
			p.at(b)
			note := p.encode()
			if bytes.Equal(note, noted) {
				return nil
			}
			if err := a.d.Journal.Note(ctx, note); err != nil {
				return fmt.Errorf("journal: %w", err)
			}
			noted = note
			return nil
		})
	if err != nil {
		return kusto.Resource{}, 0, err
	}
	p.at(b)
	if wire == 0 {
		return container, 0, nil
	}
	a.unnoted = upload.WorthNoting(p.Wire) && p.ETag != ""
	return container, wire, nil
}

// at notes where the blob is.
func (p *progress) at(b upload.Blob) {
	p.Host, p.Container, p.Blob, p.Blocks, p.ETag, p.Wire = b.Host, b.Container, b.Blob, b.Blocks, b.ETag, b.Wire
}

// noteUploaded is best effort: the attempt has failed already. It is so that the
// next one does not repeat an upload that has ended. Commit notes it in any case.
func (a *attempt) noteUploaded(ctx context.Context) {
	if a.unnoted {
		_ = a.d.Journal.Note(context.WithoutCancel(ctx), a.progress.encode())
	}
}

// commit makes the intent to post durable, and with it where the blob is.
func (a *attempt) commit(ctx context.Context) error {
	a.unnoted = false
	if err := a.d.Journal.Commit(ctx, a.progress.encode()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}
