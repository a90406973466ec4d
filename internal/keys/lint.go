package keys

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"ampoule/format"
)

// countryOID is the attribute type C of a name (X.520).
var countryOID = asn1.ObjectIdentifier{2, 5, 4, 6}

// Lint returns what the WHO's onboarding would object to in a certificate, one
// sentence each, nil for a good one.
//
// For SCA, UP and TLS the rules are those that the network's participant
// template runs on every request (its tests of subject, key length, signature
// algorithm, basic constraints, key usages and validity range). Document
// signers are uploaded later, not onboarded; theirs are those of the HCERT
// specification and of the template's signer configuration, so RSA may have
// 2048 bits.
//
// The period of a certificate is judged, not whether it holds now.
func Lint(c *x509.Certificate, role Role) []string {
	var found []string
	object := func(f string, args ...any) { found = append(found, fmt.Sprintf(f, args...)) }

	// The subject names one country.
	var countries []any
	for _, a := range c.Subject.Names {
		if a.Type.Equal(countryOID) {
			countries = append(countries, a.Value)
		}
	}
	if len(countries) != 1 {
		object("the subject has %d country attributes (C), want 1", len(countries))
	} else if s, ok := countries[0].(string); !ok || !format.IsCapitals(s, 2) {
		object("the country is %q, want two upper-case letters", countries[0])
	}

	// Keys. The network's RSA minimum is 3072 bits, HCERT's is 2048.
	least := 3072
	if role == RoleDSC {
		least = 2048
	}
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n < 256 {
			object("the EC key has %d bits, want 256 or more", n)
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < least {
			object("the RSA key has %d bits, want %d or more", n, least)
		}
	default: // DSA, too: the template's checks still allow it, and nobody should
		object("the key type %T is not supported", c.PublicKey)
	}

	switch c.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.SHA256WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
	default:
		object("the signature algorithm %v is not allowed", c.SignatureAlgorithm)
	}

	// Years have 365 or 366 days, and a day is given for inclusive ends.
	days := c.NotAfter.Sub(c.NotBefore).Hours() / 24
	period := func(from, to int) {
		if days <= float64(365*from-1) || days >= float64(366*to) {
			object("%s is valid for %.0f days, want %d to %d years", role, days, from, to)
		}
	}
	signs := func() {
		if c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
			object("%s lacks the key usage digitalSignature", role)
		}
		if c.KeyUsage&(x509.KeyUsageCRLSign|x509.KeyUsageCertSign) != 0 {
			object("%s has a key usage of an authority", role)
		}
		if c.BasicConstraintsValid && c.IsCA {
			object("%s has CA:TRUE", role)
		}
	}
	switch role {
	case RoleSCA:
		period(2, 4)
		if !c.BasicConstraintsValid || !c.IsCA {
			object("SCA lacks the basic constraint CA:TRUE")
		}
		// Go has MaxPathLen 0 for both "absent" and "0"; MaxPathLenZero tells them
		// apart. The template takes either, its configuration has 0, and only 0
		// stops a document signer from becoming an authority.
		if c.MaxPathLen != 0 || !c.MaxPathLenZero {
			object("SCA lacks the path length 0")
		}
		if c.KeyUsage&x509.KeyUsageCertSign == 0 || c.KeyUsage&x509.KeyUsageCRLSign == 0 {
			object("SCA lacks the key usages keyCertSign and cRLSign")
		}
		if len(c.SubjectKeyId) == 0 {
			object("SCA lacks a subject key identifier")
		}
	case RoleUP:
		period(1, 2)
		signs()
	case RoleTLS:
		period(1, 2)
		signs()
		if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
			object("TLS lacks the extended key usage clientAuth")
		}
	case RoleDSC:
		signs()
		if !c.NotAfter.After(c.NotBefore.Add(time.Second)) {
			object("DSC is never valid")
		}
		if len(c.AuthorityKeyId) == 0 {
			object("DSC lacks an authority key identifier")
		}
		if len(c.ExtKeyUsage) > 0 {
			object("DSC has an extended key usage that is not of health certificates")
		}
		for _, oid := range c.UnknownExtKeyUsage {
			if !slices.ContainsFunc([]Usage{UsageTest, UsageVaccination, UsageRecovery}, func(u Usage) bool { return u.OID().Equal(oid) }) {
				object("DSC has the unknown extended key usage %v", oid)
			}
		}
	default:
		object("unknown role %q", role)
	}
	return found
}
