package ingestor

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"
)

// Tokens makes and checks identity tokens, which a message carries as its
// authorizationContext (protocol reference section 3).
type Tokens struct {
	lifetime time.Duration

	mu struct {
		sync.Mutex
		issued map[string]issued // by token
	}
}

// issued is one token: whose it is, and when it ends.
type issued struct {
	principal string
	end       time.Time
}

// NewTokens makes a book whose tokens are valid for a time.
func NewTokens(lifetime time.Duration) *Tokens {
	b := &Tokens{lifetime: lifetime}
	b.mu.issued = make(map[string]issued)
	return b
}

// Issue returns a fresh token of a principal; an empty one stands for the simulator
// itself.
func (b *Tokens) Issue(principal string, now time.Time) string {
	random := make([]byte, 24)
	rand.Read(random)
	token := "kustosim-identity-" + hex.EncodeToString(random)
	b.mu.Lock()
	defer b.mu.Unlock()
	for t, i := range b.mu.issued {
		if !now.Before(i.end) {
			delete(b.mu.issued, t)
		}
	}
	b.mu.issued[token] = issued{principal, now.Add(b.lifetime)}
	return token
}

// Holder is the principal of a token; ok is false for one that was not issued here
// or has ended.
func (b *Tokens) Holder(token string, now time.Time) (principal string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := b.mu.issued[token]
	return i.principal, ok && now.Before(i.end)
}

// Expire makes every token issued so far invalid.
func (b *Tokens) Expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.mu.issued)
}
