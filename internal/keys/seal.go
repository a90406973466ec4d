package keys

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"time"

	"ampoule/format"
)

// The authorities and signers of visible digital seals belong to the public key
// infrastructure of passports (Doc 9303-12), beside that of the network.

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidIssuerAltName  = asn1.ObjectIdentifier{2, 5, 29, 18}
	// oidSealSigner is the extended key usage of those who sign seals.
	oidSealSigner       = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 14, 2}
	oidDocumentTypeList = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 6, 2}
)

// documentTypeSeal is the list of the one document type NV:
//
//	SEQUENCE { version INTEGER 0, docTypeList SET { PrintableString "NV" } }
var documentTypeSeal = []byte{0x30, 0x09, 0x02, 0x01, 0x00, 0x31, 0x04, 0x13, 0x02, 'N', 'V'}

// NewCSCA makes the self-signed certificate of a country signing authority:
// P-256, valid for 4 years from now. state is the code of Doc 9303-3 by which
// seals name their issuer, three letters.
func NewCSCA(p Participant, state string, now time.Time, random io.Reader) (*SCA, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if !format.IsCapitals(state, 3) {
		return nil, fmt.Errorf("keys: state %q, want three upper-case letters: %w", state, ErrParticipant)
	}
	// Doc 9303-12 table 5: the state as localityName, in both alternative names.
	name, err := asn1.Marshal(pkix.Name{Locality: []string{state}}.ToRDNSequence())
	if err != nil {
		return nil, fmt.Errorf("keys: state: %w", err)
	}
	const directoryName = 4 // of GeneralName
	names, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: directoryName, IsCompound: true, Bytes: name}})
	if err != nil {
		return nil, fmt.Errorf("keys: state: %w", err)
	}
	k, err := selfSigned(&x509.Certificate{
		Subject:               p.subject(p.Name),
		NotBefore:             now.UTC().Truncate(time.Second),
		NotAfter:              years(now, scaYears),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		ExtraExtensions:       []pkix.Extension{{Id: oidSubjectAltName, Value: names}, {Id: oidIssuerAltName, Value: names}},
	}, random)
	if err != nil {
		return nil, err
	}
	return &SCA{Key: k}, nil
}

// IssueSealSigner makes a signer of visible digital seals: P-256, valid for 2
// years from now. Every seal carries its certificate, so that the name is short.
func (s *SCA) IssueSealSigner(name string, now time.Time, random io.Reader) (*Key, error) {
	authority := s.Key.Certificate()
	if authority == nil {
		return nil, fmt.Errorf("keys: the authority has no certificate: %w", ErrNotCA)
	}
	start, end := now.UTC().Truncate(time.Second), years(now, dscYears)
	if err := within(authority, start, end); err != nil {
		return nil, err
	}
	return s.issue(&x509.Certificate{
		Subject:            pkix.Name{Country: authority.Subject.Country, CommonName: name},
		NotBefore:          start,
		NotAfter:           end,
		KeyUsage:           x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidSealSigner},
		ExtraExtensions:    []pkix.Extension{{Id: oidDocumentTypeList, Value: documentTypeSeal}},
	}, DSCProfile{}, random)
}
