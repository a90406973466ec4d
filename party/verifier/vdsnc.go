package verifier

import (
	"errors"
	"fmt"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/vdsnc"
	"ampoule/trust"
)

// readVDSNC reads an ICAO visible digital seal. It carries its signer's
// certificate, which proves nothing: what counts is whether an authority of a
// loaded master list, or the operator's own file, stands behind it.
func (v *Verifier) readVDSNC(c *certificate, texts []string) error {
	c.format, c.domain = "vds-nc", trust.VDSNC
	if len(texts) > 1 {
		return fmt.Errorf("%d texts, and a seal is one: %w", len(texts), vdsnc.ErrShape)
	}
	seal, findings, err := vdsnc.Decode(texts[0], vdsnc.Field)
	if err != nil {
		return err
	}
	c.keyID = trust.DeriveKeyID(seal.Certificate)
	c.issuer, c.envelope, c.signature = seal.Issuer, seal, seal.Signature
	c.remarks, c.findings = seal.Remarks, findings
	c.record = cert.FromVDSNC(seal)
	c.chain = func(list *trust.List, now time.Time) (*trust.Key, error) {
		return list.VerifySigner(seal.Certificate, seal.Issuer, now)
	}
	return nil
}

// findChain makes steps 3 and 4 for a certificate that brings its signer's
// certificate along.
func (v *Verifier) findChain(out *Verdict, c *certificate) {
	key, problem := c.chain(v.Trust, c.now)
	if key == nil {
		out.set(StepKeys, Fail, format.Reason(problem, reasonUnknownKID), detailOf(problem))
		out.set(StepSignature, NotChecked, reasonNoSignature, "")
		return
	}
	out.set(StepKeys, Pass, "chain-verified", "")
	if err := c.envelope.Verify(v.HotKeys.Public(key.Public)); err != nil {
		out.set(StepSignature, Fail, format.Reason(err, string(cose.ErrSignature)), detailOf(err))
		return
	}
	c.key, c.chainProblem = key, problem
	out.Issuer.Participant = key.Participant
	out.set(StepSignature, Pass, "verified", "")
}

// detailOf is what an error says beyond its reason word.
func detailOf(err error) string {
	var d format.Defect
	if err == nil || errors.As(err, &d) && err.Error() == string(d) {
		return ""
	}
	return err.Error()
}
