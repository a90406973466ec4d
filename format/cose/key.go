package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"ampoule/format/cbor"
)

// Labels and values of a COSE_Key (RFC 9052 section 7, RFC 9053 section 7, RFC
// 9964 section 3).
const (
	keyType = 1
	keyAlg  = 3

	typeOKP = 1 // Ed25519: crv, x
	typeEC2 = 2 // P-256: crv, x, y
	typeAKP = 7 // ML-DSA-65: alg, pub

	curveP256    = 1
	curveEd25519 = 6
)

// AppendKey appends the public key of a signer of Ampoule's own data as a
// COSE_Key, with the members that its thumbprint covers and no others (RFC 9679
// section 4, RFC 9964 section 6), in deterministic order:
//
//	{1: 2, -1: 1, -2: x, -3: y}        ;; P-256
//	{1: 1, -1: 6, -2: x}               ;; Ed25519
//	{1: 7, 3: -49, -1: pub}            ;; ML-DSA-65
func AppendKey(dst []byte, pub crypto.PublicKey) ([]byte, error) {
	pair := func(label, value int64) { dst = cbor.AppendInt(cbor.AppendInt(dst, label), value) }
	content := func(label int64, value []byte) { dst = cbor.AppendBytes(cbor.AppendInt(dst, label), value) }
	switch SignerAlgorithm(pub) {
	case ES256:
		point, err := pub.(*ecdsa.PublicKey).Bytes() // 4 || x || y
		if err != nil {
			return nil, fmt.Errorf("COSE_Key: %v: %w", err, ErrKey)
		}
		dst = cbor.AppendMap(dst, 4)
		pair(keyType, typeEC2)
		pair(-1, curveP256)
		content(-2, point[1:33])
		content(-3, point[33:])
	case Ed25519:
		dst = cbor.AppendMap(dst, 3)
		pair(keyType, typeOKP)
		pair(-1, curveEd25519)
		content(-2, pub.(ed25519.PublicKey))
	case MLDSA65:
		dst = cbor.AppendMap(dst, 3)
		pair(keyType, typeAKP)
		pair(keyAlg, int64(MLDSA65))
		content(-1, pub.(*mldsa65.PublicKey).Bytes())
	default:
		return nil, fmt.Errorf("COSE_Key: %s: %w", describe(pub), ErrKey)
	}
	return dst, nil
}

// ReadKey reads what [AppendKey] wrote, and nothing else.
func ReadKey(v cbor.Value) (crypto.PublicKey, error) {
	var pub crypto.PublicKey
	kty, _ := v.GetInt(keyType).Int()
	switch kty {
	case typeEC2:
		x, _ := v.GetInt(-2).Bytes()
		y, _ := v.GetInt(-3).Bytes()
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), bytes.Join([][]byte{{4}, x, y}, nil))
		if err != nil {
			return nil, fmt.Errorf("COSE_Key: %v: %w", err, ErrKey)
		}
		pub = k
	case typeOKP:
		x, _ := v.GetInt(-2).Bytes()
		pub = ed25519.PublicKey(x)
	case typeAKP:
		x, _ := v.GetInt(-1).Bytes()
		k := new(mldsa65.PublicKey)
		if err := k.UnmarshalBinary(x); err != nil {
			return nil, fmt.Errorf("COSE_Key: %v: %w", err, ErrKey)
		}
		pub = k
	default:
		return nil, fmt.Errorf("COSE_Key: type %d: %w", kty, ErrKey)
	}
	again, err := AppendKey(nil, pub)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, v.Encoded()) {
		return nil, fmt.Errorf("COSE_Key: members or encoding are not those of the thumbprint: %w", ErrKey)
	}
	return pub, nil
}

// Thumbprint is the COSE Key Thumbprint of a signer of Ampoule's own data, the
// SHA-256 of its COSE_Key (RFC 9679). It is the kid of its signatures.
func Thumbprint(pub crypto.PublicKey) ([]byte, error) {
	key, err := AppendKey(nil, pub)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(key)
	return sum[:], nil
}
