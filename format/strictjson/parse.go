package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Parse checks data and returns its value.
func Parse(data []byte, lim Limits) (Value, error) { return parse(data, lim, false) }

// parser reads a text once, from front to back.
type parser struct {
	document
	data     []byte // the text
	at       int    // of the next byte
	open     int    // arrays and objects around it
	depth    int    // most of them
	foldCase bool
	stack    []node // the children so far of the arrays and objects that are open
}

func parse(data []byte, lim Limits, foldCase bool) (Value, error) {
	if lim.Bytes == 0 {
		lim.Bytes = DefaultBytes
	}
	if lim.Depth == 0 {
		lim.Depth = DefaultDepth
	}
	if len(data) > lim.Bytes || len(data) > math.MaxInt32 {
		return Value{}, fmt.Errorf("%d bytes, at most %d: %w", len(data), lim.Bytes, ErrTooLarge)
	}
	if !utf8.Valid(data) {
		return Value{}, ErrInvalidUTF8
	}
	p := &parser{data: data, depth: lim.Depth, foldCase: foldCase}
	p.text = string(data)
	// What real documents need; the rest grows.
	p.nodes = make([]node, 0, len(data)/16+1)
	p.stack = make([]node, 0, 32)
	root, err := p.value()
	if err != nil {
		return Value{}, err
	}
	if p.next() != 0 || p.at < len(data) {
		return Value{}, p.malformed()
	}
	return Value{&p.document, &root}, nil
}

func (p *parser) malformed() error { return fmt.Errorf("byte %d: %w", p.at, ErrMalformed) }

// next skips white space and returns the byte there, 0 at the end.
func (p *parser) next() byte {
	for ; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; c {
		case ' ', '\t', '\r', '\n':
			p.spaced = true
		default:
			return c
		}
	}
	return 0
}

func (p *parser) value() (node, error) {
	switch c := p.next(); {
	case c == '"':
		s, err := p.quoted()
		p.empty = p.empty || s.n == 0
		return node{kind: String, span: s}, err
	case c == '{':
		return p.container(Object, '}')
	case c == '[':
		return p.container(Array, ']')
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case c == 't':
		return p.literal(True, "true")
	case c == 'f':
		return p.literal(False, "false")
	case c == 'n':
		return p.literal(Null, "null")
	}
	return node{}, p.malformed()
}

func (p *parser) literal(k Kind, word string) (node, error) {
	if !strings.HasPrefix(p.text[p.at:], word) {
		return node{}, p.malformed()
	}
	p.at += len(word)
	p.empty = p.empty || k == Null
	return node{kind: k}, nil
}

// container reads an array or object. Its children are collected on the stack,
// above those of the containers around it.
func (p *parser) container(kind Kind, end byte) (node, error) {
	if p.open++; p.open > p.depth {
		return node{}, fmt.Errorf("byte %d: more than %d levels: %w", p.at, p.depth, ErrTooDeep)
	}
	p.at++
	floor := len(p.stack)
	var names map[string]bool // of an object with many members
	for more := p.next() != end; more; {
		var name span
		if kind == Object {
			var err error
			if name, err = p.name(floor, &names); err != nil {
				return node{}, err
			}
		}
		child, err := p.value()
		if err != nil {
			return node{}, err
		}
		child.name = name
		p.stack = append(p.stack, child)
		switch p.next() {
		case ',':
			p.at++
		case end:
			more = false
		default:
			return node{}, p.malformed()
		}
	}
	p.at++
	p.open--
	n := node{kind: kind, span: span{int32(len(p.nodes)), int32(len(p.stack) - floor)}}
	p.empty = p.empty || n.span.n == 0
	p.nodes = append(p.nodes, p.stack[floor:]...)
	p.stack = p.stack[:floor]
	return n, nil
}

// fewMembers is up to where a walk finds a name sooner than a map.
const fewMembers = 16

// name reads the name of a member and the colon after it.
func (p *parser) name(floor int, names *map[string]bool) (span, error) {
	if p.next() != '"' {
		return span{}, p.malformed()
	}
	start := p.at
	s, err := p.quoted()
	if err != nil {
		return span{}, err
	}
	name, siblings, seen := p.compared(s), p.stack[floor:], false
	if len(siblings) < fewMembers {
		for i := range siblings {
			seen = seen || p.compared(siblings[i].name) == name
		}
	} else {
		if *names == nil {
			*names = make(map[string]bool)
			for i := range siblings {
				(*names)[p.compared(siblings[i].name)] = true
			}
		}
		seen = (*names)[name]
		(*names)[name] = true
	}
	if seen {
		// The name itself is the writer's text and stays out of the error.
		return span{}, fmt.Errorf("byte %d: %w", start, ErrDuplicateName)
	}
	if p.next() != ':' {
		return span{}, p.malformed()
	}
	p.at++
	return s, nil
}

// compared returns a name in the form in which names are equal.
func (p *parser) compared(s span) string {
	name := p.document.string(s)
	if p.foldCase {
		return fold(name)
	}
	return name
}

// quoted reads a string.
func (p *parser) quoted() (span, error) {
	start, escapes := p.at+1, false
	for p.at++; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			if escapes {
				return p.unescape(p.data[start-1 : p.at])
			}
			return span{int32(start), int32(p.at - 1 - start)}, nil
		case c == '\\':
			escapes = true
			if err := p.escape(); err != nil {
				return span{}, err
			}
		case c < 0x20:
			return span{}, p.malformed()
		}
	}
	return span{}, p.malformed()
}

// escape checks the escape at the backslash and stops at its last byte. It
// refuses \u escapes that name half a pair. encoding/json would read each as
// U+FFFD, so two different names or values would be equal.
func (p *parser) escape() error {
	start := p.at
	p.at++
	if p.at >= len(p.data) || !bytes.Contains([]byte(`"\/bfnrtu`), p.data[p.at:p.at+1]) {
		return p.malformed()
	}
	if p.data[p.at] != 'u' {
		return nil
	}
	unit, ok := p.hex4(p.at + 1)
	if !ok {
		return p.malformed()
	}
	p.at += 4
	if !utf16.IsSurrogate(unit) {
		return nil
	}
	low, ok := rune(0), false
	if strings.HasPrefix(p.text[p.at+1:], `\u`) {
		low, ok = p.hex4(p.at + 3)
	}
	if !ok || utf16.DecodeRune(unit, low) == unicode.ReplacementChar {
		return fmt.Errorf("byte %d: half a surrogate pair: %w", start, ErrInvalidUTF8)
	}
	p.at += 6
	return nil
}

// hex4 reads the four hexadecimal digits at i.
func (p *parser) hex4(i int) (rune, bool) {
	if i+4 > len(p.data) {
		return 0, false
	}
	var unit rune
	for _, c := range p.data[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}

// unescape keeps what a string, given with its quotes, stands for. Its escapes are
// in order.
func (p *parser) unescape(quoted []byte) (span, error) {
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return span{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	p.unescaped = append(p.unescaped, s)
	return span{int32(len(p.unescaped) - 1), -1}, nil
}

// number reads -? int frac? exp? (RFC 8259 section 6).
func (p *parser) number() (node, error) {
	start := p.at
	digits := func() bool {
		from := p.at
		for p.at < len(p.data) && '0' <= p.data[p.at] && p.data[p.at] <= '9' {
			p.at++
		}
		return p.at > from
	}
	is := func(set string) bool {
		if p.at < len(p.data) && strings.IndexByte(set, p.data[p.at]) >= 0 {
			p.at++
			return true
		}
		return false
	}
	is("-")
	ok := is("0") || digits()
	if ok && is(".") {
		ok = digits()
	}
	if ok && is("eE") {
		is("+-")
		ok = digits()
	}
	if !ok {
		return node{}, p.malformed()
	}
	return node{kind: Number, span: span{int32(start), int32(p.at - start)}}, nil
}
