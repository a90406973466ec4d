package trust

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"ampoule/format/cose"
	"ampoule/format/pkix"
)

// parsePinnedCertificates reads every certificate and public key of a PEM file,
// or one certificate in DER.
func parsePinnedCertificates(data []byte) ([]crypto.PublicKey, error) {
	if len(data) > 0 && data[0] == 0x30 {
		pin, err := certifiedKey(data)
		if err != nil {
			return nil, err
		}
		return []crypto.PublicKey{pin}, nil
	}
	var pins []crypto.PublicKey
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		switch block.Type {
		case "CERTIFICATE":
			pin, err := certifiedKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			pins = append(pins, pin)
		case "PUBLIC KEY":
			pub, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				if pub, err = pkix.ParsePublicKey(block.Bytes); err != nil {
					return nil, fmt.Errorf("%w: %v", ErrPublicKey, err)
				}
			}
			pins = append(pins, pub)
		default:
			return nil, fmt.Errorf("a PEM block of type %q: %w", block.Type, ErrPublicKey)
		}
	}
	if len(pins) == 0 {
		return nil, fmt.Errorf("a pin is a PEM or DER certificate, a PEM public key, or a DID key document: %w", ErrPublicKey)
	}
	return pins, nil
}

// certifiedKey returns the key of a certificate, also of those that only
// passport authorities have.
func certifiedKey(der []byte) (crypto.PublicKey, error) {
	c, err := x509.ParseCertificate(der)
	if err == nil {
		return c.PublicKey, nil
	}
	if c, lenient := pkix.ParseCertificate(der); lenient == nil {
		return c.PublicKey, nil
	}
	return nil, fmt.Errorf("%w: %v", ErrCertificate, err)
}

// newBareKey makes a key that has no certificate, so no dates and no usages.
func newBareKey(pub crypto.PublicKey) *Key {
	k := &Key{Public: pub, Algorithm: cose.KeyAlgorithm(pub)}
	if der, err := x509.MarshalPKIXPublicKey(pub); err == nil {
		k.fingerprint = sha256.Sum256(der)
	}
	return k
}
