package statushttp

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

const (
	// maxTold bounds the messages that are kept; the oldest goes first.
	maxTold = 64
	// toldFor is how long one is shown to who comes back with its number.
	toldFor = time.Minute
)

// message is what became of an action.
type message struct {
	Text   string
	Failed bool

	key string
	at  time.Time
}

// told keeps what became of actions, for the page that comes behind the form. The
// address holds a random key alone, so that nobody can make the page say something.
type told struct {
	mu   sync.Mutex
	list []message // the oldest first; guarded by mu
}

func newTold() *told { return &told{} }

// keep gives the key of a message.
func (t *told) keep(m message) string {
	m.key, m.at = rand.Text(), time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == maxTold {
		t.list = append(t.list[:0], t.list[1:]...)
	}
	t.list = append(t.list, m)
	return m.key
}

// of is the message that a request has the key of; nil for none.
func (t *told) of(r *http.Request) *message {
	key := r.URL.Query().Get("told")
	if key == "" {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.list {
		if m.key == key && time.Since(m.at) < toldFor {
			return &m
		}
	}
	return nil
}
