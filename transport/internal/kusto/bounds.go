package kusto

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// A reply is read under bounds of what it makes a decoder keep, not of its
// bytes alone: of small values a decoder keeps many times their length, and
// gzip makes much of little. Together they keep what any single reply costs,
// from its first byte to the value that is made of it, under 64 MiB.
const (
	// MaxReplyBytes bounds the body of a reply, before and after its
	// decompression. The largest that is expected is a page of a table's
	// entities, at most 4 MiB.
	MaxReplyBytes = 9 << 19
	// maxErrorBytes bounds the body of a reply that is an error. It is cut there:
	// what counts is its status, and its words come first.
	maxErrorBytes = 128 << 10
	// maxReplyValues bounds the values in JSON. A reply that lists what a client
	// asked for has some thousand.
	maxReplyValues = 50_000
	// maxReplyElements and maxReplyAttributes bound those of XML. The list of the
	// 50,000 blocks that a blob may have has three elements for each.
	maxReplyElements   = 160_000
	maxReplyAttributes = 10_000
	// maxReplyDepth bounds how deep values and elements are in one another.
	maxReplyDepth = 64
	// maxReplyRatio bounds what gzip makes of a reply that is over a MiB.
	maxReplyRatio = 200
)

var (
	errReplyTooLarge = errors.New("the reply is larger than 4.5 MiB")
	errReplyTooMany  = errors.New("the reply holds too many values")
	errReplyTooDeep  = errors.New("the values of the reply are too deep in one another")
	errReplyDoctype  = errors.New("the reply has a document type, which no service sends")
	errReplyBomb     = errors.New("the reply is out of all proportion to its compressed form")
)

// boundReply puts a reply's body under the bounds, and unpacks one that the Wire
// asked to be packed.
func boundReply(req *http.Request, resp *http.Response, packed bool) {
	if resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	body := resp.Body
	if packed && strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		body = &unpacked{ReadCloser: body, left: MaxReplyBytes}
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.ContentLength, resp.Uncompressed = -1, true
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		resp.Body = &cutBody{ReadCloser: body, left: maxErrorBytes}
		return
	}
	b := &boundedBody{ReadCloser: body, left: MaxReplyBytes}
	if strings.Contains(req.Header.Get("Accept"), "json") {
		b.shape = &jsonShape{}
	} else { // all other replies that anybody reads are storage's
		b.shape = &xmlShape{}
	}
	resp.Body = b
}

// boundedBody is a body that ends in an error where it breaks a bound.
type boundedBody struct {
	io.ReadCloser
	left  int64
	shape interface{ scan(p []byte) error }
	err   error
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		b.err = errReplyTooLarge
		return 0, b.err
	}
	b.left -= int64(n)
	if b.err = b.shape.scan(p[:n]); b.err != nil {
		return 0, b.err
	}
	return n, err
}

// cutBody is the body of an error. Where it breaks a bound it is over. The
// SDK indents an error that is JSON, which makes of depth its square.
type cutBody struct {
	io.ReadCloser
	left  int64
	shape *jsonShape // nil: not JSON
	begun bool
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if first := bytes.TrimLeft(p[:n], "\xef\xbb\xbf \t\r\n"); !b.begun && len(first) > 0 {
		b.begun = true
		if first[0] == '[' || first[0] == '{' {
			b.shape = &jsonShape{}
		}
	}
	if b.shape != nil && b.shape.scan(p[:n]) != nil {
		b.left = 0
		return 0, io.EOF
	}
	return n, err
}

// unpacked is the body of a reply that is gzip. Its packed form has the bound
// of a reply as well: gzip may be endless and give nothing.
type unpacked struct {
	io.ReadCloser
	zip       *gzip.Reader
	left      int64 // of the packed form
	in, given int64
}

// packedBody counts what is read of the packed form.
type packedBody struct{ u *unpacked }

func (p packedBody) Read(b []byte) (int, error) {
	if p.u.left <= 0 {
		return 0, errReplyTooLarge
	}
	n, err := p.u.ReadCloser.Read(b[:min(int64(len(b)), p.u.left)])
	p.u.left -= int64(n)
	p.u.in += int64(n)
	return n, err
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.zip == nil {
		z, err := gzip.NewReader(packedBody{u})
		if err != nil {
			return 0, err
		}
		u.zip = z
	}
	n, err := u.zip.Read(p)
	u.given += int64(n)
	if u.given > 1<<20 && u.given > maxReplyRatio*u.in {
		return 0, errReplyBomb
	}
	return n, err
}

// jsonShape counts what JSON holds. A text that is not JSON is not decoded at
// all, so nothing depends on what is counted of it.
type jsonShape struct {
	values, depth   int
	quoted, escaped bool
}

func (s *jsonShape) scan(p []byte) error {
	for _, c := range p {
		if s.quoted {
			switch {
			case s.escaped:
				s.escaped = false
			case c == '\\':
				s.escaped = true
			case c == '"':
				s.quoted = false
			}
			continue
		}
		switch c {
		case '"':
			s.quoted = true
		case ',':
			s.values++
		case '[', '{':
			s.values++
			s.depth++
		case ']', '}':
			s.depth--
		}
		if s.values > maxReplyValues {
			return errReplyTooMany
		}
		if s.depth > maxReplyDepth {
			return errReplyTooDeep
		}
	}
	return nil
}

// xmlShape counts elements and attributes. It reads just enough of XML not to
// be led astray by what stands in quotes, comments and the like.
type xmlShape struct {
	elements, attributes, depth int
	state                       xmlState
	mark                        []byte // of "<!" what was read of it, and the last bytes of what has an end
	quote                       byte
	slash                       bool // the last byte of a tag was a slash
}

type xmlState uint8

const (
	xmlText    xmlState = iota
	xmlOpen             // behind a "<"
	xmlTag              // in the tag of an element
	xmlEnd              // in an end tag
	xmlQuoted           // in an attribute's value
	xmlMarked           // behind "<!"
	xmlComment          // until "-->"
	xmlData             // until "]]>"
	xmlCommand          // until "?>"
)

func (s *xmlShape) scan(p []byte) error {
	for _, c := range p {
		switch s.state {
		case xmlText:
			if c == '<' {
				s.state = xmlOpen
			}
		case xmlOpen:
			s.mark, s.slash = s.mark[:0], false
			switch c {
			case '/':
				s.state = xmlEnd
				s.depth--
			case '?':
				s.state = xmlCommand
			case '!':
				s.state = xmlMarked
			default:
				s.state = xmlTag
				s.elements++
				s.depth++
			}
		case xmlEnd:
			if c == '>' {
				s.state = xmlText
			}
		case xmlTag:
			switch c {
			case '"', '\'':
				s.state, s.quote = xmlQuoted, c
			case '=':
				s.attributes++
			case '>':
				if s.slash {
					s.depth--
				}
				s.state = xmlText
			}
			s.slash = c == '/'
		case xmlQuoted:
			if c == s.quote {
				s.state = xmlTag
			}
		case xmlMarked:
			s.mark = append(s.mark, c)
			switch m := string(s.mark); {
			case m == "--":
				s.state, s.mark = xmlComment, s.mark[:0]
			case m == "[CDATA[":
				s.state, s.mark = xmlData, s.mark[:0]
			case !strings.HasPrefix("--", m) && !strings.HasPrefix("[CDATA[", m):
				return errReplyDoctype
			}
		case xmlComment:
			s.until(c, "-->")
		case xmlData:
			s.until(c, "]]>")
		case xmlCommand:
			s.until(c, "?>")
		}
		if s.elements > maxReplyElements || s.attributes > maxReplyAttributes {
			return errReplyTooMany
		}
		if s.depth > maxReplyDepth {
			return errReplyTooDeep
		}
	}
	return nil
}

// until ends what has begun when its last bytes are end.
func (s *xmlShape) until(c byte, end string) {
	if s.mark = append(s.mark, c); len(s.mark) > len(end) {
		s.mark = append(s.mark[:0], s.mark[1:]...)
	}
	if string(s.mark) == end {
		s.state = xmlText
	}
}
