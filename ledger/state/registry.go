package state

import (
	"slices"

	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// Role is what an entry of the registry is.
type Role uint64

// The roles. Members are made by vote, and stand in the list for their rotation
// alone.
const (
	Issuer Role = 1 + iota
	Device
	Verifier
	Witness
	MemberRole
)

var roleNames = [...]string{"", "issuer", "device", "verifier", "witness", "member"}

func (r Role) String() string { return roleNames[r] }

// key is where the entry stands.
func (r Role) key(o OID) string {
	switch r {
	case Device:
		return "d/" + string(o)
	case MemberRole:
		return "m/" + string(o)
	}
	return "i/" + string(o)
}

// What an entry may do, as bits.
const (
	ScopeBatch     = 1 << iota // fp.batch
	ScopeSingle                // fp.single
	ScopeStatus                // status.anchor
	ScopeCustody               // custody.anchor
	ScopeTelemetry             // telemetry.anchor: a gateway
	ScopeAgreement             // dsa.*
	ScopeRelay                 // anchor.*
	maxScope       = 1<<iota - 1
)

// memberScope is what every member may do itself.
const memberScope = ScopeCustody | ScopeAgreement | ScopeRelay

// roleScopes are the scopes that a role may have.
var roleScopes = [...]uint64{
	Issuer:     ScopeBatch | ScopeSingle | ScopeStatus | ScopeCustody | ScopeAgreement,
	Device:     ScopeSingle | ScopeTelemetry,
	Verifier:   ScopeAgreement,
	Witness:    ScopeRelay,
	MemberRole: 0,
}

// maxKeys is how many keys of an actor count at a time: two algorithms, and their
// successors.
const maxKeys = 4

// Put registers an entry of the sponsor that signs, or renews it, which lifts the
// sponsor's own suspension.
//
//	reg.issuer.put, reg.device.put, reg.verifier.put, reg.witness.put = [
//	    oid:      ~oid,
//	    keys:     [*4 COSE_Key],   ;; in a new entry one or more, ascending by kid; renewing, none
//	    hybrid:   bool,            ;; each transaction needs ML-DSA-65 and another signature
//	    scope:    uint,            ;; bits, see ScopeBatch
//	    document: bstr .size 32,   ;; SHA-256 of the DID document
//	    from:     uint,            ;; seconds
//	    until:    uint             ;; first second after
//	]
//
// Every key but that of a device signs the transaction as well, so that nobody
// registers another's key.
type Put struct {
	Role        Role
	OID         OID
	Keys        []Key
	Hybrid      bool
	Scope       uint64
	Document    Hash
	From, Until uint64
}

// Kind names the kind.
func (b *Put) Kind() Kind { return Kind("reg." + b.Role.String() + ".put") }

func (b *Put) append(dst []byte) []byte {
	dst = appendList(appendOID(cbor.AppendArray(dst, 7), b.OID), b.Keys, appendKey)
	dst = appendHash(appendNum(cbor.AppendBool(dst, b.Hybrid), b.Scope), b.Document)
	return appendNum(appendNum(dst, b.From), b.Until)
}

func (b *Put) read(r *reader) {
	b.OID, b.Keys = r.oid(), readKeys(r, 0)
	b.Hybrid, b.Scope, b.Document = r.boolean(), r.number(0, maxScope), r.hash()
	b.From, b.Until = r.number(0, maxNumber), r.number(0, maxNumber)
}

// readKeys reads keys in the order of their thumbprints.
func readKeys(r *reader, least int) []Key {
	keys := readList(r, least, maxKeys, (*reader).key)
	if !ascending(keys, func(a, b Key) int { return compareHash(a.KID, b.KID) }) {
		r.fail("keys", ErrNotAscending)
	}
	return keys
}

func (b *Put) newKeys() []Key {
	if b.Role == Device { // it is at home, and not where its sponsor signs
		return nil
	}
	return b.Keys
}

func (b *Put) apply(x *run) error {
	if err := x.needsMember(false); err != nil {
		return err
	}
	if b.Scope&^roleScopes[b.Role] != 0 {
		return ErrScope
	}
	if b.From >= b.Until || b.Until <= x.time {
		return ErrPeriod
	}
	old, known := x.find(b.OID)
	var e entry
	switch {
	case known && old.key != b.Role.key(b.OID):
		return ErrExists
	case known:
		load(x.t, old.key, &e)
		switch {
		case e.Role != b.Role || e.Sponsor != x.tx.Actor:
			return ErrExists
		case e.Status == gone:
			return ErrRevoked
		case len(b.Keys) != 0:
			return ErrKeyCount
		}
	case len(b.Keys) == 0:
		return ErrKeyCount
	}
	e.Role, e.Sponsor, e.Status, e.Hybrid = b.Role, x.tx.Actor, active, b.Hybrid
	e.Scope, e.Document, e.From, e.Until = b.Scope, b.Document, b.From, b.Until
	if err := x.addKeys(b.OID, &e.Keys, b.Keys); err != nil {
		return err
	}
	if e.Hybrid && !x.hybrid(e.Keys) {
		return ErrNeedTwo
	}
	save(x.t, b.Role.key(b.OID), &e)
	return nil
}

// addKeys registers keys of an owner, that count from the next height on.
func (x *run) addKeys(owner OID, have *[]Hash, keys []Key) error {
	if len(*have)+len(keys) > maxKeys {
		return ErrKeyCount
	}
	for _, k := range keys {
		if _, known := x.t.get(keyKey(k.KID)); known {
			return ErrKeyKnown
		}
		save(x.t, keyKey(k.KID), &keyRow{Owner: owner, From: x.height + 1, Key: k.cose})
		*have = append(*have, k.KID)
	}
	slices.SortFunc(*have, compareHash)
	return nil
}

// endKey ends a key with this height.
func (x *run) endKey(kid Hash) {
	var k keyRow
	load(x.t, keyKey(kid), &k)
	if k.Until == 0 {
		k.Until = max(x.height+1, k.From)
		save(x.t, keyKey(kid), &k)
	}
}

// hybrid tells whether keys can sign with ML-DSA-65 and with another algorithm.
func (x *run) hybrid(kids []Hash) bool {
	var safe, classical bool
	for _, kid := range kids {
		var k keyRow
		load(x.t, keyKey(kid), &k)
		if pub, err := x.s.public(kid, &k); err == nil {
			isSafe := cose.SignerAlgorithm(pub) == cose.MLDSA65
			safe, classical = safe || isSafe, classical || !isSafe
		}
	}
	return safe && classical
}

// entry is a row of i/ or d/.
type entry struct {
	Role        Role
	Sponsor     OID
	Status      uint64
	Scope       uint64
	Document    Hash
	From, Until uint64
	Hybrid      bool
	Keys        []Hash
	Emergency   uint64 // suspended by other members until this second
	Window      uint64 // of a device: end of its last telemetry
}

func (e *entry) append(dst []byte) []byte {
	dst = appendOID(appendNum(cbor.AppendArray(dst, 11), uint64(e.Role)), e.Sponsor)
	dst = appendHash(appendNum(appendNum(dst, e.Status), e.Scope), e.Document)
	dst = cbor.AppendBool(appendNum(appendNum(dst, e.From), e.Until), e.Hybrid)
	return appendNum(appendNum(appendList(dst, e.Keys, appendHash), e.Emergency), e.Window)
}

func (e *entry) read(r *reader) {
	e.Role, e.Sponsor = Role(r.number(uint64(Issuer), uint64(Witness))), r.oid()
	e.Status, e.Scope, e.Document = r.number(active, gone), r.number(0, maxScope), r.hash()
	e.From, e.Until, e.Hybrid = r.number(0, maxNumber), r.number(0, maxNumber), r.boolean()
	e.Keys = readList(r, 0, maxKeys, (*reader).hash)
	e.Emergency, e.Window = r.number(0, maxNumber), r.number(0, maxNumber)
}

// Rotate changes the keys of an entry, signed by its sponsor; or those of the
// member that signs, with its root key.
//
//	reg.issuer.rotate, …, reg.member.rotate = [
//	    oid:    ~oid,
//	    end:    [*4 bstr .size 32],   ;; kids that end with this height
//	    add:    [*4 COSE_Key],        ;; that count from the next height on
//	    hybrid: bool
//	]
//
// Both lists ascend, and one of them has something.
type Rotate struct {
	Role   Role
	OID    OID
	End    []Hash
	Add    []Key
	Hybrid bool
}

// Kind names the kind.
func (b *Rotate) Kind() Kind { return Kind("reg." + b.Role.String() + ".rotate") }

func (b *Rotate) append(dst []byte) []byte {
	dst = appendList(appendOID(cbor.AppendArray(dst, 4), b.OID), b.End, appendHash)
	return cbor.AppendBool(appendList(dst, b.Add, appendKey), b.Hybrid)
}

func (b *Rotate) read(r *reader) {
	b.OID, b.End = r.oid(), readList(r, 0, maxKeys, (*reader).hash)
	b.Add, b.Hybrid = readKeys(r, 0), r.boolean()
	if !ascending(b.End, compareHash) {
		r.fail("kids", ErrNotAscending)
	}
	if len(b.End)+len(b.Add) == 0 {
		r.fail("no key", ErrKeyCount)
	}
}

func (b *Rotate) newKeys() []Key {
	if b.Role == Device {
		return nil
	}
	return b.Add
}

func (b *Rotate) apply(x *run) error {
	if b.Role == MemberRole {
		if b.OID != x.tx.Actor {
			return ErrNotAuthorised
		}
		var m member
		load(x.t, "m/"+string(b.OID), &m)
		if err := x.exchange(b, &m.Keys); err != nil {
			return err
		}
		m.Hybrid = b.Hybrid
		save(x.t, "m/"+string(b.OID), &m)
		return nil
	}
	e, err := x.sponsored(b.Role, b.OID)
	if err != nil {
		return err
	}
	if err := x.exchange(b, &e.Keys); err != nil {
		return err
	}
	e.Hybrid = b.Hybrid
	save(x.t, b.Role.key(b.OID), e)
	return nil
}

func (x *run) exchange(b *Rotate, keys *[]Hash) error {
	for _, kid := range b.End {
		at := slices.Index(*keys, kid)
		if at < 0 {
			return ErrKeyUnknown
		}
		*keys = slices.Delete(*keys, at, at+1)
		x.endKey(kid)
	}
	if err := x.addKeys(b.OID, keys, b.Add); err != nil {
		return err
	}
	if len(*keys) == 0 {
		return ErrKeyCount // that is what revocation is for
	}
	if b.Hybrid && !x.hybrid(*keys) {
		return ErrNeedTwo
	}
	return nil
}

// sponsored is an entry of the member that signs, which is not revoked.
func (x *run) sponsored(role Role, o OID) (*entry, error) {
	if err := x.needsMember(false); err != nil {
		return nil, err
	}
	e := new(entry)
	switch {
	case !load(x.t, role.key(o), e) || e.Role != role:
		return nil, ErrUnknown
	case e.Sponsor != x.tx.Actor:
		return nil, ErrNotAuthorised
	case e.Status == gone:
		return nil, ErrRevoked
	}
	return e, nil
}

// Suspend suspends an entry of the sponsor that signs, from the next transaction
// on and until the sponsor renews it.
//
//	reg.issuer.suspend, … = [oid: ~oid]
type Suspend struct {
	Role Role
	OID  OID
}

// Kind names the kind.
func (b *Suspend) Kind() Kind { return Kind("reg." + b.Role.String() + ".suspend") }

func (b *Suspend) append(dst []byte) []byte { return appendOID(cbor.AppendArray(dst, 1), b.OID) }
func (b *Suspend) read(r *reader)           { b.OID = r.oid() }

func (b *Suspend) apply(x *run) error {
	e, err := x.sponsored(b.Role, b.OID)
	if err != nil {
		return err
	}
	if e.Status == suspended {
		return ErrRepeated
	}
	e.Status = suspended
	save(x.t, b.Role.key(b.OID), e)
	return nil
}

// Revoke ends an entry of the sponsor that signs, with all its keys, for ever.
//
//	reg.issuer.revoke, … = [oid: ~oid]
type Revoke struct {
	Role Role
	OID  OID
}

// Kind names the kind.
func (b *Revoke) Kind() Kind { return Kind("reg." + b.Role.String() + ".revoke") }

func (b *Revoke) append(dst []byte) []byte { return appendOID(cbor.AppendArray(dst, 1), b.OID) }
func (b *Revoke) read(r *reader)           { b.OID = r.oid() }

func (b *Revoke) apply(x *run) error {
	e, err := x.sponsored(b.Role, b.OID)
	if err != nil {
		return err
	}
	for _, kid := range e.Keys {
		x.endKey(kid)
	}
	e.Status, e.Keys = gone, nil
	save(x.t, b.Role.key(b.OID), e)
	return nil
}
