package lex

import (
	"errors"
	"strconv"
	"strings"
)

// Kind tells the tokens of a command apart.
type Kind int

// The kinds of tokens.
const (
	Word   Kind = iota + 1 // a bare name, number or command word
	Text                   // a string literal, unquoted
	Symbol                 // one of ( ) [ ] { } , : = | < > .
)

// Token is a word, a literal or a symbol.
type Token struct {
	Kind Kind
	Text string
}

// Is reports whether the token is this word, in any case, or this symbol.
func (t Token) Is(text string) bool {
	return t.Kind == Word && strings.EqualFold(t.Text, text) || t.Kind == Symbol && t.Text == text
}

var errCommandSyntax = errors.New("the command is not understood")

// All splits a command into tokens. String literals may be in single or double
// quotes with backslash escapes, verbatim (@'..', a quote is doubled), between
// three back-ticks, and obfuscated (h'..'). A bracketed name, ['T'] or ["T"], is
// one word. A word keeps a leading dot, so ".create" is one token.
func All(s string) ([]Token, error) {
	tokens, _, piped, err := Head(s)
	if err == nil && piped {
		err = errCommandSyntax
	}
	return tokens, err
}

// Head splits a command up to "<|" outside of a literal. data is what
// follows that, to the command's end; piped tells whether there was one.
func Head(s string) (tokens []Token, data string, piped bool, err error) {
	tokens, s, err = lexTokens(s)
	if err != nil || s == "" {
		return tokens, "", false, err
	}
	return tokens, s[len("<|"):], true, nil
}

// lexTokens returns the tokens before the end or "<|", and the rest from there.
func lexTokens(s string) ([]Token, string, error) {
	var tokens []Token
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
			tokens, s = append(tokens, Token{Text, text}), rest
		case c == '\'' || c == '"':
			text, rest, err := CutLiteral(s)
			if err != nil {
				return nil, "", err
			}
			tokens, s = append(tokens, Token{Text, text}), rest
		case (c == '@' || c == 'h' || c == 'H') && len(s) > 1 && strings.IndexByte("'\"@", s[1]) >= 0:
			text, rest, err := cutPrefixed(s)
			if err != nil {
				return nil, "", err
			}
			tokens, s = append(tokens, Token{Text, text}), rest
		case strings.HasPrefix(s, "['") || strings.HasPrefix(s, `["`):
			text, rest, err := CutLiteral(s[1:])
			if err != nil || !strings.HasPrefix(rest, "]") {
				return nil, "", errCommandSyntax
			}
			tokens, s = append(tokens, Token{Word, text}), rest[1:]
		case isWord(c) || c == '.' && len(s) > 1 && isWord(s[1]) && len(tokens) == 0:
			n := 1
			for n < len(s) && isWord(s[n]) {
				n++
			}
			tokens, s = append(tokens, Token{Word, s[:n]}), s[n:]
		case strings.IndexByte("()[]{},:=|<>.;!", c) >= 0:
			tokens, s = append(tokens, Token{Symbol, s[:1]}), s[1:]
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
		return CutLiteral(s)
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

// CutLiteral takes a quoted literal with backslash escapes off the front of s.
func CutLiteral(s string) (text, rest string, err error) {
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

// Reader walks through the tokens of a command.
type Reader struct {
	Tokens []Token
	at     int
}

// Words takes the given words, in any case, if all of them come next.
func (m *Reader) Words(words ...string) bool {
	for i, w := range words {
		if m.at+i >= len(m.Tokens) || !m.Tokens[m.at+i].Is(w) {
			return false
		}
	}
	m.at += len(words)
	return true
}

// Next takes one token; at the end it is the zero token.
func (m *Reader) Next() Token {
	if m.at >= len(m.Tokens) {
		return Token{}
	}
	m.at++
	return m.Tokens[m.at-1]
}

// Done reports whether there are no more tokens.
func (m *Reader) Done() bool { return m.at >= len(m.Tokens) }
