package kustosim

import (
	"errors"
	"strconv"
	"strings"
)

// tokenKind tells the tokens of a command apart.
type tokenKind int

const (
	wordToken   tokenKind = iota + 1 // a bare name, number or command word
	textToken                        // a string literal, unquoted
	symbolToken                      // one of ( ) [ ] { } , : = | < > .
)

type token struct {
	kind tokenKind
	text string
}

// is reports whether the token is this word, in any case, or this symbol.
func (t token) is(text string) bool {
	return t.kind == wordToken && strings.EqualFold(t.text, text) || t.kind == symbolToken && t.text == text
}

var errCommandSyntax = errors.New("the command is not understood")

// lex splits a command into tokens. String literals may be in single or double
// quotes with backslash escapes, verbatim (@'..', a quote is doubled), between
// three back-ticks, and obfuscated (h'..'). A bracketed name, ['T'] or ["T"], is
// one word. A word keeps a leading dot, so ".create" is one token.
func lex(s string) ([]token, error) {
	tokens, _, piped, err := lexHead(s)
	if err == nil && piped {
		err = errCommandSyntax
	}
	return tokens, err
}

// lexHead splits a command up to "<|" outside of a literal. data is what
// follows that, to the command's end; piped tells whether there was one.
func lexHead(s string) (tokens []token, data string, piped bool, err error) {
	tokens, s, err = lexTokens(s)
	if err != nil || s == "" {
		return tokens, "", false, err
	}
	return tokens, s[len("<|"):], true, nil
}

// lexTokens returns the tokens before the end or "<|", and the rest from there.
func lexTokens(s string) ([]token, string, error) {
	var tokens []token
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" || strings.HasPrefix(s, "<|") {
			return tokens, s, nil
		}
		switch c := s[0]; {
		case strings.HasPrefix(s, "//"):
			_, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, "```"):
			text, rest, ok := strings.Cut(s[3:], "```")
			if !ok {
				return nil, "", errCommandSyntax
			}
			tokens, s = append(tokens, token{textToken, text}), rest
		case c == '\'' || c == '"':
			text, rest, err := cutLiteral(s)
			if err != nil {
				return nil, "", err
			}
			tokens, s = append(tokens, token{textToken, text}), rest
		case (c == '@' || c == 'h' || c == 'H') && len(s) > 1 && strings.IndexByte("'\"@", s[1]) >= 0:
			text, rest, err := cutPrefixed(s)
			if err != nil {
				return nil, "", err
			}
			tokens, s = append(tokens, token{textToken, text}), rest
		case strings.HasPrefix(s, "['") || strings.HasPrefix(s, `["`):
			text, rest, err := cutLiteral(s[1:])
			if err != nil || !strings.HasPrefix(rest, "]") {
				return nil, "", errCommandSyntax
			}
			tokens, s = append(tokens, token{wordToken, text}), rest[1:]
		case isWord(c) || c == '.' && len(s) > 1 && isWord(s[1]) && len(tokens) == 0:
			n := 1
			for n < len(s) && isWord(s[n]) {
				n++
			}
			tokens, s = append(tokens, token{wordToken, s[:n]}), s[n:]
		case strings.IndexByte("()[]{},:=|<>.;!", c) >= 0:
			tokens, s = append(tokens, token{symbolToken, s[:1]}), s[1:]
		default:
			return nil, "", errCommandSyntax
		}
	}
}

func isWord(c byte) bool {
	return c == '_' || c == '-' || c == '*' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// cutPrefixed takes a literal with the prefixes h and @ off the front of s.
func cutPrefixed(s string) (text, rest string, err error) {
	if s[0] == 'h' || s[0] == 'H' {
		s = s[1:]
	}
	if s[0] != '@' {
		return cutLiteral(s)
	}
	s = s[1:]
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", "", errCommandSyntax
	}
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != quote {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		return b.String(), s[i+1:], nil
	}
	return "", "", errCommandSyntax
}

// cutLiteral takes a quoted literal with backslash escapes off the front of s.
func cutLiteral(s string) (text, rest string, err error) {
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case quote:
			return b.String(), s[i+1:], nil
		case '\\':
			i++
			if i == len(s) {
				return "", "", errCommandSyntax
			}
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case 'u':
				if len(s) < i+5 {
					return "", "", errCommandSyntax
				}
				n, err := strconv.ParseUint(s[i+1:i+5], 16, 32)
				if err != nil {
					return "", "", errCommandSyntax
				}
				b.WriteRune(rune(n))
				i += 4
			default:
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errCommandSyntax
}

// reader walks through the tokens of a command.
type reader struct {
	tokens []token
	at     int
}

// words takes the given words, in any case, if all of them come next.
func (m *reader) words(words ...string) bool {
	for i, w := range words {
		if m.at+i >= len(m.tokens) || !m.tokens[m.at+i].is(w) {
			return false
		}
	}
	m.at += len(words)
	return true
}

// next takes one token; at the end it is the zero token.
func (m *reader) next() token {
	if m.at >= len(m.tokens) {
		return token{}
	}
	m.at++
	return m.tokens[m.at-1]
}

func (m *reader) done() bool { return m.at >= len(m.tokens) }
