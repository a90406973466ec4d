package cose

import (
	"crypto"
	"fmt"
	"io"

	"ampoule/format/cbor"
)

// Single is a decoded COSE_Sign1 of Ampoule's own data. Unlike [Sign1], which
// takes whatever issuers send, it is taken in one form only, with the algorithms
// and key identifiers of [MultiSign]:
//
//	COSE_Sign1 = #6.18([
//	    protected:   bstr .cbor {1: alg, 4: kid},
//	    unprotected: {},
//	    payload:     bstr,
//	    signature:   bstr
//	])
//	Sig_structure = ["Signature1", protected, h'', payload]
type Single struct {
	Payload   string
	Signature Signature
}

// ParseSingle reads one message that fills data. How long it may be is the
// caller's to say.
func ParseSingle(data []byte) (*Single, error) {
	v, err := cbor.Parse(data, multiSignLimits)
	if err != nil {
		return nil, fmt.Errorf("COSE_Sign1: %w", err)
	}
	tag, v, ok := v.Tag()
	if !ok || tag != TagSign1 {
		return nil, fmt.Errorf("COSE_Sign1: tag %d: %w", tag, ErrWrongTag)
	}
	if v.Kind() != cbor.Array || v.Len() != 4 {
		return nil, fmt.Errorf("COSE_Sign1: %s of %d elements: %w", v.Kind(), v.Len(), ErrNotSign1)
	}
	if v.Index(2).IsNull() {
		return nil, fmt.Errorf("COSE_Sign1: %w", ErrDetached)
	}
	payload, ok := v.Index(2).ByteString()
	if !ok {
		return nil, fmt.Errorf("COSE_Sign1: payload is %s: %w", v.Index(2).Kind(), ErrNotSign1)
	}
	s, err := readSignatureParts(v.Index(0), v.Index(1), v.Index(3))
	if err != nil {
		return nil, fmt.Errorf("COSE_Sign1: %w", err)
	}
	m := &Single{Payload: payload, Signature: s}
	// As in ParseMultiSign: another encoding is longer.
	if n := len(m.Append(nil)); n != len(data) {
		return nil, fmt.Errorf("COSE_Sign1: %d bytes instead of %d: %w", len(data), n, ErrNotDeterministic)
	}
	return m, nil
}

// Append appends the message.
func (m *Single) Append(dst []byte) []byte {
	dst = cbor.AppendArray(cbor.AppendTag(dst, TagSign1), 4)
	dst = cbor.AppendBytes(dst, m.Signature.protected)
	dst = cbor.AppendMap(dst, 0)
	dst = append(cbor.AppendBytesHead(dst, len(m.Payload)), m.Payload...)
	return cbor.AppendBytes(dst, m.Signature.signature)
}

// Verify checks the signature under a key that the caller found by the kid of
// the message.
func (m *Single) Verify(pub crypto.PublicKey) error {
	if alg := SignerAlgorithm(pub); alg == NoAlgorithm || m.Signature.Alg != alg {
		return fmt.Errorf("COSE_Sign1: %s with a key for %s: %w", m.Signature.Alg, alg, ErrAlgNotAllowed)
	}
	var buf [512]byte
	if !verifyRaw(pub, m.appendStructure(buf[:0]), m.Signature.signature) {
		return fmt.Errorf("COSE_Sign1: by the key %x: %w", m.Signature.KID, ErrSignature)
	}
	return nil
}

func (m *Single) appendStructure(dst []byte) []byte {
	dst = cbor.AppendText(cbor.AppendArray(dst, 4), "Signature1")
	dst = cbor.AppendBytes(dst, m.Signature.protected)
	dst = cbor.AppendBytes(dst, nil)
	return append(cbor.AppendBytesHead(dst, len(m.Payload)), m.Payload...)
}

// SignSingle makes a message of Ampoule's own data under one key.
func SignSingle(random io.Reader, payload []byte, signer crypto.Signer) ([]byte, error) {
	pub := signer.Public()
	kid, err := Thumbprint(pub)
	if err != nil {
		return nil, fmt.Errorf("COSE_Sign1: %w", err)
	}
	m := &Single{Payload: string(payload), Signature: Signature{Alg: SignerAlgorithm(pub), KID: kid}}
	m.Signature.protected = signerHeader(m.Signature.Alg, kid)
	structure := m.appendStructure(nil)
	if m.Signature.signature, err = signRaw(random, signer, m.Signature.Alg, structure); err != nil {
		return nil, err
	}
	if !verifyRaw(pub, structure, m.Signature.signature) {
		return nil, fmt.Errorf("COSE_Sign1: the signer of key %x returned another's signature: %w", kid, ErrSignature)
	}
	return m.Append(nil), nil
}
