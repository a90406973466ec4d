// Package der reads and writes ASN.1 in its distinguished encoding (X.690), as
// much of it as certificates and signed messages need, and turns BER into it:
// [Definite] makes lengths definite and octet strings whole.
//
// A [Reader] takes elements off its front and keeps its first error, so that a
// structure reads as its specification is written and is asked once, at the end,
// whether all of it was there.
package der

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
)

// The defects of an encoding.
const (
	ErrMalformed = format.Defect("malformed-der")
	ErrTooLarge  = format.Defect("too-large")
	ErrTooDeep   = format.Defect("nesting-too-deep")
	ErrTooMany   = format.Defect("too-many-entries")
)

// MaxBytes bounds what is read at all: the largest master lists have 600 KB.
const MaxBytes = 8 << 20

// The tags that occur (X.690 section 8.1.2, with the bit of constructed forms).
const (
	TagBoolean           = 0x01
	TagInteger           = 0x02
	TagBitString         = 0x03
	TagOctetString       = 0x04
	TagNull              = 0x05
	TagOID               = 0x06
	TagEnumerated        = 0x0a
	TagUTF8String        = 0x0c
	TagUTCTime           = 0x17
	TagGeneralizedTime   = 0x18
	TagSequence          = 0x30
	TagSet               = 0x31
	TagContext0Primitive = 0x80
	TagContext0          = 0xa0
	TagContext1          = 0xa1
	TagContext2          = 0xa2
	TagContext3          = 0xa3
	TagContext4          = 0xa4

	Constructed = 0x20
)

// maxDepth bounds elements inside each other. A certificate nests less than 12
// deep.
const maxDepth = 24

// Element is one tag, length and value.
type Element struct {
	Tag  byte
	Raw  []byte // the whole
	Body []byte
}

// Inside reads what a Constructed Element holds.
func (e Element) Inside() *Reader { return &Reader{Rest: e.Body} }

// split takes the first Element off data, in DER.
func split(data []byte) (e Element, rest []byte, err error) {
	head, length, indefinite, err := header(data)
	switch {
	case err != nil:
		return e, nil, err
	case indefinite || length > len(data)-head:
		return e, nil, ErrMalformed
	}
	return Element{data[0], data[:head+length], data[head : head+length]}, data[head+length:], nil
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

// Definite rewrites BER: indefinite lengths become definite ones, and octet strings
// in pieces become whole. What is DER already is not copied.
func Definite(data []byte) ([]byte, error) {
	out, used, err := definite(data, 0)
	if err != nil {
		return nil, err
	}
	if used != len(data) {
		return nil, fmt.Errorf("%d bytes after the message: %w", len(data)-used, ErrMalformed)
	}
	return out, nil
}

// definite converts the first Element of data and says how much of data it was.
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
	if data[0]&Constructed == 0 {
		if indefinite {
			return nil, 0, ErrMalformed
		}
		return data[:size+length], size + length, nil
	}
	body := data[size:]
	if !indefinite {
		body = body[:length]
	}
	changed := indefinite || data[0] == TagOctetString|Constructed
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
	if tag == TagOctetString|Constructed {
		tag = TagOctetString
		for i, p := range parts {
			e, _, err := split(p)
			if err != nil || e.Tag != TagOctetString {
				return nil, 0, ErrMalformed
			}
			parts[i] = e.Body
		}
	}
	return Encode(tag, parts...), used, nil
}

// Encode writes one element.
func Encode(tag byte, parts ...[]byte) []byte {
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

// Reader takes elements off their front. Its first error stays, and everything
// that is read after it is empty.
type Reader struct {
	Rest []byte
	Err  error
}

func (r *Reader) Fail(what string, err error) {
	if r.Err == nil {
		r.Err = fmt.Errorf("%s: %w", what, err)
	}
	r.Rest = nil
}

// Keep takes over the first error of others.
func (r *Reader) Keep(others ...*Reader) {
	for _, o := range others {
		if r.Err == nil && o.Err != nil {
			r.Err, r.Rest = o.Err, nil
		}
	}
}

// Or returns the reader's own error, or other.
func (r *Reader) Or(other error) error {
	if r.Err != nil {
		return r.Err
	}
	return other
}

// First returns the first reader that has an error, or one that has none.
func First(readers ...*Reader) *Reader {
	for _, r := range readers {
		if r.Err != nil {
			return r
		}
	}
	return &Reader{}
}

func (r *Reader) Next(what string) Element {
	if r.Err != nil {
		return Element{}
	}
	e, rest, err := split(r.Rest)
	if err != nil {
		r.Fail(what, err)
		return Element{}
	}
	r.Rest = rest
	return e
}

// Take reads an Element that must be there.
func (r *Reader) Take(tag byte, what string) Element {
	if r.Err == nil && (len(r.Rest) == 0 || r.Rest[0] != tag) {
		r.Fail(what, ErrMalformed)
	}
	return r.Next(what)
}

// Optional reads an Element if it is there.
func (r *Reader) Optional(tag byte) (Element, bool) {
	if r.Err != nil || len(r.Rest) == 0 || r.Rest[0] != tag {
		return Element{}, false
	}
	e := r.Next("optional")
	return e, r.Err == nil
}

// Enter reads an Element that must be there and returns a reader of its inside.
func (r *Reader) Enter(tag byte, what string) *Reader {
	e := r.Take(tag, what)
	return &Reader{Rest: e.Body, Err: r.Err}
}

func (r *Reader) Sequence(what string) *Reader { return r.Enter(TagSequence, what) }

// End asks that nothing is left.
func (r *Reader) End(what string) {
	if r.Err == nil && len(r.Rest) > 0 {
		r.Fail(what, fmt.Errorf("%d bytes more than it should have: %w", len(r.Rest), ErrMalformed))
	}
}

// OID reads an object identifier in its dotted form, "" where there is none.
func (r *Reader) OID(what string) string {
	e := r.Take(TagOID, what)
	if r.Err != nil {
		return ""
	}
	s, ok := DecodeOID(e.Body)
	if !ok {
		r.Fail(what, ErrMalformed)
	}
	return s
}

// DecodeOID writes the content octets of an identifier in dotted form.
func DecodeOID(body []byte) (string, bool) {
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

// EncodeOID writes the whole Element of an identifier of ours.
func EncodeOID(dotted string) []byte {
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
	return Encode(TagOID, body)
}

// Time reads UTCTime or GeneralizedTime in the forms of RFC 5280 section 4.1.2.5.
func (r *Reader) Time(what string) time.Time {
	e := r.Next(what)
	if r.Err != nil {
		return time.Time{}
	}
	text := string(e.Body)
	layout := "20060102150405Z"
	if e.Tag == TagUTCTime {
		layout = "060102150405Z"
	} else if e.Tag != TagGeneralizedTime {
		r.Fail(what, ErrMalformed)
		return time.Time{}
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		r.Fail(what, ErrMalformed)
		return time.Time{}
	}
	// "Where YY is greater than or equal to 50, the year SHALL be interpreted as
	// 19YY"; time.Parse turns at 69.
	if e.Tag == TagUTCTime && t.Year() >= 2050 {
		t = t.AddDate(-100, 0, 0)
	}
	return t
}

// Bits reads a BIT STRING of whole bytes, or of named bits.
func (r *Reader) Bits(what string) []byte {
	e := r.Take(TagBitString, what)
	if r.Err != nil {
		return nil
	}
	if len(e.Body) == 0 || e.Body[0] > 7 {
		r.Fail(what, ErrMalformed)
		return nil
	}
	return e.Body[1:]
}

// Positive reports whether an INTEGER is above zero, and in its shortest form.
func Positive(body []byte) bool {
	if len(body) == 0 || body[0]&0x80 != 0 || len(body) == 1 && body[0] == 0 {
		return false
	}
	return len(body) == 1 || body[0] != 0 || body[1]&0x80 != 0
}
