package storage

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

const maxFilterDepth = 100

var errFilter = errors.New("the filter is not understood")

// predicate decides about the properties of one entity.
type predicate func(props map[string]json.RawMessage) bool

// parseFilter reads an OData $filter: comparisons (eq ne gt ge lt le) of a
// property with a literal, joined by and, or, not and brackets. Strings, and
// the literals with a type prefix (guid'..', datetime'..'), compare as text.
// An empty filter matches everything.
func parseFilter(text string) (predicate, error) {
	if strings.TrimSpace(text) == "" {
		return func(map[string]json.RawMessage) bool { return true }, nil
	}
	p := &filterParser{rest: text}
	match, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(p.rest) != "" {
		return nil, errFilter
	}
	return match, nil
}

type filterParser struct{ rest string }

// word takes a bare word off the front.
func (p *filterParser) word() string {
	p.rest = strings.TrimLeft(p.rest, " \t")
	i := strings.IndexAny(p.rest, " \t()'")
	if i < 0 {
		i = len(p.rest)
	}
	w := p.rest[:i]
	p.rest = p.rest[i:]
	return w
}

func (p *filterParser) accept(word string) bool {
	saved := p.rest
	if strings.EqualFold(p.word(), word) {
		return true
	}
	p.rest = saved
	return false
}

func (p *filterParser) or(depth int) (predicate, error) {
	left, err := p.and(depth)
	for err == nil && p.accept("or") {
		a := left
		var b predicate
		b, err = p.and(depth)
		left = func(m map[string]json.RawMessage) bool { return a(m) || b(m) }
	}
	return left, err
}

func (p *filterParser) and(depth int) (predicate, error) {
	left, err := p.unary(depth)
	for err == nil && p.accept("and") {
		a := left
		var b predicate
		b, err = p.unary(depth)
		left = func(m map[string]json.RawMessage) bool { return a(m) && b(m) }
	}
	return left, err
}

func (p *filterParser) unary(depth int) (predicate, error) {
	if depth > maxFilterDepth {
		return nil, errFilter
	}
	if p.accept("not") {
		inner, err := p.unary(depth + 1)
		return func(m map[string]json.RawMessage) bool { return !inner(m) }, err
	}
	p.rest = strings.TrimLeft(p.rest, " \t")
	if inner, ok := strings.CutPrefix(p.rest, "("); ok {
		p.rest = inner
		match, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		p.rest = strings.TrimLeft(p.rest, " \t")
		if p.rest, ok = strings.CutPrefix(p.rest, ")"); !ok {
			return nil, errFilter
		}
		return match, nil
	}
	return p.comparison()
}

func (p *filterParser) comparison() (predicate, error) {
	name, op := p.word(), strings.ToLower(p.word())
	accept, ok := map[string]func(int) bool{
		"eq": func(c int) bool { return c == 0 }, "ne": func(c int) bool { return c != 0 },
		"gt": func(c int) bool { return c > 0 }, "ge": func(c int) bool { return c >= 0 },
		"lt": func(c int) bool { return c < 0 }, "le": func(c int) bool { return c <= 0 },
	}[op]
	if !ok || name == "" {
		return nil, errFilter
	}
	literal := p.word()
	if strings.HasPrefix(p.rest, "'") {
		text, rest, ok := cutODataString(p.rest)
		if !ok {
			return nil, errFilter
		}
		p.rest = rest
		return func(m map[string]json.RawMessage) bool {
			var value string
			if json.Unmarshal(m[name], &value) != nil {
				return false
			}
			return accept(strings.Compare(value, text))
		}, nil
	}
	if literal == "true" || literal == "false" {
		return func(m map[string]json.RawMessage) bool {
			return accept(strings.Compare(string(m[name]), literal))
		}, nil
	}
	want, err := strconv.ParseFloat(strings.TrimSuffix(literal, "L"), 64)
	if err != nil {
		return nil, errFilter
	}
	return func(m map[string]json.RawMessage) bool {
		value, err := strconv.ParseFloat(strings.Trim(string(m[name]), `"`), 64)
		if err != nil {
			return false
		}
		switch {
		case value < want:
			return accept(-1)
		case value > want:
			return accept(1)
		default:
			return accept(0)
		}
	}, nil
}
