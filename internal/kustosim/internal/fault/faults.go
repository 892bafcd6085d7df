package fault

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"kustospool/internal/kustosim/internal/port"
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

// Covers reports whether a fault on h strikes requests to other.
func (h Host) Covers(other Host) bool {
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
	// decoded one. For a command, PathContains is also looked for in its text; in
	// storage, a ?comp= of the request stands behind the path.
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
	// unless Transient is set. RetryAfter is sent in whole seconds. Location is
	// where a reply with a status of 300 to 399 sends the client.
	Status     int
	Code       string
	Message    string
	Permanent  bool
	Transient  bool
	RetryAfter time.Duration
	Location   string
}

type activeFault struct {
	Fault
	host    Host
	matched int
	struck  int
	removed chan struct{} // closed by the remove function
}

// Settings are what the faults on requests need to know of the rest.
type Settings struct {
	MaxBody int64                        // of a body that Slow keeps
	Done    <-chan struct{}              // closed when the simulator ends
	Count   func(host Host, struck bool) // told of every request
	Notify  func()                       // called after every effect
}

// Set holds the faults in force on requests.
type Set struct {
	Settings

	mu struct {
		sync.Mutex
		active []*activeFault
	}
}

// NewSet makes a set without faults.
func NewSet(s Settings) *Set { return &Set{Settings: s} }

// Add puts a fault in force. The returned function ends it, and reports whether
// it was still there.
func (f *Set) Add(host Host, fault Fault) (remove func() bool) {
	a := &activeFault{Fault: fault, host: host, removed: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.active = append(f.mu.active, a)
	return func() bool { return f.remove(a) }
}

// remove reports whether the fault was still there.
func (f *Set) remove(a *activeFault) bool {
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
func (f *Set) strike(host Host, method, path string) *activeFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hit *activeFault
	for _, a := range f.mu.active {
		if !a.host.Covers(host) || a.Kind == Refuse || a.Method != "" && a.Method != method || !strings.Contains(path, a.PathContains) {
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

// Before puts the faults of a host before its handler. classify names the host
// and the text PathContains is looked for in; refuse writes the reply of a fault
// that answers, in the form of the service.
func (f *Set) Before(next http.Handler, classify func(*http.Request) (Host, string), refuse func(http.ResponseWriter, *http.Request, *Fault)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer f.Notify()
		host, path := classify(r)
		fault := f.strike(host, r.Method, path)
		if fault != nil && fault.Kind == Slow {
			// The request has arrived before the wait begins, so that its effect
			// comes for certain.
			body, err := io.ReadAll(io.LimitReader(r.Body, f.MaxBody+1))
			if err != nil || int64(len(body)) > f.MaxBody {
				port.HangUp(w)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		f.Count(host, fault != nil)
		f.Notify()
		if fault == nil {
			next.ServeHTTP(w, r)
			return
		}
		switch fault.Kind {
		case Down:
			port.HangUp(w)
		case DropRequest:
			port.Drain(r)
			port.HangUp(w)
		case DropReply:
			next.ServeHTTP(&recorder{header: make(http.Header)}, r)
			f.Notify()
			port.HangUp(w)
		case RespondLate:
			next.ServeHTTP(&recorder{header: make(http.Header)}, r)
			f.Notify()
			refuse(w, r, &fault.Fault)
		case Respond:
			port.Drain(r)
			refuse(w, r, &fault.Fault)
		case RespondEarly:
			respondEarly(w, r, &fault.Fault, refuse)
		case Slow:
			f.pause(fault)
			next.ServeHTTP(w, r)
		case SlowReply:
			rec := &recorder{header: make(http.Header), keep: true}
			next.ServeHTTP(rec, r)
			f.Notify()
			f.pause(fault)
			rec.replay(w)
		case Stall:
			port.Drain(r)
			select {
			case <-r.Context().Done():
			case <-fault.removed:
			case <-f.Done:
			}
			port.HangUp(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// pause waits the fault's delay. A client that leaves does not end it: what a
// slow service was asked to do, it does later all the same.
func (f *Set) pause(a *activeFault) {
	timer := time.NewTimer(a.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.removed:
	case <-f.Done:
	}
}

// respondEarly leaves the rest of the body to the client. Without full duplex
// the server would read on before it sends the reply.
func respondEarly(w http.ResponseWriter, r *http.Request, f *Fault, refuse func(http.ResponseWriter, *http.Request, *Fault)) {
	reply := http.NewResponseController(w)
	if err := reply.EnableFullDuplex(); err != nil {
		panic(err) // every connection of the simulator can
	}
	io.CopyN(io.Discard, r.Body, f.At)
	w.Header().Set("Connection", "close")
	refuse(w, r, f)
	reply.Flush()
	// A close with bytes unread is a reset, which can take the reply from the
	// client before it was read.
	if err := reply.SetReadDeadline(time.Now().Add(lingering)); err != nil {
		panic(err) // every connection of the simulator can
	}
	port.Drain(r)
}

// lingering is how long a connection that was answered early hears what the
// client is still sending.
const lingering = 500 * time.Millisecond

// SetHeaders puts the headers of a fault with RetryAfter or Location.
func (f *Fault) SetHeaders(h http.Header) {
	if f.Location != "" {
		h.Set("Location", f.Location)
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
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
