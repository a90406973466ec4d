package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"ampoule/format"
	"ampoule/trust"
)

// Defects of an order for a certificate.
const (
	ErrParticipant format.Defect = "bad-participant"  // the country is not two upper-case letters, or a name is missing
	ErrValidity    format.Defect = "bad-validity"     // the period is outside what the role allows, or beyond the issuer's
	ErrAlgorithm   format.Defect = "bad-algorithm"    // the algorithm is not one for document signers
	ErrUsage       format.Defect = "bad-usage"        // the usage is none of test, vaccination and recovery
	ErrNotCA       format.Defect = "not-an-authority" // the key's certificate cannot issue others
)

// Role is what a certificate is for.
type Role = trust.Role

// The roles of a participant's certificates.
const (
	RoleSCA = trust.RoleSCA
	RoleDSC = trust.RoleDSC
	RoleUP  = trust.RoleUP
	RoleTLS = trust.RoleTLS
)

// Participant is who a certificate names as its subject.
type Participant struct {
	Country      string // two upper-case letters (ISO 3166-1), or XA to XZ for tests
	Organization string
	Name         string // common name of the SCA; others get theirs from it
}

func (p Participant) check() error {
	if !format.IsCapitals(p.Country, 2) {
		return fmt.Errorf("keys: country %q, want two upper-case letters: %w", p.Country, ErrParticipant)
	}
	if p.Organization == "" || p.Name == "" {
		return fmt.Errorf("keys: organization and name are required: %w", ErrParticipant)
	}
	return nil
}

func (p Participant) subject(name string) pkix.Name {
	return pkix.Name{Country: []string{p.Country}, Organization: []string{p.Organization}, CommonName: name}
}

// Usage is a kind of health certificate that a document signer is limited to,
// as extended key usage. The EU's digital COVID certificate defined them, and
// the GDHCN took them over.
type Usage int

// The usages. A signer with none may sign any kind.
const (
	UsageTest        Usage = 1
	UsageVaccination Usage = 2
	UsageRecovery    Usage = 3
)

// usageArc is followed by the number of the usage.
var usageArc = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 1847, 2021, 1}

// OID returns the object identifier of the usage.
func (u Usage) OID() asn1.ObjectIdentifier { return append(slices.Clone(usageArc), int(u)) }

// Algorithm is what a document signer signs with.
type Algorithm string

// The algorithms of HCERT (section 3.3.2), PS256 with two lengths of its modulus.
const (
	ES256     Algorithm = "ES256"      // ECDSA on P-256, SHA-256: the primary one
	PS256     Algorithm = "PS256"      // RSASSA-PSS of 2048 bits, SHA-256: the secondary one
	PS256Long Algorithm = "PS256-3072" // the same with 3072 bits
)

// DSCProfile orders a document signer. Its zero value is an ES256 signer for any
// kind of certificate, valid for 2 years.
type DSCProfile struct {
	Algorithm Algorithm // "" means ES256
	Usages    []Usage   // none means any
	Years     int       // 0 means 2
	Name      string    // common name; "" means the participant's with " DSC"
	// SignMonths is how long it signs, after which it only verifies: its private key
	// usage period. 0 says nothing.
	SignMonths int
	// Signer is a key that is there already, such as one on hardware; nil: one of
	// the algorithm is made.
	Signer crypto.Signer
}

// SCA is a certificate authority of a participant.
type SCA struct {
	Key *Key
}

// The periods of the network's certificates, in years. Its implementation guide
// asks for 4, 2, and 1 to 2.
const (
	scaYears = 4
	dscYears = 2
	upYears  = 1

	anchorYears = 10
)

// NewSCA makes a self-signed certificate authority: P-256, valid for 4 years
// from now, for one level of certificates below it.
//
// Of random only serial numbers are read; Go makes keys and ECDSA signatures
// from the system's source. Nil stands for that source, too.
func NewSCA(p Participant, now time.Time, random io.Reader) (*SCA, error) {
	return makeSCA(p, scaYears, 0, now, random)
}

func makeSCA(p Participant, validYears, signMonths int, now time.Time, random io.Reader) (*SCA, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               p.subject(p.Name),
		NotBefore:             now.UTC().Truncate(time.Second),
		NotAfter:              years(now, validYears),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	if err := signFor(template, signMonths); err != nil {
		return nil, err
	}
	k, err := selfSigned(template, random)
	if err != nil {
		return nil, err
	}
	return &SCA{Key: k}, nil
}

// OpenSCA takes up the work of an authority whose key was loaded from a file. It
// returns ErrNotCA where the key's certificate cannot issue others.
func OpenSCA(k *Key) (*SCA, error) {
	c := k.Certificate()
	if c == nil || !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 || len(c.SubjectKeyId) == 0 {
		return nil, fmt.Errorf("keys: the certificate is not that of a certificate authority: %w", ErrNotCA)
	}
	if len(c.Subject.Country) != 1 || !format.IsCapitals(c.Subject.Country[0], 2) {
		return nil, fmt.Errorf("keys: the authority names no country: %w", ErrNotCA)
	}
	return &SCA{Key: k}, nil
}

// IssueDSC makes a document signer: a new key and its certificate, valid from
// now. It returns ErrValidity where the signer would outlive the authority: a
// verifier checks both at the time of verification (the shell model), so such a
// signer's certificates would fail before their time.
func (s *SCA) IssueDSC(profile DSCProfile, now time.Time, random io.Reader) (*Key, error) {
	authority := s.Key.Certificate()
	if authority == nil {
		return nil, fmt.Errorf("keys: the authority has no certificate: %w", ErrNotCA)
	}
	if profile.Years == 0 {
		profile.Years = dscYears
	}
	if profile.Name == "" {
		profile.Name = authority.Subject.CommonName + " DSC"
	}
	start, end := now.UTC().Truncate(time.Second), years(now, profile.Years)
	if profile.Years < 0 {
		return nil, fmt.Errorf("keys: %d years: %w", profile.Years, ErrValidity)
	}
	if err := within(authority, start, end); err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{
			Country:      authority.Subject.Country,
			Organization: authority.Subject.Organization,
			CommonName:   profile.Name,
		},
		NotBefore: start,
		NotAfter:  end,
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
	for _, u := range profile.Usages {
		if u < UsageTest || u > UsageRecovery {
			return nil, fmt.Errorf("keys: usage %d: %w", int(u), ErrUsage)
		}
		template.UnknownExtKeyUsage = append(template.UnknownExtKeyUsage, u.OID())
	}
	if err := signFor(template, profile.SignMonths); err != nil {
		return nil, err
	}
	return s.issue(template, profile, random)
}

// within checks that a signer does not outlive its authority.
func within(authority *x509.Certificate, start, end time.Time) error {
	if start.Before(authority.NotBefore) || end.After(authority.NotAfter) {
		return fmt.Errorf("keys: document signer from %s to %s, its authority from %s to %s: %w; order a shorter period or renew the authority",
			start.Format(time.DateOnly), end.Format(time.DateOnly),
			authority.NotBefore.Format(time.DateOnly), authority.NotAfter.Format(time.DateOnly), ErrValidity)
	}
	return nil
}

// issue makes a key, where there is none, and its certificate.
func (s *SCA) issue(template *x509.Certificate, profile DSCProfile, random io.Reader) (*Key, error) {
	signer := profile.Signer
	if signer == nil {
		var err error
		if signer, err = generate(profile.Algorithm); err != nil {
			return nil, err
		}
	}
	c, err := certify(template, s.Key.Certificate(), signer.Public(), s.Key.Signer, random)
	if err != nil {
		return nil, err
	}
	return &Key{Signer: signer, Chain: append([]*x509.Certificate{c}, s.Key.Chain...)}, nil
}

// NewUP makes the self-signed certificate that signs uploads, P-256, valid for
// a year from now.
func NewUP(p Participant, now time.Time, random io.Reader) (*Key, error) {
	return makeUP(p, upYears, now, random)
}

func makeUP(p Participant, validYears int, now time.Time, random io.Reader) (*Key, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return selfSigned(&x509.Certificate{
		Subject:   p.subject(p.Name + " UP"),
		NotBefore: now.UTC().Truncate(time.Second),
		NotAfter:  years(now, validYears),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}, random)
}

// NewAnchor makes the self-signed certificate of a gateway's trust anchor, P-256,
// valid for ten years from now: participants pin it, and it is renewed by hand.
func NewAnchor(p Participant, now time.Time, random io.Reader) (*Key, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return selfSigned(&x509.Certificate{
		Subject:   p.subject(p.Name),
		NotBefore: now.UTC().Truncate(time.Second),
		NotAfter:  years(now, anchorYears),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}, random)
}

// NewTLS makes the self-signed certificate of a client of the gateway, P-256,
// valid for a year from now.
func NewTLS(p Participant, now time.Time, random io.Reader) (*Key, error) {
	return makeTLS(p, upYears, now, random)
}

func makeTLS(p Participant, validYears int, now time.Time, random io.Reader) (*Key, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return selfSigned(&x509.Certificate{
		Subject:     p.subject(p.Name + " TLS"),
		NotBefore:   now.UTC().Truncate(time.Second),
		NotAfter:    years(now, validYears),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, random)
}

// MaterialProfile orders a participant's material. The zero value has the periods
// that the network's implementation guide asks for: SCA 4 years, of which it
// signs 1; DSC 2 years, of which it signs half a year; UP and TLS 1.
type MaterialProfile struct {
	SCAYears, UPYears, TLSYears int
}

// Member is the material of one participant.
type Member struct {
	SCA          *SCA
	UP, TLS, DSC *Key
}

// NewMember makes all that a participant needs for its onboarding, and its first
// document signer. It returns ErrValidity for a period that the network would
// refuse.
func NewMember(p Participant, profile MaterialProfile, now time.Time, random io.Reader) (*Member, error) {
	for _, y := range []struct {
		years              *int
		least, most, usual int
	}{{&profile.SCAYears, 2, 4, scaYears}, {&profile.UPYears, 1, 2, upYears}, {&profile.TLSYears, 1, 2, upYears}} {
		if *y.years == 0 {
			*y.years = y.usual
		}
		if *y.years < y.least || *y.years > y.most {
			return nil, fmt.Errorf("keys: %d years, want %d to %d: %w", *y.years, y.least, y.most, ErrValidity)
		}
	}
	m := new(Member)
	var err error
	if m.SCA, err = makeSCA(p, profile.SCAYears, 12, now, random); err != nil {
		return nil, err
	}
	if m.UP, err = makeUP(p, profile.UPYears, now, random); err != nil {
		return nil, err
	}
	if m.TLS, err = makeTLS(p, profile.TLSYears, now, random); err != nil {
		return nil, err
	}
	m.DSC, err = m.SCA.IssueDSC(DSCProfile{Name: p.Organization + " DSC", SignMonths: 6}, now, random)
	return m, err
}

var oidPrivateKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 16}

// signFor says for how long the private key signs (X.509, privateKeyUsagePeriod;
// Doc 9303-12 asks for it, and the network's configuration has it):
//
//	SEQUENCE { notBefore [0] GeneralizedTime, notAfter [1] GeneralizedTime }
func signFor(template *x509.Certificate, months int) error {
	if months == 0 {
		return nil
	}
	der, err := asn1.Marshal(struct {
		NotBefore time.Time `asn1:"tag:0,generalized"`
		NotAfter  time.Time `asn1:"tag:1,generalized"`
	}{template.NotBefore, template.NotBefore.AddDate(0, months, 0)})
	if err != nil {
		return fmt.Errorf("keys: private key usage period: %w", err)
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: oidPrivateKeyUsage, Value: der})
	return nil
}

func years(now time.Time, n int) time.Time {
	return now.UTC().Truncate(time.Second).AddDate(n, 0, 0)
}

// generate makes the key of an algorithm.
func generate(a Algorithm) (crypto.Signer, error) {
	switch a {
	case "", ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case PS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case PS256Long:
		return rsa.GenerateKey(rand.Reader, 3072)
	}
	return nil, fmt.Errorf("keys: algorithm %q: %w", a, ErrAlgorithm)
}

// selfSigned makes a P-256 key and its own certificate.
func selfSigned(template *x509.Certificate, random io.Reader) (*Key, error) {
	signer, err := generate(ES256)
	if err != nil {
		return nil, err
	}
	c, err := certify(template, template, signer.Public(), signer, random)
	if err != nil {
		return nil, err
	}
	return &Key{Signer: signer, Chain: []*x509.Certificate{c}}, nil
}

// certify fills in the serial number and key identifier, and signs.
func certify(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer, random io.Reader) (*x509.Certificate, error) {
	if random == nil {
		random = rand.Reader
	}
	var err error
	if template.SerialNumber, err = serial(random); err != nil {
		return nil, err
	}
	if template.SubjectKeyId, err = keyIdentifier(public); err != nil {
		return nil, err
	}
	if template == parent { // self-signed
		parent.AuthorityKeyId = template.SubjectKeyId
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("keys: signing the certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("keys: reading the certificate back: %w", err)
	}
	return c, nil
}

// serial returns 16 random bytes as a positive number (RFC 5280, section
// 4.1.2.2, asks for a positive one of at most 20 bytes). The highest bit is
// cleared and the next one set, so that it always takes exactly 16 bytes.
func serial(random io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("keys: serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}

// keyIdentifier is the leftmost 160 bits of the SHA-256 of the public key bits
// (RFC 7093, section 2, method 1).
func keyIdentifier(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("keys: public key: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("keys: public key: %w", err)
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20], nil
}
