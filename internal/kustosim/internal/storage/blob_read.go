package storage

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

func (a *blobAccount) getBlob(w http.ResponseWriter, r *http.Request, containerName, name string) *Error {
	b, err := a.find(containerName, name)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("ETag", b.etag)
	h.Set("Last-Modified", b.modified.Format(http.TimeFormat))
	h.Set("Content-Type", b.content)
	h.Set("Accept-Ranges", "bytes")
	h.Set("x-ms-blob-type", "BlockBlob")
	h.Set("x-ms-creation-time", b.created.Format(http.TimeFormat))
	h.Set("x-ms-lease-state", "available")
	h.Set("x-ms-lease-status", "unlocked")
	h.Set("x-ms-server-encrypted", "true")
	for k, v := range b.metadata {
		h.Set("x-ms-meta-"+k, v)
	}
	if match := r.Header.Get("If-Match"); match != "" && match != "*" && match != b.etag {
		return errConditionNotMet
	}
	first, length, status := int64(0), b.size, http.StatusOK
	text := r.Header.Get("x-ms-range")
	if text == "" {
		text = r.Header.Get("Range")
	}
	if text != "" && r.Method == http.MethodGet {
		var ok bool
		if first, length, ok = parseRange(text, b.size); !ok {
			return &Error{http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The range specified is invalid for the current size of the resource."}
		}
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+strconv.FormatInt(first, 10)+"-"+strconv.FormatInt(first+length-1, 10)+"/"+strconv.FormatInt(b.size, 10))
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		body := b.reader()
		if _, err := io.CopyN(io.Discard, body, first); err == nil {
			io.CopyN(w, body, length)
		}
	}
	return nil
}

// parseRange reads bytes=first-[last] against a size.
func parseRange(text string, size int64) (first, length int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes=")
	if !ok {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(text, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first < 0 || first >= size {
		return 0, 0, false
	}
	last := size - 1
	if to != "" {
		n, err := strconv.ParseInt(to, 10, 64)
		if err != nil || n < first {
			return 0, 0, false
		}
		last = min(last, n)
	}
	return first, last - first + 1, true
}
