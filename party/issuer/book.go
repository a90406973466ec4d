package issuer

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/uuid"
	"ampoule/ledger/print"
	"ampoule/thing"
)

// ID names a record, so that records sort by the time of their issue.
type ID = uuid.UUID

// NewID makes an identifier. random is crypto/rand where it is nil.
func NewID(now time.Time, random io.Reader) (ID, error) {
	if random == nil {
		random = rand.Reader
	}
	return uuid.New(now, random)
}

// ParseID reads the usual form of a UUID.
func ParseID(text string) (ID, error) { return uuid.Parse(text) }

// Place is where a record belongs: an organisation, and a facility of it. Either
// is an identifier that names no person. Who may see or touch a record follows
// from its place.
type Place struct {
	Organisation string
	Facility     string
}

// Holds reports whether another place is this one or lies in it: an organisation
// without a facility holds all of its facilities, and the zero place holds all.
func (p Place) Holds(o Place) bool {
	return (p.Organisation == "" || p.Organisation == o.Organisation) && (p.Facility == "" || p.Facility == o.Facility)
}

// State is where a record stands in its life.
type State string

// The states. A record that was erased has none: it is not there.
const (
	Valid      State = "valid"
	Revoked    State = "revoked"
	Superseded State = "superseded" // corrected: another record stands in its place, and it is revoked
)

// Reason says why a record was changed. It is one of a few words: a free text
// would be where persons end up being written about.
type Reason string

// The reasons of a revocation or a correction.
const (
	ReasonData    Reason = "wrong-data"
	ReasonNotDone Reason = "not-given" // the event did not happen
	ReasonProduct Reason = "product"   // of the dose: recalled, spoiled, expired
	ReasonFraud   Reason = "fraud"
	ReasonHolder  Reason = "holder" // the person asked for it
	ReasonKey     Reason = "key"    // the signing key was lost or leaked
)

var reasons = []Reason{ReasonData, ReasonNotDone, ReasonProduct, ReasonFraud, ReasonHolder, ReasonKey}

// Reasons returns them, in an order fit for a form.
func Reasons() []Reason { return slices.Clone(reasons) }

// Action is what an audit line tells of.
type Action string

// The actions.
const (
	ActionIssue     Action = "issue"
	ActionReplay    Action = "replay" // the certificates of an earlier request were handed out again
	ActionRead      Action = "read"
	ActionSearch    Action = "search"
	ActionRevoke    Action = "revoke"
	ActionReinstate Action = "reinstate"
	ActionCorrect   Action = "correct"
	ActionReissue   Action = "reissue"
	ActionAdd       Action = "add" // a certificate in a further format
	ActionErase     Action = "erase"
	ActionAdverse   Action = "adverse-event" // one was reported, put right or withdrawn
)

// Line is one line of the audit log. It names persons on neither side: who acted
// by an identifier, whose record it was by the record's.
type Line struct {
	At     time.Time
	By     string
	Place  Place // of the record, or where it was looked for
	Action Action
	Record ID // zero where there is not one
	Reason Reason
}

// Artefact is one signed certificate of a record.
type Artefact struct {
	Format  Format
	KID     []byte // of the key that signed it, as the format names keys
	Text    string // of the QR code; personal
	Scheme  Scheme
	Mark    []byte    // what the scheme lists when it is revoked
	Expires time.Time // zero: no end
	Current bool      // no other was made in its place
}

// Asked makes asking twice harmless. The key is the caller's, the content is the
// whole of what was asked for; either may be personal.
type Asked struct {
	Key     string // empty: asking twice makes two
	Content []byte
}

// Entry is a new record.
type Entry struct {
	ID        ID
	Place     Place
	Record    *cert.Certificate // personal
	Artefacts []Artefact
	Leaves    []print.Leaf // the fingerprints of the artefacts, in their order
	Terms     []Term       // personal
	Dose      *Dose        // that it certifies; nil where its lot is not told
	Asked     Asked
	// Corrects is the record in whose place this one stands; zero for none.
	Corrects Guard
	Line     Line
}

// Dose is what ties a record to goods.
type Dose struct {
	Lot      string // as [thing.NormalLot] spells it
	Products []thing.Product
	Day      string // YYYY-MM-DD
	// Session is opened stock from which it was given: one of its doses is used up in
	// the same step. "" for none.
	Session string
}

// Guard names a record in the version that its reader saw.
type Guard struct {
	ID      ID
	Version int64
}

// Head is what is known of a record without reading it: nothing personal.
type Head struct {
	ID         ID
	Place      Place
	Version    int64 // +1 with each change, from 1
	State      State
	Reason     Reason // of the last change; empty for a new record
	Issued     time.Time
	Changed    time.Time
	Corrects   ID       // the record before this one; zero for none
	Correction ID       // the record after this one; zero for none
	Formats    []Format // of its certificates
}

// Irrevocable returns the formats of the record's certificates that have no
// scheme of revocation: whoever holds one can show it as before.
func (h Head) Irrevocable() (out []Format) {
	for _, f := range h.Formats {
		if f == VDSNC && !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// Held is a record that was read.
type Held struct {
	Head
	Record    *cert.Certificate
	Artefacts []Artefact // in the order they were made
}

// Change is a guarded change of a record's state.
type Change struct {
	Guard
	From, To State
	Line     Line
}

// Replacement is a certificate that was signed anew, or in a further format.
type Replacement struct {
	Guard
	Of       int // which of the record's artefacts it stands for; None: of none
	Artefact Artefact
	Leaf     print.Leaf // its fingerprint
	Line     Line
}

// None is the place of no artefact.
const None = -1

// Listed is what one scheme lists of one key.
type Listed struct {
	Scheme  Scheme
	KID     []byte
	Counter int64 // how often the list was changed
	Items   []ListedItem
}

// ListedItem is a certificate that is revoked. It names no record: that may be
// erased by now.
type ListedItem struct {
	Change     int64 // the list's counter after it was added
	Mark       []byte
	Expires    time.Time // of the certificate; zero: no end
	Superseded bool      // its record was corrected, and stays so if it is erased
}

// The defects of what is asked of a [Book].
const (
	ErrNotFound   = format.Defect("no-such-record")
	ErrConflict   = format.Defect("changed-meanwhile")
	ErrKeyUsed    = format.Defect("request-key-used")   // there is a record of that request key
	ErrKeyReused  = format.Defect("request-key-reused") // the request key stands for another request
	ErrUnreadable = format.Defect("record-key-missing") // the record is there, its key is not
	ErrState      = format.Defect("not-in-this-state")  // what is revoked is not revoked again
	ErrReason     = format.Defect("unknown-reason")     // not one of the words
	ErrBy         = format.Defect("malformed-actor")    // not an identifier
	ErrPlace      = format.Defect("not-your-place")     // where the one who asks may not issue
	ErrOrder      = format.Defect("malformed-order")    // nothing is asked for, or something twice
	ErrSameKey    = format.Defect("same-key")           // the new key is the old one
	ErrTooMany    = format.Defect("list-too-long")      // more than the scheme's lists hold
	ErrSession    = format.Defect("no-dose-in-session") // it is not open, is another facility's or lot's, or is used up
)

// A Book keeps what was issued. Each method is one durable step: what it writes,
// its audit line included, is on the disk when it returns nil, and none of it is
// there when it returns an error, except that a disk that fails, or a connection
// that is lost, may leave open which: a request key tells. What is personal in its arguments is kept so that nobody reads it
// without the book's master key, and searched by keyed hashes. It is used by many
// at once.
type Book interface {
	// Append inserts a record: its artefacts, terms, request key and line, and leaves
	// the fingerprints in the open batch. Nothing tells whose they are. It returns the valid records of the same organisation that have one of its terms
	// of kind [TermDose].
	//
	// Where the entry corrects another record, that one becomes superseded by it
	// and is listed as revoked in all its formats. It returns [ErrConflict] if
	// that record has another version or is not valid, and [ErrKeyUsed] if the
	// request key is known. Where the dose is from a session, one of the session's is
	// used up, unless the entry corrects a record that was; [ErrSession] where there is
	// none.
	Append(ctx context.Context, e Entry) (same []ID, err error)

	// Replay returns the record that was made when the same was asked, and records the line. It
	// returns [ErrNotFound] if the key is not known, and [ErrKeyReused] if it is
	// known for another content.
	Replay(ctx context.Context, asked Asked, line Line) (*Held, error)

	// Read returns a record, and records the line before it does. It returns
	// [ErrNotFound], or [ErrUnreadable] where the record's key is gone.
	Read(ctx context.Context, id ID, line Line) (*Held, error)

	// Head returns what is known of a record without reading it, or [ErrNotFound].
	Head(ctx context.Context, id ID) (Head, error)

	// Find returns the records of a place that have one of the terms, newest first,
	// and records the line.
	Find(ctx context.Context, terms []Term, within Place, limit int, line Line) ([]Head, error)

	// List returns records of a place, newest first: those before one, or the newest
	// where that is zero.
	List(ctx context.Context, within Place, before ID, limit int) ([]Head, error)

	// Change takes a record from one state to another, and its certificates onto
	// the lists of their schemes or off them. It returns [ErrConflict] if the
	// record has another version or state.
	Change(ctx context.Context, c Change) error

	// InForce returns valid records of a place, by their identifiers: those after
	// one. With a key, only those that have a current artefact under it. It records
	// the line.
	InForce(ctx context.Context, kid []byte, within Place, after ID, limit int, line Line) ([]Held, error)

	// Replace adds an artefact in the place of a current one, which stays, or of
	// none, and leaves its fingerprint in the open batch. It returns [ErrConflict] if
	// the record has another version or is not valid, or the artefact is not current.
	Replace(ctx context.Context, r Replacement) error

	// Erase removes records for good: content, artefacts, keys, terms. What the
	// lists need stays, and names no record; so do the fingerprints. It returns [ErrConflict], and has
	// erased nothing, if one of them has another version. After any other error it
	// may be done or yet to come: an erasure goes forward only.
	Erase(ctx context.Context, records []Guard, line Line) error

	// Listed returns the lists as they are at one moment, by scheme and key, the
	// items in the order of their changes.
	Listed(ctx context.Context) ([]Listed, error)

	// OpenBatch tells of the fingerprints that are in no closed batch.
	OpenBatch(ctx context.Context) (OpenBatch, error)

	// CloseBatches takes all of them away and keeps the batches that build makes of
	// them, under the next numbers. build may be called again. Where there are none,
	// nothing is closed.
	CloseBatches(ctx context.Context, at time.Time, build func([]print.Leaf) ([]*print.Batch, error)) ([]ClosedBatch, error)

	// BatchOf returns the closed batch that has the fingerprint of a record's n-th
	// artefact. It returns [ErrNotFound], [ErrOpenBatch], or [ErrNoFingerprint].
	BatchOf(ctx context.Context, id ID, n int, leaf print.Leaf) (ClosedBatch, *print.Batch, error)

	// Batches returns closed batches in the order of their numbers: those after one.
	Batches(ctx context.Context, after int64, limit int) ([]ClosedBatch, error)

	// DoseDay returns the day on which the dose of a record was given, or [ErrNoLot].
	DoseDay(ctx context.Context, id ID) (cert.Date, error)

	// PutAdverse adds a version of an adverse event, sealed with the key of the record of
	// which the first was reported, and records the line. It returns [ErrConflict] if that
	// is not the next version, [ErrNoAdverse] where a later one is of no report of the
	// record, [ErrWithdrawn], [ErrManyAdverse], or [ErrState] where the record was
	// corrected meanwhile. A first version that says what another report of the record does
	// adds nothing, and becomes that one. What is reported of a record is of the one that
	// corrects it from then on, and is erased with them.
	PutAdverse(ctx context.Context, a *AdverseReport, line Line) error

	// Adverse returns the newest versions of the adverse events of a record, and records
	// the line before it does.
	Adverse(ctx context.Context, id ID, line Line) ([]AdverseReport, error)

	// LotAdverse tells of the doses of a lot by the letters and digits of its number, that
	// records of a place tell of, by place and product, with what was reported of them and
	// not withdrawn. A dose that was not given, and a record that was corrected, is none.
	LotAdverse(ctx context.Context, lot string, within Place, each func(LotDoses) error) error
}
