package gs1

import (
	"fmt"
	"slices"
	"strings"
)

// Canonical is the stem of canonical Digital Links.
const Canonical = "https://id.gs1.org"

// Parameter is a pair of a query that is no element string, such as linkType=gs1:pip,
// as it stood in the URI.
type Parameter struct{ Name, Value string }

// DigitalLink is a GS1 Digital Link URI (GS1 Digital Link: URI Syntax 1.6).
//
//	https://example.org/some/path /01/09501101530003 /10/AB-123/21/0007 ?17=290331&linkType=gs1:pip
//	|------------ stem ----------|------ key -------|--- qualifiers ---|-attribute-|--- other ---|
type DigitalLink struct {
	Stem string // without a slash at the end
	Key  Key
	// Attributes are the element strings of the query, in its order.
	Attributes Elements
	Other      []Parameter
	Fragment   string // as it stood, without the number sign
}

// ParseDigitalLink reads a Digital Link URI that is not compressed, at any domain. What
// is compressed is read by [Decompress].
//
// A GTIN may have 8, 12 or 13 digits, as earlier versions of the standard had it; the
// words that those had for numbers (gtin, lot, ser) are gone from it and are refused.
// What the element strings ask of each other is asked by [Elements.Check].
func ParseDigitalLink(uri string) (DigitalLink, error) {
	d, err := parseLink(uri)
	if err != nil {
		return DigitalLink{}, fmt.Errorf("digital link: %w", err)
	}
	return d, nil
}

// uriParts are the parts of a URI of http or https.
type uriParts struct {
	origin   string   // scheme and authority
	path     []string // segments, escaped
	query    string
	fragment string
}

// cut takes a URI apart, and refuses what is none.
func cut(uri string) (uriParts, error) {
	var u uriParts
	if len(uri) > MaxURI {
		return u, fmt.Errorf("%d characters: %w", len(uri), ErrTooLong)
	}
	for i := range len(uri) {
		// RFC 3986 has these escaped, wherever they stand.
		if c := uri[i]; c <= ' ' || c > '~' || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return u, fmt.Errorf("character %d: %w", i+1, ErrURI)
		}
	}
	head, rest, ok := strings.Cut(uri, "://")
	if s := strings.ToLower(head); !ok || s != "http" && s != "https" {
		return u, fmt.Errorf("no scheme of the web: %w", ErrURI)
	}
	rest, u.fragment, _ = strings.Cut(rest, "#")
	rest, u.query, _ = strings.Cut(rest, "?")
	host, path, ok := strings.Cut(rest, "/")
	if !ok {
		return u, ErrNoKey
	}
	if !isAuthority(host) {
		return u, fmt.Errorf("domain: %w", ErrURI)
	}
	u.origin, u.path = strings.ToLower(head)+"://"+host, strings.Split(path, "/")
	return u, nil
}

// isAuthority reports whether s is a domain or an IPv4 address, with or without a port.
func isAuthority(s string) bool {
	name, port, ok := strings.Cut(s, ":")
	if ok && (port == "" || len(port) > 5 || !allDigits(port)) {
		return false
	}
	for i := range len(name) {
		if !kept(name[i], "-.") {
			return false
		}
	}
	return name != "" && strings.Trim(name, ".") != ""
}

func parseLink(uri string) (DigitalLink, error) {
	var d DigitalLink
	u, err := cut(uri)
	if err != nil {
		return d, err
	}
	// The key is the last primary key that stands in its place, an even number of
	// segments from the end: what is before belongs to the stem.
	key := -1
	for i := len(u.path) - 2; i >= 0 && key < 0; i -= 2 {
		if ai, ok := Lookup(u.path[i]); ok && ai.Primary {
			key = i
		}
	}
	if key < 0 {
		return d, ErrNoKey
	}
	d.Stem = strings.Join(append([]string{u.origin}, u.path[:key]...), "/")
	var pairs Elements
	for i := key; i < len(u.path); i += 2 {
		value, err := unescape(u.path[i+1], false)
		if err != nil {
			return d, fmt.Errorf("(%.4s): %w", u.path[i], err)
		}
		pairs = append(pairs, Element{u.path[i], value})
	}
	if d.Key, err = NewKey(pairs[0].AI, pairs[0].Value, pairs[1:]...); err != nil {
		return d, err
	}
	for i, q := range d.Key.Qualifiers {
		if pairs[1+i].AI != q.AI {
			return d, fmt.Errorf("(%s) out of its order: %w", pairs[1+i].AI, ErrQualifier)
		}
	}
	d.Fragment = u.fragment
	return d, d.query(u.query)
}

// query takes the pairs of a query. A name of digits alone is an AI; everything else is
// of somebody else, and passed on.
func (d *DigitalLink) query(query string) error {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !allDigits(name) || name == "" {
			if len(d.Other) == maxAIs {
				return fmt.Errorf("more than %d parameters: %w", maxAIs, ErrTooLong)
			}
			if !ok {
				name, value = pair, ""
			}
			d.Other = append(d.Other, Parameter{name, value})
			continue
		}
		ai, known := Lookup(name)
		if !known {
			return fmt.Errorf("(%.8s): %w", name, ErrUnknownAI)
		}
		if !ai.Attribute {
			return fmt.Errorf("(%s) %s in the query: %w", ai.Code, ai.Title, ErrAttribute)
		}
		value, err := unescape(value, true)
		if err != nil {
			return fmt.Errorf("(%s) %s: %w", ai.Code, ai.Title, err)
		}
		if d.Key.AI == name || d.Key.Qualifiers.Get(name) != "" || d.Attributes.Get(name) != "" {
			return fmt.Errorf("(%s) %s: %w", ai.Code, ai.Title, ErrRepeated)
		}
		if d.Attributes, err = d.Attributes.add(ai, pad(name, value)); err != nil {
			return err
		}
	}
	return nil
}

// Elements returns all element strings of the link: those of the key, then the
// attributes.
func (d DigitalLink) Elements() Elements { return append(d.Key.Elements(), d.Attributes...) }

// String writes the link, on its own stem, with all that it has.
func (d DigitalLink) String() string {
	b := []byte(d.Key.DigitalLinkOn(d.Stem))
	sep := byte('?')
	add := func(name string) {
		b = append(append(b, sep), name...)
		sep = '&'
	}
	for _, e := range d.Attributes {
		add(e.AI)
		b = escape(append(b, '='), e.Value, keptInQuery)
	}
	for _, p := range d.Other {
		add(p.Name)
		if p.Value != "" {
			b = append(append(b, '='), p.Value...)
		}
	}
	if d.Fragment != "" {
		b = append(append(b, '#'), d.Fragment...)
	}
	return string(b)
}

// On returns the link below another stem.
func (d DigitalLink) On(stem string) DigitalLink {
	d.Stem = strings.TrimSuffix(stem, "/")
	return d
}

// Canonical writes the canonical form: at id.gs1.org, the attributes in the order of
// their AIs, and nothing of anybody else (URI Syntax, canonical GS1 Digital Link URIs).
func (d DigitalLink) Canonical() string {
	d.Stem, d.Other, d.Fragment = Canonical, nil, ""
	d.Attributes = slices.Clone(d.Attributes)
	slices.SortStableFunc(d.Attributes, func(a, b Element) int { return strings.Compare(a.AI, b.AI) })
	return d.String()
}

// NewDigitalLink makes the canonical link of element strings, which hold one primary
// key. Which of several (an SSCC and the GTIN of what is inside) is asked with the AI of the
// key; empty: the only one.
func NewDigitalLink(es Elements, key string) (DigitalLink, error) {
	for _, e := range es {
		if ai, ok := Lookup(e.AI); ok && ai.Primary && key == "" {
			key = e.AI
		} else if ok && ai.Primary && key != e.AI && !ai.Attribute {
			return DigitalLink{}, fmt.Errorf("digital link: (%s) and (%s): %w", key, e.AI, ErrNoKey)
		}
	}
	def, ok := Lookup(key)
	if !ok || !def.Primary || es.Get(key) == "" {
		return DigitalLink{}, fmt.Errorf("digital link: %w", ErrNoKey)
	}
	d := DigitalLink{Stem: Canonical}
	best := -1
	var qualifiers Elements
	// Of the sequences of qualifiers the one that takes in most.
	for _, sequence := range append([][]string{nil}, def.Qualifiers...) {
		var these Elements
		for _, ai := range sequence {
			if v := es.Get(ai); v != "" {
				these = append(these, Element{ai, v})
			}
		}
		if len(these) > best {
			best, qualifiers = len(these), these
		}
	}
	var err error
	if d.Key, err = NewKey(key, es.Get(key), qualifiers...); err != nil {
		return DigitalLink{}, fmt.Errorf("digital link: %w", err)
	}
	for _, e := range es {
		if e.AI == key || d.Key.Qualifiers.Get(e.AI) != "" {
			continue
		}
		ai, ok := Lookup(e.AI)
		switch {
		case !ok:
			return DigitalLink{}, fmt.Errorf("digital link: (%s): %w", e.AI, ErrUnknownAI)
		case !ai.Attribute:
			return DigitalLink{}, fmt.Errorf("digital link: (%s) %s: %w", ai.Code, ai.Title, ErrAttribute)
		}
		if d.Attributes, err = d.Attributes.add(ai, e.Value); err != nil {
			return DigitalLink{}, fmt.Errorf("digital link: %w", err)
		}
	}
	return d, nil
}

// What stands unescaped in a path, besides letters and digits: what the hash of EPCIS
// events leaves as it is (CBV 2.0 section 8.9), so that both have one spelling. In a query
// nothing that could end a pair.
const (
	keptInPath  = "-._~';="
	keptInQuery = "-._~"
)

func kept(c byte, others string) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte(others, c) >= 0
}

// escape appends s with percent signs for what is not kept.
func escape(b []byte, s, others string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; kept(c, others) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// unescape reads an escaped value. A plus sign in a query is a space to programs that
// read forms, which no value has, so it is refused rather than taken for either.
func unescape(s string, query bool) (string, error) {
	if strings.IndexByte(s, '%') < 0 && !(query && strings.IndexByte(s, '+') >= 0) {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+' && query:
			return "", fmt.Errorf("a plus sign: %w", ErrCharacter)
		case c == '%':
			escaped, ok := unhex(s[i:])
			if !ok {
				return "", fmt.Errorf("a percent sign: %w", ErrCharacter)
			}
			c = escaped
			i += 2
		}
		b = append(b, c)
	}
	return string(b), nil
}

// unhex reads the escape that s begins with.
func unhex(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	digit := func(c byte) int { return strings.IndexByte("0123456789abcdef", c|0x20) }
	hi, lo := digit(s[1]), digit(s[2])
	if hi < 0 || lo < 0 || s[1] < '0' || s[2] < '0' {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}
