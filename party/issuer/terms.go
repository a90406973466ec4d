package issuer

import (
	"slices"
	"strings"

	"ampoule/cert"
	"ampoule/format"
)

// Term is something that records are found by. Its text is personal.
type Term struct {
	Kind TermKind
	Text string
}

// TermKind says what a term is made of.
type TermKind string

// The kinds of term.
const (
	TermPerson      TermKind = "person"      // name and birth date
	TermDocument    TermKind = "document"    // number of the identity document
	TermCertificate TermKind = "certificate" // the certificate's identifier, such as a UVCI
	TermDose        TermKind = "dose"        // a person, by either of the first two, and an event
)

// Query is what to search for: a person by name and birth date, a document or a
// certificate. Records that fit any of them are found.
type Query struct {
	Name        cert.Name
	BirthDate   cert.Date
	Document    string
	Certificate string
}

// terms returns the terms of a query: the same that a record with such content has.
func (q Query) terms() []Term {
	var out []Term
	if name := nameKey(q.Name); name != "" && q.BirthDate != "" {
		out = append(out, Term{TermPerson, name + "|" + string(q.BirthDate)})
	}
	if number := plainKey(q.Document); number != "" {
		out = append(out, Term{TermDocument, number})
	}
	if q.Certificate != "" {
		out = append(out, Term{TermCertificate, strings.ToUpper(q.Certificate)})
	}
	return out
}

// termsOf returns all that a record is found by.
func termsOf(r *cert.Certificate) []Term {
	out := Query{r.Person.Name, r.Person.BirthDate, r.Person.Document.Number, r.ID}.terms()
	return append(out, doses(r)...)
}

// doses returns the terms under which a second certificate of the same event
// shows: the same person had the same product of the same lot on the same day,
// the same test at the same moment, or the same recovery.
func doses(r *cert.Certificate) (out []Term) {
	event := ""
	switch {
	case r.Vaccination != nil:
		v := r.Vaccination
		product := v.Product.Code
		if product == "" {
			product = v.Vaccine.Code
		}
		event = strings.Join([]string{"vaccination", product, plainKey(v.Lot), string(v.Date)}, "|")
	case r.Test != nil:
		event = strings.Join([]string{"test", r.Test.Type.Code, r.Test.Sampled}, "|")
	case r.Recovery != nil:
		event = strings.Join([]string{"recovery", r.Recovery.Disease.Code, string(r.Recovery.FirstPositive)}, "|")
	default:
		return nil
	}
	for _, t := range (Query{Name: r.Person.Name, BirthDate: r.Person.BirthDate, Document: r.Person.Document.Number}).terms() {
		out = append(out, Term{TermDose, string(t.Kind) + "|" + t.Text + "|" + event})
	}
	return out
}

// nameKey makes one text of the spellings of a name: transliterated after ICAO
// Doc 9303, its words in alphabetical order, so that "Ada Spécimen" and
// "SPECIMEN, Ada" are one. What has no transliteration stays as it is.
func nameKey(n cert.Name) string {
	family, given := n.Family, n.Given
	if family == "" {
		family = n.FamilyMRZ
	}
	if given == "" {
		given = n.GivenMRZ
	}
	text := strings.TrimSpace(family + " " + given)
	if text == "" {
		if text = n.Full; text == "" {
			text = n.FullMRZ
		}
	}
	if mrz, unmapped := cert.Transliterate(text); len(unmapped) == 0 {
		text = mrz
	} else {
		text = strings.ToUpper(format.NFC(text))
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("< ,.-'\t", r) })
	slices.Sort(words)
	return strings.Join(words, "<")
}

// plainKey is a number as people copy it, without what they put between.
func plainKey(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if strings.ContainsRune(" -/.,_", r) {
			return -1
		}
		return r
	}, format.NFC(s))
}
