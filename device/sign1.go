package device

import (
	"bytes"
	"crypto"
	"io"
	"math"
	"math/big"

	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// What a device or a service signs is a COSE_Sign1 in one form only:
//
//	#6.18([protected: bstr .cbor {1: alg, 4: kid}, unprotected: {}, payload: bstr, signature: bstr .size 64])
//	alg = -7 / -19                   ;; ES256, Ed25519
//	kid = bstr .size 8               ;; first bytes of the thumbprint of the key (RFC 9679)
//
// in the deterministic encoding. Its hash names it, so nobody but the signer may be able
// to make another one of it. Under ES256 anybody could: with r || s, r || n-s is a
// signature too. The lesser of the two is the one that is taken.
const keyIDLen = 8

// KeyID is the key identifier of a signer. It is a hint, and may be so short: who
// looks for the key knows whose it must be.
func KeyID(pub crypto.PublicKey) ([]byte, error) {
	thumbprint, err := cose.Thumbprint(pub)
	if err != nil {
		return nil, err
	}
	return thumbprint[:keyIDLen], nil
}

func allowed(alg cose.Algorithm) bool { return alg == cose.ES256 || alg == cose.Ed25519 }

// envelope is what stands around a payload.
type envelope struct {
	Algorithm cose.Algorithm
	KeyID     []byte
	Hash      Hash // of the whole

	protected, payload, signature []byte
}

// seal signs a payload, and returns the message.
func (e *envelope) seal(random io.Reader, signer crypto.Signer, payload []byte) ([]byte, error) {
	pub := signer.Public()
	kid, err := KeyID(pub)
	if err != nil {
		return nil, err
	}
	alg := cose.SignerAlgorithm(pub)
	if !allowed(alg) {
		return nil, cose.ErrAlgNotAllowed
	}
	protected := appendHeader(nil, alg, kid)
	signature, err := cose.SignDetached(random, signer, protected, payload)
	if err != nil {
		return nil, err
	}
	if alg == cose.ES256 {
		lesser(signature)
	}
	*e = envelope{Algorithm: alg, KeyID: kid, protected: protected, payload: payload, signature: signature}
	return e.append(make([]byte, 0, len(payload)+128)), nil
}

func (e *envelope) verify(pub crypto.PublicKey) error {
	return cose.VerifyDetached(pub, e.Algorithm, e.protected, e.payload, e.signature)
}

// appendHeader has its keys in deterministic order: 1 before 4.
func appendHeader(dst []byte, alg cose.Algorithm, kid []byte) []byte {
	dst = cbor.AppendInt(cbor.AppendInt(cbor.AppendMap(dst, 2), 1), int64(alg))
	return cbor.AppendBytes(cbor.AppendInt(dst, 4), kid)
}

func (e *envelope) append(dst []byte) []byte {
	dst = cbor.AppendArray(cbor.AppendTag(dst, cose.TagSign1), 4)
	dst = cbor.AppendMap(cbor.AppendBytes(dst, e.protected), 0)
	return cbor.AppendBytes(cbor.AppendBytes(dst, e.payload), e.signature)
}

// open reads a message that fills data, of which it keeps parts.
func (e *envelope) open(data []byte) error {
	r := reader{rest: data}
	r.exactly("COSE_Sign1", 0xc0|cose.TagSign1, 0x84)
	e.protected = r.bytes("protected", 32)
	r.exactly("unprotected", 0xa0)
	e.payload = r.bytes("payload", math.MaxInt32)
	e.signature = r.bytes("signature", 64)
	if err := r.end("COSE_Sign1"); err != nil {
		return err
	}
	h := reader{rest: e.protected}
	h.exactly("protected", 0xa2, 1)
	e.Algorithm = cose.Algorithm(h.integer("alg"))
	h.exactly("protected", 4)
	e.KeyID = h.bytes("kid", keyIDLen)
	switch {
	case h.end("protected") != nil:
	case len(e.KeyID) != keyIDLen:
		h.fail("kid", cose.ErrHeader)
	case !allowed(e.Algorithm):
		h.fail(e.Algorithm.String(), cose.ErrAlgNotAllowed)
	case len(e.signature) != 64:
		h.fail("signature", cose.ErrSignature)
	case e.Algorithm == cose.ES256 && bytes.Compare(e.signature[32:], halfOrder) > 0:
		h.fail("the greater of two signatures", cose.ErrSignature)
	}
	return h.err
}

// order is n of P-256 (SEC 2 section 2.4.2), and halfOrder the greatest s that is taken.
var (
	order, _  = new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	halfOrder = new(big.Int).Rsh(order, 1).FillBytes(make([]byte, 32))
)

// lesser turns r || s into r || n-s where that is less.
func lesser(signature []byte) {
	if s := signature[32:]; bytes.Compare(s, halfOrder) > 0 {
		new(big.Int).Sub(order, new(big.Int).SetBytes(s)).FillBytes(s)
	}
}
