package verifier

import (
	"fmt"

	"ampoule/cert"
	"ampoule/format/divoc"
	"ampoule/trust"
)

// readDIVOC reads a DIVOC certificate, a W3C credential in a zip archive. Its
// vocabulary gives several names to one meaning, so that values under them can
// be exchanged behind a valid signature; the codec finds what can be found.
func (v *Verifier) readDIVOC(c *certificate, texts []string) error {
	c.format, c.domain = "divoc", trust.DIVOC
	if len(texts) > 1 {
		return fmt.Errorf("DIVOC: %d texts, and a certificate is one: %w", len(texts), divoc.ErrExtraEntry)
	}
	d, findings, err := divoc.Decode(texts[0])
	if err != nil {
		return err
	}
	c.keyID, c.envelope, c.proofError = trust.KeyID(d.KeyID()), d, d.ProofError()
	c.issuer, c.issued, c.notBefore, c.expires = d.Issuer, d.Issued, d.ValidFrom, d.ValidUntil
	c.findings = findings
	c.record = cert.FromDIVOC(d)
	c.record.Issued, c.record.ValidFrom, c.record.Expires = c.issued, c.notBefore, c.expires
	return nil
}
