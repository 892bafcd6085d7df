package queued

import (
	"bytes"
	"context"
	"fmt"

	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/staging"
)

// upload puts the batch's blob into a container, unless an earlier attempt's is
// there still, and returns the container and the bytes sent. It leaves the
// progress naming the blob and its ETag.
func (a *attempt) upload(ctx context.Context) (kusto.Resource, int64, error) {
	p := &a.progress
	container, b, wire, err := a.uploads.Upload(ctx, a.d, a.containers,
		staging.Blob{Host: p.Host, Container: p.Container, Blob: p.Blob, ETag: p.ETag, Wire: p.Wire},
		func(b staging.Blob) error {
			p.Stage = stageUpload
			p.at(b)
			if note := p.encode(); !bytes.Equal(note, a.d.Progress) {
				if err := a.d.Journal.Note(ctx, note); err != nil {
					return fmt.Errorf("journal: %w", err)
				}
			}
			return nil
		})
	if err != nil {
		return kusto.Resource{}, 0, err
	}
	p.at(b)
	if wire == 0 {
		return container, 0, nil
	}
	return container, wire, a.noteUploaded(ctx)
}

// at notes where the blob is.
func (p *progress) at(b staging.Blob) {
	p.Host, p.Container, p.Blob, p.ETag, p.Wire = b.Host, b.Container, b.Blob, b.ETag, b.Wire
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
