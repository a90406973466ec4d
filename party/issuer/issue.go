// Package issuer turns a dose that was given, a test or a recovery into a signed
// certificate.
//
// [Issuer.Issue] is strict: what it signs obeys every rule of the format, so that
// no verifier needs its lenient side for it. What is missing or wrong is named
// by its place in the record.
package issuer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/ddcc"
	"ampoule/format/eudcc"
	"ampoule/format/hcert"
	"ampoule/format/icvp"
	"ampoule/format/jwks"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
	"ampoule/trust"
)

// Format is the format of a certificate.
type Format = cert.Format

// The formats that are issued: all but DIVOC's, whose programme is dormant.
const (
	ICVP  = cert.FormatICVP  // WHO Digital ICVP v0.3.0
	EUDCC = cert.FormatEUDCC // EU Digital COVID Certificate 1.3.2
	DDCC  = cert.FormatDDCC  // WHO DDCC of a vaccination or a test result
	SHC   = cert.FormatSHC   // SMART Health Card
	VDSNC = cert.FormatVDSNC // ICAO visible digital seal
)

// Formats are all of them.
func Formats() []Format { return []Format{ICVP, EUDCC, DDCC, SHC, VDSNC} }

// Issuer signs with one document signer key.
type Issuer struct {
	Signer crypto.Signer
	KID    []byte // of the signer's certificate
	// NotBefore and NotAfter are the validity of the signer's certificate.
	NotBefore, NotAfter time.Time
	// Chain is the signer's certificate and that of its authority, DER. Visible
	// digital seals alone ask for it: they carry the first and stand by the second.
	Chain [][]byte
	// Participant is written as iss: the code under which trust lists name the key.
	// A seal names its state by it, with the three letters of Doc 9303-3.
	Participant string
	// Address is the https address of the issuer of SMART Health Cards, under which
	// its keys are published.
	Address   string
	Catalogue *cert.Catalogue // of the products an ICVP may name
	Now       func() time.Time
	Rand      io.Reader // nil: crypto/rand
}

// Request is what to issue.
type Request struct {
	Format Format
	Record *cert.Certificate
	// Expires ends the validity; zero means for life, which only an ICVP may be.
	Expires time.Time
}

// Issued is a signed certificate.
type Issued struct {
	Format Format
	Text   string // of the QR code

	claims   hcert.Claims
	record   func() *cert.Certificate
	kid      []byte // of the key that signed it
	envelope []byte // of an HCERT, the COSE_Sign1
	rid      string // of a card
	jws      string // of a card, as it is before it is a code
}

// Record is what a reader of the certificate will see: the content as signed,
// with its identifier, its dates and what follows from the catalogue.
func (i *Issued) Record() *cert.Certificate {
	r := i.record()
	r.Issued, r.ValidFrom, r.Expires = i.claims.IssuedAt, i.claims.NotBefore, i.claims.ExpiresAt
	return r
}

// The defects of a request, besides those of the formats.
const (
	ErrFormat      = format.Defect("unsupported-format")
	ErrKeyValidity = format.Defect("key-not-valid")
	ErrExpiry      = format.Defect("bad-expiry")
	ErrFuture      = format.Defect("date-in-future")
	ErrNotInForce  = format.Defect("before-amendment")
)

// inForce is the day from which a certificate may be a digital one under the
// 2024 amendments to the International Health Regulations (REQ-CC-09).
var inForce = time.Date(2025, 9, 19, 0, 0, 0, 0, time.UTC)

// yellowFeverDelay is the time from the vaccination to the day on which it
// counts (International Health Regulations, annex 7; REQ-DE-20).
const yellowFeverDelay = 10

// Check makes every check that [Issuer.Issue] makes, by the same steps: it issues
// under a signer that signs nothing.
func (i *Issuer) Check(req Request) error {
	dry := *i
	dry.Signer = blank{i.Signer}
	_, err := dry.Issue(req)
	return err
}

// blank has the public key of a signer, and signatures of the right form that no
// key has made.
type blank struct{ crypto.Signer }

// Sign returns such a signature.
func (b blank) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	switch k := b.Public().(type) {
	case *rsa.PublicKey:
		return make([]byte, k.Size()), nil
	case ed25519.PublicKey:
		return make([]byte, ed25519.SignatureSize), nil
	}
	// SEQUENCE { INTEGER 1, INTEGER 1 }, a signature of ECDSA (RFC 3279 section 2.2.3)
	return []byte{0x30, 6, 2, 1, 1, 2, 1, 1}, nil
}

// Issue makes a certificate.
func (i *Issuer) Issue(req Request) (*Issued, error) {
	now := i.Now().UTC().Truncate(time.Second)
	if !req.Expires.IsZero() {
		req.Expires = req.Expires.UTC().Truncate(time.Second) // as the claim will carry it
	}

	// Step 1: a signature outside the key's validity would be refused everywhere.
	if now.Before(i.NotBefore) || now.After(i.NotAfter) {
		return nil, fmt.Errorf("the signing key is valid from %s to %s: %w", i.NotBefore.Format(time.DateOnly), i.NotAfter.Format(time.DateOnly), ErrKeyValidity)
	}
	if err := i.checkKey(); err != nil {
		return nil, err
	}
	if req.Record == nil {
		return nil, fmt.Errorf("there is no record: %w", format.RequiredMissing)
	}
	if err := i.checkExpiry(req, now); err != nil {
		return nil, err
	}

	random := i.Rand
	if random == nil {
		random = rand.Reader
	}
	switch req.Format {
	case SHC:
		return i.issueSHC(random, req, now)
	case VDSNC:
		return i.issueVDSNC(random, req, now)
	}

	// Step 2: the content, after the rules of its format.
	var d draft
	var err error
	switch req.Format {
	case ICVP:
		d, err = i.draftICVP(*req.Record, now)
	case EUDCC:
		d, err = i.draftDCC(*req.Record, now)
	case DDCC:
		d, err = i.draftDDCC(*req.Record, now)
	default: // DIVOC is not here: the programme is dormant, and nobody waits for a new one
		return nil, fmt.Errorf("format %q; there are %s, %s, %s, %s and %s: %w", req.Format, ICVP, EUDCC, DDCC, SHC, VDSNC, ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	if !req.Expires.IsZero() && !req.Expires.After(d.countsFrom) {
		return nil, fmt.Errorf("expires %s, before it counts (from %s): %w", req.Expires.Format(time.DateOnly), d.countsFrom.Format(time.DateOnly), ErrExpiry)
	}
	claims := hcert.Claims{Issuer: i.Participant, IssuedAt: now, NotBefore: d.countsFrom, ExpiresAt: req.Expires}

	// Step 3: sign. With randomness, since fingerprints are made of signatures
	// and must not be guessed from the content.
	payload := hcert.AppendClaims(make([]byte, 0, len(d.content)+64), claims, d.subclaim, d.content)
	envelope, err := cose.Sign(random, i.Signer, i.KID, payload)
	if err != nil {
		return nil, fmt.Errorf("HCERT: %w", err)
	}
	text, err := hcert.EncodeCOSE(envelope)
	if err != nil {
		return nil, err
	}
	return &Issued{Format: req.Format, Text: text, claims: claims, record: d.record, kid: i.KID, envelope: envelope}, nil
}

// issueSHC makes a SMART Health Card, whose envelope is its own: the key is
// named by its thumbprint, and the card counts from the moment of its issue.
func (i *Issuer) issueSHC(random io.Reader, req Request, now time.Time) (*Issued, error) {
	record := *req.Record
	record.Issued, record.Expires = now, req.Expires
	card, err := record.ToSHC()
	if err != nil {
		return nil, err
	}
	card.Issuer = i.Address
	if card.RID, err = newRID(random); err != nil {
		return nil, err
	}
	kid, err := jwks.KID(i.Signer.Public())
	if err != nil {
		return nil, fmt.Errorf("SHC: signing with %T: %w", i.Signer.Public(), shc.ErrAlgNotAllowed)
	}
	jws, err := shc.Encode(random, i.Signer, card)
	if err != nil {
		return nil, fmt.Errorf("SHC: %w", err)
	}
	text, err := shc.Numeric(jws)
	if err != nil {
		return nil, fmt.Errorf("SHC: %w", err)
	}
	claims := hcert.Claims{Issuer: i.Address, IssuedAt: now, ExpiresAt: req.Expires}
	signed := func() *cert.Certificate {
		// Whose an event is shows when the card is read.
		read, err := shc.Decode(shc.Strict, jws)
		if err != nil {
			return &record // it was read before it was signed
		}
		return cert.FromSHC(read)
	}
	return &Issued{Format: SHC, Text: text, claims: claims, record: signed, kid: []byte(kid), rid: card.RID, jws: jws}, nil
}

// newRID makes the revocation identifier of a card: 128 random bits in base64url,
// which the specification asks to be 24 characters at most and of no meaning.
func newRID(random io.Reader) (string, error) {
	var body [16]byte
	if _, err := io.ReadFull(random, body[:]); err != nil {
		return "", fmt.Errorf("SHC: revocation identifier: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(body[:]), nil
}

// issueVDSNC makes a visible digital seal. It has no dates of its own: it counts
// from its vaccinations or test on, for as long as its signer is believed.
func (i *Issuer) issueVDSNC(random io.Reader, req Request, now time.Time) (*Issued, error) {
	if !req.Expires.IsZero() {
		return nil, fmt.Errorf("VDS-NC: a seal does not expire: %w", ErrExpiry)
	}
	record := *req.Record
	errs := []error{happened(&record, now)}
	for n, e := range record.Earlier {
		if e.Vaccination != nil {
			errs = append(errs, notInFuture(fmt.Sprintf("earlier[%d].vaccination.date", n), e.Vaccination.Date, now))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := i.identify(&record); err != nil {
		return nil, err
	}
	record.Authority = i.Participant
	seal, err := record.ToVDSNC()
	if err != nil {
		return nil, err
	}
	data, findings := vdsnc.Encode(seal)
	if err := findingsError(findings); err != nil {
		return nil, fmt.Errorf("VDS-NC: %w", err)
	}
	key, err := i.sealSigner(seal.Issuer, now)
	if err != nil {
		return nil, err
	}
	text, err := vdsnc.Sign(random, i.Signer, i.Chain[0], data)
	if err != nil {
		return nil, err
	}
	signed, _, err := vdsnc.Decode(text, vdsnc.Strict)
	if err != nil {
		return nil, err
	}
	if _, dry := i.Signer.(blank); dry {
		return nil, nil
	}
	if err := signed.Verify(key.Public); err != nil {
		return nil, fmt.Errorf("the certificate is not of the signing key: %w", err)
	}
	return &Issued{Format: VDSNC, Text: text, record: func() *cert.Certificate { return cert.FromVDSNC(seal) }, kid: i.KID}, nil
}

// sealSigner finds out whether a verifier that trusts the signer's authority
// would believe the signer.
func (i *Issuer) sealSigner(state string, now time.Time) (*trust.Key, error) {
	if len(i.Chain) < 2 {
		return nil, fmt.Errorf("VDS-NC: a seal needs the signer's certificate, and that of its authority (CSCA) behind it: %w", ErrKeyValidity)
	}
	list := new(trust.List)
	for _, der := range i.Chain[1:] {
		a, err := trust.NewAuthority(der)
		if err != nil {
			return nil, fmt.Errorf("VDS-NC: the certificate of the authority: %w", err)
		}
		list.InsertAuthority(a)
	}
	key, err := list.VerifySigner(i.Chain[0], state, now)
	if err != nil {
		return nil, fmt.Errorf("VDS-NC: the signer's certificate would be refused: %w", err)
	}
	return key, nil
}

// draft is a certificate that is ready to be signed.
type draft struct {
	subclaim   hcert.Subclaim
	content    []byte
	countsFrom time.Time // nbf; zero where the format has none
	record     func() *cert.Certificate
}

// checkKey refuses a key that verifiers could not find or would not believe.
func (i *Issuer) checkKey() error {
	if len(i.KID) == 0 {
		return fmt.Errorf("the signing key has no identifier: %w", ErrKeyValidity)
	}
	if k, ok := i.Signer.Public().(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		return fmt.Errorf("the signing key has %d bits, HCERT asks for 2048: %w", k.N.BitLen(), ErrKeyValidity)
	}
	return nil
}

// checkExpiry keeps the end of the validity within the key's own: HCERT section
// 3.3.5 forbids an exp that the signer's certificate does not live to see.
func (i *Issuer) checkExpiry(req Request, now time.Time) error {
	switch {
	case req.Expires.IsZero() && req.Format == EUDCC:
		return fmt.Errorf("an EU DCC must expire: %w", ErrExpiry)
	case req.Expires.IsZero():
		return nil
	case !req.Expires.After(now):
		return fmt.Errorf("expires %s, which is past: %w", req.Expires.Format(time.DateOnly), ErrExpiry)
	case req.Expires.After(i.NotAfter):
		return fmt.Errorf("expires %s, after the signing key (%s): %w", req.Expires.Format(time.DateOnly), i.NotAfter.Format(time.DateOnly), ErrExpiry)
	}
	return nil
}

// notInFuture checks a date of the record against the day of issue.
func notInFuture(path string, d cert.Date, now time.Time) error {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return fmt.Errorf("%s: %w", path, format.BadDate)
	}
	// A calendar date has no zone: it may be tomorrow already where it was written.
	if t.After(now.Add(14 * time.Hour)) {
		return fmt.Errorf("%s: %s: %w", path, d, ErrFuture)
	}
	return nil
}

func (i *Issuer) draftICVP(record cert.Certificate, now time.Time) (draft, error) {
	if now.Before(inForce) {
		return draft{}, fmt.Errorf("a Digital ICVP may be issued from %s (REQ-CC-09): %w", inForce.Format(time.DateOnly), ErrNotInForce)
	}
	if record.Authority == "" {
		record.Authority = i.Participant // REQ-DE-15: a GDHCN participant, which border verification needs
	}
	payload, err := record.ToICVP(i.Catalogue)
	if err != nil {
		return draft{}, err
	}
	if err := notInFuture("vaccination.date", record.Vaccination.Date, now); err != nil {
		return draft{}, err
	}
	from, _ := time.Parse(time.DateOnly, payload.Dose.Date) // notInFuture has parsed it
	switch p, _ := i.Catalogue.Product(payload.Dose.Product); p.Disease {
	case "":
		return draft{}, fmt.Errorf("ICVP: the catalogue does not say against what %q is, so no verifier could judge it: %w", p.ID, format.BadCode)
	case cert.DiseaseYellowFever:
		from = from.AddDate(0, 0, yellowFeverDelay)
	}
	content, findings := icvp.Encode(payload)
	if err := findingsError(findings); err != nil {
		return draft{}, fmt.Errorf("ICVP: %w", err)
	}
	signed := func() *cert.Certificate { return cert.FromICVP(payload, i.Catalogue) }
	return draft{hcert.SubclaimICVP, content, from, signed}, nil
}

// findingsError turns findings into one error that names each place.
func findingsError(findings []format.Finding) error {
	var errs []error
	for _, f := range findings {
		errs = append(errs, fmt.Errorf("%s: %w", f.Path, f.Reason))
	}
	return errors.Join(errs...)
}

// happened checks that the event of the record is not in the future.
func happened(record *cert.Certificate, now time.Time) error {
	switch {
	case record.Vaccination != nil:
		return notInFuture("vaccination.date", record.Vaccination.Date, now)
	case record.Recovery != nil:
		return notInFuture("recovery.first_positive", record.Recovery.FirstPositive, now)
	case record.Test != nil:
		if t, err := eudcc.ParseDateTime(record.Test.Sampled); err == nil && t.After(now) {
			return fmt.Errorf("test.sampled: %s: %w", record.Test.Sampled, ErrFuture)
		}
	}
	return nil
}

// identify gives the record an identifier where it has none.
func (i *Issuer) identify(record *cert.Certificate) error {
	if record.ID != "" {
		return nil
	}
	country := record.Country()
	if country == "" {
		return fmt.Errorf("country: the identifier needs it: %w", format.RequiredMissing)
	}
	if strings.Trim(country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" { // the identifier is upper case
		return fmt.Errorf("country: %w", format.BadCode)
	}
	var err error
	record.ID, err = newUVCI(country, i.Rand)
	return err
}

func (i *Issuer) draftDCC(record cert.Certificate, now time.Time) (draft, error) {
	if err := happened(&record, now); err != nil {
		return draft{}, err
	}
	if err := i.identify(&record); err != nil {
		return draft{}, err
	}
	payload, err := record.ToDCC()
	if err != nil {
		return draft{}, err
	}
	content, findings := eudcc.Encode(payload)
	if err := findingsError(append(findings, payload.EmptyTexts()...)); err != nil {
		return draft{}, fmt.Errorf("EU DCC: %w", err)
	}
	signed := func() *cert.Certificate {
		r, _ := cert.FromDCC(payload)
		return r
	}
	return draft{subclaim: hcert.SubclaimDCC, content: content, record: signed}, nil
}

// draftDDCC writes the identifier that is made as the certificate's HCID.
func (i *Issuer) draftDDCC(record cert.Certificate, now time.Time) (draft, error) {
	if err := happened(&record, now); err != nil {
		return draft{}, err
	}
	if err := i.identify(&record); err != nil {
		return draft{}, err
	}
	if record.Authority == "" {
		record.Authority = i.Participant
	}
	payload, err := record.ToDDCC()
	if err != nil {
		return draft{}, err
	}
	content, findings := ddcc.Encode(payload)
	if err := findingsError(findings); err != nil {
		return draft{}, fmt.Errorf("DDCC: %w", err)
	}
	subclaim := hcert.SubclaimDDCCVS
	if payload.Test != nil {
		subclaim = hcert.SubclaimDDCCTR
	}
	return draft{subclaim: subclaim, content: content, record: func() *cert.Certificate { return cert.FromDDCC(payload) }}, nil
}
