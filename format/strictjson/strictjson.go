// Package strictjson reads JSON that an outsider wrote. The standard decoder
// is friendlier than a trust list deserves: of two members with one name it
// silently keeps the last, it turns broken text into U+FFFD, and it matches
// struct fields without regard to case, so two programs can read two different
// lists from the same signed bytes. [Check] refuses such input before anything
// is decoded; [Unmarshal] is Check followed by encoding/json. [Parse] returns the
// value itself, read in the same pass, and [Decode] the same in Go's own types.
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
	"unicode"

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
func Decode(data []byte, lim Limits) (any, error) {
	v, err := Parse(data, lim)
	if err != nil {
		return nil, err
	}
	return v.Any(), nil
}

func check(data []byte, lim Limits, foldCase bool) error {
	_, err := parse(data, lim, foldCase)
	return err
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
