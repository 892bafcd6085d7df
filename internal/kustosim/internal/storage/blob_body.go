package storage

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
)

const (
	maxBlockListBytes = 16 << 20 // 50,000 entries of the longest id
	maxBlocks         = 50_000
)

var errBodyBroken = &Error{http.StatusBadRequest, "IncompleteBody", "The request body is incomplete."}

// readContent reads a request body of at most limit bytes and verifies its
// Content-MD5 where one is given.
func readContent(r *http.Request, limit int64) ([]byte, *Error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	var data []byte
	if n := r.ContentLength; n >= 0 {
		data = make([]byte, n)
		if _, err := io.ReadFull(r.Body, data); err != nil {
			return nil, errBodyBroken
		}
	} else {
		var err error
		if data, err = io.ReadAll(io.LimitReader(r.Body, limit+1)); err != nil {
			return nil, errBodyBroken
		}
		if int64(len(data)) > limit {
			return nil, errTooLarge
		}
	}
	if want := r.Header.Get("Content-MD5"); want != "" {
		sum := md5.Sum(data)
		if base64.StdEncoding.EncodeToString(sum[:]) != want {
			return nil, badInput("Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated by the server.")
		}
	}
	return data, nil
}

// listedBlock is an entry of a block list: where to look for which block.
type listedBlock struct {
	from string // Committed, Uncommitted or Latest
	id   string
}

// readBlockList decodes <BlockList> in order, which a struct cannot do: the
// three kinds of entries may be mixed.
func readBlockList(r *http.Request) ([]listedBlock, *Error) {
	body, bad := readContent(r, maxBlockListBytes)
	if bad != nil {
		return nil, bad
	}
	invalid := badInput("InvalidXmlDocument", "XML specified is not syntactically valid.")
	dec := xml.NewDecoder(bytes.NewReader(body))
	var list []listedBlock
	depth := 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && depth == 0 {
			return list, nil
		}
		if err != nil {
			return nil, invalid
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			if depth == 1 && t.Name.Local != "BlockList" || depth > 2 {
				return nil, invalid
			}
			if depth == 2 {
				var id string
				if err := dec.DecodeElement(&id, &t); err != nil || len(list) >= maxBlocks {
					return nil, invalid
				}
				depth--
				switch t.Name.Local {
				case "Committed", "Uncommitted", "Latest":
					list = append(list, listedBlock{t.Name.Local, strings.TrimSpace(id)})
				default:
					return nil, invalid
				}
			}
		case xml.EndElement:
			depth--
		}
	}
}
