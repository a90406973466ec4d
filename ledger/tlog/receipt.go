package tlog

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"slices"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// The kinds of defect of receipts.
const (
	ErrReceipt      = format.Defect("malformed-receipt")
	ErrReceiptSize  = format.Defect("receipt-too-large")
	ErrVDS          = format.Defect("unknown-verifiable-data-structure")
	ErrReceiptKey   = format.Defect("another-receipt-key")
	ErrReceiptCount = format.Defect("too-many-receipts")
)

const (
	// MaxReceipt is the longest receipt, in bytes: one of the longest path under
	// ML-DSA-65.
	MaxReceipt = 8 << 10
	// MaxReceipts is how many a message carries at most.
	MaxReceipts = 8

	receiptKID = 8 // bytes
)

// Header labels of RFC 9942 section 2, the labels of proofs within 396 (section
// 8.2.2.2), and RFC9162_SHA256, the tree of this package (section 8.2.2.1).
const (
	labelAlg      = 1
	labelKID      = 4
	labelReceipts = 394
	labelVDS      = 395
	labelVDP      = 396

	proofInclusion   = -1
	proofConsistency = -2

	vdsRFC9162SHA256 = 1
)

// RootSignature is a notary's signature over the root of a tree. It is made once and
// goes into the receipt of every leaf.
//
//	protected = {1: alg, 4: kid, 395: 1}   ;; ES256, Ed25519 or ML-DSA-65
//	kid       = first 8 bytes of the thumbprint of the notary's key (RFC 9679)
//	payload   = root, detached
//
// The kid is a hint and no more, which is why it may be so short: RFC 9679 gives 32
// bytes, and a receipt would grow by a twentieth.
type RootSignature struct {
	Alg       cose.Algorithm
	KID       [receiptKID]byte
	Signature []byte
}

// ReceiptKID is the key identifier of a notary's key in receipts.
func ReceiptKID(pub crypto.PublicKey) (kid [receiptKID]byte, err error) {
	thumbprint, err := cose.Thumbprint(pub)
	if err != nil {
		return kid, err
	}
	return [receiptKID]byte(thumbprint), nil
}

// SignRoot signs the root of a tree.
func SignRoot(random io.Reader, signer crypto.Signer, root Hash) (*RootSignature, error) {
	kid, err := ReceiptKID(signer.Public())
	if err != nil {
		return nil, err
	}
	s := &RootSignature{Alg: cose.SignerAlgorithm(signer.Public()), KID: kid}
	s.Signature, err = cose.SignDetached(random, signer, s.protected(), root[:])
	return s, err
}

// Verify tells whether the key has signed the root.
func (s *RootSignature) Verify(pub crypto.PublicKey, root Hash) error {
	kid, err := ReceiptKID(pub)
	if err != nil {
		return err
	}
	if kid != s.KID {
		return fmt.Errorf("receipt: by key %x instead of %x: %w", s.KID, kid, ErrReceiptKey)
	}
	return cose.VerifyDetached(pub, s.Alg, s.protected(), root[:], s.Signature)
}

// protected has its keys in deterministic order: 1, 4, 395.
func (s *RootSignature) protected() []byte {
	b := cbor.AppendInt(cbor.AppendInt(cbor.AppendMap(nil, 3), labelAlg), int64(s.Alg))
	b = cbor.AppendBytes(cbor.AppendInt(b, labelKID), s.KID[:])
	return cbor.AppendInt(cbor.AppendInt(b, labelVDS), vdsRFC9162SHA256)
}

// Encode writes the signature by itself, as a receipt without a proof:
//
//	#6.18([protected: bstr, unprotected: {}, payload: nil, signature: bstr])
func (s *RootSignature) Encode() []byte {
	b := cbor.AppendBytes(cbor.AppendArray(cbor.AppendTag(nil, cose.TagSign1), 4), s.protected())
	return cbor.AppendBytes(cbor.AppendNull(cbor.AppendMap(b, 0)), s.Signature)
}

// ParseRootSignature reads what Encode wrote, and nothing else.
func ParseRootSignature(data []byte) (*RootSignature, error) {
	if len(data) > MaxReceipt {
		return nil, fmt.Errorf("signature of a root, %d bytes: %w", len(data), ErrReceiptSize)
	}
	m, err := cose.Parse(data, receiptLimits)
	if err != nil {
		return nil, fmt.Errorf("signature of a root: %w", err)
	}
	if len(m.KID) != receiptKID {
		return nil, fmt.Errorf("signature of a root: key identifier of %d bytes: %w", len(m.KID), ErrReceipt)
	}
	s := &RootSignature{Alg: m.Alg, KID: [receiptKID]byte(m.KID), Signature: m.Signature}
	if s.Alg != cose.ES256 && s.Alg != cose.Ed25519 && s.Alg != cose.MLDSA65 {
		return nil, fmt.Errorf("signature of a root: %s: %w", s.Alg, cose.ErrAlgNotAllowed)
	}
	if !bytes.Equal(s.Encode(), data) {
		return nil, fmt.Errorf("signature of a root: not in its one form: %w", ErrReceipt)
	}
	return s, nil
}

// appendReceipt writes a receipt with one proof (RFC 9942 section 4.3):
//
//	Receipt = #6.18([
//	    protected:   bstr,
//	    unprotected: {396: {label: [proof: bstr]}},
//	    payload:     nil,
//	    signature:   bstr
//	])
func (s *RootSignature) appendReceipt(label int64, proof []byte) []byte {
	b := cbor.AppendArray(cbor.AppendTag(nil, cose.TagSign1), 4)
	b = cbor.AppendBytes(b, s.protected())
	b = cbor.AppendInt(cbor.AppendMap(b, 1), labelVDP)
	b = cbor.AppendInt(cbor.AppendMap(b, 1), label)
	b = cbor.AppendBytes(cbor.AppendArray(b, 1), proof)
	return cbor.AppendBytes(cbor.AppendNull(b), s.Signature)
}

var receiptLimits = cbor.Limits{Depth: 5, Items: 32, Pairs: 4}

// parseReceipt reads what appendReceipt wrote, and nothing else.
func parseReceipt(data []byte, label int64) (*RootSignature, []byte, error) {
	if len(data) > MaxReceipt {
		return nil, nil, fmt.Errorf("receipt of %d bytes: %w", len(data), ErrReceiptSize)
	}
	m, err := cose.Parse(data, receiptLimits)
	if err != nil {
		return nil, nil, fmt.Errorf("receipt: %w", err)
	}
	if vds, ok := m.Header.GetInt(labelVDS).Int(); !ok || vds != vdsRFC9162SHA256 {
		return nil, nil, fmt.Errorf("receipt: %w", ErrVDS)
	}
	s := &RootSignature{Alg: m.Alg, Signature: m.Signature}
	proof, ok := m.Unprotected.GetInt(labelVDP).GetInt(label).Index(0).Bytes()
	if !ok || len(m.KID) != receiptKID {
		return nil, nil, fmt.Errorf("receipt: no such proof, or a key identifier of %d bytes: %w", len(m.KID), ErrReceipt)
	}
	s.KID = [receiptKID]byte(m.KID)
	if s.Alg != cose.ES256 && s.Alg != cose.Ed25519 && s.Alg != cose.MLDSA65 {
		return nil, nil, fmt.Errorf("receipt: %s: %w", s.Alg, cose.ErrAlgNotAllowed)
	}
	if !bytes.Equal(s.appendReceipt(label, proof), data) {
		return nil, nil, fmt.Errorf("receipt: not in its one form: %w", ErrReceipt)
	}
	return s, proof, nil
}

// Receipt says that a leaf is in a batch whose root a notary has signed: RFC 9942
// section 5.2.1, with the proof of a [BatchPath] (docs/spec/receipt.md).
type Receipt struct {
	By   *RootSignature
	Path *BatchPath
}

// Encode writes the receipt: 581 bytes for the last of 2^14 leaves under ES256 or
// Ed25519.
func (r *Receipt) Encode() ([]byte, error) {
	proof, err := r.Path.Encode()
	if err != nil {
		return nil, err
	}
	return r.By.appendReceipt(proofInclusion, proof), nil
}

// ParseReceipt reads a receipt of inclusion. What it takes encodes to the same bytes
// again.
func ParseReceipt(data []byte) (*Receipt, error) {
	s, proof, err := parseReceipt(data, proofInclusion)
	if err != nil {
		return nil, err
	}
	path, err := ParseBatchPath(proof)
	if err != nil {
		return nil, err
	}
	return &Receipt{s, path}, nil
}

// Verify tells whether the leaf is in a batch whose root the key has signed, and
// returns the root. "The inclusion proof and signature are verified in order": the
// path makes the payload of the signature.
func (r *Receipt) Verify(leaf Hash, pub crypto.PublicKey) (Hash, error) {
	root, err := r.Path.Root(leaf)
	if err != nil {
		return Hash{}, err
	}
	return root, r.By.Verify(pub, root)
}

// ConsistencyReceipt says that a log whose newer root a notary has signed continues
// an older one: RFC 9942 section 5.3.1. The signature covers the newer root and not
// its size, which is to be taken from a checkpoint.
type ConsistencyReceipt struct {
	By        *RootSignature
	Old, Size uint64
	Path      []Hash
}

func (r *ConsistencyReceipt) check() error {
	n, err := ConsistencyLength(r.Old, r.Size)
	if err != nil {
		return err
	}
	// RFC 9942: consistency-path: [ + bstr ].
	if n == 0 || n != len(r.Path) {
		return fmt.Errorf("receipt: from %d to %d leaves: %d hashes instead of %d: %w", r.Old, r.Size, len(r.Path), n, ErrPathLength)
	}
	return nil
}

// Encode writes the receipt.
func (r *ConsistencyReceipt) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return r.By.appendReceipt(proofConsistency, appendProof(nil, r.Old, r.Size, r.Path)), nil
}

// ParseConsistencyReceipt reads a receipt of consistency. What it takes encodes to
// the same bytes again.
func ParseConsistencyReceipt(data []byte) (*ConsistencyReceipt, error) {
	s, proof, err := parseReceipt(data, proofConsistency)
	if err != nil {
		return nil, err
	}
	old, size, path, err := parseProof(proof, ErrReceipt)
	if err != nil {
		return nil, err
	}
	r := &ConsistencyReceipt{s, old, size, path}
	return r, r.check()
}

// Verify tells whether the log whose newer root the key has signed continues the one
// of old leaves with oldRoot, both of which the verifier has itself. It returns the
// newer root.
func (r *ConsistencyReceipt) Verify(old uint64, oldRoot Hash, pub crypto.PublicKey) (Hash, error) {
	if old != r.Old {
		return Hash{}, fmt.Errorf("receipt: from %d leaves instead of %d: %w", r.Old, old, ErrSize)
	}
	root, err := ConsistencyRoot(r.Old, r.Size, oldRoot, r.Path)
	if err != nil {
		return Hash{}, err
	}
	return root, r.By.Verify(pub, root)
}

// Receipts returns the receipts that a message carries in its unprotected header
// 394, as they are; none where there is no such header.
func Receipts(m *cose.Sign1) ([][]byte, error) {
	v := m.Unprotected.GetInt(labelReceipts)
	if !v.Exists() {
		return nil, nil
	}
	if v.Kind() != cbor.Array || v.Len() == 0 {
		return nil, fmt.Errorf("receipts are %s of %d: %w", v.Kind(), v.Len(), ErrReceipt)
	}
	if v.Len() > MaxReceipts {
		return nil, fmt.Errorf("%d receipts: %w", v.Len(), ErrReceiptCount)
	}
	var all [][]byte
	for e := range v.Elements() {
		r, ok := e.Bytes()
		if !ok {
			return nil, fmt.Errorf("receipt %d is %s: %w", len(all), e.Kind(), ErrReceipt)
		}
		if len(r) > MaxReceipt {
			return nil, fmt.Errorf("receipt %d of %d bytes: %w", len(all), len(r), ErrReceiptSize)
		}
		all = append(all, r)
	}
	return all, nil
}

// AttachReceipts puts receipts into a COSE_Sign1 beside those that it carries. Its
// protected header, payload and signature stay as they are, byte by byte, and so do
// its tags.
func AttachReceipts(message []byte, receipts ...[]byte) ([]byte, error) {
	m, err := cose.Parse(message, cbor.DefaultLimits)
	if err != nil {
		return nil, err
	}
	all, err := Receipts(m)
	if err != nil {
		return nil, err
	}
	if all = append(all, receipts...); len(all) == 0 || len(all) > MaxReceipts {
		return nil, fmt.Errorf("%d receipts: %w", len(all), ErrReceiptCount)
	}
	list := cbor.AppendArray(nil, len(all))
	for _, r := range all {
		if len(r) > MaxReceipt {
			return nil, fmt.Errorf("receipt of %d bytes: %w", len(r), ErrReceiptSize)
		}
		list = cbor.AppendBytes(list, r)
	}
	type pair struct{ key, value []byte }
	pairs := []pair{{cbor.AppendInt(nil, labelReceipts), list}}
	for key, value := range m.Unprotected.Pairs() {
		if n, ok := key.Int(); !ok || n != labelReceipts {
			pairs = append(pairs, pair{key.Encoded(), value.Encoded()})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })

	var b []byte
	for _, tag := range m.Tags {
		b = cbor.AppendTag(b, tag)
	}
	b = cbor.AppendBytes(cbor.AppendArray(b, 4), m.Protected)
	b = cbor.AppendMap(b, len(pairs))
	for _, p := range pairs {
		b = append(append(b, p.key...), p.value...)
	}
	if m.Payload == nil {
		b = cbor.AppendNull(b)
	} else {
		b = cbor.AppendBytes(b, m.Payload)
	}
	return cbor.AppendBytes(b, m.Signature), nil
}
