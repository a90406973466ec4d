package state

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/ledger/tlog"
)

// MaxTx bounds an encoded transaction, and a genesis: both are entries of the log.
const MaxTx = tlog.MaxEntry

// Kind names what a transaction asks for.
type Kind string

// Body is what a transaction asks for: one of the types of this package that
// stand in the table of kinds.
type Body interface {
	Kind() Kind
	append(dst []byte) []byte
	read(r *reader)
	apply(x *run) error
}

// kinds makes an empty body of each kind.
var kinds = map[Kind]func() Body{
	"fp.batch":         func() Body { return new(Batch) },
	"fp.single":        func() Body { return new(SingleLeaf) },
	"status.anchor":    func() Body { return new(StatusAnchor) },
	"custody.anchor":   func() Body { return new(CustodyAnchor) },
	"telemetry.anchor": func() Body { return new(TelemetryAnchor) },

	"reg.issuer.put":       func() Body { return &Put{Role: Issuer} },
	"reg.issuer.rotate":    func() Body { return &Rotate{Role: Issuer} },
	"reg.issuer.suspend":   func() Body { return &Suspend{Role: Issuer} },
	"reg.issuer.revoke":    func() Body { return &Revoke{Role: Issuer} },
	"reg.device.put":       func() Body { return &Put{Role: Device} },
	"reg.device.rotate":    func() Body { return &Rotate{Role: Device} },
	"reg.device.suspend":   func() Body { return &Suspend{Role: Device} },
	"reg.device.revoke":    func() Body { return &Revoke{Role: Device} },
	"reg.verifier.put":     func() Body { return &Put{Role: Verifier} },
	"reg.verifier.rotate":  func() Body { return &Rotate{Role: Verifier} },
	"reg.verifier.suspend": func() Body { return &Suspend{Role: Verifier} },
	"reg.verifier.revoke":  func() Body { return &Revoke{Role: Verifier} },
	"reg.witness.put":      func() Body { return &Put{Role: Witness} },
	"reg.witness.rotate":   func() Body { return &Rotate{Role: Witness} },
	"reg.witness.suspend":  func() Body { return &Suspend{Role: Witness} },
	"reg.witness.revoke":   func() Body { return &Revoke{Role: Witness} },
	"reg.member.rotate":    func() Body { return &Rotate{Role: MemberRole} },

	"dsa.propose": func() Body { return new(AgreementPropose) },
	"dsa.accept":  func() Body { return new(AgreementAccept) },
	"dsa.attest":  func() Body { return new(AgreementAttest) },
	"dsa.revoke":  func() Body { return new(AgreementRevoke) },

	"gov.propose": func() Body { return new(Propose) },
	"gov.vote":    func() Body { return new(Vote) },

	"anchor.out": func() Body { return &Anchor{} },
	"anchor.in":  func() Body { return &Anchor{In: true} },

	"contract.propose":  func() Body { return new(ContractPropose) },
	"contract.review":   func() Body { return new(ContractReview) },
	"contract.activate": func() Body { return &ContractStep{Step: "activate"} },
	"contract.pause":    func() Body { return &ContractStep{Step: "pause"} },
	"contract.retire":   func() Body { return &ContractStep{Step: "retire"} },
}

// Kinds are the kinds of transactions, sorted.
func Kinds() []Kind {
	out := make([]Kind, 0, len(kinds))
	for k := range kinds {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Urgent kinds have a share of each block and a quota of their own: whoever
// floods the ledger must not keep others from voting or from revoking.
func (k Kind) Urgent() bool {
	switch k {
	case "gov.propose", "gov.vote", "reg.member.rotate",
		"reg.issuer.suspend", "reg.issuer.revoke", "reg.device.suspend", "reg.device.revoke",
		"reg.verifier.suspend", "reg.verifier.revoke", "reg.witness.suspend", "reg.witness.revoke",
		"contract.pause":
		return true
	}
	return false
}

// Tx is one transaction. It is the payload of a COSE_Sign1, or of a COSE_Sign
// where more than one key has to sign:
//
//	tx = [
//	    version:    1,
//	    chain:      bstr .size 32,   ;; SHA-256 of the genesis
//	    actor:      ~oid,            ;; RFC 9090, without its tag
//	    seq:        1..9007199254740991,  ;; +1 with each of this actor's
//	    validUntil: uint,            ;; last height
//	    kind:       tstr,
//	    body:       [...]            ;; by kind
//	]
//
// Both messages are taken in the deterministic encoding alone, see [cose.Single]
// and [cose.MultiSign]; the signatures of a COSE_Sign, two or more, ascend by
// their kid. There is one encoding of a transaction and its signatures.
type Tx struct {
	Chain           Hash
	Actor           OID
	Seq, ValidUntil uint64
	Body            Body

	signers []signer
	payload string
	digest  Hash // of the message: one that was checked need not be checked again
	size    int
}

// signer is one signature of a message, not yet checked.
type signer struct {
	kid   Hash
	alg   cose.Algorithm
	check func(crypto.PublicKey) error
}

// txVersion is the first element of every payload.
const txVersion = 1

// Work of a transaction, in units of about ten microseconds: a signature check is
// the greater part of nearly every one.
const (
	workBase      = 1
	workSignature = 10
	workKiB       = 1
	maxTxWork     = workBase + (8+maxKeys+1)*workSignature + MaxTx/1024*workKiB + workKiB
)

// Work is what a block is charged for the transaction. The signatures of a statement
// in it count as its own.
func (t *Tx) Work() uint64 {
	n := len(t.signers)
	if s := t.statement(); s != nil {
		n += len(s.message.Signatures)
	}
	return workBase + workSignature*uint64(n) + workKiB*uint64(t.size/1024+1)
}

// statement is that of the member whom the transaction would admit, or nil.
func (t *Tx) statement() *openedStatement {
	if b, ok := t.Body.(*Propose); ok {
		return b.statement()
	}
	return nil
}

// ID is the SHA-256 of the payload: it stays the same whoever signs it again.
func (t *Tx) ID() Hash { return sha256.Sum256([]byte(t.payload)) }

// Payload is what is signed.
func (t *Tx) Payload() []byte {
	b := appendNum(array(7), txVersion)
	b = appendOID(appendHash(b, t.Chain), t.Actor)
	b = appendNum(appendNum(b, t.Seq), t.ValidUntil)
	return t.Body.append(cbor.AppendText(b, string(t.Body.Kind())))
}

// Sign encodes the transaction under one key, or under several at once. random is
// for the signers.
func (t *Tx) Sign(random io.Reader, signers ...crypto.Signer) ([]byte, error) {
	if len(signers) == 1 {
		return cose.SignSingle(random, t.Payload(), signers[0])
	}
	return signTogether(random, t.Payload(), signers)
}

// signTogether makes a COSE_Sign; the order of the signatures is part of the
// encoding.
func signTogether(random io.Reader, payload []byte, signers []crypto.Signer) ([]byte, error) {
	type named struct {
		kid    []byte
		signer crypto.Signer
	}
	var sorted []named
	for _, s := range signers {
		kid, err := cose.Thumbprint(s.Public())
		if err != nil {
			return nil, err
		}
		sorted = append(sorted, named{kid, s})
	}
	slices.SortFunc(sorted, func(a, b named) int { return bytes.Compare(a.kid, b.kid) })
	all := make([]crypto.Signer, len(sorted))
	for i := range sorted {
		all[i] = sorted[i].signer
	}
	return cose.SignMulti(random, payload, all...)
}

// ParseTx reads a transaction. It checks no signature.
func ParseTx(data []byte) (*Tx, error) {
	if len(data) > MaxTx {
		return nil, fmt.Errorf("transaction of %d bytes: %w", len(data), ErrTooLarge)
	}
	t := &Tx{digest: sha256.Sum256(data), size: len(data)}
	if len(data) > 0 && data[0] == 0xc0|cose.TagSign1 {
		m, err := cose.ParseSingle(data)
		if err != nil {
			return nil, fmt.Errorf("transaction: %w", err)
		}
		t.payload = m.Payload
		t.signers = []signer{{Hash(m.Signature.KID), m.Signature.Alg, m.Verify}}
	} else {
		m, err := cose.ParseMultiSign(data)
		if err != nil {
			return nil, fmt.Errorf("transaction: %w", err)
		}
		t.payload = m.Payload
		for i, s := range m.Signatures {
			t.signers = append(t.signers, signer{Hash(s.KID), s.Alg, func(pub crypto.PublicKey) error { return m.VerifyAt(i, pub) }})
		}
		// One signature belongs into the other message: one encoding for one thing.
		if len(t.signers) < 2 || !ascending(t.signers, func(a, b signer) int { return compareHash(a.kid, b.kid) }) {
			return nil, fmt.Errorf("transaction: signatures: %w", ErrNotAscending)
		}
	}
	if err := t.readPayload(); err != nil {
		return nil, fmt.Errorf("transaction: %w", err)
	}
	return t, nil
}

func (t *Tx) readPayload() error {
	r, err := parse(t.payload, limits)
	if err != nil {
		return err
	}
	r.number(txVersion, txVersion)
	t.Chain, t.Actor = r.hash(), r.oid()
	t.Seq, t.ValidUntil = r.number(1, maxNumber), r.number(0, maxNumber)
	kind, _ := r.next().Text()
	if r.err != nil {
		return r.err
	}
	empty, ok := kinds[Kind(kind)]
	if !ok {
		return ErrKind
	}
	t.Body = empty()
	body := inside(r)
	t.Body.read(body)
	r.close(body)
	if err := r.end(); err != nil {
		return err
	}
	if string(t.Payload()) != t.payload {
		return ErrNotDeterministic
	}
	return nil
}

// newKeys are the keys that a body registers; each must have signed itself.
func newKeys(b Body) []Key {
	if b, ok := b.(interface{ newKeys() []Key }); ok {
		return b.newKeys()
	}
	return nil
}

func compareOID(a, b OID) int { return cmp.Compare(a, b) }
