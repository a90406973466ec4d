package gs1

import (
	"fmt"
	"strings"
)

// Element is one element string: an AI and its value.
type Element struct{ AI, Value string }

// Elements are element strings in their order.
type Elements []Element

// Get returns the value of an AI; empty: it is not there.
func (es Elements) Get(ai string) string {
	for _, e := range es {
		if e.AI == ai {
			return e.Value
		}
	}
	return ""
}

// FNC1 is the separator of element strings as scanners send it; texts write ^ for it,
// which no value has.
const FNC1 = '\x1d'

// The symbology identifiers before what scanners send of symbols that hold element
// strings (ISO/IEC 15424): GS1-128, GS1 DataMatrix, GS1 QR Code, GS1 DataBar and
// composites, GS1 DotCode.
var symbologies = []string{"]C1", "]d2", "]Q3", "]e0", "]J1"}

// ParseElements reads element strings: as scanners send them, with FNC1 or ^ for it,
// or as people read them, with the AIs in round brackets. There "\(" stands for a
// bracket inside a value.
//
// Each value is held against what the table has of its AI. What they ask of each other
// is asked by [Elements.Check].
func ParseElements(s string) (Elements, error) {
	if len(s) > MaxElements {
		return nil, fmt.Errorf("element strings: %d characters: %w", len(s), ErrTooLong)
	}
	for _, id := range symbologies {
		if rest, ok := strings.CutPrefix(s, id); ok {
			s = rest
			break
		}
	}
	split := scanned
	if strings.HasPrefix(s, "(") {
		split = bracketed
	}
	es, err := split(s)
	if err != nil {
		return nil, fmt.Errorf("element strings: %w", err)
	}
	if len(es) == 0 {
		return nil, fmt.Errorf("element strings: %w", ErrEmpty)
	}
	return es, nil
}

func separates(c byte) bool { return c == FNC1 || c == '^' }

// scanned reads what a scanner sends (General Specifications 7.8). One FNC1 before the
// first is part of the symbol; one after an AI of predefined length, or at the end, is
// superfluous, and real printers send it.
func scanned(s string) (es Elements, err error) {
	at := 0
	if s != "" && separates(s[0]) {
		at = 1
	}
	for at < len(s) {
		n := codeLength(s[at:])
		if n == 0 || len(s) < at+n {
			return nil, fmt.Errorf("character %d: %.4q: %w", at+1, s[at:], ErrUnknownAI)
		}
		ai, ok := Lookup(s[at : at+n])
		if !ok {
			return nil, fmt.Errorf("character %d: (%s): %w", at+1, s[at:at+n], ErrUnknownAI)
		}
		at += n
		end := at
		if ai.Predefined {
			end = min(at+ai.longest, len(s))
		} else {
			for end < len(s) && !separates(s[end]) {
				end++
			}
		}
		if es, err = es.add(ai, s[at:end]); err != nil {
			return nil, err
		}
		if at = end; at < len(s) && separates(s[at]) {
			at++
		}
	}
	return es, nil
}

// bracketed reads "(01)09501101530003(10)AB-123".
func bracketed(s string) (es Elements, err error) {
	var value strings.Builder
	for at := 0; at < len(s); {
		// at stands on a bracket.
		code, _, ok := strings.Cut(s[at+1:], ")")
		ai, known := Lookup(code)
		if !ok || !known {
			return nil, fmt.Errorf("character %d: %.6q: %w", at+1, s[at:], ErrUnknownAI)
		}
		at += len(code) + 2
		value.Reset()
		for ; at < len(s) && s[at] != '('; at++ {
			if s[at] == '\\' && at+1 < len(s) && s[at+1] == '(' {
				at++
			}
			value.WriteByte(s[at])
		}
		if es, err = es.add(ai, value.String()); err != nil {
			return nil, err
		}
	}
	return es, nil
}

// add takes one more. The same again is what a composite symbol may say, and is said
// once.
func (es Elements) add(ai *AI, value string) (Elements, error) {
	if err := ai.check(value); err != nil {
		return nil, err
	}
	for _, e := range es {
		if e.AI == ai.Code {
			if e.Value != value {
				return nil, fmt.Errorf("(%s) %s: %w", ai.Code, ai.Title, ErrRepeated)
			}
			return es, nil
		}
	}
	if len(es) == maxAIs {
		return nil, fmt.Errorf("more than %d: %w", maxAIs, ErrTooLong)
	}
	return append(es, Element{ai.Code, value}), nil
}

// Check asks of all element strings on one thing what they ask of each other: which
// AIs must stand with which, and which must not (General Specifications section 4, data
// relationships). The first thing wrong is the error.
func (es Elements) Check() error {
	for _, e := range es {
		ai, ok := Lookup(e.AI)
		if !ok {
			return fmt.Errorf("(%s): %w", e.AI, ErrUnknownAI)
		}
		for _, other := range es {
			if other.AI == e.AI {
				if other.Value != e.Value {
					return fmt.Errorf("(%s) %s: %w", e.AI, ai.Title, ErrRepeated)
				}
				continue
			}
			for _, pattern := range ai.exclusive {
				if matches(pattern, other.AI) {
					return fmt.Errorf("(%s) %s beside (%s): %w", e.AI, ai.Title, other.AI, ErrExclusive)
				}
			}
		}
		if !es.have(ai.required) {
			return fmt.Errorf("(%s) %s: without %s: %w", e.AI, ai.Title, either(ai.required), ErrRequired)
		}
	}
	return nil
}

// have reports whether one of the groups is there whole, or none is asked for.
func (es Elements) have(groups [][]string) bool {
	for _, group := range groups {
		whole := true
		for _, pattern := range group {
			found := false
			for _, e := range es {
				found = found || matches(pattern, e.AI)
			}
			whole = whole && found
		}
		if whole {
			return true
		}
	}
	return len(groups) == 0
}

// matches compares an AI with a pattern, in which n is any digit.
func matches(pattern, ai string) bool {
	if len(pattern) != len(ai) {
		// "31nn" means the AIs of four digits that begin so.
		return false
	}
	for i := range len(pattern) {
		if pattern[i] != 'n' && pattern[i] != ai[i] {
			return false
		}
	}
	return true
}

func either(groups [][]string) string {
	var all []string
	for _, group := range groups {
		all = append(all, "("+strings.Join(group, ")(")+")")
	}
	return strings.Join(all, " or ")
}

// String writes them as people read them, "(01)09501101530003(10)AB-123".
func (es Elements) String() string {
	var b strings.Builder
	for _, e := range es {
		b.WriteString("(" + e.AI + ")" + strings.ReplaceAll(e.Value, "(", `\(`))
	}
	return b.String()
}

// Symbol writes them as a symbol holds them: separator stands for FNC1 before the
// first, and after each value that does not end by its length, but the last.
func (es Elements) Symbol(separator rune) string {
	var b strings.Builder
	b.WriteRune(separator)
	for i, e := range es {
		b.WriteString(e.AI + e.Value)
		if ai, ok := Lookup(e.AI); (!ok || !ai.Predefined) && i+1 < len(es) {
			b.WriteRune(separator)
		}
	}
	return b.String()
}
