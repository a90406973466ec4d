package fhir

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// The kinds of finding that FHIR adds to those of package format.
const (
	EmptyValue      = format.Defect("empty-value")          // FHIR has no empty texts, arrays or objects
	NotMinified     = format.Defect("not-minified")         // an element that a card leaves out
	LongURL         = format.Defect("long-url")             // not resource:N
	DuplicateURL    = format.Defect("duplicate-url")        // two entries of one fullUrl
	Unresolved      = format.Defect("unresolved-reference") // leads to no patient of the bundle
	SeveralPatients = format.Defect("several-patients")     // whose card is it?
	BadStatus       = format.Defect("bad-status")           // the event did not happen, or not for good
)

// Limits of a bundle. What an outsider made is bounded by its bytes before;
// these bound what is kept and what is said about it.
const (
	maxEntries  = 1024
	maxFindings = 128
)

// place is where the reader stands; its text is only made for a finding.
type place struct {
	up    *place
	name  string
	index int // of an array; -1 for none
}

func (p *place) member(name string) *place { return &place{p, name, -1} }

func (p *place) item(name string, i int) *place { return &place{p, name, i} }

func (p *place) String() string {
	s := p.name
	if p.index >= 0 {
		s += "[" + strconv.Itoa(p.index) + "]"
	}
	if p.up != nil && p.up.name != "" {
		return p.up.String() + "." + s
	}
	return s
}

type object = strictjson.Value

// reader collects findings on the way through a bundle.
type reader struct {
	findings []format.Finding
	// loose is set for bundles that are no collection: the profiles of the card do
	// not bind a patient summary, so nothing of it is refused by them.
	loose bool
}

func (r *reader) find(tolerable bool, reason format.Defect, at *place) {
	if len(r.findings) < maxFindings {
		r.findings = append(r.findings, format.Finding{Path: at.String(), Reason: reason, Tolerable: tolerable})
	}
}

// Decode reads a bundle from JSON that [strictjson.Parse] has read. The
// findings say where it departs from the specifications; the bundle holds what
// could be read all the same.
func Decode(o strictjson.Value) (*Bundle, []format.Finding) {
	b, r, root := new(Bundle), new(reader), &place{index: -1}
	if o.Kind() != strictjson.Object {
		r.find(false, format.BadType, root.member("fhirBundle"))
		return b, r.findings
	}
	if r.text(o, root, "resourceType", true) != "Bundle" {
		r.find(false, format.BadType, root.member("resourceType"))
		return b, r.findings
	}
	b.Type = r.text(o, root, "type", true)
	if r.loose = b.Type != "collection"; r.loose {
		r.find(true, format.BadValue, root.member("type"))
	}
	r.minified(o, root)
	entries := r.array(o, root, "entry", true)
	if entries.Len() > maxEntries {
		r.find(false, format.TooLong, root.member("entry"))
	}
	b.Entries = make([]Entry, min(entries.Len(), maxEntries))
	for i := range b.Entries {
		r.entry(&b.Entries[i], entries.At(i), root.item("entry", i))
	}
	r.resolve(b, root)
	if o.AnyEmpty() {
		r.empties(o, root)
	}
	return b, r.findings
}

func (r *reader) entry(e *Entry, o object, at *place) {
	if o.Kind() != strictjson.Object {
		r.find(false, format.BadType, at)
		return
	}
	e.FullURL = r.text(o, at, "fullUrl", true)
	if e.FullURL != "" && !isShortURL(e.FullURL) {
		r.find(true, LongURL, at.member("fullUrl"))
	}
	at = at.member("resource")
	if o = o.Get("resource"); o.Kind() != strictjson.Object {
		r.find(false, format.RequiredMissing, at)
		return
	}
	e.Type = r.text(o, at, "resourceType", true)
	r.minified(o, at)
	switch e.Type {
	case "Patient":
		e.Patient = r.patient(o, at)
	case "Immunization":
		e.Immunization = r.immunization(o, at)
	case "Observation":
		e.Observation = r.observation(o, at)
	case "Organization":
		e.Organization = &Organization{
			Identifier: readAll(r, o, at, "identifier", r.identifier),
			Name:       r.text(o, at, "name", false),
		}
	}
}

// isShortURL follows the card's rule: the scheme "resource" and a number.
func isShortURL(url string) bool {
	n, ok := strings.CutPrefix(url, "resource:")
	return ok && n != "" && strings.Trim(n, "0123456789") == ""
}

// minified remarks what a card is to leave out of every resource: id, meta
// (unless for a security label), text.
func (r *reader) minified(o object, at *place) {
	for _, name := range [...]string{"id", "text"} {
		if o.Get(name).Exists() {
			r.find(true, NotMinified, at.member(name))
		}
	}
	if meta := o.Get("meta"); meta.Exists() && (!meta.Get("security").Exists() || meta.Len() != 1) {
		r.find(true, NotMinified, at.member("meta"))
	}
}

func (r *reader) patient(o object, at *place) *Patient {
	p := &Patient{
		Identifier: readAll(r, o, at, "identifier", r.identifier),
		Name:       readAll(r, o, at, "name", r.humanName),
		Gender:     r.text(o, at, "gender", false),
		BirthDate:  r.text(o, at, "birthDate", false),
	}
	named := slices.ContainsFunc(p.Name, func(n HumanName) bool {
		return n.Text != "" || n.Family != "" || len(n.Given) > 0
	})
	if !named {
		r.find(r.loose, format.RequiredMissing, at.member("name"))
	}
	switch p.Gender {
	case "", "male", "female", "other", "unknown":
	default:
		r.find(true, format.BadCode, at.member("gender"))
	}
	switch {
	case !o.Get("birthDate").Exists():
		// FHIR leaves it optional, and some cards name no day; a person can only be
		// told from namesakes by it.
		r.find(true, format.RequiredMissing, at.member("birthDate"))
	case p.BirthDate != "" && !format.IsPartialDate(p.BirthDate):
		r.find(false, format.BadDate, at.member("birthDate"))
	}
	return p
}

func (r *reader) immunization(o object, at *place) *Immunization {
	i := &Immunization{
		Status:          r.text(o, at, "status", true),
		VaccineCode:     r.code(o, at, "vaccineCode"),
		Patient:         r.reference(o, at, "patient"),
		Occurrence:      r.dateTime(o, at, "occurrenceDateTime", true),
		Manufacturer:    r.reference(o, at, "manufacturer"),
		LotNumber:       r.text(o, at, "lotNumber", false),
		ExpirationDate:  r.text(o, at, "expirationDate", false),
		Performer:       readAll(r, o, at, "performer", r.performer),
		ProtocolApplied: readAll(r, o, at, "protocolApplied", r.protocol),
	}
	i.IsSubpotent = o.Get("isSubpotent").Kind() == strictjson.True
	if i.ExpirationDate != "" && !format.IsPartialDate(i.ExpirationDate) {
		r.find(true, format.BadDate, at.member("expirationDate"))
	}
	if i.Status != "" && i.Status != "completed" {
		// not-done and entered-in-error say that nobody was vaccinated.
		r.find(r.loose, BadStatus, at.member("status"))
	}
	return i
}

func (r *reader) observation(o object, at *place) *Observation {
	x := &Observation{
		Status:    r.text(o, at, "status", true),
		Code:      r.code(o, at, "code"),
		Subject:   r.reference(o, at, "subject"),
		Performer: readAll(r, o, at, "performer", r.referenceOf),
	}
	if period := o.Get("effectivePeriod"); period.Kind() == strictjson.Object {
		x.Effective = r.dateTime(period, at.member("effectivePeriod"), "start", true)
	} else {
		x.Effective = r.dateTime(o, at, "effectiveDateTime", true)
	}
	switch {
	case given(o.Get("valueCodeableConcept")):
		x.Value = r.code(o, at, "valueCodeableConcept")
	case given(o.Get("valueString")):
		x.ValueString = r.text(o, at, "valueString", true)
	case given(o.Get("valueQuantity")):
		x.ValueString = r.quantity(o.Get("valueQuantity"), at.member("valueQuantity"))
	default:
		r.find(r.loose, format.RequiredMissing, at.member("value"))
	}
	switch x.Status {
	case "", "final", "amended", "corrected":
	default:
		r.find(r.loose, BadStatus, at.member("status"))
	}
	return x
}

// given reports whether a member is there and says something.
func given(v object) bool { return v.Exists() && v.Kind() != strictjson.Null }

// Occurred reports whether the dose was given, as far as its status goes.
func (i *Immunization) Occurred() bool { return i.Status == "completed" }

// Final reports whether the result stands.
func (x *Observation) Final() bool {
	return x.Status == "final" || x.Status == "amended" || x.Status == "corrected"
}

// quantity writes an amount as people read it.
func (r *reader) quantity(o object, at *place) string {
	n, ok := o.Get("value").Number()
	if !ok {
		r.find(r.loose, format.BadType, at)
		return ""
	}
	unit := r.text(o, at, "unit", false)
	if unit == "" {
		unit = r.text(o, at, "code", false)
	}
	comparator := r.text(o, at, "comparator", false)
	return strings.TrimSpace(comparator + n.String() + " " + unit)
}

// resolve finds the patient of every event, and whose bundle it is.
func (r *reader) resolve(b *Bundle, root *place) {
	seen := make(map[string]bool, len(b.Entries))
	patients := 0
	for i, e := range b.Entries {
		if e.FullURL != "" && seen[e.FullURL] {
			// A reference to it could mean either.
			r.find(false, DuplicateURL, root.item("entry", i).member("fullUrl"))
		}
		seen[e.FullURL] = true
		if e.Patient == nil {
			continue
		}
		if patients++; patients > 1 {
			r.find(false, SeveralPatients, root.item("entry", i))
		}
	}
	if patients == 0 && len(b.Entries) > 0 {
		r.find(r.loose, format.RequiredMissing, root.member("entry.Patient"))
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		var ref Reference
		name := ""
		switch {
		case e.Immunization != nil:
			ref, name = e.Immunization.Patient, "patient"
		case e.Observation != nil:
			ref, name = e.Observation.Subject, "subject"
		default:
			continue
		}
		for _, p := range b.Entries {
			if p.Patient != nil && leadsTo(ref.Reference, p.FullURL) {
				e.Subject = p.Patient
			}
		}
		if e.Subject == nil {
			// A dose that is nobody's must not become somebody's.
			r.find(r.loose, Unresolved, root.item("entry", i).member("resource").member(name))
		}
	}
}

// leadsTo reports whether a reference means the entry of the URL: by its whole
// text, or as the end of an absolute address (FHIR, "Resolving references in
// Bundles").
func leadsTo(reference, url string) bool {
	if reference == "" {
		return false
	}
	return reference == url || strings.Contains(url, "://") && strings.HasSuffix(url, "/"+reference)
}

// code reads a CodeableConcept that must have a code.
func (r *reader) code(o object, at *place, name string) Concept {
	v := o.Get(name)
	at = at.member(name)
	if !v.Exists() {
		r.find(r.loose, format.RequiredMissing, at)
		return Concept{}
	}
	c := r.concept(v, at)
	if !slices.ContainsFunc(c.Coding, func(c Coding) bool { return c.Code != "" }) {
		r.find(r.loose, format.RequiredMissing, at.member("coding"))
	}
	return c
}

func (r *reader) concept(o object, at *place) Concept {
	if o.Kind() != strictjson.Object {
		r.find(r.loose, format.BadType, at)
		return Concept{}
	}
	c := Concept{Coding: readAll(r, o, at, "coding", r.coding), Text: r.text(o, at, "text", false)}
	if c.Text != "" {
		r.find(true, NotMinified, at.member("text"))
	}
	return c
}

func (r *reader) coding(o object, at *place) Coding {
	if o.Kind() != strictjson.Object {
		r.find(r.loose, format.BadType, at)
		return Coding{}
	}
	c := Coding{System: r.text(o, at, "system", false), Code: r.text(o, at, "code", false), Display: r.text(o, at, "display", false)}
	if c.Display != "" {
		r.find(true, NotMinified, at.member("display"))
	}
	if c.System == "" && c.Code != "" {
		r.find(true, format.RequiredMissing, at.member("system"))
	}
	return c
}

func (r *reader) identifier(o object, at *place) Identifier {
	if o.Kind() != strictjson.Object {
		r.find(true, format.BadType, at)
		return Identifier{}
	}
	i := Identifier{System: r.text(o, at, "system", false), Value: r.text(o, at, "value", false)}
	if t := o.Get("type"); t.Exists() {
		i.Type = r.concept(t, at.member("type"))
	}
	return i
}

func (r *reader) humanName(o object, at *place) HumanName {
	if o.Kind() != strictjson.Object {
		r.find(r.loose, format.BadType, at)
		return HumanName{}
	}
	return HumanName{
		Text:   r.text(o, at, "text", false),
		Family: r.text(o, at, "family", false),
		Given:  readAll(r, o, at, "given", r.textOf),
	}
}

func (r *reader) performer(o object, at *place) Performer {
	if o.Kind() != strictjson.Object {
		r.find(true, format.BadType, at)
		return Performer{}
	}
	return Performer{r.reference(o, at, "actor")}
}

func (r *reader) protocol(o object, at *place) Protocol {
	if o.Kind() != strictjson.Object {
		r.find(true, format.BadType, at)
		return Protocol{}
	}
	return Protocol{
		TargetDisease: readAll(r, o, at, "targetDisease", r.concept),
		DoseNumber:    r.count(o, at, "doseNumberPositiveInt"),
		SeriesDoses:   r.count(o, at, "seriesDosesPositiveInt"),
	}
}

func (r *reader) reference(o object, at *place, name string) Reference {
	v := o.Get(name)
	if !v.Exists() {
		return Reference{}
	}
	return r.referenceOf(v, at.member(name))
}

func (r *reader) referenceOf(o object, at *place) Reference {
	if o.Kind() != strictjson.Object {
		r.find(true, format.BadType, at)
		return Reference{}
	}
	ref := Reference{Reference: r.text(o, at, "reference", false), Display: r.text(o, at, "display", false)}
	if ref.Reference != "" && !isShortURL(ref.Reference) {
		r.find(true, LongURL, at.member("reference"))
	}
	if i := o.Get("identifier"); i.Exists() {
		ref.Identifier = r.identifier(i, at.member("identifier"))
	}
	return ref
}

// dateTime reads a FHIR dateTime: a date that may be partial, or a date, a time
// and a zone.
func (r *reader) dateTime(o object, at *place, name string, must bool) string {
	s := r.text(o, at, name, must && !r.loose)
	switch {
	case s == "" || format.IsPartialDate(s):
	case len(s) > 10 && s[10] == 'T' && format.IsDate(s[:10]):
		if _, err := time.Parse(time.RFC3339Nano, s); err == nil {
			break
		}
		// Without a zone the day is still told.
		r.find(true, format.BadDate, at.member(name))
	default:
		r.find(r.loose, format.BadDate, at.member(name))
	}
	return s
}

// maxCount bounds doses of a series.
const maxCount = 1000

func (r *reader) count(o object, at *place, name string) int {
	v := o.Get(name)
	if !v.Exists() {
		return 0
	}
	n, ok := v.Number()
	if !ok {
		r.find(true, format.BadType, at.member(name))
		return 0
	}
	i, err := n.Int64()
	if err != nil || i < 1 || i > maxCount {
		r.find(true, format.BadValue, at.member(name))
		return 0
	}
	return int(i)
}

// text reads a member that is a string.
func (r *reader) text(o object, at *place, name string, must bool) string {
	v := o.Get(name)
	if !v.Exists() {
		if must {
			r.find(false, format.RequiredMissing, at.member(name))
		}
		return ""
	}
	// Most texts are in order: their place is only made where one is not.
	s, ok := v.Text()
	if ok {
		if clean, odd := format.Clean(s); clean != "" && !odd {
			return clean
		}
	}
	s = r.textOf(v, at.member(name))
	if s == "" && must {
		r.find(false, format.RequiredMissing, at.member(name))
	}
	return s
}

func (r *reader) textOf(v object, at *place) string {
	s, ok := v.Text()
	if !ok {
		r.find(r.loose, format.BadType, at)
		return ""
	}
	s, odd := format.Clean(s)
	if odd {
		r.find(true, format.SuspiciousText, at)
	}
	return s
}

func (r *reader) array(o object, at *place, name string, must bool) object {
	v := o.Get(name)
	if !v.Exists() {
		if must {
			r.find(false, format.RequiredMissing, at.member(name))
		}
		return object{}
	}
	if v.Kind() != strictjson.Array {
		r.find(r.loose, format.BadType, at.member(name))
		return object{}
	}
	if must && v.Len() == 0 {
		r.find(false, format.RequiredMissing, at.member(name))
	}
	return v
}

// readAll reads an array of one kind of thing.
func readAll[T any](r *reader, o object, at *place, name string, read func(object, *place) T) []T {
	values := r.array(o, at, name, false)
	if values.Len() == 0 {
		return nil
	}
	all := make([]T, values.Len())
	for i := range all {
		all[i] = read(values.At(i), at.item(name, i))
	}
	return all
}

// isEmpty reports whether v is what FHIR does not have.
func isEmpty(v object) bool {
	switch v.Kind() {
	case strictjson.Object, strictjson.Array:
		return v.Len() == 0
	case strictjson.String:
		s, _ := v.Text()
		return s == ""
	}
	return v.Kind() == strictjson.Null
}

// empties remarks every empty value, which FHIR does not have: what is absent is
// left out.
func (r *reader) empties(v object, at *place) {
	if isEmpty(v) {
		r.find(true, EmptyValue, at)
	}
	for i := range v.Len() {
		m := v.At(i)
		if v.Kind() == strictjson.Array {
			r.empties(m, &place{at.up, at.name, i})
		} else {
			r.empties(m, at.member(m.Name()))
		}
	}
}
