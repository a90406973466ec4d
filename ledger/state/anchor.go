package state

import "ampoule/format/cbor"

// Anchor tells that a checkpoint of this log stands in a foreign ledger (out), or
// that one of the foreign ledger was seen and checked (in).
//
//	anchor.out, anchor.in = [
//	    ledger: ~oid,            ;; taken in by vote
//	    origin: bstr .size 32,   ;; SHA-256 of the origin of the checkpoint
//	    size:   uint,            ;; never less than in the anchor before
//	    root:   bstr .size 32,
//	    proof:  bstr .size 32    ;; SHA-256 of the proof, by which it is found
//	]
type Anchor struct {
	In          bool
	Ledger      OID
	Origin      Hash
	Size        uint64
	Root, Proof Hash
}

// Kind names the kind.
func (b *Anchor) Kind() Kind {
	if b.In {
		return "anchor.in"
	}
	return "anchor.out"
}

func (b *Anchor) append(dst []byte) []byte {
	dst = appendHash(appendOID(cbor.AppendArray(dst, 5), b.Ledger), b.Origin)
	return appendHash(appendHash(appendNum(dst, b.Size), b.Root), b.Proof)
}

func (b *Anchor) read(r *reader) {
	b.Ledger, b.Origin, b.Size = r.oid(), r.hash(), r.number(0, maxNumber)
	b.Root, b.Proof = r.hash(), r.hash()
}

func (b *Anchor) apply(x *run) error {
	if err := x.needs(ScopeRelay); err != nil {
		return err
	}
	var f foreign
	key := "x/" + string(b.Ledger)
	if !load(x.t, key, &f) {
		return ErrUnknown
	}
	last := &f.Out
	if b.In {
		last = &f.In
	} else if b.Size > x.head.Log.Size() {
		return ErrBeyondLog
	}
	switch {
	case b.Size < last.Size:
		return ErrRollback
	case b.Size == last.Size && b.Root != last.Root && last.Size > 0:
		return ErrFork
	case b.Size == last.Size && b.Root == last.Root:
		return ErrRepeated
	}
	*last = anchored{b.Size, b.Root}
	save(x.t, key, &f)
	return nil
}

// anchored is the last anchor in one direction.
type anchored struct {
	Size uint64
	Root Hash
}

// foreign is a row of x/.
type foreign struct {
	ForeignLedger
	Out, In anchored
}

func (f *foreign) append(dst []byte) []byte {
	dst = appendForeign(cbor.AppendArray(dst, 5), f.ForeignLedger)
	return appendHash(appendNum(appendHash(appendNum(dst, f.Out.Size), f.Out.Root), f.In.Size), f.In.Root)
}

func (f *foreign) read(r *reader) {
	f.ForeignLedger = readForeign(r)
	f.Out.Size, f.Out.Root = r.number(0, maxNumber), r.hash()
	f.In.Size, f.In.Root = r.number(0, maxNumber), r.hash()
}

// The proofs that a foreign ledger has.
const (
	ForeignTlog        = 1 // C2SP tlog-proof
	ForeignEVM         = 2 // storage proof against a finalised header
	ForeignLightClient = 3 // headers and votes
)

// ForeignLedger is a ledger that the members have agreed to anchor in, or to
// take anchors of.
//
//	foreign = [
//	    ledger:     ~oid,
//	    proof:      1..3,                  ;; tlog-proof, EVM, light client
//	    parameters: bstr .size 32,         ;; SHA-256 of what its client needs to know
//	    keys:       [*16 bstr .size 32],   ;; SHA-256 of the keys of its signers
//	    quorum:     uint,                  ;; how many of them
//	    maxAge:     uint                   ;; seconds
//	]
type ForeignLedger struct {
	Ledger         OID
	Proof          uint64
	Parameters     Hash
	Keys           []Hash
	Quorum, MaxAge uint64
}

func appendForeign(dst []byte, f ForeignLedger) []byte {
	dst = appendHash(appendNum(appendOID(cbor.AppendArray(dst, 6), f.Ledger), f.Proof), f.Parameters)
	return appendNum(appendNum(appendList(dst, f.Keys, appendHash), f.Quorum), f.MaxAge)
}

func readForeign(r *reader) (f ForeignLedger) {
	in := inside(r)
	f.Ledger, f.Proof, f.Parameters = in.oid(), in.number(ForeignTlog, ForeignLightClient), in.hash()
	f.Keys = readList(in, 0, 16, (*reader).hash)
	f.Quorum, f.MaxAge = in.number(0, 16), in.number(1, maxNumber)
	if !ascending(f.Keys, compareHash) {
		in.fail("keys", ErrNotAscending)
	}
	if f.Quorum > uint64(len(f.Keys)) {
		in.fail("quorum", ErrRange)
	}
	r.close(in)
	return f
}
