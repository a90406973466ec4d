package cert_test

import (
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/icvp"
)

func TestApplyICVPTables(t *testing.T) {
	noon := func(day string) time.Time {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		return at.Add(12 * time.Hour)
	}
	given := func(c *icvp.Certificate, product, day string) *icvp.Certificate {
		c.Dose.Product, c.Dose.Date = product, day
		return c
	}
	disease := func(c *icvp.Certificate, code string) *icvp.Certificate {
		c.Dose.Disease = code
		return c
	}
	for _, tt := range []struct {
		name      string
		given     *icvp.Certificate
		catalogue *cert.Catalogue
		issued    time.Time
		now       time.Time
		want      cert.RuleResult
	}{
		{"yellow fever, same day", given(generation3(), "YF-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Failed: true, Reason: "less-than-10-days", Detail: "ICVP.DT.1 rule 2: 0 days since the vaccination"}},
		{"yellow fever, day 9", given(generation3(), "YF-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-03-01"), cert.RuleResult{Failed: true, Reason: "less-than-10-days", Detail: "ICVP.DT.1 rule 2: 9 days since the vaccination"}},
		{"yellow fever, the last second of day 9", given(generation3(), "YF-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-03-02").Add(-12*time.Hour - time.Nanosecond), cert.RuleResult{Failed: true, Reason: "less-than-10-days", Detail: "ICVP.DT.1 rule 2: 9 days since the vaccination"}},
		{"yellow fever, the first second of day 10", given(generation3(), "YF-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-03-02").Add(-12 * time.Hour), cert.RuleResult{Reason: "satisfied", Detail: "ICVP.DT.1 rule 3"}},
		{"yellow fever, day 9 in a zone where it is day 10", given(generation3(), "YF-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-03-01").In(time.FixedZone("", 14*3600)), cert.RuleResult{Failed: true, Reason: "less-than-10-days", Detail: "ICVP.DT.1 rule 2: 9 days since the vaccination"}},
		{"yellow fever, dated tomorrow", given(generation3(), "YF-1", "2026-02-21"), products(t), noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Failed: true, Reason: "less-than-10-days", Detail: "ICVP.DT.1 rule 2: 0 days since the vaccination"}},
		{"yellow fever, thirty years ago", given(generation3(), "YF-1", "1996-02-20"), products(t), noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Reason: "satisfied", Detail: "ICVP.DT.1 rule 3"}},
		{"polio, same day", given(generation3(), "PV-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Reason: "satisfied", Detail: "ICVP.DT.2 rule 2"}},
		{"not listed", given(generation3(), "ZZ-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-03-20"), cert.RuleResult{Failed: true, Reason: "product-not-approved", Detail: "the product is not in the catalogue (ICVP.DT.1 rule 1, ICVP.DT.2 rule 1)"}},
		{"no catalogue", generation3(), nil, noon("2026-02-20"), noon("2026-03-20"), cert.RuleResult{Unknown: true, Reason: "no-catalogue", Detail: "whether the product is approved by the WHO is in its catalogue, and none is loaded"}},
		{"no disease in the catalogue", given(generation3(), "NN-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-03-20"), cert.RuleResult{Unknown: true, Reason: "no-decision-table", Detail: "there is no decision table for this disease"}},
		{"after the issue", given(generation3(), "PV-1", "2026-02-22"), products(t), noon("2026-02-20"), noon("2026-03-20"), cert.RuleResult{Failed: true, Reason: "vaccination-after-issuance", Detail: "REQ-DE-13"}},
		{"the day after the issue, in an early zone", given(generation3(), "PV-1", "2026-02-21"), products(t), noon("2026-02-20"), noon("2026-03-20"), cert.RuleResult{Reason: "satisfied", Detail: "ICVP.DT.2 rule 2"}},
		{"in the future, issue not known", given(generation3(), "PV-1", "2026-02-22"), products(t), time.Time{}, noon("2026-02-20"), cert.RuleResult{Failed: true, Reason: "vaccination-in-future", Detail: "REQ-DE-13"}},
		{"no date", given(generation3(), "PV-1", "February"), products(t), noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Unknown: true, Reason: "bad-date", Detail: "the date of vaccination is not a date"}},
		{"generation 2 asks the catalogue", given(generation2(), "YF-1", "2026-02-20"), nil, noon("2026-02-20"), noon("2026-03-20"), cert.RuleResult{Unknown: true, Reason: "no-catalogue", Detail: "whether the product is approved by the WHO is in its catalogue, and none is loaded"}},
		{"generation 2", given(generation2(), "YF-1", "2026-02-20"), products(t), noon("2026-02-20"), noon("2026-03-20"), cert.RuleResult{Reason: "satisfied", Detail: "ICVP.DT.1 rule 3"}},
		{"generation 1 names its disease", generation1(), nil, noon("2026-02-20"), noon("2026-03-20"), cert.RuleResult{Reason: "satisfied", Detail: "ICVP.DT.1 rule 3"}},
		{"generation 1, day 9", generation1(), nil, noon("2026-02-20"), noon("2026-03-01"), cert.RuleResult{Failed: true, Reason: "less-than-10-days", Detail: "ICVP.DT.1 rule 2: 9 days since the vaccination"}},
		{"generation 1, polio by its other code", disease(generation1(), "398102009"), nil, noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Reason: "satisfied", Detail: "ICVP.DT.2 rule 2"}},
		{"generation 1, cholera", disease(generation1(), "1A00"), nil, noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Unknown: true, Reason: "no-decision-table", Detail: "there is no decision table for this disease"}},
		{"generation 1, nothing known", disease(generation1(), "9Z99"), nil, noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Unknown: true, Reason: "no-decision-table", Detail: "there is no decision table for this disease"}},
		{"a demonstration product says so", given(generation3(), demoPolio(t), "2026-02-20"), cert.DemoCatalogue(), noon("2026-02-20"), noon("2026-02-20"), cert.RuleResult{Reason: "satisfied", Detail: "ICVP.DT.2 rule 2; a demonstration product, not one of the WHO's"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			record := cert.FromICVP(tt.given, tt.catalogue)
			record.Issued = tt.issued
			if got := cert.ApplyICVPTables(tt.given, record, tt.catalogue, tt.now); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// demoPolio finds a polio vaccine of the demonstration.
func demoPolio(t *testing.T) string {
	t.Helper()
	for p := range cert.DemoCatalogue().Products() {
		if p.Disease == cert.DiseasePolio {
			return p.ID
		}
	}
	t.Fatal("the demonstration has no polio vaccine")
	return ""
}
