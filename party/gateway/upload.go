package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"maps"
	"slices"
	"strings"

	"ampoule/format/cms"
	"ampoule/format/pkix"
	"ampoule/format/tng"
)

// signedBy opens what a participant uploaded: the message is of the gateway's
// form, its signature is right, and who signed it is an uploader of the caller's
// country.
func (o *Operator) signedBy(p *Participant, message []byte, say codes) (content []byte, uploader *entry, err error) {
	// Step 1: the form, and the signature under the certificate that it carries. A
	// signature that fails is refused here, and nowhere merely noted.
	opened, err := cms.Open(message, nil)
	switch {
	case errors.Is(err, pkix.ErrSignature), errors.Is(err, cms.ErrDigest):
		return nil, nil, refuse(Bad, say.signature, "Signature of CMS invalid", "%v", err)
	case err != nil:
		return nil, nil, refuse(Bad, say.form, "Not a CMS that can be used", "%v", err)
	}
	// Step 2: the certificate is that of an uploader of this country.
	uploader = p.view.party(tng.Thumbprint(opened.Certificate.Raw), p.Country, tng.UploadType)
	if uploader == nil {
		return nil, nil, refuse(say.kind, say.uploader, "Signer of CMS not an uploader", "it is not on the list of uploaders of %s", p.Country)
	}
	// Step 3: it is in force.
	if o.Strict.Dates && !inForce(uploader.cert, o.Now()) {
		return nil, nil, refuse(say.kind, say.uploader, "Uploader not in force", "it is valid from %s to %s", day(uploader.cert.NotBefore), day(uploader.cert.NotAfter))
	}
	return opened.Content, uploader, nil
}

// UploadSigner lists a document signer, in the default domain and under its
// derived key identifier: POST /signerCertificate. The signature is listed
// detached.
func (o *Operator) UploadSigner(ctx context.Context, p *Participant, message []byte) (*Item, error) {
	return o.upload(ctx, p, tng.Upload{CMS: message}, true)
}

// Upload lists a certificate with a domain and more: POST /trustedCertificate.
// The signature is listed as it was sent, with the certificate in it.
func (o *Operator) Upload(ctx context.Context, p *Participant, u tng.Upload) (*Item, error) {
	return o.upload(ctx, p, u, false)
}

func (o *Operator) upload(ctx context.Context, p *Participant, u tng.Upload, detach bool) (*Item, error) {
	// Step 1: who signed it.
	say := ofTrusted
	if detach {
		say = ofSigner
	}
	content, uploader, err := o.signedBy(p, u.CMS, say)
	if err != nil {
		return nil, err
	}
	c, err := pkix.ParseCertificate(content)
	if err != nil {
		return nil, refuse(Bad, say.form, "Content of CMS is not a certificate", "%v", err)
	}
	fails := func(details string, args ...any) (*Item, error) {
		return nil, refuse(Bad, tng.CodeCertificate, "Certificate failed a check", details, args...)
	}
	// Step 2: one country, and the caller's. Other gateways ask that of document
	// signers only; but the country that is listed is the caller's in every group,
	// and must not be another than the certificate's.
	switch countries := countriesOf(c); {
	case len(countries) != 1:
		return fails("its name has %d countries (C)", len(countries))
	case countries[0] != p.Country:
		return fails("its country is not that of the caller")
	}
	// Step 3: group, domain and properties that are allowed.
	group, domain := u.Group, DefaultDomain
	if group == "" {
		group = tng.DSC
	}
	notAllowed := func(details string, args ...any) (*Item, error) {
		return nil, refuse(Bad, codeNone, "Not allowed", details, args...)
	}
	if !slices.Contains(groups, group) {
		return notAllowed("group %q: participants upload %s", group, strings.Join(groups, ", "))
	}
	if u.Domain != "" {
		var known bool
		if domain, known = o.domain(u.Domain); !known {
			return notAllowed("the domain %q is not known here", u.Domain)
		}
	}
	for name := range u.Properties { // a nil map has none
		if !slices.Contains(o.Properties, name) {
			return notAllowed("the property %q is not allowed", name)
		}
	}
	kid := u.KID
	if kid == "" {
		kid = tng.DerivedKID(content)
	} else if err := checkKID(kid); err != "" {
		return fails("%s", err)
	}
	// Step 4: an authority of the same country issued it. It is found by its
	// signature: names can be the same.
	authority, err := o.authorityOf(p, c, group)
	if err != nil {
		return nil, err
	}
	// Step 5: what others do not look at.
	if why := o.strictly(c, authority.cert, group); why != "" {
		return fails("%s", why)
	}
	// Step 6: it is new, and so is its key identifier: nobody's is like it, be it
	// derived or chosen.
	thumbprint := tng.Thumbprint(content)
	if len(p.view.byThumb.find(thumbprint)) > 0 {
		return nil, refuse(Exists, tng.CodeExists, "Certificate exists", "it is on the list")
	}
	if len(p.view.byClaim.find(claimOf(kid))) > 0 {
		return fails("the key identifier is that of another certificate")
	}
	signed := u.CMS
	if detach {
		if signed, err = cms.Detach(u.CMS); err != nil {
			return nil, err
		}
	}
	// Step 7: list it. Uploader and authority are asked for once more in the same
	// transaction.
	now := o.Now()
	i := Item{
		ID: newUUID(), Kind: KindCertificate, Name: thumbprint, Country: p.Country, Group: group, Domain: domain, KID: kid, Claims: true,
		Signer: thumbprintOf(uploader.Name), Expires: c.NotAfter, About: maps.Clone(u.Properties), Content: content, Signed: signed,
	}
	err = o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID, authority.ID}, Insert: []Item{i},
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionUpload, Subject: thumbprint, Reason: group + " " + domain},
	}, now)
	if err != nil {
		return nil, tried(err)
	}
	return &i, nil
}

// DeleteCertificate takes a certificate off the list: DELETE /signerCertificate
// and /trustedCertificate. The message is one of the certificate, as it was for
// the upload.
func (o *Operator) DeleteCertificate(ctx context.Context, p *Participant, message []byte) error {
	// Step 1: who signed it.
	content, uploader, err := o.signedBy(p, message, ofDelete)
	if err != nil {
		return err
	}
	c, err := pkix.ParseCertificate(content)
	if err != nil {
		return refuse(Bad, tng.CodeSignature, "Content of CMS is not a certificate", "%v", err)
	}
	// Step 2: the caller's own.
	if countries := countriesOf(c); len(countries) != 1 || countries[0] != p.Country {
		return refuse(Bad, tng.CodeSameSigner, "Certificate of another country", "only those of %s can be deleted", p.Country)
	}
	thumbprint := tng.Thumbprint(content)
	var found *entry
	for _, e := range p.view.byThumb.find(thumbprint) {
		if e.Claims && e.Country == p.Country { // those that the trust anchor took in are not the participant's to delete
			found = e
		}
	}
	if found == nil {
		return refuse(Missing, tng.CodeNotFound, "Certificate not found", "it is not on the list")
	}
	// Step 3: delete it.
	now := o.Now()
	return tried(o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID}, Delete: []string{found.ID},
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionDelete, Subject: thumbprint},
	}, now))
}

// authorityOf finds the authority of the caller's country that signed c. One
// that is not in force is told from one that is not there.
func (o *Operator) authorityOf(p *Participant, c *pkix.Certificate, group string) (*entry, error) {
	kind := tng.CSCA
	if group == tng.DESC {
		kind = tng.DECA
	}
	late := false
	for _, e := range p.view.byKID.entries {
		if e.Group != kind || e.Country != p.Country || e.Claims || c.CheckSignature(e.cert.PublicKey) != nil {
			continue
		}
		if o.Strict.Dates && !inForce(e.cert, o.Now()) {
			late = true
			continue
		}
		return e, nil
	}
	if late {
		return nil, refuse(Bad, tng.CodeCertificate, "Certificate failed a check", "the %s that issued it is not in force", kind)
	}
	return nil, refuse(Bad, tng.CodeCertificate, "Certificate failed a check", "no %s of %s issued it", kind, p.Country)
}

// codes are those of a message that is refused: for its form, for its signature,
// and for who signed it.
type codes struct {
	form, signature, uploader string
	kind                      RefusalKind // of the last
}

// codeNone is what the gateway has for a code where /trustedCertificate refuses a
// message, or a word in it.
const codeNone = "n/a"

var (
	ofSigner  = codes{tng.CodeUnknownClient, tng.CodeSignature, tng.CodeCertificate, Bad}
	ofTrusted = codes{codeNone, codeNone, tng.CodeCertificate, Bad}
	ofDelete  = codes{tng.CodeSignature, tng.CodeSignature, tng.CodeSigner, Bad}
	ofText    = codes{codeText, codeText, codeList, Forbidden} // of rules, references and batches
)

// Codes of refusals of signed texts (smart-trust-network-gateway, controllers).
const (
	codeText = "0x260" // the CMS
	codeList = "0x000" // anything else about a batch
)

// Extended key usages that are of connections and not of documents (RFC 5280
// section 4.2.1.12).
const (
	usageServer = "1.3.6.1.5.5.7.3.1"
	usageClient = "1.3.6.1.5.5.7.3.2"
)

// strictly returns what is wrong with a certificate by the checks that other
// gateways leave out, or "".
func (o *Operator) strictly(c, authority *pkix.Certificate, group string) string {
	now := o.Now()
	if o.Strict.Dates && !inForce(c, now) {
		return "it is valid from " + day(c.NotBefore) + " to " + day(c.NotAfter)
	}
	if o.Strict.Keys {
		switch k := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if k.N.BitLen() < 2048 {
				return "its RSA key has less than 2048 bits"
			}
		case *ecdsa.PublicKey:
			if k.Curve.Params().BitSize < 256 {
				return "its curve has less than 256 bits"
			}
		default:
			return "its key is on a curve that verifiers do not know"
		}
	}
	if o.Strict.Usage {
		tls := func(oid string) bool { return oid == usageServer || oid == usageClient }
		switch {
		case c.IsAuthority || c.KeyUsage&pkix.KeyUsageCertSign != 0:
			return "it is an authority's"
		case group == tng.DSC && c.KeyUsage != 0 && c.KeyUsage&pkix.KeyUsageDigitalSignature == 0:
			return "its key usage is not digitalSignature"
		case group == tng.DSC && len(c.ExtKeyUsage) > 0 && !slices.ContainsFunc(c.ExtKeyUsage, func(oid string) bool { return !tls(oid) }):
			return "its extended key usage is for connections and not for documents"
		}
	}
	if o.Strict.Outlive && c.NotAfter.After(authority.NotAfter) {
		return "it ends after its authority"
	}
	return ""
}

// countriesOf are the countries in the subject of a certificate.
func countriesOf(c *pkix.Certificate) []string { return c.Subject.Countries }

// checkKID says what is wrong with a key identifier that a participant chose.
func checkKID(kid string) string {
	if len(kid) > 64 {
		return "its key identifier is longer than 64 characters"
	}
	for _, r := range kid {
		if r <= ' ' || r > '~' {
			return "its key identifier has a character beside the printable ones of ASCII"
		}
	}
	return ""
}

// claimOf writes a key identifier as every verifier that forgives its form would
// read it: base64 without padding, of the standard alphabet.
func claimOf(kid string) string {
	return strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(kid, "="))
}
