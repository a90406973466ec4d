package cert

import (
	"fmt"
	"strings"

	"ampoule/format"
	"ampoule/format/icvp"
)

// Code systems of a Digital ICVP.
const (
	SystemICVPProduct = "http://smart.who.int/icvp/CodeSystem/ICVPProductIds"
	systemICD11       = "http://id.who.int/icd/release/11/mms"
)

// FromICVP makes the neutral record of a Digital ICVP. The catalogue tells what
// generations 2 and 3 leave out, disease and manufacturer (REQ-DE-12, REQ-DE-16);
// it may be nil. The envelope's dates are the caller's to add.
func FromICVP(i *icvp.Certificate, catalogue *Catalogue) *Certificate {
	c := &Certificate{
		Kind:      KindVaccination,
		Authority: i.Dose.Authority,
		Person: Person{
			Name:        Name{Full: i.Name},
			BirthDate:   Date(i.DateOfBirth),
			Sex:         sexOf(i.Sex),
			Nationality: i.Nationality,
			Document:    Document{Number: i.DocumentNumber, Type: i.DocumentType},
			Guardian:    i.Guardian,
		},
		Vaccination: &Vaccination{
			Lot:        i.Dose.Lot,
			Date:       Date(i.Dose.Date),
			Clinician:  i.Dose.Clinician,
			ValidFrom:  Date(i.Dose.ValidFrom),
			ValidUntil: Date(i.Dose.ValidUntil),
		},
	}
	transliterateMissing(&c.Person.Name.FullMRZ, i.Name)
	v := c.Vaccination
	if i.Generation == 1 {
		v.Disease = diseaseCode(i.Dose.Disease)
		if v.Disease.Code == "" {
			v.Disease = Code{Code: i.Dose.Disease}
		}
		v.Vaccine = Code{Code: i.Dose.Product, System: systemICD11}
		v.Product = Code{Display: i.Dose.ProductName}
		v.Manufacturer = Code{Code: i.Dose.ManufacturerID, Display: i.Dose.Manufacturer}
		return c
	}
	if i.Dose.Product != "" {
		v.Product = Code{Code: i.Dose.Product, System: SystemICVPProduct}
	}
	if p, known := catalogue.Product(i.Dose.Product); known {
		v.Product.Display = p.Display
		v.Manufacturer = Code{Display: p.Manufacturer}
		v.Disease = diseaseCode(p.Disease)
	}
	return c
}

func diseaseCode(wordOrCode string) Code {
	if d, ok := FindDisease(wordOrCode); ok {
		return Code{Code: d.ICD11, System: systemICD11, Display: d.DisplayEN}
	}
	return Code{}
}

// sexOf reads the words and letters that the generations use.
func sexOf(s string) string {
	switch strings.ToLower(s) {
	case "male", "m":
		return "male"
	case "female", "f":
		return "female"
	case "other", "o":
		return "other"
	case "":
		return ""
	}
	return "unknown" // REQ-DE-03: others are mapped to unknown
}

// ToICVP makes a Digital ICVP of generation 3. The product must be in the
// catalogue, which also decides the disease. What the model has no place for
// (doses of a series, the country) is left behind; what it requires and the
// record lacks shows when the certificate is encoded.
func (c *Certificate) ToICVP(catalogue *Catalogue) (*icvp.Certificate, error) {
	v := c.Vaccination
	if v == nil {
		return nil, fmt.Errorf("ICVP: it certifies a vaccination, and this is a %s: %w", c.Kind, ErrNotCarried)
	}
	p, known := catalogue.Product(v.Product.Code)
	switch {
	case v.Product.Code == "":
		return nil, fmt.Errorf("ICVP: vaccination.product: %w", format.RequiredMissing)
	case !known:
		return nil, fmt.Errorf("ICVP: vaccination.product %q is not in the catalogue (%d products of %q); load the WHO's with --catalogue: %w",
			v.Product.Code, catalogue.Len(), catalogue.Source(), format.BadCode)
	case v.Disease.Code != "" && diseaseCode(v.Disease.Code) != diseaseCode(p.Disease):
		return nil, fmt.Errorf("ICVP: vaccination.disease %q, but the product is against %s: %w", v.Disease.Code, p.Disease, format.BadCode)
	}
	return c.icvpOf(p.ID), nil
}

// icvpOf makes the certificate of a product that may be in no catalogue.
func (c *Certificate) icvpOf(product string) *icvp.Certificate {
	v := c.Vaccination
	return &icvp.Certificate{
		Generation:     3,
		Name:           c.Person.Name.full(),
		DateOfBirth:    string(c.Person.BirthDate),
		Sex:            sexOf(c.Person.Sex),
		Nationality:    c.Person.Nationality,
		DocumentNumber: c.Person.Document.Number,
		DocumentType:   c.Person.Document.Type,
		Guardian:       c.Person.Guardian,
		Template:       icvp.TemplateVersion,
		Dose: icvp.Dose{
			Product: product, Date: string(v.Date), Lot: v.Lot,
			Clinician: v.Clinician, Authority: c.Authority,
		},
	}
}
