package kusto

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// reply is what is read of a reply's body under the bounds.
func reply(status int, accept, encoding string, body io.Reader) ([]byte, error) {
	req := &http.Request{Header: http.Header{"Accept": {accept}}}
	resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Encoding": {encoding}}, Body: io.NopCloser(body)}
	boundReply(req, resp, true)
	return io.ReadAll(resp.Body)
}

func TestReplyBounds(t *testing.T) {
	const isJSON, isXML = "application/json", "application/xml"
	many := func(piece string, n int) string { return strings.Repeat(piece, n) }
	for name, tc := range map[string]struct {
		accept, body string
		err          error
	}{
		"values":                      {isJSON, "[" + many("0,", maxReplyValues-1) + "0]", nil},
		"too many values":             {isJSON, "[" + many("0,", maxReplyValues) + "0]", errReplyTooMany},
		"a text of commas":            {isJSON, `["` + many(`,[\"{`, maxReplyValues) + `"]`, nil},
		"depth":                       {isJSON, many("[", maxReplyDepth) + many("]", maxReplyDepth), nil},
		"too deep":                    {isJSON, many("[", maxReplyDepth+1), errReplyTooDeep},
		"large":                       {isJSON, many(" ", MaxReplyBytes), nil},
		"too large":                   {isJSON, many(" ", MaxReplyBytes+1), errReplyTooLarge},
		"all blocks of a blob":        {isXML, "<?xml version='1.0'?><BlockList><CommittedBlocks>" + many("<Block><Name>AAAA</Name><Size>1</Size></Block>", 50_000) + "</CommittedBlocks></BlockList>", nil},
		"too many elements":           {isXML, many("<a/>", maxReplyElements+1), errReplyTooMany},
		"too many attributes":         {isXML, "<a " + many("b='' ", maxReplyAttributes+1) + "/>", errReplyTooMany},
		"elements too deep":           {isXML, many("<a>", maxReplyDepth+1), errReplyTooDeep},
		"deep behind ends in quotes":  {isXML, many("<a b='/></a>'>", maxReplyDepth+1), errReplyTooDeep},
		"deep behind ends in comment": {isXML, many("<a><!--</a></a>-->", maxReplyDepth+1), errReplyTooDeep},
		"deep behind ends in CDATA":   {isXML, many("<a><![CDATA[</a></a>]]>", maxReplyDepth+1), errReplyTooDeep},
		"deep behind ends in <? ?>":   {isXML, many("<a><?x </a></a>?>", maxReplyDepth+1), errReplyTooDeep},
		"a document type":             {isXML, "<!DOCTYPE a [<!ENTITY b 'c'>]>", errReplyDoctype},
	} {
		got, err := reply(http.StatusOK, tc.accept, "", strings.NewReader(tc.body))
		if !errors.Is(err, tc.err) || err == nil && string(got) != tc.body {
			t.Errorf("%s: %d of %d bytes, %v, want %v", name, len(got), len(tc.body), err, tc.err)
		}
		// The status of an error counts, whatever its body is.
		if got, err := reply(http.StatusBadRequest, tc.accept, "", strings.NewReader(tc.body)); err != nil || len(got) > maxErrorBytes {
			t.Errorf("%s, as an error: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestPackedReplies(t *testing.T) {
	packed := func(text string) io.Reader {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return &b
	}
	if got, err := reply(http.StatusOK, "application/json", "gzip", packed(`["x"]`)); err != nil || string(got) != `["x"]` {
		t.Errorf("%q, %v", got, err)
	}
	for name, body := range map[string]io.Reader{"a bomb": packed(strings.Repeat(" ", MaxReplyBytes)), "a larger one": packed(strings.Repeat(" ", 4*MaxReplyBytes))} {
		if got, err := reply(http.StatusOK, "application/json", "gzip", body); !errors.Is(err, errReplyBomb) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	// Members without a byte in them, without an end.
	member, _ := io.ReadAll(packed(""))
	endless := bytes.NewReader(bytes.Repeat(member, 2*MaxReplyBytes/len(member)))
	if got, err := reply(http.StatusOK, "application/json", "gzip", endless); !errors.Is(err, errReplyTooLarge) {
		t.Errorf("nothing in much gzip: %d bytes, %v", len(got), err)
	}
}

// What the shape counts is no less than what a decoder finds.
func FuzzJSONShape(f *testing.F) {
	f.Add([]byte(`{"a":[1,"]\"[",{"b":null}],"c":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		var s jsonShape
		dec := json.NewDecoder(bytes.NewReader(text))
		depth, begun, fed := 0, 0, int64(0)
		for {
			token, err := dec.Token()
			if err != nil {
				break
			}
			switch token {
			case json.Delim('['), json.Delim('{'):
				depth++
				begun++
			case json.Delim(']'), json.Delim('}'):
				depth--
			}
			if s.scan(text[fed:dec.InputOffset()]) != nil {
				return
			}
			fed = dec.InputOffset()
			if s.depth != depth || s.values < begun {
				t.Fatalf("%q up to %d: %+v, want depth %d, %d values", text, fed, s, depth, begun)
			}
		}
	})
}

func FuzzXMLShape(f *testing.F) {
	for _, text := range []string{`<?xml version="1.0"?><a b="/>" c='"'><!--</a>--><![CDATA[</a>]]>x<d/></a>`, "<a><b\n/></a>", "<a b = '>'></a >", "x<a><?b </a>?></a>"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s xmlShape
		dec := xml.NewDecoder(bytes.NewReader(text))
		depth, elements, attributes, fed := 0, 0, 0, int64(0)
		for {
			token, err := dec.Token()
			if err != nil {
				return
			}
			start, isStart := token.(xml.StartElement)
			if isStart {
				depth++
				elements++
				attributes += len(start.Attr)
			} else if _, isEnd := token.(xml.EndElement); isEnd {
				depth--
			}
			if s.scan(text[fed:dec.InputOffset()]) != nil {
				return
			}
			fed = dec.InputOffset()
			if !isStart && s.depth != depth || s.elements < elements || s.attributes < attributes {
				t.Fatalf("%q up to %d: %+v, want depth %d, %d elements, %d attributes", text, fed, s, depth, elements, attributes)
			}
		}
	})
}
