package paper

import (
	"strconv"
	"strings"
	"time"

	"ampoule/cert"
)

// fact is a line of a certificate's content: the key of its label, its value, and
// the value in the second language where it is a word and not a name.
type fact struct {
	key           string
	value, second said
	wide          bool // it has the width of the page to itself
}

// name is a value of the certificate's own: a name, a number, a code.
func name(key, value string) fact { return fact{key: key, value: said{text: clean(value)}} }

// word is a value that the catalogue has a word for.
func (a *artist) word(key, of string, pairs ...any) fact {
	one, two := a.both(of, pairs...)
	return fact{key: key, value: one, second: two}
}

func (a *artist) dayFact(key string, d cert.Date) fact {
	return fact{key: key, value: said{text: a.day(d), lang: a.first.Tag}}
}

// day is a date with the month in letters, as annex 6 has them filled in. Partial
// dates stay as they are.
func (a *artist) day(d cert.Date) string {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return clean(string(d))
	}
	months := strings.Fields(a.first.Text("paper.months"))
	return strconv.Itoa(t.Day()) + " " + months[t.Month()-1] + " " + strconv.Itoa(t.Year())
}

func (a *artist) moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return a.day(cert.Date(t.UTC().Format(time.DateOnly)))
}

// when is a time as the issuer wrote it.
func (a *artist) when(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return clean(s)
	}
	return a.moment(t) + t.UTC().Format(", 15:04 UTC")
}

// coded is a concept: its name, and beside it the code.
func coded(key string, c cert.Code) fact {
	if c.Display == "" || c.Display == c.Code {
		return name(key, c.Code)
	}
	return fact{key: key, value: said{text: clean(c.Display)}, second: said{text: clean(c.Code)}}
}

// diseaseFact names the disease in the two languages where the table knows it.
func (a *artist) diseaseFact(key string, c cert.Code) fact {
	d, known := cert.FindDisease(c.Code)
	if !known {
		return coded(key, c)
	}
	in := func(tag string) said {
		switch tag {
		case "en":
			return said{text: d.DisplayEN, lang: tag}
		case "fr":
			return said{text: d.DisplayFR, lang: tag}
		}
		return said{}
	}
	return fact{key: key, value: in(a.first.Tag), second: in(a.second.Tag)}
}

func countryText(code string) string {
	if n, ok := cert.CountryName(code); ok {
		return n + " (" + code + ")"
	}
	return code
}

// fullName is the name as people read it.
func fullName(n cert.Name) string {
	if n.Full != "" {
		return n.Full
	}
	return strings.TrimSpace(n.Given + " " + n.Family)
}

// person are the facts of the holder, the name first.
func (a *artist) person() []fact {
	p := &a.Record.Person
	var facts []fact
	switch {
	case p.Name.Full != "" || p.Name.Family == "" && p.Name.Given == "":
		facts = append(facts, name("fact.name", p.Name.Full))
	default:
		facts = append(facts, name("fact.family", p.Name.Family), name("fact.given", p.Name.Given))
	}
	facts = append(facts, a.dayFact("fact.born", p.BirthDate))
	if p.Sex != "" && a.first.Has("value."+p.Sex) {
		facts = append(facts, a.word("fact.sex", "value."+p.Sex))
	}
	return kept(append(facts,
		name("fact.nationality", countryText(p.Nationality)),
		name("fact.document", p.Document.Number),
		name("fact.guardian", p.Guardian)))
}

// event are the facts of a vaccination, test or recovery.
func (a *artist) event(c *cert.Certificate) []fact {
	switch {
	case c.Vaccination != nil:
		v := c.Vaccination
		facts := []fact{
			a.diseaseFact("fact.against", v.Disease),
			a.dayFact("fact.vaccinated", v.Date),
			wide(coded("fact.product", v.Product)),
			name("fact.lot", v.Lot),
		}
		switch {
		case v.Dose > 0 && v.Doses > 0:
			facts = append(facts, a.word("fact.dose", "value.dose-of", "dose", v.Dose, "doses", v.Doses))
		case v.Dose > 0:
			facts = append(facts, name("fact.dose", strconv.Itoa(v.Dose)))
		}
		return kept(append(facts,
			coded("fact.vaccine", v.Vaccine), coded("fact.manufacturer", v.Manufacturer),
			name("fact.clinician", v.Clinician), name("fact.country", countryText(v.Country))))
	case c.Test != nil:
		t := c.Test
		return kept([]fact{
			a.diseaseFact("fact.test-for", t.Disease),
			coded("fact.result", t.Result),
			wide(coded("fact.test-kind", t.Type)),
			wide(name("fact.test-name", t.Name)),
			wide(coded("fact.device", t.Device)),
			{key: "fact.sampled", value: said{text: a.when(t.Sampled), lang: a.first.Tag}},
			{key: "fact.reported", value: said{text: a.when(t.Reported), lang: a.first.Tag}},
			name("fact.centre", t.Centre),
			name("fact.country", countryText(t.Country)),
		})
	case c.Recovery != nil:
		r := c.Recovery
		return kept([]fact{
			a.diseaseFact("fact.recovered-from", r.Disease),
			a.dayFact("fact.first-positive", r.FirstPositive),
			name("fact.country", countryText(r.Country)),
		})
	}
	return nil
}

func wide(f fact) fact {
	f.wide = true
	return f
}

// kept drops the facts without a value.
func kept(facts []fact) []fact {
	var k []fact
	for _, f := range facts {
		if !isBlank(f.value.text) {
			k = append(k, f)
		}
	}
	return k
}

// from and until are the days between which the certificate counts.
func (a *artist) from() fact {
	c := a.Record
	var d cert.Date
	switch {
	case c.Vaccination != nil && c.Vaccination.ValidFrom != "":
		d = c.Vaccination.ValidFrom
	case c.Recovery != nil && c.Recovery.ValidFrom != "":
		d = c.Recovery.ValidFrom
	case !c.ValidFrom.IsZero():
		d = cert.Date(c.ValidFrom.UTC().Format(time.DateOnly))
	case c.Vaccination != nil && a.Format == cert.FormatICVP:
		d = c.Vaccination.Date
	}
	return a.dayFact("fact.valid-from", d)
}

func (a *artist) until() fact {
	c := a.Record
	switch {
	case c.Vaccination != nil && c.Vaccination.ValidUntil != "":
		return a.dayFact("fact.valid-until", c.Vaccination.ValidUntil)
	case c.Recovery != nil && c.Recovery.ValidUntil != "":
		return a.dayFact("fact.valid-until", c.Recovery.ValidUntil)
	case !c.Expires.IsZero():
		return fact{key: "fact.valid-until", value: said{text: a.moment(c.Expires), lang: a.first.Tag}}
	case a.Format == cert.FormatICVP:
		return a.word("fact.valid-until", "paper.icvp.life")
	}
	return a.word("fact.valid-until", "value.no-end")
}

// dates are the facts of the certificate itself.
func (a *artist) dates() []fact {
	return kept([]fact{
		{key: "fact.issued", value: said{text: a.moment(a.Record.Issued), lang: a.first.Tag}},
		a.from(), a.until(),
		wide(name("fact.identifier", a.Record.ID)),
	})
}

func (a *artist) issuer() []fact {
	return kept([]fact{{key: "fact.issued-by", value: said{text: a.issuedBy()}}})
}

// issuedBy names the issuer: the authority, or its code.
func (a *artist) issuedBy() string {
	if a.Record.Authority == "" || a.Record.Authority == a.Participant {
		return clean(a.Participant)
	}
	if a.Participant == "" {
		return clean(a.Record.Authority)
	}
	return clean(a.Record.Authority) + " (" + clean(a.Participant) + ")"
}

// title is what the certificate certifies.
func (a *artist) title() (said, said) {
	switch {
	case a.Format == cert.FormatICVP:
		return a.both("paper.icvp.title")
	case a.Record.Test != nil:
		return a.both("paper.title.test")
	case a.Record.Recovery != nil:
		return a.both("paper.title.recovery")
	}
	return a.both("paper.title.vaccination")
}

// formatName is what people call the format, in both languages.
func (a *artist) formatName() (said, said) {
	return said{a.first.Format(string(a.Format)), a.first.Tag, true}, said{a.second.Format(string(a.Format)), a.second.Tag, true}
}
