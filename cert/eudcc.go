package cert

import (
	"fmt"
	"strings"

	"ampoule/format"
	"ampoule/format/eudcc"
)

// ErrNotCarried marks a record that a format cannot carry.
const ErrNotCarried = format.Defect("not-carried")

// FromDCC makes the neutral record of an EU DCC payload. remarks name the
// fields whose code is not in its value set. The envelope's dates are the
// caller's to add.
func FromDCC(d *eudcc.Certificate) (c *Certificate, remarks []string) {
	c = &Certificate{Person: Person{
		Name: Name{
			Family: d.Name.Surname, FamilyMRZ: d.Name.StandardSurname,
			Given: d.Name.Forename, GivenMRZ: d.Name.StandardForename,
		},
		BirthDate: dateOf(d.DateOfBirth),
	}}
	n := &c.Person.Name
	transliterateMissing(&n.FamilyMRZ, n.Family)
	transliterateMissing(&n.GivenMRZ, n.Given)

	code := func(set ValueSet, path, code string) Code {
		if code == "" {
			return Code{}
		}
		display, known := Display(set, code)
		if !known {
			trimmed := strings.TrimSpace(code)
			if display, known = Display(set, trimmed); known {
				code = trimmed // blanks around codes are seen; they mean nothing
			}
		}
		if !known {
			remarks = append(remarks, path)
			return Code{Code: code}
		}
		return Code{Code: code, System: SystemOf(set, code), Display: display}
	}
	country := func(path, co string) string {
		if _, known := Display(ValueSetCountry, co); !known && co != "" {
			remarks = append(remarks, path)
		}
		return co
	}

	switch {
	case d.Vaccination != nil:
		v := d.Vaccination
		c.Kind, c.ID, c.Authority = KindVaccination, v.ID, v.Issuer
		c.Vaccination = &Vaccination{
			Disease:      code(ValueSetDisease, "v[0].tg", v.Target),
			Vaccine:      code(ValueSetProphylaxis, "v[0].vp", v.Prophylaxis),
			Product:      code(ValueSetProduct, "v[0].mp", v.Product),
			Manufacturer: code(ValueSetManufacturer, "v[0].ma", v.Manufacturer),
			Date:         dateOf(v.Date),
			Dose:         int(v.Dose),
			Doses:        int(v.Doses),
			Country:      country("v[0].co", v.Country),
		}
	case d.Test != nil:
		t := d.Test
		c.Kind, c.ID, c.Authority = KindTest, t.ID, t.Issuer
		c.Test = &Test{
			Disease:  code(ValueSetDisease, "t[0].tg", t.Target),
			Type:     code(ValueSetTestType, "t[0].tt", t.Type),
			Name:     t.Name,
			Device:   code(ValueSetTestDevice, "t[0].ma", t.Device),
			Sampled:  t.SampleTime,
			Reported: t.ResultTime,
			Result:   code(ValueSetTestResult, "t[0].tr", t.Result),
			Centre:   t.Centre,
			Country:  country("t[0].co", t.Country),
		}
	case d.Recovery != nil:
		r := d.Recovery
		c.Kind, c.ID, c.Authority = KindRecovery, r.ID, r.Issuer
		c.Recovery = &Recovery{
			Disease:       code(ValueSetDisease, "r[0].tg", r.Target),
			FirstPositive: dateOf(r.FirstPositive),
			Country:       country("r[0].co", r.Country),
			ValidFrom:     dateOf(r.From),
			ValidUntil:    dateOf(r.Until),
		}
	}
	return c, remarks
}

// dateOf drops the midnight that some issuers write into dates.
func dateOf(s string) Date {
	if len(s) > 10 && s[10] == 'T' && format.IsDate(s[:10]) {
		return Date(s[:10])
	}
	return Date(s)
}

func transliterateMissing(mrz *string, national string) {
	if *mrz == "" && national != "" {
		*mrz, _ = Transliterate(national)
	}
}

// ToDCC makes an EU DCC payload of the latest schema version. What the schema
// has no place for (sex, nationality, the lot) is left behind; what it requires
// and the record lacks shows when the payload is encoded.
func (c *Certificate) ToDCC() (*eudcc.Certificate, error) {
	if c.Vaccination == nil && c.Test == nil && c.Recovery == nil {
		return nil, fmt.Errorf("EU DCC: no vaccination, test or recovery: %w", ErrNotCarried)
	}
	d := c.dcc()
	switch n := d.Name; {
	case n.StandardSurname != "" || n.StandardForename != "":
		return d, nil
	case n.Surname == "" && n.Forename == "" && c.Person.Name.Full != "":
		return nil, fmt.Errorf("EU DCC: person.name: it is in one piece, and is wanted as family and given name: %w", format.RequiredMissing)
	}
	return nil, fmt.Errorf("EU DCC: person.name: neither family nor given name can be written in the Latin alphabet of ICAO Doc 9303: %w", format.RequiredMissing)
}

// dcc makes the payload, of a name that may be missing.
func (c *Certificate) dcc() *eudcc.Certificate {
	n := c.Person.Name
	transliterateMissing(&n.FamilyMRZ, n.Family)
	transliterateMissing(&n.GivenMRZ, n.Given)
	d := &eudcc.Certificate{
		Version: eudcc.LatestVersion,
		Name: eudcc.Name{
			Surname: n.Family, StandardSurname: n.FamilyMRZ,
			Forename: n.Given, StandardForename: n.GivenMRZ,
		},
		DateOfBirth: string(c.Person.BirthDate),
	}
	switch {
	case c.Vaccination != nil:
		v := c.Vaccination
		d.Vaccination = &eudcc.Vaccination{
			Target: v.Disease.Code, Prophylaxis: v.Vaccine.Code, Product: v.Product.Code,
			Manufacturer: v.Manufacturer.Code, Dose: int64(v.Dose), Doses: int64(v.Doses),
			Date: string(v.Date), Country: v.Country, Issuer: c.Authority, ID: c.ID,
		}
	case c.Test != nil:
		t := c.Test
		d.Test = &eudcc.Test{
			Target: t.Disease.Code, Type: t.Type.Code, Name: t.Name, Device: t.Device.Code,
			SampleTime: t.Sampled, ResultTime: t.Reported, Result: t.Result.Code, Centre: t.Centre,
			Country: t.Country, Issuer: c.Authority, ID: c.ID,
		}
	case c.Recovery != nil:
		r := c.Recovery
		d.Recovery = &eudcc.Recovery{
			Target: r.Disease.Code, FirstPositive: string(r.FirstPositive), Country: r.Country,
			From: string(r.ValidFrom), Until: string(r.ValidUntil), Issuer: c.Authority, ID: c.ID,
		}
	}
	return d
}
