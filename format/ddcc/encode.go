package ddcc

import (
	"slices"
	"strings"

	"ampoule/format"
	"ampoule/format/cbor"
)

// Version is the version of the core data sets that Append writes
// (certificate.version).
const Version = "1.0.0"

// The code systems of the elements that have one alone.
const (
	systemGender  = "http://hl7.org/fhir/administrative-gender"
	systemCountry = "urn:iso:std:iso:3166"
)

// Encode writes the certificate, nested as the model has it, and reads it again:
// the findings are what the core data set requires and the certificate lacks,
// and nothing is tolerable in what is about to be signed.
func Encode(c *Certificate) ([]byte, []format.Finding) {
	data := Append(make([]byte, 0, 512), c)
	v, err := cbor.Parse(data, cbor.DefaultLimits)
	if err != nil { // a text that is not UTF-8
		return nil, []format.Finding{{Reason: format.BadValue}}
	}
	var findings []format.Finding
	if c.Vaccination != nil {
		_, findings = DecodeVaccination(v)
	} else {
		_, findings = DecodeTest(v)
	}
	return data, append(findings, c.missing()...)
}

// missing finds what the model requires and the reader does without.
func (c *Certificate) missing() (findings []format.Finding) {
	need := func(path string, present bool) {
		if !present {
			findings = append(findings, format.Finding{Path: path, Reason: format.RequiredMissing})
		}
	}
	need("issuer", c.Issuer != "")
	need("hcid", c.ID != "")
	need("version", c.Version != "")
	switch v := c.Vaccination; {
	case v != nil:
		// who-ddcc-data-1: manufacturer or market authorization holder SHALL be present.
		need("manufacturer|maholder", v.Manufacturer.Code != "" || v.Holder.Code != "")
		need("dose", v.Dose != 0)
		need("vaccination", c.Test == nil)
	default:
		need("vaccination|test", c.Test != nil)
	}
	return findings
}

// member is a member of a map, its value encoded.
type member struct {
	key string
	val []byte
}

type members []member

func (m *members) text(key, val string) {
	if val != "" {
		*m = append(*m, member{key, cbor.AppendText(nil, val)})
	}
}

func (m *members) count(key string, n int64) {
	if n != 0 {
		*m = append(*m, member{key, cbor.AppendInt(nil, n)})
	}
}

func (m *members) coding(key string, c Coding) {
	if c != (Coding{}) {
		var inner members
		inner.text("code", c.Code)
		inner.text("system", c.System)
		inner.text("display", c.Display)
		m.group(key, inner)
	}
}

func (m *members) group(key string, inner members) {
	*m = append(*m, member{key, inner.append(nil)})
}

// append writes the map in deterministic order: shorter keys first, then
// bytewise (RFC 8949 section 4.2.1, for keys of less than 24 bytes).
func (m members) append(dst []byte) []byte {
	slices.SortFunc(m, func(a, b member) int {
		if by := len(a.key) - len(b.key); by != 0 {
			return by
		}
		return strings.Compare(a.key, b.key)
	})
	dst = cbor.AppendMap(dst, len(m))
	for _, e := range m {
		dst = append(cbor.AppendText(dst, e.key), e.val...)
	}
	return dst
}

// Append writes the certificate in deterministic CBOR. Elements that are empty
// are left out. Identifiers and the reference to the issuer are written as
// texts, as which validators read them.
func Append(dst []byte, c *Certificate) []byte {
	var person, meta, period members
	person.text("name", c.Name)
	person.text("birthDate", c.BirthDate)
	if c.Sex != "" {
		person.coding("sex", Coding{Code: c.Sex, System: systemGender})
	}
	person.text("identifier", c.Identifier)

	meta.text("issuer", c.Issuer)
	meta.text("hcid", c.ID)
	meta.text("version", c.Version)
	period.text("start", c.ValidFrom)
	period.text("end", c.ValidUntil)
	if period != nil {
		meta.group("period", period)
	}
	person.group("certificate", meta)

	switch {
	case c.Vaccination != nil:
		person.group("vaccination", c.Vaccination.members())
	case c.Test != nil:
		person.group("test", c.Test.members())
	}
	return person.append(dst)
}

func (v *Vaccination) members() (m members) {
	m.coding("vaccine", v.Vaccine)
	m.coding("brand", v.Brand)
	m.coding("manufacturer", v.Manufacturer)
	m.coding("maholder", v.Holder)
	m.coding("disease", v.Disease)
	m.text("lot", v.Lot)
	m.text("date", v.Date)
	m.count("dose", v.Dose)
	m.count("total_doses", v.Doses)
	m.coding("country", v.Country)
	m.text("centre", v.Centre)
	m.text("practitioner", v.Practitioner)
	return m
}

func (t *Test) members() (m members) {
	m.coding("pathogen", t.Pathogen)
	m.coding("type", t.Type)
	m.coding("brand", t.Brand)
	m.coding("manufacturer", t.Manufacturer)
	m.coding("origin", t.Origin)
	m.coding("result", t.Result)
	m.text("date", t.Date)
	m.coding("country", t.Country)
	m.text("centre", t.Centre)
	return m
}

// CountryCoding is the coding of a country by its code of ISO 3166-1.
func CountryCoding(code string) Coding {
	if code == "" {
		return Coding{}
	}
	return Coding{Code: code, System: systemCountry}
}
