package storage

import (
	"crypto/md5"
	"encoding/base64"
	"io"
	"net/http"
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
