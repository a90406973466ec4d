// Package eudcc reads and writes the payload of the EU Digital COVID
// Certificate (HCERT subclaim 1), schema versions 1.0.0 to 1.3.2 of the eHealth
// Network's DCC schema:
//
//	{ ver, nam { fn, fnt, gn, gnt }, dob, exactly one of v | t | r: [ entry ] }
//
// [Decode] reads whatever is readable and lists every departure from the schema
// of the payload's own version. Value sets are no part of the schema: a code
// that is not in its set is for the reader to remark on.
package eudcc

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"ampoule/format"
	"ampoule/format/cbor"
)

// Name is nam: the person's name, and its transliteration after ICAO Doc 9303
// part 3.
type Name struct {
	Surname, StandardSurname   string // fn, fnt
	Forename, StandardForename string // gn, gnt
}

// Certificate is a DCC payload. Dates stay as they were written, since they
// may be partial or carry a time.
type Certificate struct {
	Version     string // ver
	Name        Name   // nam
	DateOfBirth string // dob
	// Exactly one of the three in a proper certificate.
	Vaccination *Vaccination // v[0]
	Test        *Test        // t[0]
	Recovery    *Recovery    // r[0]
}

// Vaccination is an entry of v.
type Vaccination struct {
	Target       string // tg, disease or agent targeted
	Prophylaxis  string // vp
	Product      string // mp, vaccine medicinal product
	Manufacturer string // ma, marketing authorisation holder or manufacturer
	Dose, Doses  int64  // dn of sd
	Date         string // dt
	Country      string // co
	Issuer       string // is
	ID           string // ci, unique certificate identifier (UVCI)
}

// Test is an entry of t.
type Test struct {
	Target     string // tg
	Type       string // tt
	Name       string // nm, of a nucleic acid test
	Device     string // ma, rapid antigen test device
	SampleTime string // sc
	ResultTime string // dr, versions 1.0 and 1.1 only
	Result     string // tr
	Centre     string // tc
	Country    string // co
	Issuer     string // is
	ID         string // ci
}

// Recovery is an entry of r.
type Recovery struct {
	Target        string // tg
	FirstPositive string // fr, date of the first positive test result
	Country       string // co
	Issuer        string // is
	From, Until   string // df, du
	ID            string // ci
}

// LatestVersion is what Append writes best: the last published schema.
const LatestVersion = "1.3.2"

// rules are what changed between the versions of the schema.
type rules struct {
	fullBirthDate  bool  // dob: a full date only (1.0.x)
	emptyBirthDate bool  // dob may be "" (since 1.3.0)
	maxText        int   // of names, issuers, identifiers, in characters
	maxTestName    int   // of nm; 0 = unbounded
	maxDose        int64 // of dn and sd
	centreRequired bool  // t[0].tc
	resultTime     bool  // t[0].dr is a date-time (until 1.1.0)
	forenameAlone  bool  // gnt may stand for fnt (since 1.3.2)
}

func rulesFor(version string) rules {
	switch version {
	case "1.0.0", "1.0.1":
		return rules{fullBirthDate: true, maxText: 50, maxDose: 9, centreRequired: true, resultTime: true}
	case "1.1.0":
		return rules{maxText: 50, maxDose: 9, centreRequired: true, resultTime: true}
	case "1.2.0", "1.2.1":
		return rules{maxText: 50, maxDose: 9, centreRequired: true}
	case "1.3.0", "1.3.1":
		return rules{emptyBirthDate: true, maxText: 80, maxTestName: 80, maxDose: math.MaxInt64}
	}
	// A later version is read by the last rules known: versions of 1.x only add.
	return rules{emptyBirthDate: true, maxText: 80, maxTestName: 80, maxDose: math.MaxInt64, forenameAlone: true}
}

// reader collects findings on the way through the payload.
type reader struct {
	rules
	findings []format.Finding
}

func (r *reader) find(tolerable bool, reason format.Defect, path ...string) {
	r.findings = append(r.findings, format.Finding{Path: strings.Join(path, "."), Reason: reason, Tolerable: tolerable})
}

// Decode reads a payload. The findings say where it departs from the schema of
// its version; the certificate holds what could be read all the same.
func Decode(v cbor.Value) (*Certificate, []format.Finding) {
	c := new(Certificate)
	r := new(reader)
	if v.Kind() != cbor.Map {
		r.find(false, format.BadType, "")
		return c, r.findings
	}
	ver, _ := v.Get("ver").Text()
	r.rules = rulesFor(ver)
	c.Version = r.text(v, "", "ver", required, 0)
	if _, isText := v.Get("ver").Untagged().Text(); isText && !isVersion(c.Version) {
		r.find(true, format.BadValue, "ver")
	}
	c.DateOfBirth = r.birthDate(v)
	c.Name = r.name(v.Get("nam"))
	r.groups(v, c)
	return c, r.findings
}

const (
	required = true
	optional = false
)

// text reads a string property of m. max is in characters, 0 for none.
func (r *reader) text(m cbor.Value, at, key string, must bool, max int) string {
	p := m.Get(key)
	s, ok := p.Text()
	if !ok {
		s, ok = p.Untagged().Text() // tag 0 is seen around times
	}
	switch {
	case ok:
	case !p.Exists():
		if must {
			r.find(false, format.RequiredMissing, join(at, key)...)
		}
		return ""
	case p.IsNull():
		// Seen for absent values: harmless where the value is optional.
		r.find(!must, format.NullValue, join(at, key)...)
		return ""
	default:
		r.find(false, format.BadType, join(at, key)...)
		return ""
	}
	s, odd := format.Clean(s)
	if max > 0 && len(s) > max && utf8.RuneCountInString(s) > max {
		r.find(true, format.TooLong, join(at, key)...)
	}
	if odd {
		r.find(true, format.SuspiciousText, join(at, key)...)
	}
	return s
}

func join(at, key string) []string {
	if at == "" {
		return []string{key}
	}
	return []string{at, key}
}

// isVersion follows the schema's ^\d+.\d+.\d+$, with the dots for dots.
func isVersion(s string) bool {
	numbers := 0
	for len(s) > 0 {
		part, rest, dot := strings.Cut(s, ".")
		if !isNumber(part) || dot && rest == "" {
			return false
		}
		numbers++
		s = rest
	}
	return numbers == 3
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func (r *reader) birthDate(v cbor.Value) string {
	s := r.text(v, "", "dob", required, 0)
	century := strings.HasPrefix(s, "19") || strings.HasPrefix(s, "20")
	switch {
	case !v.Get("dob").Exists() || s == "" && v.Get("dob").IsNull():
	case s == "" && r.emptyBirthDate:
	case s == "", r.fullBirthDate && format.IsPartialDate(s) && !format.IsDate(s), hasTime(s):
		r.find(true, format.BadDate, "dob")
	case !format.IsPartialDate(s) || !century:
		r.find(false, format.BadDate, "dob")
	}
	return s
}

// hasTime recognises a date-time where a date is due: several countries wrote
// the midnight in.
func hasTime(s string) bool {
	return len(s) > 10 && s[10] == 'T' && format.IsDate(s[:10])
}

func (r *reader) name(nam cbor.Value) Name {
	if nam.Kind() != cbor.Map {
		reason := format.BadType
		if !nam.Exists() {
			reason = format.RequiredMissing
		}
		r.find(false, reason, "nam")
		return Name{}
	}
	surnameDue := !r.forenameAlone || !nam.Get("gnt").Exists()
	n := Name{
		Surname:          r.text(nam, "nam", "fn", optional, r.maxText),
		StandardSurname:  r.text(nam, "nam", "fnt", surnameDue, r.maxText),
		Forename:         r.text(nam, "nam", "gn", optional, r.maxText),
		StandardForename: r.text(nam, "nam", "gnt", optional, r.maxText),
	}
	// Seen: blanks and national letters. They hinder comparison, not reading.
	if !isMRZ(n.StandardSurname) {
		r.find(true, format.BadValue, "nam.fnt")
	}
	if !isMRZ(n.StandardForename) {
		r.find(true, format.BadValue, "nam.gnt")
	}
	return n
}

// isMRZ follows the schema's ^[A-Z<]*$.
func isMRZ(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '<' && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// groups reads the one entry. A certificate is about one event: readers must
// refuse several (dcc-quality-assurance, special cases).
func (r *reader) groups(v cbor.Value, c *Certificate) {
	entries := 0
	for _, key := range [...]string{"v", "t", "r"} {
		group := v.Get(key)
		switch {
		case !group.Exists():
			continue
		case group.IsNull():
			r.find(true, format.NullValue, key)
			continue
		case group.Kind() != cbor.Array || group.Len() == 0:
			r.find(false, format.BadType, key)
			continue
		}
		entries += group.Len()
		e := group.Index(0)
		if e.Kind() != cbor.Map {
			r.find(false, format.BadType, key+"[0]")
			continue
		}
		switch key {
		case "v":
			c.Vaccination = r.vaccination(e)
		case "t":
			c.Test = r.test(e)
		case "r":
			c.Recovery = r.recovery(e)
		}
	}
	switch {
	case entries > 1:
		r.find(false, format.SeveralCertificates, "v|t|r")
	case entries == 0:
		r.find(false, format.RequiredMissing, "v|t|r")
	}
}

func (r *reader) vaccination(e cbor.Value) *Vaccination {
	const at = "v[0]"
	return &Vaccination{
		Target:       r.text(e, at, "tg", required, 0),
		Prophylaxis:  r.text(e, at, "vp", required, 0),
		Product:      r.text(e, at, "mp", required, 0),
		Manufacturer: r.text(e, at, "ma", required, 0),
		Dose:         r.dose(e, at, "dn"),
		Doses:        r.dose(e, at, "sd"),
		Date:         r.date(e, at, "dt"),
		Country:      r.country(e, at),
		Issuer:       r.text(e, at, "is", required, r.maxText),
		ID:           r.text(e, at, "ci", required, r.maxText),
	}
}

func (r *reader) test(e cbor.Value) *Test {
	const at = "t[0]"
	t := &Test{
		Target:     r.text(e, at, "tg", required, 0),
		Type:       r.text(e, at, "tt", required, 0),
		Name:       r.text(e, at, "nm", optional, r.maxTestName),
		Device:     r.text(e, at, "ma", optional, 0),
		SampleTime: r.dateTime(e, at, "sc", required),
		Result:     r.text(e, at, "tr", required, 0),
		Centre:     r.text(e, at, "tc", r.centreRequired, r.maxText),
		Country:    r.country(e, at),
		Issuer:     r.text(e, at, "is", required, r.maxText),
		ID:         r.text(e, at, "ci", required, r.maxText),
	}
	// Later versions do not define dr, and issuers went on writing it.
	if r.resultTime {
		t.ResultTime = r.dateTime(e, at, "dr", optional)
	} else if _, ok := e.Get("dr").Untagged().Text(); ok {
		t.ResultTime = r.text(e, at, "dr", optional, 0)
	}
	return t
}

func (r *reader) recovery(e cbor.Value) *Recovery {
	const at = "r[0]"
	return &Recovery{
		Target:        r.text(e, at, "tg", required, 0),
		FirstPositive: r.date(e, at, "fr"),
		Country:       r.country(e, at),
		Issuer:        r.text(e, at, "is", required, r.maxText),
		From:          r.date(e, at, "df"),
		Until:         r.date(e, at, "du"),
		ID:            r.text(e, at, "ci", required, r.maxText),
	}
}

// dose reads a positive integer. JSON Schema counts 2.0 among the integers, and
// one country sends it so.
func (r *reader) dose(e cbor.Value, at, key string) int64 {
	p := e.Get(key)
	n, ok := p.Int()
	if f, isFloat := p.Float(); isFloat && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		n, ok = int64(f), true
	}
	switch {
	case !p.Exists():
		r.find(false, format.RequiredMissing, at, key)
	case !ok:
		r.find(false, format.BadType, at, key)
	case n < 1:
		r.find(false, format.BadValue, at, key)
	case n > r.maxDose:
		r.find(true, format.BadValue, at, key)
	}
	return n
}

func (r *reader) country(e cbor.Value, at string) string {
	s := r.text(e, at, "co", required, 0)
	_, isText := e.Get("co").Untagged().Text()
	if isText && !strings.ContainsFunc(s, func(c rune) bool { return c >= 'A' && c <= 'Z' }) {
		r.find(false, format.BadCode, at, "co")
	}
	return s
}

func (r *reader) date(e cbor.Value, at, key string) string {
	s := r.text(e, at, key, required, 0)
	if s == "" && !e.Get(key).Exists() || format.IsDate(s) {
		return s
	}
	r.find(hasTime(s), format.BadDate, at, key)
	return s
}

func (r *reader) dateTime(e cbor.Value, at, key string, must bool) string {
	s := r.text(e, at, key, must, 0)
	if !e.Get(key).Exists() || IsDateTime(s) {
		return s
	}
	// Seen: an empty string for an optional time, a blank for the T, an offset
	// without its colon. The instant is plain in the last two.
	_, err := ParseDateTime(s)
	r.find(!must || err == nil, format.BadDate, at, key)
	return s
}

// IsDateTime reports whether s is a date-time of RFC 3339 section 5.6. The leap
// second is not known here.
func IsDateTime(s string) bool {
	s = strings.ToUpper(s)
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		return false
	}
	// time.Parse also takes an hour of one digit, a decimal comma, and offsets of
	// 24 hours or 60 minutes.
	if s[13] != ':' || strings.Contains(s, ",") {
		return false
	}
	offset := s[len(s)-5:]
	return strings.HasSuffix(s, "Z") || offset[:2] <= "23" && offset[3:] <= "59"
}

// ParseDateTime reads a date-time as issuers write it: after RFC 3339, or with
// the offset as +0200 or +02, or without one (UTC), or a mere date.
func ParseDateTime(s string) (time.Time, error) {
	for _, layout := range [...]string{
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05",
		"2006-01-02 15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("date-time: %w", format.BadDate)
}

// Encode writes the payload and reads it again: the findings are what the schema
// has against it, and nothing is tolerable in what is about to be signed.
func Encode(c *Certificate) ([]byte, []format.Finding) {
	data := Append(make([]byte, 0, 384), c)
	v, err := cbor.Parse(data, cbor.DefaultLimits)
	if err != nil { // a text that is not UTF-8
		return nil, []format.Finding{{Reason: format.BadValue}}
	}
	_, findings := Decode(v)
	return data, findings
}

// EmptyTexts finds what a vaccination must say and the schema lets be empty.
func (c *Certificate) EmptyTexts() (findings []format.Finding) {
	v := c.Vaccination
	if v == nil {
		return nil
	}
	for _, f := range [...]struct{ path, text string }{
		{"v[0].tg", v.Target}, {"v[0].vp", v.Prophylaxis}, {"v[0].mp", v.Product}, {"v[0].ma", v.Manufacturer}, {"v[0].is", v.Issuer},
	} {
		if f.text == "" {
			findings = append(findings, format.Finding{Path: f.path, Reason: format.RequiredMissing})
		}
	}
	return findings
}

// Append writes the payload in deterministic CBOR. Optional texts that are
// empty are left out.
func Append(dst []byte, c *Certificate) []byte {
	dst = cbor.AppendMap(dst, 4)
	switch {
	case c.Test != nil:
		dst = appendTest(cbor.AppendArray(cbor.AppendText(dst, "t"), 1), c.Test)
	case c.Recovery != nil:
		dst = appendRecovery(cbor.AppendArray(cbor.AppendText(dst, "r"), 1), c.Recovery)
	case c.Vaccination != nil:
		dst = appendVaccination(cbor.AppendArray(cbor.AppendText(dst, "v"), 1), c.Vaccination)
	default:
		dst = cbor.AppendArray(cbor.AppendText(dst, "v"), 0)
	}
	dst = cbor.AppendText(cbor.AppendText(dst, "dob"), c.DateOfBirth)
	dst = appendTexts(cbor.AppendText(dst, "nam"), []pair{
		{"fn", c.Name.Surname}, {"gn", c.Name.Forename},
		{"fnt", c.Name.StandardSurname}, {"gnt", c.Name.StandardForename},
	})
	return cbor.AppendText(cbor.AppendText(dst, "ver"), c.Version)
}

type pair struct{ key, val string }

// appendTexts writes a map of the pairs that have a value. The caller orders
// them: shorter keys first, then bytewise.
func appendTexts(dst []byte, pairs []pair) []byte {
	n := 0
	for _, p := range pairs {
		if p.val != "" {
			n++
		}
	}
	dst = cbor.AppendMap(dst, n)
	for _, p := range pairs {
		if p.val != "" {
			dst = cbor.AppendText(cbor.AppendText(dst, p.key), p.val)
		}
	}
	return dst
}

func appendVaccination(dst []byte, v *Vaccination) []byte {
	dst = cbor.AppendMap(dst, 10)
	text := func(key, val string) { dst = cbor.AppendText(cbor.AppendText(dst, key), val) }
	text("ci", v.ID)
	text("co", v.Country)
	dst = cbor.AppendInt(cbor.AppendText(dst, "dn"), v.Dose)
	text("dt", v.Date)
	text("is", v.Issuer)
	text("ma", v.Manufacturer)
	text("mp", v.Product)
	dst = cbor.AppendInt(cbor.AppendText(dst, "sd"), v.Doses)
	text("tg", v.Target)
	text("vp", v.Prophylaxis)
	return dst
}

func appendTest(dst []byte, t *Test) []byte {
	return appendTexts(dst, []pair{
		{"ci", t.ID}, {"co", t.Country}, {"dr", t.ResultTime}, {"is", t.Issuer}, {"ma", t.Device}, {"nm", t.Name},
		{"sc", t.SampleTime}, {"tc", t.Centre}, {"tg", t.Target}, {"tr", t.Result}, {"tt", t.Type},
	})
}

func appendRecovery(dst []byte, r *Recovery) []byte {
	return appendTexts(dst, []pair{
		{"ci", r.ID}, {"co", r.Country}, {"df", r.From}, {"du", r.Until},
		{"fr", r.FirstPositive}, {"is", r.Issuer}, {"tg", r.Target},
	})
}
