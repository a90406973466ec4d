// Package strictjson reads JSON that an outsider wrote. The standard decoder
// is friendlier than a trust list deserves: of two members with one name it
// silently keeps the last, it turns broken text into U+FFFD, and it matches
// struct fields without regard to case, so two programs can read two different
// lists from the same signed bytes. [Check] refuses such input before anything
// is decoded; [Unmarshal] is Check followed by encoding/json, and [Decode] reads
// the value in the same pass.
//
// What is refused, besides everything that RFC 8259 does not allow:
//
//	malformed-json     not one JSON value with only white space around it
//	duplicate-key      a member name twice in one object (RFC 8259 section 4: "SHOULD be unique")
//	nesting-too-deep   more arrays and objects inside each other than the limit
//	too-large          more bytes than the limit
//	invalid-utf8       bytes that are not UTF-8, or a \u escape of half a surrogate pair
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"ampoule/format"
)

// The defects of a JSON text. Errors of this package wrap one of them with the
// byte offset.
const (
	ErrMalformed     format.Defect = "malformed-json"
	ErrDuplicateName format.Defect = "duplicate-key"
	ErrTooDeep       format.Defect = "nesting-too-deep"
	ErrTooLarge      format.Defect = "too-large"
	ErrInvalidUTF8   format.Defect = "invalid-utf8"
)

// Limits that hold where a field of [Limits] is zero. Every document of the
// trust networks we know is below 2 MiB and nests less than 8 deep.
const (
	DefaultBytes = 16 << 20
	DefaultDepth = 32
)

// Limits bound a JSON text. The zero value means the defaults.
type Limits struct {
	Bytes int // most bytes of the whole text; 0 means [DefaultBytes]
	Depth int // most arrays and objects open at once; 0 means [DefaultDepth]
}

// Check reports the first defect of data, or nil. Names are compared after
// their escapes are resolved: "a" and "\u0061" are one name.
func Check(data []byte, lim Limits) error { return check(data, lim, false) }

// Unmarshal checks data and decodes it into v with encoding/json. Because that
// package matches struct fields without regard to case, two names in one
// object that differ only in case are duplicates here.
func Unmarshal(data []byte, v any, lim Limits) error {
	if err := check(data, lim, true); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// UnmarshalKnown is [Unmarshal] for a document of our own form: a member that v
// has no field for is refused, since a misspelt name would otherwise be lost.
func UnmarshalKnown(data []byte, v any, lim Limits) error {
	if err := check(data, lim, true); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// Decode checks data and returns it as map[string]any, []any, string,
// [json.Number], bool or nil. Names keep their case, so this is the form for
// documents whose signature covers every name.
func Decode(data []byte, lim Limits) (any, error) { return parse(data, lim, false, true) }

func check(data []byte, lim Limits, foldCase bool) error {
	_, err := parse(data, lim, foldCase, false)
	return err
}

// parser reads a text once, from front to back.
type parser struct {
	data     []byte
	text     string // the same, of which the strings of the value are parts
	at       int    // of the next byte
	open     int    // arrays and objects around it
	depth    int    // most of them
	foldCase bool
	build    bool // whether anyone wants the value
}

func parse(data []byte, lim Limits, foldCase, build bool) (any, error) {
	if lim.Bytes == 0 {
		lim.Bytes = DefaultBytes
	}
	if lim.Depth == 0 {
		lim.Depth = DefaultDepth
	}
	if len(data) > lim.Bytes {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(data), lim.Bytes, ErrTooLarge)
	}
	if !utf8.Valid(data) {
		return nil, ErrInvalidUTF8
	}
	p := &parser{data: data, text: string(data), depth: lim.Depth, foldCase: foldCase, build: build}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if p.next() != 0 || p.at < len(data) {
		return nil, p.malformed()
	}
	return v, nil
}

func (p *parser) malformed() error { return fmt.Errorf("byte %d: %w", p.at, ErrMalformed) }

// next skips white space and returns the byte there, 0 at the end.
func (p *parser) next() byte {
	for ; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (p *parser) value() (any, error) {
	switch c := p.next(); {
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '"':
		s, err := p.string(p.build)
		return s, err
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case c == 't':
		return true, p.literal("true")
	case c == 'f':
		return false, p.literal("false")
	case c == 'n':
		return nil, p.literal("null")
	}
	return nil, p.malformed()
}

func (p *parser) literal(word string) error {
	if !bytes.HasPrefix(p.data[p.at:], []byte(word)) {
		return p.malformed()
	}
	p.at += len(word)
	return nil
}

// enter steps into an array or object.
func (p *parser) enter() error {
	if p.open++; p.open > p.depth {
		return fmt.Errorf("byte %d: more than %d levels: %w", p.at, p.depth, ErrTooDeep)
	}
	p.at++
	return nil
}

// leave reports whether the array or object ends here, and steps out of it.
func (p *parser) leave(end byte) bool {
	if p.next() != end {
		return false
	}
	p.at++
	p.open--
	return true
}

func (p *parser) array() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	list := []any{}
	if p.leave(']') {
		return list, nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if p.build {
			list = append(list, v)
		}
		if p.leave(']') {
			return list, nil
		}
		if p.next() != ',' {
			return nil, p.malformed()
		}
		p.at++
	}
}

func (p *parser) object() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	members := make(map[string]any)
	if p.leave('}') {
		return members, nil
	}
	for {
		if p.next() != '"' {
			return nil, p.malformed()
		}
		start := p.at
		name, err := p.string(true)
		if err != nil {
			return nil, err
		}
		if p.foldCase {
			name = fold(name)
		}
		if _, seen := members[name]; seen {
			// The name itself is the writer's text and stays out of the error.
			return nil, fmt.Errorf("byte %d: %w", start, ErrDuplicateName)
		}
		if p.next() != ':' {
			return nil, p.malformed()
		}
		p.at++
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if !p.build {
			v = nil
		}
		members[name] = v
		if p.leave('}') {
			return members, nil
		}
		if p.next() != ',' {
			return nil, p.malformed()
		}
		p.at++
	}
}

// string reads a string, and returns it where it is wanted.
func (p *parser) string(wanted bool) (string, error) {
	start, escapes := p.at+1, false
	for p.at++; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; {
		case c == '"':
			inside := p.data[start:p.at]
			p.at++
			switch {
			case escapes:
				return unescape(inside)
			case wanted:
				return p.text[start : p.at-1], nil
			}
			return "", nil
		case c == '\\':
			escapes = true
			if err := p.escape(); err != nil {
				return "", err
			}
		case c < 0x20:
			return "", p.malformed()
		}
	}
	return "", p.malformed()
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
	if bytes.HasPrefix(p.data[p.at+1:], []byte(`\u`)) {
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

// unescape returns the text of a string whose escapes are in order.
func unescape(inside []byte) (string, error) {
	quoted := make([]byte, 0, len(inside)+2)
	quoted = append(append(append(quoted, '"'), inside...), '"')
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return s, nil
}

// number reads -? int frac? exp? (RFC 8259 section 6).
func (p *parser) number() (any, error) {
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
	switch {
	case !ok:
		return nil, p.malformed()
	case !p.build:
		return nil, nil
	}
	return json.Number(p.text[start:p.at]), nil
}

// fold maps every rune to the smallest one that differs from it only in case,
// which is the equality that encoding/json uses for field names.
func fold(name string) string {
	folded := make([]rune, 0, len(name))
	for _, r := range name {
		smallest := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			smallest = min(smallest, f)
		}
		folded = append(folded, smallest)
	}
	return string(folded)
}
