// Package custody follows vaccines from the factory to the arm.
//
// What is known of goods is told in events of EPCIS 2.0, which are captured once and
// never changed. Where a lot is and was is folded from them (package trail), and what
// it went through there is asked of the equipment it stood in. A clinic opens sessions
// from stock that may be used, doses are drawn from them, and what is found against a
// lot later finds its way to the certificates.
package custody

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/uuid"
	"ampoule/thing"
	"ampoule/thing/vaccine"
)

// ID names what custody keeps and events do not: a UUID in its usual form.
type ID string

// Place is an organisation, and a facility of it; "" for the whole organisation.
type Place struct {
	Organisation string `json:"organisation"`
	Facility     string `json:"facility,omitempty"`
}

// Holds reports whether a place is this one, or part of it.
func (p Place) Holds(o Place) bool {
	return p.Organisation == o.Organisation && (p.Facility == "" || p.Facility == o.Facility)
}

// Actor is who asks. To an actor there is nothing but what is at its place, and what
// its partners tell it.
type Actor struct {
	ID     string // names no person
	Within Place
}

// Location is where goods can be, as events name it: a site, or a piece of equipment in
// one.
type Location struct {
	URI     string `json:"-"` // by trail.Name
	Place   Place  `json:"-"`
	Version int64  `json:"-"`

	Name    string `json:"name"`
	Country string `json:"country,omitempty"` // ISO 3166-1 alpha-2
	Within  string `json:"within,omitempty"`  // URI of the site that it is in; "": it is one
	// Equipment is what watches it: a piece of equipment of a fleet; "": none.
	Equipment string `json:"equipment,omitempty"`
}

// Readings are what was measured in a piece of equipment.
type Readings struct {
	Readings []coldchain.Reading
	Gap      int64 // seconds
	Level    uint8 // the least assurance of them (device.Level)
}

// Fridges tells what was measured from one time until another, and just before and
// after, in seconds. It is the fleet, seen from here.
type Fridges interface {
	// InEquipment is what was measured in a piece of equipment.
	InEquipment(ctx context.Context, equipment string, from, until int64) (Readings, error)
	// ByDevice is what a device measured that travels with goods, by its name in events.
	// Of one that is not known there is nothing.
	ByDevice(ctx context.Context, name string, from, until int64) (Readings, error)
}

// The defects of what is asked for.
const (
	ErrNoLocation format.Defect = "no-such-location"
	ErrNotYours   format.Defect = "not-your-place" // somebody else answers for it
	ErrConflict   format.Defect = "changed-meanwhile"
	ErrNoEvent    format.Defect = "no-such-event"
	ErrTooMany    format.Defect = "too-many-things"
	ErrOtherEvent format.Defect = "event-exists" // another one has that name
	ErrNoJob      format.Defect = "no-such-capture"
	ErrNoQuery    format.Defect = "no-such-query"
	ErrQueryTaken format.Defect = "query-exists"
	ErrToken      format.Defect = "bad-page-token" // of another query, or it has ended
	ErrTooLarge   format.Defect = "query-too-large"

	ErrNoSubscription format.Defect = "no-such-subscription"
	ErrSubscription   format.Defect = "bad-subscription"
)

// Custody is the goods of a service.
type Custody struct {
	Events    EventBook
	Stock     StockBook
	Fridges   Fridges                   // nil: nothing is measured
	Witnesses Witnesses                 // nil: nothing that was measured is signed
	Signer    *Signer                   // of threads; nil: none are made
	Hands     *Hands                    // with what hand-overs are signed; nil: none are
	Catalogue func() *vaccine.Catalogue // what products bear; it may change
	Lots      func() *thing.LotList     // what is believed of lots; it may change. nil: nothing
	// Prove begins to prove what was measured: see [Prover]; nil: nothing can be proven.
	Prove func() Prover
	// Secret seals what goes out and must come back as it was, and the tokens of those who
	// subscribe. It brings its own nonces.
	Secret cipher.AEAD
	// Send takes a report to a subscriber; nil: nothing is sent. Still reports whether one
	// who subscribed may still read events; nil: everybody may.
	Send  func(ctx context.Context, r Report) error
	Still func(ctx context.Context, by Actor) (bool, error)
	Now   func() time.Time
	Log   *slog.Logger

	captured wake // that there is something for those who subscribed

	rolling sync.Mutex                   // guards what follows
	rolls   map[[sha256.Size]byte][]byte // as signed, by the statements in them
}

// newID makes an identifier.
func newID(now time.Time) ID {
	id, _ := uuid.New(now, rand.Reader) // which never fails
	return ID(id.String())
}
