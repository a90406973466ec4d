package strictjson

import (
	"encoding/json"
	"iter"
)

// Kind is what a [Value] is.
type Kind byte

// The kinds of RFC 8259 section 3. Missing is no value at all: what [Value.Get]
// returns for a member that is not there.
const (
	Missing Kind = iota
	Null
	False
	True
	Number
	String
	Array
	Object
)

// document is a text that was read. It has no pointers but to the text and to
// what its escapes stand for, so that the garbage collector has little to walk.
type document struct {
	text      string
	nodes     []node // the children of a node stand together, and before it
	unescaped []string
	spaced    bool // white space between tokens
	empty     bool // an empty string, array or object, or null
}

// node is one value, with its name where it is a member of an object.
type node struct {
	kind Kind
	name span
	// text of a string, without its quotes, and of a number; the children of an
	// array or object, by their places among the nodes.
	span span
}

// span is a part of the text, or of the nodes. With a negative length it is the
// text of a string with escapes, by its place among the unescaped.
type span struct{ start, n int32 }

func (d *document) string(s span) string {
	if s.n < 0 {
		return d.unescaped[s.start]
	}
	return d.text[s.start : s.start+s.n]
}

// Value is one value of a text that was checked. It does not change, and it keeps
// the whole text in memory.
type Value struct {
	doc *document
	at  *node
}

// Kind returns what v is.
func (v Value) Kind() Kind {
	if v.at == nil {
		return Missing
	}
	return v.at.kind
}

// Exists reports whether v is a value, which null is.
func (v Value) Exists() bool { return v.at != nil }

// Minified reports whether the whole text has no white space between or around
// its tokens.
func (v Value) Minified() bool { return v.doc != nil && !v.doc.spaced }

// AnyEmpty reports whether anywhere in the whole text stands an empty string, array
// or object, or null.
func (v Value) AnyEmpty() bool { return v.doc != nil && v.doc.empty }

// Name returns the name of a member of an object.
func (v Value) Name() string {
	if v.at == nil {
		return ""
	}
	return v.doc.string(v.at.name)
}

// Text returns a string.
func (v Value) Text() (s string, ok bool) {
	if v.Kind() != String {
		return "", false
	}
	return v.doc.string(v.at.span), true
}

// Number returns a number as it was written.
func (v Value) Number() (n json.Number, ok bool) {
	if v.Kind() != Number {
		return "", false
	}
	return json.Number(v.doc.string(v.at.span)), true
}

// Len returns how many members an object or items an array has.
func (v Value) Len() int {
	if k := v.Kind(); k != Array && k != Object {
		return 0
	}
	return int(v.at.span.n)
}

// At returns the member of an object or the item of an array at i, in the order
// of the text.
func (v Value) At(i int) Value {
	return Value{v.doc, &v.doc.nodes[int(v.at.span.start)+i]}
}

// All yields the members of an object or the items of an array.
func (v Value) All() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for i := range v.Len() {
			if !yield(v.At(i)) {
				return
			}
		}
	}
}

// Get returns the member of an object with that name.
func (v Value) Get(name string) Value {
	if v.Kind() == Object {
		for i := range v.Len() {
			// Names of another length are passed over without a look at the text.
			m := v.At(i)
			if n := m.at.name.n; (n < 0 || int(n) == len(name)) && m.Name() == name {
				return m
			}
		}
	}
	return Value{}
}

// Any returns the value in Go's own types, as [Decode] does.
func (v Value) Any() any {
	switch k := v.Kind(); k {
	case False, True:
		return k == True
	case Number:
		return json.Number(v.doc.string(v.at.span))
	case String:
		return v.doc.string(v.at.span)
	case Array:
		list := make([]any, 0, v.Len())
		for item := range v.All() {
			list = append(list, item.Any())
		}
		return list
	case Object:
		o := make(map[string]any, v.Len())
		for m := range v.All() {
			o[m.Name()] = m.Any()
		}
		return o
	}
	return nil
}

// AppendJSON appends the value as JSON without white space, its members in the order
// of the text and its numbers as they were written.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.Kind() {
	case Null:
		return append(dst, "null"...)
	case False:
		return append(dst, "false"...)
	case True:
		return append(dst, "true"...)
	case Number:
		return append(dst, v.doc.string(v.at.span)...)
	case String:
		return AppendString(dst, v.doc.string(v.at.span))
	case Array:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = v.At(i).AppendJSON(dst)
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			m := v.At(i)
			dst = append(AppendString(dst, m.Name()), ':')
			dst = m.AppendJSON(dst)
		}
		return append(dst, '}')
	}
	return dst
}

// AppendString appends a string as JSON has it, with no escape that need not be.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
