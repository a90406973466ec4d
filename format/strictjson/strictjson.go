// Package strictjson reads JSON that an outsider wrote. The standard decoder
// is friendlier than a trust list deserves: of two members with one name it
// silently keeps the last, it turns broken text into U+FFFD, and it matches
// struct fields without regard to case, so two programs can read two different
// lists from the same signed bytes. [Check] refuses such input before anything
// is decoded; [Unmarshal] and [Decode] are Check followed by encoding/json.
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
	"io"
	"strconv"
	"unicode"
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
func Decode(data []byte, lim Limits) (any, error) {
	if err := check(data, lim, false); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	// check has seen the whole text, so what is left can only be white space.
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("after the value: %w", ErrMalformed)
	}
	return v, nil
}

// frame is one open array or object.
type frame struct {
	names map[string]struct{} // nil for an array
}

func check(data []byte, lim Limits, foldCase bool) error {
	if lim.Bytes == 0 {
		lim.Bytes = DefaultBytes
	}
	if lim.Depth == 0 {
		lim.Depth = DefaultDepth
	}
	if len(data) > lim.Bytes {
		return fmt.Errorf("%d bytes, at most %d: %w", len(data), lim.Bytes, ErrTooLarge)
	}
	if !utf8.Valid(data) {
		return ErrInvalidUTF8
	}
	// Depth first: the grammar check below costs memory per level.
	if err := checkDepth(data, lim.Depth); err != nil {
		return err
	}
	if !json.Valid(data) {
		return ErrMalformed
	}

	// The grammar holds from here on, so this walk only needs strings and
	// brackets: a string is a name exactly where a colon follows it.
	var open []frame
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			open = append(open, frame{names: map[string]struct{}{}})
		case '[':
			open = append(open, frame{})
		case '}', ']':
			open = open[:len(open)-1]
		case '"':
			start := i
			i = endOfString(data, i)
			raw := data[start+1 : i]
			if err := checkSurrogates(raw); err != nil {
				return fmt.Errorf("byte %d: %w", start, err)
			}
			if !colonFollows(data, i+1) {
				continue
			}
			name, err := unquote(data[start : i+1])
			if err != nil {
				return fmt.Errorf("byte %d: %w", start, ErrMalformed)
			}
			if foldCase {
				name = fold(name)
			}
			names := open[len(open)-1].names
			if _, seen := names[name]; seen {
				// The name itself is the writer's text and stays out of the error.
				return fmt.Errorf("byte %d: %w", start, ErrDuplicateName)
			}
			names[name] = struct{}{}
		}
	}
	return nil
}

// checkDepth counts brackets outside strings; on malformed text it counts
// something harmless and leaves the verdict to the grammar check.
func checkDepth(data []byte, most int) error {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if depth++; depth > most {
				return fmt.Errorf("byte %d: more than %d levels: %w", i, most, ErrTooDeep)
			}
		case '}', ']':
			depth--
		case '"':
			i = endOfString(data, i)
		}
	}
	return nil
}

// endOfString returns the index of the quote that closes the string opened at
// i, or len(data) where none does.
func endOfString(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(data)
}

func colonFollows(data []byte, i int) bool {
	for ; i < len(data); i++ {
		switch data[i] {
		case ' ', '\t', '\r', '\n':
		case ':':
			return true
		default:
			return false
		}
	}
	return false
}

// checkSurrogates refuses \u escapes that name half a pair. encoding/json
// would read each as U+FFFD, so two different names or values would be equal.
func checkSurrogates(raw []byte) error {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if i++; raw[i] != 'u' {
			continue
		}
		switch unit := hex4(raw[i+1:]); {
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return ErrInvalidUTF8
		case unit >= 0xD800 && unit <= 0xDBFF:
			low := raw[i+5:]
			if len(low) < 6 || low[0] != '\\' || low[1] != 'u' {
				return ErrInvalidUTF8
			}
			if u := hex4(low[2:]); u < 0xDC00 || u > 0xDFFF {
				return ErrInvalidUTF8
			}
			i += 6
		}
		i += 4
	}
	return nil
}

// hex4 reads the four hexadecimal digits that the grammar promises.
func hex4(digits []byte) uint64 {
	u, _ := strconv.ParseUint(string(digits[:4]), 16, 32)
	return u
}

func unquote(quoted []byte) (string, error) {
	inside := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inside, '\\') < 0 {
		return string(inside), nil
	}
	var s string
	err := json.Unmarshal(quoted, &s)
	return s, err
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
