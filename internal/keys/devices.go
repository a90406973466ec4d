package keys

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// Periods of the certificates of devices, in years. A device renews its own: one that
// was away for a year and comes back must still be able to. What it has signed does not
// go bad when an authority ends.
const (
	deviceCAYears = 20
	serviceYears  = 10
	DeviceYears   = 2
	doorDays      = 397 // that clients still take
)

// documentSigning is id-kp-documentSigning (RFC 9336 section 3.1): the key of a service
// that seals readings and says what alarms there were.
var documentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}

// NewDeviceCA makes the authority of a service's devices: P-256, self-signed.
func NewDeviceCA(now time.Time, random io.Reader) (*Key, error) {
	return selfSigned(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Ampoule devices"}, NotBefore: now.UTC().Truncate(time.Second), NotAfter: years(now, deviceCAYears),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}, random)
}

// NewService makes the key with which a service seals readings and signs alarms.
func NewService(authority *Key, now time.Time, random io.Reader) (*Key, error) {
	signer, err := generate(ES256)
	if err != nil {
		return nil, err
	}
	c, err := certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Ampoule readings"}, NotBefore: now.UTC().Truncate(time.Second), NotAfter: years(now, serviceYears),
		KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{documentSigning}, BasicConstraintsValid: true,
	}, authority.Certificate(), signer.Public(), authority.Signer, random)
	if err != nil {
		return nil, err
	}
	return &Key{Signer: signer, Chain: append([]*x509.Certificate{c}, authority.Chain...)}, nil
}

// NewDoor makes the key of the door at which devices knock, where it has no certificate
// of another authority: they trust this one.
func NewDoor(authority *Key, hosts []string, now time.Time, random io.Reader) (*Key, error) {
	signer, err := generate(ES256)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Ampoule door"}, NotBefore: now.UTC().Truncate(time.Second).Add(-time.Hour), NotAfter: now.UTC().AddDate(0, 0, doorDays),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if first := authority.Certificate().NotBefore; template.NotBefore.Before(first) {
		template.NotBefore = first
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	c, err := certify(template, authority.Certificate(), signer.Public(), authority.Signer, random)
	if err != nil {
		return nil, err
	}
	return &Key{Signer: signer, Chain: append([]*x509.Certificate{c}, authority.Chain...)}, nil
}

// CertifyDevice signs the certificate of a device, which the caller has filled in but for
// its number.
func CertifyDevice(authority *Key, template *x509.Certificate, public crypto.PublicKey, random io.Reader) (*x509.Certificate, error) {
	if template.NotAfter.After(authority.Certificate().NotAfter) {
		return nil, fmt.Errorf("keys: the authority of the devices ends before: %w", ErrValidity)
	}
	return certify(template, authority.Certificate(), public, authority.Signer, random)
}

// DeviceNumber is a serial number for a certificate.
func DeviceNumber(random io.Reader) (*big.Int, error) {
	if random == nil {
		random = rand.Reader
	}
	return serial(random)
}
