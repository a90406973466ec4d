package state

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"ampoule/format/cbor"
	"ampoule/format/cose"
)

var populatedSnapshot = sync.OnceValue(func() []byte { return populated(new(testing.T)).s.Snapshot() })

// ready is the populated federation, each time anew.
func ready(t testing.TB) *kit {
	t.Helper()
	s, err := Restore(populatedSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	return &kit{t: t, s: s, time: s.Time()}
}

// attempt is one transaction and the reason for which it is refused, empty where
// it is taken.
type attempt struct {
	name    string
	want    error
	before  func(k *kit)
	actor   OID
	body    Body
	signers []crypto.Signer
	change  func(tx *Tx)
}

func by(s ...crypto.Signer) []crypto.Signer { return s }

func batch(change ...func(*Batch)) *Batch {
	b := &Batch{Root: hash("root 1"), Class: 10, Schema: schemaOID, Issuer: issuerOID, Epoch: 7}
	for _, c := range change {
		c(b)
	}
	return b
}

func status(change ...func(*StatusAnchor)) *StatusAnchor {
	b := &StatusAnchor{List: hash("list"), Epoch: 3, Digest: hash("bytes"), Bytes: 1000, ValidUntil: start + 86400}
	for _, c := range change {
		c(b)
	}
	return b
}

func telemetry(change ...func(*TelemetryAnchor)) *TelemetryAnchor {
	b := &TelemetryAnchor{Device: fridgeOID, From: start, Until: start + 60, Root: hash("segments"), Count: 60}
	for _, c := range change {
		c(b)
	}
	return b
}

func custody(to OID) *CustodyAnchor {
	return &CustodyAnchor{Object: lotOID, From: issuerOID, To: to, Events: hash("epcis"), Cold: hash("cold")}
}

var agreementHash = hash("agreement")

func agreeing(parties ...Party) *AgreementPropose {
	slices.SortFunc(parties, compareParty)
	return &AgreementPropose{Agreement: agreementHash, Parties: parties, Purposes: []uint64{1, 4}, From: start, Until: start + 86400}
}

func agreed() *AgreementPropose {
	return agreeing(Party{member0(), Owner}, Party{issuerOID, Controller}, Party{verifierOID, Processor})
}

var contractOID = id("9.1")

func aContract(p Policy) *ContractPropose {
	return &ContractPropose{Contract: contractOID, Content: sha256.Sum256(p.Encode()), Source: hash("source"), Audit: hash("audit"), Vectors: hash("vectors"), Policy: p}
}

func batchPolicy() Policy {
	return Policy{For: "fp.batch", Schemas: []OID{schemaOID}, MinClass: 8, MaxClass: 12, Window: 1000, MaxTxs: 1}
}

// activated brings a contract to work.
func activated(k *kit, p Policy) {
	k.must(member0(), aContract(p), online(0))
	k.must(country(1).OID, &ContractReview{contractOID, true, hash("review")}, online(1))
	k.must(country(2).OID, &ContractReview{contractOID, true, hash("review")}, online(2))
	k.must(member0(), &ContractStep{"activate", contractOID}, online(0))
}

func out(size uint64, root string) *Anchor {
	return &Anchor{Ledger: foreignOID, Origin: hash("origin"), Size: size, Root: hash(root), Proof: hash("proof")}
}

func in(size uint64, root string) *Anchor { a := out(size, root); a.In = true; return a }

// admission proposes country n, under its own statement.
func admission(n int) *Propose {
	return admit(country(n), online(n), root(n))
}

func admit(m Member, signers ...crypto.Signer) *Propose {
	return &Propose{&Membership{Action: Admit, OID: m.OID, Statement: statement(m, signers...)}}
}

func root(n int) crypto.Signer { return ml(fmt.Sprint("root ", n)) }

func act(action uint64, n int) *Propose {
	return &Propose{&Membership{Action: action, OID: country(n).OID}}
}

func changed(change func(p *Params)) *Propose {
	p := DefaultParams
	change(&p)
	return &Propose{&NewParams{p}}
}

func attempts() []attempt {
	m0, m1 := member0(), country(1).OID
	issuer, gateway, verifier, witness := es("issuer"), ed("gateway"), ed("verifier"), ml("witness")
	strange := id("99")
	newIssuer := func(change ...func(*Put)) *Put {
		b := put(Issuer, id("3.2"), ScopeBatch, ed("new"))
		for _, c := range change {
			c(b)
		}
		return b
	}
	suspend := func(k *kit) { k.must(m0, &Suspend{Issuer, issuerOID}, online(0)) }
	revoke := func(k *kit) { k.must(m0, &Revoke{Issuer, issuerOID}, online(0)) }
	proposed := func(k *kit) { k.must(m0, agreed(), online(0)) }
	inForce := func(k *kit) {
		proposed(k)
		k.must(issuerOID, &AgreementAccept{agreementHash}, issuer)
		k.must(verifierOID, &AgreementAccept{agreementHash}, verifier)
	}
	contracted := func(k *kit) { k.must(m0, aContract(batchPolicy()), online(0)) }
	working := func(k *kit) { activated(k, batchPolicy()) }
	hybrid := func(k *kit) {
		k.must(m0, &Rotate{Issuer, issuerOID, nil, keys(ml("issuer")), true}, online(0), ml("issuer"))
	}
	attest := func() *AgreementAttest {
		return &AgreementAttest{Agreement: agreementHash, Log: hash("log"), From: start, Until: start + 5}
	}
	var voted Hash
	vote := func(k *kit) { voted = k.vote(&NewParams{DefaultParams}, 1) }
	fill := func(k *kit) {
		for range DefaultParams.OpenProposals {
			k.vote(&NewParams{DefaultParams}, 1)
		}
	}
	set := func(v ...Validator) *Propose {
		all := Validators(v)
		return &Propose{&all}
	}

	return []attempt{
		{"fp.batch", nil, nil, issuerOID, batch(), by(issuer), nil},
		{"fp.batch of the next epoch", nil, func(k *kit) { k.must(issuerOID, batch(), issuer) }, issuerOID,
			batch(func(b *Batch) { b.Previous, b.Root = b.Root, hash("root 2") }), by(issuer), nil},
		{"fp.batch of another issuer", ErrNotIssuer, nil, issuerOID, batch(func(b *Batch) { b.Issuer = verifierOID }), by(issuer), nil},
		{"fp.batch by a member", ErrNotAuthorised, nil, m0, batch(), by(online(0)), nil},
		{"fp.batch that is small", ErrSizeClass, func(k *kit) {
			k.vote(&NewParams{func() Params { p := DefaultParams; p.MinClass = 11; return p }()}, 3)
		}, issuerOID, batch(), by(issuer), nil},
		{"fp.batch out of range", ErrRange, nil, issuerOID, batch(func(b *Batch) { b.Class = 15 }), by(issuer), nil},
		{"fp.batch after another", ErrPrevious, nil, issuerOID, batch(func(b *Batch) { b.Previous = hash("x") }), by(issuer), nil},
		{"fp.batch again", ErrRepeated, func(k *kit) { k.must(issuerOID, batch(), issuer) }, issuerOID,
			batch(func(b *Batch) { b.Previous = b.Root }), by(issuer), nil},
		{"fp.batch of zeros", ErrRepeated, nil, issuerOID, batch(func(b *Batch) { b.Root = Hash{} }), by(issuer), nil},
		{"fp.batch of an old epoch", ErrOlder, func(k *kit) { k.must(issuerOID, batch(), issuer) }, issuerOID,
			batch(func(b *Batch) { b.Previous, b.Root, b.Epoch = b.Root, hash("root 2"), 6 }), by(issuer), nil},

		{"fp.single", nil, nil, gatewayOID, &SingleLeaf{hash("leaf"), schemaOID, AboutLot}, by(gateway), nil},
		{"fp.single about a person", ErrRange, nil, gatewayOID, &SingleLeaf{hash("leaf"), schemaOID, 4}, by(gateway), nil},
		{"fp.single by a verifier", ErrNotAuthorised, nil, verifierOID, &SingleLeaf{hash("leaf"), schemaOID, AboutLot}, by(verifier), nil},

		{"status.anchor", nil, nil, issuerOID, status(), by(issuer), nil},
		{"status.anchor of an old epoch", ErrOlder, func(k *kit) { k.must(issuerOID, status(), issuer) }, issuerOID, status(), by(issuer), nil},
		{"status.anchor that is over", ErrPeriod, nil, issuerOID, status(func(b *StatusAnchor) { b.ValidUntil = start }), by(issuer), nil},
		{"status.anchor for years", ErrPeriod, nil, issuerOID, status(func(b *StatusAnchor) { b.ValidUntil = start + 2*maxAhead }), by(issuer), nil},
		{"status.anchor by a gateway", ErrNotAuthorised, nil, gatewayOID, status(), by(gateway), nil},

		{"custody.anchor", nil, nil, issuerOID, custody(m1), by(issuer, online(1)), nil},
		{"custody.anchor of one party", ErrCounterparty, nil, issuerOID, custody(m1), by(issuer), nil},
		{"custody.anchor of the other party", cose.ErrMissingSignature, nil, issuerOID, custody(m1), by(online(1)), nil},
		{"custody.anchor with a third", ErrStraySignature, nil, issuerOID, custody(m1), by(issuer, online(1), online(2)), nil},
		{"custody.anchor to itself", ErrSameParty, nil, issuerOID, custody(issuerOID), by(issuer), nil},
		{"custody.anchor from another", ErrParty, nil, m0, custody(m1), by(online(0), online(1)), nil},
		{"custody.anchor to nobody", ErrActorUnknown, nil, issuerOID, custody(strange), by(issuer), nil},
		{"custody.anchor to a verifier", ErrNotAuthorised, nil, issuerOID, custody(verifierOID), by(issuer, verifier), nil},
		{"custody.anchor by a gateway", ErrNotAuthorised, nil, gatewayOID,
			&CustodyAnchor{lotOID, gatewayOID, m1, hash("e"), hash("c")}, by(gateway, online(1)), nil},

		{"telemetry.anchor", nil, nil, gatewayOID, telemetry(), by(gateway), nil},
		{"telemetry.anchor, next window", nil, func(k *kit) { k.must(gatewayOID, telemetry(), gateway) }, gatewayOID,
			telemetry(func(b *TelemetryAnchor) { b.From, b.Until = b.Until, b.Until+60 }), by(gateway), nil},
		{"telemetry.anchor over the last", ErrOlder, func(k *kit) { k.must(gatewayOID, telemetry(), gateway) }, gatewayOID, telemetry(), by(gateway), nil},
		{"telemetry.anchor of no window", ErrPeriod, nil, gatewayOID, telemetry(func(b *TelemetryAnchor) { b.Until = b.From }), by(gateway), nil},
		{"telemetry.anchor of no device", ErrUnknown, nil, gatewayOID, telemetry(func(b *TelemetryAnchor) { b.Device = issuerOID }), by(gateway), nil},
		{"telemetry.anchor of a device that is gone", ErrRevoked, func(k *kit) { k.must(m0, &Revoke{Device, fridgeOID}, online(0)) }, gatewayOID, telemetry(), by(gateway), nil},
		{"telemetry.anchor of another's device", ErrNotAuthorised, func(k *kit) {
			k.must(m1, put(Device, id("4.9"), ScopeTelemetry, ed("other gateway")), online(1))
		}, id("4.9"), telemetry(), by(ed("other gateway")), nil},
		{"telemetry.anchor by a plain device", ErrNotAuthorised, nil, fridgeOID, telemetry(), by(ed("fridge")), nil},

		{"reg.issuer.put", nil, nil, m0, newIssuer(), by(online(0), ed("new")), nil},
		{"reg.issuer.put to lift a suspension", nil, suspend, m0, put(Issuer, issuerOID, ScopeBatch), by(online(0)), nil},
		{"reg.device.put", nil, nil, m0, put(Device, id("4.3"), ScopeSingle, es("new")), by(online(0)), nil},
		{"reg.verifier.put", nil, nil, m0, put(Verifier, id("5.3"), 0, es("new")), by(online(0), es("new")), nil},
		{"reg.witness.put", nil, nil, m0, put(Witness, id("2.3"), 0, es("new")), by(online(0), es("new")), nil},
		{"put without possession", ErrPossession, nil, m0, newIssuer(), by(online(0)), nil},
		{"put of a known key", ErrStraySignature, nil, m0, put(Issuer, id("3.2"), 0, verifier), by(online(0), verifier), nil},
		{"put of a device's known key", ErrKeyKnown, nil, m0, put(Device, id("4.3"), 0, ed("fridge")), by(online(0)), nil},
		{"put of the key that was revoked", ErrKeyKnown, func(k *kit) { k.must(m0, &Revoke{Device, fridgeOID}, online(0)) }, m0, put(Device, id("4.3"), 0, ed("fridge")), by(online(0)), nil},
		{"put without a key", ErrKeyCount, nil, m0, put(Issuer, id("3.2"), 0), by(online(0)), nil},
		{"put with keys where there are some", ErrKeyCount, nil, m0, put(Issuer, issuerOID, 0, ed("new")), by(online(0), ed("new")), nil},
		{"put of another role's scope", ErrScope, nil, m0, put(Verifier, id("5.3"), ScopeBatch, es("new")), by(online(0), es("new")), nil},
		{"put of a period that is over", ErrPeriod, nil, m0, newIssuer(func(b *Put) { b.Until = start }), by(online(0), ed("new")), nil},
		{"put of a known identifier", ErrExists, nil, m0, put(Issuer, fridgeOID, 0, ed("new")), by(online(0), ed("new")), nil},
		{"put of another's entry", ErrExists, nil, m1, put(Issuer, issuerOID, 0), by(online(1)), nil},
		{"put of another role", ErrExists, nil, m0, put(Verifier, issuerOID, 0), by(online(0)), nil},
		{"put of a member", ErrExists, nil, m0, put(Issuer, m1, 0, ed("new")), by(online(0), ed("new")), nil},
		{"put of what was revoked", ErrRevoked, revoke, m0, put(Issuer, issuerOID, 0), by(online(0)), nil},
		{"put by an issuer", ErrNotAuthorised, nil, issuerOID, newIssuer(), by(issuer, ed("new")), nil},
		{"put of a hybrid with one key", ErrNeedTwo, nil, m0, newIssuer(func(b *Put) { b.Hybrid = true }), by(online(0), ed("new")), nil},
		{"put with keys in another order", ErrNotAscending, nil, m0, newIssuer(func(b *Put) {
			b.Keys = keys(ed("new"), es("new"))
			slices.Reverse(b.Keys)
		}), by(online(0), ed("new"), es("new")), nil},

		{"reg.issuer.rotate", nil, nil, m0, &Rotate{Issuer, issuerOID, []Hash{key(issuer).KID}, keys(ed("new")), false}, by(online(0), ed("new")), nil},
		{"reg.device.rotate", nil, nil, m0, &Rotate{Device, fridgeOID, nil, keys(ed("new")), false}, by(online(0)), nil},
		{"reg.verifier.rotate", nil, nil, m0, &Rotate{Verifier, verifierOID, nil, keys(ml("new")), true}, by(online(0), ml("new")), nil},
		{"reg.witness.rotate", nil, nil, m0, &Rotate{Witness, witnessOID, nil, keys(ed("new")), false}, by(online(0), ed("new")), nil},
		{"rotate without possession", ErrPossession, nil, m0, &Rotate{Issuer, issuerOID, nil, keys(ed("new")), false}, by(online(0)), nil},
		{"rotate away from all", ErrKeyCount, nil, m0, &Rotate{Issuer, issuerOID, []Hash{key(issuer).KID}, nil, false}, by(online(0)), nil},
		{"rotate away from another's", ErrKeyUnknown, nil, m0, &Rotate{Issuer, issuerOID, []Hash{key(verifier).KID}, nil, false}, by(online(0)), nil},
		{"rotate nothing", ErrKeyCount, nil, m0, &Rotate{Issuer, issuerOID, nil, nil, false}, by(online(0)), nil},
		{"rotate to a hybrid of one", ErrNeedTwo, nil, m0, &Rotate{Issuer, issuerOID, nil, keys(ed("new")), true}, by(online(0), ed("new")), nil},
		{"rotate another's", ErrNotAuthorised, nil, m1, &Rotate{Issuer, issuerOID, nil, keys(ed("new")), false}, by(online(1), ed("new")), nil},
		{"rotate as another role", ErrUnknown, nil, m0, &Rotate{Verifier, issuerOID, nil, keys(ed("new")), false}, by(online(0), ed("new")), nil},

		{"reg.member.rotate", nil, nil, m1, &Rotate{MemberRole, m1, []Hash{key(online(1)).KID}, keys(ed("new")), false}, by(ml("root 1"), ed("new")), nil},
		{"reg.member.rotate with the online key", ErrKeyUse, nil, m1, &Rotate{MemberRole, m1, nil, keys(ed("new")), false}, by(online(1), ed("new")), nil},
		{"reg.member.rotate of another", ErrNotAuthorised, nil, m1, &Rotate{MemberRole, m0, nil, keys(ed("new")), false}, by(ml("root 1"), ed("new")), nil},
		{"the root key for other things", ErrKeyUse, nil, m0, &Suspend{Issuer, issuerOID}, by(ml("root 0")), nil},

		{"reg.issuer.suspend", nil, nil, m0, &Suspend{Issuer, issuerOID}, by(online(0)), nil},
		{"reg.device.suspend", nil, nil, m0, &Suspend{Device, fridgeOID}, by(online(0)), nil},
		{"reg.verifier.suspend", nil, nil, m0, &Suspend{Verifier, verifierOID}, by(online(0)), nil},
		{"reg.witness.suspend", nil, nil, m0, &Suspend{Witness, witnessOID}, by(online(0)), nil},
		{"suspend twice", ErrRepeated, suspend, m0, &Suspend{Issuer, issuerOID}, by(online(0)), nil},
		{"suspend another's", ErrNotAuthorised, nil, m1, &Suspend{Issuer, issuerOID}, by(online(1)), nil},
		{"suspend nobody", ErrUnknown, nil, m0, &Suspend{Issuer, strange}, by(online(0)), nil},
		{"suspended", ErrActorSuspended, suspend, issuerOID, batch(), by(issuer), nil},

		{"reg.issuer.revoke", nil, nil, m0, &Revoke{Issuer, issuerOID}, by(online(0)), nil},
		{"reg.device.revoke", nil, nil, m0, &Revoke{Device, fridgeOID}, by(online(0)), nil},
		{"reg.verifier.revoke", nil, nil, m0, &Revoke{Verifier, verifierOID}, by(online(0)), nil},
		{"reg.witness.revoke", nil, nil, m0, &Revoke{Witness, witnessOID}, by(online(0)), nil},
		{"revoke twice", ErrRevoked, revoke, m0, &Revoke{Issuer, issuerOID}, by(online(0)), nil},
		{"revoke another's", ErrNotAuthorised, nil, m1, &Revoke{Issuer, issuerOID}, by(online(1)), nil},
		{"revoked", ErrActorRevoked, revoke, issuerOID, batch(), by(issuer), nil},

		{"dsa.propose", nil, nil, m0, agreed(), by(online(0)), nil},
		{"dsa.propose again", ErrExists, proposed, issuerOID, agreed(), by(issuer), nil},
		{"dsa.propose between others", ErrParty, nil, m1, agreed(), by(online(1)), nil},
		{"dsa.propose with nobody", ErrUnknown, nil, m0, agreeing(Party{m0, Owner}, Party{strange, Processor}), by(online(0)), nil},
		{"dsa.propose that is over", ErrPeriod, nil, m0, func() Body { b := agreed(); b.Until = start; return b }(), by(online(0)), nil},
		{"dsa.propose by a gateway", ErrNotAuthorised, nil, gatewayOID, agreed(), by(gateway), nil},
		{"dsa.propose in another order", ErrNotAscending, nil, m0, func() Body { b := agreed(); slices.Reverse(b.Parties); return b }(), by(online(0)), nil},
		{"dsa.accept", nil, proposed, issuerOID, &AgreementAccept{agreementHash}, by(issuer), nil},
		{"dsa.accept twice", ErrRepeated, proposed, m0, &AgreementAccept{agreementHash}, by(online(0)), nil},
		{"dsa.accept by another", ErrParty, proposed, m1, &AgreementAccept{agreementHash}, by(online(1)), nil},
		{"dsa.accept of nothing", ErrUnknown, nil, m0, &AgreementAccept{agreementHash}, by(online(0)), nil},
		{"dsa.accept when it is in force", ErrStage, inForce, issuerOID, &AgreementAccept{agreementHash}, by(issuer), nil},
		{"dsa.attest", nil, inForce, verifierOID, attest(), by(verifier), nil},
		{"dsa.attest too early", ErrStage, proposed, m0, attest(), by(online(0)), nil},
		{"dsa.attest of the future", ErrPeriod, inForce, m0, func() Body { b := attest(); b.Until = start + 5000; return b }(), by(online(0)), nil},
		{"dsa.attest by another", ErrParty, inForce, m1, attest(), by(online(1)), nil},
		{"dsa.revoke", nil, inForce, verifierOID, &AgreementRevoke{agreementHash}, by(verifier), nil},
		{"dsa.revoke twice", ErrRevoked, func(k *kit) { inForce(k); k.must(m0, &AgreementRevoke{agreementHash}, online(0)) }, verifierOID, &AgreementRevoke{agreementHash}, by(verifier), nil},
		{"dsa.revoke by another", ErrParty, inForce, m1, &AgreementRevoke{agreementHash}, by(online(1)), nil},

		{"gov.propose a member", nil, nil, m0, admission(5), by(online(0)), nil},
		{"gov.propose a member that is not in the trust list", ErrNotTrusted, nil, m0, admission(8), by(online(0)), nil},
		{"gov.propose a member whose root key has not signed", ErrPossession, nil, m0, admit(country(5), online(5)), by(online(0)), nil},
		{"gov.propose a member for which another has signed", ErrPossession, nil, m0, admit(country(5), online(0), root(5)), by(online(0)), nil},
		{"gov.propose a member with a signature more", ErrPossession, nil, m0, admit(country(5), online(5), root(5), online(0)), by(online(0)), nil},
		{"gov.propose a member of which a signature is another", cose.ErrSignature, nil, m0, func() Body {
			b := admission(5)
			at := b.Proposal.(*Membership).Statement
			at[len(at)-1] ^= 1
			return b
		}(), by(online(0)), nil},
		{"gov.propose a member without its statement", cbor.ErrMalformed, nil, m0, &Propose{&Membership{Action: Admit}}, by(online(0)), nil},
		{"gov.propose a member by its own key", ErrKeyUnknown, nil, m0, admission(5), by(online(5)), nil},
		{"gov.propose a member with the key of another", ErrKeyKnown, nil, m0, func() Body {
			m := country(5)
			m.Keys = keys(online(1))
			return admit(m, online(1), root(5))
		}(), by(online(0)), nil},
		{"gov.propose a member with the root key of another", ErrKeyKnown, nil, m0, func() Body {
			m := country(5)
			m.Root = key(root(1))
			return admit(m, online(5), root(1))
		}(), by(online(0)), nil},
		{"gov.propose a member under another SCA", ErrNotTrusted, nil, m0, func() Body {
			m := country(5)
			m.SCA = hash("another sca")
			return admit(m, online(5), root(5))
		}(), by(online(0)), nil},
		{"gov.propose a member that is one", ErrExists, nil, m0, func() Body {
			m := country(5)
			m.OID = m1
			return admit(m, online(5), root(5))
		}(), by(online(0)), nil},
		{"gov.propose to remove", nil, nil, m0, act(RemoveMember, 4), by(online(0)), nil},
		{"gov.propose to suspend", nil, nil, m0, act(SuspendMember, 4), by(online(0)), nil},
		{"gov.propose to resume who is there", ErrStage, nil, m0, act(ResumeMember, 4), by(online(0)), nil},
		{"gov.propose to remove nobody", ErrUnknown, nil, m0, act(RemoveMember, 6), by(online(0)), nil},
		{"gov.propose validators", nil, nil, m0, set(validator(4, 1)), by(online(0)), nil},
		{"gov.propose three validators", ErrValidatorCount, nil, m0, set(validator(3, 0)), by(online(0)), nil},
		{"gov.propose no validator", ErrNoValidator, nil, m0, set(validator(0, 0), validator(1, 0), validator(2, 0), validator(3, 0)), by(online(0)), nil},
		{"gov.propose much power", ErrValidatorPower, nil, m0, set(validator(3, 2)), by(online(0)), nil},
		{"gov.propose another's validator key", ErrValidatorKey, nil, m0, func() Body {
			v := validator(4, 1)
			v.Key = validator(0, 1).Key
			return set(v)
		}(), by(online(0)), nil},
		{"gov.propose a validator's key of another length", cose.ErrKey, nil, m0, func() Body {
			v := validator(4, 1)
			v.Type = ConsensusMLDSA65
			return set(v)
		}(), by(online(0)), nil},
		{"gov.propose a validator of nobody", ErrUnknown, nil, m0, set(validator(6, 1)), by(online(0)), nil},
		{"gov.propose parameters", nil, nil, m0, changed(func(p *Params) { p.QuotaTxs = 99 }), by(online(0)), nil},
		{"gov.propose parameters out of bounds", ErrRange, nil, m0, changed(func(p *Params) { p.MinClass = 5 }), by(online(0)), nil},
		{"gov.propose an upgrade", nil, nil, m0, &Propose{&Upgrade{Height: 100, Version: 2, Migration: hash("m")}}, by(online(0)), nil},
		{"gov.propose an upgrade of the past", ErrUpgradeHeight, nil, m0, &Propose{&Upgrade{Height: 3, Version: 2}}, by(online(0)), nil},
		{"gov.propose to take back no upgrade", ErrUnknown, nil, m0, &Propose{&Upgrade{}}, by(online(0)), nil},
		{"gov.propose a foreign ledger", nil, nil, m0, &Propose{&TakeForeign{foreignLedger()}}, by(online(0)), nil},
		{"gov.propose a foreign ledger with a quorum of too many", ErrRange, nil, m0, func() Body {
			f := foreignLedger()
			f.Quorum = 3
			return &Propose{&TakeForeign{f}}
		}(), by(online(0)), nil},
		{"gov.propose an emergency", nil, nil, m1, &Propose{&Emergency{issuerOID, true}}, by(online(1)), nil},
		{"gov.propose an emergency of a member", ErrUnknown, nil, m1, &Propose{&Emergency{m0, true}}, by(online(1)), nil},
		{"gov.propose an emergency of who is revoked", ErrRevoked, revoke, m1, &Propose{&Emergency{issuerOID, true}}, by(online(1)), nil},
		{"gov.propose a trust list", nil, nil, m0, &Propose{&TrustChange{participant(8)}}, by(online(0)), nil},
		{"gov.propose a trust list without any member", ErrNoValidator, nil, m0, &Propose{&TrustChange{
			{"XA", nil}, {"XB", nil}, {"XC", nil}, {"XD", nil}, {"XE", nil}}}, by(online(0)), nil},
		{"gov.propose by an issuer", ErrNotAuthorised, nil, issuerOID, changed(func(*Params) {}), by(issuer), nil},
		{"gov.propose too much", ErrTooManyOpen, fill, m0, changed(func(p *Params) { p.QuotaTxs = 99 }), by(online(0)), nil},
		{"gov.vote of nothing", ErrUnknown, nil, m0, &Vote{hash("x"), true}, by(online(0)), nil},

		{"anchor.out", nil, nil, witnessOID, out(5, "root"), by(witness), nil},
		{"anchor.out by a member", nil, nil, m1, out(5, "root"), by(online(1)), nil},
		{"anchor.out beyond the log", ErrBeyondLog, nil, witnessOID, out(5000, "root"), by(witness), nil},
		{"anchor.out of an older size", ErrRollback, func(k *kit) { k.must(m1, out(5, "root"), online(1)) }, witnessOID, out(4, "root"), by(witness), nil},
		{"anchor.out again", ErrRepeated, func(k *kit) { k.must(m1, out(5, "root"), online(1)) }, witnessOID, out(5, "root"), by(witness), nil},
		{"anchor.in", nil, nil, witnessOID, in(5000, "root"), by(witness), nil},
		{"anchor.in of a fork", ErrFork, func(k *kit) { k.must(m1, in(5000, "root"), online(1)) }, witnessOID, in(5000, "another"), by(witness), nil},
		{"anchor.in of nothing known", ErrUnknown, nil, witnessOID, &Anchor{In: true, Ledger: strange, Size: 1}, by(witness), nil},
		{"anchor.in by an issuer", ErrNotAuthorised, nil, issuerOID, in(5000, "root"), by(issuer), nil},

		{"contract.propose", nil, nil, m0, aContract(batchPolicy()), by(online(0)), nil},
		{"contract.propose again", ErrExists, contracted, m1, aContract(batchPolicy()), by(online(1)), nil},
		{"contract.propose other content", ErrContent, nil, m0, func() Body { b := aContract(batchPolicy()); b.Policy.MaxTxs = 2; return b }(), by(online(0)), nil},
		{"contract.propose a rule of votes", ErrKind, nil, m0, aContract(Policy{For: "gov.vote"}), by(online(0)), nil},
		{"contract.propose classes out of order", ErrRange, nil, m0, aContract(Policy{For: "fp.batch", MinClass: 9, MaxClass: 8}), by(online(0)), nil},
		{"contract.propose by an issuer", ErrNotAuthorised, nil, issuerOID, aContract(batchPolicy()), by(issuer), nil},
		{"contract.review", nil, contracted, m1, &ContractReview{contractOID, true, hash("r")}, by(online(1)), nil},
		{"contract.review twice", ErrVoted, contracted, m0, &ContractReview{contractOID, true, hash("r")}, by(online(0)), nil},
		{"contract.review of nothing", ErrUnknown, nil, m1, &ContractReview{contractOID, true, hash("r")}, by(online(1)), nil},
		{"contract.review when it works", ErrStage, working, country(3).OID, &ContractReview{contractOID, true, hash("r")}, by(online(3)), nil},
		{"contract.activate", nil, func(k *kit) { working(k); k.must(m0, &ContractStep{"pause", contractOID}, online(0)) }, m0, &ContractStep{"activate", contractOID}, by(online(0)), nil},
		{"contract.activate unreviewed", ErrStage, contracted, m0, &ContractStep{"activate", contractOID}, by(online(0)), nil},
		{"contract.activate another's", ErrNotAuthorised, func(k *kit) { working(k); k.must(m0, &ContractStep{"pause", contractOID}, online(0)) }, m1, &ContractStep{"activate", contractOID}, by(online(1)), nil},
		{"contract.pause", nil, working, m1, &ContractStep{"pause", contractOID}, by(online(1)), nil},
		{"contract.pause twice", ErrVoted, func(k *kit) { working(k); k.must(m1, &ContractStep{"pause", contractOID}, online(1)) }, m1, &ContractStep{"pause", contractOID}, by(online(1)), nil},
		{"contract.pause unreviewed", ErrStage, contracted, m0, &ContractStep{"pause", contractOID}, by(online(0)), nil},
		{"contract.retire", nil, contracted, m0, &ContractStep{"retire", contractOID}, by(online(0)), nil},
		{"contract.retire twice", ErrStage, func(k *kit) { contracted(k); k.must(m0, &ContractStep{"retire", contractOID}, online(0)) }, m1, &ContractStep{"retire", contractOID}, by(online(1)), nil},
		{"contract.retire voted twice", ErrVoted, func(k *kit) { working(k); k.must(m1, &ContractStep{"retire", contractOID}, online(1)) }, m1, &ContractStep{"retire", contractOID}, by(online(1)), nil},

		{"within the policy", nil, working, issuerOID, batch(), by(issuer), nil},
		{"of another schema", ErrPolicySchema, working, issuerOID, batch(func(b *Batch) { b.Schema = id("6.2") }), by(issuer), nil},
		{"of another class", ErrPolicyClass, working, issuerOID, batch(func(b *Batch) { b.Class = 13 }), by(issuer), nil},
		{"more than the policy has", ErrPolicyRate, func(k *kit) { working(k); k.must(issuerOID, batch(), issuer) }, issuerOID,
			batch(func(b *Batch) { b.Previous, b.Root = b.Root, hash("root 2") }), by(issuer), nil},

		{"two at once", nil, hybrid, issuerOID, batch(), by(issuer, ml("issuer")), nil},
		{"one where two are needed", ErrNeedTwo, hybrid, issuerOID, batch(), by(issuer), nil},
		{"the other where two are needed", ErrNeedTwo, hybrid, issuerOID, batch(), by(ml("issuer")), nil},
		{"two of which neither is quantum-safe", ErrNeedTwo, func(k *kit) {
			hybrid(k)
			k.must(m0, &Rotate{Issuer, issuerOID, nil, keys(ed("new")), true}, online(0), ed("new"))
		}, issuerOID, batch(), by(issuer, ed("new")), nil},
		{"two of one algorithm", ErrStraySignature, func(k *kit) {
			k.must(m0, &Rotate{Issuer, issuerOID, nil, keys(es("new")), false}, online(0), es("new"))
		}, issuerOID, batch(), by(issuer, es("new")), nil},
		{"another chain", ErrChain, nil, issuerOID, batch(), by(issuer), func(tx *Tx) { tx.Chain = hash("x") }},
		{"over", ErrExpired, nil, issuerOID, batch(), by(issuer), func(tx *Tx) { tx.ValidUntil = 2 }},
		{"for ever", ErrTooFarAhead, nil, issuerOID, batch(), by(issuer), func(tx *Tx) { tx.ValidUntil = 1 << 40 }},
		{"a number again", ErrSeqUsed, func(k *kit) { k.must(issuerOID, status(), issuer) }, issuerOID, batch(), by(issuer), func(tx *Tx) { tx.Seq-- }},
		{"a number ahead", ErrSeqGap, nil, issuerOID, batch(), by(issuer), func(tx *Tx) { tx.Seq++ }},
		{"nobody", ErrActorUnknown, nil, strange, batch(), by(issuer), nil},
		{"an unknown key", ErrKeyUnknown, nil, issuerOID, batch(), by(ed("new")), nil},
		{"another's key", ErrStraySignature, nil, issuerOID, batch(), by(verifier), nil},
		{"an ended key", ErrKeyNotInForce, func(k *kit) {
			k.must(m0, &Rotate{Issuer, issuerOID, []Hash{key(issuer).KID}, keys(ed("new")), false}, online(0), ed("new"))
		}, issuerOID, batch(), by(issuer), nil},
		{"out of its period", ErrActorPeriod, func(k *kit) { k.time += 2 * 86400; k.block() }, issuerOID, batch(), by(issuer), nil},
		{"without its sponsor", ErrSponsor, func(k *kit) { k.vote(&Membership{Action: SuspendMember, OID: m0}, 4) }, issuerOID, batch(), by(issuer), nil},
		{"a suspended member", ErrActorSuspended, func(k *kit) { k.vote(&Membership{Action: SuspendMember, OID: m0}, 4) }, m0, &Suspend{Issuer, issuerOID}, by(online(0)), nil},
		{"a removed member", ErrActorRevoked, func(k *kit) { k.vote(&Membership{Action: RemoveMember, OID: m0}, 4) }, m0, &Suspend{Issuer, issuerOID}, by(online(0)), nil},
		{"a closed proposal", ErrClosed, func(k *kit) {
			vote(k)
			k.must(m1, &Vote{voted, true}, online(1))
			k.must(country(2).OID, &Vote{voted, true}, online(2))
		},
			country(3).OID, nil, by(online(3)), func(tx *Tx) { tx.Body = &Vote{voted, true} }},
		{"a second vote", ErrVoted, vote, m0, nil, by(online(0)), func(tx *Tx) { tx.Body = &Vote{voted, false} }},
		{"gov.vote", nil, vote, m1, nil, by(online(1)), func(tx *Tx) { tx.Body = &Vote{voted, true} }},
		{"too many transactions", ErrQuota, func(k *kit) {
			p := DefaultParams
			p.QuotaTxs, p.QuotaWindow = 10, 1_000_000
			k.vote(&NewParams{p}, 3)
			for range 10 - used(k) {
				k.must(issuerOID, &SingleLeaf{hash("leaf"), schemaOID, AboutLot}, issuer)
			}
		}, issuerOID, batch(), by(issuer), nil},
		{"too many votes", ErrQuota, func(k *kit) {
			p := DefaultParams
			p.QuotaUrgent, p.QuotaWindow = 10, 1_000_000
			k.vote(&NewParams{p}, 3)
			for range 10 - usedUrgent(k) {
				k.vote(&NewParams{p}, 1)
			}
		}, m0, changed(func(p *Params) { p.QuotaTxs = 99 }), by(online(0)), nil},
	}
}

// used is what the first member has used of the only window.
func used(k *kit) uint64 {
	x := &run{s: k.s, t: k.s.rows, height: k.s.Height() + 1}
	return x.usage("q/"+string(member0()), 1_000_000).Txs
}

func usedUrgent(k *kit) uint64 {
	x := &run{s: k.s, t: k.s.rows, height: k.s.Height() + 1}
	return x.usage("q/"+string(member0()), 1_000_000).Urgent
}

// TestKinds tries every kind, accepted and refused for each of its reasons.
func TestKinds(t *testing.T) {
	accepted := map[Kind]bool{}
	for _, a := range attempts() {
		t.Run(a.name, func(t *testing.T) {
			k := ready(t)
			if a.before != nil {
				a.before(k)
			}
			tx := k.tx(a.actor, a.body)
			if a.change != nil {
				a.change(tx)
			}
			want := ""
			if a.want != nil {
				want = a.want.Error()
			} else {
				accepted[tx.Body.Kind()] = true
			}
			data := k.sign(tx, slices.Clone(a.signers)...)
			if got := k.send(data); got != want {
				t.Fatalf("reason %q, want %q", got, want)
			}
			if a.want != nil {
				return
			}
			// What was taken is never taken again, here or on another chain.
			if got := k.send(data); got != ErrSeqUsed.Error() && got != ErrActorSuspended.Error() {
				t.Fatalf("again: %q", got)
			}
			other := newKit(t, genesis(5, 1))
			if got := other.send(data); got != ErrChain.Error() {
				t.Fatalf("on another chain: %q", got)
			}
		})
	}
	for _, kind := range Kinds() {
		if !accepted[kind] {
			t.Errorf("no accepted %s", kind)
		}
	}
}

// TestReasons holds that each reason of this package is the expectation of a test.
func TestReasons(t *testing.T) {
	wanted := map[string]bool{}
	for _, a := range attempts() {
		if a.want != nil {
			wanted[a.want.Error()] = true
		}
	}
	// These are looked for by tests of their own.
	for _, err := range []error{ErrTooLarge, ErrForm, ErrOID, ErrNotDeterministic, ErrBlockFull, ErrGenesis, ErrBlock, ErrUpgrade, ErrSnapshot, ErrNoMember} {
		wanted[err.Error()] = true
	}
	f, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		word, _ := strconv.Unquote(lit.Value)
		if strings.Contains(word, "/") {
			return true
		}
		if seen[word] {
			t.Errorf("%q twice", word)
		}
		seen[word] = true
		if !wanted[word] {
			t.Errorf("no test wants %q", word)
		}
		return true
	})
}

func TestBadSignature(t *testing.T) {
	k := ready(t)
	for name, signers := range map[string][]crypto.Signer{"ES256": by(es("issuer")), "custody": by(es("issuer"), online(1))} {
		t.Run(name, func(t *testing.T) {
			k.t = t
			data := k.sign(k.tx(issuerOID, custody(country(1).OID)), signers...)
			if len(signers) == 1 {
				data = k.sign(k.tx(issuerOID, batch()), signers...)
			}
			data[len(data)-1] ^= 1
			if got := k.send(data); got != cose.ErrSignature.Error() {
				t.Fatalf("reason %q", got)
			}
		})
	}
}
