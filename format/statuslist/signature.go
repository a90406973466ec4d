package statuslist

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"

	"ampoule/format/cose"
)

// algorithm is a name of RFC 7518 or RFC 8037. The algorithm of a signature is a
// property of the key: one that a token names otherwise is refused.
type algorithm string

const (
	es256 algorithm = "ES256" // ECDSA, P-256, SHA-256
	es384 algorithm = "ES384" // ECDSA, P-384, SHA-384
	eddsa algorithm = "EdDSA" // Ed25519

	// ed25519Name is what RFC 9864 calls the same.
	ed25519Name algorithm = "Ed25519"
)

// Identifiers of COSE that cose.Algorithm has no name for (RFC 9053 section 2).
const (
	coseES384 cose.Algorithm = -35
	coseEdDSA cose.Algorithm = -8
)

func algorithmOfCOSE(a cose.Algorithm) algorithm {
	switch a {
	case cose.ES256:
		return es256
	case coseES384:
		return es384
	case coseEdDSA, cose.Ed25519:
		return eddsa
	}
	return algorithm(a.String())
}

func (a algorithm) cose() cose.Algorithm {
	switch a {
	case es256:
		return cose.ES256
	case es384:
		return coseES384
	case eddsa:
		return coseEdDSA
	}
	return cose.NoAlgorithm
}

// signerAlgorithm returns the one algorithm of a key, "" for those that no token
// may be signed with.
func signerAlgorithm(pub crypto.PublicKey) algorithm {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return es256
		case elliptic.P384():
			return es384
		}
	case ed25519.PublicKey:
		return eddsa
	}
	return ""
}

// hash returns the digest of ECDSA and the bytes of each of r and s.
func (a algorithm) hash() (h crypto.Hash, size int) {
	if a == es384 {
		return crypto.SHA384, 48
	}
	return crypto.SHA256, 32
}

func (a algorithm) digest(message []byte) []byte {
	h, _ := a.hash()
	d := h.New()
	d.Write(message)
	return d.Sum(nil)
}

func (a algorithm) verify(pub crypto.PublicKey, message, sig []byte) error {
	want := signerAlgorithm(pub)
	if a == ed25519Name {
		a = eddsa
	}
	if want == "" || a != want {
		return fmt.Errorf("alg %.20q with a %T: %w", string(a), pub, ErrAlgNotAllowed)
	}
	if k, ok := pub.(ed25519.PublicKey); ok {
		if len(k) != ed25519.PublicKeySize || !ed25519.Verify(k, message, sig) {
			return ErrSignature
		}
		return nil
	}
	// RFC 7518 section 3.4, RFC 9053 section 2.1: r and s, each as long as the
	// curve's order.
	_, size := a.hash()
	if len(sig) != 2*size {
		return fmt.Errorf("a signature of %d bytes: %w", len(sig), ErrSignature)
	}
	r, s := new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:])
	if !ecdsa.Verify(pub.(*ecdsa.PublicKey), a.digest(message), r, s) {
		return ErrSignature
	}
	return nil
}

func (a algorithm) sign(random io.Reader, signer crypto.Signer, message []byte) ([]byte, error) {
	switch a {
	case "":
		return nil, fmt.Errorf("signing with a %T: %w", signer.Public(), ErrAlgNotAllowed)
	case eddsa:
		return signer.Sign(random, message, crypto.Hash(0))
	}
	h, size := a.hash()
	der, err := signer.Sign(random, a.digest(message), h)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &pair)
	if err != nil || len(rest) > 0 || pair.R.Sign() < 0 || pair.S.Sign() < 0 || pair.R.BitLen() > 8*size || pair.S.BitLen() > 8*size {
		return nil, fmt.Errorf("the signer returned no ECDSA signature: %w", ErrSignature)
	}
	out := make([]byte, 2*size)
	pair.R.FillBytes(out[:size])
	pair.S.FillBytes(out[size:])
	return out, nil
}
