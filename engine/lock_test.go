package engine

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"kustospool/engine/internal/lock"
)

// WatchLocks has every lock of the engine watched, in all tests: a goroutine
// that takes one while it holds another panics, and so does one that takes a lock of
// delivery on the way of an acknowledgement.
func WatchLocks() {
	w := &lockWatcher{held: map[string]string{}}
	lock.Watch(w.watch)
}

type lockWatcher struct {
	mu   sync.Mutex
	held map[string]string // by goroutine
}

// ofDelivery are the locks that no acknowledgement may wait for.
var ofDelivery = map[string]bool{"live": true, "begun": true}

func (w *lockWatcher) watch(name string, taken bool) {
	stack := make([]byte, 64)
	if ofDelivery[name] && taken {
		stack = make([]byte, 16<<10)
	}
	stack = stack[:runtime.Stack(stack, false)]
	goroutine, _, _ := bytes.Cut(bytes.TrimPrefix(stack, []byte("goroutine ")), []byte(" "))
	w.mu.Lock()
	defer w.mu.Unlock()
	if !taken {
		delete(w.held, string(goroutine))
		return
	}
	if other, ok := w.held[string(goroutine)]; ok {
		panic(fmt.Sprintf("the lock of %s is taken under that of %s", name, other))
	}
	w.held[string(goroutine)] = name
	acks := bytes.Contains(stack, []byte("engine.(*Spool).Ingest")) || bytes.Contains(stack, []byte("store.(*Store).committed"))
	if ofDelivery[name] && acks && !bytes.Contains(stack, []byte("whenRoom")) { // a full spool is another matter
		panic(fmt.Sprintf("the lock of %s is taken on the way of an acknowledgement", name))
	}
}

// The control: the watcher sees what it is there for.
func TestLocksAreWatched(t *testing.T) {
	if !lock.Watched() {
		t.Skip("not watched beside benchmarks")
	}
	one, other := &lock.Mutex{Name: "one"}, &lock.Mutex{Name: "other"}
	for what, wrong := range map[string]func(){
		"a lock under another": func() {
			one.Lock()
			defer one.Unlock()
			other.Lock()
		},
		"a lock of delivery on the way of an acknowledgement": func() { (&Spool{}).IngestUnderLock(&lock.Mutex{Name: "live"}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was not seen", what)
				}
			}()
			wrong()
		}()
	}
}

// IngestUnderLock is what Ingest must not do.
func (s *Spool) IngestUnderLock(m *lock.Mutex) {
	m.Lock()
	defer m.Unlock()
}
