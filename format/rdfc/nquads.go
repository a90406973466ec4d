package rdfc

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads N-Quads (W3C RDF 1.1 N-Quads):
//
//	statement = subject predicate object graphLabel? "."
//
// one on a line, with white space where it is not ambiguous without, and
// comments from "#" to the end of the line. Errors wrap ErrSyntax.
func Parse(text string) ([]Quad, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("N-Quads: not UTF-8: %w", ErrSyntax)
	}
	var quads []Quad
	number := 0
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		number++
		r := reader{rest: line}
		r.space()
		if r.rest == "" || r.rest[0] == '#' {
			continue
		}
		q, ok := r.statement()
		if !ok {
			return nil, fmt.Errorf("N-Quads: line %d that is not empty: %w", number, ErrSyntax)
		}
		quads = append(quads, q)
	}
	return quads, nil
}

// reader reads one line.
type reader struct{ rest string }

func (r *reader) space() { r.rest = strings.TrimLeft(r.rest, " \t") }

// take removes a prefix.
func (r *reader) take(prefix string) bool {
	rest, ok := strings.CutPrefix(r.rest, prefix)
	r.rest = rest
	return ok
}

func (r *reader) statement() (q Quad, ok bool) {
	for _, part := range [...]*Term{&q.Subject, &q.Predicate, &q.Object} {
		if *part, ok = r.term(); !ok {
			return Quad{}, false
		}
		r.space()
	}
	if !strings.HasPrefix(r.rest, ".") {
		if q.Graph, ok = r.term(); !ok {
			return Quad{}, false
		}
		r.space()
	}
	if !r.take(".") {
		return Quad{}, false
	}
	r.space()
	return q, (r.rest == "" || r.rest[0] == '#') && checkQuad(q) == nil
}

func (r *reader) term() (Term, bool) {
	switch {
	case strings.HasPrefix(r.rest, "<"):
		iri, ok := r.iri()
		return Term{Kind: IRI, Value: iri}, ok
	case r.take("_:"):
		label, ok := r.label()
		return Term{Kind: Blank, Value: label}, ok
	case strings.HasPrefix(r.rest, `"`):
		return r.literal()
	}
	return Term{}, false
}

func (r *reader) iri() (string, bool) {
	end := strings.IndexByte(r.rest, '>')
	if !r.take("<") || end < 0 {
		return "", false
	}
	inside := r.rest[:end-1]
	r.rest = r.rest[end:]
	iri, ok := unescape(inside, false)
	return iri, ok && isIRI(iri)
}

// label reads a blank node label. It may hold dots, but not end in one: that
// one ends the statement.
func (r *reader) label() (string, bool) {
	end := strings.IndexFunc(r.rest, func(c rune) bool { return c != '.' && !labelRune(c) })
	if end < 0 {
		end = len(r.rest)
	}
	label := strings.TrimRight(r.rest[:end], ".")
	r.rest = r.rest[len(label):]
	return label, isLabel(label)
}

func (r *reader) literal() (Term, bool) {
	end := 1
	for end < len(r.rest) && r.rest[end] != '"' {
		if r.rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(r.rest) {
		return Term{}, false
	}
	text, ok := unescape(r.rest[1:end], true)
	r.rest = r.rest[end+1:]
	t := Term{Kind: Literal, Value: text}
	switch {
	case !ok:
	case r.take("@"):
		end := strings.IndexFunc(r.rest, func(c rune) bool { return c != '-' && !alphanumeric(c) })
		if end < 0 {
			return Term{}, false
		}
		t.Language, r.rest = r.rest[:end], r.rest[end:]
		ok = isLanguage(t.Language)
	case r.take("^^"):
		t.Datatype, ok = r.iri()
		ok = ok && t.Datatype != langString // which needs a language
		if t.Datatype == xsdString {
			t.Datatype = ""
		}
	}
	return t, ok
}

// unescape resolves UCHAR, and ECHAR where characters may stand for others.
func unescape(s string, echar bool) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	var b strings.Builder
	for len(s) > 0 {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		if s = s[i+1:]; s == "" {
			return "", false
		}
		kind := s[0]
		s = s[1:]
		digits := 0
		switch kind {
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			const from, to = `tbnrf"'\`, "\t\b\n\r\f\"'\\"
			j := strings.IndexByte(from, kind)
			if !echar || j < 0 {
				return "", false
			}
			b.WriteByte(to[j])
			continue
		}
		if len(s) < digits {
			return "", false
		}
		code, err := strconv.ParseUint(s[:digits], 16, 32)
		if err != nil || code > unicode.MaxRune || !utf8.ValidRune(rune(code)) {
			return "", false
		}
		b.WriteRune(rune(code))
		s = s[digits:]
	}
	return b.String(), true
}

// line writes a statement in canonical N-Quads (RDFC-1.0 section A), its blank
// nodes under the labels that name gives.
func (c *canonicalizer) line(q Quad, name func(string) string) string {
	b := make([]byte, 0, 160)
	for _, t := range [...]Term{q.Subject, q.Predicate, q.Object, q.Graph} {
		switch t.Kind {
		case None:
			continue
		case IRI:
			b = append(append(append(b, '<'), t.Value...), '>')
		case Blank:
			b = append(append(b, "_:"...), name(t.Value)...)
		case Literal:
			b = append(appendEscaped(append(b, '"'), t.Value, c.form), '"')
			switch {
			case t.Language != "":
				b = append(append(b, '@'), t.Language...)
			case t.Datatype != "":
				b = append(append(append(b, "^^<"...), t.Datatype...), '>')
			}
		}
		b = append(b, ' ')
	}
	return string(append(b, ".\n"...))
}

func appendEscaped(b []byte, s string, form Form) []byte {
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case form == URDNA2015 || c >= 0x20 && c != 0x7f:
			b = append(b, c)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		default:
			b = fmt.Appendf(b, `\u%04X`, c)
		}
	}
	return b
}

// isIRI reports whether s is absolute, and holds nothing that would end it early
// or need an escape: N-Quads has IRIs without a base only.
func isIRI(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || !letter(rune(scheme[0])) || !utf8.ValidString(s) {
		return false
	}
	for _, c := range scheme {
		if !alphanumeric(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || strings.ContainsRune("<>\"{}|^`\\", c) })
}

// IsIRI reports whether s can be written as the IRI of a term: absolute, without
// blanks and without the characters that N-Quads does not have in one.
func IsIRI(s string) bool { return isIRI(s) }

// IsLabel reports whether s can be the label of a blank node, without "_:".
func IsLabel(s string) bool { return isLabel(s) }

// isLabel follows BLANK_NODE_LABEL.
func isLabel(s string) bool {
	if s == "" || s[0] == '.' || s[0] == '-' || s[len(s)-1] == '.' || !utf8.ValidString(s) {
		return false
	}
	first, _ := utf8.DecodeRuneInString(s)
	if !labelStart(first) {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return c != '.' && !labelRune(c) })
}

// labelStart is PN_CHARS_U or a digit.
func labelStart(c rune) bool {
	switch {
	case c < utf8.RuneSelf:
		return alphanumeric(c) || c == '_' || c == ':'
	case c == 0xd7, c == 0xf7, c == 0x37e, c < 0xc0, c > 0x2ff && c < 0x370:
		return false
	}
	return c < 0x2000 || c == 0x200c || c == 0x200d || c >= 0x2070 && c <= 0x218f || c >= 0x2c00 && c <= 0x2fef ||
		c >= 0x3001 && c <= 0xd7ff || c >= 0xf900 && c <= 0xfdcf || c >= 0xfdf0 && c <= 0xfffd || c >= 0x10000 && c <= 0xeffff
}

// labelRune is PN_CHARS.
func labelRune(c rune) bool {
	return labelStart(c) || c == '-' || c == 0xb7 || c >= 0x300 && c <= 0x36f || c == 0x203f || c == 0x2040
}

// isLanguage follows LANGTAG.
func isLanguage(s string) bool {
	for i, part := range strings.Split(s, "-") {
		if part == "" || strings.ContainsFunc(part, func(c rune) bool { return !letter(c) && (i == 0 || !alphanumeric(c)) }) {
			return false
		}
	}
	return true
}

func letter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func alphanumeric(c rune) bool { return letter(c) || c >= '0' && c <= '9' }
