package statushttp

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// packFrom is how many bytes a page has at least that is packed. Packing takes a megabyte
// of memory for a moment, which who has not shown the token must not ask for: the login
// form is less than this.
const packFrom = 4 << 10

// packs reports whether who asks takes gzip: in every browser, and most of what
// follows is as it was before, so that a thin link carries a fraction of it.
func packs(r *http.Request) bool {
	for _, one := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(one), ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		q, given := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		v, err := strconv.ParseFloat(q, 64)
		return !given || err == nil && v > 0
	}
	return false
}

// packed is w with what is written to it packed, in w's header as well. flush has
// all that was written arrive, and end says that there is no more: without it the
// reader takes what it has for a part.
func packed(w http.ResponseWriter, r *http.Request) (out io.Writer, flush, end func() error) {
	w.Header().Set("Vary", "Accept-Encoding")
	if !packs(r) {
		none := func() error { return nil }
		return w, none, none // an embedder's writer may have a Close, which is not ours to call
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		panic("statushttp: " + err.Error()) // only of a level that there is not
	}
	return z, z.Flush, z.Close
}
