package kustosim

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Host is a role of the simulator that a fault can strike. The Kusto endpoint
// has two, told apart by the request: resource and token commands and the
// metadata go to DM, everything else to Engine.
type Host string

// The hosts. A storage host without [Host.Account] means every account.
const (
	DM     Host = "dm"
	Engine Host = "engine"
	Blob   Host = "blob"
	Queue  Host = "queue"
	Table  Host = "table"
)

// Account narrows a storage host to the nth account, from 0. External storage
// has account 0 only.
func (h Host) Account(n int) Host { return h + Host("/"+strconv.Itoa(n)) }

func (h Host) covers(other Host) bool {
	return h == other || strings.HasPrefix(string(other), string(h)+"/")
}

// FaultKind says what happens to a request.
type FaultKind int

const (
	// Down closes the connection without reading the request or replying. New
	// connections are still accepted: the client sees a reset.
	Down FaultKind = iota + 1
	// DropRequest reads the request and closes before any effect.
	DropRequest
	// DropReply does what the request asks and closes instead of replying.
	DropReply
	// Respond answers with Fault.Status, without any effect.
	Respond
	// RespondEarly answers with Fault.Status, without any effect, as soon as
	// Fault.At bytes of the body were taken: a busy storage account does not hear
	// a client out. The connection ends with it. A command is read whole all the
	// same, because its text tells what it is; storage and streaming are not.
	RespondEarly
	// RespondLate does what the request asks and answers with Fault.Status all
	// the same: a gateway that gave up after the effect.
	RespondLate
	// Slow reads the request, waits Fault.Delay, then handles it, also for a
	// client that has left by then.
	Slow
	// SlowReply handles the request, then waits Fault.Delay before the reply.
	SlowReply
	// Stall reads the request and says nothing until the client goes away or
	// the fault is removed; then it closes, without any effect.
	Stall
	// Refuse closes the listener, so that connecting fails, and drops the
	// connections there are. Removing the fault listens again on the same
	// port. Only Host matters to it; DM and Engine share a listener.
	Refuse
)

// Fault is one fault on one host. Its zero fields match and do everything.
type Fault struct {
	Kind FaultKind

	// Method and PathContains narrow the requests it strikes; the path is the
	// decoded one. For a command, PathContains is also looked for in its text.
	Method       string
	PathContains string

	// Every strikes each nth of the requests that match: 3 the third, the
	// sixth; 0 and 1 all of them.
	Every int
	// Times ends the fault after it has struck that often; 0 never.
	Times int

	// At is how many bytes of the body RespondEarly takes before it answers, or
	// all where the body has fewer; 0 none.
	At int64

	// Delay of Slow and SlowReply.
	Delay time.Duration

	// Status, Code, Message, Permanent and RetryAfter shape the reply of
	// Respond, RespondEarly and RespondLate. Code and Message default to what the service says with the
	// status. Permanent is the @permanent flag of a Kusto error with status
	// 500 and up or 429; other statuses of a Kusto error are always permanent
	// unless Transient is set. RetryAfter is sent in whole seconds.
	Status     int
	Code       string
	Message    string
	Permanent  bool
	Transient  bool
	RetryAfter time.Duration
}

type activeFault struct {
	Fault
	host    Host
	matched int
	struck  int
	removed chan struct{} // closed by the remove function
}

// faultSet holds the faults in force.
type faultSet struct {
	mu struct {
		sync.Mutex
		active []*activeFault
	}
}

func (f *faultSet) add(host Host, fault Fault) *activeFault {
	a := &activeFault{Fault: fault, host: host, removed: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.active = append(f.mu.active, a)
	return a
}

// remove reports whether the fault was still there.
func (f *faultSet) remove(a *activeFault) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, have := range f.mu.active {
		if have == a {
			f.mu.active = append(f.mu.active[:i:i], f.mu.active[i+1:]...)
			close(a.removed)
			return true
		}
	}
	return false
}

// strike returns the first fault, in the order of addition, that strikes this
// request. Every fault that matches counts the request.
func (f *faultSet) strike(host Host, method, path string) *activeFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hit *activeFault
	for _, a := range f.mu.active {
		if !a.host.covers(host) || a.Kind == Refuse || a.Method != "" && a.Method != method || !strings.Contains(path, a.PathContains) {
			continue
		}
		a.matched++
		if hit != nil || a.Times > 0 && a.struck >= a.Times || a.Every > 1 && a.matched%a.Every != 0 {
			continue
		}
		a.struck++
		hit = a
	}
	return hit
}

// Fault puts a fault in force and returns what ends it. Ending it twice is
// allowed. Faults strike HTTP requests only; the simulator's own ingestion
// reads storage without them.
func (s *Sim) Fault(host Host, f Fault) (remove func()) {
	a := s.faults.add(host, f)
	if f.Kind == Refuse {
		s.eachListener(host, (*listener).refuse)
	}
	return func() {
		if s.faults.remove(a) && f.Kind == Refuse {
			s.eachListener(host, (*listener).listenAgain)
		}
		s.change.notify()
	}
}

// withFaults puts the faults of a host before its handler. classify names the
// host and the text PathContains is looked for in.
func (s *Sim) withFaults(svc service, classify func(*http.Request) (Host, string), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.change.notify()
		host, path := classify(r)
		fault := s.faults.strike(host, r.Method, path)
		if fault != nil && fault.Kind == Slow {
			// The request has arrived before the wait begins, so that its effect
			// comes for certain.
			body, bad := readContent(r, s.opts.MaxBlobBytes)
			if bad != nil {
				hangUp(w)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		s.stats.add(func(st *Stats) {
			st.Requests[host]++
			if fault != nil {
				st.FaultsStruck++
			}
		})
		s.change.notify()
		if fault == nil {
			next.ServeHTTP(w, r)
			return
		}
		switch fault.Kind {
		case Down:
			hangUp(w)
		case DropRequest:
			drain(r)
			hangUp(w)
		case DropReply:
			next.ServeHTTP(&recorder{header: make(http.Header)}, r)
			s.change.notify()
			hangUp(w)
		case RespondLate:
			next.ServeHTTP(&recorder{header: make(http.Header)}, r)
			s.change.notify()
			fault.respond(w, r, svc)
		case Respond:
			drain(r)
			fault.respond(w, r, svc)
		case RespondEarly:
			fault.respondEarly(w, r, svc)
		case Slow:
			s.pause(fault)
			next.ServeHTTP(w, r)
		case SlowReply:
			rec := &recorder{header: make(http.Header), keep: true}
			next.ServeHTTP(rec, r)
			s.change.notify()
			s.pause(fault)
			rec.replay(w)
		case Stall:
			drain(r)
			select {
			case <-r.Context().Done():
			case <-fault.removed:
			case <-s.done:
			}
			hangUp(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// pause waits the fault's delay. A client that leaves does not end it: what a
// slow service was asked to do, it does later all the same.
func (s *Sim) pause(f *activeFault) {
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.removed:
	case <-s.done:
	}
}

// hangUp closes the connection with a reset where the platform has it.
func hangUp(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// respondEarly leaves the rest of the body to the client. Without full duplex
// the server would read on before it sends the reply.
func (f *activeFault) respondEarly(w http.ResponseWriter, r *http.Request, svc service) {
	reply := http.NewResponseController(w)
	if err := reply.EnableFullDuplex(); err != nil {
		panic(err) // every connection of the simulator can
	}
	io.CopyN(io.Discard, r.Body, f.At)
	w.Header().Set("Connection", "close")
	f.respond(w, r, svc)
	reply.Flush()
}

func (f *activeFault) respond(w http.ResponseWriter, r *http.Request, svc service) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	if svc == "" {
		stampKusto(w, r)
		e := kustoErrorOf(f.Status)
		e.permanent = (e.permanent || f.Permanent) && !f.Transient
		if f.Code != "" {
			e.code = f.Code
		}
		if f.Message != "" {
			e.message = f.Message
		}
		e.write(w, r)
		return
	}
	stampStorage(w, r)
	e := storageErrorOf(f.Status, svc)
	if f.Code != "" {
		e.code = f.Code
	}
	if f.Message != "" {
		e.message = f.Message
	}
	e.write(w, r, svc)
}

func kustoErrorOf(status int) *kustoError {
	e := &kustoError{status: status}
	switch status {
	case http.StatusUnauthorized:
		e.code, e.kind, e.permanent = "Unauthorized", "Kusto.Common.Svc.Exceptions.UnauthorizedException", true
		e.message = "The request is not authenticated."
	case http.StatusForbidden:
		e.code, e.kind, e.permanent = "Forbidden", "Kusto.DataNode.Exceptions.KustoRequestDeniedException", true
		e.message = "Principal is not authorized to perform the operation."
	case http.StatusNotFound:
		e.code, e.kind, e.permanent = "NotFound", "Kusto.Data.Exceptions.EntityNotFoundException", true
		e.message = "The entity was not found."
	case http.StatusTooManyRequests:
		e.code, e.kind = "TooManyRequests", "Kusto.DataNode.Exceptions.ControlCommandThrottledException"
		e.message = "The management command was aborted due to throttling. Retrying after some backoff might succeed."
	case http.StatusServiceUnavailable:
		e.code, e.kind = "ServiceUnavailable", "Kusto.Common.Svc.Exceptions.ServiceUnavailableException"
		e.message = "The service is currently unavailable."
	case http.StatusGatewayTimeout:
		e.code, e.kind = "Timeout", "Kusto.Data.Exceptions.KustoServiceTimeoutException"
		e.message = "Request execution timed out."
	default:
		e.code, e.kind = "General_InternalServerError", "Kusto.Common.Svc.Exceptions.InternalServiceException"
		e.message = "An internal service error occurred."
		if status < 500 {
			e.code, e.kind, e.permanent = "General_BadRequest", "Kusto.Data.Exceptions.KustoBadRequestException", true
			e.message = "Request is invalid."
		}
	}
	return e
}

func storageErrorOf(status int, svc service) *storageError {
	e := &storageError{status: status, code: "InternalError", message: "The server encountered an internal error. Please retry the request."}
	switch status {
	case http.StatusUnauthorized:
		e.code, e.message = "NoAuthenticationInformation", "Server failed to authenticate the request."
	case http.StatusForbidden:
		e.code, e.message = "AuthenticationFailed", "Server failed to authenticate the request. Signature not valid in the specified time frame."
	case http.StatusNotFound:
		missing := map[service]*storageError{blobService: errContainerNotFound, queueService: errQueueNotFound, tableService: errTableNotFound}[svc]
		e.code, e.message = missing.code, missing.message
	case http.StatusConflict:
		e.code, e.message = "Conflict", "The request conflicts with the state of the resource."
	case http.StatusTooManyRequests:
		e.code, e.message = "TooManyRequests", "Too many requests."
	case http.StatusServiceUnavailable:
		e.code, e.message = "ServerBusy", "The server is busy."
	default:
		if status < 500 {
			e.code, e.message = "InvalidInput", "One of the request inputs is not valid."
		}
	}
	return e
}

// recorder takes a reply away from the client, to drop it or to send it later.
type recorder struct {
	header http.Header
	status int
	keep   bool
	body   bytes.Buffer
}

var errReplyDropped = errors.New("kustosim: the reply is dropped by a fault")

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if !r.keep {
		return 0, errReplyDropped
	}
	return r.body.Write(p)
}

func (r *recorder) replay(w http.ResponseWriter) {
	for k, v := range r.header {
		w.Header()[k] = v
	}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	w.WriteHeader(r.status)
	io.Copy(w, &r.body)
}
