// Package ddcc reads and writes the WHO's Digital Documentation of COVID-19 Certificates:
// vaccination status (HCERT subclaim 3) and test result (subclaim 4), after the
// core data sets DDCCCoreDataSetVS and DDCCCoreDataSetTR.
//
//	{ name, ? birthDate, ? sex, ? identifier, ? certificate {…},
//	  vaccination {…} | test {…} }
//
// Published samples differ from the logical model and from each other: groups
// stand nested or flat, codings are objects or plain text, and elements that
// the model requires are missing. So only what makes the certificate one is
// required of what is read, and the rest is remarked on; [Encode] asks for all
// that the model does.
package ddcc

import (
	"ampoule/format"
	"ampoule/format/cbor"
)

// Coding is a concept of a code system. A code that stood as plain text has no
// system.
type Coding struct{ Code, System, Display string }

// Certificate is one vaccination or one test result.
type Certificate struct {
	Name       string // name
	BirthDate  string // birthDate
	Sex        string // sex: a Coding or text
	Identifier string // identifier

	Issuer      string // certificate.issuer
	ID          string // certificate.hcid
	Version     string // certificate.version
	ValidFrom   string // certificate.period.start, or valid_from
	ValidUntil  string // certificate.period.end, or valid_until
	Vaccination *Vaccination
	Test        *Test
}

// Vaccination is the content of subclaim 3.
type Vaccination struct {
	Vaccine, Brand, Manufacturer, Holder, Disease Coding
	Lot                                           string
	Date                                          string
	Dose, Doses                                   int64
	Country                                       Coding
	Centre                                        string
	Practitioner                                  string
}

// Test is the content of subclaim 4.
type Test struct {
	Pathogen, Type, Brand, Manufacturer, Origin, Result Coding
	Date                                                string
	Country                                             Coding
	Centre                                              string
}

type reader struct{ findings []format.Finding }

func (r *reader) find(tolerable bool, reason format.Defect, path string) {
	r.findings = append(r.findings, format.Finding{Path: path, Reason: reason, Tolerable: tolerable})
}

// need says what the absence of an element means.
type need int

const (
	optional need = iota
	due           // the model requires it, samples lack it
	required
)

// DecodeVaccination reads the content of subclaim 3.
func DecodeVaccination(v cbor.Value) (*Certificate, []format.Finding) {
	r, c := new(reader), new(Certificate)
	g, ok := r.common(v, c, "vaccination")
	if !ok {
		return c, r.findings
	}
	c.Vaccination = &Vaccination{
		Vaccine:      r.coding(g, "vaccine", required),
		Brand:        r.coding(g, "brand", due),
		Manufacturer: r.coding(g, "manufacturer", optional),
		Holder:       r.codingOf(either(g, "maholder", "ma_holder"), "maholder", optional),
		Disease:      r.coding(g, "disease", optional),
		Lot:          r.text(g, "lot", due),
		Date:         r.date(g, "date", required),
		Dose:         r.count(g.Get("dose"), "dose"),
		Doses:        r.count(either(g, "total_doses", "totalDoses"), "total_doses"),
		Country:      r.coding(g, "country", due),
		Centre:       r.text(g, "centre", optional),
		Practitioner: r.textOf(either(g, "practitioner", "hw"), "practitioner", optional),
	}
	return c, r.findings
}

// DecodeTest reads the content of subclaim 4.
func DecodeTest(v cbor.Value) (*Certificate, []format.Finding) {
	r, c := new(reader), new(Certificate)
	g, ok := r.common(v, c, "test")
	if !ok {
		return c, r.findings
	}
	c.Test = &Test{
		Pathogen:     r.coding(g, "pathogen", due),
		Type:         r.coding(g, "type", due),
		Brand:        r.coding(g, "brand", optional),
		Manufacturer: r.coding(g, "manufacturer", optional),
		Origin:       r.coding(g, "origin", optional),
		Result:       r.coding(g, "result", required),
		Date:         r.date(g, "date", required),
		Country:      r.coding(g, "country", due),
		Centre:       r.text(g, "centre", optional),
	}
	return c, r.findings
}

// common reads person and certificate, and finds the group: nested under its
// name, or flat beside the person.
func (r *reader) common(v cbor.Value, c *Certificate, group string) (cbor.Value, bool) {
	if v.Kind() != cbor.Map {
		r.find(false, format.BadType, "")
		return cbor.Value{}, false
	}
	c.Name = r.text(v, "name", required)
	c.BirthDate = r.text(v, "birthDate", optional)
	if c.BirthDate != "" && !format.IsPartialDate(c.BirthDate) {
		r.find(true, format.BadDate, "birthDate")
	}
	c.Sex = r.coding(v, "sex", optional).Code
	c.Identifier = r.text(v, "identifier", optional)

	meta := v.Get("certificate")
	if meta.Kind() != cbor.Map {
		meta = v
	}
	c.Issuer = r.text(meta, "issuer", optional)
	c.ID = r.text(meta, "hcid", optional)
	c.Version = r.text(meta, "version", optional)
	period := meta.Get("period")
	c.ValidFrom, _ = firstOf(period.Get("start"), v.Get("valid_from")).Untagged().Text()
	c.ValidUntil, _ = firstOf(period.Get("end"), v.Get("valid_until")).Untagged().Text()

	switch g := v.Get(group); g.Kind() {
	case cbor.Map:
		return g, true
	case cbor.Missing:
		return v, true
	case cbor.Array:
		r.find(false, format.SeveralDoses, group)
	default:
		r.find(false, format.BadType, group)
	}
	return cbor.Value{}, false
}

func firstOf(values ...cbor.Value) cbor.Value {
	for _, v := range values {
		if v.Exists() {
			return v
		}
	}
	return cbor.Value{}
}

// either wraps two spellings of one element.
func either(m cbor.Value, a, b string) cbor.Value { return firstOf(m.Get(a), m.Get(b)) }

func (r *reader) absent(key string, n need) {
	if n != optional {
		r.find(n == due, format.RequiredMissing, key)
	}
}

func (r *reader) text(m cbor.Value, key string, n need) string { return r.textOf(m.Get(key), key, n) }

func (r *reader) coding(m cbor.Value, key string, n need) Coding {
	return r.codingOf(m.Get(key), key, n)
}

// textOf reads a text, or what a FHIR Identifier or Reference shows of itself.
func (r *reader) textOf(p cbor.Value, key string, n need) string {
	p = p.Untagged()
	if p.Kind() == cbor.Map {
		p = firstOf(p.Get("value"), p.Get("display"), p.Get("identifier"), p.Get("reference"))
	}
	if !p.Exists() || p.IsNull() {
		r.absent(key, n)
		return ""
	}
	s, ok := p.Text()
	if !ok {
		r.find(n != required, format.BadType, key)
		return ""
	}
	s, odd := format.Clean(s)
	if s == "" {
		r.absent(key, n)
	}
	if odd {
		r.find(true, format.SuspiciousText, key)
	}
	return s
}

// codingOf reads a Coding, or a code alone.
func (r *reader) codingOf(p cbor.Value, key string, n need) Coding {
	if p.Kind() != cbor.Map {
		return Coding{Code: r.textOf(p, key, n)}
	}
	return Coding{
		Code:    r.textOf(p.Get("code"), key+".code", n),
		System:  r.textOf(p.Get("system"), key+".system", optional),
		Display: r.textOf(p.Get("display"), key+".display", optional),
	}
}

// date reads a date or date-time.
func (r *reader) date(m cbor.Value, key string, n need) string {
	s := r.text(m, key, n)
	if s != "" && !startsWithDate(s) {
		r.find(format.IsPartialDate(s), format.BadDate, key)
	}
	return s
}

// startsWithDate reports whether s is a date, alone or with a time after it,
// which is not judged: nothing here is decided by the hour.
func startsWithDate(s string) bool {
	return len(s) >= 10 && format.IsDate(s[:10]) && (len(s) == 10 || s[10] == 'T' || s[10] == ' ')
}

func (r *reader) count(v cbor.Value, key string) int64 {
	n, ok := v.Int()
	if v.Exists() && !v.IsNull() && (!ok || n < 1) {
		r.find(true, format.BadValue, key)
	}
	return n
}
