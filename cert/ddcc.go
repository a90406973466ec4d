package cert

import (
	"fmt"

	"ampoule/format/ddcc"
)

// FromDDCC makes the neutral record of a WHO DDCC. The envelope's dates are the
// caller's to add.
func FromDDCC(d *ddcc.Certificate) *Certificate {
	code := func(c ddcc.Coding) Code { return Code{c.Code, c.System, c.Display} }
	c := &Certificate{
		ID:        d.ID,
		Authority: d.Issuer,
		Person: Person{
			Name:      Name{Full: d.Name},
			BirthDate: dateOf(d.BirthDate),
			Sex:       sexOf(d.Sex),
			Document:  Document{Number: d.Identifier},
		},
	}
	transliterateMissing(&c.Person.Name.FullMRZ, d.Name)
	switch {
	case d.Vaccination != nil:
		v := d.Vaccination
		c.Kind = KindVaccination
		c.Vaccination = &Vaccination{
			Disease: code(v.Disease), Vaccine: code(v.Vaccine), Product: code(v.Brand),
			Manufacturer: code(v.Manufacturer), Lot: v.Lot, Date: dateOf(v.Date),
			Dose: int(v.Dose), Doses: int(v.Doses), Country: v.Country.Code, Clinician: v.Practitioner,
			ValidFrom: dateOf(d.ValidFrom), ValidUntil: dateOf(d.ValidUntil),
		}
		if v.Manufacturer.Code == "" {
			c.Vaccination.Manufacturer = code(v.Holder)
		}
	case d.Test != nil:
		t := d.Test
		c.Kind = KindTest
		c.Test = &Test{
			Disease: code(t.Pathogen), Type: code(t.Type), Device: code(t.Brand), Sampled: t.Date,
			Result: code(t.Result), Centre: t.Centre, Country: t.Country.Code,
		}
	}
	return c
}

// ToDDCC makes a WHO DDCC of the vaccination or test. What the core data sets
// have no place for (nationality, the kind of document, earlier events, a test's
// name and the time of its report) is left behind; what they require and the
// record lacks shows when the certificate is encoded.
func (c *Certificate) ToDDCC() (*ddcc.Certificate, error) {
	coding := func(c Code) ddcc.Coding { return ddcc.Coding{Code: c.Code, System: c.System, Display: c.Display} }
	d := &ddcc.Certificate{
		Name: c.Person.Name.full(), BirthDate: string(c.Person.BirthDate), Sex: c.Person.Sex,
		Identifier: c.Person.Document.Number, Issuer: c.Authority, ID: c.ID, Version: ddcc.Version,
	}
	switch {
	case c.Vaccination != nil:
		v := c.Vaccination
		d.ValidFrom, d.ValidUntil = string(v.ValidFrom), string(v.ValidUntil)
		d.Vaccination = &ddcc.Vaccination{
			Disease: coding(v.Disease), Vaccine: coding(v.Vaccine), Brand: coding(v.Product), Manufacturer: coding(v.Manufacturer),
			Lot: v.Lot, Date: string(v.Date), Dose: int64(v.Dose), Doses: int64(v.Doses),
			Country: ddcc.CountryCoding(v.Country), Practitioner: v.Clinician,
		}
	case c.Test != nil:
		t := c.Test
		d.Test = &ddcc.Test{
			Pathogen: coding(t.Disease), Type: coding(t.Type), Brand: coding(t.Device), Result: coding(t.Result),
			Date: t.Sampled, Country: ddcc.CountryCoding(t.Country), Centre: t.Centre,
		}
	default:
		return nil, fmt.Errorf("DDCC: it certifies a vaccination or a test, and this is a %s: %w", c.Kind, ErrNotCarried)
	}
	return d, nil
}
