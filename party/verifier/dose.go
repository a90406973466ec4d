package verifier

import (
	"ampoule/cert"
	"ampoule/thing"
	"ampoule/trust"
)

// checkDose makes step 9: is anything known against the dose itself? Its advice
// stands beside the outcome and never changes it, whatever a policy says.
func (v *Verifier) checkDose(out *Verdict, c *certificate) {
	answer := func(r Result, a thing.Advice) {
		out.set(StepDose, r, a.Reason, a.Detail)
		out.Advice = out.Checks[StepDose].advice()
	}
	listed, isListed := trust.StatusHit{}, false
	if c.key != nil && c.domain != trust.SHC {
		listed, isListed = v.Status.FindDose(c.key, c.statusQuery())
	}
	switch {
	case v.Lots == nil && isListed:
		answer(Fail, thing.Advice{Value: thing.Concern, Reason: reasonDoseListed, Detail: listed.Detail})
		return
	case v.Lots == nil:
		answer(NotChecked, thing.Advice{Value: thing.NotKnown, Reason: reasonNoLots})
		return
	case c.key == nil:
		// Nobody is known to have said what dose it was.
		answer(NotChecked, thing.Advice{Value: thing.NotKnown, Reason: reasonNoSignature})
		return
	}
	doses := v.doses(c)
	if len(doses) == 0 {
		answer(NotApplicable, thing.Advice{Value: thing.NotKnown, Reason: "no-dose"})
		return
	}
	advices := make([]thing.Advice, len(doses))
	for i, d := range doses {
		advices[i] = v.Lots.Advise(d)
		if i > 0 && advices[i].Detail != "" {
			advices[i].Detail = "an earlier dose: " + advices[i].Detail
		}
	}
	if isListed { // after the lots: what they say of a dose says why
		advices = append(advices, thing.Advice{Value: thing.Concern, Reason: reasonDoseListed, Detail: listed.Detail})
	}
	worst := thing.Worst(advices...)
	switch worst.Value {
	case thing.Concern:
		answer(Fail, worst)
	case thing.NoConcern:
		answer(Pass, worst)
	default:
		answer(CannotTell, worst)
	}
}

// unread is the advice where step 9 was not reached.
func (v *Verifier) unread() Advice {
	if v.Lots == nil {
		return Advice{NotKnown, reasonNoLots}
	}
	return Advice{NotKnown, reasonNotReached}
}

// advice is what follows from the check of the dose.
func (c Check) advice() Advice {
	switch c.Result {
	case Fail:
		return Advice{Concern, c.Reason}
	case Pass:
		return Advice{NoConcern, c.Reason}
	}
	return Advice{NotKnown, c.Reason}
}

// doses are those of the record, the one that it is about first.
func (v *Verifier) doses(c *certificate) []thing.Dose {
	var doses []thing.Dose
	if c.record.Vaccination != nil {
		doses = append(doses, v.dose(c, c.record.Vaccination))
	}
	for _, e := range c.record.Earlier {
		if e.Vaccination != nil {
			doses = append(doses, v.dose(c, e.Vaccination))
		}
	}
	return doses
}

func (v *Verifier) dose(c *certificate, given *cert.Vaccination) thing.Dose {
	d := thing.Dose{
		Disease: given.Disease.Code, Lot: given.Lot, Country: given.Country,
		Centre: given.Clinician, Given: string(given.Date),
	}
	for _, code := range append([]cert.Code{given.Product, given.Vaccine}, given.Synonyms...) {
		if code.Code != "" {
			d.Products = append(d.Products, thing.Product{Code: code.Code, System: code.System})
			for _, same := range v.Concepts.Equivalents(code) {
				d.Products = append(d.Products, thing.Product{Code: same.Code, System: same.System})
			}
		}
	}
	if p, known := v.Catalogue.Product(given.Product.Code); known && given.Product.System == cert.SystemICVPProduct {
		d.Name = p.Display
	}
	if d.Country == "" && c.icvp != nil {
		// An ICVP names no country. IHR annex 6 has it signed by the clinician and
		// stamped by the centre that gave the dose, so it is issued where that was.
		d.Country, d.Assumed = c.key.Country, true
	}
	return d
}
