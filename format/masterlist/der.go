package masterlist

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The tags that occur (X.690 section 8.1.2, with the bit of constructed forms).
const (
	tagBoolean           = 0x01
	tagInteger           = 0x02
	tagBitString         = 0x03
	tagOctetString       = 0x04
	tagNull              = 0x05
	tagOID               = 0x06
	tagEnumerated        = 0x0a
	tagUTF8String        = 0x0c
	tagUTCTime           = 0x17
	tagGeneralizedTime   = 0x18
	tagSequence          = 0x30
	tagSet               = 0x31
	tagContext0Primitive = 0x80
	tagContext0          = 0xa0
	tagContext1          = 0xa1
	tagContext2          = 0xa2
	tagContext3          = 0xa3
	tagContext4          = 0xa4

	constructed = 0x20
)

// maxDepth bounds elements inside each other. A certificate nests less than 12
// deep.
const maxDepth = 24

// element is one tag, length and value.
type element struct {
	tag  byte
	raw  []byte // the whole
	body []byte
}

// inside reads what a constructed element holds.
func (e element) inside() *reader { return &reader{rest: e.body} }

// split takes the first element off data, in DER.
func split(data []byte) (e element, rest []byte, err error) {
	head, length, indefinite, err := header(data)
	switch {
	case err != nil:
		return e, nil, err
	case indefinite || length > len(data)-head:
		return e, nil, ErrMalformed
	}
	return element{data[0], data[:head+length], data[head : head+length]}, data[head+length:], nil
}

// header reads tag and length: how many bytes they take and what the length is.
// Tags above 30 and lengths above four bytes occur in nothing that is read here.
func header(data []byte) (size, length int, indefinite bool, err error) {
	if len(data) < 2 || data[0]&0x1f == 0x1f {
		return 0, 0, false, ErrMalformed
	}
	first := data[1]
	switch {
	case first < 0x80:
		return 2, int(first), false, nil
	case first == 0x80:
		return 2, 0, true, nil
	}
	n := int(first & 0x7f)
	if n > 4 || len(data) < 2+n {
		return 0, 0, false, ErrMalformed
	}
	var long int64
	for _, b := range data[2 : 2+n] {
		long = long<<8 | int64(b)
	}
	if long > MaxBytes {
		return 0, 0, false, ErrMalformed
	}
	return 2 + n, int(long), false, nil
}

// toDER rewrites BER: indefinite lengths become definite ones, and octet strings
// in pieces become whole. What is DER already is not copied.
func toDER(data []byte) ([]byte, error) {
	out, used, err := definite(data, 0)
	if err != nil {
		return nil, err
	}
	if used != len(data) {
		return nil, fmt.Errorf("%d bytes after the message: %w", len(data)-used, ErrMalformed)
	}
	return out, nil
}

// definite converts the first element of data and says how much of data it was.
func definite(data []byte, depth int) (out []byte, used int, err error) {
	if depth > maxDepth {
		return nil, 0, ErrTooDeep
	}
	size, length, indefinite, err := header(data)
	if err != nil {
		return nil, 0, err
	}
	if length > len(data)-size {
		return nil, 0, ErrMalformed
	}
	if data[0]&constructed == 0 {
		if indefinite {
			return nil, 0, ErrMalformed
		}
		return data[:size+length], size + length, nil
	}
	body := data[size:]
	if !indefinite {
		body = body[:length]
	}
	changed := indefinite || data[0] == tagOctetString|constructed
	var parts [][]byte
	at := 0
	for {
		if indefinite && len(body)-at >= 2 && body[at] == 0 && body[at+1] == 0 {
			at += 2
			break
		}
		if at == len(body) {
			if indefinite { // its end is missing
				return nil, 0, ErrMalformed
			}
			break
		}
		part, n, err := definite(body[at:], depth+1)
		if err != nil {
			return nil, 0, err
		}
		if len(part) != n {
			changed = true
		}
		parts = append(parts, part)
		at += n
	}
	used = size + at
	if !changed {
		return data[:used], used, nil
	}
	tag := data[0]
	if tag == tagOctetString|constructed {
		tag = tagOctetString
		for i, p := range parts {
			e, _, err := split(p)
			if err != nil || e.tag != tagOctetString {
				return nil, 0, ErrMalformed
			}
			parts[i] = e.body
		}
	}
	return encode(tag, parts...), used, nil
}

// encode writes one element.
func encode(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := make([]byte, 0, n+6)
	out = append(out, tag)
	switch {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	case n < 0x10000:
		out = append(out, 0x82, byte(n>>8), byte(n))
	default:
		out = append(out, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, slices.Concat(parts...)...)
}

// reader takes elements off their front. Its first error stays, and everything
// that is read after it is empty.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(what string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", what, err)
	}
	r.rest = nil
}

// keep takes over the first error of others.
func (r *reader) keep(others ...*reader) {
	for _, o := range others {
		if r.err == nil && o.err != nil {
			r.err, r.rest = o.err, nil
		}
	}
}

// or returns the reader's own error, or other.
func (r *reader) or(other error) error {
	if r.err != nil {
		return r.err
	}
	return other
}

// first returns the first reader that has an error, or one that has none.
func first(readers ...*reader) *reader {
	for _, r := range readers {
		if r.err != nil {
			return r
		}
	}
	return &reader{}
}

func (r *reader) next(what string) element {
	if r.err != nil {
		return element{}
	}
	e, rest, err := split(r.rest)
	if err != nil {
		r.fail(what, err)
		return element{}
	}
	r.rest = rest
	return e
}

// take reads an element that must be there.
func (r *reader) take(tag byte, what string) element {
	if r.err == nil && (len(r.rest) == 0 || r.rest[0] != tag) {
		r.fail(what, ErrMalformed)
	}
	return r.next(what)
}

// optional reads an element if it is there.
func (r *reader) optional(tag byte) (element, bool) {
	if r.err != nil || len(r.rest) == 0 || r.rest[0] != tag {
		return element{}, false
	}
	e := r.next("optional")
	return e, r.err == nil
}

// enter reads an element that must be there and returns a reader of its inside.
func (r *reader) enter(tag byte, what string) *reader {
	e := r.take(tag, what)
	return &reader{rest: e.body, err: r.err}
}

func (r *reader) sequence(what string) *reader { return r.enter(tagSequence, what) }

// end asks that nothing is left.
func (r *reader) end(what string) {
	if r.err == nil && len(r.rest) > 0 {
		r.fail(what, fmt.Errorf("%d bytes more than it should have: %w", len(r.rest), ErrMalformed))
	}
}

// oid reads an object identifier in its dotted form, "" where there is none.
func (r *reader) oid(what string) string {
	e := r.take(tagOID, what)
	if r.err != nil {
		return ""
	}
	s, ok := decodeOID(e.body)
	if !ok {
		r.fail(what, ErrMalformed)
	}
	return s
}

func decodeOID(body []byte) (string, bool) {
	if len(body) == 0 || len(body) > 64 || body[len(body)-1]&0x80 != 0 {
		return "", false
	}
	var b strings.Builder
	arc, begun := uint64(0), false
	for _, c := range body {
		if !begun && c == 0x80 || arc >= 1<<56 { // not minimal, or beyond every arc in use
			return "", false
		}
		begun = true
		arc = arc<<7 | uint64(c&0x7f)
		if c&0x80 != 0 {
			continue
		}
		if b.Len() == 0 {
			top := min(arc/40, 2)
			b.WriteString(strconv.FormatUint(top, 10))
			arc -= 40 * top
		}
		b.WriteByte('.')
		b.WriteString(strconv.FormatUint(arc, 10))
		arc, begun = 0, false
	}
	return b.String(), true
}

// encodeOID writes the whole element of an identifier of ours.
func encodeOID(dotted string) []byte {
	var body []byte
	var top uint64
	for i, text := range strings.Split(dotted, ".") {
		arc, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			panic("object identifier " + dotted)
		}
		switch i {
		case 0:
			top = arc
			continue
		case 1:
			arc += 40 * top
		}
		piece := []byte{byte(arc & 0x7f)}
		for arc >>= 7; arc > 0; arc >>= 7 {
			piece = append(piece, byte(arc&0x7f)|0x80)
		}
		slices.Reverse(piece)
		body = append(body, piece...)
	}
	return encode(tagOID, body)
}

// time reads UTCTime or GeneralizedTime in the forms of RFC 5280 section 4.1.2.5.
func (r *reader) time(what string) time.Time {
	e := r.next(what)
	if r.err != nil {
		return time.Time{}
	}
	text := string(e.body)
	layout := "20060102150405Z"
	if e.tag == tagUTCTime {
		layout = "060102150405Z"
	} else if e.tag != tagGeneralizedTime {
		r.fail(what, ErrMalformed)
		return time.Time{}
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		r.fail(what, ErrMalformed)
		return time.Time{}
	}
	// "Where YY is greater than or equal to 50, the year SHALL be interpreted as
	// 19YY"; time.Parse turns at 69.
	if e.tag == tagUTCTime && t.Year() >= 2050 {
		t = t.AddDate(-100, 0, 0)
	}
	return t
}
