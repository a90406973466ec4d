package certlogic

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Type says whose rule it is.
type Type string

// An acceptance rule is the country's of arrival, an invalidation rule the
// country's that issued the certificate.
const (
	Acceptance   Type = "Acceptance"
	Invalidation Type = "Invalidation"
)

// CertificateType is the kind of certificate that a rule is about; General is
// every kind.
type CertificateType string

// The kinds of certificate.
const (
	General     CertificateType = "General"
	Vaccination CertificateType = "Vaccination"
	Test        CertificateType = "Test"
	Recovery    CertificateType = "Recovery"
)

// EngineCertLogic is the engine of the rules that this package evaluates.
const EngineCertLogic = "CERTLOGIC"

// Rule is a rule document of the EU gateway (validation-rule.schema.json).
type Rule struct {
	Identifier      string // "VR-DE-0001"
	Type            Type
	Country         string // ISO 3166 alpha-2, or EU
	Region          string // of the country, mostly empty
	Version         Version
	SchemaVersion   string // of the certificate's payload, the oldest that it is written for
	Engine          string
	EngineVersion   string
	CertificateType CertificateType
	Description     []Description
	ValidFrom       time.Time
	ValidTo         time.Time
	AffectedFields  []string // data paths below payload, "v.0.dt"
	// Logic is nil where the rule's logic is no expression of CertLogic as this
	// package knows it: another engine's, a newer version's or a broken one. Such
	// a rule stays open.
	Logic *Expr

	logicFindings []format.Finding
	extra         []string // members that the schema has not
	literalLogic  bool     // the logic is a text, number, truth value or array
}

// Description is what a rule asks for, in words for people.
type Description struct {
	Language string // lang: "en"
	Text     string // desc
}

// Version is MAJOR.MINOR.PATCH (Semantic Versioning 2.0.0, without the
// pre-release and build parts, which no engine of the EU orders).
type Version [3]int

// ParseVersion reads three numbers with points between them.
func ParseVersion(s string) (v Version, ok bool) {
	part := strings.Split(s, ".")
	if len(part) != len(v) {
		return Version{}, false
	}
	for i, p := range part {
		if len(p) < 1 || len(p) > 6 || !allDigits(p) {
			return Version{}, false
		}
		v[i] = number(p)
	}
	return v, true
}

// Compare returns a negative number where v is older than w, a positive one
// where it is newer.
func (v Version) Compare(w Version) int { return slices.Compare(v[:], w[:]) }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// The defects of a rule document, besides those that all formats share. Errors
// wrap them with the member.
const (
	ErrVersion         format.Defect = "not-a-version"             // not three numbers
	ErrIdentifier      format.Defect = "bad-rule-identifier"       // not (GR|VR|TR|RR|IR)-CC-0000
	ErrIdentifierKind  format.Defect = "identifier-of-other-kind"  // its prefix is another type's
	ErrIdentifierState format.Defect = "identifier-of-other-state" // its country is not Country
	ErrNoEnglish       format.Defect = "no-english-description"    //
	ErrShort           format.Defect = "description-too-short"     // fewer than 20 characters
	ErrValidity        format.Defect = "never-valid"               // ValidFrom is not before ValidTo
	ErrAffectedFields  format.Defect = "affected-fields-differ"    // from the paths that the logic accesses
	ErrNotOperation    format.Defect = "logic-not-an-operation"    // a literal or an array
	ErrExtraMember     format.Defect = "member-not-in-schema"      //
)

// ParseRule reads one rule document. It is an error where something is missing
// or unreadable that decides to whom and when the rule applies. Everything else
// is left to [Rule.Check], and the rule to [Apply], which answers open where it
// cannot be evaluated.
func ParseRule(data []byte) (*Rule, error) {
	v, err := strictjson.Decode(data, strictjson.Limits{Bytes: 2 * MaxBytes, Depth: MaxDepth + 2})
	if err != nil {
		return nil, fmt.Errorf("certlogic: rule: %w", err)
	}
	r, err := readRule(v)
	if err != nil {
		return nil, fmt.Errorf("certlogic: rule: %w", err)
	}
	return r, nil
}

// ParseRules reads an array of rule documents. It returns every rule that could
// be read, and an error that joins what is wrong with the others, each with its
// index. Who judges by the rest must know that a rule is missing: what a rule
// would have refused passes without it.
func ParseRules(data []byte) ([]*Rule, error) {
	v, err := strictjson.Decode(data, strictjson.Limits{Depth: MaxDepth + 3})
	if err != nil {
		return nil, fmt.Errorf("certlogic: rules: %w", err)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("certlogic: rules: %w", format.BadType)
	}
	var rules []*Rule
	var errs []error
	for i, v := range list {
		r, err := readRule(v)
		if err != nil {
			errs = append(errs, fmt.Errorf("certlogic: rules[%d]: %w", i, err))
			continue
		}
		rules = append(rules, r)
	}
	return rules, errors.Join(errs...)
}

// ruleReader reads the members of a rule and keeps the first defect.
type ruleReader struct {
	members map[string]any
	err     error
}

func (r *ruleReader) fail(name string, defect format.Defect) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", name, defect)
	}
}

func (r *ruleReader) take(name string) any {
	v, ok := r.members[name]
	if !ok || v == nil {
		r.fail(name, format.RequiredMissing)
	}
	delete(r.members, name)
	return v
}

func (r *ruleReader) text(name string) string {
	s, ok := r.take(name).(string)
	if !ok {
		r.fail(name, format.BadType)
	} else if s == "" {
		r.fail(name, format.RequiredMissing)
	}
	return s
}

func (r *ruleReader) moment(name string) time.Time {
	s := r.text(name)
	d, ok := parseDateTime(s)
	if !ok || len(s) <= 10 {
		r.fail(name, ErrDateTime)
	}
	return d.Time()
}

func (r *ruleReader) list(name string) []any {
	list, ok := r.take(name).([]any)
	if !ok {
		r.fail(name, format.BadType)
	}
	return list
}

func readRule(v any) (*Rule, error) {
	members, ok := v.(map[string]any)
	if !ok {
		return nil, format.BadType
	}
	// The reader takes out what it has read; the rest is what the schema has not.
	r := ruleReader{members: members}
	rule := &Rule{
		Identifier:      r.text("Identifier"),
		Type:            Type(r.text("Type")),
		Country:         r.text("Country"),
		SchemaVersion:   r.text("SchemaVersion"),
		Engine:          r.text("Engine"),
		EngineVersion:   r.text("EngineVersion"),
		CertificateType: CertificateType(r.text("CertificateType")),
		ValidFrom:       r.moment("ValidFrom"),
		ValidTo:         r.moment("ValidTo"),
	}
	if _, there := members["Region"]; there {
		rule.Region, ok = r.take("Region").(string)
		if !ok {
			r.fail("Region", format.BadType)
		}
	}
	if rule.Version, ok = ParseVersion(r.text("Version")); !ok {
		r.fail("Version", ErrVersion)
	}
	if rule.Type != Acceptance && rule.Type != Invalidation {
		r.fail("Type", format.BadCode)
	}
	switch rule.CertificateType {
	case General, Vaccination, Test, Recovery:
	default:
		r.fail("CertificateType", format.BadCode)
	}
	for i, v := range r.list("Description") {
		d, _ := v.(map[string]any)
		lang, ok1 := d["lang"].(string)
		desc, ok2 := d["desc"].(string)
		if !ok1 || !ok2 {
			r.fail(at("Description", i), format.BadType)
		}
		rule.Description = append(rule.Description, Description{lang, desc})
	}
	for i, v := range r.list("AffectedFields") {
		field, ok := v.(string)
		if !ok {
			r.fail(at("AffectedFields", i), format.BadType)
		}
		rule.AffectedFields = append(rule.AffectedFields, field)
	}
	logic := r.take("Logic")
	if r.err != nil {
		return nil, r.err
	}
	rule.Logic, rule.logicFindings = compile(logic)
	_, isOperation := logic.(map[string]any)
	rule.literalLogic = !isOperation
	for name := range members {
		rule.extra = append(rule.extra, name)
	}
	slices.Sort(rule.extra)
	return rule, nil
}

// Describe returns the description in a language, or in its base language
// ("de" for "de-at"), or in English, or the first there is.
func (r *Rule) Describe(language string) string {
	base, _, _ := strings.Cut(language, "-")
	for _, want := range []string{language, base, "en"} {
		for _, d := range r.Description {
			if strings.EqualFold(d.Language, want) {
				return d.Text
			}
		}
	}
	if len(r.Description) > 0 {
		return r.Description[0].Text
	}
	return ""
}

// prefixes are the heads of the identifiers of acceptance rules; those of
// invalidation rules begin with IR whatever the certificate.
var prefixes = map[CertificateType]string{General: "GR", Vaccination: "VR", Test: "TR", Recovery: "RR"}

// Check holds r against what the EU gateway asks of a rule that is handed in,
// as far as the rule itself shows it. The findings that are tolerable change
// nothing about its answer.
func (r *Rule) Check() []format.Finding {
	var findings []format.Finding
	report := func(path string, reason format.Defect, tolerable bool) {
		findings = append(findings, format.Finding{Path: path, Reason: reason, Tolerable: tolerable})
	}
	r.checkIdentifier(report)
	if !isCountry(r.Country) {
		report("Country", format.BadCode, false)
	}
	if !isRegion(r.Region) {
		report("Region", format.BadCode, false)
	}
	if r.Engine != EngineCertLogic {
		report("Engine", ErrOtherEngine, false)
	}
	if _, ok := ParseVersion(r.EngineVersion); !ok {
		report("EngineVersion", ErrVersion, false)
	}
	if _, ok := ParseVersion(r.SchemaVersion); !ok {
		report("SchemaVersion", ErrVersion, false)
	}
	if !r.ValidFrom.Before(r.ValidTo) {
		report("ValidTo", ErrValidity, false)
	}
	r.checkDescription(report)
	r.checkLogic(report)
	for _, name := range r.extra {
		report(format.Visible(name), ErrExtraMember, true)
	}
	return findings
}

type reporter func(path string, reason format.Defect, tolerable bool)

func (r *Rule) checkIdentifier(report reporter) {
	part := strings.Split(r.Identifier, "-")
	if len(part) != 3 || !isPrefix(part[0]) || !isCountry(part[1]) || len(part[2]) != 4 || !allDigits(part[2]) {
		report("Identifier", ErrIdentifier, false)
		return
	}
	want := prefixes[r.CertificateType]
	if r.Type == Invalidation {
		want = "IR"
	}
	if part[0] != want {
		report("Identifier", ErrIdentifierKind, false)
	}
	if part[1] != r.Country {
		report("Identifier", ErrIdentifierState, false)
	}
}

func (r *Rule) checkDescription(report reporter) {
	english := false
	for i, d := range r.Description {
		english = english || d.Language == "en"
		if !isLanguage(d.Language) {
			report(at("Description", i)+".lang", format.BadCode, true)
		}
		if utf8.RuneCountInString(d.Text) < 20 {
			report(at("Description", i)+".desc", ErrShort, true)
		}
	}
	if !english {
		report("Description", ErrNoEnglish, true)
	}
}

func (r *Rule) checkLogic(report reporter) {
	for _, f := range r.logicFindings {
		path := "Logic"
		switch {
		case strings.HasPrefix(f.Path, "["):
			path += f.Path
		case f.Path != "":
			path += "." + f.Path
		}
		report(path, f.Reason, false)
	}
	if r.literalLogic {
		report("Logic", ErrNotOperation, false)
	}
	if r.Logic == nil {
		return
	}
	var fields []string
	for _, path := range r.Logic.Fields() {
		if field, ok := strings.CutPrefix(path, "payload."); ok {
			fields = append(fields, field)
		}
	}
	if !slices.Equal(slices.Compact(slices.Sorted(slices.Values(r.AffectedFields))), fields) {
		report("AffectedFields", ErrAffectedFields, true)
	}
	if len(r.AffectedFields) == 0 {
		report("AffectedFields", format.RequiredMissing, true)
	}
}

func isPrefix(s string) bool {
	if s == "IR" {
		return true
	}
	for _, p := range prefixes {
		if p == s {
			return true
		}
	}
	return false
}

func isCountry(s string) bool { return len(s) == 2 && consists(s, 'A', 'Z') }

// isRegion holds s against ^[A-Z0-9]{0,5}$.
func isRegion(s string) bool {
	return len(s) <= 5 && !strings.ContainsFunc(s, func(c rune) bool { return (c < 'A' || c > 'Z') && (c < '0' || c > '9') })
}

// isLanguage holds s against ^([a-z]{2}|[a-z]{2}-[a-z]{2})$.
func isLanguage(s string) bool {
	base, region, both := strings.Cut(s, "-")
	return len(base) == 2 && consists(base, 'a', 'z') && (!both || len(region) == 2 && consists(region, 'a', 'z'))
}

func consists(s string, from, to byte) bool {
	for i := range len(s) {
		if s[i] < from || s[i] > to {
			return false
		}
	}
	return true
}

func at(name string, i int) string { return name + "[" + strconv.Itoa(i) + "]" }
