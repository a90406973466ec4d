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

// DigitalLink is a GS1 Digital Link URI (GS1 Digital Link standard, URI syntax).
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
	// Earlier: it is written as earlier versions of the standard had it: with words for
	// AIs in the path (gtin, lot, ser), or a GTIN of 8, 12 or 13 digits.
	Earlier bool
}

// ParseDigitalLink reads a Digital Link URI that is not compressed, at any domain. What
// is compressed is read by [Decompress].
//
// What earlier versions of the standard had is read, and marked. What the element strings
// ask of each other is asked by [Elements.Check].
func ParseDigitalLink(uri string) (DigitalLink, error) {
	d, err := parseLink(uri)
	if err != nil {
		return DigitalLink{}, fmt.Errorf("digital link: %w", err)
	}
	return d, nil
}

// words are what earlier versions of the standard had for AIs. In the query, where they
// stood too, they are nobody's now: exp means something else to most.
var words = map[string]string{
	"sscc": "00", "gtin": "01", "gdti": "253", "gcn": "255", "ginc": "401", "gsin": "402", "gln": "414", "payto": "415", "party": "417",
	"grai": "8003", "giai": "8004", "itip": "8006", "cpid": "8010", "gsrnp": "8017", "gsrn": "8018",
	"cpv": "22", "lot": "10", "ser": "21", "glnx": "254", "cpsn": "8011", "srin": "8019", "refno": "8020",
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
	var pairs Elements // from the last to the first
	for i := len(u.path) - 2; i >= 0 && key < 0 && len(pairs) < maxAIs; i -= 2 {
		code := u.path[i]
		word, earlier := words[code]
		if earlier {
			code = word
		}
		value, bad := unescape(u.path[i+1], false)
		if bad != nil {
			err = fmt.Errorf("(%.8s): %w", code, bad)
		}
		d.Earlier = d.Earlier || earlier || pad(code, value) != value
		pairs = append(pairs, Element{code, value})
		if isPrimary(code) {
			key = i
		}
	}
	switch {
	case key < 0:
		return d, ErrNoKey
	case err != nil:
		return d, err
	}
	slices.Reverse(pairs)
	d.Stem = strings.Join(append([]string{u.origin}, u.path[:key]...), "/")
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
		if pair == "" || pair == "=" {
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
		d.Earlier = d.Earlier || pad(name, value) != value
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
	return string(d.appendQuery([]byte(d.Key.DigitalLinkOn(d.Stem))))
}

func (d DigitalLink) appendQuery(b []byte) []byte {
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
	return b
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

// NewDigitalLink makes the canonical link of element strings. Which of several primary
// keys it is about (on a shipper: of the SSCC and the consignment) is told by its AI;
// empty stands for the only one.
func NewDigitalLink(es Elements, key string) (DigitalLink, error) {
	if key == "" {
		for _, e := range es {
			if isPrimary(e.AI) {
				if key != "" {
					return DigitalLink{}, fmt.Errorf("digital link: of (%s) or of (%s): %w", key, e.AI, ErrNoKey)
				}
				key = e.AI
			}
		}
	}
	def, ok := Lookup(key)
	if !ok || !def.Primary || es.Get(key) == "" {
		return DigitalLink{}, fmt.Errorf("digital link: %w", ErrNoKey)
	}
	qualifiers, attributes := def.divide(es)
	d := DigitalLink{Stem: Canonical}
	var err error
	if d.Key, err = NewKey(key, es.Get(key), qualifiers...); err != nil {
		return DigitalLink{}, fmt.Errorf("digital link: %w", err)
	}
	for _, e := range attributes {
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

// divide parts what stands beside a primary key into qualifiers and attributes. Of the
// sequences of qualifiers it takes the one that leaves out least of what may stand in the
// path alone, and then the one that takes in most.
func (key *AI) divide(es Elements) (qualifiers, attributes Elements) {
	fewest := len(es) + 1
	for _, sequence := range append([][]string{nil}, key.Qualifiers...) {
		var in, out Elements
		stuck := 0
		for _, e := range es {
			ai, ok := Lookup(e.AI)
			switch {
			case e.AI == key.Code:
			case slices.Contains(sequence, e.AI):
				in = append(in, e)
			default:
				out = append(out, e)
				if !ok || !ai.Attribute {
					stuck++
				}
			}
		}
		if stuck < fewest || stuck == fewest && len(in) > len(qualifiers) {
			fewest, qualifiers, attributes = stuck, in, out
		}
	}
	return qualifiers, attributes
}

// What stands unescaped in a path, besides letters and digits: what the hash of EPCIS
// events leaves as it is (CBV 2.0 section 8.9), so that both have one spelling. In a query
// nothing that could end a pair; of what is not ours, what a query may have (RFC 3986).
const (
	keptInPath  = "-._~';="
	keptInQuery = "-._~"
	keptInOther = "-._~:/?@!$'()*,;="
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
