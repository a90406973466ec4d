package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ampoule/format/certlogic"
)

func runCertLogic(t *testing.T, b *board, dir string) {
	for _, file := range jsonFiles(t, filepath.Join(dir, "testSuite")) {
		judgeSuite(t, b, file)
	}
	for _, file := range jsonFiles(t, filepath.Join(dir, "validation-testSuite")) {
		judgeValidation(t, b, file)
	}
	judgeRules(t, b, dir)
}

// judgeSuite evaluates the expressions of a suite.
func judgeSuite(t *testing.T, b *board, file string) {
	var suite struct {
		Directive string
		Cases     []struct {
			Name, Directive     string
			CertLogicExpression json.RawMessage
			Assertions          []struct {
				Directive           string
				CertLogicExpression json.RawMessage
				Data, Expected      json.RawMessage
			}
		}
	}
	readJSON(t, file, &suite)
	for _, c := range suite.Cases {
		for i, a := range c.Assertions {
			r := result{format: "certlogic", group: "testSuite", judgement: agree,
				name: fmt.Sprintf("%s %q %d", filepath.Base(file), c.Name, i)}
			expr := a.CertLogicExpression
			if expr == nil {
				expr = c.CertLogicExpression
			}
			if slices.Contains([]string{suite.Directive, c.Directive, a.Directive}, "skip") {
				r.judgement, r.rule = notApplicable, "marked not to be run"
			} else if got, err := evaluate(expr, decodeNumbers(t, a.Data)); err != nil {
				r.judgement, r.detail = disagree, err.Error()
			} else if !sameJSON(t, got, a.Expected) {
				r.judgement, r.detail = disagree, fmt.Sprintf("got %v, want %s", got, a.Expected)
			}
			b.add(r)
		}
	}
}

func evaluate(expression []byte, data any) (any, error) {
	expr, err := certlogic.Parse(expression)
	if err != nil {
		return nil, err
	}
	return expr.Evaluate(data)
}

// judgeValidation compares how many defects of an expression are found, not how
// they are worded.
func judgeValidation(t *testing.T, b *board, file string) {
	var suite struct {
		Directive string
		Cases     []struct {
			Directive           string
			CertLogicExpression json.RawMessage
			Issues              []struct{ Message string }
		}
	}
	readJSON(t, file, &suite)
	for i, c := range suite.Cases {
		r := result{format: "certlogic", group: "validation", judgement: agree, name: fmt.Sprintf("%s %d", filepath.Base(file), i)}
		findings := certlogic.Validate(c.CertLogicExpression)
		if suite.Directive == "skip" || c.Directive == "skip" {
			r.judgement, r.rule = notApplicable, "marked not to be run"
		} else if len(findings) != len(c.Issues) {
			r.judgement, r.detail = disagree, fmt.Sprintf("%s: findings %v, want %v", c.CertLogicExpression, findings, c.Issues)
		}
		b.add(r)
	}
}

// judgeRules runs the tests of every rule, twice: the logic alone, which is
// what the tests are about, and the whole rule as a verifier applies it.
func judgeRules(t *testing.T, b *board, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "rules", "*", "*", "rule.json"))
	if err != nil {
		t.Fatal(err)
	}
	var standard any
	if data, err := os.ReadFile(filepath.Join(dir, "valueSets.json")); err == nil {
		standard = decodeNumbers(t, data)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rule, ruleErr := certlogic.ParseRule(data)
		b.add(checkRule(dir, file, rule, ruleErr))
		var published struct{ ValidFrom string }
		readJSON(t, file, &published)
		for _, test := range jsonFiles(t, filepath.Join(filepath.Dir(file), "tests")) {
			name, _ := filepath.Rel(filepath.Join(dir, "rules"), test)
			r := result{format: "certlogic", group: "rules", name: name, judgement: agree}
			applied := result{format: "certlogic", group: "rules applied", name: name, judgement: agree}
			if ruleErr != nil {
				r.judgement, r.detail = disagree, ruleErr.Error()
				b.add(r)
				continue
			}
			judgeRule(t, rule, test, standard, published.ValidFrom, &r, &applied)
			b.add(r)
			b.add(applied)
		}
	}
}

// checkRule holds a published rule against what the gateway asks of rules.
func checkRule(dir, file string, rule *certlogic.Rule, err error) result {
	name, _ := filepath.Rel(filepath.Join(dir, "rules"), file)
	r := result{format: "certlogic", group: "rules checked", name: name, judgement: agree}
	if err != nil {
		r.judgement, r.detail = disagree, err.Error()
		return r
	}
	for _, f := range rule.Check() {
		r.judgement, r.rule = disagree, "published rule against the gateway's form"
		r.detail += fmt.Sprintf(" %s: %s", f.Path, f.Reason)
	}
	return r
}

// judgeRule runs one test of a rule and fills in both results.
func judgeRule(t *testing.T, rule *certlogic.Rule, file string, valueSets any, clock string, logic, applied *result) {
	var test struct {
		Payload  json.RawMessage
		External json.RawMessage
		Expected json.RawMessage
	}
	readJSON(t, file, &test)
	external, _ := decodeNumbers(t, test.External).(map[string]any)
	if external == nil {
		external = map[string]any{}
	}
	if _, there := external["valueSets"]; !there {
		external["valueSets"] = valueSets
	}
	if _, there := external["validationClock"]; !there {
		external["validationClock"] = clock
	}
	payload := decodeNumbers(t, test.Payload)

	got, err := any(nil), errors.New("the logic is no expression")
	if rule.Logic != nil {
		got, err = rule.Logic.Evaluate(map[string]any{"payload": payload, "external": external})
	}
	if err != nil {
		logic.judgement, logic.detail = disagree, err.Error()
	} else if !sameJSON(t, got, test.Expected) {
		logic.judgement, logic.detail = disagree, fmt.Sprintf("got %v, want %s", got, test.Expected)
	}

	// The payloads are cut down to what the rule looks at, mostly without the
	// version that a verifier asks for first.
	content, _ := payload.(map[string]any)
	if content == nil {
		applied.judgement, applied.rule = notApplicable, "the test has no payload"
		return
	}
	if _, there := content["ver"]; !there {
		content = maps.Clone(content)
		content["ver"] = rule.SchemaVersion
	}
	codes, err := json.Marshal(external["valueSets"])
	if err != nil {
		t.Fatal(err)
	}
	sets, setsErr := certlogic.ParseValueSets(codes)
	moment, clockErr := evaluate([]byte(`{"plusTime": [{"var": "validationClock"}, 0, "day"]}`), external)
	if setsErr != nil || clockErr != nil {
		applied.judgement, applied.rule = notApplicable, "no value sets or no clock that a verifier could have"
		return
	}
	results := certlogic.Apply([]*certlogic.Rule{rule}, content, certlogic.External{
		ValidationClock: moment.(certlogic.DateTime).Time(), ValueSets: sets, CountryCode: rule.Country,
	}, "en")
	want := certlogic.Passed
	if strings.TrimSpace(string(test.Expected)) == "false" {
		want = certlogic.Failed
	}
	if r := results[0]; r.Outcome != want {
		applied.judgement, applied.detail = disagree, fmt.Sprintf("%s (%v), want %s", r.Outcome, r.Err, want)
	}
}

// decodeNumbers decodes JSON with its numbers as they are written; no text is
// null.
func decodeNumbers(t *testing.T, data []byte) (v any) {
	t.Helper()
	if len(data) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// sameJSON compares a value that was evaluated with JSON.
func sameJSON(t *testing.T, got any, want []byte) bool {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal(text, &a) != nil || json.Unmarshal(want, &b) != nil {
		return false
	}
	return same(a, b)
}
