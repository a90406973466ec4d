package trust

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"ampoule/format/cose"
)

// parsePinnedCertificates reads every certificate and public key of a PEM file,
// or one certificate in DER.
func parsePinnedCertificates(data []byte) ([]crypto.PublicKey, error) {
	if len(data) > 0 && data[0] == 0x30 {
		c, err := x509.ParseCertificate(data)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrCertificate, err)
		}
		return []crypto.PublicKey{c.PublicKey}, nil
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
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%w: %v", ErrCertificate, err)
			}
			pins = append(pins, c.PublicKey)
		case "PUBLIC KEY":
			pub, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%w: %v", ErrPublicKey, err)
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

// newBareKey makes a key that has no certificate, so no dates and no usages.
func newBareKey(pub crypto.PublicKey) *Key {
	k := &Key{Public: pub, Algorithm: cose.KeyAlgorithm(pub)}
	if der, err := x509.MarshalPKIXPublicKey(pub); err == nil {
		k.fingerprint = sha256.Sum256(der)
	}
	return k
}
