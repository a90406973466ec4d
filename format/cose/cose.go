// Package cose reads, verifies and makes COSE_Sign1 messages (RFC 9052 section
// 4.2), the envelope of HCERT certificates and of Ampoule's own signed data, and
// COSE_Sign messages with several signers, see [MultiSign]:
//
//	COSE_Sign1 = [
//	    protected:   bstr,            ;; encoded header map, or empty
//	    unprotected: map,
//	    payload:     bstr / nil,      ;; nil: detached
//	    signature:   bstr
//	]
//	Sig_structure = ["Signature1", protected, external_aad: h'', payload]
//
// The array may stand alone, under tag 18, or under tags 61 (CWT, RFC 8392) and
// 18: all three occur. The signature covers the protected bytes as they were
// received, so they are kept, never re-encoded.
//
// The algorithm of a signature is a property of the key. [Verify] takes it from
// the key and refuses a message that names another one, which closes the door
// to algorithm confusion.
package cose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"

	"ampoule/format"
	"ampoule/format/cbor"
)

// The kinds of defect.
const (
	ErrNotSign1      = format.Defect("not-sign1")
	ErrWrongTag      = format.Defect("wrong-tag")
	ErrAlgType       = format.Defect("alg-type")
	ErrHeader        = format.Defect("bad-header")
	ErrCritical      = format.Defect("critical-header")
	ErrAlgNotAllowed = format.Defect("alg-not-allowed")
	ErrSignature     = format.Defect("bad-signature")
)

// Algorithm is a COSE algorithm identifier (IANA COSE Algorithms).
type Algorithm int64

// The algorithms of the HCERT profile (section 3.3.2), and the zero value for a
// message or key that has none.
const (
	NoAlgorithm Algorithm = 0   // reserved by RFC 9053, so it never names one
	ES256       Algorithm = -7  // ECDSA, P-256, SHA-256 (RFC 9053 section 2.1)
	PS256       Algorithm = -37 // RSASSA-PSS, SHA-256 (RFC 8230 section 2)
)

// The algorithms that only Ampoule's own data may have besides ES256.
const (
	Ed25519 Algorithm = -19 // EdDSA with Ed25519 alone (RFC 9864 section 2.2)
	MLDSA65 Algorithm = -49 // ML-DSA-65 (FIPS 204; RFC 9964 section 5)
)

func (a Algorithm) String() string {
	switch a {
	case ES256:
		return "ES256"
	case PS256:
		return "PS256"
	case Ed25519:
		return "Ed25519"
	case MLDSA65:
		return "ML-DSA-65"
	}
	return fmt.Sprintf("alg %d", int64(a))
}

// Tags of the message and of a CBOR Web Token (RFC 9052 table 1, RFC 8392
// section 6).
const (
	TagSign1 = 18
	TagCWT   = 61
)

// Header labels (RFC 9052 section 3.1).
const (
	labelAlg  = 1
	labelCrit = 2
	labelKID  = 4
)

// Sign1 is a decoded COSE_Sign1.
type Sign1 struct {
	Tags        []uint64   // outermost first: none, [18] or [61 18]
	Protected   []byte     // as received
	Header      cbor.Value // the decoded protected map; missing if empty
	Unprotected cbor.Value
	Payload     []byte // nil if detached
	Signature   []byte

	// Alg is the algorithm the message names: in the protected header or, where
	// that has none, in the unprotected one, which proves nothing.
	Alg            Algorithm
	AlgUnprotected bool
	// KID is the key identifier. The protected one wins (HCERT section 3.3.3).
	KID            []byte
	KIDUnprotected bool

	payload string
	tags    [2]uint64 // room for Tags
}

// ParsePayload reads the payload as one item, without copying it.
func (m *Sign1) ParsePayload(lim cbor.Limits) (cbor.Value, error) {
	return cbor.ParseString(m.payload, lim)
}

// Parse reads one message that fills data, within the limits.
func Parse(data []byte, lim cbor.Limits) (*Sign1, error) { return ParseString(string(data), lim) }

// ParseString is Parse for bytes that cannot change, which it does not copy
// first.
func ParseString(data string, lim cbor.Limits) (*Sign1, error) {
	v, err := cbor.ParseString(data, lim)
	if err != nil {
		return nil, fmt.Errorf("COSE: %w", err)
	}
	m := new(Sign1)
	m.Tags = m.tags[:0]
	for {
		tag, inner, ok := v.Tag()
		if !ok {
			break
		}
		m.Tags = append(m.Tags, tag)
		v = inner
	}
	if !knownTags(m.Tags) {
		return nil, fmt.Errorf("COSE: tags %v: %w", m.Tags, ErrWrongTag)
	}
	if v.Len() != 4 || v.Kind() != cbor.Array {
		return nil, fmt.Errorf("COSE: %s of %d elements: %w", v.Kind(), v.Len(), ErrNotSign1)
	}
	var field [4]cbor.Value
	i := 0
	for e := range v.Elements() {
		field[i] = e
		i++
	}
	protected, ok0 := field[0].ByteString()
	m.Unprotected = field[1]
	payload, ok2 := field[2].ByteString()
	signature, ok3 := field[3].ByteString()
	if !ok0 || m.Unprotected.Kind() != cbor.Map || !ok2 && !field[2].IsNull() || !ok3 {
		return nil, fmt.Errorf("COSE: elements are %s, %s, %s, %s: %w",
			field[0].Kind(), field[1].Kind(), field[2].Kind(), field[3].Kind(), ErrNotSign1)
	}
	m.payload = payload
	// One allocation for the three that leave as bytes.
	all := make([]byte, 0, len(protected)+len(payload)+len(signature))
	part := func(s string) []byte {
		all = append(all, s...)
		return all[len(all)-len(s) : len(all) : len(all)]
	}
	m.Protected, m.Signature = part(protected), part(signature)
	if ok2 {
		m.Payload = part(payload)
	}
	if len(protected) > 0 {
		if m.Header, err = cbor.ParseString(protected, lim); err != nil {
			return nil, fmt.Errorf("COSE: protected header: %w", err)
		}
		if m.Header.Kind() != cbor.Map {
			return nil, fmt.Errorf("COSE: protected header is %s: %w", m.Header.Kind(), ErrHeader)
		}
	}
	if err := m.checkCritical(); err != nil {
		return nil, err
	}
	if err := m.readHeaders(); err != nil {
		return nil, err
	}
	return m, nil
}

func knownTags(tags []uint64) bool {
	switch len(tags) {
	case 0:
		return true
	case 1:
		return tags[0] == TagSign1
	case 2:
		return tags[0] == TagCWT && tags[1] == TagSign1
	}
	return false
}

// checkCritical obeys RFC 9052 section 3.1: crit stands in the protected bucket
// and names at least one label, each of which the reader must process. Labels 1
// and 4 are all that is processed here.
func (m *Sign1) checkCritical() error {
	if m.Unprotected.GetInt(labelCrit).Exists() {
		return fmt.Errorf("COSE: crit in the unprotected header: %w", ErrCritical)
	}
	crit := m.Header.GetInt(labelCrit)
	if !crit.Exists() {
		return nil
	}
	if crit.Kind() != cbor.Array || crit.Len() == 0 {
		return fmt.Errorf("COSE: crit names no label: %w", ErrCritical)
	}
	for label := range crit.Elements() {
		n, ok := label.Int()
		if !ok || n != labelAlg && n != labelKID || !m.Header.GetInt(n).Exists() {
			return fmt.Errorf("COSE: crit names a label that is not understood: %w", ErrCritical)
		}
	}
	return nil
}

func (m *Sign1) readHeaders() error {
	alg := m.Header.GetInt(labelAlg)
	if !alg.Exists() {
		alg = m.Unprotected.GetInt(labelAlg)
		m.AlgUnprotected = alg.Exists()
	}
	if alg.Exists() {
		n, ok := alg.Int()
		if !ok {
			return fmt.Errorf("COSE: alg is %s: %w", alg.Kind(), ErrAlgType)
		}
		m.Alg = Algorithm(n)
	}
	kid := m.Header.GetInt(labelKID)
	if !kid.Exists() {
		kid = m.Unprotected.GetInt(labelKID)
		m.KIDUnprotected = kid.Exists()
	}
	if kid.Exists() {
		var ok bool
		if m.KID, ok = kid.Bytes(); !ok {
			return fmt.Errorf("COSE: kid is %s: %w", kid.Kind(), ErrHeader)
		}
	}
	return nil
}

// AppendSigStructure appends the bytes that the signature covers (RFC 9052
// section 4.4), with empty external data.
func (m *Sign1) AppendSigStructure(dst []byte) []byte {
	return appendSigStructure(dst, m.Protected, m.Payload)
}

func appendSigStructure(dst, protected, payload []byte) []byte {
	dst = cbor.AppendArray(dst, 4)
	dst = cbor.AppendText(dst, "Signature1")
	dst = cbor.AppendBytes(dst, protected)
	dst = cbor.AppendBytes(dst, nil)
	return cbor.AppendBytes(dst, payload)
}

// Digest is the SHA-256 of the Sig_structure: both algorithms sign it.
func (m *Sign1) Digest() [sha256.Size]byte {
	// A certificate fits the array, which then stays off the heap.
	var buf [1024]byte
	return sha256.Sum256(m.AppendSigStructure(buf[:0]))
}

// KeyAlgorithm returns the one algorithm that may be used with a public key,
// NoAlgorithm for a key that HCERT does not allow: P-256 only for ES256, since
// the specification's ES256 is ECDSA with P-256 (HCERT section 3.3.2).
func KeyAlgorithm(pub crypto.PublicKey) Algorithm {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return ES256
		}
	case P256Key:
		return ES256
	case *rsa.PublicKey:
		return PS256
	}
	return NoAlgorithm
}

// P256Key is a P-256 public key that checks signatures its own way: r || s of 32
// bytes each over a SHA-256 digest. Its answer must be that of crypto/ecdsa.
type P256Key interface {
	VerifyP256(digest, rs []byte) bool
}

// Verify checks the signature under a key. A message whose algorithm is not
// the key's own fails with ErrAlgNotAllowed, a signature that does not fit with
// ErrSignature. A detached payload must be put into Payload before: without one
// there is nothing that a signature could speak for.
func (m *Sign1) Verify(pub crypto.PublicKey) error {
	alg := KeyAlgorithm(pub)
	if alg == NoAlgorithm || m.Alg != alg {
		return fmt.Errorf("COSE: %s with a key for %s: %w", m.Alg, describe(pub), ErrAlgNotAllowed)
	}
	if m.Payload == nil {
		return fmt.Errorf("COSE: no payload: %w", ErrSignature)
	}
	digest := m.Digest()
	if k, ok := pub.(*rsa.PublicKey); ok {
		// RFC 8230 section 2: the salt is as long as the hash.
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		if rsa.VerifyPSS(k, crypto.SHA256, digest[:], m.Signature, opts) != nil {
			return ErrSignature
		}
		return nil
	}
	// RFC 9053 section 2.1: r and s, each as long as the curve's order.
	if len(m.Signature) != 64 {
		return fmt.Errorf("COSE: an ES256 signature of %d bytes: %w", len(m.Signature), ErrSignature)
	}
	if !VerifyES256(pub, digest[:], m.Signature) {
		return ErrSignature
	}
	return nil
}

// VerifyES256 checks an ECDSA signature r || s of 32 bytes each over a SHA-256
// digest, under a P-256 key of the standard library or a [P256Key]. It is false
// for any other key.
func VerifyES256(pub crypto.PublicKey, digest, rs []byte) bool {
	if KeyAlgorithm(pub) != ES256 || len(rs) != 64 {
		return false
	}
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		var der [72]byte
		return ecdsa.VerifyASN1(k, digest, appendECDSASignature(der[:0], rs))
	case P256Key:
		return k.VerifyP256(digest, rs)
	}
	return false
}

func describe(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case P256Key:
		return "ECDSA P-256"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", k.N.BitLen())
	}
	return fmt.Sprintf("%T", pub)
}

// appendECDSASignature writes the pair r || s of 32 bytes each as the DER
// SEQUENCE that crypto/ecdsa reads (RFC 3279 section 2.2.3).
func appendECDSASignature(dst, rs []byte) []byte {
	at := len(dst)
	dst = append(dst, 0x30, 0)
	dst = appendDERInteger(dst, rs[:32])
	dst = appendDERInteger(dst, rs[32:])
	dst[at+1] = byte(len(dst) - at - 2) // at most 70
	return dst
}

func appendDERInteger(dst, n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	if n[0]&0x80 != 0 {
		dst = append(dst, 2, byte(len(n)+1), 0)
	} else {
		dst = append(dst, 2, byte(len(n)))
	}
	return append(dst, n...)
}

// splitECDSASignature turns the DER of a signer into r || s of 32 bytes each.
func splitECDSASignature(der []byte) ([]byte, error) {
	out := make([]byte, 64)
	rest := der
	if len(rest) < 2 || rest[0] != 0x30 || int(rest[1]) != len(rest)-2 {
		return nil, fmt.Errorf("COSE: the signer returned no ECDSA signature: %w", ErrSignature)
	}
	rest = rest[2:]
	for half := range 2 {
		if len(rest) < 2 || rest[0] != 2 || int(rest[1]) > len(rest)-2 {
			return nil, fmt.Errorf("COSE: the signer returned no ECDSA signature: %w", ErrSignature)
		}
		n := rest[2 : 2+rest[1]]
		rest = rest[2+rest[1]:]
		for len(n) > 0 && n[0] == 0 {
			n = n[1:]
		}
		if len(n) > 32 {
			return nil, fmt.Errorf("COSE: the signer's numbers exceed P-256: %w", ErrSignature)
		}
		copy(out[32*(half+1)-len(n):], n)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("COSE: the signer returned more than two numbers: %w", ErrSignature)
	}
	return out, nil
}

// Sign makes a message over payload: tag 18, alg and kid protected, nothing
// unprotected. The algorithm follows from the signer's key. random is handed to
// the signer (crypto/rand.Reader where fingerprints are made of signatures, see
// RFC 9052 section 8.1 on deterministic nonces).
func Sign(random io.Reader, signer crypto.Signer, kid, payload []byte) ([]byte, error) {
	alg := KeyAlgorithm(signer.Public())
	if alg == NoAlgorithm {
		return nil, fmt.Errorf("COSE: signing with %s: %w", describe(signer.Public()), ErrAlgNotAllowed)
	}
	// Keys in deterministic order: 1 before 4.
	protected := cbor.AppendMap(make([]byte, 0, 16+len(kid)), 2)
	protected = cbor.AppendInt(cbor.AppendInt(protected, labelAlg), int64(alg))
	protected = cbor.AppendBytes(cbor.AppendInt(protected, labelKID), kid)

	var buf [1024]byte
	digest := sha256.Sum256(appendSigStructure(buf[:0], protected, payload))
	var opts crypto.SignerOpts = crypto.SHA256
	if alg == PS256 {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	sig, err := signer.Sign(random, digest[:], opts)
	if err != nil {
		return nil, fmt.Errorf("COSE: signing: %w", err)
	}
	if alg == ES256 {
		if sig, err = splitECDSASignature(sig); err != nil {
			return nil, err
		}
	}
	out := make([]byte, 0, len(protected)+len(payload)+len(sig)+16)
	out = cbor.AppendArray(cbor.AppendTag(out, TagSign1), 4)
	out = cbor.AppendBytes(out, protected)
	out = cbor.AppendMap(out, 0)
	out = cbor.AppendBytes(out, payload)
	return cbor.AppendBytes(out, sig), nil
}
