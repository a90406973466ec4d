package verifier

import (
	"fmt"
	"regexp"
	"slices"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/shc"
	"ampoule/trust"
)

// properSHC are deviations that the specification of SMART Health Cards allows,
// and its own examples have.
var properSHC = []string{"chunked", "other-header", "fraction", "other-type", "content-type-missing"}

// readSHC reads the signed envelope of a SMART Health Card. Its content is
// compressed inside the signature, so nothing that nobody signed is inflated:
// [Verifier.openContent] comes after step 4.
func (v *Verifier) readSHC(c *certificate, texts []string) error {
	c.format, c.domain = "shc", trust.SHC
	jws, err := shc.Parse(shc.Field, texts...)
	if err != nil {
		return err
	}
	c.keyID, c.envelope, c.signature = trust.KeyID(jws.KeyID()), jws, jws.Signature
	c.remarks, c.proper = jws.Remarks, properSHC
	c.open = func() error {
		card, err := jws.Open()
		if err != nil {
			return err
		}
		c.issuer, c.notBefore, c.expires, c.rid = card.Issuer, card.NotBefore, card.Expires, card.RID
		c.findings = card.Findings
		c.remarks = card.Remarks // those of the envelope among them
		c.record = cert.FromSHC(card)
		c.record.Issued, c.record.Expires = card.NotBefore, card.Expires
		return nil
	}
	return nil
}

// openContent reads a content that had to wait for its signature. Where none
// fits it stays unread, and only a person who asks to see it is shown more.
func (v *Verifier) openContent(out *Verdict, c *certificate) bool {
	if c.key == nil {
		out.set(StepDecode, Pass, "not-opened", "the content is read once a signature fits")
		if err := c.open(); err != nil {
			c.record = nil
		}
		return false
	}
	if err := c.open(); err != nil {
		out.set(StepDecode, Fail, format.Reason(err, "malformed"), err.Error())
		return false
	}
	if !c.judgeProfile(out) {
		return false
	}
	// The issuer is known only now: the key must be one of its own.
	for _, k := range v.Trust.Keys(trust.Scope{Domain: c.domain, Aliases: c.policy.Aliases, Issuer: c.issuer}, c.keyID) {
		if k.Public == c.key.Public || c.envelope.Verify(k.Public) == nil {
			c.key = k
			out.Issuer.Participant = k.Participant
			return true
		}
	}
	reason, detail := "unknown-issuer", "the key is listed for another issuer than the card names"
	if slices.Contains(c.remarks, string(shc.ErrIssuerURL)) {
		reason, detail = string(shc.ErrIssuerURL), "the address of the issuer is not in the form that the specification asks for"
	}
	c.key, out.Issuer.Participant = nil, ""
	out.set(StepKeys, Fail, reason, detail)
	return true
}

// checkCardStatus looks a card up on the revocation list of its key. A key that
// announces a list counter makes a missing or older list a gap.
func (v *Verifier) checkCardStatus(out *Verdict, c *certificate) {
	if hit, ok := v.Status.FindCard(c.key, c.rid, c.notBefore); ok {
		out.setListed(hit)
		return
	}
	counter, loaded := v.Status.CardCounter(c.key)
	switch {
	case c.key.CRLVersion > 0 && (!loaded || counter < c.key.CRLVersion):
		out.set(StepStatus, CannotTell, "status-list-too-old", fmt.Sprintf("the key announces list %d, loaded is %d", c.key.CRLVersion, counter))
	default:
		out.set(StepStatus, Pass, "not-listed", "")
	}
}

// chunkScheme begins each code of a card that was split over several.
var chunkScheme = regexp.MustCompile(`(?i)^shc:/[0-9]+/[0-9]+/`)

// Group sorts the texts of several codes into certificates: the parts of a split
// SMART Health Card belong together, every other text stands for itself.
func Group(texts []string) [][]string {
	var groups [][]string
	chunks := -1 // index of the group of parts
	for _, t := range texts {
		if !chunkScheme.MatchString(format.TrimText(t)) {
			groups = append(groups, []string{t})
			continue
		}
		if chunks < 0 {
			chunks = len(groups)
			groups = append(groups, nil)
		}
		groups[chunks] = append(groups[chunks], t)
	}
	return groups
}
