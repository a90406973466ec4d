package verifier

import (
	"fmt"
	"strings"

	"ampoule/cert"
	"ampoule/format/ddcc"
	"ampoule/format/eudcc"
	"ampoule/format/hcert"
	"ampoule/format/icvp"
	"ampoule/format/vhl"
	"ampoule/trust"
)

// properHCERT are deviations that HCERT itself allows (sections 3.3.3 and 3.3.7).
var properHCERT = []string{"kid-unprotected", "other-subclaims"}

// beginsLikeHCERT looks for a context identifier, of any version and case.
func beginsLikeHCERT(text string) bool {
	return len(text) >= 4 && strings.EqualFold(text[:2], "hc") && text[3] == ':'
}

// readHCERT reads an EU DCC, a WHO DDCC, a Digital ICVP or a Verifiable Health
// Link.
func (v *Verifier) readHCERT(c *certificate, texts []string) error {
	if len(texts) > 1 {
		return fmt.Errorf("HCERT: %d texts, and a certificate is one: %w", len(texts), hcert.ErrSeveral)
	}
	msg, err := hcert.Decode(texts[0], hcert.Field)
	if err != nil {
		return err
	}
	c.remarks, c.proper = msg.Remarks, properHCERT
	c.keyID, c.issuer = trust.KeyID(msg.Sign1.KID), msg.Claims.Issuer
	c.issued, c.notBefore, c.expires = msg.Claims.IssuedAt, msg.Claims.NotBefore, msg.Claims.ExpiresAt
	c.envelope, c.signature = msg.Sign1, msg.Sign1.Signature

	switch msg.Subclaim {
	case hcert.SubclaimDCC:
		c.format, c.domain = "eu-dcc", trust.DCC
		var d *eudcc.Certificate
		d, c.findings = eudcc.Decode(msg.Certificate)
		c.record, c.unlisted = cert.FromDCC(d)
		c.uci = c.record.ID
		c.payload = func() []byte { return msg.Certificate.AppendJSON(nil) }
		switch c.record.Kind {
		case cert.KindVaccination:
			c.usage = trust.UsageVaccination
		case cert.KindTest:
			c.usage = trust.UsageTest
		case cert.KindRecovery:
			c.usage = trust.UsageRecovery
		}
	case hcert.SubclaimICVP:
		c.format, c.domain, c.usage = "icvp", trust.ICVP, trust.UsageVaccination
		c.icvp, c.findings = icvp.Decode(msg.Certificate)
		// Generations 1 and 2 carry the vaccination's own validity.
		c.from, c.until = c.icvp.Dose.ValidFrom, c.icvp.Dose.ValidUntil
		c.record = cert.FromICVP(c.icvp, v.Catalogue)
	case hcert.SubclaimDDCCVS, hcert.SubclaimDDCCTR:
		c.format, c.domain = "ddcc", trust.DDCC
		var d *ddcc.Certificate
		if msg.Subclaim == hcert.SubclaimDDCCVS {
			c.usage = trust.UsageVaccination
			d, c.findings = ddcc.DecodeVaccination(msg.Certificate)
		} else {
			c.usage = trust.UsageTest
			d, c.findings = ddcc.DecodeTest(msg.Certificate)
		}
		c.from, c.until = d.ValidFrom, d.ValidUntil
		c.record = cert.FromDDCC(d)
	case hcert.SubclaimVHL:
		c.format, c.domain = "vhl", trust.PH4H
		link, err := vhlText(msg)
		if err != nil {
			return err
		}
		if c.link, err = vhl.Parse(link); err != nil {
			return err
		}
		c.record = cert.FromLink(c.link)
	}
	c.record.Issued, c.record.ValidFrom, c.record.Expires = c.issued, c.notBefore, c.expires
	return nil
}

// vhlText finds the link: text since 2025, an array of {u: text} before.
func vhlText(m *hcert.Message) (string, error) {
	v := m.Certificate
	if inner := v.Index(0).Get("u"); inner.Exists() {
		v = inner
	}
	text, ok := v.Text()
	if !ok {
		return "", fmt.Errorf("claims: subclaim 5 is %s: %w", v.Kind(), hcert.ErrClaims)
	}
	return text, nil
}
