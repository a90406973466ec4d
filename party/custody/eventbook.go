package custody

import (
	"context"
	"crypto/sha256"
	"time"

	"ampoule/format/epcis"
	"ampoule/thing/trail"
)

// Event is an event as it was captured.
type Event struct {
	N        int64 // order of capture, from 1
	ID       string
	Hash     [sha256.Size]byte
	At       time.Time // of the event
	Recorded time.Time
	// Declares tells that it declares the event of its name wrong.
	Declares bool
	// Organisation answers for it, and By is who captured it, by an identifier.
	Organisation string
	By           string
	Kept         epcis.Kept
	// What it did, and what it is found by; neither is read back with it. A book finds out
	// for itself what an event is found by where it is not told.
	Moves []trail.Move
	Keys  []epcis.Key
}

// NewEvent is an event as it is captured: told at a time, by an account, for which an
// organisation answers. One without a name is named by its hash.
func NewEvent(e *epcis.Event, organisation, by string, recorded time.Time) Event {
	hash := e.Hash()
	if e.ID == "" {
		e.ID = epcis.HashID(hash)
	}
	return Event{
		ID: e.ID, Hash: hash, At: e.Time, Recorded: recorded, Declares: e.Error != nil, Organisation: organisation, By: by,
		Kept: e.Keep(e.ID, recorded), Moves: trail.Moves(e), Keys: e.Keys(),
	}
}

// Name is what tells events of an organisation apart: a declaration has the name of what
// it declares wrong.
type Name struct {
	ID       string
	Declares bool
}

// Search is where and how events are looked for.
type Search struct {
	Within Place        // who asks: nothing else is there
	Query  *epcis.Query // what an index can narrow of it; the rest is asked of what is found
	// Above and Until bound the order of capture: above one, up to another; 0: unbounded.
	Above, Until int64
	After        *Position // by the query's order
	Limit        int
}

// Position is a place in an order: a time in milliseconds, or 0 where the order is that of
// capture, and the number of an event.
type Position struct{ At, N int64 }

// MaxThings bounds the items and containers of one lot.
const MaxThings = 200_000

// An EventBook keeps events and what they did. Each method that changes something is one
// durable step: what it was given is on the disk when it returns nil.
type EventBook interface {
	// Capture adds events, all or none, and numbers them. Those that are there by their
	// name and hash are passed over; it returns [ErrOtherEvent] where one of that name and
	// organisation tells something else. What an event did is undone where one of its
	// organisation declares it wrong, be it before or after.
	Capture(ctx context.Context, events []Event) (added int, err error)
	// Event returns one by its name, the declaration that it is wrong before itself, or
	// [ErrNoEvent].
	Event(ctx context.Context, id string) (*Event, error)
	// Hashes returns those of an organisation's events that are there, of some names.
	Hashes(ctx context.Context, organisation string, names []Name) (map[Name][sha256.Size]byte, error)
	// Find returns events in the order of the query, or of their capture: those that the
	// place's organisation answers for, and those in which a place or party takes part that
	// it registered. Of a facility it is the places of that facility alone.
	Find(ctx context.Context, s Search) ([]Event, error)
	// Values returns what is in an index of the events that a place may see, after one.
	Values(ctx context.Context, within Place, in epcis.Index, after string, limit int) ([]string, error)
	// Last is the number of the newest event, 0 where there is none, and LastBefore of the
	// newest that was recorded before a time.
	Last(ctx context.Context) (int64, error)
	LastBefore(ctx context.Context, at time.Time) (int64, error)
	// Looked writes into the audit log that events were read.
	Looked(ctx context.Context, l Look) error

	// PutJob writes what became of a capture, once.
	PutJob(ctx context.Context, j *Job) error
	// Job returns [ErrNoJob] where there is none.
	Job(ctx context.Context, id ID) (*Job, error)
	// Jobs returns those of an organisation before one, newest first; of an account alone
	// where one is named.
	Jobs(ctx context.Context, organisation, by string, before ID, limit int) ([]Job, error)

	// PutQuery adds a query under its name, or returns [ErrQueryTaken].
	PutQuery(ctx context.Context, q *NamedQuery) error
	// NamedQuery returns [ErrNoQuery] where there is none.
	NamedQuery(ctx context.Context, organisation, name string) (*NamedQuery, error)
	// Queries returns those of an organisation after a name.
	Queries(ctx context.Context, organisation, after string, limit int) ([]NamedQuery, error)
	// DropQuery removes a query and its subscriptions.
	DropQuery(ctx context.Context, organisation, name string) error

	// PutSubscription adds one, or returns [ErrNoQuery].
	PutSubscription(ctx context.Context, s *Subscription) error
	// Subscription returns [ErrNoSubscription] where there is none.
	Subscription(ctx context.Context, id ID) (*Subscription, error)
	// Subscriptions returns those of a query after one.
	Subscriptions(ctx context.Context, organisation, query string, after ID, limit int) ([]Subscription, error)
	// Due returns those that are due at a time.
	Due(ctx context.Context, at time.Time, limit int) ([]Subscription, error)
	// Advance writes how far a subscription has come, if it is still there.
	Advance(ctx context.Context, s *Subscription) error
	// DropSubscription returns [ErrNoSubscription] where there is none.
	DropSubscription(ctx context.Context, id ID) error

	// Moves returns all that was done to a lot, to its items, and to what they were packed
	// into.
	Moves(ctx context.Context, lot string) ([]trail.Move, error)
	// LotsNumbered returns the lots whose numbers have these letters and digits (see
	// [thing.NormalLot]), of whatever product.
	LotsNumbered(ctx context.Context, number string) ([]string, error)
	// LotsAt returns the lots that were at one of some locations at any time.
	LotsAt(ctx context.Context, locations []string) ([]string, error)
}
