// Package bundle is what an offline verifier carries: trusted keys, revocations,
// the product catalogue, rules and what is said about lots, in one signed, dated
// and numbered file.
//
// A [Bundle] carries documents as their own publishers made them, each with what
// belongs to it: the key that must have signed it, the issuer it is of, the
// certificates of those who are believed about lots. [Make] chooses and checks
// them, [Sign] signs under a root, and [Open] believes a file only when both keys
// of a pinned root have signed it, and then reads every document once more by the
// same code that reads it from a file of its own. [Accept] says whether a bundle
// may take the place of the one that is kept.
//
// A verifier gives the time; nothing here has a clock.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
)

// The kinds of defect of a bundle. Those of its envelope are format/cose's, and
// those of its documents their readers'.
const (
	ErrTooLarge     = format.Defect("bundle-too-large")
	ErrNotBundle    = format.Defect("not-a-bundle") // a signed message of another kind
	ErrVersion      = format.Defect("unknown-version")
	ErrField        = format.Defect("bad-field")
	ErrEncoding     = format.Defect("not-deterministic") // the same content, in other bytes than ours
	ErrRoot         = format.Defect("bad-root")
	ErrNoRoot       = format.Defect("no-root")      // nobody is pinned
	ErrUnknownRoot  = format.Defect("unknown-root") // nobody who is pinned has signed it
	ErrRootWindow   = format.Defect("root-window")  // the root that signed it does not count yet, or no more
	ErrNotYetIssued = format.Defect("not-yet-issued")
	ErrOlder        = format.Defect("older-bundle")
	ErrSameSerial   = format.Defect("same-serial")  // other content under the serial that is kept
	ErrFork         = format.Defect("fork")         // the successor of another bundle than the one that is kept
	ErrKept         = format.Defect("already-kept") // it is the one that is kept
)

// The bounds. The whole is what a handheld can hold twice; the largest document
// known, the revocations of all EU countries at their peak, was a third of it.
const (
	MaxSize = 64 << 20 // bytes of a signed bundle

	maxDocument    = 32 << 20 // bytes of one document, as much as is read from a file
	maxDocuments   = 4096
	maxAuthorities = 1024
	maxRoots       = 4 // one in use, its successor, and as many in reserve
	maxPins        = 8 // of one document
	maxPin         = 64 << 10
	maxText        = 2048 // bytes of a name or address
	maxSerial      = 1<<53 - 1
)

// MaxLife bounds how long a bundle may call itself fresh. Longer would make the
// theft of a root, or an old file shown again, a matter of years.
const MaxLife = 400 * 24 * time.Hour

// clockSkew is how far ahead of ours the maker's clock may be.
const clockSkew = 5 * time.Minute

const (
	payloadType    = "ampoule bundle"
	payloadVersion = 2
)

// payloadLimits hold the largest bundle; its bytes are bounded before.
var payloadLimits = cbor.Limits{Depth: 4, Items: 1 << 17, Pairs: 8}

// Kind is what a document is for. Of what format it is, its reader sees from its
// bytes.
type Kind string

// The kinds, each read as the file of the flag of that name is.
const (
	Trust     Kind = "trust"        // lists of keys, certificates, JWK sets, master lists
	Status    Kind = "status"       // revocations
	Catalogue Kind = "catalogue"    // products that an ICVP may name
	Rules     Kind = "rules"        // of destinations, in CertLogic
	ValueSets Kind = "value-sets"   // for the rules; one at most
	Concepts  Kind = "concept-maps" // between code systems, beside those that are built in
	Lots      Kind = "lots"         // statements about lots
)

// Landmarks are roots of batches of fingerprints, and Ledger is what there is of the
// log in which they stand. They revoke and forbid nothing, so the documents are
// optional: who does not know the kind passes over it.
const (
	Landmarks Kind = "landmarks"
	Ledger    Kind = "ledger"
)

// Kinds are in the order in which they are shown.
var Kinds = []Kind{Trust, Status, Catalogue, Rules, ValueSets, Concepts, Lots}

// Document is one document as its publisher made it.
type Document struct {
	Kind Kind
	// Optional documents may be of a kind that their reader does not know, and are
	// passed over then. None of the Kinds is optional; Landmarks and Ledger are.
	Optional bool
	Name     string // for explanations
	Data     []byte
	// Issuer is the address of the issuer that a JWK set is of; "" for other kinds.
	Issuer string
	// Pins are the keys that must have signed a trust list, each in a form that
	// trust.ParsePin reads. They bind this document alone.
	Pins [][]byte
}

// LotAuthority is who is believed about lots: see thing.NewLotKey.
type LotAuthority struct {
	Role        string
	Authority   string
	Products    string
	Certificate []byte // in DER
}

// Digest is the SHA-256 of a bundle's payload. The signatures are no part of it:
// one content has one digest, whoever signed it once more.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Bundle is the payload.
//
//	bundle = COSE_Sign<[
//	    kind:        "ampoule bundle",
//	    version:     2,
//	    serial:      1..9007199254740991,    ;; one more than that of the bundle before
//	    previous:    bstr .size (0 / 32),    ;; digest of the bundle before; empty in the first
//	    issued:      uint,                   ;; seconds since 1970-01-01T00:00:00Z
//	    next:        uint,                   ;; from then on it is too old
//	    maker:       tstr,                   ;; participant code, or id of an organisation
//	    roots:       [1*4 root],             ;; to pin from now on
//	    documents:   [0*4096 [
//	        kind:    "trust" / "status" / "catalogue" / "rules" / "value-sets" /
//	                 "concept-maps" / "lots" / tstr,
//	        must:    bool,                   ;; refuse the bundle where the kind is not known
//	        name:    tstr,
//	        data:    bstr,
//	        issuer:  tstr,                   ;; address, or ""
//	        pins:    [0*8 bstr]
//	    ]],
//	    authorities: [0*1024 [
//	        role:        "manufacturer" / "regulator" / "participant",
//	        authority:   tstr,
//	        products:    tstr,               ;; how their codes begin, or ""
//	        certificate: bstr                ;; DER
//	    ]]
//	]>
//	root = [
//	    COSE_Key, COSE_Key,                  ;; P-256 or Ed25519; ML-DSA-65
//	    from: uint / null, until: uint / null
//	]
//
// A document whose kind is not known and that need not be is carried and not read.
// All kinds named here must be: what they revoke or forbid would be missed.
//
// It is signed by both keys of at least one root, see [cose.MultiSign]. Every
// encoding is the deterministic one, and taken in no other.
type Bundle struct {
	Serial      int64
	Previous    Digest    // zero in the first
	Issued      time.Time // whole seconds
	Next        time.Time // whole seconds
	Maker       string
	Roots       []Root
	Documents   []Document
	Authorities []LotAuthority
}

// TooOld reports whether the next bundle was due: something may have been
// revoked, recalled or ruled since that this one does not know.
func (b *Bundle) TooOld(now time.Time) bool { return !now.Before(b.Next) }

// Check says what is wrong with the payload itself.
func (b *Bundle) Check() error {
	bad := func(field, why string) error { return fmt.Errorf("bundle: %s %s: %w", field, why, ErrField) }
	issued, next := b.Issued.Unix(), b.Next.Unix()
	switch {
	case b.Serial < 1 || b.Serial > maxSerial:
		return bad("serial", "is out of range")
	case (b.Serial == 1) != (b.Previous == Digest{}):
		return bad("previous", "is missing from no bundle but the first")
	case issued < 0 || issued > maxTime || next > maxTime:
		return bad("dates", "are out of range")
	case next <= issued || b.Next.Sub(b.Issued) > MaxLife:
		return bad("next", fmt.Sprintf("is not after the issue, by %d days at most", MaxLife/(24*time.Hour)))
	case len(b.Roots) == 0 || len(b.Roots) > maxRoots:
		return bad("roots", fmt.Sprintf("are %d; there must be 1 to %d", len(b.Roots), maxRoots))
	case len(b.Documents) > maxDocuments:
		return bad("documents", fmt.Sprintf("are over %d", maxDocuments))
	case len(b.Authorities) > maxAuthorities:
		return bad("authorities", fmt.Sprintf("are over %d", maxAuthorities))
	}
	if why := badText(b.Maker); why != "" || b.Maker == "" {
		return bad("maker", why)
	}
	for i, r := range b.Roots {
		if err := r.check(); err != nil {
			return err
		}
		for _, other := range b.Roots[:i] {
			if r.Equal(other) {
				return bad("roots", "are not all different")
			}
		}
	}
	for i, d := range b.Documents {
		field := fmt.Sprintf("document %d", i)
		switch why := badText(d.Name) + badText(d.Issuer); {
		case knownKind(d.Kind) == d.Optional || !kindForm(d.Kind):
			return bad(field, "is of an unknown kind")
		case why != "" || d.Name == "":
			return bad(field, "has a name or issuer that "+why)
		case len(d.Data) > maxDocument:
			return bad(field, fmt.Sprintf("is over %d MiB", maxDocument>>20))
		case d.Kind != Trust && (d.Issuer != "" || len(d.Pins) > 0):
			return bad(field, "has an issuer or pins, and is no list of keys")
		case len(d.Pins) > maxPins:
			return bad(field, fmt.Sprintf("has over %d pins", maxPins))
		}
		for _, pin := range d.Pins {
			if len(pin) > maxPin {
				return bad(field, fmt.Sprintf("has a pin over %d bytes", maxPin))
			}
		}
	}
	for i, a := range b.Authorities {
		field := fmt.Sprintf("authority %d", i)
		if why := badText(a.Role) + badText(a.Authority) + badText(a.Products); why != "" {
			return bad(field, why)
		}
		if len(a.Certificate) > maxPin {
			return bad(field, "has a certificate that is too large")
		}
	}
	return nil
}

// maxTime is the end of the year 9999.
const maxTime = 253402300799

// badText says why a text must not be shown as it is, or "".
func badText(s string) string {
	switch {
	case len(s) > maxText:
		return fmt.Sprintf("is over %d bytes", maxText)
	case format.Suspicious(s) || s != format.NFC(s) || s != strings.TrimSpace(s):
		return "has characters in it or around it that cannot be seen"
	}
	return ""
}

func knownKind(k Kind) bool { return slices.Contains(Kinds, k) }

// kindForm reports whether a kind is a word.
func kindForm(k Kind) bool {
	return len(k) > 0 && len(k) <= 64 && strings.Trim(string(k), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Encode returns the payload.
func (b *Bundle) Encode() ([]byte, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	size := 64 << 10
	for _, d := range b.Documents {
		size += len(d.Data) + 256
	}
	dst := cbor.AppendArray(make([]byte, 0, size), 10)
	dst = cbor.AppendText(dst, payloadType)
	dst = cbor.AppendInt(dst, payloadVersion)
	dst = cbor.AppendInt(dst, b.Serial)
	if b.Previous == (Digest{}) {
		dst = cbor.AppendBytes(dst, nil)
	} else {
		dst = cbor.AppendBytes(dst, b.Previous[:])
	}
	dst = cbor.AppendInt(dst, b.Issued.Unix())
	dst = cbor.AppendInt(dst, b.Next.Unix())
	dst = cbor.AppendText(dst, b.Maker)
	dst = cbor.AppendArray(dst, len(b.Roots))
	for _, r := range b.Roots {
		var err error
		if dst, err = r.append(dst); err != nil {
			return nil, err
		}
	}
	dst = cbor.AppendArray(dst, len(b.Documents))
	for _, d := range b.Documents {
		dst = cbor.AppendBool(cbor.AppendText(cbor.AppendArray(dst, 6), string(d.Kind)), !d.Optional)
		dst = cbor.AppendText(dst, d.Name)
		dst = cbor.AppendText(cbor.AppendBytes(dst, d.Data), d.Issuer)
		dst = cbor.AppendArray(dst, len(d.Pins))
		for _, pin := range d.Pins {
			dst = cbor.AppendBytes(dst, pin)
		}
	}
	dst = cbor.AppendArray(dst, len(b.Authorities))
	for _, a := range b.Authorities {
		dst = cbor.AppendText(cbor.AppendText(cbor.AppendArray(dst, 4), a.Role), a.Authority)
		dst = cbor.AppendBytes(cbor.AppendText(dst, a.Products), a.Certificate)
	}
	return dst, nil
}

// decode reads a payload. What it takes encodes to the same bytes again.
func decode(payload string) (*Bundle, error) {
	v, err := cbor.ParseString(payload, payloadLimits)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if kind, ok := v.Index(0).Text(); v.Kind() != cbor.Array || !ok || kind != payloadType {
		return nil, fmt.Errorf("bundle: the message is of another kind: %w", ErrNotBundle)
	}
	if version, ok := v.Index(1).Int(); !ok || version != payloadVersion {
		return nil, fmt.Errorf("bundle: %w", ErrVersion)
	}
	r := reader{}
	b := &Bundle{Serial: r.integer(v.Index(2)), Issued: r.time(v.Index(4)), Next: r.time(v.Index(5)), Maker: r.text(v.Index(6))}
	previous := r.bytes(v.Index(3))
	if len(previous) != 0 && len(previous) != len(b.Previous) {
		r.failed = true
	}
	copy(b.Previous[:], previous)
	r.array(v, 10)
	for e := range r.list(v.Index(7), maxRoots) {
		root, err := readRoot(e)
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		b.Roots = append(b.Roots, root)
	}
	for e := range r.list(v.Index(8), maxDocuments) {
		r.array(e, 6)
		d := Document{Kind: Kind(r.text(e.Index(0))), Optional: !r.bool(e.Index(1)), Name: r.text(e.Index(2)), Data: r.bytes(e.Index(3)), Issuer: r.text(e.Index(4))}
		for pin := range r.list(e.Index(5), maxPins) {
			d.Pins = append(d.Pins, r.bytes(pin))
		}
		b.Documents = append(b.Documents, d)
	}
	for e := range r.list(v.Index(9), maxAuthorities) {
		r.array(e, 4)
		b.Authorities = append(b.Authorities, LotAuthority{
			Role: r.text(e.Index(0)), Authority: r.text(e.Index(1)), Products: r.text(e.Index(2)), Certificate: r.bytes(e.Index(3)),
		})
	}
	if r.failed {
		return nil, fmt.Errorf("bundle: %w", ErrField)
	}
	again, err := b.Encode() // which checks it, too
	if err != nil {
		return nil, err
	}
	if string(again) != payload {
		return nil, fmt.Errorf("bundle: %w", ErrEncoding)
	}
	return b, nil
}

// reader reads items of the kinds they must be of, and remembers whether one
// was not.
type reader struct{ failed bool }

func (r *reader) integer(v cbor.Value) int64 {
	n, ok := v.Int()
	r.failed = r.failed || !ok
	return n
}

func (r *reader) time(v cbor.Value) time.Time {
	n := r.integer(v)
	if n < 0 || n > maxTime {
		r.failed = true
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

func (r *reader) text(v cbor.Value) string {
	s, ok := v.Text()
	r.failed = r.failed || !ok
	return s
}

func (r *reader) bytes(v cbor.Value) []byte {
	b, ok := v.Bytes()
	r.failed = r.failed || !ok
	return b
}

func (r *reader) bool(v cbor.Value) bool {
	b, ok := v.Bool()
	r.failed = r.failed || !ok
	return b
}

func (r *reader) array(v cbor.Value, n int) {
	r.failed = r.failed || v.Kind() != cbor.Array || v.Len() != n
}

// list yields the elements of an array of at most so many.
func (r *reader) list(v cbor.Value, most int) func(yield func(cbor.Value) bool) {
	if v.Kind() != cbor.Array || v.Len() > most {
		r.failed = true
		return func(func(cbor.Value) bool) {}
	}
	return v.Elements()
}

// digest returns the digest of a payload.
func digest(payload string) Digest {
	h := sha256.New()
	// In pieces: the payload is a string and may be large.
	var buf [4096]byte
	for len(payload) > 0 {
		n := copy(buf[:], payload)
		h.Write(buf[:n])
		payload = payload[n:]
	}
	return Digest(h.Sum(nil))
}

// sameDocument reports whether two documents carry the same.
func sameDocument(a, b Document) bool {
	return a.Kind == b.Kind && a.Issuer == b.Issuer && bytes.Equal(a.Data, b.Data)
}
