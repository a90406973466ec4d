package device

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/oid"
)

// ErrIdentity is a certificate or a request that names no device, or another.
const ErrIdentity format.Defect = "bad-device-identity"

// uriPrefix is what an object identifier begins with as a URI (RFC 3061). A
// registered identifier of X.509 could not hold an arc as large as a UUID.
const uriPrefix = "urn:oid:"

// URI is the name of a device in certificates.
func URI(device ID) *url.URL { return &url.URL{Scheme: "urn", Opaque: "oid:" + device.String()} }

// identity is the one object identifier among URIs; "" where there is none.
func identity(uris []*url.URL) (ID, error) {
	var found ID
	for _, u := range uris {
		dotted, ours := strings.CutPrefix(u.String(), uriPrefix)
		if !ours {
			continue
		}
		o, err := oid.Parse(dotted)
		if err != nil || found != "" {
			return "", fmt.Errorf("certificate: two identifiers, or none of that form: %w", ErrIdentity)
		}
		found = o
	}
	return found, nil
}

// CertificateID is the device that a certificate names; "" where it names none.
func CertificateID(c *x509.Certificate) (ID, error) { return identity(c.URIs) }

// documentSigning is id-kp-documentSigning (RFC 9336 section 3.1), which the
// certificate of a service has and that of a device has not: a device must not speak
// for the service.
var documentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}

// SignsDocuments tells whether a certificate is of a service that makes statements.
func SignsDocuments(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.UnknownExtKeyUsage, documentSigning.Equal)
}

// trusted holds a certificate against roots as they were when it was issued: what a
// device signed does not go bad when an authority ends.
func trusted(c *x509.Certificate, between, roots *x509.CertPool) error {
	if roots == nil { // the library would ask the system
		roots = x509.NewCertPool()
	}
	_, err := c.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: c.NotBefore.Add(time.Second),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}
