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
	Moves        []trail.Move // what it did; not read back with it
}

// MaxThings bounds the items and containers of one lot.
const MaxThings = 200_000

// An EventBook keeps events and what they did. Each method that changes something is one
// durable step: what it was given is on the disk when it returns nil.
type EventBook interface {
	// Capture adds events, all or none, and numbers them. Those that are there by their
	// name and hash are passed over; it returns [ErrOtherEvent] where one of that name
	// tells something else. What an event did is undone where one declares it wrong, be it
	// before or after.
	Capture(ctx context.Context, events []Event) (added int, err error)
	// Event returns one by its name, the declaration that it is wrong before itself, or
	// [ErrNoEvent].
	Event(ctx context.Context, id string) (*Event, error)
	// Moves returns all that was done to a lot, to its items, and to what they were packed
	// into.
	Moves(ctx context.Context, lot string) ([]trail.Move, error)
	// LotsAt returns the lots that were at one of some locations at any time.
	LotsAt(ctx context.Context, locations []string) ([]string, error)
}
