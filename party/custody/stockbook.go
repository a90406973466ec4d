package custody

import "context"

// A StockBook keeps where goods can be, what is known of products, the sessions of
// clinics, and what is said of lots. Each method that changes something is one durable
// step: what it was given is on the disk when it returns nil. It is used by many at once.
type StockBook interface {
	// PutLocation writes a location whose version is one above that which is there, or
	// returns [ErrConflict]; [ErrNotYours] where it is another organisation's.
	PutLocation(ctx context.Context, l *Location) error
	// Location returns [ErrNoLocation] where nobody registered it.
	Location(ctx context.Context, uri string) (*Location, error)
	// LocationsAt returns those of a place after one, by URI.
	LocationsAt(ctx context.Context, at Place, after string, limit int) ([]Location, error)
}
