package verifier

import (
	"testing"
	"time"

	"ampoule/bundle"
	"ampoule/cert"
	"ampoule/format/certlogic"
	"ampoule/thing"
	"ampoule/trust"
)

// TestTooOld: under data that are too old nothing is valid, and what is refused
// is refused for the same reason as before, whatever the policy waives.
func TestTooOld(t *testing.T) {
	valid, refused := 0, 0
	for _, a := range attacks {
		n := newNet(t)
		text := a.text(n)
		n.Lots = n.lots(thing.LotStatement{Product: yellowFever, Lot: specimenLot, Value: thing.Unharmed, Measured: 9200})
		n.FreshUntil = n.Now().Add(time.Second)
		want := n.Verify(text)
		n.FreshUntil = n.Now()
		for _, waived := range []bool{false, true} {
			for domain, p := range n.Policies {
				p.Required[StepKeyValidity] = !waived
				n.Policies[domain] = p
			}
			if waived {
				n.FreshUntil = time.Time{}
				want = n.Verify(text)
				n.FreshUntil = n.Now()
			}
			got := n.Verify(text)
			switch {
			case want.Outcome == Valid:
				valid++
				if got.Outcome != Unknown || got.Reason != reasonTooOld {
					t.Errorf("%s, waived %v: %s (%s)", a.name, waived, got.Outcome, got.Reason)
				}
			case want.Outcome == Unknown:
				if got.Outcome != Unknown {
					t.Errorf("%s, waived %v: %s (%s)", a.name, waived, got.Outcome, got.Reason)
				}
			default:
				refused++
				if got.Outcome != want.Outcome || got.Reason != want.Reason {
					t.Errorf("%s, waived %v: %s (%s), want %s (%s)", a.name, waived, got.Outcome, got.Reason, want.Outcome, want.Reason)
				}
			}
			if got.Advice.Value == NoConcern {
				t.Errorf("%s: no concern, as far as an old list knows", a.name)
			}
		}
	}
	if valid < 5 || refused < 50 {
		t.Errorf("%d valid and %d refused: the test shows nothing", valid, refused)
	}
}

// TestTooOldChecks: each answer that rests on the data says so, and a concern
// stays one.
func TestTooOldChecks(t *testing.T) {
	for _, c := range []struct {
		name  string
		value thing.LotStatement
		want  Advice
		dose  Result
	}{
		{"cleared", thing.LotStatement{Product: yellowFever, Lot: specimenLot, Value: thing.Unharmed, Measured: 9200}, Advice{NotKnown, reasonTooOld}, CannotTell},
		{"recalled", thing.LotStatement{Product: yellowFever, Lot: specimenLot, Value: thing.Recalled}, Advice{Concern, "recalled"}, Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet(t)
			n.Status, n.Lots, n.FreshUntil = new(trust.Status), n.lots(c.value), noon.AddDate(0, 0, -1)
			v := n.Verify(n.text(code{}))
			checkVerdict(t, v)
			for _, s := range []Step{StepKeys, StepStatus, StepRules} {
				if check := v.Check(s); check.Result != CannotTell || check.Reason != reasonTooOld {
					t.Errorf("%+v", check)
				}
			}
			if v.Check(StepSignature).Result != Pass || v.Check(StepKeyValidity).Result != Pass || v.Check(StepDose).Result != c.dose || v.Advice != c.want {
				t.Errorf("signature %v, dose %v, advice %v", v.Check(StepSignature), v.Check(StepDose), v.Advice)
			}
		})
	}
}

func TestFromBundle(t *testing.T) {
	o := &bundle.Opened{Bundle: &bundle.Bundle{Next: noon}, Contents: bundle.Contents{
		Trust: new(trust.List), Status: new(trust.Status), Catalogue: cert.DemoCatalogue(), Lots: new(thing.LotList),
	}}
	clock := func() time.Time { return noon }
	v := FromBundle(o, clock)
	if v.Trust != o.Contents.Trust || v.Status != o.Contents.Status || v.Catalogue != o.Contents.Catalogue || v.Lots != o.Contents.Lots || v.Rules != nil || !v.FreshUntil.Equal(noon) || v.Now() != noon {
		t.Errorf("%+v", v)
	}
	o.Contents.Rules = []*certlogic.Rule{rule(t, "VR-XB-0001", "XB", `{"in": ["840539006", {"var": "external.valueSets.disease-agent-targeted"}]}`)}
	own := certlogic.NewValueSets(map[string][]string{"disease-agent-targeted": nil})
	for _, c := range []struct {
		name string
		sets *certlogic.ValueSets
		want Result
	}{{"built-in value sets", nil, Pass}, {"the bundle's", &own, Fail}} {
		t.Run(c.name, func(t *testing.T) {
			o.ValueSets = c.sets
			n := newNet(t)
			n.Rules = FromBundle(o, clock).Rules
			n.Rules.Arrival = "XB"
			if check := n.Verify(n.text(vaccination())).Check(StepRules); check.Result != c.want {
				t.Errorf("%+v", check)
			}
		})
	}
}

// TestMaxAge: the policy of a domain may ask for newer data than the maker promises,
// by the clock on the wall, whatever time is asked about.
func TestMaxAge(t *testing.T) {
	n := newNet(t)
	text := n.text(code{})
	n.IssuedAt = n.Now().Add(-48 * time.Hour)
	n.FreshUntil = n.Now().Add(5 * 24 * time.Hour)
	limit := func(domain trust.Domain, age time.Duration) {
		n.alter(domain, func(p *Policy) { p.MaxAge = age })
	}
	check := func(name string, v *Verifier, want Outcome) {
		t.Helper()
		if got := v.Verify(text); got.Outcome != want || want == Unknown && got.Reason != reasonTooOld {
			t.Errorf("%s: %s (%s), want %s", name, got.Outcome, got.Reason, want)
		}
	}
	check("no limit", n.Verifier, Valid)
	limit(trust.DCC, time.Hour)
	check("that of another domain", n.Verifier, Valid)
	limit(trust.ICVP, 49*time.Hour)
	check("not yet", n.Verifier, Valid)
	check("not yet, asked about later", n.With(Options{At: n.Now().Add(3 * time.Hour)}), Valid)
	limit(trust.ICVP, 48*time.Hour)
	check("to the second", n.Verifier, Unknown)
	check("asked about earlier", n.With(Options{At: n.Now().Add(-3 * time.Hour)}), Unknown)
	limit(trust.ICVP, 0)
	n.FreshUntil = n.Now().Add(-time.Second)
	check("the maker's own", n.Verifier, Unknown)
}
