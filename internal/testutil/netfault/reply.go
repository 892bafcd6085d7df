package netfault

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Reply is an answer that no server gave.
type Reply struct {
	Status int         // 0 means 503
	Header http.Header // beside Content-Length and Connection
	Body   string
}

// Status is a bare reply, with what an Azure storage account says of a status:
// it names an error code in a header and in XML. retryAfter is sent in seconds
// where it is more than 0.
func Status(status int, retryAfter time.Duration) Reply {
	code := map[int]string{403: "AuthenticationFailed", 429: "TooManyRequests", 503: "ServerBusy"}[status]
	r := Reply{Status: status, Header: http.Header{"Content-Type": {"application/xml"}}}
	if code != "" {
		r.Header.Set("x-ms-error-code", code)
		r.Body = fmt.Sprintf(`<?xml version="1.0" encoding="utf-8"?><Error><Code>%s</Code><Message>said early</Message></Error>`, code)
	}
	if retryAfter > 0 {
		r.Header.Set("Retry-After", strconv.FormatInt(int64((retryAfter+time.Second-1)/time.Second), 10))
	}
	return r
}

// Redirect is a 302, as a captive portal sends one.
func Redirect(location string) Reply {
	return Reply{Status: http.StatusFound, Header: http.Header{"Location": {location}}}
}

// HTML is a page where an API was asked, as gateways and captive portals send
// one, with a status of 200 too.
func HTML(status int) Reply {
	return Reply{Status: status, Header: http.Header{"Content-Type": {"text/html"}},
		Body: "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Welcome</h1></body></html>"}
}

// Named is a reply with a name for a subtest.
type Named struct {
	Name  string
	Reply Reply
}

// Replies are those that a client should live through, all of them early: a
// busy storage account's, a refused signature, a captive portal's redirect to a
// port that nobody listens on, and a gateway's page.
func Replies() []Named {
	return []Named{
		{"503", Status(http.StatusServiceUnavailable, 0)},
		{"429", Status(http.StatusTooManyRequests, time.Second)},
		{"403", Status(http.StatusForbidden, 0)},
		{"302", Redirect("http://127.0.0.1:9/login")},
		{"HTML", HTML(http.StatusBadGateway)},
	}
}

func (r Reply) status() int {
	if r.Status == 0 {
		return http.StatusServiceUnavailable
	}
	return r.Status
}

// wire is the reply's bytes. last says that the connection ends with it.
func (r Reply) wire(last bool) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.status(), http.StatusText(r.status()))
	h := r.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	if last {
		h.Set("Connection", "close")
	}
	// Writing to a strings.Builder does not fail.
	_ = h.Write(&b)
	b.WriteString("\r\n" + r.Body)
	return []byte(b.String())
}
