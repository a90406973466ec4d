package cert

import (
	"fmt"
	"slices"
	"strings"

	"ampoule/format"
	"ampoule/format/fhir"
	"ampoule/format/shc"
)

// FromSHC makes the neutral record of a SMART Health Card. A card may carry
// several doses or results: the last in time is the record's event, those before
// it are its earlier ones. What did not happen (a dose not done, a result
// entered in error) and what is said of nobody in the card is left out. The
// envelope's dates are the caller's to add.
func FromSHC(c *shc.Card) *Certificate {
	r := FromFHIR(c.Bundle)
	r.Authority = c.Issuer
	return r
}

// FromFHIR makes the neutral record of the bundle in a card.
func FromFHIR(bundle *fhir.Bundle) *Certificate {
	r := &Certificate{Kind: KindSummary}
	holder := bundle.Patient()
	if holder != nil {
		r.Person = personOf(holder)
	}
	var events []Event
	for _, e := range bundle.Entries {
		switch {
		case e.Subject == nil || e.Subject != holder:
		case e.Immunization != nil && e.Immunization.Occurred():
			events = append(events, Event{Vaccination: vaccinationOf(bundle, e.Immunization)})
		case e.Observation != nil && e.Observation.Final():
			events = append(events, Event{Test: testOf(e.Observation)})
		}
	}
	if len(events) == 0 {
		return r
	}
	// Dates of ISO 8601 sort as texts; events of one day stay in the card's order.
	slices.SortStableFunc(events, func(a, b Event) int { return strings.Compare(a.day(), b.day()) })
	last := events[len(events)-1]
	r.Vaccination, r.Test = last.Vaccination, last.Test
	if r.Kind = KindTest; r.Vaccination != nil {
		r.Kind = KindVaccination
	}
	if len(events) > 1 {
		r.Earlier = events[:len(events)-1]
	}
	return r
}

// day is the day of an event.
func (e Event) day() string {
	if e.Vaccination != nil {
		return string(e.Vaccination.Date)
	}
	return string(dateOf(e.Test.Sampled))
}

func personOf(p *fhir.Patient) Person {
	out := Person{BirthDate: dateOf(p.BirthDate), Sex: p.Gender}
	if len(p.Name) > 0 {
		n := p.Name[0]
		out.Name = Name{Family: n.Family, Given: strings.Join(n.Given, " ")}
		if out.Name.Family == "" && out.Name.Given == "" {
			out.Name.Full = n.Text
		}
		transliterateMissing(&out.Name.FamilyMRZ, out.Name.Family)
		transliterateMissing(&out.Name.GivenMRZ, out.Name.Given)
		transliterateMissing(&out.Name.FullMRZ, out.Name.Full)
	}
	for _, i := range p.Identifier {
		if kind := firstCoding(i.Type).Code; i.Value != "" && (kind == "PPN" || out.Document.Number == "") {
			// A passport before any other number.
			out.Document = Document{Number: i.Value, Type: kind}
		}
	}
	return out
}

func vaccinationOf(b *fhir.Bundle, i *fhir.Immunization) *Vaccination {
	v := &Vaccination{Lot: i.LotNumber, Date: dateOf(i.Occurrence)}
	// CVX is what the profiles ask for; the other codings say the same in other
	// systems.
	codings := slices.Clone(i.VaccineCode.Coding)
	slices.SortStableFunc(codings, func(a, b fhir.Coding) int { return rankCVX(a) - rankCVX(b) })
	for _, c := range codings {
		if code := (Code{c.Code, c.System, c.Display}); v.Vaccine.Code == "" {
			v.Vaccine = code
		} else if c.Code != "" {
			v.Synonyms = append(v.Synonyms, code)
		}
	}
	if v.Vaccine.Display == "" {
		v.Vaccine.Display = i.VaccineCode.Text
	}
	if len(i.ProtocolApplied) > 0 { // further entries restate it for other authorities
		p := i.ProtocolApplied[0]
		v.Dose, v.Doses = p.DoseNumber, p.SeriesDoses
		if len(p.TargetDisease) > 0 {
			v.Disease = codeOf(p.TargetDisease[0])
		}
	}
	v.Manufacturer = Code{Code: i.Manufacturer.Identifier.Value, System: i.Manufacturer.Identifier.System, Display: i.Manufacturer.Display}
	if o := b.Organization(i.Manufacturer); o != nil && v.Manufacturer.Display == "" {
		v.Manufacturer.Display = o.Name
	}
	if len(i.Performer) > 0 {
		v.Clinician = nameOf(b, i.Performer[0].Actor)
	}
	return v
}

func rankCVX(c fhir.Coding) int {
	if c.System == fhir.SystemCVX {
		return 0
	}
	return 1
}

func testOf(x *fhir.Observation) *Test {
	t := &Test{Type: codeOf(x.Code), Sampled: x.Effective, Result: codeOf(x.Value)}
	if x.ValueString != "" {
		t.Result = Code{Display: x.ValueString}
	}
	if len(x.Performer) > 0 {
		t.Centre = x.Performer[0].Display
	}
	return t
}

func nameOf(b *fhir.Bundle, r fhir.Reference) string {
	if o := b.Organization(r); o != nil && r.Display == "" {
		return o.Name
	}
	return r.Display
}

func firstCoding(c fhir.Concept) fhir.Coding {
	if len(c.Coding) == 0 {
		return fhir.Coding{}
	}
	return c.Coding[0]
}

func codeOf(c fhir.Concept) Code {
	first := firstCoding(c)
	if first.Display == "" {
		first.Display = c.Text
	}
	return Code{first.Code, first.System, first.Display}
}

// ToSHC makes a SMART Health Card of the record: the person and every event.
// The issuer's address is the caller's to add. Displays are left out, as a card
// has to; what the profiles have no place for (nationality, the country) is left
// behind; what they require and the record lacks shows when the card is encoded.
func (c *Certificate) ToSHC() (*shc.Card, error) {
	if c.Vaccination == nil && c.Test == nil {
		return nil, fmt.Errorf("SHC: it certifies vaccinations and tests, and this is a %s: %w", c.Kind, ErrNotCarried)
	}
	card := &shc.Card{
		NotBefore: c.Issued, Expires: c.Expires, Types: []string{shc.TypeCard}, FHIRVersion: fhir.Version,
		Bundle: &fhir.Bundle{Type: "collection", Entries: []fhir.Entry{{FullURL: "resource:0", Type: "Patient", Patient: patientOf(c.Person)}}},
	}
	if card.NotBefore.IsZero() {
		card.NotBefore = c.ValidFrom
	}
	holder := fhir.Reference{Reference: "resource:0"}
	add := func(t string) {
		if !slices.Contains(card.Types, t) {
			card.Types = append(card.Types, t)
		}
	}
	for _, e := range append(slices.Clone(c.Earlier), Event{Vaccination: c.Vaccination, Test: c.Test}) {
		entry := fhir.Entry{FullURL: fmt.Sprintf("resource:%d", len(card.Bundle.Entries))}
		var disease Code
		switch {
		case e.Vaccination != nil:
			if e.Vaccination.Vaccine.Code == "" && e.Vaccination.Product.Code == "" {
				return nil, fmt.Errorf("SHC: vaccination.vaccine: %w", format.RequiredMissing)
			}
			entry.Type, entry.Immunization, disease = "Immunization", immunizationOf(e.Vaccination, holder), e.Vaccination.Disease
			add(shc.TypeImmunization)
		case e.Test != nil:
			entry.Type, entry.Observation, disease = "Observation", observationOf(e.Test, holder), e.Test.Disease
			add(shc.TypeLaboratory)
		default:
			continue
		}
		if d, known := FindDisease(disease.Code); known && d.Word == "covid-19" {
			add(shc.TypeCOVID19)
		}
		card.Bundle.Entries = append(card.Bundle.Entries, entry)
	}
	return card, nil
}

func patientOf(p Person) *fhir.Patient {
	out := &fhir.Patient{BirthDate: string(p.BirthDate), Gender: p.Sex}
	name := fhir.HumanName{Family: p.Name.Family}
	if p.Name.Given != "" {
		name.Given = strings.Fields(p.Name.Given)
	}
	if p.Name.Family == "" && p.Name.Given == "" {
		name.Text = p.Name.Full
	}
	out.Name = []fhir.HumanName{name}
	if p.Document.Number != "" {
		i := fhir.Identifier{Value: p.Document.Number}
		if p.Document.Type != "" {
			i.Type.Coding = []fhir.Coding{{System: "http://terminology.hl7.org/CodeSystem/v2-0203", Code: p.Document.Type}}
		}
		out.Identifier = []fhir.Identifier{i}
	}
	return out
}

func immunizationOf(v *Vaccination, holder fhir.Reference) *fhir.Immunization {
	i := &fhir.Immunization{Status: "completed", Patient: holder, Occurrence: string(v.Date), LotNumber: v.Lot}
	for _, c := range slices.Concat([]Code{v.Vaccine, v.Product}, v.Synonyms) {
		if c.Code != "" {
			i.VaccineCode.Coding = append(i.VaccineCode.Coding, codingOf(c))
		}
	}
	if v.Manufacturer.Code != "" {
		i.Manufacturer.Identifier = fhir.Identifier{System: v.Manufacturer.System, Value: v.Manufacturer.Code}
	} else {
		i.Manufacturer.Display = v.Manufacturer.Display
	}
	if v.Clinician != "" {
		i.Performer = []fhir.Performer{{Actor: fhir.Reference{Display: v.Clinician}}}
	}
	if v.Dose > 0 || v.Disease.Code != "" {
		p := fhir.Protocol{DoseNumber: v.Dose, SeriesDoses: v.Doses}
		if v.Disease.Code != "" {
			p.TargetDisease = []fhir.Concept{{Coding: []fhir.Coding{codingOf(v.Disease)}}}
		}
		i.ProtocolApplied = []fhir.Protocol{p}
	}
	return i
}

func observationOf(t *Test, holder fhir.Reference) *fhir.Observation {
	x := &fhir.Observation{Status: "final", Subject: holder, Effective: t.Sampled}
	x.Code.Coding = []fhir.Coding{codingOf(t.Type)}
	if t.Result.Code != "" {
		x.Value.Coding = []fhir.Coding{codingOf(t.Result)}
	} else {
		x.ValueString = t.Result.Display
	}
	if t.Centre != "" {
		x.Performer = []fhir.Reference{{Display: t.Centre}}
	}
	return x
}

func codingOf(c Code) fhir.Coding { return fhir.Coding{System: c.System, Code: c.Code} }
