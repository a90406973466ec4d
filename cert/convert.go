package cert

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/ddcc"
	"ampoule/format/divoc"
	"ampoule/format/eudcc"
	"ampoule/format/fhir"
	"ampoule/format/icvp"
	"ampoule/format/strictjson"
	"ampoule/format/vdsnc"
)

// Format names a format that a record can be written in.
type Format string

// The formats.
const (
	FormatICVP  Format = "icvp"
	FormatEUDCC Format = "eu-dcc"
	FormatDDCC  Format = "ddcc"
	FormatSHC   Format = "shc"
	FormatVDSNC Format = "vds-nc"
	FormatDIVOC Format = "divoc"
)

// Formats lists them.
func Formats() []Format {
	return []Format{FormatICVP, FormatEUDCC, FormatDDCC, FormatSHC, FormatVDSNC, FormatDIVOC}
}

// LossKind is what becomes of one fact of a record in another format.
type LossKind string

// The kinds.
const (
	Lost       LossKind = "lost"       // it is not there any more
	Changed    LossKind = "changed"    // it is there in another form: a country by its other code, a code by its words
	Widened    LossKind = "widened"    // its code became one that means more
	Translated LossKind = "translated" // its code became one of the same meaning
	Added      LossKind = "added"      // it was not there: a reader derives it
)

// Loss is one difference between a record and what a reader of the converted
// certificate will know.
type Loss struct {
	Path string   `json:"path"` // of the fact, as JSON names it: vaccination.lot
	Kind LossKind `json:"kind"`
	// From and To are set for codes alone: the rest may be a person's.
	From *Code `json:"from,omitempty"`
	To   *Code `json:"to,omitempty"`
	// Maps are the concept maps by which a code was translated.
	Maps []string `json:"maps,omitempty"`
	// Related are the concepts that the maps have for a lost code, none of which
	// may stand for it.
	Related []Match `json:"related,omitempty"`
}

// Conversion is a record on its way into another format.
type Conversion struct {
	Format Format
	// Record is what to write: the record with its codes in the systems of the
	// format.
	Record *Certificate
	// Read is what a reader of the written certificate will know, but for what only
	// its issuer adds: identifier, authority and dates of the signature.
	Read *Certificate
	// Losses are the differences between the record given and Read, by path. They
	// are measured, not declared: the content was made and read back.
	Losses []Loss
	// Missing is what the format asks for and the record does not have. It cannot be
	// issued before that is added.
	Missing []Missing
}

// Missing is one thing that a format asks for. Detail is its place in the
// format's own terms, or a sentence.
type Missing struct {
	Reason format.Defect `json:"reason"`
	Detail string        `json:"detail"`
}

func (m Missing) String() string { return m.Detail + ": " + string(m.Reason) }

// Convert prepares a record for a format and tells what is lost on the way. The
// signature is not part of it: a converted certificate is a new one, of whoever
// issues it, and so are its identifier and its dates (id, authority, issued,
// valid_from and expires of the record), which the report leaves out.
//
// It returns [ErrNotCarried] where the format has no certificates of the kind.
func (c *Certificate) Convert(to Format, maps *ConceptMaps, catalogue *Catalogue) (*Conversion, error) {
	if c.Vaccination == nil && c.Test == nil && c.Recovery == nil {
		return nil, fmt.Errorf("a %s has no event to convert: %w", c.Kind, ErrNotCarried)
	}
	t := &translation{maps: maps, needs: needsOf(to, catalogue), done: make(map[string]Loss)}
	out := &Conversion{Format: to, Record: t.record(c)}
	var err error
	if out.Read, out.Missing, err = out.Record.through(to, catalogue); err != nil {
		return nil, err
	}
	out.Losses = t.compare(c, out.Read)
	return out, nil
}

// through writes the record as content of a format and reads it back. read is nil
// where nothing can be written before what is missing is there.
func (c *Certificate) through(to Format, catalogue *Catalogue) (read *Certificate, missing []Missing, err error) {
	w, known := writers[to]
	if !known {
		return nil, nil, fmt.Errorf("format %q: %w", to, ErrNotCarried)
	}
	issued := *c
	issued.ID, issued.Authority = specimenIssuer[to].id, specimenIssuer[to].authority
	issued.Issued = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	issued.ValidFrom, issued.Expires = time.Time{}, time.Time{}
	read, findings, err := w(&issued, catalogue)
	for _, f := range findings {
		missing = append(missing, Missing{f.Reason, f.Path})
	}
	var defect format.Defect
	if errors.As(err, &defect) && defect != ErrNotCarried {
		return nil, []Missing{{defect, strings.TrimSuffix(err.Error(), ": "+defect.Error())}}, nil
	}
	return read, missing, err
}

// writers make content of each format, encode it and read the bytes back.
var writers = map[Format]func(*Certificate, *Catalogue) (*Certificate, []format.Finding, error){
	FormatICVP: func(c *Certificate, catalogue *Catalogue) (*Certificate, []format.Finding, error) {
		payload, err := c.ToICVP(catalogue)
		var unlisted []format.Finding
		switch {
		case errors.Is(err, format.BadCode):
			unlisted = []format.Finding{{Path: "vx.vp", Reason: format.BadCode}}
			fallthrough
		case errors.Is(err, format.RequiredMissing):
			payload = c.icvpOf(c.Vaccination.Product.Code) // to tell what else is lost
		case err != nil:
			return nil, nil, err
		}
		data, findings := icvp.Encode(payload)
		findings = append(unlisted, findings...)
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			return nil, findings, nil
		}
		content, _ := icvp.Decode(v)
		return FromICVP(content, catalogue), findings, nil
	},
	FormatEUDCC: func(c *Certificate, _ *Catalogue) (*Certificate, []format.Finding, error) {
		payload, err := c.ToDCC()
		switch {
		case errors.Is(err, format.RequiredMissing): // of the name, as the findings will say
			payload = c.dcc()
		case err != nil:
			return nil, nil, err
		}
		data, findings := eudcc.Encode(payload)
		findings = append(findings, payload.EmptyTexts()...)
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			return nil, findings, nil
		}
		content, _ := eudcc.Decode(v)
		read, _ := FromDCC(content)
		return read, findings, nil
	},
	FormatDDCC: func(c *Certificate, _ *Catalogue) (*Certificate, []format.Finding, error) {
		payload, err := c.ToDDCC()
		if err != nil {
			return nil, nil, err
		}
		data, findings := ddcc.Encode(payload)
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			return nil, findings, nil
		}
		decode := ddcc.DecodeTest
		if c.Vaccination != nil {
			decode = ddcc.DecodeVaccination
		}
		content, _ := decode(v)
		return FromDDCC(content), findings, nil
	},
	FormatSHC: func(c *Certificate, _ *Catalogue) (*Certificate, []format.Finding, error) {
		card, err := c.ToSHC()
		if err != nil {
			return nil, nil, err
		}
		data, err := card.Bundle.AppendJSON(nil)
		if err != nil {
			return nil, nil, fmt.Errorf("SHC: %w", err)
		}
		v, err := strictjson.Parse(data, strictjson.Limits{})
		if err != nil {
			return nil, nil, fmt.Errorf("SHC: %w", err)
		}
		bundle, findings := fhir.Decode(v)
		return FromFHIR(bundle), findings, nil
	},
	FormatVDSNC: func(c *Certificate, _ *Catalogue) (*Certificate, []format.Finding, error) {
		seal, err := c.ToVDSNC()
		if err != nil {
			return nil, nil, err
		}
		data, findings := vdsnc.Encode(seal)
		content, _, err := vdsnc.DecodeData(data, vdsnc.Field)
		if err != nil {
			return nil, findings, nil
		}
		return FromVDSNC(content), findings, nil
	},
	FormatDIVOC: func(c *Certificate, _ *Catalogue) (*Certificate, []format.Finding, error) {
		document, err := c.ToDIVOC()
		if err != nil {
			return nil, nil, err
		}
		data, findings := divoc.Encode(&document.Credential)
		content, _, err := divoc.DecodeJSON(data)
		if err != nil {
			return nil, findings, nil
		}
		return FromDIVOC(content), findings, nil
	},
}

// specimenIssuer stands in for what only the issuer of the converted certificate
// adds, so that its absence is not taken for a want of the record. Each is of the
// form that the format asks for.
var specimenIssuer = map[Format]struct{ id, authority string }{
	FormatICVP:  {"", "UTO"},
	FormatEUDCC: {"URN:UVCI:01:UT:SPECIMEN", "Specimen"},
	FormatDDCC:  {"SPECIMEN", "Specimen"},
	FormatSHC:   {"", "https://specimen.example"},
	FormatVDSNC: {"SPECIMEN", "UTO"},
	FormatDIVOC: {"SPECIMEN", "https://specimen.example"},
}

// codeNeed says what a format makes of the codes of one field.
type codeNeed struct {
	systems []string                     // in which the format wants it, the best first; none: as it is
	only    bool                         // it can carry no other
	known   func(code Code) (bool, Code) // whether it is in a closed list, as the list has it; nil: there is none
}

// needs are those of a format.
type needs struct {
	disease, vaccine, product, manufacturer, test, device, result codeNeed

	synonyms bool                // it carries a vaccine in several systems
	country  func(string) string // nil: as it is
}

func inValueSet(set ValueSet) func(Code) (bool, Code) {
	return func(c Code) (bool, Code) {
		display, known := Display(set, c.Code)
		return known, Code{c.Code, SystemOf(set, c.Code), display}
	}
}

func needsOf(to Format, catalogue *Catalogue) needs {
	icd11 := codeNeed{systems: []string{systemICD11}}
	onlyICD11 := codeNeed{systems: []string{systemICD11}, only: true}
	switch to {
	case FormatEUDCC:
		return needs{
			disease:      codeNeed{[]string{systemSNOMED}, true, inValueSet(ValueSetDisease)},
			vaccine:      codeNeed{[]string{systemSNOMED, systemATC}, true, inValueSet(ValueSetProphylaxis)},
			product:      codeNeed{[]string{systemEURegister}, true, inValueSet(ValueSetProduct)},
			manufacturer: codeNeed{[]string{systemSPOR}, true, inValueSet(ValueSetManufacturer)},
			test:         codeNeed{[]string{systemLOINC}, true, inValueSet(ValueSetTestType)},
			device:       codeNeed{systems: []string{systemTestDevices}, only: true},
			result:       codeNeed{[]string{systemSNOMED}, true, inValueSet(ValueSetTestResult)},
			country:      countryTwo,
		}
	case FormatICVP:
		return needs{disease: icd11, product: codeNeed{[]string{SystemICVPProduct}, true, func(c Code) (bool, Code) {
			p, known := catalogue.Product(c.Code)
			return known, Code{p.ID, SystemICVPProduct, p.Display}
		}}}
	case FormatDDCC:
		return needs{disease: icd11, vaccine: icd11, test: icd11, result: icd11}
	case FormatSHC:
		return needs{
			vaccine:  codeNeed{systems: []string{fhir.SystemCVX}},
			test:     codeNeed{systems: []string{systemLOINC}},
			result:   codeNeed{systems: []string{systemSNOMED}},
			synonyms: true,
		}
	case FormatVDSNC:
		return needs{disease: onlyICD11, vaccine: onlyICD11, country: countryThree}
	case FormatDIVOC:
		return needs{disease: onlyICD11, vaccine: onlyICD11}
	}
	return needs{}
}

func countryTwo(country string) string {
	if two, ok := Alpha2(country); ok {
		return two
	}
	return country
}

func countryThree(country string) string {
	if three, ok := Alpha3(country); ok {
		return three
	}
	return country
}

// translation brings the codes of a record into the systems of a format.
type translation struct {
	maps  *ConceptMaps
	needs needs
	done  map[string]Loss // what became of the codes that were replaced, by path
}

// record returns a copy with its codes translated. The one given is not changed.
func (t *translation) record(c *Certificate) *Certificate {
	out := *c
	out.Earlier = slices.Clone(c.Earlier)
	event := func(prefix string, e Event) Event {
		if e.Vaccination != nil {
			e.Vaccination = t.vaccination(prefix+"vaccination", *e.Vaccination)
		}
		if e.Test != nil {
			e.Test = t.test(prefix+"test", *e.Test)
		}
		return e
	}
	for i, e := range c.Earlier {
		out.Earlier[i] = event(fmt.Sprintf("earlier[%d].", i), e)
	}
	last := event("", Event{c.Vaccination, c.Test})
	out.Vaccination, out.Test = last.Vaccination, last.Test
	if c.Recovery != nil {
		r := *c.Recovery
		r.Disease = t.code("recovery.disease", t.needs.disease, r.Disease)
		r.Country = t.country(r.Country)
		out.Recovery = &r
	}
	return &out
}

// vaccination looks for the kind of vaccine and the product among all codes that
// the dose has: some formats know the one, some the other, some the vaccine
// under several codes.
func (t *translation) vaccination(path string, v Vaccination) *Vaccination {
	given := v
	v.Disease = t.code(path+".disease", t.needs.disease, v.Disease)
	v.Vaccine = t.code(path+".vaccine", t.needs.vaccine, append([]Code{given.Vaccine, given.Product}, given.Synonyms...)...)
	v.Product = t.code(path+".product", t.needs.product, append([]Code{given.Product, given.Vaccine}, given.Synonyms...)...)
	v.Manufacturer = t.code(path+".manufacturer", t.needs.manufacturer, v.Manufacturer)
	v.Country = t.country(v.Country)
	if t.needs.synonyms && given.Vaccine.Code != "" && keyOf(given.Vaccine) != keyOf(v.Vaccine) {
		v.Synonyms = append(slices.Clip(v.Synonyms), given.Vaccine) // beside the one that took its place
	}
	v.Synonyms = slices.DeleteFunc(slices.Clone(v.Synonyms), func(c Code) bool { return keyOf(c) == keyOf(v.Vaccine) })
	return &v
}

func (t *translation) test(path string, x Test) *Test {
	x.Disease = t.code(path+".disease", t.needs.disease, x.Disease)
	x.Type = t.code(path+".type", t.needs.test, x.Type)
	x.Device = t.code(path+".device", t.needs.device, x.Device)
	x.Result = t.code(path+".result", t.needs.result, x.Result)
	x.Country = t.country(x.Country)
	return &x
}

func (t *translation) country(c string) string {
	if t.needs.country == nil {
		return c
	}
	return t.needs.country(c)
}

// code returns the code that a format can carry for a field. The first of the
// codes is the field's own, the others say the same, or more closely, in fields
// beside it.
func (t *translation) code(path string, need codeNeed, codes ...Code) Code {
	own := codes[0]
	fits := func(c Code) (Code, bool) {
		if need.known != nil {
			known, listed := need.known(c)
			return listed, known && (c.System == "" || conceptSystem(c.System) == conceptSystem(listed.System))
		}
		return c, slices.Contains(need.systems, conceptSystem(c.System))
	}
	if need.systems == nil {
		return own
	}
	if c, ok := fits(own); ok && own.Code != "" {
		return c
	}
	var related []Match
	for _, system := range need.systems {
		for _, c := range codes {
			if c.Code == "" {
				continue
			}
			if at, ok := fits(c); ok {
				return at // another field had it
			}
			m, ok := t.maps.Translate(c, system)
			if ok {
				at, ok := fits(m.Code)
				if ok {
					kind := Widened
					if m.Equivalence.Exact() {
						kind = Translated
					}
					t.done[path] = Loss{Kind: kind, Maps: m.Maps}
					return at
				}
			}
			for _, match := range t.maps.Matches(c, system) {
				if !slices.ContainsFunc(related, func(r Match) bool { return keyOf(r.Code) == keyOf(match.Code) }) {
					related = append(related, match)
				}
			}
		}
	}
	if !need.only {
		return own
	}
	if own.Code != "" {
		t.done[path] = Loss{Kind: Lost, Related: related}
	}
	return Code{Display: own.Display} // the words stay, where the format has words
}

// compare walks two records side by side.
func (t *translation) compare(before, after *Certificate) []Loss {
	if after == nil {
		return nil
	}
	a, b := *before, *after
	for _, c := range []*Certificate{&a, &b} {
		c.ID, c.Authority = "", "" // of the issuer, who is a new one
	}
	d := difference{done: t.done}
	d.walk("", reflect.ValueOf(a), reflect.ValueOf(b))
	return d.losses
}

// difference collects where two values of one type differ.
type difference struct {
	done   map[string]Loss
	losses []Loss
}

func (d *difference) add(path string, before, after bool) {
	l := Loss{Path: path, Kind: Changed}
	switch {
	case !after:
		l.Kind = Lost
	case !before:
		l.Kind = Added
	}
	d.losses = append(d.losses, l)
}

func (d *difference) walk(path string, a, b reflect.Value) {
	switch a.Interface().(type) {
	case Code:
		d.code(path, a.Interface().(Code), b.Interface().(Code))
		return
	case time.Time: // of the envelope, which the report leaves out
		return
	}
	switch a.Kind() {
	case reflect.Pointer:
		switch {
		case a.IsNil() && b.IsNil():
		case a.IsNil() || b.IsNil():
			d.add(path, !a.IsNil(), !b.IsNil())
		default:
			d.walk(path, a.Elem(), b.Elem())
		}
	case reflect.Slice:
		for i := range max(a.Len(), b.Len()) {
			item := path + "[" + strconv.Itoa(i) + "]"
			if i >= a.Len() || i >= b.Len() {
				d.add(item, i < a.Len(), i < b.Len())
				continue
			}
			d.walk(item, a.Index(i), b.Index(i))
		}
	case reflect.Struct:
		for i := range a.NumField() {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			if path != "" {
				name = path + "." + name
			}
			d.walk(name, a.Field(i), b.Field(i))
		}
	default:
		if a.Interface() != b.Interface() {
			d.add(path, !a.IsZero(), !b.IsZero())
		}
	}
}

func (d *difference) code(path string, a, b Code) {
	if keyOf(a) == keyOf(b) || a.Code == "" && b.Code == "" {
		if a.Display != b.Display {
			d.add(path+".display", a.Display != "", b.Display != "")
		}
		return
	}
	l := d.done[path]
	switch l.Path = path; {
	case b.Code == "" && b.Display != "" && b.Display == a.Display:
		l.Kind, l.Maps = Changed, nil // the words remain
	case b.Code == "":
		l.Kind, l.Maps = Lost, nil // whatever it had become before
	case a.Code == "":
		l.Kind = Added
	case l.Kind == "":
		l.Kind = Changed
	}
	if a != (Code{}) {
		l.From = &a
	}
	if b != (Code{}) {
		l.To = &b
	}
	d.losses = append(d.losses, l)
}
