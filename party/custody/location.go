package custody

import (
	"context"
	"fmt"

	"ampoule/format"
	"ampoule/thing/trail"
)

// ErrLocation is that a location cannot be as it was asked for.
const ErrLocation format.Defect = "bad-location"

// maxWithin bounds how deep places lie in each other.
const maxWithin = 8

// Register writes a location of the place of the one who asks, in the version after the
// one that it is to take the place of: 1 for a new one. Whose it is already stays so:
// it fails with [ErrNotYours] where that is another organisation.
func (c *Custody) Register(ctx context.Context, by Actor, l *Location) error {
	l.URI, l.Within = trail.Name(l.URI), trail.Name(l.Within)
	if !by.Within.Holds(l.Place) {
		return fmt.Errorf("custody: %w", ErrNotYours)
	}
	at := c.sites(ctx)
	if was := at.find(l.URI); was != nil && !by.Within.Holds(was.Place) {
		return fmt.Errorf("custody: %w", ErrNotYours)
	}
	outer := l.Within
	for depth := 0; outer != ""; depth++ {
		o := at.find(outer)
		switch {
		case at.err != nil:
			return at.err
		case o == nil || o.Place.Organisation != l.Place.Organisation:
			return fmt.Errorf("custody: within is no location of the organisation: %w", ErrLocation)
		case outer == l.URI || depth == maxWithin:
			return fmt.Errorf("custody: it would lie in itself, or too deep: %w", ErrLocation)
		}
		outer = o.Within
	}
	if at.err != nil {
		return at.err
	}
	return c.Stock.PutLocation(ctx, l)
}
