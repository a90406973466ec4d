package custody

import (
	"context"
	"fmt"

	"ampoule/thing"
	"ampoule/thing/trail"
	"ampoule/thing/vaccine"
)

// PutLocation registers a location at a place of who asks, or changes it. One that is
// within another must be within a site of the same place.
func (c *Custody) PutLocation(ctx context.Context, by Actor, l *Location) error {
	if !by.Within.Holds(l.Place) {
		return fmt.Errorf("custody: %w", ErrNotYours)
	}
	l.URI = trail.Name(l.URI)
	if l.Version > 1 {
		before, err := c.Stock.Location(ctx, l.URI)
		if err != nil {
			return err
		}
		if !by.Within.Holds(before.Place) {
			return fmt.Errorf("custody: %w", ErrNoLocation)
		}
	}
	if l.Within != "" {
		l.Within = trail.Name(l.Within)
		site, err := c.Stock.Location(ctx, l.Within)
		if err != nil {
			return err
		}
		if site.Place != l.Place || site.Within != "" || site.URI == l.URI {
			return fmt.Errorf("custody: site: %w", ErrNoLocation)
		}
	}
	return c.Stock.PutLocation(ctx, l)
}

// SameProduct reports whether a code names the product of a session, as far as the
// catalogue knows both.
func (c *Custody) SameProduct(s *Session, p thing.Product) bool {
	if p == s.Product {
		return true
	}
	var catalogue *vaccine.Catalogue
	if c.Catalogue != nil {
		catalogue = c.Catalogue()
	}
	named, of := catalogue.Find(p), catalogue.Find(append([]thing.Product{s.Product}, s.Codes...)...)
	return named == nil || of == nil || named == of
}
