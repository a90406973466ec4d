package cert

import (
	"cmp"
	"fmt"
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
	if !ok || last < 0 || last == len(rest)-1 {
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

// ToDIVOC makes a DIVOC certificate of a vaccination with the doses before it.
// What it has no place for (tests, codes beside one of ICD-11, which is the
// vaccine's where there is one) is left behind; what it requires and the record
// lacks, such as an issuer that is an absolute identifier, shows when the
// certificate is encoded.
func (c *Certificate) ToDIVOC() (*divoc.Document, error) {
	if c.Vaccination == nil {
		return nil, fmt.Errorf("DIVOC: it certifies a vaccination, and this is a %s: %w", c.Kind, ErrNotCarried)
	}
	p := c.Person
	d := &divoc.Document{Context: "v2", Credential: divoc.Credential{
		Types:  []string{"VerifiableCredential", "ProofOfVaccinationCredential"},
		Issuer: c.Authority, Issued: c.Issued, ValidFrom: c.ValidFrom, ValidUntil: c.Expires, NonTransferable: "true",
		Person: divoc.Person{
			ID: didOf(p.Document), Name: p.Name.full(), BirthDate: string(p.BirthDate),
			Gender: genderOfDIVOC[p.Sex], Nationality: p.Nationality,
		},
	}}
	for _, e := range c.Earlier {
		if e.Vaccination != nil {
			d.Vaccinations = append(d.Vaccinations, doseOfDIVOC(e.Vaccination))
		}
	}
	last := doseOfDIVOC(c.Vaccination)
	last.CertificateID = c.ID
	d.Vaccinations = append(d.Vaccinations, last)
	return d, nil
}

func doseOfDIVOC(v *Vaccination) divoc.Vaccination {
	return divoc.Vaccination{
		Vaccine:      cmp.Or(v.Product.Display, v.Product.Code),
		Manufacturer: cmp.Or(v.Manufacturer.Display, v.Manufacturer.Code),
		Batch:        v.Lot,
		ICD11:        cmp.Or(icd11Of(append([]Code{v.Vaccine}, v.Synonyms...)...), icd11OfDisease(v.Disease)),
		Prophylaxis:  v.Vaccine.Display,
		Date:         string(v.Date),
		From:         string(v.ValidFrom),
		Until:        string(v.ValidUntil),
		Dose:         v.Dose,
		TotalDoses:   v.Doses,
		Verifier:     v.Clinician,
		Address:      divoc.Address{Country: v.Country},
	}
}

// didOf makes the identifier that documentOf reads.
func didOf(d Document) string {
	switch {
	case d.Number == "":
		return ""
	case d.Type == "PPN":
		return "did:Passport:" + d.Number
	case d.Type == "NI":
		return "did:NationalID:" + d.Number
	}
	return "did:Document:" + d.Number
}

var genderOfDIVOC = map[string]string{"male": "Male", "female": "Female", "other": "Other", "unknown": "Unknown"}
