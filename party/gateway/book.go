package gateway

import (
	"context"
	"time"

	"ampoule/format"
)

// Kind is what an [Item] of the gateway's book is.
type Kind string

// The kinds.
const (
	KindCertificate Kind = "certificate" // of a participant: who connects, uploads, issues, signs
	KindIssuer      Kind = "issuer"      // an address with keys that are no certificates
	KindReference   Kind = "reference"   // a service of a participant
	KindRule        Kind = "rule"
	KindBatch       Kind = "batch" // of revocation hashes
)

// Item is one thing that the gateway lists. What all kinds have in common is
// that somebody signed them and that they are asked for by time, also after they
// were deleted.
type Item struct {
	ID      string // a UUID
	Number  int64  // the gateway's own, from 1; given by the book
	Kind    Kind
	Name    string // no two living items of a kind have the same
	Country string
	Group   string // of a certificate AUTHENTICATION, UPLOAD, CSCA, DSC …; of others their type
	Domain  string
	KID     string // of a certificate, as it is listed
	// Claims says that no other living item may claim the same KID: a participant's
	// own certificate, and none that the trust anchor took in.
	Claims  bool
	Signer  string            // thumbprint of the certificate that signed it
	Created time.Time         // both times are the book's, of whole microseconds,
	Changed time.Time         // and no two changes have the same
	Expires time.Time         // zero: never
	Deleted bool              // Content and Signed are gone
	About   map[string]string // what is listed besides
	Content []byte            // certificate in DER, or JSON
	Signed  []byte            // the CMS
}

// Claim is what no two living items that claim may have the same: the KID in the
// one form that its spellings come down to. It is "" for those that claim none.
func (i *Item) Claim() string {
	if !i.Claims {
		return ""
	}
	return claimOf(i.KID)
}

// Query narrows what [Book.Items] returns. A zero member narrows nothing.
type Query struct {
	Kind    Kind
	IDs     []string
	Number  int64
	Country string
	Since   time.Time // changed then or later
	Deleted bool      // those that were deleted, too
	Limit   int       // the first of them by time of change
}

// Resigned puts another signature in the place of an item's. The item must still
// have the one that was seen.
type Resigned struct {
	ID             string
	Before, Signed []byte
	Signer         string
}

// Action is what a line of the audit trail tells.
type Action string

// The actions.
const (
	ActionUpload Action = "gateway-upload"
	ActionDelete Action = "gateway-delete"
	ActionResign Action = "gateway-resign"
	ActionApply  Action = "gateway-apply"
)

// Line is one line of the audit trail.
type Line struct {
	At      time.Time
	By      string // thumbprint of the client, or the operators who approved
	Country string
	Action  Action
	Subject string // name of the item, or digest of the proposal
	Reason  string
}

// Changes are what [Book.Change] does together or not at all.
type Changes struct {
	// Needs are identifiers of items that must be living: ErrGone. Who takes away an
	// uploader while it uploads takes away what it uploads, or it was before.
	Needs  []string
	Insert []Item
	Delete []string   // identifiers: ErrGone
	Resign []Resigned // ErrGone
	Once   string     // a digest that no change had before: ErrApplied
	Line   Line
}

// The defects of a book.
const (
	ErrTaken   = format.Defect("taken")   // the name, or the key identifier, is another's
	ErrGone    = format.Defect("gone")    // an item is not living
	ErrApplied = format.Defect("applied") // the proposal was applied before
)

// A Book keeps what the gateway lists. It must be usable concurrently.
type Book interface {
	// Change makes changes that are durable when it returns, with their line of the
	// audit trail. Changes are made one after the other, and what is made later has
	// the later time, so that who asks for what changed since a time misses none.
	// It returns ErrTaken, ErrGone or ErrApplied and then has changed nothing.
	Change(ctx context.Context, c Changes, now time.Time) error
	// Items returns items in the order of their last change.
	Items(ctx context.Context, q Query) ([]Item, error)
	// Newest is the time of the last change, zero before the first.
	Newest(ctx context.Context) (time.Time, error)
}
