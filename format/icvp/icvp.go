// Package icvp reads the WHO Digital International Certificate of Vaccination
// or Prophylaxis (HCERT subclaim -6) in its three generations, and writes the
// current one.
//
//	generation 1 (2024-09)      { n dob s ntl nid gn,      v  { dn tg vp mp ma mid dt bo vls vle cn is } }
//	generation 2 (2025-06)      { n dob s ntl nid ndt gn,  v  { vp dt cn is bo vls vle } }
//	generation 3 (v0.3.0, 2026) { n dob s nt id dt gn, v,  vx { vp dv cn is bo } }
//
// They are told apart by v: a map in the first two, the template version in the
// third, where the dose is under vx. Generation 1 carries the disease (tg).
// Requirement identifiers (REQ-…) are those of the SMART ICVP implementation
// guide v0.3.0.
package icvp

import (
	"strings"
	"unicode/utf8"

	"ampoule/format"
	"ampoule/format/cbor"
)

// TemplateVersion is the version of the viewer's template that Append writes
// (REQ-DE-27). A reader takes an unknown version as ambiguous, not as invalid.
const TemplateVersion = "1.0.0"

// maxText bounds each text on writing and is remarked on reading: no field of
// the booklet is longer.
const maxText = 200

// Certificate is one dose given to one person (REQ-CC-03). Fields that a
// generation lacks are empty.
type Certificate struct {
	Generation int // 1, 2 or 3

	Name           string // n, as on the travel document (REQ-DE-01)
	DateOfBirth    string // dob, YYYY-MM-DD (REQ-DE-02)
	Sex            string // s; male, female, other or unknown in generation 3 (REQ-DE-03)
	Nationality    string // nt or ntl; ISO 3166-1 alpha-3 in generation 3 (REQ-DE-08)
	DocumentNumber string // id or nid (REQ-DE-09)
	DocumentType   string // dt or ndt, HL7 v2 table 0203, "PPN" for a passport (REQ-DE-09)
	Guardian       string // gn (REQ-DE-10)
	Template       string // v of generation 3 (REQ-DE-27)

	Dose Dose // v, or vx in generation 3
}

// Dose is what was given.
type Dose struct {
	Product   string // vp; a WHO product identifier in generations 2 and 3, an ICD-11 code in 1 (REQ-DE-11)
	Date      string // dv, or dt before generation 3; YYYY-MM-DD (REQ-DE-13)
	Clinician string // cn (REQ-DE-14)
	Authority string // is, the issuing authority (REQ-DE-15)
	Lot       string // bo, the manufacturer's batch number (REQ-DE-17)

	// Carried before generation 3 only, where the product identifier or the
	// envelope tells them.
	ValidFrom, ValidUntil string // vls, vle: generations 1 and 2
	Number                string // dn: generation 1, such as "Primary"
	Disease               string // tg: ICD-11
	ProductName           string // mp
	Manufacturer          string // ma
	ManufacturerID        string // mid
}

type reader struct{ findings []format.Finding }

func (r *reader) find(tolerable bool, reason format.Defect, path string) {
	r.findings = append(r.findings, format.Finding{Path: path, Reason: reason, Tolerable: tolerable})
}

// Decode reads a certificate of any generation. The findings say where it
// departs from its model; the certificate holds what could be read all the same.
func Decode(v cbor.Value) (*Certificate, []format.Finding) {
	r := new(reader)
	c := new(Certificate)
	if v.Kind() != cbor.Map {
		r.find(false, format.BadType, "")
		return c, r.findings
	}
	c.Generation = generation(v)
	c.Name = r.text(v, "", "n", required)
	c.DateOfBirth = r.date(v, "", "dob", required)
	c.Guardian = r.text(v, "", "gn", optional)
	if c.Generation == 3 {
		r.current(v, c)
	} else {
		r.earlier(v, c)
	}
	return c, r.findings
}

func generation(v cbor.Value) int {
	dose := v.Get("v")
	switch {
	case v.Get("vx").Exists() || dose.Kind() == cbor.Text || !dose.Exists():
		return 3
	case dose.Get("tg").Exists() || dose.Get("dn").Exists() || dose.Get("ma").Exists():
		return 1
	}
	return 2
}

// current reads generation 3, ICVPMin.
func (r *reader) current(v cbor.Value, c *Certificate) {
	c.Sex = r.text(v, "", "s", required)
	if !validSex(c.Sex) && c.Sex != "" {
		// The binding is extensible: other words are to be read as unknown.
		r.find(true, format.BadCode, "s")
	}
	c.Nationality = r.text(v, "", "nt", required)
	if c.Nationality != "" && !format.IsCapitals(c.Nationality, 3) {
		r.find(false, format.BadCode, "nt")
	}
	c.DocumentNumber = r.text(v, "", "id", optional)
	c.DocumentType = r.text(v, "", "dt", optional)
	c.Template = r.text(v, "", "v", required)
	r.unexpected(v, "", "n", "dob", "s", "nt", "id", "dt", "gn", "v", "vx")

	vx, ok := r.dose(v, "vx")
	if !ok {
		return
	}
	d := &c.Dose
	d.Product = r.text(vx, "vx", "vp", required)
	d.Date = r.date(vx, "vx", "dv", required)
	d.Lot = r.text(vx, "vx", "bo", required)
	d.Clinician = r.text(vx, "vx", "cn", optional)
	d.Authority = r.text(vx, "vx", "is", optional)
	if d.Clinician == "" && d.Authority == "" {
		r.find(false, format.RequiredMissing, "vx.cn|vx.is") // REQ-CC-07
	}
	// REQ-DE-12, REQ-DE-16: disease and manufacturer follow from vp.
	r.unexpected(vx, "vx", "vp", "dv", "cn", "is", "bo")
}

// earlier reads generations 1 and 2, whose models were drafts: only what makes
// the certificate one is required.
func (r *reader) earlier(v cbor.Value, c *Certificate) {
	c.Sex = r.text(v, "", "s", optional)
	c.Nationality = r.text(v, "", "ntl", optional)
	c.DocumentNumber = r.text(v, "", "nid", optional)
	c.DocumentType = r.text(v, "", "ndt", optional)

	m, ok := r.dose(v, "v")
	if !ok {
		return
	}
	d := &c.Dose
	d.Product = r.text(m, "v", "vp", required)
	d.Date = r.date(m, "v", "dt", required)
	d.Lot = r.text(m, "v", "bo", required)
	d.Clinician = r.text(m, "v", "cn", optional)
	d.Authority = r.text(m, "v", "is", optional)
	d.ValidFrom = r.date(m, "v", "vls", optional)
	d.ValidUntil = r.date(m, "v", "vle", optional)
	if c.Generation == 1 {
		d.Number = r.text(m, "v", "dn", optional)
		d.Disease = r.text(m, "v", "tg", required)
		d.ProductName = r.text(m, "v", "mp", optional)
		d.Manufacturer = r.text(m, "v", "ma", optional)
		d.ManufacturerID = r.text(m, "v", "mid", optional)
	}
}

// dose finds the map of the one dose (REQ-CC-03).
func (r *reader) dose(v cbor.Value, key string) (cbor.Value, bool) {
	m := v.Get(key)
	switch {
	case !m.Exists():
		r.find(false, format.RequiredMissing, key)
	case m.Kind() == cbor.Array:
		r.find(false, format.SeveralDoses, key)
	case m.Kind() != cbor.Map:
		r.find(false, format.BadType, key)
	default:
		return m, true
	}
	return cbor.Value{}, false
}

const (
	required = true
	optional = false
)

func path(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func (r *reader) text(m cbor.Value, at, key string, must bool) string {
	p := m.Get(key)
	if !p.Exists() || p.IsNull() {
		if must {
			r.find(false, format.RequiredMissing, path(at, key))
		}
		return ""
	}
	s, ok := p.Untagged().Text()
	if !ok {
		r.find(false, format.BadType, path(at, key))
		return ""
	}
	s, odd := format.Clean(s)
	if must && strings.TrimSpace(s) == "" {
		r.find(false, format.RequiredMissing, path(at, key))
	}
	if len(s) > maxText && utf8.RuneCountInString(s) > maxText {
		r.find(true, format.TooLong, path(at, key))
	}
	if odd {
		r.find(true, format.SuspiciousText, path(at, key))
	}
	return s
}

func (r *reader) date(m cbor.Value, at, key string, must bool) string {
	s := r.text(m, at, key, must)
	if s != "" && !format.IsDate(s) {
		r.find(!must, format.BadDate, path(at, key))
	}
	return s
}

// unexpected remarks on elements that the model does not have (REQ-CC-01).
func (r *reader) unexpected(m cbor.Value, at string, known ...string) {
next:
	for k := range m.Pairs() {
		s, ok := k.Text()
		if ok {
			for _, name := range known {
				if s == name {
					continue next
				}
			}
		}
		// The name of an unknown element may hold anything, so it is not shown.
		r.find(true, format.NotCarried, path(at, "…"))
	}
}

func validSex(s string) bool {
	return s == "male" || s == "female" || s == "other" || s == "unknown"
}

// Encode writes the certificate as generation 3 and reads it again: the findings
// are what the model has against it, and nothing is tolerable in what is about
// to be signed.
func Encode(c *Certificate) ([]byte, []format.Finding) {
	data := Append(make([]byte, 0, 384), c)
	v, err := cbor.Parse(data, cbor.DefaultLimits)
	if err != nil { // a text that is not UTF-8
		return nil, []format.Finding{{Reason: format.BadValue}}
	}
	_, findings := Decode(v)
	return data, findings
}

type pair struct{ key, val string }

// Append writes the certificate as generation 3 in deterministic CBOR. Optional
// elements that are empty are left out; disease and manufacturer are never
// written (REQ-DE-12, REQ-DE-16).
func Append(dst []byte, c *Certificate) []byte {
	d := &c.Dose
	outer := [...]pair{{"n", c.Name}, {"s", c.Sex}, {"v", c.Template}, {"dt", c.DocumentType}, {"gn", c.Guardian}, {"id", c.DocumentNumber}, {"nt", c.Nationality}}
	dst = cbor.AppendMap(dst, count(outer[:])+2) // vx and dob besides
	for _, p := range outer {
		if p.val != "" {
			dst = cbor.AppendText(cbor.AppendText(dst, p.key), p.val)
		}
	}
	inner := [...]pair{{"bo", d.Lot}, {"cn", d.Clinician}, {"dv", d.Date}, {"is", d.Authority}, {"vp", d.Product}}
	dst = cbor.AppendMap(cbor.AppendText(dst, "vx"), count(inner[:]))
	for _, p := range inner {
		if p.val != "" {
			dst = cbor.AppendText(cbor.AppendText(dst, p.key), p.val)
		}
	}
	return cbor.AppendText(cbor.AppendText(dst, "dob"), c.DateOfBirth)
}

func count(pairs []pair) (n int) {
	for _, p := range pairs {
		if p.val != "" {
			n++
		}
	}
	return n
}
