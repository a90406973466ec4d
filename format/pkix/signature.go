package pkix

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"fmt"
	"math/big"

	"ampoule/format"
	"ampoule/format/der"
)

// The defects of a signature.
const (
	ErrAlgorithm     = format.Defect("unsupported-algorithm")
	ErrWeakAlgorithm = format.Defect("weak-algorithm") // SHA-1 or MD5: collisions can be made
	ErrWeakKey       = format.Defect("weak-key")       // RSA below 2048 bits, a curve below 224
	ErrSignature     = format.Defect("bad-signature")
)

// minRSA is the least RSA modulus in bits. Doc 9303-12 section 4.4.1 asks 3072
// of an authority; 2048 is where signatures are still sound.
const minRSA = 2048

// Algorithm is a signature algorithm with its parameters.
type Algorithm struct {
	raw   []byte // the AlgorithmIdentifier
	oid   string
	hash  string // its object identifier; "" where the algorithm leaves it to the message
	pss   bool
	salt  int
	ecdsa bool
}

// Hash functions (NIST arc 2.16.840.1.101.3.4.2, OIW, RSA).
const (
	OIDSHA1   = "1.3.14.3.2.26"
	oidMD5    = "1.2.840.113549.2.5"
	OIDSHA224 = "2.16.840.1.101.3.4.2.4"
	OIDSHA256 = "2.16.840.1.101.3.4.2.1"
	OIDSHA384 = "2.16.840.1.101.3.4.2.2"
	OIDSHA512 = "2.16.840.1.101.3.4.2.3"
)

const (
	oidRSA = "1.2.840.113549.1.1.1"
	oidPSS = "1.2.840.113549.1.1.10"
	oidMGF = "1.2.840.113549.1.1.8"
	oidEC  = "1.2.840.10045.2.1"
)

// algorithms are the signature algorithms of Doc 9303-12 with the hash that
// each names (RFC 8017, RFC 5758).
var algorithms = map[string]struct {
	ecdsa bool
	hash  string
}{
	oidRSA:                  {false, ""}, // as CMS writes it
	"1.2.840.113549.1.1.4":  {false, oidMD5},
	"1.2.840.113549.1.1.5":  {false, OIDSHA1},
	"1.2.840.113549.1.1.11": {false, OIDSHA256},
	"1.2.840.113549.1.1.12": {false, OIDSHA384},
	"1.2.840.113549.1.1.13": {false, OIDSHA512},
	"1.2.840.113549.1.1.14": {false, OIDSHA224},
	"1.2.840.10045.4.1":     {true, OIDSHA1},
	"1.2.840.10045.4.3.1":   {true, OIDSHA224},
	"1.2.840.10045.4.3.2":   {true, OIDSHA256},
	"1.2.840.10045.4.3.3":   {true, OIDSHA384},
	"1.2.840.10045.4.3.4":   {true, OIDSHA512},
}

// ReadAlgorithm reads an AlgorithmIdentifier. One that is not known is kept: only
// whoever needs its signature is stopped by it.
func ReadAlgorithm(r *der.Reader, what string) Algorithm {
	e := r.Take(der.TagSequence, what)
	in := e.Inside()
	a := Algorithm{raw: e.Raw, oid: in.OID(what)}
	if known, ok := algorithms[a.oid]; ok {
		a.ecdsa, a.hash = known.ecdsa, known.hash
	} else if a.oid == oidPSS {
		a.readPSS(in)
	}
	r.Keep(in)
	return a
}

// readPSS reads RSASSA-PSS-params (RFC 4055 section 3.1), whose defaults are
// SHA-1 and a salt of 20.
func (a *Algorithm) readPSS(in *der.Reader) {
	a.pss, a.hash, a.salt = true, OIDSHA1, 20
	mask := OIDSHA1
	params := in.Sequence("RSASSA-PSS-params")
	if e, ok := params.Optional(der.TagContext0); ok {
		h := e.Inside().Sequence("hashAlgorithm")
		a.hash = h.OID("hashAlgorithm")
		params.Keep(h)
	}
	if e, ok := params.Optional(der.TagContext1); ok {
		m := e.Inside().Sequence("maskGenAlgorithm")
		if m.OID("maskGenAlgorithm") != oidMGF {
			a.hash = "" // a mask that nobody uses: the algorithm is not known
		}
		h := m.Sequence("hash of the mask")
		mask = h.OID("hash of the mask")
		params.Keep(m, h)
	}
	if e, ok := params.Optional(der.TagContext2); ok {
		s := e.Inside().Take(der.TagInteger, "saltLength")
		if len(s.Body) != 1 || s.Body[0] > 64 {
			params.Fail("saltLength", der.ErrMalformed)
		} else {
			a.salt = int(s.Body[0])
		}
	}
	params.Optional(der.TagContext3) // trailerField, which has one value
	params.End("RSASSA-PSS-params")
	if in.Keep(params); mask != a.hash {
		a.hash = "" // allowed, and never seen; rsa.VerifyPSS has one hash for both
	}
}

// HashOf returns a hash function that signatures may use.
func HashOf(oid string) (crypto.Hash, error) {
	switch oid {
	case OIDSHA224:
		return crypto.SHA224, nil
	case OIDSHA256:
		return crypto.SHA256, nil
	case OIDSHA384:
		return crypto.SHA384, nil
	case OIDSHA512:
		return crypto.SHA512, nil
	case OIDSHA1, oidMD5:
		return 0, ErrWeakAlgorithm
	}
	return 0, fmt.Errorf("hash %q: %w", oid, ErrAlgorithm)
}

// Verify checks a signature over a message. digest names the hash where the
// algorithm leaves it to the message (CMS); where both name one they must agree.
func (a *Algorithm) Verify(pub crypto.PublicKey, digest string, message, signature []byte) error {
	if _, known := algorithms[a.oid]; !known && a.oid != oidPSS {
		return fmt.Errorf("signature algorithm %s: %w", a.oid, ErrAlgorithm)
	}
	hash := a.hash
	switch {
	case hash == "" && a.oid == oidRSA:
		hash = digest
	case digest != "" && digest != hash:
		return fmt.Errorf("two hash functions for one signature: %w", ErrAlgorithm)
	}
	h, err := HashOf(hash)
	if err != nil {
		return err
	}
	w := h.New()
	w.Write(message)
	sum := w.Sum(nil)

	good := false
	switch k := pub.(type) {
	case *rsa.PublicKey:
		switch {
		case a.ecdsa:
			return fmt.Errorf("ECDSA with an RSA key: %w", ErrAlgorithm)
		case k.N.BitLen() < minRSA:
			return ErrWeakKey
		case a.pss:
			good = rsa.VerifyPSS(k, h, sum, signature, &rsa.PSSOptions{SaltLength: a.salt, Hash: h}) == nil
		default:
			good = rsa.VerifyPKCS1v15(k, h, sum, signature) == nil
		}
	case *ecdsa.PublicKey:
		if !a.ecdsa {
			return fmt.Errorf("%s with an EC key: %w", a.oid, ErrAlgorithm)
		}
		good = ecdsa.VerifyASN1(k, sum, signature)
	case *ECKey:
		if !a.ecdsa {
			return fmt.Errorf("%s with an EC key: %w", a.oid, ErrAlgorithm)
		}
		r, s, ok := parseECDSA(signature)
		good = ok && k.verify(sum, r, s)
	default:
		return fmt.Errorf("a key of type %T: %w", pub, ErrPublicKey)
	}
	if !good {
		return ErrSignature
	}
	return nil
}

// parseECDSA reads ECDSA-Sig-Value in DER (RFC 3279 section 2.2.3).
func parseECDSA(signature []byte) (r, s *big.Int, ok bool) {
	in := &der.Reader{Rest: signature}
	pair := in.Sequence("ECDSA-Sig-Value")
	in.End("ECDSA-Sig-Value")
	x, y := pair.Take(der.TagInteger, "r").Body, pair.Take(der.TagInteger, "s").Body
	pair.End("ECDSA-Sig-Value")
	if der.First(in, pair).Err != nil || !der.Positive(x) || !der.Positive(y) {
		return nil, nil, false
	}
	return new(big.Int).SetBytes(x), new(big.Int).SetBytes(y), true
}
