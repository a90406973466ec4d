package state

import "ampoule/format/cbor"

// maxClass is the largest size class of a batch: 2^14 fingerprints.
const maxClass = 14

// maxAhead bounds how far ahead of the block's time a list may be valid: 400 days.
const maxAhead = 400 * 86400

// Batch anchors the Merkle root of a batch of fingerprints. How many there are is
// known only as a power of two, since the batch is padded.
//
//	fp.batch = [
//	    root:     bstr .size 32,
//	    class:    6..14,           ;; 2^class leaves
//	    schema:   ~oid,
//	    issuer:   ~oid,            ;; the actor
//	    epoch:    uint,            ;; never less than in the batch before
//	    previous: bstr .size 32    ;; root of the batch before; zeros in the first
//	]
type Batch struct {
	Root           Hash
	Class          uint64
	Schema, Issuer OID
	Epoch          uint64
	Previous       Hash
}

// Kind names the kind.
func (*Batch) Kind() Kind { return "fp.batch" }

func (b *Batch) append(dst []byte) []byte {
	dst = appendNum(appendHash(cbor.AppendArray(dst, 6), b.Root), b.Class)
	dst = appendOID(appendOID(dst, b.Schema), b.Issuer)
	return appendHash(appendNum(dst, b.Epoch), b.Previous)
}

func (b *Batch) read(r *reader) {
	b.Root, b.Class = r.hash(), r.number(0, maxClass)
	b.Schema, b.Issuer = r.oid(), r.oid()
	b.Epoch, b.Previous = r.number(0, maxNumber), r.hash()
}

func (b *Batch) apply(x *run) error {
	if err := x.needs(ScopeBatch); err != nil {
		return err
	}
	if b.Issuer != x.tx.Actor {
		return ErrNotIssuer
	}
	if b.Class < x.params.MinClass {
		return ErrSizeClass
	}
	key := "b/" + string(b.Issuer)
	var last batchHead
	load(x.t, key, &last)
	switch {
	case b.Root == last.Root || b.Root == Hash{}:
		return ErrRepeated
	case b.Previous != last.Root:
		return ErrPrevious
	case b.Epoch < last.Epoch:
		return ErrOlder
	}
	save(x.t, key, &batchHead{b.Root, b.Epoch, last.Count + 1})
	return nil
}

// batchHead is the row of b/.
type batchHead struct {
	Root         Hash
	Epoch, Count uint64
}

func (b *batchHead) append(dst []byte) []byte {
	return appendNum(appendNum(appendHash(cbor.AppendArray(dst, 3), b.Root), b.Epoch), b.Count)
}

func (b *batchHead) read(r *reader) {
	b.Root, b.Epoch, b.Count = r.hash(), r.number(0, maxNumber), r.number(0, maxNumber)
}

// What a single leaf speaks of. There is no number for a person.
const (
	AboutDevice   = 1
	AboutLot      = 2
	AboutDocument = 3
)

// SingleLeaf anchors one blinded leaf, of a device, a lot or a document.
//
//	fp.single = [
//	    leaf:   bstr .size 32,
//	    schema: ~oid,
//	    about:  1..3              ;; device, lot, document; never a person
//	]
type SingleLeaf struct {
	Leaf   Hash
	Schema OID
	About  uint64
}

// Kind names the kind.
func (*SingleLeaf) Kind() Kind { return "fp.single" }

func (b *SingleLeaf) append(dst []byte) []byte {
	return appendNum(appendOID(appendHash(cbor.AppendArray(dst, 3), b.Leaf), b.Schema), b.About)
}

func (b *SingleLeaf) read(r *reader) {
	b.Leaf, b.Schema, b.About = r.hash(), r.oid(), r.number(AboutDevice, AboutDocument)
}

func (b *SingleLeaf) apply(x *run) error { return x.needs(ScopeSingle) }

// StatusAnchor anchors a status list, a trust list or a CRL.
//
//	status.anchor = [
//	    list:       bstr .size 32,   ;; SHA-256 of its address
//	    epoch:      uint,            ;; more than that of the anchor before
//	    digest:     bstr .size 32,   ;; SHA-256 of the list
//	    bytes:      uint,
//	    validUntil: uint             ;; seconds since 1970-01-01T00:00:00Z
//	]
type StatusAnchor struct {
	List              Hash
	Epoch             uint64
	Digest            Hash
	Bytes, ValidUntil uint64
}

// Kind names the kind.
func (*StatusAnchor) Kind() Kind { return "status.anchor" }

func (b *StatusAnchor) append(dst []byte) []byte {
	dst = appendNum(appendHash(cbor.AppendArray(dst, 5), b.List), b.Epoch)
	return appendNum(appendNum(appendHash(dst, b.Digest), b.Bytes), b.ValidUntil)
}

func (b *StatusAnchor) read(r *reader) {
	b.List, b.Epoch, b.Digest = r.hash(), r.number(1, maxNumber), r.hash()
	b.Bytes, b.ValidUntil = r.number(0, maxNumber), r.number(0, maxNumber)
}

func (b *StatusAnchor) apply(x *run) error {
	if err := x.needs(ScopeStatus); err != nil {
		return err
	}
	if b.ValidUntil <= x.time || b.ValidUntil > x.time+maxAhead {
		return ErrPeriod
	}
	key := "s/" + string(x.tx.Actor) + string(b.List[:])
	var last listHead
	if load(x.t, key, &last) && b.Epoch <= last.Epoch {
		return ErrOlder
	}
	save(x.t, key, &listHead{b.Epoch, b.Digest, b.ValidUntil})
	return nil
}

// listHead is the row of s/.
type listHead struct {
	Epoch      uint64
	Digest     Hash
	ValidUntil uint64
}

func (l *listHead) append(dst []byte) []byte {
	return appendNum(appendHash(appendNum(cbor.AppendArray(dst, 3), l.Epoch), l.Digest), l.ValidUntil)
}

func (l *listHead) read(r *reader) {
	l.Epoch, l.Digest, l.ValidUntil = r.number(0, maxNumber), r.hash(), r.number(0, maxNumber)
}

// CustodyAnchor anchors that a lot went from one party to another. Both sign: the
// actor is the one who gives.
//
//	custody.anchor = [
//	    object: ~oid,            ;; a lot, or a class of SGTINs
//	    from:   ~oid,            ;; the actor
//	    to:     ~oid,
//	    events: bstr .size 32,   ;; SHA-256 of the EPCIS events
//	    cold:   bstr .size 32    ;; SHA-256 of the cold chain's summary
//	]
type CustodyAnchor struct {
	Object, From, To OID
	Events, Cold     Hash
}

// Kind names the kind.
func (*CustodyAnchor) Kind() Kind { return "custody.anchor" }

func (b *CustodyAnchor) append(dst []byte) []byte {
	dst = appendOID(appendOID(appendOID(cbor.AppendArray(dst, 5), b.Object), b.From), b.To)
	return appendHash(appendHash(dst, b.Events), b.Cold)
}

func (b *CustodyAnchor) read(r *reader) {
	b.Object, b.From, b.To, b.Events, b.Cold = r.oid(), r.oid(), r.oid(), r.hash(), r.hash()
}

func (b *CustodyAnchor) counterparty() OID { return b.To }

func (b *CustodyAnchor) apply(x *run) error {
	if b.From != x.tx.Actor {
		return ErrParty
	}
	if b.From == b.To {
		return ErrSameParty
	}
	if err := x.needs(ScopeCustody); err != nil {
		return err
	}
	// The other party was found and was in force when its signature was checked.
	if x.other.scope&ScopeCustody == 0 {
		return ErrNotAuthorised
	}
	return nil
}

// TelemetryAnchor anchors the readings of a device in a window of time.
//
//	telemetry.anchor = [
//	    device: ~oid,
//	    from:   uint,            ;; seconds; not before the end of the window before
//	    until:  uint,            ;; first second after
//	    root:   bstr .size 32,   ;; of the segments
//	    count:  uint,            ;; of readings
//	    gap:    bool             ;; something is missing
//	]
type TelemetryAnchor struct {
	Device      OID
	From, Until uint64
	Root        Hash
	Count       uint64
	Gap         bool
}

// Kind names the kind.
func (*TelemetryAnchor) Kind() Kind { return "telemetry.anchor" }

func (b *TelemetryAnchor) append(dst []byte) []byte {
	dst = appendNum(appendNum(appendOID(cbor.AppendArray(dst, 6), b.Device), b.From), b.Until)
	return cbor.AppendBool(appendNum(appendHash(dst, b.Root), b.Count), b.Gap)
}

func (b *TelemetryAnchor) read(r *reader) {
	b.Device, b.From, b.Until = r.oid(), r.number(0, maxNumber), r.number(0, maxNumber)
	b.Root, b.Count, b.Gap = r.hash(), r.number(0, maxNumber), r.boolean()
}

func (b *TelemetryAnchor) apply(x *run) error {
	if err := x.needs(ScopeTelemetry); err != nil {
		return err
	}
	var d entry
	key := "d/" + string(b.Device)
	switch {
	case !load(x.t, key, &d):
		return ErrUnknown
	case d.Sponsor != x.actor.member:
		return ErrNotAuthorised
	case d.Status == gone:
		return ErrRevoked
	case b.From >= b.Until:
		return ErrPeriod
	case b.From < d.Window:
		return ErrOlder
	}
	d.Window = b.Until
	save(x.t, key, &d)
	return nil
}
