package gs1

import (
	"fmt"
	"slices"
	"strings"
)

// GTIN is a Global Trade Item Number in fourteen digits, its check digit right.
type GTIN string

// ParseGTIN reads a GTIN of 8, 12, 13 or 14 digits.
func ParseGTIN(s string) (GTIN, error) {
	k, err := NewKey("01", s)
	return GTIN(k.Value), err
}

// SSCC is a Serial Shipping Container Code, 18 digits.
type SSCC string

// ParseSSCC reads an SSCC.
func ParseSSCC(s string) (SSCC, error) {
	k, err := NewKey("00", s)
	return SSCC(k.Value), err
}

// GLN is a Global Location Number, 13 digits.
type GLN string

// ParseGLN reads a GLN.
func ParseGLN(s string) (GLN, error) {
	k, err := NewKey("414", s)
	return GLN(k.Value), err
}

// GTINSystem is the code system of products that are named by their GTIN of 14 digits.
const GTINSystem = "https://id.gs1.org/01"

// Key is what identifies: a primary key, and the key qualifiers that make it narrower.
// A GTIN with a serial number is one item (SGTIN), with a lot all of a lot (LGTIN).
type Key struct {
	AI         string
	Value      string
	Qualifiers Elements // in the order of the standard
}

// NewKey makes a key of a primary key's AI, its value and its qualifiers, which may
// come in any order. A GTIN may be given in 8, 12 or 13 digits.
func NewKey(ai, value string, qualifiers ...Element) (Key, error) {
	def, ok := Lookup(ai)
	if !ok || !def.Primary {
		return Key{}, fmt.Errorf("key: (%s): %w", ai, ErrNoKey)
	}
	value = pad(ai, value)
	if err := def.check(value); err != nil {
		return Key{}, fmt.Errorf("key: %w", err)
	}
	k := Key{AI: ai, Value: value}
	for _, sequence := range append([][]string{nil}, def.Qualifiers...) {
		if ordered, ok := order(qualifiers, sequence); ok {
			k.Qualifiers = ordered
			for _, q := range ordered {
				def, _ := Lookup(q.AI)
				if err := def.check(q.Value); err != nil {
					return Key{}, fmt.Errorf("key: %w", err)
				}
			}
			return k, nil
		}
	}
	names := ""
	for _, q := range qualifiers {
		names += fmt.Sprintf("(%.8s)", q.AI)
	}
	return Key{}, fmt.Errorf("key: (%s) with %.60s: %w", ai, names, ErrQualifier)
}

// order sorts qualifiers as a sequence has them, and fails where one is not in it or
// is there twice.
func order(qualifiers []Element, sequence []string) (Elements, bool) {
	var es Elements
	for _, ai := range sequence {
		for _, q := range qualifiers {
			if q.AI == ai {
				es = append(es, q)
			}
		}
	}
	for i := range es[:max(len(es), 1)-1] {
		if es[i].AI == es[i+1].AI {
			return nil, false
		}
	}
	return es, len(es) == len(qualifiers)
}

// pad brings a GTIN-8, GTIN-12 or GTIN-13 to fourteen digits, and leaves everything else
// as it is.
func pad(ai, value string) string {
	if ai == "01" && (len(value) == 8 || len(value) == 12 || len(value) == 13) {
		return strings.Repeat("0", 14-len(value)) + value
	}
	return value
}

// Elements returns the key and its qualifiers as element strings.
func (k Key) Elements() Elements {
	return append(Elements{{k.AI, k.Value}}, k.Qualifiers...)
}

// Equal reports whether both name the same.
func (k Key) Equal(other Key) bool {
	return k.AI == other.AI && k.Value == other.Value && slices.Equal(k.Qualifiers, other.Qualifiers)
}

// String writes the key as people read it, "(01)09501101530003(10)AB-123".
func (k Key) String() string { return k.Elements().String() }

// GTIN returns the GTIN of a trade item, a lot of it, or a piece of one; empty where the
// key is of something else.
func (k Key) GTIN() GTIN {
	if (k.AI == "01" || k.AI == "8006") && len(k.Value) >= 14 {
		return GTIN(k.Value[:14])
	}
	return ""
}

// Finest keeps of the qualifiers only what says most closely which thing it is: of a
// serial and a lot the serial, and never a variant. It is what the hash of an EPCIS event has of a
// key, however it was written (CBV 2.0 section 8.9, constrained canonical form).
func (k Key) Finest() Key {
	var finest Elements
	for _, ai := range []string{"21", "235", "10", "254", "8011", "8019", "8020"} {
		if v := k.Qualifiers.Get(ai); v != "" {
			finest = Elements{{ai, v}}
			break
		}
	}
	k.Qualifiers = finest
	return k
}

// DigitalLink writes the canonical Digital Link of the key, at id.gs1.org.
func (k Key) DigitalLink() string { return k.DigitalLinkOn(Canonical) }

// DigitalLinkOn writes the Digital Link of the key below a stem, which is a scheme, a domain
// and a path without a slash at the end: "https://example.org/vaccines".
func (k Key) DigitalLinkOn(stem string) string {
	b := []byte(stem)
	for _, e := range k.Elements() {
		b = append(b, '/')
		b = append(b, e.AI...)
		b = append(b, '/')
		b = escape(b, e.Value, keptInPath)
	}
	return string(b)
}
