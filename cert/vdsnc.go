package cert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ampoule/format/vdsnc"
)

// FromVDSNC makes the neutral record of an ICAO visible digital seal. A seal may
// carry the doses of several vaccines: the last in time is the record's event,
// those before it are its earlier ones. Left behind are the date that the next
// dose is due, the number of a second document, and the specimen of a test. A
// seal of a test does not name the disease.
func FromVDSNC(s *vdsnc.Seal) *Certificate {
	c := &Certificate{Kind: KindTest, Authority: s.Issuer}
	if s.Vaccination == nil {
		t := s.Test
		c.ID, c.Person = t.ID, sealPerson(t.Person)
		c.Test = &Test{
			Type: Code{Display: t.Method}, Result: Code{Display: t.Result},
			Sampled: t.Sampled, Reported: t.Reported, Centre: t.Centre, Country: t.Country,
			Contact: Contact{Phone: t.Phone, Email: t.Email, Address: t.Address},
		}
		return c
	}
	v := s.Vaccination
	c.Kind, c.ID, c.Person = KindVaccination, v.ID, sealPerson(v.Person)
	var events []Event
	for _, e := range v.Events {
		for _, d := range e.Doses {
			events = append(events, Event{Vaccination: &Vaccination{
				Disease:   icd11Disease(e.Disease),
				Vaccine:   icd11Code(e.Vaccine),
				Product:   Code{Display: e.Name},
				Lot:       d.Lot,
				Date:      dateOf(d.Date),
				Dose:      d.Number,
				Country:   d.Country,
				Clinician: d.Centre,
			}})
		}
	}
	if len(events) == 0 { // against the schema, which a verdict says
		c.Vaccination = new(Vaccination)
		return c
	}
	// Dates of ISO 8601 sort as texts. Those of one day stand by vaccine, so that
	// the order of vaccines in the seal, which means nothing, makes no difference.
	slices.SortStableFunc(events, func(a, b Event) int {
		v, w := a.Vaccination, b.Vaccination
		return cmp.Or(
			strings.Compare(a.day(), b.day()), strings.Compare(v.Vaccine.Code, w.Vaccine.Code),
			strings.Compare(v.Product.Display, w.Product.Display), strings.Compare(v.Disease.Code, w.Disease.Code),
		)
	})
	last := len(events) - 1
	c.Vaccination = events[last].Vaccination
	if last > 0 {
		c.Earlier = events[:last]
	}
	return c
}

func icd11Code(code string) Code {
	if code == "" {
		return Code{}
	}
	return Code{Code: code, System: systemICD11}
}

// icd11Disease keeps the code as the issuer wrote it. Seals name COVID-19 by
// RA01.0, the virus identified: what stands before the point is the disease.
func icd11Disease(code string) Code {
	c := icd11Code(code)
	stem, _, _ := strings.Cut(code, ".")
	if d, known := FindDisease(stem); known && d.ICD11 == stem {
		c.Display = d.DisplayEN
	}
	return c
}

// sealPerson reads pid. The name is as in the passport, surname first.
func sealPerson(p vdsnc.Person) Person {
	out := Person{Name: Name{Full: p.Name}, BirthDate: dateOf(p.BirthDate), Sex: sexOf(p.Sex)}
	transliterateMissing(&out.Name.FullMRZ, p.Name)
	switch {
	case p.Document != "":
		out.Document = Document{Number: p.Document, Type: "PPN"}
	case p.Number != "":
		out.Document = Document{Number: p.Number, Type: documentTypes[p.NumberType]}
	default:
		out.Document = Document{Number: p.OtherDocument}
	}
	return out
}

// documentTypes are HL7 v2 table 0203 by the letters of the technical report, as
// far as both know the document.
var documentTypes = map[string]string{"P": "PPN", "A": "NI", "C": "NI", "I": "NI", "V": "VS", "D": "DL"}

// ToVDSNC makes an ICAO visible digital seal: of a vaccination with the doses
// before it, one entry for each vaccine, or of a test. Codes of vaccines and
// diseases are those of ICD-11; tests and results are named by their words; the
// authority is the issuing state. What the report has no place for (nationality,
// the doses of a series, the disease of a test, tests before a vaccination) is
// left behind; what it requires and the record lacks shows when the seal is
// encoded.
func (c *Certificate) ToVDSNC() (*vdsnc.Seal, error) {
	s := &vdsnc.Seal{Version: 1, Issuer: stateCode(c.Authority)}
	switch {
	case c.Vaccination != nil:
		s.Type = vdsnc.TypeVaccination
		s.Vaccination = &vdsnc.Vaccination{ID: c.ID, Person: personOfSeal(c.Person)}
		if d := c.Person.Document; d.Type == "PPN" {
			s.Vaccination.Person.Document = d.Number
		} else {
			s.Vaccination.Person.OtherDocument = d.Number
		}
		for _, e := range c.Earlier {
			if e.Vaccination != nil {
				addDose(s.Vaccination, e.Vaccination)
			}
		}
		addDose(s.Vaccination, c.Vaccination)
	case c.Test != nil:
		t := c.Test
		s.Type = vdsnc.TypeTest
		s.Test = &vdsnc.Test{
			ID: c.ID, Person: personOfSeal(c.Person), Centre: t.Centre, Country: stateCode(t.Country),
			Phone: t.Contact.Phone, Email: t.Contact.Email, Address: t.Contact.Address,
			Sampled: t.Sampled, Reported: t.Reported,
			Method: cmp.Or(t.Type.Display, t.Type.Code), Result: cmp.Or(t.Result.Display, t.Result.Code),
		}
		s.Test.Person.Number, s.Test.Person.NumberType = c.Person.Document.Number, documentLetters[c.Person.Document.Type]
	default:
		return nil, fmt.Errorf("VDS-NC: it certifies a vaccination or a test, and this is a %s: %w", c.Kind, ErrNotCarried)
	}
	return s, nil
}

// addDose adds a dose to the entry of its vaccine.
func addDose(to *vdsnc.Vaccination, v *Vaccination) {
	event := vdsnc.Event{
		Vaccine: icd11Of(append([]Code{v.Vaccine}, v.Synonyms...)...),
		Name:    cmp.Or(v.Product.Display, v.Product.Code, v.Vaccine.Display),
		Disease: icd11OfDisease(v.Disease),
	}
	at := slices.IndexFunc(to.Events, func(e vdsnc.Event) bool {
		return e.Vaccine == event.Vaccine && e.Name == event.Name && e.Disease == event.Disease
	})
	if at < 0 {
		at = len(to.Events)
		to.Events = append(to.Events, event)
	}
	to.Events[at].Doses = append(to.Events[at].Doses, vdsnc.Dose{
		Date: string(v.Date), Number: v.Dose, Country: stateCode(v.Country), Centre: v.Clinician, Lot: v.Lot,
	})
}

// icd11Of returns the first code of ICD-11. One without a system is known by its
// form.
func icd11Of(codes ...Code) string {
	for _, c := range codes {
		if strings.HasPrefix(c.System, "http://id.who.int/icd") || c.System == "" && likeICD11(c.Code) {
			return c.Code
		}
	}
	return ""
}

// likeICD11 reports whether a code has the form of ICD-11: four characters or
// more, the second a letter, so that no code of ICD-10 looks like it; XM0N24.
func likeICD11(code string) bool {
	return len(code) >= 4 && code[1] >= 'A' && code[1] <= 'Z' && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.") == ""
}

func icd11OfDisease(c Code) string {
	if d, known := FindDisease(c.Code); known {
		return d.ICD11
	}
	return icd11Of(c)
}

// stateCode returns the code of Doc 9303-3 for a country that is given by two
// letters. Germany has one letter there.
func stateCode(country string) string {
	if country == "DE" {
		return "D"
	}
	if a3, known := Alpha3(country); known {
		return a3
	}
	return country
}

func personOfSeal(p Person) vdsnc.Person {
	out := vdsnc.Person{Name: p.Name.Full, BirthDate: string(p.BirthDate)}
	if out.Name == "" { // surname first, as in the passport
		out.Name = strings.TrimSpace(p.Name.Family + "  " + p.Name.Given)
	}
	switch p.Sex {
	case "male":
		out.Sex = "M"
	case "female":
		out.Sex = "F"
	case "other", "unknown":
		out.Sex = "X"
	}
	return out
}

// documentLetters is the way back from HL7 v2 table 0203. An identity card of
// any kind is I.
var documentLetters = map[string]string{"PPN": "P", "NI": "I", "VS": "V", "DL": "D"}
