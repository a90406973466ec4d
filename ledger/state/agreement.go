package state

import (
	"slices"

	"ampoule/format/cbor"
)

// What a party of an agreement is (X.1408).
const (
	Owner      = 1
	Controller = 2
	Processor  = 3
)

// Party is one party of an agreement.
type Party struct {
	OID  OID
	Role uint64
}

func appendParty(dst []byte, p Party) []byte {
	return appendNum(appendOID(cbor.AppendArray(dst, 2), p.OID), p.Role)
}

func readParty(r *reader) (p Party) {
	in := inside(r)
	p.OID, p.Role = in.oid(), in.number(Owner, Processor)
	r.close(in)
	return p
}

func compareParty(a, b Party) int { return compareOID(a.OID, b.OID) }

// maxPurpose bounds the codes of purposes, which an agreement's text explains.
const maxPurpose = 255

// AgreementPropose proposes an agreement about the sharing of data, of which the
// ledger knows the hash. The proposer is a party, and has thereby accepted.
//
//	dsa.propose = [
//	    agreement: bstr .size 32,             ;; SHA-256 of the text
//	    parties:   [2*8 [~oid, role: 1..3]],  ;; owner, controller, processor; ascending
//	    purposes:  [1*16 0..255],             ;; codes, ascending
//	    from:      uint,                      ;; seconds
//	    until:     uint                       ;; first second after
//	]
type AgreementPropose struct {
	Agreement   Hash
	Parties     []Party
	Purposes    []uint64
	From, Until uint64
}

// Kind names the kind.
func (*AgreementPropose) Kind() Kind { return "dsa.propose" }

func (b *AgreementPropose) append(dst []byte) []byte {
	dst = appendList(appendHash(cbor.AppendArray(dst, 5), b.Agreement), b.Parties, appendParty)
	return appendNum(appendNum(appendList(dst, b.Purposes, appendNum), b.From), b.Until)
}

func (b *AgreementPropose) read(r *reader) {
	b.Agreement = r.hash()
	b.Parties = readList(r, 2, 8, readParty)
	b.Purposes = readList(r, 1, 16, func(r *reader) uint64 { return r.number(0, maxPurpose) })
	b.From, b.Until = r.number(0, maxNumber), r.number(0, maxNumber)
	if !ascending(b.Parties, compareParty) || !ascending(b.Purposes, func(a, b uint64) int { return int(a) - int(b) }) {
		r.fail("parties or purposes", ErrNotAscending)
	}
}

func (b *AgreementPropose) apply(x *run) error {
	if err := x.needs(ScopeAgreement); err != nil {
		return err
	}
	if b.From >= b.Until || b.Until <= x.time {
		return ErrPeriod
	}
	own := false
	for _, p := range b.Parties {
		own = own || p.OID == x.tx.Actor
		if _, known := x.find(p.OID); !known {
			return ErrUnknown
		}
	}
	if !own {
		return ErrParty
	}
	if _, known := x.t.get(agreementKey(b.Agreement)); known {
		return ErrExists
	}
	a := &agreement{Stage: agreementProposed, Parties: b.Parties, From: b.From, Until: b.Until, Accepted: []OID{x.tx.Actor}}
	save(x.t, agreementKey(b.Agreement), a)
	return nil
}

func agreementKey(h Hash) string { return "a/" + string(h[:]) }

// The stages of an agreement.
const (
	agreementProposed = 1 + iota
	agreementAccepted // by every party
	agreementRevoked
)

// agreement is a row of a/.
type agreement struct {
	Stage       uint64
	Parties     []Party
	From, Until uint64
	Accepted    []OID
	Attested    uint64 // end of the last attested window
}

func (a *agreement) append(dst []byte) []byte {
	dst = appendList(appendNum(cbor.AppendArray(dst, 6), a.Stage), a.Parties, appendParty)
	dst = appendNum(appendNum(dst, a.From), a.Until)
	return appendNum(appendList(dst, a.Accepted, appendOID), a.Attested)
}

func (a *agreement) read(r *reader) {
	a.Stage, a.Parties = r.number(agreementProposed, agreementRevoked), readList(r, 2, 8, readParty)
	a.From, a.Until = r.number(0, maxNumber), r.number(0, maxNumber)
	a.Accepted, a.Attested = readList(r, 0, 8, (*reader).oid), r.number(0, maxNumber)
}

// party is an agreement that the actor is a party of.
func (x *run) party(h Hash) (*agreement, error) {
	if err := x.needs(ScopeAgreement); err != nil {
		return nil, err
	}
	a := new(agreement)
	if !load(x.t, agreementKey(h), a) {
		return nil, ErrUnknown
	}
	if !slices.ContainsFunc(a.Parties, func(p Party) bool { return p.OID == x.tx.Actor }) {
		return nil, ErrParty
	}
	return a, nil
}

// AgreementAccept accepts an agreement. It is in force when every party has.
//
//	dsa.accept = [agreement: bstr .size 32]
type AgreementAccept struct{ Agreement Hash }

// Kind names the kind.
func (*AgreementAccept) Kind() Kind { return "dsa.accept" }

func (b *AgreementAccept) append(dst []byte) []byte {
	return appendHash(cbor.AppendArray(dst, 1), b.Agreement)
}
func (b *AgreementAccept) read(r *reader) { b.Agreement = r.hash() }

func (b *AgreementAccept) apply(x *run) error {
	a, err := x.party(b.Agreement)
	if err != nil {
		return err
	}
	at, found := slices.BinarySearch(a.Accepted, x.tx.Actor)
	switch {
	case a.Stage != agreementProposed:
		return ErrStage
	case found:
		return ErrRepeated
	case a.Until <= x.time:
		return ErrPeriod
	}
	a.Accepted = slices.Insert(a.Accepted, at, x.tx.Actor)
	if len(a.Accepted) == len(a.Parties) {
		a.Stage = agreementAccepted
	}
	save(x.t, agreementKey(b.Agreement), a)
	return nil
}

// AgreementAttest anchors the log of what was accessed under an agreement.
//
//	dsa.attest = [
//	    agreement: bstr .size 32,
//	    log:       bstr .size 32,   ;; SHA-256 of the log of the window
//	    from:      uint,            ;; seconds, within the agreement's term
//	    until:     uint             ;; first second after; not after the block
//	]
type AgreementAttest struct {
	Agreement, Log Hash
	From, Until    uint64
}

// Kind names the kind.
func (*AgreementAttest) Kind() Kind { return "dsa.attest" }

func (b *AgreementAttest) append(dst []byte) []byte {
	dst = appendHash(appendHash(cbor.AppendArray(dst, 4), b.Agreement), b.Log)
	return appendNum(appendNum(dst, b.From), b.Until)
}

func (b *AgreementAttest) read(r *reader) {
	b.Agreement, b.Log = r.hash(), r.hash()
	b.From, b.Until = r.number(0, maxNumber), r.number(0, maxNumber)
}

func (b *AgreementAttest) apply(x *run) error {
	a, err := x.party(b.Agreement)
	switch {
	case err != nil:
		return err
	case a.Stage == agreementProposed: // after a revocation there may be one to deliver
		return ErrStage
	case b.From >= b.Until || b.From < a.From || b.Until > a.Until || b.Until > x.time:
		return ErrPeriod
	}
	a.Attested = max(a.Attested, b.Until)
	save(x.t, agreementKey(b.Agreement), a)
	return nil
}

// AgreementRevoke ends an agreement, or withdraws its proposal.
//
//	dsa.revoke = [agreement: bstr .size 32]
type AgreementRevoke struct{ Agreement Hash }

// Kind names the kind.
func (*AgreementRevoke) Kind() Kind { return "dsa.revoke" }

func (b *AgreementRevoke) append(dst []byte) []byte {
	return appendHash(cbor.AppendArray(dst, 1), b.Agreement)
}
func (b *AgreementRevoke) read(r *reader) { b.Agreement = r.hash() }

func (b *AgreementRevoke) apply(x *run) error {
	a, err := x.party(b.Agreement)
	if err != nil {
		return err
	}
	if a.Stage == agreementRevoked {
		return ErrRevoked
	}
	a.Stage = agreementRevoked
	save(x.t, agreementKey(b.Agreement), a)
	return nil
}
