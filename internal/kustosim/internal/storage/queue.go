package storage

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/stats"
)

const (
	maxMessageText  = 64 << 10  // of one message, encoded [Azure Queue limit]
	maxMessageBody  = 512 << 10 // the same with XML escapes and envelope
	maxReceive      = 32
	maxKept         = 100_000 // messages of a report queue that nobody reads
	defaultTTL      = 7 * 24 * time.Hour
	defaultVisible  = 30 * time.Second
	maxVisibility   = 7 * 24 * time.Hour
	queueTimeLayout = http.TimeFormat
)

// queueMessage is one message of a queue.
type queueMessage struct {
	id       string
	receipt  string
	text     string
	inserted time.Time
	expires  time.Time
	visible  time.Time
	dequeued int64
}

// queueAccount is the queue service of one account.
type queueAccount struct {
	account string
	issuer  *Issuer
	stats   *stats.Book
	deliver func(text string) // takes the messages of ready queues

	mu struct {
		sync.Mutex
		queues map[string]*simQueue
	}
}

// simQueue is one queue. A ready queue keeps nothing: the ingestor takes a
// message in the moment it is accepted.
type simQueue struct {
	ready    bool
	messages []*queueMessage
}

func (q *simQueue) keep(m *queueMessage) {
	if len(q.messages) >= maxKept {
		q.messages = q.messages[1:]
	}
	q.messages = append(q.messages, m)
}

func newQueueAccount(account string, i *Issuer, stats *stats.Book, deliver func(string)) *queueAccount {
	a := &queueAccount{account: account, issuer: i, stats: stats, deliver: deliver}
	a.mu.queues = make(map[string]*simQueue)
	return a
}

func (a *queueAccount) createQueue(name string, ready bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.queues[name] = &simQueue{ready: ready}
}

func (a *queueAccount) dropQueue(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.mu.queues, name)
}

func (a *queueAccount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stampStorage(w, r)
	if err := a.serve(w, r); err != nil {
		port.Drain(r)
		err.write(w, r, QueueService)
	}
}

func (a *queueAccount) serve(w http.ResponseWriter, r *http.Request) *Error {
	account, name, rest := splitPath(r.URL.Path)
	if account != a.account || name == "" {
		return &Error{http.StatusBadRequest, "InvalidUri", "The requested URI does not represent any resource on the server."}
	}
	q := r.URL.Query()
	id, isMessage := strings.CutPrefix(rest, "messages/")
	peek := q.Get("peekonly") == "true"
	need := "r"
	switch {
	case r.Method == http.MethodPost:
		need = "a"
	case r.Method == http.MethodDelete, r.Method == http.MethodGet && rest == "messages" && !peek:
		need = "p"
	}
	if err := a.issuer.check(QueueService, a.account, name, q, need, time.Now()); err != nil {
		return err
	}
	switch {
	case r.Method == http.MethodPost && rest == "messages":
		return a.put(w, r, name)
	case r.Method == http.MethodGet && rest == "messages":
		return a.get(w, r, name, peek)
	case r.Method == http.MethodDelete && isMessage:
		return a.remove(w, name, id, q.Get("popreceipt"))
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && rest == "" && q.Get("comp") == "metadata":
		return a.properties(w, name)
	default:
		return errUnsupported
	}
}

func (a *queueAccount) put(w http.ResponseWriter, r *http.Request, name string) *Error {
	body, bad := readContent(r, maxMessageBody)
	if bad != nil {
		return bad
	}
	var envelope struct {
		XMLName     xml.Name `xml:"QueueMessage"`
		MessageText string
	}
	if err := xml.Unmarshal(body, &envelope); err != nil {
		return badInput("InvalidXmlDocument", "XML specified is not syntactically valid.")
	}
	if len(envelope.MessageText) > maxMessageText {
		return errTooLarge
	}
	now := time.Now()
	ttl, ok1 := seconds(r, "messagettl", defaultTTL)
	hidden, ok2 := seconds(r, "visibilitytimeout", 0)
	if !ok1 || !ok2 {
		return badInput("OutOfRangeQueryParameterValue", "One of the query parameters specified in the request URI is outside the permissible range.")
	}
	m := &queueMessage{id: uuid.NewString(), receipt: uuid.NewString(), text: envelope.MessageText, inserted: now, expires: now.Add(ttl), visible: now.Add(hidden)}
	a.mu.Lock()
	q := a.mu.queues[name]
	if q == nil {
		a.mu.Unlock()
		return errQueueNotFound
	}
	if q.ready {
		a.stats.Add(func(s *stats.Stats) { s.MessagesPosted++ })
		a.deliver(m.text)
	} else {
		q.keep(m)
	}
	a.mu.Unlock()
	writeXML(w, http.StatusCreated, messageList{Messages: []messageXML{{
		MessageId: m.id, InsertionTime: m.inserted.UTC().Format(queueTimeLayout), ExpirationTime: m.expires.UTC().Format(queueTimeLayout),
		PopReceipt: m.receipt, TimeNextVisible: m.visible.UTC().Format(queueTimeLayout)}}})
	return nil
}

// post puts a message without HTTP; the reports of the ingestor go this way.
func (a *queueAccount) post(name, text string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if q := a.mu.queues[name]; q != nil {
		q.keep(&queueMessage{id: uuid.NewString(), receipt: uuid.NewString(), text: text, inserted: now, expires: now.Add(defaultTTL), visible: now})
	}
}

func (a *queueAccount) get(w http.ResponseWriter, r *http.Request, name string, peek bool) *Error {
	count := 1
	if text := r.URL.Query().Get("numofmessages"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxReceive {
			return badInput("OutOfRangeQueryParameterValue", "One of the query parameters specified in the request URI is outside the permissible range.")
		}
		count = n
	}
	hide, ok := seconds(r, "visibilitytimeout", defaultVisible)
	if !ok {
		return badInput("OutOfRangeQueryParameterValue", "One of the query parameters specified in the request URI is outside the permissible range.")
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.mu.queues[name]
	if q == nil {
		return errQueueNotFound
	}
	list := messageList{}
	for _, m := range q.messages {
		if len(list.Messages) == count {
			break
		}
		if now.Before(m.visible) || !now.Before(m.expires) {
			continue
		}
		x := messageXML{MessageId: m.id, InsertionTime: m.inserted.UTC().Format(queueTimeLayout), ExpirationTime: m.expires.UTC().Format(queueTimeLayout), MessageText: &m.text}
		if !peek {
			m.dequeued++
			m.receipt, m.visible = uuid.NewString(), now.Add(hide)
			x.PopReceipt, x.TimeNextVisible = m.receipt, m.visible.UTC().Format(queueTimeLayout)
		}
		x.DequeueCount = strconv.FormatInt(m.dequeued, 10)
		list.Messages = append(list.Messages, x)
	}
	writeXML(w, http.StatusOK, list)
	return nil
}

func (a *queueAccount) remove(w http.ResponseWriter, name, id, receipt string) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.mu.queues[name]
	if q == nil {
		return errQueueNotFound
	}
	for i, m := range q.messages {
		if m.id != id {
			continue
		}
		if m.receipt != receipt {
			return &Error{http.StatusBadRequest, "PopReceiptMismatch", "The specified pop receipt did not match the pop receipt for a dequeued message."}
		}
		q.messages = append(q.messages[:i:i], q.messages[i+1:]...)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return errMessageNotFound
}

func (a *queueAccount) properties(w http.ResponseWriter, name string) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.mu.queues[name]
	if q == nil {
		return errQueueNotFound
	}
	w.Header().Set("x-ms-approximate-messages-count", strconv.Itoa(len(q.messages)))
	w.WriteHeader(http.StatusOK)
	return nil
}

// seconds reads a duration query parameter; -1, where the service allows it,
// means without end and is taken as the longest.
func seconds(r *http.Request, name string, unset time.Duration) (time.Duration, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return unset, true
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if n == -1 && name == "messagettl" {
		return 100 * 365 * 24 * time.Hour, err == nil
	}
	d := time.Duration(n) * time.Second
	if name == "visibilitytimeout" && d > maxVisibility {
		return 0, false
	}
	return d, err == nil && n >= 0
}

type messageList struct {
	XMLName  xml.Name     `xml:"QueueMessagesList"`
	Messages []messageXML `xml:"QueueMessage"`
}

type messageXML struct {
	MessageId       string
	InsertionTime   string
	ExpirationTime  string
	PopReceipt      string  `xml:",omitempty"`
	TimeNextVisible string  `xml:",omitempty"`
	DequeueCount    string  `xml:",omitempty"`
	MessageText     *string `xml:",omitempty"`
}

func writeXML(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := xml.NewEncoder(&b).Encode(v); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	w.Write(b.Bytes())
}
