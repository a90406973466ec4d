package device

import (
	"fmt"
	"slices"

	"ampoule/format"
)

// ErrLife is a step in the life of a device that there is not.
const ErrLife format.Defect = "no-such-step"

// Life is where a device is in its life.
type Life string

// The stations of a life.
const (
	Announced Life = "announced" // it spoke through a supplier before anybody claimed it
	Claimed   Life = "claimed"   // it belongs to an organisation
	Enrolled  Life = "enrolled"  // and has a certificate of ours
	Active    Life = "active"    // and was heard
	Suspended Life = "suspended" // it is not believed until it is active again
	Retired   Life = "retired"   // and never again: what comes back is another device
)

// Reason is why a device is suspended or retired.
type Reason string

// The reasons. Those of suspending end with it; the others are for good.
const (
	Maintenance Reason = "maintenance"
	Faulty      Reason = "faulty"
	Lost        Reason = "lost"
	Compromised Reason = "compromised" // its key may be in other hands
	Replaced    Reason = "replaced"
	EndOfLife   Reason = "end-of-life"
	NotOurs     Reason = "not-ours"
)

var (
	suspending = []Reason{Maintenance, Faulty, Lost, Compromised}
	retiring   = []Reason{Faulty, Lost, Compromised, Replaced, EndOfLife, NotOurs}
)

// lives has where each station leads. A device that only a supplier speaks for is
// active without a certificate, and stays so when it gets one.
var lives = map[Life][]Life{
	"":        {Announced, Claimed},
	Announced: {Claimed, Retired},
	Claimed:   {Enrolled, Active, Suspended, Retired},
	Enrolled:  {Active, Suspended, Retired},
	Active:    {Suspended, Retired},
	Suspended: {Active, Retired},
	Retired:   nil,
}

// Next are the stations that one leads to; "" is before the first.
func (l Life) Next() []Life { return slices.Clone(lives[l]) }

// Heard tells whether what the device sends is taken.
func (l Life) Heard() bool {
	return l == Announced || l == Claimed || l == Enrolled || l == Active
}

// Step checks a step from one station to another. Suspending and retiring need a
// reason, and nothing else has one.
func Step(from, to Life, reason Reason) error {
	if !slices.Contains(lives[from], to) {
		return fmt.Errorf("device: from %q to %q: %w", from, to, ErrLife)
	}
	var reasons []Reason
	switch to {
	case Suspended:
		reasons = suspending
	case Retired:
		reasons = retiring
	default:
		reasons = []Reason{""}
	}
	if !slices.Contains(reasons, reason) {
		return fmt.Errorf("device: %q for the reason %.40q: %w", to, reason, ErrLife)
	}
	return nil
}
