package cert

import (
	"fmt"
	"strings"
	"time"
)

// Line is one fact of a certificate as a person reads it.
type Line struct{ Name, Value string }

// Lines returns the content in the order of reading: who, what, until when.
// Facts that the format does not carry are left out.
func (c *Certificate) Lines() []Line {
	var lines []Line
	add := func(name string, parts ...string) {
		var given []string
		for _, p := range parts {
			if p != "" {
				given = append(given, p)
			}
		}
		if len(given) > 0 {
			lines = append(lines, Line{name, strings.Join(given, ", ")})
		}
	}
	p := c.Person
	add("name", p.Name.Full, strings.TrimSpace(p.Name.Given+" "+p.Name.Family))
	add("name (ICAO)", p.Name.FullMRZ, mrzName(p.Name))
	add("born", string(p.BirthDate))
	add("sex", p.Sex)
	add("nationality", p.Nationality)
	add("document", p.Document.Type, p.Document.Number)
	add("guardian", p.Guardian)
	switch {
	case c.Vaccination != nil:
		v := c.Vaccination
		add("vaccination", v.Disease.Words())
		add("vaccine", v.Vaccine.Words())
		add("product", v.Product.Words())
		add("manufacturer", v.Manufacturer.Words())
		add("lot", v.Lot)
		add("given", string(v.Date), v.Country)
		if v.Dose > 0 && v.Doses > 0 {
			add("dose", fmt.Sprintf("%d of %d", v.Dose, v.Doses))
		}
		add("clinician", v.Clinician)
		add("counts from", string(v.ValidFrom))
		add("counts until", string(v.ValidUntil))
	case c.Test != nil:
		t := c.Test
		add("test", t.Disease.Words(), t.Type.Words(), t.Name)
		add("device", t.Device.Words())
		add("sampled", t.Sampled, t.Country)
		add("result", t.Result.Words())
		add("centre", t.Centre)
	case c.Recovery != nil:
		r := c.Recovery
		add("recovery", r.Disease.Words())
		add("first positive", string(r.FirstPositive), r.Country)
		add("counts from", string(r.ValidFrom))
		add("counts until", string(r.ValidUntil))
	case c.Link != nil:
		add("link", c.Link.URL)
		add("label", c.Link.Label)
		if c.Link.Passcode {
			add("opened with", "a passcode that the holder tells")
		}
	}
	for _, e := range c.Earlier {
		switch {
		case e.Vaccination != nil:
			v := e.Vaccination
			lot := v.Lot
			if lot != "" {
				lot = "lot " + lot
			}
			add("earlier dose", string(v.Date), v.Country, v.Disease.Words(), v.Vaccine.Words(), v.Product.Words(), lot, v.Clinician)
		case e.Test != nil:
			t := e.Test
			add("earlier test", t.Sampled, t.Country, t.Disease.Words(), t.Type.Words(), t.Result.Words(), t.Centre)
		}
	}
	add("authority", c.Authority)
	add("identifier", c.ID)
	add("issued", dayOf(c.Issued))
	add("valid from", dayOf(c.ValidFrom))
	if c.Expires.IsZero() && c.Vaccination != nil && c.Vaccination.ValidUntil == "" && c.Vaccination.Product.System == SystemICVPProduct {
		// Only a Digital ICVP means that by its silence (REQ-DE-21), of the generations
		// that have product identifiers.
		add("valid until", LifetimeEN)
	} else {
		add("valid until", dayOf(c.Expires))
	}
	return lines
}

// Words returns the display of a code, or the code where no table knows it.
func (c Code) Words() string {
	if c.Display != "" {
		return c.Display
	}
	return c.Code
}

func mrzName(n Name) string {
	if n.FamilyMRZ == "" && n.GivenMRZ == "" {
		return ""
	}
	return n.FamilyMRZ + "<<" + n.GivenMRZ
}

func dayOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}
