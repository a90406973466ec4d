package didlist

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// RSA moduli outside these are refused: shorter ones protect nothing, longer
// ones only cost the verifier time. Whether 1024 bits are enough is the
// caller's policy.
const (
	minRSABits = 1024
	maxRSABits = 16384
)

var (
	oidRSA    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
)

// subjectPublicKeyInfo is RFC 5280 section 4.1.
type subjectPublicKeyInfo struct {
	Raw       asn1.RawContent
	Algorithm struct {
		OID        asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	Key asn1.BitString
}

// certificateKey takes the public key out of a DER certificate. It reads no
// more of the certificate than it must: published lists hold certificates that
// crypto/x509 refuses as a whole (an RSA key without NULL parameters, negative
// serial numbers), and judging those is the work of package trust.
func certificateKey(der []byte) (crypto.PublicKey, error) {
	var cert struct {
		TBS struct {
			Version   int `asn1:"optional,explicit,default:0,tag:0"`
			Serial    asn1.RawValue
			Signature asn1.RawValue
			Issuer    asn1.RawValue
			Validity  asn1.RawValue
			Subject   asn1.RawValue
			SPKI      subjectPublicKeyInfo
		}
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &cert)
	if err != nil || len(rest) != 0 {
		return nil, ErrBadCertificate
	}
	spki := cert.TBS.SPKI
	if oid := spki.Algorithm.OID; oid.Equal(oidRSA) || oid.Equal(oidRSAPSS) {
		key, err := x509.ParsePKCS1PublicKey(spki.Key.RightAlign())
		if err != nil {
			return nil, ErrUnsupportedKey
		}
		return key, checkRSA(key)
	}
	key, err := x509.ParsePKIXPublicKey(spki.Raw)
	if err != nil {
		return nil, ErrUnsupportedKey
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if curveByName(key.Curve.Params().Name) == nil {
			return nil, ErrUnsupportedKey
		}
		return key, nil
	case ed25519.PublicKey:
		return key, nil
	}
	return nil, ErrUnsupportedKey
}

func checkRSA(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return fmt.Errorf("RSA modulus of %d bits: %w", bits, ErrUnsupportedKey)
	}
	if key.E < 3 || key.E%2 == 0 {
		return fmt.Errorf("RSA exponent: %w", ErrUnsupportedKey)
	}
	return nil
}

// curveByName knows the names of RFC 7518 section 6.2.1.1.
func curveByName(name string) elliptic.Curve {
	switch name {
	case "P-256":
		return elliptic.P256()
	case "P-384":
		return elliptic.P384()
	case "P-521":
		return elliptic.P521()
	}
	return nil
}

func curveOf(key crypto.PublicKey) elliptic.Curve {
	if key, ok := key.(*ecdsa.PublicKey); ok {
		return key.Curve
	}
	return nil
}

// parse fills k from a JWK object (RFC 7517) and sets kid where there is one.
func (k *JWK) parse(object map[string]any, kid *string) error {
	for _, m := range []struct {
		name string
		text *string
		raw  *[]byte
	}{
		{name: "kty", text: &k.Kty}, {name: "crv", text: &k.Crv}, {name: "kid", text: kid},
		{name: "x", raw: &k.X}, {name: "y", raw: &k.Y}, {name: "n", raw: &k.N}, {name: "e", raw: &k.E},
	} {
		v, present := object[m.name]
		if !present {
			continue
		}
		text, ok := v.(string)
		if !ok {
			return fmt.Errorf("%s: %w", m.name, ErrEntry)
		}
		if m.text != nil {
			*m.text = text
			continue
		}
		raw, err := decodeBase64(text)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, ErrEntry)
		}
		*m.raw = raw
	}
	return nil
}

// PublicKey makes a key of the JWK, after taking leading zeros away or adding
// those that lack. It returns [ErrNoKey] for an empty JWK and
// [ErrUnsupportedKey] for a curve, size or point that it refuses.
func (k JWK) PublicKey() (crypto.PublicKey, error) {
	switch k.Kty {
	case "EC":
		curve := curveByName(k.Crv)
		if curve == nil {
			return nil, fmt.Errorf("crv: %w", ErrUnsupportedKey)
		}
		size := coordinateSize(curve)
		x, y := stripZeros(k.X), stripZeros(k.Y)
		if len(x) > size || len(y) > size {
			return nil, fmt.Errorf("coordinate: %w", ErrUnsupportedKey)
		}
		point := make([]byte, 1+2*size)
		point[0] = 4 // uncompressed, SEC 1 section 2.3.3
		copy(point[1+size-len(x):], x)
		copy(point[1+2*size-len(y):], y)
		key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return nil, fmt.Errorf("not a point of the curve: %w", ErrUnsupportedKey)
		}
		return key, nil
	case "RSA":
		e := stripZeros(k.E)
		if len(e) == 0 || len(e) > 4 {
			return nil, fmt.Errorf("e: %w", ErrUnsupportedKey)
		}
		exponent := new(big.Int).SetBytes(e).Int64()
		// rsa.PublicKey.E is an int, which has 31 bits of room in a browser.
		if exponent > 1<<31-1 {
			return nil, fmt.Errorf("e: %w", ErrUnsupportedKey)
		}
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(k.N), E: int(exponent)}
		if err := checkRSA(key); err != nil {
			return nil, err
		}
		return key, nil
	case "":
		return nil, ErrNoKey
	}
	return nil, fmt.Errorf("kty: %w", ErrUnsupportedKey)
}

// newJWK restates key with coordinates of full length.
func newJWK(key crypto.PublicKey) (JWK, error) {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		name := key.Curve.Params().Name
		if curveByName(name) == nil {
			return JWK{}, ErrUnsupportedKey
		}
		point, err := key.Bytes()
		if err != nil {
			return JWK{}, ErrUnsupportedKey
		}
		size := coordinateSize(key.Curve)
		return JWK{Kty: "EC", Crv: name, X: point[1 : 1+size], Y: point[1+size:]}, nil
	case *rsa.PublicKey:
		return JWK{Kty: "RSA", N: key.N.Bytes(), E: big.NewInt(int64(key.E)).Bytes()}, nil
	}
	return JWK{}, ErrUnsupportedKey
}

// restates tells whether the JWK is key, leading zeros and the name of the
// curve aside.
func (k JWK) restates(key crypto.PublicKey) bool {
	own, err := newJWK(key)
	if err != nil {
		return false
	}
	for _, pair := range [][2][]byte{{k.X, own.X}, {k.Y, own.Y}, {k.N, own.N}, {k.E, own.E}} {
		if !bytes.Equal(stripZeros(pair[0]), stripZeros(pair[1])) {
			return false
		}
	}
	named := curveByName(k.Crv) != nil
	return k.Kty == own.Kty && (!named || k.Crv == own.Crv)
}

func (e *Entry) noteCoordinates(curve elliptic.Curve) {
	if len(e.JWK.N) > 0 && e.JWK.N[0] == 0 {
		e.note(ProblemPaddedCoordinate)
	}
	if curve == nil {
		return
	}
	size := coordinateSize(curve)
	for _, c := range [][]byte{e.JWK.X, e.JWK.Y} {
		switch {
		case len(c) > size:
			e.note(ProblemPaddedCoordinate)
		case len(c) < size:
			e.note(ProblemShortCoordinate)
		}
	}
}

func coordinateSize(curve elliptic.Curve) int { return (curve.Params().BitSize + 7) / 8 }

func stripZeros(b []byte) []byte { return bytes.TrimLeft(b, "\x00") }
