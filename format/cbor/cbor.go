// Package cbor reads and writes the Concise Binary Object Representation (RFC
// 8949) within fixed bounds.
//
// [Parse] turns one encoded item into a tree of [Value]s in a single pass. It
// accepts every well-formed encoding a real issuer may send (indefinite
// lengths, non-shortest heads, any float width) and refuses what only an
// attacker sends: nesting beyond a depth, more items or pairs than a limit,
// duplicate map keys, text that is not UTF-8, bytes after the item. A length
// is never believed before the bytes are there, so memory is bounded by the
// input.
//
// The Append functions write the core deterministic encoding (section 4.2.1);
// the order of map keys is the caller's duty.
package cbor

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"unicode/utf8"

	"ampoule/format"
)

// The kinds of defect that Parse finds.
const (
	ErrMalformed    = format.Defect("malformed")
	ErrDepth        = format.Defect("nesting-too-deep")
	ErrTooManyItems = format.Defect("too-many-items")
	ErrDuplicateKey = format.Defect("duplicate-key")
	ErrUTF8         = format.Defect("invalid-utf8")
	ErrTrailing     = format.Defect("trailing-bytes")
	ErrTooLarge     = format.Defect("too-large")
)

// Limits bound what Parse accepts. Depth counts arrays, maps and tags around
// an item; Items counts every item of the tree; Pairs is per map.
type Limits struct {
	Depth, Items, Pairs int
}

// DefaultLimits hold a hundred times the largest certificate seen, and keep
// the tree of one text below half a megabyte. Pairs is small because duplicate
// keys are searched by comparison.
var DefaultLimits = Limits{Depth: 16, Items: 8192, Pairs: 256}

// maxData keeps offsets within an int32.
const maxData = 1 << 30

// Kind is the type of an item. The zero Kind belongs to the zero Value, which
// stands for an item that is not there.
type Kind uint8

// The kinds, after the major types of RFC 8949 section 3.1.
const (
	Missing   Kind = iota
	Uint           // major type 0
	Negative       // major type 1: -1-n
	Bytes          // major type 2
	Text           // major type 3
	Array          // major type 4
	Map            // major type 5
	Tag            // major type 6
	Bool           // false and true
	Null           // simple value 22
	Undefined      // simple value 23
	Simple         // other simple values
	Float          // half, single and double precision
)

var kindNames = [...]string{"nothing", "an integer", "a negative integer", "a byte string", "text", "an array", "a map", "a tag", "a boolean", "null", "undefined", "a simple value", "a float"}

func (k Kind) String() string { return kindNames[k] }

// node is one item of the tree, in the order of the encoding: the first child
// of a container stands right after it.
type node struct {
	kind       Kind
	count      int32  // children: array elements, 2 per map pair, 1 for a tag
	next       int32  // index of the item after this one and its children
	start, end int32  // its encoding within the source
	num        uint64 // integer head, tag number, simple value, float64 bits; brief of a text key
	str        string // content of text and byte strings
}

type document struct {
	source string
	nodes  []node
}

// Value is one item of a parsed document. The zero Value is a missing item;
// every method of it answers "not there", so look-ups can be chained.
type Value struct {
	doc *document
	i   int32
}

// Parse reads exactly one item that fills data. Values keep a private copy of
// the bytes.
func Parse(data []byte, lim Limits) (Value, error) {
	// Judged before the copy, which costs as much as the input.
	if err := checkSize(len(data)); err != nil {
		return Value{}, err
	}
	return ParseString(string(data), lim)
}

func checkSize(n int) error {
	if n > maxData {
		return fmt.Errorf("cbor: %d bytes: %w", n, ErrTooLarge)
	}
	return nil
}

// ParseString is Parse for bytes that cannot change, which it does not copy.
func ParseString(src string, lim Limits) (Value, error) {
	if err := checkSize(len(src)); err != nil {
		return Value{}, err
	}
	p := parsers.Get().(*parser)
	p.src, p.off, p.lim, p.nodes = src, 0, lim, p.nodes[:0]
	defer p.release()
	if err := p.item(0); err != nil {
		return Value{}, err
	}
	if p.off != len(p.src) {
		return Value{}, p.fail(p.off, ErrTrailing)
	}
	return Value{doc: newDocument(src, p.nodes)}, nil
}

// newDocument copies the nodes. A header has so few that they fit beside it.
func newDocument(src string, nodes []node) *document {
	if len(nodes) > smallSize {
		return &document{source: src, nodes: slices.Clone(nodes)}
	}
	d := &smallDocument{document: document{source: src}}
	d.nodes = d.few[:copy(d.few[:], nodes)]
	return &d.document
}

const smallSize = 8

type smallDocument struct {
	document
	few [smallSize]node
}

type parser struct {
	src   string
	off   int
	lim   Limits
	nodes []node // scratch: how many there will be is known at the end
}

var parsers = sync.Pool{New: func() any { return &parser{nodes: make([]node, 0, 128)} }}

// release returns the scratch to the pool, unless a hostile input has made it
// large, and without what it points to.
func (p *parser) release() {
	if cap(p.nodes) > 1024 {
		return
	}
	clear(p.nodes)
	p.src = ""
	parsers.Put(p)
}

func (p *parser) fail(at int, err error) error {
	return fmt.Errorf("cbor: byte %d: %w", at, err)
}

const indefinite = 31

// head reads an initial byte and its argument (RFC 8949 section 3).
func (p *parser) head() (major, info byte, arg uint64, err error) {
	start := p.off
	if start >= len(p.src) {
		return 0, 0, 0, p.fail(start, ErrMalformed)
	}
	b := p.src[start]
	major, info = b>>5, b&31
	p.off++
	switch {
	case info < 24:
		return major, info, uint64(info), nil
	case info < 28:
		n := 1 << (info - 24)
		if len(p.src)-p.off < n {
			return 0, 0, 0, p.fail(start, ErrMalformed)
		}
		for range n {
			arg = arg<<8 | uint64(p.src[p.off])
			p.off++
		}
		return major, info, arg, nil
	case info == indefinite && major >= 2 && major != 6:
		return major, info, 0, nil
	}
	return 0, 0, 0, p.fail(start, ErrMalformed)
}

var leafKind = [4]Kind{Uint, Negative, Bytes, Text}

// item reads one item with everything in it and appends its nodes.
func (p *parser) item(depth int) error {
	start := p.off
	major, info, arg, err := p.head()
	if err != nil {
		return err
	}
	if len(p.nodes) >= p.lim.Items {
		return p.fail(start, ErrTooManyItems)
	}
	if major >= 4 && major <= 6 && depth >= p.lim.Depth {
		return p.fail(start, ErrDepth)
	}
	i := len(p.nodes)
	if major < 4 { // integers and strings have nothing inside
		leaf := node{kind: leafKind[major], start: int32(start), next: int32(i + 1), num: arg}
		if major >= 2 {
			if leaf.str, err = p.content(start, major, info, arg); err != nil {
				return err
			}
		}
		leaf.end = int32(p.off)
		p.nodes = append(p.nodes, leaf)
		return nil
	}
	p.nodes = append(p.nodes, node{start: int32(start), num: arg})
	switch major {
	case 4:
		p.nodes[i].kind = Array
		err = p.array(i, depth, info, arg)
	case 5:
		p.nodes[i].kind = Map
		err = p.pairs(i, depth, info, arg)
	case 6:
		p.nodes[i].kind, p.nodes[i].count = Tag, 1
		err = p.item(depth + 1)
	case 7:
		err = p.simple(i, info, arg)
	}
	if err != nil {
		return err
	}
	p.nodes[i].end, p.nodes[i].next = int32(p.off), int32(len(p.nodes))
	return nil
}

// content reads the bytes of a string: in one piece, or in chunks (section
// 3.2.3).
func (p *parser) content(start int, major, info byte, arg uint64) (string, error) {
	if info != indefinite {
		if arg > uint64(len(p.src)-p.off) {
			return "", p.fail(start, ErrMalformed)
		}
		s := p.src[p.off : p.off+int(arg)]
		p.off += int(arg)
		if major == 3 && !validUTF8(s) {
			return "", p.fail(start, ErrUTF8)
		}
		return s, nil
	}
	var all []byte
	for !p.stop() {
		at := p.off
		m, in, n, err := p.head()
		if err != nil {
			return "", err
		}
		if m != major || in == indefinite {
			return "", p.fail(at, ErrMalformed)
		}
		s, err := p.content(at, m, in, n)
		if err != nil {
			return "", err
		}
		all = append(all, s...)
	}
	return string(all), nil
}

// validUTF8 looks for ASCII first: most texts of a certificate are so short that
// the library's own fast path costs more than the text.
func validUTF8(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return utf8.ValidString(s)
		}
	}
	return true
}

// stop consumes the break that ends an indefinite length.
func (p *parser) stop() bool {
	if p.off < len(p.src) && p.src[p.off] == 0xff {
		p.off++
		return true
	}
	return false
}

func (p *parser) array(i, depth int, info byte, arg uint64) error {
	// Each element takes at least one byte, so a claimed length beyond the rest
	// of the input is a lie, told before anything is allocated for it.
	if info != indefinite && arg > uint64(len(p.src)-p.off) {
		return p.fail(int(p.nodes[i].start), ErrMalformed)
	}
	for n := uint64(0); ; n++ {
		if info == indefinite && p.stop() || info != indefinite && n == arg {
			p.nodes[i].count = int32(n)
			return nil
		}
		if err := p.item(depth + 1); err != nil {
			return err
		}
	}
}

func (p *parser) pairs(i, depth int, info byte, arg uint64) error {
	start := int(p.nodes[i].start)
	if info != indefinite && arg > uint64(len(p.src)-p.off)/2 {
		return p.fail(start, ErrMalformed)
	}
	for n := 0; ; n++ {
		if info == indefinite && p.stop() || info != indefinite && uint64(n) == arg {
			p.nodes[i].count = int32(2 * n)
			return nil
		}
		if n == p.lim.Pairs {
			return p.fail(start, ErrTooManyItems)
		}
		key, at := len(p.nodes), p.off
		if err := p.item(depth + 1); err != nil {
			return err
		}
		if k := &p.nodes[key]; k.kind == Text {
			k.num = brief(k.str)
		}
		// RFC 8949 section 5.6: a map with duplicate keys is not valid.
		nodes := p.nodes
		k, mine := i+1, &nodes[key]
		for range n {
			other := &nodes[k]
			if other.kind == mine.kind && (mine.kind != Text || other.num == mine.num) && p.same(k, key) {
				return p.fail(at, ErrDuplicateKey)
			}
			k = int(nodes[other.next].next)
		}
		if err := p.item(depth + 1); err != nil {
			return err
		}
	}
}

// brief packs a text of up to seven bytes, and its length, into one number: the
// keys of certificates are that short, and are then compared in one step.
// Longer texts share the zero.
func brief(s string) (n uint64) {
	if len(s) > 7 {
		return 0
	}
	for i := range len(s) {
		n = n<<8 | uint64(s[i])
	}
	return n<<8 | uint64(len(s)) | 1<<7
}

// same tells whether two keys are the same value, however they are encoded. A
// map as a key is compared in the order of its pairs.
func (p *parser) same(a, b int) bool {
	// The nodes of equal trees are equal one by one, and end together.
	for end := int(p.nodes[a].next); a < end; a, b = a+1, b+1 {
		x, y := &p.nodes[a], &p.nodes[b]
		if x.kind != y.kind || x.count != y.count || x.str != y.str {
			return false
		}
		switch x.kind {
		case Bytes, Text, Array, Map: // num is the head's argument, one of several forms
		default:
			if x.num != y.num {
				return false
			}
		}
	}
	return true
}

// simple reads floats and simple values (section 3.3).
func (p *parser) simple(i int, info byte, arg uint64) error {
	n := &p.nodes[i]
	switch {
	case info == 20 || info == 21:
		n.kind, n.num = Bool, uint64(info-20)
	case info == 22:
		n.kind = Null
	case info == 23:
		n.kind = Undefined
	case info < 24 || info == 24 && arg >= 32:
		n.kind = Simple
	case info == 25:
		n.kind, n.num = Float, math.Float64bits(half(uint16(arg)))
	case info == 26:
		n.kind, n.num = Float, math.Float64bits(float64(math.Float32frombits(uint32(arg))))
	case info == 27:
		n.kind, n.num = Float, arg
	default: // a break outside, or a two-byte form of a small simple value
		return p.fail(int(n.start), ErrMalformed)
	}
	return nil
}

// half converts a half-precision float (RFC 8949 appendix D).
func half(h uint16) float64 {
	exp, mant := int(h>>10)&0x1f, float64(h&0x3ff)
	var v float64
	switch exp {
	case 0:
		v = math.Ldexp(mant, -24)
	case 31:
		v = math.Inf(1)
		if mant != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(mant+1024, exp-25)
	}
	if h&0x8000 != 0 {
		return -v
	}
	return v
}

func (v Value) node() *node {
	if v.doc == nil {
		return nil
	}
	return &v.doc.nodes[v.i]
}

// Kind returns the kind of the item, Missing for the zero Value.
func (v Value) Kind() Kind {
	if v.doc == nil {
		return Missing
	}
	return v.node().kind
}

// Exists reports whether there is an item at all.
func (v Value) Exists() bool { return v.doc != nil }

// IsNull reports whether the item is null or undefined.
func (v Value) IsNull() bool { k := v.Kind(); return k == Null || k == Undefined }

// Int returns an integer that fits an int64.
func (v Value) Int() (int64, bool) {
	n := v.node()
	if n == nil || n.num > math.MaxInt64 {
		return 0, false
	}
	switch n.kind {
	case Uint:
		return int64(n.num), true
	case Negative:
		return -1 - int64(n.num), true
	}
	return 0, false
}

// Float returns a float, which may be infinite or not a number.
func (v Value) Float() (float64, bool) {
	if n := v.node(); n != nil && n.kind == Float {
		return math.Float64frombits(n.num), true
	}
	return 0, false
}

// Bool returns a boolean.
func (v Value) Bool() (val, ok bool) {
	if n := v.node(); n != nil && n.kind == Bool {
		return n.num == 1, true
	}
	return false, false
}

// Text returns the content of a text string.
func (v Value) Text() (string, bool) {
	if n := v.node(); n != nil && n.kind == Text {
		return n.str, true
	}
	return "", false
}

// Bytes returns the content of a byte string, as a copy.
func (v Value) Bytes() ([]byte, bool) {
	if n := v.node(); n != nil && n.kind == Bytes {
		return []byte(n.str), true
	}
	return nil, false
}

// ByteString returns the content of a byte string without copying it.
func (v Value) ByteString() (string, bool) {
	if n := v.node(); n != nil && n.kind == Bytes {
		return n.str, true
	}
	return "", false
}

// Tag returns the number and the content of a tagged item.
func (v Value) Tag() (uint64, Value, bool) {
	if n := v.node(); n != nil && n.kind == Tag {
		return n.num, Value{v.doc, v.i + 1}, true
	}
	return 0, Value{}, false
}

// Untagged returns the item inside any tags.
func (v Value) Untagged() Value {
	for {
		_, inner, ok := v.Tag()
		if !ok {
			return v
		}
		v = inner
	}
}

// Len returns the number of array elements or map pairs, 0 for other kinds.
func (v Value) Len() int {
	n := v.node()
	switch {
	case n == nil:
		return 0
	case n.kind == Array:
		return int(n.count)
	case n.kind == Map:
		return int(n.count) / 2
	}
	return 0
}

// Index returns element k of an array, or the zero Value.
func (v Value) Index(k int) Value {
	i := 0
	for e := range v.Elements() {
		if i == k {
			return e
		}
		i++
	}
	return Value{}
}

// Elements yields the elements of an array in order.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		n := v.node()
		if n == nil || n.kind != Array {
			return
		}
		at := v.i + 1
		for range n.count {
			if !yield(Value{v.doc, at}) {
				return
			}
			at = v.doc.nodes[at].next
		}
	}
}

// Pairs yields the keys and values of a map in order.
func (v Value) Pairs() iter.Seq2[Value, Value] {
	return func(yield func(key, val Value) bool) {
		n := v.node()
		if n == nil || n.kind != Map {
			return
		}
		at := v.i + 1
		for range n.count / 2 {
			val := v.doc.nodes[at].next
			if !yield(Value{v.doc, at}, Value{v.doc, val}) {
				return
			}
			at = v.doc.nodes[val].next
		}
	}
}

// Get returns the value under a text key of a map, or the zero Value.
//
// It is a plain loop, not one over Pairs: a certificate is read by some forty
// look-ups.
func (v Value) Get(key string) Value {
	n := v.node()
	if n == nil || n.kind != Map {
		return Value{}
	}
	nodes, at, want := v.doc.nodes, v.i+1, brief(key)
	for range n.count / 2 {
		k := &nodes[at]
		if k.num == want && k.kind == Text && (want != 0 || k.str == key) {
			return Value{v.doc, k.next}
		}
		at = nodes[k.next].next
	}
	return Value{}
}

// GetInt returns the value under an integer key of a map, or the zero Value.
func (v Value) GetInt(key int64) Value {
	n := v.node()
	if n == nil || n.kind != Map {
		return Value{}
	}
	kind, want := Uint, uint64(key)
	if key < 0 {
		kind, want = Negative, uint64(-1-key)
	}
	nodes, at := v.doc.nodes, v.i+1
	for range n.count / 2 {
		k := &nodes[at]
		if k.num == want && k.kind == kind {
			return Value{v.doc, k.next}
		}
		at = nodes[k.next].next
	}
	return Value{}
}

// Encoded returns the bytes of the item as they were received.
func (v Value) Encoded() []byte {
	n := v.node()
	if n == nil {
		return nil
	}
	return []byte(v.doc.source[n.start:n.end])
}

func appendHead(dst []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(dst, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), arg)
}

// AppendInt appends an integer.
func AppendInt(dst []byte, n int64) []byte {
	if n < 0 {
		return appendHead(dst, 1, uint64(-1-n))
	}
	return appendHead(dst, 0, uint64(n))
}

// AppendBytes appends a byte string.
func AppendBytes(dst, b []byte) []byte { return append(appendHead(dst, 2, uint64(len(b))), b...) }

// AppendBytesHead appends the head of a byte string whose n bytes the caller
// appends next.
func AppendBytesHead(dst []byte, n int) []byte { return appendHead(dst, 2, uint64(n)) }

// AppendText appends a text string, which must be UTF-8.
func AppendText(dst []byte, s string) []byte { return append(appendHead(dst, 3, uint64(len(s))), s...) }

// AppendArray appends the head of an array of n elements.
func AppendArray(dst []byte, n int) []byte { return appendHead(dst, 4, uint64(n)) }

// AppendMap appends the head of a map of n pairs.
func AppendMap(dst []byte, n int) []byte { return appendHead(dst, 5, uint64(n)) }

// AppendTag appends a tag number; its content follows.
func AppendTag(dst []byte, n uint64) []byte { return appendHead(dst, 6, n) }

// AppendBool appends a truth value.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 0xf5)
	}
	return append(dst, 0xf4)
}

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, 0xf6) }
