package print

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"fmt"
	"slices"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/ledger/tlog"
)

// Ledger is what a verifier carries of a ledger: where the roots of batches stand in
// its log, and whose receipts count. It is believed for who signed the bundle that
// carries it; that the places are right, its maker has seen by tlog-proofs.
//
//	ledger = [
//	    kind:       "ampoule ledger",
//	    version:    1,
//	    policy:     bstr,              ;; C2SP tlog-policy, by which the checkpoint counts
//	    checkpoint: bstr,              ;; the newest that satisfies it, a signed note
//	    notaries:   [0*16 COSE_Key],   ;; of receipts; ascending, none twice
//	    places:     bstr               ;; 40 bytes each, ascending, no root twice: root, index in 8 bytes
//	]
type Ledger struct {
	Policy     []byte
	Checkpoint []byte
	Notaries   []crypto.PublicKey
	Places     map[tlog.Hash]uint64 // index of the entry of each root

	origin string
	size   uint64
}

// LedgerType is the media type of the document.
const LedgerType = "application/vnd.ampoule.ledger+cbor"

const (
	ledgerKind  = "ampoule ledger"
	maxPolicy   = 64 << 10
	maxNotaries = 16
	placeSize   = tlog.HashSize + 8
)

// ErrLedger is a document of a ledger that is malformed, or not in its one form.
const ErrLedger = format.Defect("malformed-ledger")

// Origin is the name of the log.
func (l *Ledger) Origin() string { return l.origin }

// Size is how many entries the log has under the checkpoint.
func (l *Ledger) Size() uint64 { return l.size }

// Encode writes the document.
func (l *Ledger) Encode() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, pub := range l.Notaries {
		k, err := cose.AppendKey(nil, pub)
		if err != nil {
			return nil, fmt.Errorf("ledger: notary: %w", err)
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, bytes.Compare)
	b := cbor.AppendInt(cbor.AppendText(cbor.AppendArray(nil, 6), ledgerKind), 1)
	b = cbor.AppendBytes(cbor.AppendBytes(b, l.Policy), l.Checkpoint)
	b = cbor.AppendArray(b, len(keys))
	for _, k := range keys {
		b = append(b, k...)
	}
	roots := make([]tlog.Hash, 0, len(l.Places))
	for r := range l.Places {
		roots = append(roots, r)
	}
	slices.SortFunc(roots, compareHashes)
	places := make([]byte, 0, len(roots)*placeSize)
	for _, r := range roots {
		places = binary.BigEndian.AppendUint64(append(places, r[:]...), l.Places[r])
	}
	return cbor.AppendBytes(b, places), nil
}

// check reads the checkpoint, and holds the rest to its bounds. No signature is
// checked: the policy is for who has the code for it.
func (l *Ledger) check() error {
	note, err := tlog.ParseNote(l.Checkpoint)
	if err != nil {
		return fmt.Errorf("ledger: checkpoint: %w: %w", ErrLedger, err)
	}
	c, err := tlog.ParseCheckpoint(note.Text)
	if err != nil {
		return fmt.Errorf("ledger: checkpoint: %w: %w", ErrLedger, err)
	}
	l.origin, l.size = c.Origin, c.Size
	if len(l.Policy) > maxPolicy || len(l.Notaries) > maxNotaries || len(l.Places) > MaxLandmarks {
		return fmt.Errorf("ledger: %d bytes of policy, %d notaries, %d places: %w", len(l.Policy), len(l.Notaries), len(l.Places), ErrLedger)
	}
	for root, index := range l.Places {
		if index >= l.size {
			return fmt.Errorf("ledger: %x is entry %d of %d: %w", root[:4], index, l.size, ErrLedger)
		}
	}
	return nil
}

// ParseLedger reads a document. What it takes encodes to the same bytes again.
func ParseLedger(data []byte) (*Ledger, error) {
	refuse := func(why any) (*Ledger, error) { return nil, fmt.Errorf("ledger: %v: %w", why, ErrLedger) }
	if most := MaxLandmarks*placeSize + maxPolicy + tlog.MaxNote + maxNotaries*4096; len(data) > most {
		return refuse(fmt.Sprintf("%d bytes", len(data)))
	}
	v, err := cbor.Parse(data, cbor.Limits{Depth: 3, Items: 256, Pairs: 8})
	if err != nil {
		return refuse(err)
	}
	kind, _ := v.Index(0).Text()
	version, _ := v.Index(1).Int()
	l := new(Ledger)
	var ok [3]bool
	var places []byte
	l.Policy, ok[0] = v.Index(2).Bytes()
	l.Checkpoint, ok[1] = v.Index(3).Bytes()
	places, ok[2] = v.Index(5).Bytes()
	notaries := v.Index(4)
	if v.Kind() != cbor.Array || v.Len() != 6 || kind != ledgerKind || version != 1 || ok != [3]bool{true, true, true} || notaries.Kind() != cbor.Array {
		return refuse("another kind or version")
	}
	if len(places)%placeSize != 0 {
		return refuse(fmt.Sprintf("%d bytes of places", len(places)))
	}
	for k := range notaries.Elements() {
		pub, err := cose.ReadKey(k)
		if err != nil {
			return refuse(err)
		}
		l.Notaries = append(l.Notaries, pub)
	}
	l.Places = make(map[tlog.Hash]uint64, len(places)/placeSize)
	for raw := range slices.Chunk(places, placeSize) {
		l.Places[tlog.Hash(raw[:tlog.HashSize])] = binary.BigEndian.Uint64(raw[tlog.HashSize:])
	}
	again, err := l.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return refuse("not in its one form")
	}
	for i, pub := range l.Notaries {
		for _, other := range l.Notaries[:i] {
			if e, ok := pub.(interface{ Equal(crypto.PublicKey) bool }); ok && e.Equal(other) {
				return refuse("a notary twice")
			}
		}
	}
	return l, nil
}

// Notary returns the keys that a receipt's kid may name.
func (l *Ledger) Notary(kid [8]byte) (found []crypto.PublicKey) {
	for _, pub := range l.Notaries {
		if k, err := tlog.ReceiptKID(pub); err == nil && k == kid {
			found = append(found, pub)
		}
	}
	return found
}
