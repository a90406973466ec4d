package cert

import (
	"fmt"
	"time"

	"ampoule/format/icvp"
)

// RuleResult is the answer of the rules of a Digital ICVP. At most one of
// Failed and Unknown is set.
type RuleResult struct {
	Failed  bool
	Unknown bool
	Reason  string // a stable word
	Detail  string // the requirement or decision table
}

// The reasons.
const (
	ruleSatisfied     = "satisfied"
	ruleAfterIssuance = "vaccination-after-issuance"
	ruleInFuture      = "vaccination-in-future"
	ruleNotApproved   = "product-not-approved"
	ruleTooRecent     = "less-than-10-days"
	ruleNoCatalogue   = "no-catalogue"
	ruleNoTable       = "no-decision-table"
)

// dayAhead is how far a calendar date may run ahead of UTC: it is already
// tomorrow in the islands of Kiribati.
const dayAhead = 14 * time.Hour

// ApplyICVPTables applies the business rules of the WHO's SMART ICVP guide
// v0.3.0 at the time of verification: REQ-DE-13 on the date of vaccination, and
// the decision tables ICVP.DT.1 (yellow fever) and ICVP.DT.2 (poliovirus).
//
// Whether a product is approved is what the catalogue says; without one it is
// unknown. Generation 1 was made before there were product identifiers: it
// carries the disease itself, and approval is not asked of it.
func ApplyICVPTables(i *icvp.Certificate, record *Certificate, catalogue *Catalogue, now time.Time) RuleResult {
	given, err := time.Parse(time.DateOnly, i.Dose.Date)
	if err != nil {
		return RuleResult{Unknown: true, Reason: "bad-date", Detail: "the date of vaccination is not a date"}
	}
	if !record.Issued.IsZero() && given.After(record.Issued.Add(dayAhead)) {
		return RuleResult{Failed: true, Reason: ruleAfterIssuance, Detail: "REQ-DE-13"}
	}
	if given.After(now.Add(dayAhead)) {
		return RuleResult{Failed: true, Reason: ruleInFuture, Detail: "REQ-DE-13"}
	}

	var note string
	disease, _ := FindDisease(record.Vaccination.Disease.Code)
	if i.Generation > 1 {
		if catalogue == nil {
			return RuleResult{Unknown: true, Reason: ruleNoCatalogue, Detail: "whether the product is approved by the WHO is in its catalogue, and none is loaded"}
		}
		p, listed := catalogue.Product(i.Dose.Product)
		if !listed {
			return RuleResult{Failed: true, Reason: ruleNotApproved, Detail: "the product is not in the catalogue (ICVP.DT.1 rule 1, ICVP.DT.2 rule 1)"}
		}
		disease, _ = FindDisease(p.Disease)
		if p.Demonstration {
			note = "; a demonstration product, not one of the WHO's"
		}
	}
	switch disease.Word {
	case DiseaseYellowFever:
		// Days are counted between calendar dates: ten days after the first of the
		// month is the eleventh.
		days := int(now.UTC().Truncate(24*time.Hour).Sub(given).Hours() / 24)
		if days < 10 {
			return RuleResult{Failed: true, Reason: ruleTooRecent, Detail: fmt.Sprintf("ICVP.DT.1 rule 2: %d days since the vaccination", max(days, 0))}
		}
		return RuleResult{Reason: ruleSatisfied, Detail: "ICVP.DT.1 rule 3" + note}
	case DiseasePolio:
		return RuleResult{Reason: ruleSatisfied, Detail: "ICVP.DT.2 rule 2" + note}
	}
	return RuleResult{Unknown: true, Reason: ruleNoTable, Detail: "there is no decision table for this disease" + note}
}
