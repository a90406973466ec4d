package gs1

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strings"
)

// Compressed Digital Links (GS1 Digital Link: URI compression). The last segment of the
// path is bits in base64url: element strings after each other, each the AI in hexadecimal
// digits of four bits and then its value, component by component:
//
//	digits, of fixed length      the number, in as few bits as its digits may need
//	digits, of variable length   how many, then the number
//	characters                   an encoding of three bits, how many unless that is
//	                             fixed, then the characters
//
// Two hexadecimal digits that begin no AI stand for several AIs that often occur
// together, or, from F0 on, for a pair of the query that is no element string.

// The encodings of characters.
const (
	encDigits = iota // as a number
	encHexLow        // 0-9a-f, four bits each
	encHexUp         // 0-9A-F
	encBase64        // base64url, six bits each
	encASCII         // seven bits each
)

const (
	hexDigits = "0123456789ABCDEF"
	base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// together are the AIs that have one code (table Opt of the standard). Their values
// follow by ascending AI, as in the toolkit of GS1 that resolvers run on.
var together = []struct {
	code uint64
	ais  []string
}{
	{0x0A, []string{"01", "22"}},
	{0x0B, []string{"01", "10"}},
	{0x0C, []string{"01", "21"}},
	{0x0D, []string{"01", "17"}},
	{0x0E, []string{"01", "7003"}},
	{0x0F, []string{"01", "30"}},
	{0x1A, []string{"01", "10", "17", "21"}},
	{0x1B, []string{"01", "15"}},
	{0x1C, []string{"01", "11"}},
	{0x1D, []string{"01", "16"}},
	{0x1E, []string{"01", "91"}},
	{0x1F, []string{"01", "10", "15"}},
	{0x2A, []string{"01", "3100"}},
	{0x2B, []string{"01", "3101"}},
	{0x2C, []string{"01", "3102"}},
	{0x2D, []string{"01", "3103"}},
	{0x2E, []string{"01", "3104"}},
	{0x2F, []string{"01", "3105"}},
	{0x3A, []string{"01", "3200"}},
	{0x3B, []string{"01", "3201"}},
	{0x3C, []string{"01", "3202"}},
	{0x3D, []string{"01", "3203"}},
	{0x3E, []string{"01", "3204"}},
	{0x3F, []string{"01", "3205"}},
	{0x9A, []string{"8010", "8011"}},
	{0x9B, []string{"8017", "8019"}},
	{0x9C, []string{"8018", "8019"}},
	{0x9D, []string{"254", "414"}},
	{0xA0, []string{"01", "3920"}},
	{0xA1, []string{"01", "3921"}},
	{0xA2, []string{"01", "3922"}},
	{0xA3, []string{"01", "3923"}},
	{0xA4, []string{"01", "3924"}},
	{0xA5, []string{"01", "3925"}},
	{0xA6, []string{"01", "3926"}},
	{0xA7, []string{"01", "3927"}},
	{0xA8, []string{"01", "3928"}},
	{0xA9, []string{"01", "3929"}},
	{0xC0, []string{"255", "3900"}},
	{0xC1, []string{"255", "3901"}},
	{0xC2, []string{"255", "3902"}},
	{0xC3, []string{"255", "3903"}},
	{0xC4, []string{"255", "3904"}},
	{0xC5, []string{"255", "3905"}},
	{0xC6, []string{"255", "3906"}},
	{0xC7, []string{"255", "3907"}},
	{0xC8, []string{"255", "3908"}},
	{0xC9, []string{"255", "3909"}},
	{0xCA, []string{"255", "3940"}},
	{0xCB, []string{"255", "3941"}},
	{0xCC, []string{"255", "3942"}},
	{0xCD, []string{"255", "3943"}},
}

// packed is a component as compression sees it.
type packed struct {
	digits bool
	length int  // if variable, at most
	fixed  bool // in length
}

// pack runs components together, as the standard's table F has them: what is of one
// kind and fixed is one component, and one that may be left out is of variable length.
func (ai *AI) pack() (all []packed) {
	for _, p := range ai.parts {
		next := packed{p.set == 'N', p.max, p.min == p.max && !p.optional}
		if n := len(all); n > 0 && all[n-1].digits == next.digits && (all[n-1].fixed == next.fixed || !next.digits && all[n-1].fixed) {
			all[n-1].length += next.length
			all[n-1].fixed = all[n-1].fixed && next.fixed
			continue
		}
		all = append(all, next)
	}
	return all
}

// numberBits is how many bits a number of n digits has, as the toolkit of GS1 counts: the
// hundredth tells for n = 0 and n = 59.
func numberBits(n int) int { return int(math.Ceil(float64(n)*math.Log2(10) + 0.01)) }

// bitWriter collects bits, the most significant first.
type bitWriter struct {
	text []byte // in base64url
	six  uint64 // the bits of the next character
	n    int
}

func (w *bitWriter) put(v uint64, n int) {
	for i := n - 1; i >= 0; i-- {
		w.six = w.six<<1 | v>>i&1
		if w.n++; w.n == 6 {
			w.text = append(w.text, base64url[w.six])
			w.six, w.n = 0, 0
		}
	}
}

// number puts digits as a number.
func (w *bitWriter) number(digits string) {
	var v big.Int
	v.SetString("0"+digits, 10)
	for i := numberBits(len(digits)) - 1; i >= 0; i-- {
		w.put(uint64(v.Bit(i)), 1)
	}
}

// characters puts an encoding, a length of so many bits, and the characters.
func (w *bitWriter) characters(s string, lengthBits int) {
	enc, each, alphabet := encodingOf(s)
	w.put(enc, 3)
	w.put(uint64(len(s)), lengthBits)
	if enc == encDigits {
		w.number(s)
		return
	}
	for i := range len(s) {
		v := uint64(s[i])
		if alphabet != "" {
			v = uint64(strings.IndexByte(alphabet, s[i]))
		}
		w.put(v, each)
	}
}

// encodingOf picks the shortest encoding of characters. Digits that begin with a zero go
// as hexadecimal ones: there are readers that lose the zero of a number.
func encodingOf(s string) (enc uint64, each int, alphabet string) {
	only := func(alphabet string) bool { return s != "" && strings.Trim(s, alphabet) == "" }
	switch {
	case only(hexDigits[:10]) && s[0] != '0':
		return encDigits, 0, ""
	case only(hexDigits):
		return encHexUp, 4, hexDigits
	case only(strings.ToLower(hexDigits)):
		return encHexLow, 4, strings.ToLower(hexDigits)
	case only(base64url):
		return encBase64, 6, base64url
	}
	return encASCII, 7, ""
}

// value puts the value of an element string, which its AI has checked.
func (w *bitWriter) value(e Element) {
	ai, _ := Lookup(e.AI)
	rest := e.Value
	for _, p := range ai.pack() {
		n := min(p.length, len(rest))
		s := rest[:n]
		rest = rest[n:]
		lengthBits := 0
		if !p.fixed {
			lengthBits = bits.Len(uint(p.length))
		}
		if p.digits {
			w.put(uint64(n), lengthBits)
			w.number(s)
		} else {
			w.characters(s, lengthBits)
		}
	}
}

// end fills the last character with zeros.
func (w *bitWriter) end() string {
	for w.n > 0 {
		w.put(0, 1)
	}
	return string(w.text)
}

// Compress writes the link on its own stem with everything compressed that can be. What
// cannot stays where it is: pairs of the query that compression has no form for, and the
// key in the path where an attribute is a primary key too, or the stem ends like one, and
// nothing would tell the two apart.
func (d DigitalLink) Compress() string {
	for _, e := range d.Attributes {
		if isPrimary(e.AI) {
			return d.CompressPartly()
		}
	}
	if segments := strings.Split(d.Stem, "/"); len(segments) > 4 && isPrimary(segments[len(segments)-2]) {
		return d.CompressPartly()
	}
	return d.compress(d.Stem, d.Key.Elements())
}

// CompressPartly leaves the primary key as it is, and compresses the rest. A link of
// nothing but its key is written plain.
func (d DigitalLink) CompressPartly() string {
	key := d.Key
	key.Qualifiers = nil
	return d.compress(key.DigitalLinkOn(d.Stem), d.Key.Qualifiers)
}

func isPrimary(code string) bool {
	ai, ok := Lookup(code)
	return ok && ai.Primary
}

// compress writes the given elements of the path, and the query. A link that nobody has
// checked, and that is none, is written as it is.
func (d DigitalLink) compress(stem string, path Elements) string {
	for _, e := range d.Elements() {
		if ai, ok := Lookup(e.AI); !ok || ai.check(e.Value) != nil {
			return d.String()
		}
	}
	var w bitWriter
	left := slices.Clone(path)
	rest := DigitalLink{Fragment: d.Fragment}
	key, _ := Lookup(d.Key.AI)
	for _, e := range d.Attributes {
		// What could be a qualifier would be one to whoever decompresses it: a lot in the
		// query would make the key another.
		if slices.ContainsFunc(key.Qualifiers, func(sequence []string) bool { return slices.Contains(sequence, e.AI) }) {
			rest.Attributes = append(rest.Attributes, e)
		} else {
			left = append(left, e)
		}
	}
	slices.SortFunc(left, func(a, b Element) int { return strings.Compare(a.AI, b.AI) })
	for {
		// Of the sets that are there, the one that saves most characters of AIs.
		best, saved := -1, 0
		for i, t := range together {
			all, length := true, 0
			for _, ai := range t.ais {
				all = all && left.Get(ai) != ""
				length += len(ai)
			}
			if all && length > saved {
				best, saved = i, length
			}
		}
		if best < 0 {
			break
		}
		w.put(together[best].code, 8)
		for _, ai := range together[best].ais {
			w.value(Element{ai, left.Get(ai)})
			left = slices.DeleteFunc(left, func(e Element) bool { return e.AI == ai })
		}
	}
	for _, e := range left {
		for i := range len(e.AI) {
			w.put(uint64(e.AI[i]-'0'), 4)
		}
		w.value(e)
	}
	for _, p := range d.Other {
		value, err := unescape(p.Value, true)
		if err != nil || p.Name == "" || len(p.Name) > 127 || len(value) > 127 || strings.Trim(p.Name, base64url) != "" || !isASCII(value) {
			rest.Other = append(rest.Other, p)
			continue
		}
		w.put(0xF, 4)
		w.put(uint64(len(p.Name)), 7)
		for i := range len(p.Name) {
			w.put(uint64(strings.IndexByte(base64url, p.Name[i])), 6)
		}
		w.characters(value, 7)
	}
	text := w.end()
	if text == "" {
		return d.String()
	}
	return stem + "/" + text + string(rest.appendQuery(nil))
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0
}

// Decompress reads a Digital Link that is compressed, whole or all but its primary key.
func Decompress(uri string) (DigitalLink, error) {
	d, err := decompress(uri)
	if err != nil {
		return DigitalLink{}, fmt.Errorf("compressed digital link: %w", err)
	}
	return d, nil
}

func decompress(uri string) (DigitalLink, error) {
	var d DigitalLink
	u, err := cut(uri)
	if err != nil {
		return d, err
	}
	last := len(u.path) - 1
	text := u.path[last]
	stem := u.path[:last]
	var es Elements
	key := ""
	if last >= 2 {
		if code := u.path[last-2]; isPrimary(code) {
			value, err := unescape(u.path[last-1], false)
			if err != nil {
				return d, fmt.Errorf("(%s): %w", code, err)
			}
			key, stem = code, u.path[:last-2]
			es = Elements{{key, pad(key, value)}}
			d.Earlier = es[0].Value != value
		}
	}
	if text == "" || strings.Trim(text, base64url) != "" {
		return d, fmt.Errorf("no base64url: %w", ErrCompressed)
	}
	r := bitReader{text: text}
	if es, err = r.elements(es, &d); err != nil {
		return d, err
	}
	plain, err := NewDigitalLink(es, key)
	if err != nil {
		return d, err
	}
	plain.Earlier = d.Earlier
	plain.Stem = strings.Join(append([]string{u.origin}, stem...), "/")
	plain.Other, plain.Fragment = d.Other, u.fragment
	return plain, plain.query(u.query)
}

// bitReader reads bits of a text in base64url. Beyond its end they are zeros, and
// short is set.
type bitReader struct {
	text  string
	at    int // bits
	short bool
}

func (r *bitReader) left() int { return 6*len(r.text) - r.at }

// get reads so many bits, at most 64.
func (r *bitReader) get(n int) (v uint64) {
	if n > r.left() {
		r.short = true
		return 0
	}
	for range n {
		six := strings.IndexByte(base64url, r.text[r.at/6])
		v = v<<1 | uint64(six>>(5-r.at%6)&1)
		r.at++
	}
	return v
}

// number reads a number of so many digits, with the zeros in front.
func (r *bitReader) number(digits int) (string, error) {
	n := numberBits(digits)
	if n > r.left() {
		return "", ErrCompressed
	}
	var v big.Int
	for range n {
		v.Lsh(&v, 1)
		if r.get(1) == 1 {
			v.SetBit(&v, 0, 1)
		}
	}
	s := v.String()
	switch {
	case digits == 0 && v.Sign() == 0:
		return "", nil
	case len(s) > digits:
		return "", fmt.Errorf("a number of more than %d digits: %w", digits, ErrCompressed)
	}
	return strings.Repeat("0", digits-len(s)) + s, nil
}

// characters reads an encoding, a length of so many bits or the given one, and the
// characters.
func (r *bitReader) characters(lengthBits, length int) (string, error) {
	enc := r.get(3)
	if lengthBits > 0 {
		length = int(r.get(lengthBits))
	}
	each, alphabet := 7, ""
	switch enc {
	case encDigits:
		return r.number(length)
	case encHexLow:
		each, alphabet = 4, strings.ToLower(hexDigits)
	case encHexUp:
		each, alphabet = 4, hexDigits
	case encBase64:
		each, alphabet = 6, base64url
	case encASCII:
	default:
		return "", fmt.Errorf("encoding %d: %w", enc, ErrCompressed)
	}
	if each*length > r.left() {
		return "", ErrCompressed
	}
	b := make([]byte, length)
	for i := range b {
		if b[i] = byte(r.get(each)); alphabet != "" {
			b[i] = alphabet[b[i]]
		}
	}
	return string(b), nil
}

func (r *bitReader) value(ai *AI) (string, error) {
	var b strings.Builder
	for _, p := range ai.pack() {
		length, lengthBits := p.length, 0
		if !p.fixed {
			lengthBits = bits.Len(uint(p.length))
		}
		var s string
		var err error
		if p.digits {
			if lengthBits > 0 {
				length = int(r.get(lengthBits))
			}
			s, err = r.number(length)
		} else {
			s, err = r.characters(lengthBits, length)
		}
		if err != nil || r.short {
			return "", fmt.Errorf("(%s) %s: %w", ai.Code, ai.Title, ErrCompressed)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// elements reads all that is there: element strings after those that stand in the
// path, and pairs of the query.
func (r *bitReader) elements(es Elements, d *DigitalLink) (Elements, error) {
	// Fewer bits than a character has, all zero, fill the last one.
	for r.left() >= 6 {
		first := r.get(8)
		if r.short {
			return nil, ErrCompressed
		}
		var ais []string
		switch hi, lo := first>>4, first&0xF; {
		case hi <= 9 && lo <= 9:
			code := []byte{'0' + byte(hi), '0' + byte(lo)}
			for n := codeLength(string(code)); len(code) < n; {
				code = append(code, '0'+byte(r.get(4)))
			}
			ais = []string{string(code)}
		case hi == 0xF:
			length := int(lo<<3 | r.get(3))
			if 6*length > r.left() || len(d.Other) == maxAIs {
				return nil, ErrCompressed
			}
			name := make([]byte, length)
			for i := range name {
				name[i] = base64url[r.get(6)]
			}
			value, err := r.characters(7, 0)
			// A name of digits would be an AI to whoever reads the link.
			if err != nil || r.short || allDigits(string(name)) {
				return nil, fmt.Errorf("a pair of the query: %w", ErrCompressed)
			}
			d.Other = append(d.Other, Parameter{string(name), string(escape(nil, value, keptInOther))})
			continue
		default:
			i := slices.IndexFunc(together, func(t struct {
				code uint64
				ais  []string
			}) bool {
				return t.code == first
			})
			if i < 0 {
				return nil, fmt.Errorf("code %02X: %w", first, ErrCompressed)
			}
			ais = together[i].ais
		}
		for _, code := range ais {
			ai, ok := Lookup(code)
			if !ok {
				return nil, fmt.Errorf("(%.4q): %w", code, ErrUnknownAI)
			}
			value, err := r.value(ai)
			if err != nil {
				return nil, err
			}
			if es.Get(code) != "" {
				return nil, fmt.Errorf("(%s) %s: %w", ai.Code, ai.Title, ErrRepeated)
			}
			if es, err = es.add(ai, value); err != nil {
				return nil, err
			}
		}
	}
	if r.get(r.left()) != 0 {
		return nil, fmt.Errorf("bits after the end: %w", ErrCompressed)
	}
	return es, nil
}
