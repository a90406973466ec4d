package certlogic

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

// ruleText is a rule that meets everything.
const ruleText = `{
	"Identifier": "VR-XA-0001",
	"Type": "Acceptance",
	"Country": "XA",
	"Version": "1.2.0",
	"SchemaVersion": "1.0.0",
	"Engine": "CERTLOGIC",
	"EngineVersion": "0.7.5",
	"CertificateType": "Vaccination",
	"Description": [
		{"lang": "en", "desc": "The vaccination must have been at least 14 days ago."},
		{"lang": "de", "desc": "Die Impfung muss mindestens 14 Tage zurückliegen."}
	],
	"ValidFrom": "2021-07-01T00:00:00Z",
	"ValidTo": "2030-06-01T02:00:00+02:00",
	"AffectedFields": ["v.0", "v.0.dt"],
	"Logic": {"if": [
		{"var": "payload.v.0"},
		{"not-before": [
			{"plusTime": [{"var": "external.validationClock"}, 0, "day"]},
			{"plusTime": [{"var": "payload.v.0.dt"}, 14, "day"]}
		]},
		true
	]}
}`

// edit returns the rule with members replaced; null takes one away.
func edit(t testing.TB, changes string) []byte {
	t.Helper()
	rule := decode(t, ruleText).(map[string]any)
	for name, v := range decode(t, changes).(map[string]any) {
		rule[name] = v
		if v == nil {
			delete(rule, name)
		}
	}
	data, err := json.Marshal(rule)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parseRule(t testing.TB, changes string) *Rule {
	t.Helper()
	r, err := ParseRule(edit(t, changes))
	if err != nil {
		t.Fatalf("%s: %v", changes, err)
	}
	return r
}

func TestParseRule(t *testing.T) {
	r := parseRule(t, `{"Region": "AB1"}`)
	if r.Identifier != "VR-XA-0001" || r.Type != Acceptance || r.Country != "XA" || r.Region != "AB1" || r.CertificateType != Vaccination ||
		r.Version.String() != "1.2.0" || r.SchemaVersion != "1.0.0" || r.Engine != EngineCertLogic || r.EngineVersion != "0.7.5" || r.Logic == nil {
		t.Errorf("%+v", r)
	}
	if want := time.Date(2030, 6, 1, 0, 0, 0, 0, time.UTC); !r.ValidTo.Equal(want) {
		t.Errorf("ValidTo %v", r.ValidTo)
	}
	for language, want := range map[string]string{"de": "Die Impf", "de-at": "Die Impf", "DE": "Die Impf", "en": "The vacc", "xx": "The vacc", "": "The vacc"} {
		if got := r.Describe(language); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s", language, got)
		}
	}
	if got := parseRule(t, `{"Description": [{"lang": "fr", "desc": "Rien"}]}`).Describe("it"); got != "Rien" {
		t.Error(got)
	}
	if got := parseRule(t, `{"Description": []}`).Describe("it"); got != "" {
		t.Error(got)
	}
}

func TestParseRuleErrors(t *testing.T) {
	tests := []struct {
		changes string
		want    format.Defect
		member  string
	}{
		{`{"Identifier": null}`, format.RequiredMissing, "Identifier"},
		{`{"Identifier": ""}`, format.RequiredMissing, "Identifier"},
		{`{"Identifier": 1}`, format.BadType, "Identifier"},
		{`{"Type": "acceptance"}`, format.BadCode, "Type"},
		{`{"CertificateType": "Vaccine"}`, format.BadCode, "CertificateType"},
		{`{"Country": []}`, format.BadType, "Country"},
		{`{"Region": 1}`, format.BadType, "Region"},
		{`{"Version": "1.0"}`, ErrVersion, "Version"},
		{`{"Version": "1.0.x"}`, ErrVersion, "Version"},
		{`{"Version": "1.0.9999999"}`, ErrVersion, "Version"},
		{`{"Version": "1..0"}`, ErrVersion, "Version"},
		{`{"ValidFrom": "2021-07-01"}`, ErrDateTime, "ValidFrom"},
		{`{"ValidTo": "never"}`, ErrDateTime, "ValidTo"},
		{`{"Description": {}}`, format.BadType, "Description"},
		{`{"Description": [{"lang": "en"}]}`, format.BadType, "Description[0]"},
		{`{"Description": ["en"]}`, format.BadType, "Description[0]"},
		{`{"AffectedFields": [1]}`, format.BadType, "AffectedFields[0]"},
		{`{"Logic": null}`, format.RequiredMissing, "Logic"},
		{`{"Engine": null}`, format.RequiredMissing, "Engine"},
	}
	for _, tt := range tests {
		_, err := ParseRule(edit(t, tt.changes))
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "rule: "+tt.member+":") {
			t.Errorf("%s: %v, want %s", tt.changes, err, tt.want)
		}
	}
	for data, want := range map[string]format.Defect{`[]`: format.BadType, `{`: strictjson.ErrMalformed, `{"Type": "Acceptance", "Type": "Invalidation"}`: strictjson.ErrDuplicateName} {
		if _, err := ParseRule([]byte(data)); !errors.Is(err, want) {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestParseRules(t *testing.T) {
	list := "[" + ruleText + `, 1, {}, ` + string(edit(t, `{"Identifier": "VR-XA-0002"}`)) + "]"
	rules, err := ParseRules([]byte(list))
	if len(rules) != 2 || rules[0].Identifier != "VR-XA-0001" || rules[1].Identifier != "VR-XA-0002" {
		t.Errorf("%v", rules)
	}
	if !errors.Is(err, format.BadType) || !errors.Is(err, format.RequiredMissing) || !strings.Contains(err.Error(), "rules[1]:") || !strings.Contains(err.Error(), "rules[2]:") {
		t.Errorf("%v", err)
	}
	if rules, err := ParseRules([]byte(`[]`)); rules != nil || err != nil {
		t.Error(rules, err)
	}
	for _, data := range []string{ruleText, `[`, `null`} {
		if rules, err := ParseRules([]byte(data)); rules != nil || err == nil {
			t.Error(rules, err)
		}
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		changes string
		want    []format.Finding
	}{
		{`{}`, nil},
		{`{"Identifier": "IR-XA-0001", "Type": "Invalidation"}`, nil},
		{`{"Identifier": "GR-XA-0001", "CertificateType": "General"}`, nil},
		{`{"AffectedFields": ["v.0.dt", "v.0", "v.0"]}`, nil},
		{`{"Identifier": "VR-XA-1"}`, []format.Finding{{Path: "Identifier", Reason: ErrIdentifier}}},
		{`{"Identifier": "XX-XA-0001"}`, []format.Finding{{Path: "Identifier", Reason: ErrIdentifier}}},
		{`{"Identifier": "TR-XA-0001"}`, []format.Finding{{Path: "Identifier", Reason: ErrIdentifierKind}}},
		{`{"Identifier": "IR-XA-0001"}`, []format.Finding{{Path: "Identifier", Reason: ErrIdentifierKind}}},
		{`{"Type": "Invalidation"}`, []format.Finding{{Path: "Identifier", Reason: ErrIdentifierKind}}},
		{`{"Country": "XB"}`, []format.Finding{{Path: "Identifier", Reason: ErrIdentifierState}}},
		{`{"Country": "xa"}`, []format.Finding{{Path: "Identifier", Reason: ErrIdentifierState}, {Path: "Country", Reason: format.BadCode}}},
		{`{"Region": "north"}`, []format.Finding{{Path: "Region", Reason: format.BadCode}}},
		{`{"Engine": "JSONLOGIC"}`, []format.Finding{{Path: "Engine", Reason: ErrOtherEngine}}},
		{`{"EngineVersion": "1"}`, []format.Finding{{Path: "EngineVersion", Reason: ErrVersion}}},
		{`{"SchemaVersion": "1.x.0"}`, []format.Finding{{Path: "SchemaVersion", Reason: ErrVersion}}},
		{`{"ValidTo": "2021-07-01T00:00:00Z"}`, []format.Finding{{Path: "ValidTo", Reason: ErrValidity}}},
		{`{"Description": [{"lang": "deu", "desc": "Die Impfung muss mindestens 14 Tage zurückliegen."}]}`, []format.Finding{
			{Path: "Description[0].lang", Reason: format.BadCode, Tolerable: true}, {Path: "Description", Reason: ErrNoEnglish, Tolerable: true}}},
		{`{"Description": [{"lang": "en", "desc": "Too short."}]}`, []format.Finding{{Path: "Description[0].desc", Reason: ErrShort, Tolerable: true}}},
		{`{"AffectedFields": ["v.0"]}`, []format.Finding{{Path: "AffectedFields", Reason: ErrAffectedFields, Tolerable: true}}},
		{`{"Logic": true, "AffectedFields": []}`, []format.Finding{
			{Path: "Logic", Reason: ErrNotOperation}, {Path: "AffectedFields", Reason: format.RequiredMissing, Tolerable: true}}},
		{`{"Logic": {"!": [null]}}`, []format.Finding{{Path: "Logic.![0]", Reason: ErrNull}}},
		{`{"Logic": [null]}`, []format.Finding{{Path: "Logic[0]", Reason: ErrNull}, {Path: "Logic", Reason: ErrNotOperation}}},
		{`{"Logic": {"none": [1]}}`, []format.Finding{{Path: "Logic", Reason: ErrOperation}}},
		{`{"Signature": "x", "Hash": "y"}`, []format.Finding{
			{Path: "Hash", Reason: ErrExtraMember, Tolerable: true}, {Path: "Signature", Reason: ErrExtraMember, Tolerable: true}}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, parseRule(t, tt.changes).Check()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.changes, diff)
		}
	}
}

func TestSelect(t *testing.T) {
	clock := time.Date(2021, 8, 1, 0, 0, 0, 0, time.UTC)
	rules := []*Rule{
		parseRule(t, `{}`),
		parseRule(t, `{"Version": "1.10.0"}`),
		parseRule(t, `{"Version": "1.9.0"}`),
		parseRule(t, `{"Version": "2.0.0", "ValidFrom": "2021-08-01T00:00:01Z"}`),
		parseRule(t, `{"Version": "3.0.0", "ValidTo": "2021-07-31T23:59:59Z"}`),
		parseRule(t, `{"Identifier": "VR-XA-0002", "ValidFrom": "2021-08-01T00:00:00Z"}`),
		parseRule(t, `{"Identifier": "VR-XA-0003", "ValidTo": "2021-08-01T00:00:00Z"}`),
		parseRule(t, `{"Identifier": "GR-XA-0001", "CertificateType": "General"}`),
		parseRule(t, `{"Identifier": "TR-XA-0001", "CertificateType": "Test"}`),
		parseRule(t, `{"Identifier": "VR-XA-0004", "Region": "N1"}`),
		parseRule(t, `{"Identifier": "VR-XB-0001", "Country": "XB"}`),
		parseRule(t, `{"Identifier": "IR-XB-0001", "Country": "XB", "Type": "Invalidation"}`),
		parseRule(t, `{"Identifier": "IR-XA-0001", "Type": "Invalidation"}`),
	}
	tests := map[string]struct {
		journey Journey
		want    []string
	}{
		"arrival and issuer":  {Journey{Arrival: "XA", Issuer: "xb", CertificateType: Vaccination, Clock: clock}, []string{"GR-XA-0001 1.2.0", "VR-XA-0001 1.10.0", "VR-XA-0002 1.2.0", "VR-XA-0003 1.2.0", "IR-XB-0001 1.2.0"}},
		"no issuer":           {Journey{Arrival: "xa", CertificateType: Test, Clock: clock}, []string{"GR-XA-0001 1.2.0", "TR-XA-0001 1.2.0"}},
		"region":              {Journey{Arrival: "XA", Region: " n1 ", CertificateType: Vaccination, Clock: clock}, []string{"VR-XA-0004 1.2.0"}},
		"later":               {Journey{Arrival: "XA", CertificateType: Vaccination, Clock: clock.Add(time.Second)}, []string{"GR-XA-0001 1.2.0", "VR-XA-0001 2.0.0", "VR-XA-0002 1.2.0"}},
		"nowhere":             {Journey{CertificateType: Vaccination, Clock: clock}, []string{}},
		"a kind without rule": {Journey{Arrival: "XB", CertificateType: Recovery, Clock: clock}, []string{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := []string{}
			for _, r := range Select(rules, tt.journey) {
				got = append(got, r.Identifier+" "+r.Version.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestApply(t *testing.T) {
	external := External{
		ValidationClock: time.Date(2021, 8, 1, 9, 30, 0, 0, time.FixedZone("", 7200)),
		ValueSets:       NewValueSets(map[string][]string{"products": {"EU/1/20/1528"}}),
		CountryCode:     "XA", IssuerCountryCode: "XB", KeyID: "a2lk", Region: "",
		IssuedAt: time.Date(2021, 6, 2, 0, 0, 0, 0, time.UTC),
		Advice:   &Advice{"concern", "recalled"},
	}
	payload := `{"ver": "1.3.0", "v": [{"dt": "2021-07-18", "mp": "EU/1/20/1528"}]}`
	tests := []struct {
		changes, payload string
		want             Outcome
		reason           format.Defect
	}{
		{`{}`, payload, Passed, ""},
		{`{}`, `{"ver": "1.3.0", "v": [{"dt": "2021-07-19"}]}`, Failed, ""},
		{`{}`, `{"ver": "1.0.0"}`, Passed, ""},
		{`{}`, `{"ver": "1.3.0", "v": [{"dn": 1}]}`, Open, ErrType},
		{`{"Engine": "CQL"}`, payload, Open, ErrOtherEngine},
		{`{"EngineVersion": "1.3.3"}`, payload, Open, ErrNewerEngine},
		{`{"EngineVersion": "new"}`, payload, Open, ErrNewerEngine},
		{`{"EngineVersion": "1.3.2"}`, payload, Passed, ""},
		{`{"SchemaVersion": "1.3.1"}`, payload, Open, ErrSchemaVersion},
		{`{"SchemaVersion": "0.9.0"}`, payload, Open, ErrSchemaVersion},
		{`{"SchemaVersion": "1"}`, payload, Open, ErrSchemaVersion},
		{`{}`, `{"v": []}`, Open, ErrSchemaVersion},
		{`{}`, `null`, Open, ErrSchemaVersion},
		{`{"Logic": {"none": [1]}}`, payload, Open, ErrLogic},
		{`{"Logic": {"var": "payload.v"}}`, payload, Open, ErrNotBoolean},
		{`{"Logic": {"in": [{"var": "payload.v.0.mp"}, {"var": "external.valueSets.products"}]}}`, payload, Passed, ""},
		{`{"Logic": {"in": [{"var": "payload.v.0.mp"}, {"var": "external.valueSets.other"}]}}`, payload, Open, ErrType},
		{`{"Logic": {"===": [[{"var": "external.countryCode"}, {"var": "external.issuerCountryCode"}, {"var": "external.kid"}, {"var": "external.exp"}], [1]]}}`, payload, Failed, ""},
		{`{"Logic": {"===": [{"var": "external.validationClock"}, "2021-08-01T07:30:00.000Z"]}}`, payload, Passed, ""},
		{`{"Logic": {"===": [{"var": "external.iat"}, "2021-06-02T00:00:00.000Z"]}}`, payload, Passed, ""},
		{`{"Logic": {"===": [{"var": "external.exp"}, {"var": "external.none"}]}}`, payload, Passed, ""},
		{`{"Logic": {"!": [{"===": [{"var": "external.advice.value"}, "concern"]}]}}`, payload, Failed, ""},
	}
	for _, tt := range tests {
		results := Apply([]*Rule{parseRule(t, tt.changes)}, decode(t, tt.payload), external, "de")
		if len(results) != 1 {
			t.Fatal(results)
		}
		r := results[0]
		if r.Outcome != tt.want || r.Reason != tt.reason || (r.Err != nil) != (r.Outcome == Open) || r.Err != nil && !errors.Is(r.Err, tt.reason) {
			t.Errorf("%s on %s: %s %q (%v), want %s %q", tt.changes, tt.payload, r.Outcome, r.Reason, r.Err, tt.want, tt.reason)
		}
		if !strings.HasPrefix(r.Description, "Die Impfung") {
			t.Errorf("description %q", r.Description)
		}
	}
	if r := Apply([]*Rule{parseRule(t, `{"Logic": {"!": [{"var": "external.advice"}]}}`)}, decode(t, payload), External{}, "")[0]; r.Outcome != Passed {
		t.Errorf("without advice: %v", r)
	}
}

func TestParseValueSets(t *testing.T) {
	sets, err := ParseValueSets([]byte(`{"a": ["1", "2"], "b": []}`))
	if diff := cmp.Diff(map[string]any{"a": []any{"1", "2"}, "b": []any{}}, sets.sets); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, data := range []string{`[]`, `{"a": "1"}`, `{"a": [1]}`, `{"a": [], "a": []}`} {
		if _, err := ParseValueSets([]byte(data)); err == nil {
			t.Errorf("%s: no error", data)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add([]byte(ruleText))
	f.Add([]byte("[" + ruleText + "]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRule(data)
		if (r == nil) != (err != nil) {
			t.Fatal(r, err)
		}
		if r != nil {
			r.Check()
			Apply([]*Rule{r}, map[string]any{"ver": "1.3.0"}, External{}, "en")
			Select([]*Rule{r, r}, Journey{Arrival: r.Country, Issuer: r.Country, CertificateType: General, Clock: r.ValidFrom})
		}
		_, _ = ParseRules(data)
	})
}

func BenchmarkParse(b *testing.B) {
	logic, err := json.Marshal(decode(b, ruleText).(map[string]any)["Logic"])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(logic); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	x := parseRule(b, `{}`).Logic
	external := External{ValidationClock: time.Date(2021, 8, 1, 0, 0, 0, 0, time.UTC)}
	data := external.data(decode(b, `{"ver": "1.3.0", "v": [{"dt": "2021-07-18", "dn": 2, "sd": 2}]}`))
	b.ReportAllocs()
	for b.Loop() {
		if v, err := x.Evaluate(data); v != true {
			b.Fatal(v, err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	rules := make([]*Rule, 20)
	for i := range rules {
		rules[i] = parseRule(b, `{}`)
	}
	payload := decode(b, `{"ver": "1.3.0", "v": [{"dt": "2021-07-18", "dn": 2, "sd": 2}]}`)
	b.ReportAllocs()
	for b.Loop() {
		Apply(rules, payload, External{ValidationClock: time.Date(2021, 8, 1, 0, 0, 0, 0, time.UTC)}, "en")
	}
}
