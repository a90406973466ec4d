package verifier

import (
	"strings"
	"testing"

	"ampoule/cert"
	"ampoule/format/certlogic"
)

// rule is one of the rules of a country XB, with the logic given.
func rule(t *testing.T, identifier, country, logic string) *certlogic.Rule {
	t.Helper()
	r, err := certlogic.ParseRule([]byte(`{"Identifier": "` + identifier + `", "Type": "Acceptance", "Country": "` + country + `", "Version": "1.0.0",
		"SchemaVersion": "1.0.0", "Engine": "CERTLOGIC", "EngineVersion": "1.0.0", "CertificateType": "Vaccination",
		"Description": [{"lang": "en", "desc": "Said of ` + identifier + ` in English."}],
		"ValidFrom": "2020-01-01T00:00:00Z", "ValidTo": "2099-01-01T00:00:00Z", "AffectedFields": [], "Logic": ` + logic + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRules(t *testing.T) {
	holds := `{"===": [{"var": "payload.v.0.dn"}, {"var": "payload.v.0.sd"}]}`
	fails := `{">": [{"var": "payload.v.0.dn"}, 5]}`
	breaks := `{"plusTime": [{"var": "payload.v.0.ci"}, 1, "day"]}`
	product := `{"in": [{"var": "payload.v.0.mp"}, {"var": "external.valueSets.vaccines-covid-19-names"}]}`
	advice := `{"===": [{"var": "external.advice.value"}, "not-known"]}`
	clock := `{"before": [{"plusTime": [{"var": "external.iat"}, 0, "day"]}, {"plusTime": [{"var": "external.validationClock"}, 0, "day"]}]}`
	for _, tt := range []struct {
		name    string
		logic   []string
		arrival string
		result  Result
		reason  string
		outcome Outcome
	}{
		{"holds", []string{holds}, "XB", Pass, "satisfied", Valid},
		{"all hold", []string{holds, product, advice, clock}, "XB", Pass, "satisfied", Valid},
		{"one fails", []string{holds, fails}, "XB", Fail, "destination-rule", RuleFailed},
		{"one cannot be evaluated", []string{holds, breaks}, "XB", CannotTell, "rules-open", Unknown},
		{"a failure outweighs what is open", []string{breaks, fails}, "XB", Fail, "destination-rule", RuleFailed},
		{"another country", []string{fails}, "XC", Pass, "no-rule-applies", Valid},
		{"no country", []string{fails}, "", Pass, "no-rule-applies", Valid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNet(t)
			v := n.Verifier
			v.Rules = &Rules{ValueSets: DefaultValueSets(), Arrival: tt.arrival}
			for i, logic := range tt.logic {
				v.Rules.Rules = append(v.Rules.Rules, rule(t, "VR-XB-000"+string(rune('0'+i)), "XB", logic))
			}
			got := v.Verify(n.text(vaccination()))
			check := got.Check(StepRules)
			if check.Result != tt.result || check.Reason != tt.reason || got.Outcome != tt.outcome {
				t.Errorf("%s %s (%s), outcome %s; want %s %s, %s", check.Result, check.Reason, check.Detail, got.Outcome, tt.result, tt.reason, tt.outcome)
			}
			if tt.result == Fail && !strings.Contains(check.Detail, "in English") {
				t.Errorf("the detail %q does not say what the rule asks", check.Detail)
			}
		})
	}
}

// TestRulesForOthers: rules speak of EU DCC; an ICVP has its own tables, and what
// was not signed by a known key is held against no rule.
func TestRulesForOthers(t *testing.T) {
	n := newNet(t)
	n.Verifier.Rules = &Rules{ValueSets: DefaultValueSets(), Arrival: "XB", Rules: []*certlogic.Rule{rule(t, "VR-XB-0001", "XB", `false`)}}
	if got := n.Verifier.Verify(n.text(code{})); got.Outcome != Valid {
		t.Errorf("an ICVP: %s %s", got.Outcome, got.Reason)
	}
	if got := n.Verifier.Verify(n.text(code{subclaim: 3, payload: ddccV()})).Check(StepRules); got.Result != NotApplicable {
		t.Errorf("a DDCC: %+v", got)
	}
	text := n.text(vaccination())
	n.Verifier.Trust = nil
	if got := n.Verifier.Verify(text); got.Outcome != UnknownIssuer || got.Check(StepRules).Result != NotChecked {
		t.Errorf("an unknown issuer: %s, %+v", got.Outcome, got.Check(StepRules))
	}
}

// TestDefaultValueSets: every set that the rules may name is there, with codes.
func TestDefaultValueSets(t *testing.T) {
	for name, set := range ruleSetNames {
		count := 0
		for range cert.Codes(set) {
			count++
		}
		if count == 0 {
			t.Errorf("%s has no codes", name)
		}
	}
}
