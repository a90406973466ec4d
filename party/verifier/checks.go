package verifier

import (
	"fmt"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/hcert"
	"ampoule/trust"
)

// The reasons for which a key is not believed.
const (
	keyRevoked     = "dsc-revoked"
	keyExpired     = "dsc-expired"
	keyNotYetValid = "dsc-not-yet-valid"
	keyUsage       = "key-usage"
	keyWeak        = "weak-key"
)

// keyProblem says why a key whose signature fits is not to be believed, or "".
func keyProblem(c *certificate, k *trust.Key) string {
	switch {
	case k.Revoked:
		return keyRevoked
	case k.Weak:
		return keyWeak
	case !k.Usages.Allows(c.usage):
		return keyUsage
	case k.NotAfter.IsZero(): // a bare key: its owner said for how long by trusting it
		return ""
	case c.now.Before(k.NotBefore):
		return keyNotYetValid
	case c.now.After(k.NotAfter) && !signedInTime(c, k):
		return keyExpired
	}
	return ""
}

// signedInTime reports whether, under the chain model, an expired key may be
// believed for a signature made while it was valid.
func signedInTime(c *certificate, k *trust.Key) bool {
	iat := c.issued
	return c.policy.Model == Chain && c.policy.AcceptIssuedAt && !iat.Before(k.NotBefore) && !iat.After(k.NotAfter)
}

// checkKeyValidity makes step 5.
func (v *Verifier) checkKeyValidity(out *Verdict, c *certificate) {
	k := c.key
	if k == nil {
		out.set(StepKeyValidity, NotChecked, reasonNoSignature, "")
		return
	}
	if c.chainProblem != nil {
		out.set(StepKeyValidity, Fail, format.Reason(c.chainProblem, "chain-not-valid"), detailOf(c.chainProblem))
		return
	}
	switch problem := keyProblem(c, k); {
	case problem == keyUsage:
		out.set(StepKeyValidity, Fail, problem, fmt.Sprintf("the key may sign %s certificates", k.Usages))
	case problem == keyExpired && c.policy.Model == Chain:
		out.set(StepKeyValidity, Fail, problem, fmt.Sprintf("until %s; nothing but the certificate's own date says that it was signed before", day(k.NotAfter)))
	case problem != "":
		out.set(StepKeyValidity, Fail, problem, fmt.Sprintf("%s to %s", day(k.NotBefore), day(k.NotAfter)))
	case !k.NotAfter.IsZero() && c.now.After(k.NotAfter):
		out.set(StepKeyValidity, Pass, "signed-in-time", fmt.Sprintf("the key expired on %s; the policy accepts the issuer's own date of signing", day(k.NotAfter)))
	default:
		out.set(StepKeyValidity, Pass, "within-validity", "")
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// checkPeriod makes step 6.
func (v *Verifier) checkPeriod(out *Verdict, c *certificate) {
	latest := c.now.Add(c.policy.ClockSkew)
	until := c.expires
	reason := "expired"
	from, fromKnown := statedDay(c.from)
	last, lastKnown := statedDay(c.until)
	if !last.IsZero() {
		// Invalid on or after the day that follows (REQ-DE-23).
		if end := last.AddDate(0, 0, 1).Add(-1); until.IsZero() || end.Before(until) {
			until = end
		}
	}
	if c.link != nil && !c.link.Expires.IsZero() && (until.IsZero() || c.link.Expires.Before(until)) {
		until, reason = c.link.Expires, "link-expired"
	}
	switch {
	case c.issued.After(latest):
		detail := "issued " + day(c.issued)
		if c.issued.Sub(c.now) < 24*time.Hour {
			detail = "issued less than a day ahead: is the clock of this device right?"
		}
		out.set(StepPeriod, Fail, reasonNotYetIssued, detail)
	case c.notBefore.After(latest):
		out.set(StepPeriod, Fail, reasonNotYetValid, "counts from "+day(c.notBefore))
	case from.After(latest):
		out.set(StepPeriod, Fail, reasonNotYetValid, "counts from "+day(from))
	case !until.IsZero() && c.now.After(until):
		out.set(StepPeriod, Fail, reason, "until "+day(until))
	case c.expires.IsZero() && c.policy.RequireExpiry:
		out.set(StepPeriod, Fail, "exp-missing", "this format must say until when it is valid")
	case !fromKnown || !lastKnown:
		// To pass it over would make a certificate of unreadable validity one that
		// never ends.
		out.set(StepPeriod, CannotTell, string(format.BadDate), "the content states its validity in no date that can be read")
	case until.IsZero():
		out.set(StepPeriod, Pass, "no-expiry", "")
	default:
		out.set(StepPeriod, Pass, "in-force", c.periodRemark())
	}
}

// statedDay reads a day of the validity that the content states: a date, also
// with a time, or no end. known is false for what cannot be read.
func statedDay(s string) (t time.Time, known bool) {
	if s == "" || cert.IsLifetime(s) {
		return time.Time{}, true
	}
	if len(s) > len(time.DateOnly) && s[len(time.DateOnly)] == 'T' {
		s = s[:len(time.DateOnly)]
	}
	t, err := time.Parse(time.DateOnly, s)
	return t, err == nil
}

// periodRemark notes what a policy might mind and this one does not.
func (c *certificate) periodRemark() string {
	if c.key != nil && !c.key.NotAfter.IsZero() && c.expires.After(c.key.NotAfter) {
		// HCERT section 3.3.5 forbids it to issuers; the holder cannot help it, and
		// the key's own expiry is judged in its own check.
		return "exp-exceeds-dsc"
	}
	if r := c.record.Recovery; r != nil && r.ValidUntil != "" && string(r.ValidUntil) < day(c.now) {
		// How long a recovery counts is the destination's rule, not the signature's.
		return "recovery-period-over"
	}
	return ""
}

// checkSchema makes step 7.
func (v *Verifier) checkSchema(out *Verdict, c *certificate) {
	var words []string
	for _, f := range c.findings {
		if !f.Tolerable || c.policy.Profile == hcert.Strict {
			out.set(StepSchema, Fail, string(f.Reason), f.Path)
			return
		}
		words = append(words, f.Path+": "+string(f.Reason))
	}
	for _, path := range c.unlisted {
		words = append(words, path+": not in its value set")
	}
	if len(words) == 0 {
		out.set(StepSchema, Pass, "conforms", "")
		return
	}
	const most = 8
	if len(words) > most {
		words = append(words[:most], fmt.Sprintf("%d more", len(words)-most))
	}
	reason := "tolerated"
	for _, f := range c.findings {
		if f.Reason == format.SuspiciousText {
			// The word that a person at the desk must see: the name has characters in
			// it that change how it looks.
			reason = string(format.SuspiciousText)
		}
	}
	out.set(StepSchema, Pass, reason, strings.Join(words, "; "))
}

// checkStatus makes step 8.
func (v *Verifier) checkStatus(out *Verdict, c *certificate) {
	if c.key == nil {
		out.set(StepStatus, NotChecked, reasonNoSignature, "")
		return
	}
	scheme := c.policy.statusScheme(c.key.Participant)
	if scheme != "" {
		c.policy.Required[StepStatus] = true
	}
	if v.Status == nil {
		if scheme != "" {
			out.set(StepStatus, CannotTell, "no-status-list", "the policy asks for "+scheme)
			return
		}
		out.set(StepStatus, NotChecked, "no-status-list", "")
		return
	}
	// A list that was loaded is believed, asked for or not.
	c.policy.Required[StepStatus] = true
	if c.domain == trust.SHC {
		v.checkCardStatus(out, c)
		return
	}
	if hit, ok := v.Status.Find(c.key, c.statusQuery()); ok {
		out.setListed(hit)
		return
	}
	out.set(StepStatus, Pass, "not-listed", "")
}

// statusQuery is what the certificate is looked up by.
func (c *certificate) statusQuery() trust.StatusQuery {
	return trust.StatusQuery{Signature: c.signature, UCI: c.uci, Issuer: c.issuer, Country: c.record.Country()}
}

// setListed answers step 8 for a certificate that is listed. What a filter alone
// has found may be another certificate: nobody is refused for that, and nobody is
// let in.
func (out *Verdict) setListed(hit trust.StatusHit) {
	switch {
	case hit.Unconfirmed:
		out.set(StepStatus, CannotTell, reasonByFilter, hit.Detail)
	case hit.Purpose == trust.PurposeSuperseded:
		out.set(StepStatus, Fail, reasonSuperseded, hit.Detail)
	default:
		out.set(StepStatus, Fail, reasonRevoked, hit.Detail)
	}
}
