package cert

import "ampoule/format/ddcc"

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
