package cert

import (
	"slices"
	"strings"

	"ampoule/format/divoc"
)

// FromDIVOC makes the neutral record of a DIVOC certificate: the latest dose,
// the others before it. Words stay words: a nationality is kept where it is a
// country's code, an age is not turned into a year of birth, and the disease is
// known only where the certificate has a code for it.
func FromDIVOC(d *divoc.Document) *Certificate {
	p := d.Person
	c := &Certificate{
		Kind: KindVaccination, Authority: d.Issuer, Issued: d.Issued, ValidFrom: d.ValidFrom, Expires: d.ValidUntil,
		Person: Person{
			Name:        Name{Full: p.Name},
			BirthDate:   dateOf(p.BirthDate),
			Sex:         sexOf(p.Gender),
			Nationality: nationalityOf(p.Nationality),
			Document:    documentOf(p.ID),
		},
	}
	transliterateMissing(&c.Person.Name.FullMRZ, p.Name)
	doses := slices.Clone(d.Vaccinations)
	// The order in the document is not signed, so it says nothing.
	slices.SortStableFunc(doses, func(a, b divoc.Vaccination) int {
		if by := strings.Compare(string(dateOf(a.Date)), string(dateOf(b.Date))); by != 0 {
			return by
		}
		return a.Dose - b.Dose
	})
	for i := range doses {
		v := vaccinationOfDIVOC(&doses[i])
		if i < len(doses)-1 {
			c.Earlier = append(c.Earlier, Event{Vaccination: v})
			continue
		}
		c.Vaccination, c.ID = v, doses[i].CertificateID
	}
	return c
}

func vaccinationOfDIVOC(v *divoc.Vaccination) *Vaccination {
	out := &Vaccination{
		Vaccine:      Code{Display: v.Prophylaxis},
		Product:      Code{Display: v.Vaccine},
		Manufacturer: Code{Display: v.Manufacturer},
		Lot:          v.Batch,
		Date:         dateOf(v.Date),
		Dose:         v.Dose,
		Doses:        v.TotalDoses,
		Country:      v.Address.Country,
		Clinician:    v.Verifier,
		ValidFrom:    dateOf(v.From),
		ValidUntil:   dateOf(v.Until),
	}
	if d, known := FindDisease(v.ICD11); known {
		out.Disease = Code{Code: d.ICD11, System: systemICD11, Display: d.DisplayEN}
	} else if v.ICD11 != "" {
		out.Vaccine.Code, out.Vaccine.System = v.ICD11, systemICD11 // XM…, a vaccine of the extension codes
	}
	return out
}

// documentOf reads the identifier that DIVOC makes from an identity document:
// "did:", the kind of document, and its number behind the last colon.
func documentOf(id string) Document {
	rest, ok := strings.CutPrefix(id, "did:")
	last := strings.LastIndexByte(rest, ':')
	if !ok || last < 0 {
		return Document{}
	}
	d := Document{Number: rest[last+1:]}
	switch kind := strings.ToLower(rest[:last]); {
	case strings.Contains(kind, "passport"):
		d.Type = "PPN"
	case strings.Contains(kind, "aadhaar"), strings.Contains(kind, "national"):
		d.Type = "NI"
	}
	return d
}

// nationalityOf keeps the code of a country, as alpha-3.
func nationalityOf(s string) string {
	upper := strings.ToUpper(s)
	if a3, ok := Alpha3(upper); ok {
		return a3
	}
	if _, ok := Alpha2(upper); ok {
		return upper
	}
	return ""
}
