package divoc

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
)

// Credential is what a certificate says. Texts are as the issuer wrote them, in
// normalisation form C; an empty text is one that is not there.
type Credential struct {
	Types      []string
	Issuer     string // an identifier, which need not be that of the key
	Issued     time.Time
	ValidFrom  time.Time // zero: from its issue
	ValidUntil time.Time // zero: no end
	Person     Person
	// Vaccinations are the doses, in the order of the document, which is not
	// signed.
	Vaccinations []Vaccination
	// NonTransferable is a remark of the platform, "true" in every certificate.
	NonTransferable string
}

// Person is the credential's subject.
type Person struct {
	ID          string // a DID made from an identity document: did:Passport:X1234567
	ReferenceID string // refId or uhid, the number in the issuer's register
	Name        string
	BirthDate   string // only under the context v2
	Age         string
	Gender      string
	Nationality string // in words, mostly
	Address     Address
}

// Address of a person or a facility.
type Address struct {
	Street, Street2, City, District, Region, PostalCode, Country string
}

// Vaccination is one entry of the credential's evidence.
type Vaccination struct {
	ID            string // a URL
	CertificateID string
	Vaccine       string // the product's name
	Manufacturer  string
	Batch         string
	ICD11         string // only under the context v2, like Prophylaxis
	Prophylaxis   string // the kind of vaccine
	Date          string // a date, mostly with a time
	From, Until   string // effectiveStart and effectiveUntil
	Dose          int    // 0: not said
	TotalDoses    int
	InfoURL       string
	FeedbackURL   string
	Verifier      string // who gave it
	Facility      string
	Address       Address // of the facility
}

// reader collects the findings.
type reader struct{ findings []format.Finding }

func (r *reader) find(tolerable bool, reason format.Defect, path string) {
	r.findings = append(r.findings, format.Finding{Path: path, Reason: reason, Tolerable: tolerable})
}

func (r *reader) credential(root map[string]any, c *Credential) {
	c.Types = types(root)
	if !slices.Contains(c.Types, "VerifiableCredential") || !slices.Contains(c.Types, "ProofOfVaccinationCredential") {
		r.find(false, format.BadValue, "type")
	}
	c.Issuer = r.id(root["issuer"], "issuer")
	if c.Issuer == "" {
		r.find(false, format.RequiredMissing, "issuer")
	}
	c.Issued = r.instant(root, "issuanceDate")
	if root["issuanceDate"] == nil {
		r.find(false, format.RequiredMissing, "issuanceDate")
	}
	// validFrom and validUntil belong to the successor of this data model, though
	// the context has them already.
	c.ValidFrom = r.instant(root, "validFrom")
	c.ValidUntil = r.instant(root, "validUntil")
	if end := r.instant(root, "expirationDate"); c.ValidUntil.IsZero() || !end.IsZero() && end.Before(c.ValidUntil) {
		c.ValidUntil = end
	}
	c.NonTransferable = r.text(root, "nonTransferable", "")

	switch subject := root["credentialSubject"].(type) {
	case map[string]any:
		r.person(subject, &c.Person)
	case []any:
		// Two persons in one certificate: which one is shown would be chance.
		r.find(false, format.SeveralCertificates, "credentialSubject")
	default:
		r.find(false, format.RequiredMissing, "credentialSubject")
	}
	evidence, isList := root["evidence"].([]any)
	if !isList && root["evidence"] != nil {
		evidence = []any{root["evidence"]}
	}
	if len(evidence) == 0 {
		r.find(false, format.RequiredMissing, "evidence")
	}
	for i, e := range evidence {
		path := "evidence[" + strconv.Itoa(i) + "]."
		if object, ok := e.(map[string]any); ok && slices.Contains(types(object), "Vaccination") {
			c.Vaccinations = append(c.Vaccinations, r.vaccination(object, path))
		} else {
			r.find(false, format.BadType, strings.TrimSuffix(path, "."))
		}
	}
}

func (r *reader) person(o map[string]any, p *Person) {
	const path = "credentialSubject."
	if !slices.Contains(types(o), "Person") {
		r.find(false, format.BadValue, path+"type")
	}
	p.ID = r.id(o, path+"id")
	p.ReferenceID = r.either(o, path, "refId", "uhid")
	p.Name = r.text(o, "name", path)
	if p.Name == "" {
		r.find(false, format.RequiredMissing, path+"name")
	}
	p.BirthDate = r.text(o, "dob", path)
	if p.BirthDate != "" && !format.IsPartialDate(p.BirthDate) && !startsWithDate(p.BirthDate) {
		r.find(true, format.BadDate, path+"dob")
	}
	p.Age = r.scalar(o, "age", path)
	p.Gender = r.either(o, path, "gender", "sex")
	p.Nationality = r.text(o, "nationality", path)
	p.Address = r.address(o, path)
}

func (r *reader) vaccination(o map[string]any, path string) Vaccination {
	v := Vaccination{
		ID:            r.id(o, path+"id"),
		CertificateID: r.scalar(o, "certificateId", path),
		Vaccine:       r.text(o, "vaccine", path),
		Manufacturer:  r.text(o, "manufacturer", path),
		Batch:         r.scalar(o, "batch", path),
		ICD11:         r.text(o, "icd11Code", path),
		Prophylaxis:   r.text(o, "prophylaxis", path),
		Date:          r.text(o, "date", path),
		From:          r.text(o, "effectiveStart", path),
		Until:         r.text(o, "effectiveUntil", path),
		Dose:          r.count(o, "dose", path),
		TotalDoses:    r.count(o, "totalDoses", path),
		InfoURL:       r.text(o, "infoUrl", path),
		FeedbackURL:   r.text(o, "feedbackUrl", path),
	}
	if verifier, ok := r.object(o, "verifier", path); ok {
		v.Verifier = r.text(verifier, "name", path+"verifier.")
	}
	if facility, ok := r.object(o, "facility", path); ok {
		v.Facility = r.text(facility, "name", path+"facility.")
		v.Address = r.address(facility, path+"facility.")
	}
	for _, due := range [...]struct{ name, value string }{{"vaccine", v.Vaccine}, {"date", v.Date}} {
		if due.value == "" {
			r.find(false, format.RequiredMissing, path+due.name)
		}
	}
	if v.Date != "" && !startsWithDate(v.Date) {
		r.find(false, format.BadDate, path+"date")
	}
	for _, d := range [...]struct{ name, value string }{{"effectiveStart", v.From}, {"effectiveUntil", v.Until}} {
		if d.value != "" && !startsWithDate(d.value) {
			r.find(true, format.BadDate, path+d.name)
		}
	}
	// The signature does not say which of the three dates is which, nor which of
	// the two numbers. A day's grace: the time of the dose is in UTC, the other
	// dates are the place's own.
	if later(v.Date, v.From) || later(v.From, v.Until) || later(v.Date, v.Until) {
		r.find(false, format.BadValue, path+"date")
	}
	if v.Dose > v.TotalDoses && v.TotalDoses > 0 {
		r.find(false, format.BadValue, path+"dose")
	}
	return v
}

// later reports whether date a is more than a day after b, where both are dates.
func later(a, b string) bool {
	if !startsWithDate(a) || !startsWithDate(b) {
		return false
	}
	x, errA := time.Parse(time.DateOnly, a[:10])
	y, errB := time.Parse(time.DateOnly, b[:10])
	return errA == nil && errB == nil && x.Sub(y) > 24*time.Hour
}

// startsWithDate reports whether s is a date, alone or with a time after it,
// which is not judged: nothing here is decided by the hour.
func startsWithDate(s string) bool {
	return len(s) >= 10 && format.IsDate(s[:10]) && (len(s) == 10 || s[10] == 'T' || s[10] == ' ')
}

func (r *reader) address(o map[string]any, path string) Address {
	a, ok := r.object(o, "address", path)
	if !ok {
		return Address{}
	}
	path += "address."
	return Address{
		Street: r.text(a, "streetAddress", path), Street2: r.text(a, "streetAddress2", path),
		City: r.text(a, "city", path), District: r.text(a, "district", path), Region: r.text(a, "addressRegion", path),
		PostalCode: r.scalar(a, "postalCode", path), Country: r.text(a, "addressCountry", path),
	}
}

// types returns the types of a node; statements.go has checked them.
func types(o map[string]any) []string {
	v := o["type"]
	if v == nil {
		v = o["@type"]
	}
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	var out []string
	for _, t := range list {
		if s, ok := t.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// id returns the identifier of a node, or a text that is one.
func (r *reader) id(v any, path string) string {
	switch x := v.(type) {
	case map[string]any:
		if v = x["id"]; v == nil {
			v = x["@id"]
		}
	case nil:
		return ""
	}
	s, ok := v.(string)
	if !ok && v != nil {
		r.find(false, format.BadType, path)
	}
	return r.clean(s, path)
}

func (r *reader) clean(s, path string) string {
	s, odd := format.Clean(s)
	if odd {
		r.find(true, format.SuspiciousText, path)
	}
	return s
}

// text returns a text. Anything else in its place is refused: the same statement
// can be written as an array of one or as a typed value, and a text that a holder
// could make unreadable would be as good as one that is not signed.
func (r *reader) text(o map[string]any, name, path string) string {
	v := o[name]
	s, ok := v.(string)
	if !ok && v != nil {
		r.find(false, format.BadType, path+name)
	}
	return r.clean(s, path+name)
}

// scalar returns a text or a number; postal codes and ages are either.
func (r *reader) scalar(o map[string]any, name, path string) string {
	if n, ok := o[name].(json.Number); ok {
		return string(n)
	}
	return r.text(o, name, path)
}

// either returns a text that has two names.
func (r *reader) either(o map[string]any, path, a, b string) string {
	first, second := r.scalar(o, a, path), r.scalar(o, b, path)
	if first == "" {
		return second
	}
	if second != "" && second != first {
		r.find(false, format.BadValue, path+b)
	}
	return first
}

// count returns a small number, which some write as a text.
func (r *reader) count(o map[string]any, name, path string) int {
	s := r.scalar(o, name, path)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 99 {
		r.find(false, format.BadValue, path+name)
		return 0
	}
	if _, ok := o[name].(string); ok {
		r.find(true, format.BadType, path+name)
	}
	return n
}

func (r *reader) instant(o map[string]any, name string) time.Time {
	s := r.text(o, name, "")
	if s == "" {
		if o[name] == "" {
			r.find(false, format.BadDate, name)
		}
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		r.find(false, format.BadDate, name)
	}
	return t
}

// object returns a node inside another.
func (r *reader) object(o map[string]any, name, path string) (map[string]any, bool) {
	child, ok := o[name].(map[string]any)
	if !ok && o[name] != nil {
		r.find(false, format.BadType, path+name)
	}
	return child, ok
}
