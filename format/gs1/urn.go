package gs1

import (
	"fmt"
	"slices"
	"strings"
)

// URN is an EPC URN, as it was read (EPC Tag Data Standard section 6.3).
type URN struct {
	Key Key
	// Prefix is the length of the company prefix, in digits.
	Prefix int
	// Class: it names a class of things and not one of them: a lot
	// (urn:epc:class:lgtin) or a pattern without a serial (urn:epc:idpat:…).
	Class bool
	// Loose: characters stand as they are that the standard has escaped. What they mean
	// is plain, and repositories do write them so.
	Loose bool
}

// scheme says how the fields of an EPC URN make a key.
type scheme struct {
	name string
	ai   string
	// digits is the length of prefix and reference together; zero: the rest of the
	// value is the reference, and of any length.
	digits int
	// indicator: the first digit of the reference goes before the prefix.
	indicator bool
	lead      string // digits before the prefix in the value
	check     bool   // a check digit follows prefix and reference
	more      []int  // lengths of fields that follow in the value, such as piece and total
	serial    string // the AI of the last field; "+" means that it ends the value
	id        bool   // it occurs as a pure identity
	pattern   bool   // it occurs as a pattern for the class
}

// The schemes of GS1 keys. Others (gid, usdod, adi, bic, imovn) are no keys of GS1 and have
// no Digital Link.
var schemes = []scheme{
	{name: "sgtin", ai: "01", digits: 13, indicator: true, check: true, serial: "21", id: true, pattern: true},
	{name: "lgtin", ai: "01", digits: 13, indicator: true, check: true, serial: "10"},
	{name: "upui", ai: "01", digits: 13, indicator: true, check: true, serial: "235", id: true, pattern: true},
	{name: "sscc", ai: "00", digits: 17, indicator: true, check: true, id: true},
	{name: "sgln", ai: "414", digits: 12, check: true, serial: "254", id: true},
	{name: "pgln", ai: "417", digits: 12, check: true, id: true},
	{name: "grai", ai: "8003", digits: 12, lead: "0", check: true, serial: "+", id: true, pattern: true},
	{name: "giai", ai: "8004", id: true},
	{name: "gsrn", ai: "8018", digits: 17, check: true, id: true},
	{name: "gsrnp", ai: "8017", digits: 17, check: true, id: true},
	{name: "gdti", ai: "253", digits: 12, check: true, serial: "+", id: true, pattern: true},
	{name: "sgcn", ai: "255", digits: 12, check: true, serial: "+", id: true, pattern: true},
	{name: "cpi", ai: "8010", serial: "8011", id: true, pattern: true},
	{name: "ginc", ai: "401", id: true},
	{name: "gsin", ai: "402", digits: 16, check: true, id: true},
	{name: "itip", ai: "8006", digits: 13, indicator: true, check: true, more: []int{2, 2}, serial: "21", id: true, pattern: true},
}

// The parts of EPC URNs.
const (
	pureIdentity = "urn:epc:id:"
	classOf      = "urn:epc:class:"
	patternOf    = "urn:epc:idpat:"
)

// ParseURN reads an EPC URN that names a key of GS1, or a class of them.
func ParseURN(s string) (URN, error) {
	if len(s) > MaxURI {
		return URN{}, fmt.Errorf("EPC URN: %d characters: %w", len(s), ErrTooLong)
	}
	u, err := parseURN(s)
	if err != nil {
		return URN{}, fmt.Errorf("EPC URN: %w", err)
	}
	return u, nil
}

func parseURN(s string) (URN, error) {
	var rest string
	var u URN
	pattern := false
	switch {
	case strings.HasPrefix(s, pureIdentity):
		rest = s[len(pureIdentity):]
	case strings.HasPrefix(s, classOf):
		rest, u.Class = s[len(classOf):], true
	case strings.HasPrefix(s, patternOf):
		rest, u.Class, pattern = s[len(patternOf):], true, true
	default:
		return u, ErrURN
	}
	name, rest, ok := strings.Cut(rest, ":")
	i := slices.IndexFunc(schemes, func(sc scheme) bool { return sc.name == name })
	if !ok || i < 0 {
		return u, fmt.Errorf("%.20q: %w", name, ErrScheme)
	}
	sc := schemes[i]
	switch {
	case !u.Class && !sc.id, pattern && !sc.pattern, u.Class && !pattern && sc.id:
		return u, fmt.Errorf("%s is of another kind: %w", name, ErrScheme)
	}

	// The fields: prefix, reference, those of fixed length, serial. Only the last may
	// have a point inside.
	fields := 2 + len(sc.more)
	if sc.serial != "" {
		fields++
	}
	part := strings.SplitN(rest, ".", fields)
	if len(part) != fields {
		return u, fmt.Errorf("%d fields of %d: %w", len(part), fields, ErrURN)
	}
	last := ""
	if sc.serial != "" {
		last = part[fields-1]
		if pattern != (last == "*") {
			return u, fmt.Errorf("the last field of a pattern, and no other, is *: %w", ErrURN)
		}
	}
	prefix, reference := part[0], part[1]
	u.Prefix = len(prefix)
	if !allDigits(prefix) || len(prefix) < 6 || len(prefix) > 12 {
		return u, fmt.Errorf("company prefix: %w", ErrPrefix)
	}
	var err error
	value := sc.lead
	if sc.digits > 0 {
		if !allDigits(reference) || len(prefix)+len(reference) != sc.digits {
			return u, fmt.Errorf("company prefix and reference, %d digits of %d: %w", len(prefix)+len(reference), sc.digits, ErrLength)
		}
		if sc.indicator {
			value += reference[:1] + prefix + reference[1:]
		} else {
			value += prefix + reference
		}
		if sc.check {
			value += string(checkDigit(value))
		}
	} else {
		if reference == "" {
			return u, fmt.Errorf("no reference: %w", ErrLength)
		}
		if reference, err = u.unescape(reference); err != nil {
			return u, err
		}
		value += prefix + reference
	}
	for i, n := range sc.more {
		if len(part[2+i]) != n || !allDigits(part[2+i]) {
			return u, fmt.Errorf("field %d: %w", 3+i, ErrLength)
		}
		value += part[2+i]
	}
	if last, err = u.unescape(last); err != nil {
		return u, err
	}
	var qualifiers Elements
	switch {
	case sc.serial == "", pattern, name == "sgln" && last == "0": // which says that there is no extension
	case last == "":
		return u, fmt.Errorf("no serial: %w", ErrLength)
	case sc.serial == "+":
		value += last
	default:
		qualifiers = Elements{{sc.serial, last}}
	}
	u.Key, err = NewKey(sc.ai, value, qualifiers...)
	return u, err
}

// keptInURN are the characters that EPC URNs have as they are, besides letters and digits
// (section 6.3, OtherChar).
const keptInURN = "!'()*+,-.:;=_"

// unescape reads a field. A percent sign that begins no escape stands for itself, as
// do the other characters that should have been escaped.
func (u *URN) unescape(s string) (string, error) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if escaped, ok := unhex(s[i:]); ok {
				b = append(b, escaped)
				i += 2
				continue
			}
		}
		if !kept(c, keptInURN) {
			u.Loose = true
		}
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("character %q: %w", rune(c), ErrCharacter)
		}
		b = append(b, c)
	}
	return string(b), nil
}

// URN writes the EPC URN of the key, whose company prefix has so many digits: a pure
// identity where the key names one thing, or else the class or the pattern of its
// class. Qualifiers that an EPC URN cannot say are an error: see [Key.Finest].
func (k Key) URN(prefix int) (string, error) {
	s, err := k.urn(prefix)
	if err != nil {
		return "", fmt.Errorf("EPC URN of (%s): %w", k.AI, err)
	}
	return s, nil
}

func (k Key) urn(prefix int) (string, error) {
	if prefix < 6 || prefix > 12 {
		return "", fmt.Errorf("a company prefix of %d digits: %w", prefix, ErrPrefix)
	}
	if len(k.Qualifiers) > 1 {
		return "", fmt.Errorf("%d qualifiers: %w", len(k.Qualifiers), ErrNoURN)
	}
	qualifier := ""
	if len(k.Qualifiers) == 1 {
		qualifier = k.Qualifiers[0].AI
	}
	i := slices.IndexFunc(schemes, func(sc scheme) bool {
		return sc.ai == k.AI && (qualifier == "" || qualifier == sc.serial)
	})
	if i < 0 {
		return "", fmt.Errorf("(%s)%s: %w", k.AI, qualifier, ErrNoURN)
	}
	sc := schemes[i]
	value, ok := strings.CutPrefix(k.Value, sc.lead)
	if !ok {
		return "", ErrValue
	}
	var reference string
	if sc.digits == 0 {
		if len(value) <= prefix || !allDigits(value[:prefix]) {
			return "", fmt.Errorf("a company prefix of %d digits: %w", prefix, ErrPrefix)
		}
		reference, value = value[prefix:], value[:prefix]
	} else {
		whole := sc.digits
		if sc.check {
			whole++
		}
		if len(value) < whole {
			return "", ErrLength
		}
		body, rest := value[:sc.digits], value[whole:]
		if sc.indicator {
			if prefix+1 > sc.digits {
				return "", ErrPrefix
			}
			reference, value = body[:1]+body[1+prefix:], body[1:1+prefix]
		} else {
			reference, value = body[prefix:], body[:prefix]
		}
		b := []byte(value + "." + reference)
		for _, n := range sc.more {
			if len(rest) < n {
				return "", ErrLength
			}
			b = append(append(b, '.'), rest[:n]...)
			rest = rest[n:]
		}
		return sc.write(b, k, qualifier, rest)
	}
	return sc.write(escape([]byte(value+"."), reference, keptInURN), k, qualifier, "")
}

// write ends an EPC URN: what stands before it, and the last field, which is the
// qualifier or what is left of the value.
func (sc scheme) write(fields []byte, k Key, qualifier, rest string) (string, error) {
	last := rest
	if qualifier != "" {
		last = k.Qualifiers[0].Value
	}
	kind := pureIdentity
	switch {
	case sc.serial == "":
		return kind + sc.name + ":" + string(fields), nil
	case sc.name == "lgtin":
		kind = classOf
	case sc.name == "sgln" && last == "":
		last = "0"
	case sc.name == "sgln" && last == "0":
		return "", fmt.Errorf("extension 0: %w", ErrNoURN)
	case last == "":
		return patternOf + sc.name + ":" + string(fields) + ".*", nil
	}
	if last == "*" {
		// Of an EPC URN a serial that is one star is a pattern to its readers.
		return "", fmt.Errorf("a serial of one star: %w", ErrNoURN)
	}
	return kind + sc.name + ":" + string(escape(append(fields, '.'), last, keptInURN)), nil
}

// Prefixes tells how long company prefixes are, by how they begin: as in the list that
// GS1 publishes for it (GCP Prefix Format List).
type Prefixes map[string]int

// Length returns the length of the company prefix of a key, by the longest beginning
// that is listed; false: none is.
func (p Prefixes) Length(k Key) (int, bool) {
	digits := k.Value
	switch k.AI {
	case "00", "01", "8006", "8003": // a digit stands before the prefix
		digits = digits[min(1, len(digits)):]
	}
	for n := min(len(digits), 12); n > 0; n-- {
		if length, ok := p[digits[:n]]; ok {
			return length, length > 0
		}
	}
	return 0, false
}
