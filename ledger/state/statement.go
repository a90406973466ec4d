package state

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// Statement is what somebody who would be a member tells the others: itself, and
// the key with which its node would vote. It is given from hand to hand, for the
// genesis or in a proposal, and does nothing by itself.
//
//	statement = [what: "ampoule ledger member", version: 1, member, validator]
//
// It is the payload of a COSE_Sign under the root key and every other key of the
// member, in the form of a transaction's, and under no others; so nobody states the
// key of another. It is for no chain: whoever has it may propose the member anywhere.
type Statement struct {
	Member    Member
	Validator Validator
}

const statementName = "ampoule ledger member"

func (s *Statement) encode() []byte {
	b := appendNum(cbor.AppendText(array(4), statementName), 1)
	return appendValidator(appendMember(b, s.Member), s.Validator)
}

// Sign encodes the statement. The signers are all keys of the member; random is for
// them.
func (s *Statement) Sign(random io.Reader, signers ...crypto.Signer) ([]byte, error) {
	data, err := signTogether(random, s.encode(), signers)
	if err != nil {
		return nil, fmt.Errorf("ledger statement: %w", err)
	}
	return data, nil
}

// ParseStatement reads a statement and checks its signatures. Whether the member is
// who it says is for those to know who take it in.
func ParseStatement(data []byte) (*Statement, error) {
	s, err := parseStatement(data)
	if err != nil {
		return nil, fmt.Errorf("ledger statement: %w", err)
	}
	return s, nil
}

func parseStatement(data []byte) (*Statement, error) {
	o, err := openStatement(data)
	if err != nil {
		return nil, err
	}
	return &o.Statement, o.verify()
}

// openedStatement is a statement that was read, and whose signatures were counted and
// not yet checked.
type openedStatement struct {
	Statement
	message *cose.MultiSign
}

func openStatement(data []byte) (*openedStatement, error) {
	if len(data) > MaxTx {
		return nil, ErrTooLarge
	}
	m, err := cose.ParseMultiSign(data)
	if err != nil {
		return nil, err
	}
	r, err := parse(m.Payload, limits)
	if err != nil {
		return nil, err
	}
	if name, _ := r.next().Text(); name != statementName {
		return nil, ErrForm
	}
	r.number(1, 1)
	o := &openedStatement{Statement{Member: readMember(r), Validator: readValidator(r)}, m}
	if err := r.end(); err != nil {
		return nil, err
	}
	if string(o.encode()) != m.Payload {
		return nil, ErrNotDeterministic
	}
	if o.Validator.Member != o.Member.OID {
		return nil, fmt.Errorf("the validator of another: %w", ErrForm)
	}
	if len(m.Signatures) != len(o.Member.Keys)+1 {
		return nil, fmt.Errorf("%d signatures of %d keys: %w", len(m.Signatures), len(o.Member.Keys)+1, ErrPossession)
	}
	return o, nil
}

// verify checks the signature of each key that the member would have.
func (o *openedStatement) verify() error {
	keys := append(slices.Clone(o.Member.Keys), o.Member.Root)
	public := make([]crypto.PublicKey, len(keys))
	for i, k := range keys {
		public[i] = k.Public
	}
	err := o.message.Verify(public...)
	if errors.Is(err, cose.ErrMissingSignature) {
		return fmt.Errorf("%v: %w", err, ErrPossession)
	}
	return err
}

// Digest is what two people compare before a statement is taken for that of a
// member: the SHA-256 of what it says.
func (s *Statement) Digest() Hash { return sha256.Sum256(s.encode()) }
