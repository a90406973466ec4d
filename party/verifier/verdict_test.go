package verifier

import (
	"encoding/json"
	"math/rand"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"ampoule/trust"

	"github.com/google/go-cmp/cmp"
)

// failed says which outcome the failure of a step makes, by its reason; "other"
// stands for every word that is not named. It is design section 3 written a
// second time.
var failed = map[Step]map[string]Outcome{
	StepRead: {"empty": Malformed, "lowercase-prefix": Malformed, "other": Unsupported},
	StepDecode: {"wrong-tag": Unsupported, "critical-header": Unsupported, "unknown-subclaim": Unsupported,
		"several-certificates": Unsupported, "no-hcert": Unsupported, "other": Malformed},
	StepKeys:        {"other": UnknownIssuer},
	StepSignature:   {"other": BadSignature},
	StepKeyValidity: {"other": UntrustedKey},
	StepPeriod:      {"not-yet-valid": NotYetValid, "not-yet-issued": NotYetValid, "other": Expired},
	StepSchema:      {"other": SchemaInvalid},
	StepStatus:      {"superseded": Superseded, "other": Revoked},
	StepProof:       {"other": ProofInvalid},
	StepRules:       {"other": RuleFailed},
	StepBinding:     {"other": NotHolder},
}

func failedOutcome(s Step, reason string) Outcome {
	if o, named := failed[s][reason]; named {
		return o
	}
	return failed[s]["other"]
}

// aggregate is the rule of design section 3: the worst of the required checks is
// the whole, what is required and not known is unknown, a proof that is carried
// and fails always decides, and nothing else does.
func aggregate(checks [12]Check, required [12]bool) Outcome {
	worst := Valid
	for i, c := range checks {
		step, o := Step(i), Valid
		switch c.Result {
		case Fail:
			// A code that could not be read has no policy yet, and no outcome but that.
			if required[i] || step == StepProof || step == StepRead || step == StepDecode {
				o = failedOutcome(step, c.Reason)
			}
		case CannotTell, NotChecked:
			if required[i] {
				o = Unknown
			}
		}
		if slices.Index(outcomeOrder, o) < slices.Index(outcomeOrder, worst) {
			worst = o
		}
	}
	return worst
}

// reasons of the failures of a step, in a fixed order.
func reasonsOf(s Step) []string {
	var words []string
	for w := range failed[s] {
		words = append(words, w)
	}
	slices.Sort(words)
	return words
}

// TestAggregation tries every step with every result and reason, alone and
// beside every failure of every other step, required or not.
func TestAggregation(t *testing.T) {
	type finding struct {
		step     Step
		check    Check
		required bool
	}
	var findings []finding
	for s := range steps {
		if s == StepDose {
			continue // never required, and it has no failure: see TestAdviceDecidesNothing
		}
		for _, required := range []bool{true, false} {
			for _, r := range []Result{Pass, CannotTell, NotApplicable, NotChecked} {
				findings = append(findings, finding{s, Check{Result: r, Reason: "word"}, required})
			}
			for _, reason := range reasonsOf(s) {
				findings = append(findings, finding{s, Check{Result: Fail, Reason: reason}, required})
			}
		}
	}
	decide := func(given ...finding) (*Verdict, Outcome) {
		v, p := new(Verdict), new(Policy)
		for s := range steps {
			v.set(s, Pass, "fine", "")
			p.Required[s] = true
		}
		v.set(StepDose, NotChecked, "no-lot-list", "")
		p.Required[StepDose] = false
		for _, f := range given {
			v.set(f.step, f.check.Result, f.check.Reason, "")
			p.Required[f.step] = f.required
		}
		v.decide(p)
		return v, aggregate(v.Checks, p.Required)
	}
	for i, a := range findings {
		if v, want := decide(a); v.Outcome != want {
			t.Errorf("%s %s (%s), required %v: %s, want %s", a.step, a.check.Result, a.check.Reason, a.required, v.Outcome, want)
		}
		for _, b := range findings[i:] {
			if a.step == b.step {
				continue
			}
			v, want := decide(a, b)
			if v.Outcome != want {
				t.Fatalf("%s %s (%s) required %v, %s %s (%s) required %v: %s, want %s", a.step, a.check.Result, a.check.Reason, a.required, b.step, b.check.Result, b.check.Reason, b.required, v.Outcome, want)
			}
			if v.Outcome != Valid && v.Reason != v.Check(v.Decided).Reason {
				t.Fatalf("%s for the reason %s, decided by %s", v.Outcome, v.Reason, v.Decided)
			}
		}
	}
}

// TestAggregationAnyChecks compares the rule with its second writing on
// random verdicts.
func TestAggregationAnyChecks(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	results := []Result{Pass, Fail, CannotTell, NotApplicable, NotChecked}
	seen := map[Outcome]int{}
	for range 20_000 {
		v, p := new(Verdict), new(Policy)
		for s := range steps {
			p.Required[s] = r.Intn(4) > 0 && s != StepDose
			v.set(s, Pass, "fine", "")
			if r.Intn(3) > 0 {
				continue
			}
			c := Check{Result: results[r.Intn(len(results))], Reason: "word"}
			if reasons := reasonsOf(s); c.Result == Fail && len(reasons) > 0 {
				c.Reason = reasons[r.Intn(len(reasons))]
			} else if c.Result == Fail {
				c.Result = NotChecked
			}
			v.set(s, c.Result, c.Reason, "")
		}
		v.decide(p)
		seen[v.Outcome]++
		if want := aggregate(v.Checks, p.Required); v.Outcome != want {
			t.Fatalf("%v required %v: %s, want %s", v.Checks, p.Required, v.Outcome, want)
		}
		for s, c := range v.Checks {
			if v.Outcome == Valid && p.Required[s] && c.Result != Pass && c.Result != NotApplicable {
				t.Fatalf("valid, and the required %s is %s", c.Name, c.Result)
			}
		}
	}
	for _, o := range outcomeOrder {
		if seen[o] == 0 {
			t.Errorf("no verdict was %s", o)
		}
	}
}

// TestOutcomeOrder holds the order of the outcomes to the design's.
func TestOutcomeOrder(t *testing.T) {
	for i, a := range outcomeOrder {
		for j, b := range outcomeOrder {
			if worse(a, b) != (i < j) {
				t.Errorf("worse(%s, %s) is %v", a, b, !(i < j))
			}
		}
	}
}

// TestAdviceDecidesNothing: whatever the dose check found, the outcome is the
// one without it.
func TestAdviceDecidesNothing(t *testing.T) {
	for _, d := range []trust.Domain{trust.DCC, trust.ICVP, trust.DDCC, trust.PH4H} {
		if DefaultPolicy(d).Required[StepDose] {
			t.Errorf("%s requires the dose check", d)
		}
	}
	p := DefaultPolicy(trust.ICVP)
	for _, r := range []Result{Pass, Fail, CannotTell, NotApplicable, NotChecked} {
		for _, outcome := range []Outcome{Valid, Expired, Unknown} {
			v := &Verdict{Advice: Advice{Concern, "recalled"}}
			for s := range steps {
				v.set(s, Pass, "fine", "")
			}
			switch outcome {
			case Expired:
				v.set(StepPeriod, Fail, "expired", "")
			case Unknown:
				v.set(StepRules, CannotTell, "no-catalogue", "")
			}
			v.set(StepDose, r, "recalled", "")
			v.decide(&p)
			if v.Outcome != outcome {
				t.Errorf("dose %s: %s, want %s", r, v.Outcome, outcome)
			}
		}
	}
}

// TestCarriedProof: a proof that is carried and fails decides under every
// policy, and one that is not carried under none.
func TestCarriedProof(t *testing.T) {
	for _, required := range []bool{true, false} {
		v, p := new(Verdict), Policy{}
		for s := range steps {
			v.set(s, Pass, "fine", "")
		}
		p.Required[StepProof] = required
		v.set(StepProof, Fail, "root-mismatch", "")
		if v.decide(&p); v.Outcome != ProofInvalid || v.Decided != StepProof {
			t.Errorf("required %v: %s", required, v.Outcome)
		}
		v.set(StepProof, NotApplicable, "none-carried", "")
		if v.decide(&p); v.Outcome != Valid {
			t.Errorf("none carried, required %v: %s", required, v.Outcome)
		}
	}
}

// TestDefaultPolicies holds the policies to the design.
func TestDefaultPolicies(t *testing.T) {
	for _, tt := range []struct {
		domain        trust.Domain
		model         Model
		rules, expiry bool
	}{
		{trust.DCC, Shell, false, true},
		{trust.ICVP, Chain, true, false},
		{trust.DDCC, Shell, false, false},
		{trust.PH4H, Shell, false, false},
		{trust.Pilgrimage, Shell, false, false},
	} {
		p := DefaultPolicy(tt.domain)
		if p.Model != tt.model || p.Required[StepRules] != tt.rules || p.RequireExpiry != tt.expiry || p.AcceptIssuedAt || p.ClockSkew != 0 {
			t.Errorf("%s: %+v", tt.domain, p)
		}
		for s := range steps {
			if want := s <= StepSchema || s == StepRules && tt.rules; p.Required[s] != want {
				t.Errorf("%s: %s required %v", tt.domain, s, p.Required[s])
			}
		}
	}
}

// TestStatusPolicy: where a policy names a status scheme for the issuer, the
// check is required, whether a list was loaded or not; a list that was loaded is
// believed, asked for or not.
func TestStatusPolicy(t *testing.T) {
	for _, tt := range []struct {
		name    string
		schemes map[string]string
		loaded  bool
		outcome Outcome
		result  Result
		reason  string
	}{
		{"none asked for, none loaded", nil, false, Valid, NotChecked, "no-status-list"},
		{"none asked for, one loaded", nil, true, Valid, Pass, "not-listed"},
		{"asked for of all, none loaded", map[string]string{"*": "eu-dcc"}, false, Unknown, CannotTell, "no-status-list"},
		{"asked for of this one, none loaded", map[string]string{"XXA": "eu-dcc"}, false, Unknown, CannotTell, "no-status-list"},
		{"asked for of another, none loaded", map[string]string{"XXB": "eu-dcc"}, false, Valid, NotChecked, "no-status-list"},
		{"asked for of all but this one, none loaded", map[string]string{"*": "eu-dcc", "XXA": ""}, false, Valid, NotChecked, "no-status-list"},
		{"asked for of all, one loaded", map[string]string{"*": "eu-dcc"}, true, Valid, Pass, "not-listed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNet(t)
			n.alter(trust.ICVP, func(p *Policy) { p.StatusSchemes = tt.schemes })
			if tt.loaded {
				n.Status = new(trust.Status)
			}
			v := n.Verify(n.text(code{}))
			checkVerdict(t, v)
			c := v.Check(StepStatus)
			if v.Outcome != tt.outcome || c.Result != tt.result || c.Reason != tt.reason {
				t.Errorf("%s, %s (%s); want %s, %s (%s)", v.Outcome, c.Result, c.Reason, tt.outcome, tt.result, tt.reason)
			}
			// The policy that was given must not have been changed by using it.
			if n.Policies[trust.ICVP].Required[StepStatus] {
				t.Error("the policy itself was changed")
			}
		})
	}
	t.Run("a required status check of a code that nobody signed", func(t *testing.T) {
		n := newNet(t)
		n.alter(trust.ICVP, func(p *Policy) { p.Required[StepStatus] = true })
		v := n.Verify(n.text(code{signer: rogue(t)}))
		if v.Outcome != UnknownIssuer || v.Check(StepStatus).Result != NotChecked {
			t.Errorf("%s, status %s", v.Outcome, v.Check(StepStatus).Result)
		}
	})
}

// TestOnlyRequiredChecksDecide waives each check of an expired, revoked,
// misshapen certificate in turn.
func TestOnlyRequiredChecksDecide(t *testing.T) {
	for _, tt := range []struct {
		name    string
		code    code
		waived  Step
		outcome Outcome
	}{
		{"period", vaccination(4, noon.AddDate(0, 0, -1)), StepPeriod, Expired},
		{"schema", code{subclaim: 1, payload: dcc("v", entryV().with("co", "at"))}, StepSchema, SchemaInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNet(t)
			text := n.text(tt.code)
			if v := n.Verify(text); v.Outcome != tt.outcome {
				t.Fatalf("required: %s", v.Outcome)
			}
			n.alter(trust.DCC, func(p *Policy) { p.Required[tt.waived] = false })
			if v := n.Verify(text); v.Outcome != Valid || v.Check(tt.waived).Result != Fail {
				t.Errorf("waived: %s, %s %s", v.Outcome, tt.waived, v.Check(tt.waived).Result)
			}
		})
	}
}

// TestReport: the words are those that scripts read, and the content stays
// inside unless it may be shown.
func TestReport(t *testing.T) {
	n := newNet(t)
	for _, tt := range []struct {
		name       string
		text       string
		show, seen bool
	}{
		{"valid", n.text(code{}), false, true},
		{"valid, asked for", n.text(code{}), true, true},
		{"expired", n.text(vaccination(4, noon.AddDate(0, 0, -1))), false, false},
		{"expired, asked for", n.text(vaccination(4, noon.AddDate(0, 0, -1))), true, true},
		{"undecided", n.text(onDay("NN-1", "2026-02-20")), false, false},
		{"forged", n.text(code{signer: rogue(t), kid: n.dsc.kid}), false, false},
		{"forged, asked for", n.text(code{signer: rogue(t), kid: n.dsc.kid}), true, true},
		{"unreadable, asked for", "HC1:", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := json.Marshal(n.Verify(tt.text).Report(tt.show))
			if err != nil {
				t.Fatal(err)
			}
			if seen := strings.Contains(string(data), secret); seen != tt.seen {
				t.Errorf("content seen %v, want %v: %s", seen, tt.seen, data)
			}
			var members map[string]json.RawMessage
			if err := json.Unmarshal(data, &members); err != nil {
				t.Fatal(err)
			}
			var checks []map[string]string
			if err := json.Unmarshal(members["checks"], &checks); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, c := range checks {
				names = append(names, c["name"])
				if c["outcome"] == "" {
					t.Errorf("%s has no outcome", c["name"])
				}
			}
			if diff := cmp.Diff(checkNames, names); diff != "" {
				t.Error(diff)
			}
			for _, name := range []string{"format", "outcome", "reason", "advice", "checks", "issuer"} {
				if members[name] == nil {
					t.Errorf("no member %s", name)
				}
			}
		})
	}
}

func TestParseStep(t *testing.T) {
	for i, name := range checkNames {
		if s, ok := ParseStep(name); !ok || s != Step(i) || s.String() != name {
			t.Errorf("%s: %v %v", name, s, ok)
		}
	}
	if s, ok := ParseStep("green"); ok {
		t.Errorf("green is step %v", s)
	}
}

// TestConcurrentUse: one verifier serves many goroutines.
func TestConcurrentUse(t *testing.T) {
	n := newNet(t)
	n.Status = new(trust.Status)
	texts := []string{
		n.text(code{}), n.text(vaccination()), n.text(code{subclaim: 5, payload: vhlink("")}), n.text(code{subclaim: 3, payload: ddccV()}),
		n.text(code{signer: rogue(t), kid: n.dsc.kid}), pack(t, make([]byte, 1<<20)), "shc:/", "",
	}
	want := make([]Outcome, len(texts))
	for i, text := range texts {
		want[i] = n.Verify(text).Outcome
	}
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for k := range 25 {
				i := (g + k) % len(texts)
				if v := n.Verify(texts[i]); v.Outcome != want[i] {
					t.Errorf("%.10s: %s, want %s", texts[i], v.Outcome, want[i])
				}
			}
		})
	}
	all.Wait()
}

// maxAllocated is the most that the judgement of one text may allocate in
// total (design section 3).
const maxAllocated = 16 << 20

// TestMemory measures every attack that fits a QR code, and texts made to be
// costly.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("what memory takes under the detector is its own")
	}
	type costly struct {
		name string
		text func(n *net) string
	}
	var cases []costly
	for _, a := range attacks {
		cases = append(cases, costly{a.name, a.text})
	}
	manyKeys := func(of any) m {
		var p m
		for i := range 250 {
			p = append(p, list{"a long array as the key of a map", i}, of)
		}
		return p
	}
	cases = append(cases,
		costly{"items to the limit", plain(code{open: m{99, list(make([]any, 8100))}, subclaim: -6, payload: icvp3().with("zz", list(make([]any, 8100)))})},
		costly{"maps to the limit", plain(code{open: manyKeys(manyKeys(nil)[:100])})},
		costly{"chunks of one byte", plain(code{subclaim: -6, payload: icvp3().with("n", raw(append(append([]byte{0x7f}, strings.Repeat("\x61a", 25_000)...), 0xff)))})},
		costly{"a name that grows when it is composed", plain(code{subclaim: -6, payload: icvp3().with("n", strings.Repeat("\U0001d160", 15_000))})},
		costly{"a name of 60,000 hidden characters", plain(code{subclaim: 1, payload: dcc("v", entryV()).with("nam", nam().with("fn", strings.Repeat("\u202e", 20_000)).without("fnt"))})},
		costly{"a name of 60,000 letters to transliterate", plain(code{subclaim: 1, payload: dcc("v", entryV()).with("nam", m{"fn", strings.Repeat("\u00c6", 30_000)})})},
		costly{"a link of 16,000 characters", plain(code{subclaim: 5, payload: vhlink(`,"extension":{"a":[` + strings.Repeat("0,", 5_000) + `0]}`)})},
		costly{"a kid of 60,000 bytes", plain(code{kid: make([]byte, 60_000)})},
		costly{"a signature of 60,000 bytes", plain(fixed(make([]byte, 60_000)))},
	)
	tried := 0
	for _, c := range cases {
		n := newNet(t)
		text := c.text(n)
		if len(text) > 4296 {
			continue
		}
		tried++
		n.Verify(text) // fills the pools
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n.Verify(text)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > maxAllocated {
			t.Errorf("%s: %d bytes allocated for %d characters", c.name, used, len(text))
		}
	}
	if tried < 200 {
		t.Errorf("only %d texts fitted a QR code", tried)
	}
}

// FuzzVerify: whatever the text, a verdict comes out, and it agrees with its
// checks.
func FuzzVerify(f *testing.F) {
	n := newNet(f)
	for _, a := range attacks {
		if text := a.text(newNet(f)); len(text) < 8192 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkFuzzed(t, n.Verify(text))
	})
}

// FuzzVerifySigned signs any claims with a trusted key: what lies behind a
// signature must be judged as safely as what does not.
func FuzzVerifySigned(f *testing.F) {
	n := newNet(f)
	for _, p := range []any{icvp3(), icvp2(), icvp1()} {
		f.Add(encode(claimsOf(-6, p)))
	}
	for _, p := range []any{dcc("v", entryV()), dcc("t", entryT()), dcc("r", entryR())} {
		f.Add(encode(claimsOf(1, p)))
	}
	f.Add(encode(claimsOf(3, ddccV())))
	f.Add(encode(claimsOf(5, vhlink(""))))
	f.Fuzz(func(t *testing.T, claims []byte) {
		own := net{Verifier: n.Verifier, t: t, dsc: n.dsc}
		checkFuzzed(t, own.Verify(own.text(code{claims: raw(claims)})))
	})
}

// checkFuzzed is checkVerdict without the search for the secret, which a fuzzed
// text may put anywhere, and with the outcome derived a second time.
func checkFuzzed(t *testing.T, v *Verdict) {
	t.Helper()
	for i, c := range v.Checks {
		if c.Name != checkNames[i] || c.Result == "" {
			t.Fatalf("check %d is %q: %q", i, c.Name, c.Result)
		}
		if (c.Result == Fail || c.Result == CannotTell) && c.Reason == "" {
			t.Fatalf("%s: %s without a reason", c.Name, c.Result)
		}
	}
	var required [12]bool
	if v.Check(StepDecode).Result == Pass {
		d := map[string]trust.Domain{"eu-dcc": trust.DCC, "icvp": trust.ICVP, "ddcc": trust.DDCC, "vhl": trust.PH4H}
		required = DefaultPolicy(d[v.Format]).Required
	}
	want := aggregate(v.Checks, required)
	if v.Outcome != want {
		t.Fatalf("%s (%s), want %s: %v", v.Outcome, v.Reason, want, v.Checks)
	}
	if v.Outcome == Valid && (v.Issuer.Participant == "" || v.Certificate == nil) {
		t.Fatal("valid without a signer or without content")
	}
	if v.Outcome != Valid && v.Report(false).Certificate != nil {
		t.Fatal("content shown that is not valid")
	}
}
