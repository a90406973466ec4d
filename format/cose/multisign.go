package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"ampoule/format"
	"ampoule/format/cbor"
)

// The kinds of defect of messages with several signers, besides those above.
const (
	ErrNotSign          = format.Defect("not-sign")
	ErrDetached         = format.Defect("detached-payload")
	ErrNotDeterministic = format.Defect("not-deterministic")
	ErrDuplicateSigner  = format.Defect("duplicate-signer")
	ErrMissingSignature = format.Defect("missing-signature")
	ErrTooManySigners   = format.Defect("too-many-signers")
	ErrKey              = format.Defect("bad-key")
)

// TagSign is the tag of a COSE_Sign (RFC 9052 table 1).
const TagSign = 98

// MultiSign is a decoded COSE_Sign (RFC 9052 section 4.1), which several keys
// have signed side by side. Only Ampoule's own data come so, and they are taken
// in one form only:
//
//	COSE_Sign = #6.98([
//	    protected:   h'',
//	    unprotected: {},
//	    payload:     bstr,
//	    signatures:  [1*8 [
//	        protected:   bstr .cbor {1: alg, 4: kid},
//	        unprotected: {},
//	        signature:   bstr
//	    ]]
//	])
//	alg = -7 / -19 / -49               ;; ES256, Ed25519, ML-DSA-65
//	kid = bstr .size 32                ;; thumbprint of the key, see Thumbprint
//	Sig_structure = ["Signature", h'', sign_protected, h'', payload]
//
// in the deterministic encoding. No two signatures are by the same key. A
// signature covers the payload and its own header; the list of signatures is
// covered by nothing, so anybody can add or remove some: see [MultiSign.Verify]
// for what may be concluded.
type MultiSign struct {
	Payload    string
	Signatures []Signature
}

// Signature is what one signer added.
type Signature struct {
	Alg       Algorithm
	KID       []byte
	protected []byte
	signature []byte
}

const maxSigners = 8

// multiSignLimits leave room around the largest message, so that what is wrong
// with a larger one has a better name than its size.
var multiSignLimits = cbor.Limits{Depth: 5, Items: 128, Pairs: 8}

// ParseMultiSign reads one message that fills data. How long it may be is the
// caller's to say; memory stays below three times its length.
func ParseMultiSign(data []byte) (*MultiSign, error) {
	v, err := cbor.Parse(data, multiSignLimits)
	if err != nil {
		return nil, fmt.Errorf("COSE_Sign: %w", err)
	}
	tag, v, ok := v.Tag()
	if !ok || tag != TagSign {
		return nil, fmt.Errorf("COSE_Sign: tag %d: %w", tag, ErrWrongTag)
	}
	if v.Kind() != cbor.Array || v.Len() != 4 {
		return nil, fmt.Errorf("COSE_Sign: %s of %d elements: %w", v.Kind(), v.Len(), ErrNotSign)
	}
	if err := checkEmptyHeaders(v.Index(0), v.Index(1)); err != nil {
		return nil, fmt.Errorf("COSE_Sign: %w", err)
	}
	m := new(MultiSign)
	if v.Index(2).IsNull() {
		return nil, fmt.Errorf("COSE_Sign: %w", ErrDetached)
	}
	if m.Payload, ok = v.Index(2).ByteString(); !ok {
		return nil, fmt.Errorf("COSE_Sign: payload is %s: %w", v.Index(2).Kind(), ErrNotSign)
	}
	signatures := v.Index(3)
	switch {
	case signatures.Kind() != cbor.Array:
		return nil, fmt.Errorf("COSE_Sign: signatures are %s: %w", signatures.Kind(), ErrNotSign)
	case signatures.Len() == 0:
		return nil, fmt.Errorf("COSE_Sign: %w", ErrMissingSignature)
	case signatures.Len() > maxSigners:
		return nil, fmt.Errorf("COSE_Sign: %d signatures: %w", signatures.Len(), ErrTooManySigners)
	}
	for e := range signatures.Elements() {
		s, err := readSignature(e)
		if err != nil {
			return nil, fmt.Errorf("COSE_Sign: signature %d: %w", len(m.Signatures), err)
		}
		if m.find(s.KID) != nil {
			return nil, fmt.Errorf("COSE_Sign: two signatures by key %x: %w", s.KID, ErrDuplicateSigner)
		}
		m.Signatures = append(m.Signatures, s)
	}
	// Whatever is written in another way is longer: a head that is not the shortest,
	// or a length that is not told at the start.
	if n := len(m.head()) + len(m.Payload) + len(m.tail()); n != len(data) {
		return nil, fmt.Errorf("COSE_Sign: %d bytes instead of %d: %w", len(data), n, ErrNotDeterministic)
	}
	return m, nil
}

// checkEmptyHeaders refuses headers of the whole message: crit by its own name,
// so that a verdict tells what was asked and not understood.
func checkEmptyHeaders(protected, unprotected cbor.Value) error {
	p, ok := protected.ByteString()
	if !ok || unprotected.Kind() != cbor.Map {
		return fmt.Errorf("headers are %s and %s: %w", protected.Kind(), unprotected.Kind(), ErrNotSign)
	}
	if p == "" && unprotected.Len() == 0 {
		return nil
	}
	return headerDefect(p, unprotected)
}

func headerDefect(protected string, unprotected cbor.Value) error {
	header, err := cbor.ParseString(protected, multiSignLimits)
	if err == nil && header.GetInt(labelCrit).Exists() || unprotected.GetInt(labelCrit).Exists() {
		return ErrCritical
	}
	return ErrHeader
}

func readSignature(v cbor.Value) (Signature, error) {
	if v.Kind() != cbor.Array || v.Len() != 3 {
		return Signature{}, fmt.Errorf("%s of %d elements: %w", v.Kind(), v.Len(), ErrNotSign)
	}
	return readSignatureParts(v.Index(0), v.Index(1), v.Index(2))
}

func readSignatureParts(v0, unprotected, v2 cbor.Value) (Signature, error) {
	protected, ok0 := v0.ByteString()
	signature, ok2 := v2.Bytes()
	if !ok0 || unprotected.Kind() != cbor.Map || !ok2 {
		return Signature{}, fmt.Errorf("elements are %s, %s, %s: %w", v0.Kind(), unprotected.Kind(), v2.Kind(), ErrNotSign)
	}
	header, err := cbor.ParseString(protected, multiSignLimits)
	if err != nil {
		return Signature{}, fmt.Errorf("protected header: %w", err)
	}
	alg, ok := header.GetInt(labelAlg).Int()
	kid, okKID := header.GetInt(labelKID).Bytes()
	s := Signature{Alg: Algorithm(alg), KID: kid, protected: []byte(protected), signature: signature}
	switch {
	case !ok || !okKID || unprotected.Len() != 0 || protected != string(signerHeader(s.Alg, kid)):
		return Signature{}, headerDefect(protected, unprotected)
	case s.Alg != ES256 && s.Alg != Ed25519 && s.Alg != MLDSA65:
		return Signature{}, fmt.Errorf("%s: %w", s.Alg, ErrAlgNotAllowed)
	case len(kid) != sha256.Size:
		return Signature{}, fmt.Errorf("kid of %d bytes: %w", len(kid), ErrHeader)
	}
	return s, nil
}

// signerHeader has its keys in deterministic order: 1 before 4.
func signerHeader(alg Algorithm, kid []byte) []byte {
	b := cbor.AppendInt(cbor.AppendInt(cbor.AppendMap(nil, 2), labelAlg), int64(alg))
	return cbor.AppendBytes(cbor.AppendInt(b, labelKID), kid)
}

func (m *MultiSign) find(kid []byte) *Signature {
	for i := range m.Signatures {
		if bytes.Equal(m.Signatures[i].KID, kid) {
			return &m.Signatures[i]
		}
	}
	return nil
}

// Names reports whether there is a signature that says it is by the key.
func (m *MultiSign) Names(pub crypto.PublicKey) bool {
	kid, err := Thumbprint(pub)
	return err == nil && m.find(kid) != nil
}

// head is what stands before the payload, and tail what stands after it.
func (m *MultiSign) head() []byte {
	b := cbor.AppendArray(cbor.AppendTag(nil, TagSign), 4)
	b = cbor.AppendMap(cbor.AppendBytes(b, nil), 0)
	return cbor.AppendBytesHead(b, len(m.Payload))
}

func (m *MultiSign) tail() []byte {
	b := cbor.AppendArray(nil, len(m.Signatures))
	for _, s := range m.Signatures {
		b = cbor.AppendBytes(cbor.AppendArray(b, 3), s.protected)
		b = cbor.AppendBytes(cbor.AppendMap(b, 0), s.signature)
	}
	return b
}

// Verify checks that each of the keys has signed. A key without a signature
// fails with ErrMissingSignature, one with a signature of another algorithm with
// ErrAlgNotAllowed, and one that does not fit with ErrSignature.
//
// Signatures of other keys are not looked at. They can neither help, since each
// of the given keys must have signed, nor harm: whoever could add one could
// remove it as well, and a message that is signed under an old key and its
// successor must satisfy those who know only one of the two.
func (m *MultiSign) Verify(keys ...crypto.PublicKey) error {
	if len(keys) == 0 {
		return fmt.Errorf("COSE_Sign: no key: %w", ErrMissingSignature)
	}
	var structure []byte
	for _, pub := range keys {
		kid, err := Thumbprint(pub)
		if err != nil {
			return fmt.Errorf("COSE_Sign: %w", err)
		}
		s := m.find(kid)
		if s == nil {
			return fmt.Errorf("COSE_Sign: none by the %s key %x: %w", SignerAlgorithm(pub), kid, ErrMissingSignature)
		}
		if structure, err = m.verify(structure[:0], s, pub); err != nil {
			return err
		}
	}
	return nil
}

// VerifyAt checks signature i alone, under a key that the caller found by its
// kid.
func (m *MultiSign) VerifyAt(i int, pub crypto.PublicKey) error {
	_, err := m.verify(nil, &m.Signatures[i], pub)
	return err
}

// verify returns the buffer of the structure, for the next one.
func (m *MultiSign) verify(buf []byte, s *Signature, pub crypto.PublicKey) ([]byte, error) {
	alg := SignerAlgorithm(pub)
	if alg == NoAlgorithm || s.Alg != alg {
		return buf, fmt.Errorf("COSE_Sign: %s with a key for %s: %w", s.Alg, alg, ErrAlgNotAllowed)
	}
	buf = m.appendStructure(buf, s.protected)
	if !verifyRaw(pub, buf, s.signature) {
		return buf, fmt.Errorf("COSE_Sign: by the %s key %x: %w", alg, s.KID, ErrSignature)
	}
	return buf, nil
}

// appendStructure appends the bytes that a signature covers (RFC 9052 section
// 4.4).
func (m *MultiSign) appendStructure(dst, protected []byte) []byte {
	if dst == nil { // in one piece, since it holds the payload
		dst = make([]byte, 0, len(m.Payload)+len(protected)+32)
	}
	dst = cbor.AppendText(cbor.AppendArray(dst, 5), "Signature")
	dst = cbor.AppendBytes(dst, nil)
	dst = cbor.AppendBytes(dst, protected)
	dst = cbor.AppendBytes(dst, nil)
	dst = cbor.AppendBytesHead(dst, len(m.Payload))
	return append(dst, m.Payload...)
}

// SignerAlgorithm returns the one algorithm of a key that signs Ampoule's own
// data, NoAlgorithm for others. It is apart from [KeyAlgorithm], which speaks of
// certificates: a key for Ed25519 must not become good for those.
func SignerAlgorithm(pub crypto.PublicKey) Algorithm {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return ES256
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return Ed25519
		}
	case *mldsa65.PublicKey:
		return MLDSA65
	}
	return NoAlgorithm
}

// verifyRaw checks a signature over a message under the key's own algorithm.
func verifyRaw(pub crypto.PublicKey, message, signature []byte) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(message)
		return VerifyES256(k, digest[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, signature)
	case *mldsa65.PublicKey:
		// RFC 9964 section 5: the context is the empty string.
		return len(signature) == mldsa65.SignatureSize && mldsa65.Verify(k, message, nil, signature)
	}
	return false
}

// SignMulti makes a message that every one of the signers has signed. The
// algorithms follow from their keys. An ML-DSA signer gets the message itself,
// and whether it draws randomness is its own affair (FIPS 204 section 3.4 allows
// either).
func SignMulti(random io.Reader, payload []byte, signers ...crypto.Signer) ([]byte, error) {
	if len(signers) == 0 {
		return nil, fmt.Errorf("COSE_Sign: %w", ErrMissingSignature)
	}
	if len(signers) > maxSigners {
		return nil, fmt.Errorf("COSE_Sign: %d signers: %w", len(signers), ErrTooManySigners)
	}
	m := &MultiSign{Payload: string(payload)}
	var structure []byte
	for _, signer := range signers {
		pub := signer.Public()
		kid, err := Thumbprint(pub)
		if err != nil {
			return nil, fmt.Errorf("COSE_Sign: %w", err)
		}
		if m.find(kid) != nil {
			return nil, fmt.Errorf("COSE_Sign: two signatures by key %x: %w", kid, ErrDuplicateSigner)
		}
		s := Signature{Alg: SignerAlgorithm(pub), KID: kid}
		s.protected = signerHeader(s.Alg, kid)
		structure = m.appendStructure(structure[:0], s.protected)
		if s.signature, err = signRaw(random, signer, s.Alg, structure); err != nil {
			return nil, err
		}
		if !verifyRaw(pub, structure, s.signature) {
			return nil, fmt.Errorf("COSE_Sign: the signer of key %x returned another's signature: %w", kid, ErrSignature)
		}
		m.Signatures = append(m.Signatures, s)
	}
	return append(append(m.head(), payload...), m.tail()...), nil
}

// SignES256 makes an ECDSA signature r || s of 32 bytes each over the SHA-256 of a
// message, with a P-256 key.
func SignES256(random io.Reader, signer crypto.Signer, message []byte) ([]byte, error) {
	if KeyAlgorithm(signer.Public()) != ES256 {
		return nil, fmt.Errorf("ES256: %s: %w", describe(signer.Public()), ErrKey)
	}
	return signRaw(random, signer, ES256, message)
}

func signRaw(random io.Reader, signer crypto.Signer, alg Algorithm, message []byte) ([]byte, error) {
	var opts crypto.SignerOpts = crypto.Hash(0) // the message itself, not its hash
	if alg == ES256 {
		digest := sha256.Sum256(message)
		message, opts = digest[:], crypto.SHA256
	}
	signature, err := signer.Sign(random, message, opts)
	if err != nil {
		return nil, fmt.Errorf("COSE_Sign: signing with %s: %w", alg, err)
	}
	if alg == ES256 {
		return splitECDSASignature(signature)
	}
	return signature, nil
}
