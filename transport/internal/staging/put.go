package staging

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/klauspost/compress/gzip"

	"kustospool/internal/visible"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// noteBlocks is how many acknowledged blocks a crash costs at most, beside those
// under way. Where blocks take their time, each one is noted when it is
// acknowledged: see landed.
const noteBlocks = 8

// put is the upload of one payload to one container.
type put struct {
	*Uploader
	d         *transport.Delivery
	container kusto.Resource
	client    *blockblob.Client
	b         *Blob // what is noted of it
	note      func(context.Context, Blob) error

	past   history         // acknowledged in earlier attempts
	listed map[string]bool // ids that storage says it has; nil where it did not say
	sizes  map[int]int     // of listed blocks, by their number

	now     history // acknowledged, past included
	early   []block // acknowledged before one that comes before them
	noted   int     // blocks of now that the journal knows
	notedAt time.Time
	patient patience
}

// errOtherBytes: the payload on the wire is not what it was when blocks of it
// were acknowledged, because the compressor is another one.
var errOtherBytes = errors.New("the bytes differ from those of an earlier attempt")

// put uploads the payload to one container and leaves in b what came of it. An
// error of the payload is returned wrapped and unclassified: it is not the
// destination's. One of note is returned as it is.
func (u *Uploader) put(ctx context.Context, d *transport.Delivery, container kusto.Resource, b *Blob, note func(context.Context, Blob) error) error {
	client, err := u.blob(container.Join(b.Blob), u.Storage(0, 0))
	if err != nil {
		return u.ingestion.Secrets().WireFailure(opUpload, err, kusto.NoEffect, nil)
	}
	p := &put{Uploader: u, d: d, container: container, client: client, b: b, note: note, past: parseHistory(b.Blocks), notedAt: time.Now()}
	p.patient.limit = u.opts.StallTimeout
	if p.past.blocks() > 0 {
		p.list(ctx)
	}
	err = p.pass(ctx)
	if errors.Is(err, errOtherBytes) {
		u.counts.again.Add(1)
		p.past = history{}
		err = p.pass(ctx)
	}
	return err
}

// list asks which blocks storage has. An upload does not need to know: where it
// may not ask, or gets no answer, the journal and the block list's own check
// decide.
func (p *put) list(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.RequestTimeout)
	defer cancel()
	reply, err := p.client.GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	switch {
	case bloberror.HasCode(err, bloberror.BlobNotFound): // it has none
	case err != nil:
		return
	}
	p.listed, p.sizes = make(map[string]bool), make(map[int]int)
	for _, list := range [][]*blockblob.Block{reply.CommittedBlocks, reply.UncommittedBlocks} {
		for _, b := range list {
			if b == nil || b.Name == nil || b.Size == nil {
				continue
			}
			if n, ours := blockNumber(*b.Name); ours {
				p.listed[*b.Name] = true
				p.sizes[n] = int(min(*b.Size, BlockBytes))
			}
		}
	}
}

// block is a run of a payload's bytes on the wire.
type block struct {
	n        int
	exponent int // of its size; 0 for a last one that is shorter
	id       string
	digest   digest // of this one and those before it
	buf      *[]byte
	data     []byte // of buf
}

// pass reads the payload once, from its beginning, and sends what storage does
// not have. Its own bytes go out by two buffers, which are its own again when
// the request that carried them is over ([kusto.Body]).
func (p *put) pass(ctx context.Context) error {
	p.now, p.noted = p.past, p.past.blocks()
	p.now.runs, p.early = append([]run(nil), p.past.runs...), nil
	var zip *gzip.Writer
	if p.d.Batch.Properties.Compressed() {
		zip = p.zipper()
		defer p.putZipper(zip)
	}
	src := newSource(p.d.Payload, zip)
	defer src.Close()
	f := newFlight(ctx, p)
	err := p.cut(f, src)
	for f.out > 0 {
		if err != nil {
			f.cancel()
		}
		if e := p.landed(ctx, f.wait()); err == nil { // after an error too: what storage took is not sent again
			err = e
		}
	}
	f.cancel()
	switch {
	case src.failure != nil:
		err = fmt.Errorf("read payload: %w", src.failure)
	case err == nil && f.whole:
		p.b.Wire, p.b.Blocks = src.wire, ""
		return nil
	case err == nil:
		if err = p.commit(ctx, f.ids); err == nil {
			p.b.Wire, p.b.Blocks = src.wire, ""
			return nil
		}
	}
	if p.now.blocks() > p.noted {
		if e := p.remember(context.WithoutCancel(ctx)); e != nil {
			return e
		}
	}
	return err
}

// cut makes blocks of the payload and has them sent, but for those that
// storage has. The last ones may be under way when it returns.
func (p *put) cut(f *flight, src *source) error {
	in := bufio.NewReaderSize(src, sourceChunk)
	var d digest
	// A blob has a limited number of blocks, and compression can fail to make
	// the payload smaller.
	least := int(p.d.Payload.Size()/(maxBlocks*3/4)) + 1
	most := blockFor(p.d.Payload.Size())
	changes, size := len(p.past.runs), p.past.size(p.past.blocks()-1)
	for n := 0; ; n++ {
		if n < p.past.blocks() {
			size = p.past.size(n)
		} else {
			next := min(p.next(n, least), most)
			if changes >= shrinkRuns && size > 0 {
				next = min(next, size)
			}
			if next != size {
				changes++
			}
			size = next
		}
		for f.out == uploadBlocks { // their buffers are all that there are
			if err := p.landed(f.ctx, f.wait()); err != nil {
				return err
			}
		}
		b := block{n: n, buf: p.buffer(size)}
		read, err := io.ReadFull(in, (*b.buf)[:size])
		b.data = (*b.buf)[:read]
		last := err != nil // it ends in this block; or see src.failure
		if !last {
			_, err = in.Peek(1)
			last = err != nil
		}
		if src.failure != nil || read == 0 {
			p.putBuffer(b.buf)
			return errSource
		}
		if n == 0 && last && p.past.blocks() == 0 {
			defer p.putBuffer(b.buf)
			f.whole = true
			return p.whole(f.ctx, b.data)
		}
		sum := sha256.Sum256(b.data)
		b.id, d = blockID(n, sum), d.after(sum)
		b.digest = d
		b.exponent, _ = exponentOf(read)
		f.ids = append(f.ids, b.id)
		if n < p.past.blocks() && (read != size || last || n == p.past.blocks()-1 && d != p.past.digest) {
			p.putBuffer(b.buf)
			return errOtherBytes
		}
		known := n < p.past.blocks() && p.listed == nil || p.listed[b.id]
		if known {
			p.counts.kept.Add(int64(read))
			p.putBuffer(b.buf)
			if err := p.landed(f.ctx, landing{block: b}); err != nil {
				return err
			}
		} else {
			limit := 1
			if size >= pairFrom {
				limit = uploadBlocks
			}
			for f.out >= limit {
				if err := p.landed(f.ctx, f.wait()); err != nil {
					p.putBuffer(b.buf)
					return err
				}
			}
			f.start(b)
		}
		if last {
			return nil
		}
	}
}

// blockFor is the size of a block that has room for all of a payload, as it
// goes on the wire: a larger buffer would be memory for nothing. Where gzip
// makes nothing smaller it adds some bytes to each of its own blocks.
func blockFor(raw int64) int {
	size := minBlock
	for size < BlockBytes && int64(size) < raw+raw/1000+1024 {
		size *= 2
	}
	return size
}

// next is the size of a block that was not acknowledged: that of the one that
// storage has under the number, because it may well be the same.
func (p *put) next(n, least int) int {
	size := p.pace.least
	if p.sizes[n] == 0 {
		size = p.pace.size()
	}
	for size < min(max(least, p.sizes[n]), BlockBytes) { // a last block is shorter than it was cut
		size *= 2
	}
	return size
}

// landed takes the end of a block's request into account. Blocks may be
// acknowledged in another order than they have; the journal knows those
// without a gap before them.
func (p *put) landed(ctx context.Context, l landing) error {
	if l.err != nil {
		return l.err
	}
	if p.d.Moved != nil {
		p.d.Moved()
	}
	p.patient.moved()
	b := l.block
	if b.exponent == 0 || b.n < p.now.blocks() {
		return nil // the last one needs no note: the block list is next
	}
	if b.n > p.now.blocks() {
		p.early = append(p.early, b)
		return nil
	}
	p.now.add(b.exponent, b.digest, p.d.Attempt)
	for i := 0; i < len(p.early); i++ {
		if e := p.early[i]; e.n == p.now.blocks() {
			p.now.add(e.exponent, e.digest, p.d.Attempt)
			p.early = append(p.early[:i], p.early[i+1:]...)
			i = -1
		}
	}
	if n := p.now.blocks() - p.noted; n >= noteBlocks || n > 0 && time.Since(p.notedAt) >= p.pace.time/2 {
		return p.remember(ctx)
	}
	return nil
}

// remember notes what is acknowledged.
func (p *put) remember(ctx context.Context) error {
	p.b.Blocks = p.now.String()
	if err := p.note(ctx, *p.b); err != nil {
		return err
	}
	p.noted, p.notedAt = p.now.blocks(), time.Now()
	return nil
}

// whole is the upload of a payload that fits in one request.
func (p *put) whole(ctx context.Context, data []byte) error {
	var etag *azcore.ETag
	err := p.send(ctx, data, nil, func(ctx context.Context) error {
		reply, err := p.client.Upload(ctx, streaming.NopCloser(bytes.NewReader(data)), nil)
		etag = reply.ETag
		return err
	})
	if err != nil {
		return p.Failed(ctx, opUpload, p.container, err, kusto.NoEffect, nil)
	}
	p.setETag(etag)
	return nil
}

// stage sends one block.
func (p *put) stage(ctx context.Context, b block, beside func() int) error {
	err := p.send(ctx, b.data, beside, func(ctx context.Context) error {
		_, err := p.client.StageBlock(ctx, b.id, streaming.NopCloser(bytes.NewReader(b.data)), nil)
		return err
	})
	if err != nil {
		return p.Failed(ctx, opUpload, p.container, err, kusto.NoEffect, nil)
	}
	return nil
}

// commit makes the blob of its blocks. To repeat it has no effect.
func (p *put) commit(ctx context.Context, ids []string) error {
	var etag *azcore.ETag
	err := p.send(ctx, nil, nil, func(ctx context.Context) error {
		reply, err := p.client.CommitBlockList(ctx, ids, nil)
		etag = reply.ETag
		return err
	})
	if bloberror.HasCode(err, bloberror.InvalidBlockList) {
		// Storage forgets blocks that were not committed in a week, and all of
		// them when somebody else writes the blob.
		p.counts.again.Add(1)
		p.b.Blocks, p.now = "", history{}
		if e := p.note(ctx, *p.b); e != nil {
			return e
		}
		e := p.Failed(ctx, opUpload, p.container, err, kusto.NoEffect, nil)
		e.Message = "storage does not have all blocks of the upload any more; it begins again at its first byte: " + e.Message
		return e
	}
	if err != nil {
		return p.Failed(ctx, opUpload, p.container, err, kusto.NoEffect, nil)
	}
	p.setETag(etag)
	return nil
}

func (p *put) setETag(etag *azcore.ETag) {
	if etag != nil && len(*etag) <= maxETag && visible.String(string(*etag)) == string(*etag) && !p.ingestion.Secrets().Holds(string(*etag)) {
		p.b.ETag = string(*etag)
	}
}
