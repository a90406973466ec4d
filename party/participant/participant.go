// Package participant is a member of a trust network as its gateway sees it: it
// uploads its signers, takes the lists of all members, and hands on to its
// verifiers what stands every check.
//
// The gateway is not believed. What it lists must lead to a trust anchor that is
// pinned, and a list that is older or much shorter than the one before is kept
// apart until a person has looked: a gateway, or who speaks in its place, could
// otherwise take countries away or bring withdrawn keys back.
//
// The other side of the API, the operator's, is package gateway's.
package participant

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"ampoule/format"
	"ampoule/format/cms"
	"ampoule/format/dccrevocation"
	"ampoule/format/pkix"
	"ampoule/format/tng"
	"ampoule/trust"
)

// Defects of an order, and of what the gateway answers.
const (
	ErrProfile    = format.Defect("profile")                // the certificate is not one for a document signer
	ErrCountry    = format.Defect("country-mismatch")       // not ours
	ErrNotInForce = format.Defect("not-in-force")           // the certificate, or the UP that signs, is not valid now
	ErrIssuer     = format.Defect("issuer-not-trusted")     // none of our authorities issued it
	ErrNoAnchor   = format.Defect("no-anchor")              // no pinned anchor is valid now
	ErrNotOffered = format.Defect("not-offered")            // the gateway has no such list, or not for us
	ErrPages      = format.Defect("endless-list")           // the revocation list does not come to an end
	ErrForeign    = format.Defect("not-signed-by-us")       // what the gateway wants signed again was never ours
	ErrNotPending = format.Defect("nothing-to-accept")      // no list of that digest waits
	ErrBatch      = format.Defect("batch-not-as-announced") // its country is another's
)

// API is what the gateway offers, as the caller of this package reaches it. A
// refusal is an error; [ErrNotOffered] is one for lists that do not exist there.
type API interface {
	// TrustList returns the list of the domain DCC; with a time, what changed since,
	// where the gateway knows how.
	TrustList(ctx context.Context, since time.Time) ([]tng.TrustListEntry, error)
	Certificates(ctx context.Context) ([]tng.CertificateEntry, error)
	Issuers(ctx context.Context) ([]tng.Issuer, error)
	References(ctx context.Context) ([]tng.Reference, error)

	UploadSigner(ctx context.Context, message []byte) error
	DeleteSigner(ctx context.Context, message []byte) error
	UploadTrusted(ctx context.Context, u tng.Upload) error

	Revocations(ctx context.Context, since time.Time) (tng.RevocationPage, error)
	Batch(ctx context.Context, id string) (message []byte, err error)
	UploadBatch(ctx context.Context, message []byte) (id string, err error)
	DeleteBatch(ctx context.Context, message []byte) error

	Packages(ctx context.Context) ([]tng.Package, error)
	Replace(ctx context.Context, p tng.Package) error
}

// Anchor is a trust anchor of the gateway and the time for which it is pinned.
// While an anchor is replaced there are two.
type Anchor struct {
	Key         crypto.PublicKey
	From, Until time.Time // zero: without an end
}

func (a Anchor) holds(now time.Time) bool {
	return !now.Before(a.From) && (a.Until.IsZero() || now.Before(a.Until))
}

// Participant is a member of the network. Its fields are set before use.
type Participant struct {
	Country     string // C of our certificates
	API         API
	Keep        Keep
	Anchors     []Anchor
	Authorities []*x509.Certificate // our SCAs
	Guard       Guard
	Gateway     string // address, for people
	Delta       bool   // the gateway answers what changed since; others would seem to list nothing else
	Revocation  bool   // take the revocation list, too

	Uploader *Uploader // nil for one who only reads
	Random   io.Reader // what signatures draw from
	Now      func() time.Time
}

// Uploader signs what is uploaded: the UP.
type Uploader struct {
	Certificate *x509.Certificate
	Signer      crypto.Signer
}

// Order is a document signer to upload.
type Order struct {
	Certificate []byte
	Domain      string // "" for the gateway's default
	KID         string // "" for the derived one
	Group       string // "" for DSC
	Properties  map[string]string
}

// Upload publishes a document signer. What the gateway forgets to refuse is
// refused here: a signer that is not in force, of a weak key, or of no authority
// of ours would be dropped by every verifier.
func (p *Participant) Upload(ctx context.Context, o Order) error {
	// Step 1: refuse what others would drop.
	c, err := p.checkSigner(o.Certificate)
	if err != nil {
		return err
	}

	// Step 2: sign it.
	message, err := p.sign(o.Certificate)
	if err != nil {
		return err
	}

	// Step 3: remember that it is ours before it can be listed.
	if err := p.remember(ctx, o.Certificate); err != nil {
		return err
	}

	// Step 4: send it. The plain way knows neither domain nor identifier.
	if o.Domain == "" && o.KID == "" && o.Group == "" && len(o.Properties) == 0 {
		err = p.API.UploadSigner(ctx, message)
	} else {
		err = p.API.UploadTrusted(ctx, tng.Upload{CMS: message, KID: o.KID, Group: o.Group, Domain: o.Domain, Properties: o.Properties})
	}
	if err != nil {
		return fmt.Errorf("uploading %s: %w", hex.EncodeToString([]byte(trust.DeriveKeyID(c.Raw))), err)
	}
	return nil
}

func (p *Participant) checkSigner(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("document signer: %w: %w", trust.ErrCertificate, err)
	}
	if found := trust.CheckProfile(c, trust.RoleDSC); len(found) > 0 {
		return nil, fmt.Errorf("document signer: %s: %w", found[0].Detail, ErrProfile)
	}
	now := p.Now()
	switch {
	case c.Subject.Country[0] != p.Country:
		return nil, fmt.Errorf("document signer: its country is %s, ours %s: %w", c.Subject.Country[0], p.Country, ErrCountry)
	case now.After(c.NotAfter):
		return nil, fmt.Errorf("document signer: valid until %s: %w", c.NotAfter.Format(time.DateOnly), ErrNotInForce)
	case !slices.ContainsFunc(p.Authorities, func(a *x509.Certificate) bool { return c.CheckSignatureFrom(a) == nil }):
		return nil, fmt.Errorf("document signer: %w", ErrIssuer)
	}
	return c, nil
}

// Revoke takes a document signer from the lists, and with it every certificate
// that it signed.
func (p *Participant) Revoke(ctx context.Context, der []byte) error {
	message, err := p.sign(der)
	if err != nil {
		return err
	}
	return p.API.DeleteSigner(ctx, message)
}

// UploadBatch publishes hashes of revoked certificates, and returns the name that
// the gateway gives them.
func (p *Participant) UploadBatch(ctx context.Context, b dccrevocation.Batch) (id string, err error) {
	if b.Country != p.Country {
		return "", fmt.Errorf("batch of %s: %w", b.Country, ErrCountry)
	}
	payload, err := b.Encode()
	if err != nil {
		return "", err
	}
	message, err := p.sign(payload)
	if err != nil {
		return "", err
	}
	return p.API.UploadBatch(ctx, message)
}

// DeleteBatch takes one of our batches back.
func (p *Participant) DeleteBatch(ctx context.Context, id string) error {
	payload, err := tng.EncodeBatchDelete(id)
	if err != nil {
		return err
	}
	message, err := p.sign(payload)
	if err != nil {
		return err
	}
	return p.API.DeleteBatch(ctx, message)
}

// sign makes the CMS of the gateway around a content.
func (p *Participant) sign(content []byte) ([]byte, error) {
	if p.Uploader == nil {
		return nil, fmt.Errorf("nothing can be uploaded without a UP: %w", cms.ErrSigner)
	}
	now, c := p.Now(), p.Uploader.Certificate
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return nil, fmt.Errorf("the UP is valid from %s to %s: %w", c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly), ErrNotInForce)
	}
	up, err := pkix.ParseCertificate(c.Raw)
	if err != nil {
		return nil, err
	}
	return cms.Sign(p.Random, content, up, p.Uploader.Signer, now, false)
}

// Resigned is a stored message that was looked at when the UP changed.
type Resigned struct {
	EntityID int64
	Type     string
	Err      error // why it was left as it is
}

// Resign signs again what the gateway holds of us, after our UP changed: whoever
// checks would find the old one gone from the list and drop our signers. Only
// what an old UP of ours has signed is signed, or the gateway could have us sign
// whatever it likes.
func (p *Participant) Resign(ctx context.Context, old []*x509.Certificate) ([]Resigned, error) {
	packages, err := p.API.Packages(ctx)
	if err != nil {
		return nil, err
	}
	// A gateway may hand on the message of a signer as it lists it, without the
	// certificate: that stands in the list.
	var list []tng.TrustListEntry
	for i, pack := range packages {
		parsed, err := cms.Parse(pack.CMS)
		if pack.Err != nil || err != nil || parsed.Content != nil {
			continue
		}
		if list == nil {
			if list, err = p.API.TrustList(ctx, time.Time{}); err != nil {
				return nil, err
			}
		}
		for _, e := range list {
			if e.Err != nil || !bytes.Equal(e.Signature, pack.CMS) {
				continue
			}
			if packages[i].CMS, err = cms.Attach(pack.CMS, e.Raw); err != nil {
				return nil, err
			}
		}
	}
	done := make([]Resigned, len(packages))
	for i, pack := range packages {
		done[i] = Resigned{EntityID: pack.EntityID, Type: pack.Type, Err: p.resign(ctx, pack, old)}
	}
	return done, nil
}

func (p *Participant) resign(ctx context.Context, pack tng.Package, old []*x509.Certificate) error {
	if pack.Err != nil {
		return pack.Err
	}
	opened, err := cms.Open(pack.CMS, nil)
	if err != nil {
		return err
	}
	if p.Uploader != nil && bytes.Equal(opened.Certificate.Raw, p.Uploader.Certificate.Raw) {
		return nil // it was signed again before
	}
	if !slices.ContainsFunc(old, func(c *x509.Certificate) bool { return bytes.Equal(opened.Certificate.Raw, c.Raw) }) {
		return fmt.Errorf("%.120s signed it: %w", opened.Certificate.Subject, ErrForeign)
	}
	message, err := p.sign(opened.Content)
	if err != nil {
		return err
	}
	return p.API.Replace(ctx, tng.Package{CMS: message, EntityID: pack.EntityID, Type: pack.Type})
}
