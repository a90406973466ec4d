package device

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"ampoule/format"
)

// The kinds of defect of enrolment.
const (
	ErrRequest  format.Defect = "bad-certificate-request"
	ErrProof    format.Defect = "no-proof-of-possession"
	ErrKeyKind  format.Defect = "key-not-allowed"
	ErrIDevID   format.Defect = "untrusted-idevid"
	ErrRenewal  format.Defect = "not-a-renewal"
	ErrValidity format.Defect = "bad-validity"
)

// maxRequest bounds a request, in bytes.
const maxRequest = 16 << 10

// Request is what a device asks a certificate for: a PKCS #10 request (RFC 2986)
// whose proof of possession was checked. What else it asks for is passed over.
type Request struct {
	Device    ID     // "" where it names none, and does not know yet
	Serial    string // serialNumber of the subject, or ""
	PublicKey crypto.PublicKey

	uris       []*url.URL
	rawSubject []byte
}

// ParseRequest reads a request in DER. The key is of P-256, P-384 or Ed25519; the
// alternative names are URIs alone, of which one at most is an object identifier.
func ParseRequest(der []byte) (*Request, error) {
	if len(der) > maxRequest {
		return nil, fmt.Errorf("certificate request of %d bytes: %w", len(der), ErrSize)
	}
	c, err := x509.ParseCertificateRequest(der)
	if err != nil {
		// The library's text may quote the request.
		return nil, fmt.Errorf("certificate request: it cannot be read: %w", ErrRequest)
	}
	if err := keyAllowed(c.PublicKey); err != nil {
		return nil, err
	}
	switch c.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
	default:
		return nil, fmt.Errorf("certificate request: signed with %s: %w", c.SignatureAlgorithm, ErrProof)
	}
	if c.CheckSignature() != nil {
		return nil, fmt.Errorf("certificate request: the key has not signed it: %w", ErrProof)
	}
	if len(c.DNSNames)+len(c.EmailAddresses)+len(c.IPAddresses) > 0 {
		return nil, fmt.Errorf("certificate request: names that no device has: %w", ErrIdentity)
	}
	r := &Request{Serial: c.Subject.SerialNumber, PublicKey: c.PublicKey, uris: c.URIs, rawSubject: c.RawSubject}
	if len(r.Serial) > 64 {
		return nil, fmt.Errorf("certificate request: serial number of %d bytes: %w", len(r.Serial), ErrIdentity)
	}
	r.Device, err = identity(c.URIs)
	return r, err
}

func keyAllowed(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("certificate request: a key of type %T: %w", pub, ErrKeyKind)
}

// IDevID is the identity that a maker gave a device (IEEE 802.1AR section 6).
type IDevID struct {
	Maker       string // organisation of the subject, or of the root
	Serial      string // serialNumber of the subject
	Certificate *x509.Certificate
}

// CheckIDevID holds a chain, the device's certificate first, against the roots of
// makers.
func CheckIDevID(chain []*x509.Certificate, makers *x509.CertPool, at time.Time) (*IDevID, error) {
	if len(chain) == 0 || makers == nil {
		return nil, fmt.Errorf("IDevID: no certificate, or no maker is known: %w", ErrIDevID)
	}
	c := chain[0]
	ways, err := c.Verify(x509.VerifyOptions{Roots: makers, Intermediates: pool(chain[1:]), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil || c.IsCA {
		return nil, fmt.Errorf("IDevID: no way to a maker's root: %w", ErrIDevID)
	}
	// IEEE 802.1AR section 8.6: the subject has the serial number of the device.
	d := &IDevID{Serial: c.Subject.SerialNumber, Certificate: c}
	if d.Serial == "" {
		return nil, fmt.Errorf("IDevID: no serial number: %w", ErrIdentity)
	}
	root := ways[0][len(ways[0])-1]
	for _, organisations := range [][]string{c.Subject.Organization, root.Subject.Organization} {
		if d.Maker == "" && len(organisations) > 0 {
			d.Maker = organisations[0]
		}
	}
	return d, nil
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certificates {
		p.AddCert(c)
	}
	return p
}

// CheckLDevID holds a chain, a device's certificate of ours first, against our
// authorities, and returns the device that it names.
func CheckLDevID(chain []*x509.Certificate, ours *x509.CertPool, at time.Time) (ID, error) {
	if len(chain) == 0 || ours == nil {
		return "", fmt.Errorf("LDevID: no certificate, or no authority: %w", ErrUntrusted)
	}
	c := chain[0]
	if _, err := c.Verify(x509.VerifyOptions{Roots: ours, Intermediates: pool(chain[1:]), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil || c.IsCA {
		return "", fmt.Errorf("LDevID: %w", ErrUntrusted)
	}
	device, err := CertificateID(c)
	if err == nil && device == "" {
		err = fmt.Errorf("LDevID: names no device: %w", ErrIdentity)
	}
	return device, err
}

// Renews tells whether a request is for the certificate after one of the same device.
// RFC 7030 section 4.2.2: "The request Subject field and SubjectAltName extension MUST
// be identical to the corresponding fields in the certificate being renewed/rekeyed."
func (r *Request) Renews(current *x509.Certificate) error {
	device, err := CertificateID(current)
	switch {
	case err != nil:
		return err
	case device == "" || r.Device != device || len(r.uris) != len(current.URIs):
		return fmt.Errorf("renewal: of another device: %w", ErrRenewal)
	case !bytes.Equal(r.rawSubject, current.RawSubject):
		return fmt.Errorf("renewal: with another subject: %w", ErrRenewal)
	}
	return nil
}

// Template is the certificate of a device (LDevID) before it is signed: it names the
// device in a URI and the serial number of the maker in its subject, authenticates
// clients and signs, and nothing else.
func (r *Request) Template(device ID, serialNumber string, number *big.Int, from, until time.Time) (*x509.Certificate, error) {
	switch {
	case device.Check() != nil:
		return nil, device.Check()
	case r.Device != "" && r.Device != device:
		return nil, fmt.Errorf("certificate request: of another device: %w", ErrIdentity)
	case r.Serial != "" && r.Serial != serialNumber:
		return nil, fmt.Errorf("certificate request: of another serial number: %w", ErrIdentity)
	case !until.After(from):
		return nil, fmt.Errorf("certificate: it ends before it begins: %w", ErrValidity)
	}
	return &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{SerialNumber: serialNumber},
		NotBefore: from.UTC(), NotAfter: until.UTC(),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, URIs: []*url.URL{URI(device)}, PublicKey: r.PublicKey,
	}, nil
}
