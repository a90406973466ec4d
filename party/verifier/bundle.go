package verifier

import (
	"fmt"
	"time"

	"ampoule/bundle"
)

// FromBundle returns a verifier that knows what a bundle carries, until the next
// one is due. Hot keys, policies and a country of arrival are the caller's to
// set.
func FromBundle(b *bundle.Opened, now func() time.Time) *Verifier {
	v := &Verifier{
		Trust: b.Contents.Trust, Status: b.Contents.Status, Catalogue: b.Contents.Catalogue, Lots: b.Contents.Lots, Concepts: b.Concepts, Landmarks: b.Contents.Landmarks, Ledgers: b.Ledgers,
		IssuedAt: b.Issued, FreshUntil: b.Next, Now: now,
	}
	if len(b.Contents.Rules) > 0 {
		v.Rules = &Rules{Rules: b.Contents.Rules}
		if b.ValueSets != nil {
			v.Rules.ValueSets = *b.ValueSets
		} else {
			v.Rules.ValueSets = DefaultValueSets()
		}
	}
	return v
}

// checkAge is made after the other checks. It turns what passed into unknown
// where the answer rests on data that are too old: the key may have left its list
// since, the certificate been revoked, the lot been recalled, the rule changed.
// What failed stays failed.
//
// The maker says when the next bundle is due, and the policy of a domain may ask
// for less.
func (v *Verifier) checkAge(out *Verdict, p *Policy, now time.Time) {
	until := v.FreshUntil
	if until.IsZero() {
		return
	}
	if end := v.IssuedAt.Add(p.MaxAge); p.MaxAge > 0 && end.Before(until) {
		until = end
	}
	if !v.wall.IsZero() {
		now = v.wall
	}
	if now.Before(until) {
		return
	}
	// No certificate is valid without a trusted key, and no policy can waive that
	// check: one of these suffices, and the others say what they rest on.
	for _, s := range [...]Step{StepKeys, StepStatus, StepDose, StepRules} {
		if was := out.Checks[s]; was.Result == Pass {
			out.set(s, CannotTell, reasonTooOld, fmt.Sprintf("%s, as far as was known when a newer bundle was due, %s", was.Reason, until.UTC().Format(time.RFC3339)))
		}
	}
	if dose := out.Checks[StepDose]; dose.Reason == reasonTooOld {
		out.Advice = dose.advice()
	}
}
