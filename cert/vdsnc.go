package cert

import (
	"slices"
	"strings"

	"ampoule/format/vdsnc"
)

// FromVDSNC makes the neutral record of an ICAO visible digital seal. A seal may
// carry the doses of several vaccines: the last in time is the record's event,
// those before it are its earlier ones. Left behind are the date that the next
// dose is due, the number of a second document, and of a test the specimen and
// how to reach the provider. A seal of a test does not name the disease.
func FromVDSNC(s *vdsnc.Seal) *Certificate {
	c := &Certificate{Kind: KindTest, Authority: s.Issuer}
	if s.Vaccination == nil {
		t := s.Test
		c.ID, c.Person = t.ID, sealPerson(t.Person)
		c.Test = &Test{
			Type: Code{Display: t.Method}, Result: Code{Display: t.Result},
			Sampled: t.Sampled, Reported: t.Reported, Centre: t.Centre, Country: t.Country,
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
	// Dates of ISO 8601 sort as texts; doses of one day stay in the seal's order.
	slices.SortStableFunc(events, func(a, b Event) int { return strings.Compare(a.day(), b.day()) })
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
