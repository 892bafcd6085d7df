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
		ends map[string]time.Time // by token
	}
}

// NewTokens makes a book whose tokens are valid for a time.
func NewTokens(lifetime time.Duration) *Tokens {
	b := &Tokens{lifetime: lifetime}
	b.mu.ends = make(map[string]time.Time)
	return b
}

// Issue returns a fresh token.
func (b *Tokens) Issue(now time.Time) string {
	random := make([]byte, 24)
	rand.Read(random)
	token := "kustosim-identity-" + hex.EncodeToString(random)
	b.mu.Lock()
	defer b.mu.Unlock()
	for t, end := range b.mu.ends {
		if !now.Before(end) {
			delete(b.mu.ends, t)
		}
	}
	b.mu.ends[token] = now.Add(b.lifetime)
	return token
}

// Valid reports whether a token was issued here and has not ended.
func (b *Tokens) Valid(token string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	end, ok := b.mu.ends[token]
	return ok && now.Before(end)
}

// Expire makes every token issued so far invalid.
func (b *Tokens) Expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.mu.ends)
}
