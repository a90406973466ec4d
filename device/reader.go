package device

import (
	"fmt"
	"math"
	"unicode/utf8"

	"ampoule/format/cbor"
)

// reader takes items of deterministic CBOR (RFC 8949 section 4.2.1) one after the
// other from bytes that it neither copies nor keeps a tree of, and keeps the first
// defect. After one, what it returns means nothing.
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

// head reads an initial byte and its argument, in the shortest form and of known
// length alone.
func (r *reader) head(major byte, what string) uint64 {
	if len(r.rest) == 0 || r.rest[0]>>5 != major {
		r.fail(what, cbor.ErrMalformed)
		return 0
	}
	info := r.rest[0] & 31
	if info < 24 {
		r.rest = r.rest[1:]
		return uint64(info)
	}
	n := 1 << (info - 24)
	if info > 27 || len(r.rest) <= n {
		r.fail(what, cbor.ErrMalformed)
		return 0
	}
	var arg uint64
	for _, b := range r.rest[1 : 1+n] {
		arg = arg<<8 | uint64(b)
	}
	// The least argument of each length is the first that the length before cannot
	// hold.
	if least := [4]uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]; arg < least {
		r.fail(what, cbor.ErrMalformed)
		return 0
	}
	r.rest = r.rest[1+n:]
	return arg
}

const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
)

// number is a whole number from least to most, after a defect too.
func (r *reader) number(what string, least, most uint64) uint64 {
	n := r.head(majorUint, what)
	if n < least || n > most {
		r.fail(what, ErrRange)
		return least
	}
	return n
}

// integer is a whole number of either sign.
func (r *reader) integer(what string) int64 {
	major := byte(majorUint)
	if len(r.rest) > 0 && r.rest[0]>>5 == majorNegative {
		major = majorNegative
	}
	n := r.head(major, what)
	if n > math.MaxInt64 {
		r.fail(what, ErrRange)
	}
	if major == majorNegative {
		return -1 - int64(n)
	}
	return int64(n)
}

// bytes is a byte string of at most so many bytes, a part of the source.
func (r *reader) bytes(what string, most int) []byte { return r.content(majorBytes, what, most) }

func (r *reader) text(what string, most int) string {
	s := r.content(majorText, what, most)
	if !utf8.Valid(s) {
		r.fail(what, cbor.ErrUTF8)
	}
	return string(s)
}

func (r *reader) content(major byte, what string, most int) []byte {
	n := r.head(major, what)
	switch {
	case r.err != nil:
		return nil
	case n > uint64(most):
		r.fail(fmt.Sprintf("%s: %d bytes", what, n), ErrRange)
		return nil
	case n > uint64(len(r.rest)):
		r.fail(what, cbor.ErrMalformed)
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

// array reads the head of an array of least to most elements.
func (r *reader) array(what string, least, most int) int {
	n := r.head(majorArray, what)
	if r.err == nil && (n < uint64(least) || n > uint64(most)) {
		r.fail(fmt.Sprintf("%s: %d elements", what, n), ErrRange)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// exactly takes bytes that can only be these.
func (r *reader) exactly(what string, want ...byte) {
	if len(r.rest) < len(want) || string(r.rest[:len(want)]) != string(want) {
		r.fail(what, cbor.ErrMalformed)
		return
	}
	r.rest = r.rest[len(want):]
}

func (r *reader) hash(what string) (h Hash) {
	if b := r.bytes(what, len(h)); len(b) == len(h) {
		copy(h[:], b)
	} else {
		r.fail(what, ErrRange)
	}
	return h
}

func (r *reader) id(what string) ID {
	o := ID(r.bytes(what, maxID))
	if err := o.Check(); r.err == nil && err != nil {
		r.fail(what, err)
	}
	return o
}

// end refuses bytes that nobody asked for.
func (r *reader) end(what string) error {
	if r.err == nil && len(r.rest) > 0 {
		r.fail(what, cbor.ErrTrailing)
	}
	return r.err
}
