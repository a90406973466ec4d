package certlogic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Journey is what decides which rules apply.
type Journey struct {
	Arrival         string // country of arrival, ISO 3166 alpha-2
	Region          string // of the country of arrival; empty: the rules of the whole country
	Issuer          string // country that issued the certificate; empty: no invalidation rules
	CertificateType CertificateType
	Clock           time.Time // when the certificate is held against the rules
}

// Select returns the rules that apply to a journey, as the EU's engine chooses
// them: the acceptance rules of the country of arrival and of exactly the region
// asked for, the invalidation rules of the issuing country, both for the
// certificate's type or for all, in force at the clock with both ends included,
// and of each identifier the newest version alone. They come in the order of
// their identifiers, acceptance rules first.
func Select(rules []*Rule, j Journey) []*Rule {
	type key struct {
		kind       Type
		identifier string
	}
	newest := map[key]*Rule{}
	for _, r := range rules {
		k := key{r.Type, r.Identifier}
		if old := newest[k]; j.concerns(r) && (old == nil || r.Version.Compare(old.Version) > 0) {
			newest[k] = r
		}
	}
	selected := make([]*Rule, 0, len(newest))
	for _, r := range newest {
		selected = append(selected, r)
	}
	slices.SortFunc(selected, func(a, b *Rule) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Identifier, b.Identifier))
	})
	return selected
}

func (j *Journey) concerns(r *Rule) bool {
	if r.CertificateType != General && r.CertificateType != j.CertificateType {
		return false
	}
	if j.Clock.Before(r.ValidFrom) || j.Clock.After(r.ValidTo) {
		return false
	}
	if r.Type == Invalidation {
		return j.Issuer != "" && strings.EqualFold(r.Country, j.Issuer)
	}
	return j.Arrival != "" && strings.EqualFold(r.Country, j.Arrival) &&
		strings.EqualFold(strings.TrimSpace(r.Region), strings.TrimSpace(j.Region))
}

// ValueSets are the lists of codes that rules look into, in the form that
// evaluations read: made once, shared by all of them.
type ValueSets struct{ sets map[string]any }

// NewValueSets takes each set's codes by the set's identifier
// ("disease-agent-targeted").
func NewValueSets(codes map[string][]string) ValueSets {
	sets := make(map[string]any, len(codes))
	for name, list := range codes {
		items := make([]any, len(list))
		for i, code := range list {
			items[i] = code
		}
		sets[name] = items
	}
	return ValueSets{sets}
}

// ParseValueSets reads the "compressed" form that rules see: an object with an
// array of codes for each set.
func ParseValueSets(data []byte) (ValueSets, error) {
	v, err := strictjson.Decode(data, strictjson.Limits{})
	if err != nil {
		return ValueSets{}, fmt.Errorf("certlogic: value sets: %w", err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return ValueSets{}, fmt.Errorf("certlogic: value sets: %w", format.BadType)
	}
	codes := make(map[string][]string, len(object))
	for name, v := range object {
		list, ok := v.([]any)
		if !ok {
			return ValueSets{}, fmt.Errorf("certlogic: value set: %w", format.BadType)
		}
		codes[name] = make([]string, len(list))
		for i, item := range list {
			if codes[name][i], ok = item.(string); !ok {
				return ValueSets{}, fmt.Errorf("certlogic: %s: %w", at("value set", i), format.BadType)
			}
		}
	}
	return NewValueSets(codes), nil
}

// External is what rules see below "external", beside the payload.
type External struct {
	ValidationClock   time.Time // validationClock
	ValueSets         ValueSets // valueSets
	CountryCode       string    // countryCode, of the country of arrival
	Expiry            time.Time // exp, of the certificate; zero: null
	IssuedAt          time.Time // iat; zero: null
	IssuerCountryCode string    // issuerCountryCode
	KeyID             string    // kid, in base64
	Region            string    // region
	Advice            *Advice   // advice; nil: null
}

// Advice is what is known about the dose. The EU's engine has none; a
// destination may ask for it openly, {"var": "external.advice.value"}.
type Advice struct{ Value, Reason string }

// data makes the object that the paths of a rule begin in.
func (x *External) data(payload any) map[string]any {
	external := map[string]any{
		"validationClock":   moment(x.ValidationClock),
		"valueSets":         x.ValueSets.sets,
		"countryCode":       x.CountryCode,
		"exp":               moment(x.Expiry),
		"iat":               moment(x.IssuedAt),
		"issuerCountryCode": x.IssuerCountryCode,
		"kid":               x.KeyID,
		"region":            x.Region,
		"advice":            nil,
	}
	if x.Advice != nil {
		external["advice"] = map[string]any{"value": x.Advice.Value, "reason": x.Advice.Reason}
	}
	return map[string]any{"payload": payload, "external": external}
}

// moment writes a time in a format of plusTime. Zero is null.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return DateTime(t.UnixMilli()).String()
}

// Outcome is a rule's answer.
type Outcome string

// Open is no answer: the rule could not be evaluated, so it neither allows nor
// refuses, and people have to look.
const (
	Passed Outcome = "passed"
	Failed Outcome = "failed"
	Open   Outcome = "open"
)

// Why a rule is open, besides the defects of its evaluation.
const (
	ErrOtherEngine   format.Defect = "other-rule-engine"         // not CERTLOGIC
	ErrNewerEngine   format.Defect = "newer-rule-engine"         // EngineVersion is above SpecificationVersion, or no version
	ErrSchemaVersion format.Defect = "schema-version-mismatch"   // the payload's version is of another major version than SchemaVersion, older, or none
	ErrLogic         format.Defect = "logic-not-certlogic"       // Logic is nil
	ErrNotBoolean    format.Defect = "rule-result-not-a-boolean" // the value is neither true nor false
)

// Result is the answer of one rule.
type Result struct {
	Rule        *Rule
	Outcome     Outcome
	Reason      format.Defect // why it is open; empty otherwise
	Err         error         // the same with the place in the logic
	Description string        // of the rule, in the language asked for where there is one
}

// Apply holds a certificate against each rule. The payload is the certificate's
// as plain JSON in Go, as [Expr.Evaluate] takes it; its "ver" must be of the
// major version that a rule is written for, and not older. Language is that of
// the descriptions ("fr"), with English where a rule has not got it.
func Apply(rules []*Rule, payload any, external External, language string) []Result {
	data := external.data(payload)
	results := make([]Result, len(rules))
	for i, r := range rules {
		result := Result{Rule: r, Outcome: Open, Description: r.Describe(language)}
		switch passed, err := r.decide(data); {
		case err != nil:
			result.Err = fmt.Errorf("rule %s: %w", format.Visible(r.Identifier), err)
			result.Reason = format.Defect(format.Reason(err, string(ErrLogic)))
		case passed:
			result.Outcome = Passed
		default:
			result.Outcome = Failed
		}
		results[i] = result
	}
	return results
}

// specificationVersion is SpecificationVersion, parsed.
var specificationVersion, _ = ParseVersion(SpecificationVersion)

// decide evaluates r; an error leaves it open.
func (r *Rule) decide(data map[string]any) (bool, error) {
	if r.Engine != EngineCertLogic {
		return false, ErrOtherEngine
	}
	if v, ok := ParseVersion(r.EngineVersion); !ok || v.Compare(specificationVersion) > 0 {
		return false, ErrNewerEngine
	}
	payload, _ := data["payload"].(map[string]any)
	text, _ := payload["ver"].(string)
	have, ok := ParseVersion(text)
	want, okRule := ParseVersion(r.SchemaVersion)
	if !ok || !okRule || have[0] != want[0] || have.Compare(want) < 0 {
		return false, ErrSchemaVersion
	}
	if r.Logic == nil {
		return false, ErrLogic
	}
	v, err := r.Logic.Evaluate(data)
	if err != nil {
		return false, err
	}
	passed, ok := v.(bool)
	if !ok {
		return false, ErrNotBoolean
	}
	return passed, nil
}
