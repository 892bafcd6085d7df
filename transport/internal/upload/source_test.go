package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"pgregory.net/rapid"

	"kustospool/transport"
	"kustospool/transport/transporttest"
)

func TestSourceRoundTrip(t *testing.T) {
	zip, _ := gzip.NewWriterLevel(io.Discard, 2)
	rapid.Check(t, func(t *rapid.T) {
		data := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "unit"), rapid.IntRange(1, 2000).Draw(t, "times"))
		src := newSource(transporttest.Bytes(data), zip)
		defer src.Close()
		var wire bytes.Buffer
		buf := make([]byte, rapid.IntRange(1, 100_000).Draw(t, "read size"))
		if _, err := io.CopyBuffer(struct{ io.Writer }{&wire}, src, buf); err != nil {
			t.Fatal(err)
		}
		if src.wire != int64(wire.Len()) || src.read != int64(len(data)) {
			t.Fatalf("counted %d and %d, want %d and %d", src.wire, src.read, wire.Len(), len(data))
		}
		z, err := gzip.NewReader(&wire)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := io.ReadAll(z); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("%d bytes came back of %d, %v", len(back), len(data), err)
		}
	})
}

// The bytes on the wire are the same on every attempt, however the payload comes
// and whatever the pooled compressor did before. An upload that goes on where it
// broke off rests on it.
func TestSourceRepeatsItself(t *testing.T) {
	for level := 1; level <= 9; level++ {
		zip, _ := gzip.NewWriterLevel(io.Discard, level)
		rapid.Check(t, func(t *rapid.T) {
			data := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(t, "unit"), rapid.IntRange(1, 300).Draw(t, "times"))
			wire := func(zip *gzip.Writer, most int) []byte {
				src := newSource(dribble{transporttest.Bytes(data), most}, zip)
				defer src.Close()
				out, err := io.ReadAll(src)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			first := wire(zip, rapid.IntRange(1, 5000).Draw(t, "a read"))
			other := transporttest.Bytes(rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "between"))
			src := newSource(other, zip)
			if _, err := src.Read(make([]byte, 10)); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			src.Close() // broken off
			fresh, _ := gzip.NewWriterLevel(io.Discard, level)
			for name, z := range map[string]*gzip.Writer{"used": zip, "fresh": fresh} {
				if !bytes.Equal(first, wire(z, rapid.IntRange(1, 5000).Draw(t, "a read"))) {
					t.Fatalf("level %d, a %s compressor: other bytes", level, name)
				}
			}
		})
	}
}

// dribble is a payload whose reads give at most so many bytes.
type dribble struct {
	transport.Payload
	most int
}

func (d dribble) Open() io.ReadCloser { return &dribbling{d.Payload.Open(), d.most} }

type dribbling struct {
	io.ReadCloser
	most int
}

func (d *dribbling) Read(p []byte) (int, error) { return d.ReadCloser.Read(p[:min(len(p), d.most)]) }

// wrongSize is a payload that lies about its size.
type wrongSize struct {
	transport.Payload
	size int64
}

func (w wrongSize) Size() int64 { return w.size }

func TestSourceNeverEndsWellInPart(t *testing.T) {
	data := []byte(strings.Repeat("row\n", 50_000))
	hidden := fmt.Errorf("checksum: %w", io.EOF) // would pass for an end
	for name, p := range map[string]transport.Payload{
		"error":         &transporttest.Payload{Data: data, FailAt: 1000, Err: errors.New("damaged")},
		"error at once": &transporttest.Payload{Data: data, FailAt: 0, Err: errors.New("damaged")},
		"error at end":  &transporttest.Payload{Data: data, FailAt: len(data), Err: errors.New("damaged")},
		"hidden end":    &transporttest.Payload{Data: data, FailAt: 70_000, Err: hidden},
		"short":         wrongSize{transporttest.Bytes(data), int64(len(data)) + 1},
		"long":          wrongSize{transporttest.Bytes(data), int64(len(data)) - 1},
	} {
		for _, zip := range []*gzip.Writer{nil, gzip.NewWriter(io.Discard)} {
			src := newSource(p, zip)
			_, err := io.Copy(io.Discard, struct{ io.Reader }{src})
			if err == nil || errors.Is(err, io.EOF) || src.failure == nil {
				t.Errorf("%s: %v, failure %v", name, err, src.failure)
			}
			if _, again := src.Read(make([]byte, 1)); !errors.Is(again, errSource) {
				t.Errorf("%s: a second read ends in %v", name, again)
			}
			src.Close()
		}
	}
}

func BenchmarkSource(b *testing.B) {
	line := `{"ts":"2026-11-23T12:00:00Z","vessel":"MV Example","sensor":"engine-%d","rpm":%d,"temp":%d.5}` + "\n"
	var data bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintf(&data, line, i%7, 900+i%130, 60+i%40)
	}
	zip, _ := gzip.NewWriterLevel(io.Discard, 2)
	b.SetBytes(int64(data.Len()))
	for b.Loop() {
		src := newSource(transporttest.Bytes(data.Bytes()), zip)
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{src}); err != nil {
			b.Fatal(err)
		}
		src.Close()
	}
}
