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
	Recorded time.Time
	// Organisation answers for it, and By is who captured it, by an identifier.
	Organisation string
	By           string
	Kept         epcis.Kept
	Moves        []trail.Move
	// Corrects are events that it declares wrong: they make no moves any more.
	Corrects []string
}

// An EventBook keeps events and what they did. Each method that changes something is one
// durable step: what it was given is on the disk when it returns nil.
type EventBook interface {
	// Capture adds events, all or none, and numbers them. Those that are there by their
	// name and hash are passed over; it returns [ErrOtherEvent] where one of that name
	// tells something else.
	Capture(ctx context.Context, events []Event) (added int, err error)
	// Moves returns all that events did to things, in the order of their times.
	Moves(ctx context.Context, things []string) ([]trail.Move, error)
	// Items returns the items and containers that moves of a lot name: those of the lot, and
	// those that it was packed into.
	Items(ctx context.Context, lot string) ([]string, error)
}
