package verifier

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"ampoule/cert"
	"ampoule/format/certlogic"
)

// Rules are those that certificates are held against in step 11, besides the
// decision tables that a format brings.
type Rules struct {
	Rules []*certlogic.Rule
	// ValueSets are the codes that the rules look up; nil means those of
	// [cert.ValueSet], under the names the rules use.
	ValueSets certlogic.ValueSets
	// Arrival is the country of arrival, ISO 3166-1 alpha-2, and Region a part of
	// it. Without a country only the issuer's own invalidation rules apply.
	Arrival, Region string
}

// ruleSetNames are what EU rules call the value sets of the DCC.
var ruleSetNames = map[string]cert.ValueSet{
	"disease-agent-targeted":                  cert.ValueSetDisease,
	"sct-vaccines-covid-19":                   cert.ValueSetProphylaxis,
	"vaccines-covid-19-names":                 cert.ValueSetProduct,
	"vaccines-covid-19-auth-holders":          cert.ValueSetManufacturer,
	"covid-19-lab-test-type":                  cert.ValueSetTestType,
	"covid-19-lab-test-manufacturer-and-name": cert.ValueSetTestDevice,
	"covid-19-lab-result":                     cert.ValueSetTestResult,
	"country-2-codes":                         cert.ValueSetCountry,
}

// DefaultValueSets returns the value sets that Ampoule ships, for rules.
func DefaultValueSets() certlogic.ValueSets {
	codes := make(map[string][]string, len(ruleSetNames))
	for name, set := range ruleSetNames {
		for code := range cert.Codes(set) {
			codes[name] = append(codes[name], code)
		}
	}
	return certlogic.NewValueSets(codes)
}

var ruleTypes = map[cert.Kind]certlogic.CertificateType{
	cert.KindVaccination: certlogic.Vaccination,
	cert.KindTest:        certlogic.Test,
	cert.KindRecovery:    certlogic.Recovery,
}

// checkRules makes step 11: the decision tables of an ICVP, and the rules that
// were loaded for an EU DCC. A rule that fails decides; one that cannot be
// evaluated leaves the verdict open.
func (v *Verifier) checkRules(out *Verdict, c *certificate) {
	switch {
	case c.icvp != nil:
		v.checkTables(out, c)
	case v.Rules == nil:
		out.set(StepRules, NotChecked, "no-rules", "")
	case c.payload == nil:
		out.set(StepRules, NotApplicable, "no-rules-for-format", "the rules speak of EU DCC")
	default:
		c.policy.Required[StepRules] = true // who loads rules asks for them
		v.applyRules(out, c)
	}
}

func (v *Verifier) checkTables(out *Verdict, c *certificate) {
	r := cert.ApplyICVPTables(c.icvp, c.record, v.Catalogue, c.now)
	switch {
	case r.Failed:
		out.set(StepRules, Fail, r.Reason, r.Detail)
	case r.Unknown:
		out.set(StepRules, CannotTell, r.Reason, r.Detail)
	default:
		out.set(StepRules, Pass, r.Reason, r.Detail)
	}
}

func (v *Verifier) applyRules(out *Verdict, c *certificate) {
	if c.key == nil {
		out.set(StepRules, NotChecked, reasonNoSignature, "")
		return
	}
	var payload any
	if err := json.Unmarshal(c.payload(), &payload); err != nil {
		out.set(StepRules, CannotTell, "rules-open", "the content cannot be given to the rules")
		return
	}
	rules := certlogic.Select(v.Rules.Rules, certlogic.Journey{
		Arrival: v.Rules.Arrival, Region: v.Rules.Region, Issuer: c.key.Country,
		CertificateType: ruleTypes[c.record.Kind], Clock: c.now,
	})
	if len(rules) == 0 {
		out.set(StepRules, Pass, "no-rule-applies", fmt.Sprintf("%d rules, arrival %q", len(v.Rules.Rules), v.Rules.Arrival))
		return
	}
	results := certlogic.Apply(rules, payload, certlogic.External{
		ValidationClock: c.now, ValueSets: v.Rules.ValueSets, CountryCode: v.Rules.Arrival, Region: v.Rules.Region,
		Expiry: c.expires, IssuedAt: c.issued, IssuerCountryCode: c.key.Country,
		KeyID:  base64.StdEncoding.EncodeToString([]byte(c.keyID)),
		Advice: &certlogic.Advice{Value: string(out.Advice.Value), Reason: out.Advice.Reason},
	}, "en")
	var failed, open []string
	for _, r := range results {
		switch r.Outcome {
		case certlogic.Failed:
			failed = append(failed, r.Rule.Identifier+": "+r.Description)
		case certlogic.Open:
			open = append(open, r.Rule.Identifier+": "+string(r.Reason))
		}
	}
	switch {
	case len(failed) > 0:
		out.set(StepRules, Fail, "destination-rule", strings.Join(failed, "; "))
	case len(open) > 0:
		out.set(StepRules, CannotTell, "rules-open", strings.Join(open, "; "))
	default:
		out.set(StepRules, Pass, "satisfied", fmt.Sprintf("%d rules", len(results)))
	}
}
