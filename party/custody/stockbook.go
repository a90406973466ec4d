package custody

import (
	"context"
	"time"

	"ampoule/format/uuid"
	"ampoule/thing"
)

// Line is a line of the audit log, about a session or a hand-over.
type Line struct {
	At     time.Time
	By     string
	Action string
	Reason string
	// Organisation is whose line it is of a hand-over; that of a session is its place's.
	Organisation string
}

// A StockBook keeps where goods can be, what is known of products, the sessions of
// clinics, what is said of lots, and who handed what over. Each method that changes something is one durable
// step: what it was given is on the disk when it returns nil. It is used by many at once.
type StockBook interface {
	// PutLocation writes a location whose version is one above that which is there, or
	// returns [ErrConflict]; [ErrNotYours] where it is another organisation's.
	PutLocation(ctx context.Context, l *Location) error
	// Location returns [ErrNoLocation] where nobody registered it.
	Location(ctx context.Context, uri string) (*Location, error)
	// LocationsAt returns those of a place after one, by URI.
	LocationsAt(ctx context.Context, at Place, after string, limit int) ([]Location, error)

	// PutSession writes a session whose version is one above that which is there, the events
	// that tell of it, and a line of the audit log, all or none; [ErrConflict] where it
	// changed meanwhile or has ended. How many doses were given it leaves as it is.
	PutSession(ctx context.Context, s *Session, events []Event, l Line) error
	// Session returns [ErrNoSession] where there is none.
	Session(ctx context.Context, id ID) (*Session, error)
	// SessionsAt returns those of a place before one ("" for the newest), newest first: all,
	// or those that are open.
	SessionsAt(ctx context.Context, at Place, open bool, before ID, limit int) ([]Session, error)

	// PutConcern writes a concern whose version is one above that which is there, or
	// returns [ErrConflict].
	PutConcern(ctx context.Context, c *Concern) error
	// Concerns returns those that stand, by lot: of one, or of all ("").
	Concerns(ctx context.Context, lot string) ([]Concern, error)

	// PutStatements keeps what was signed about lots, by its identifier.
	PutStatements(ctx context.Context, at time.Time, statements map[thing.StatementID][]byte) error
	// Statements returns all of them, the oldest first.
	Statements(ctx context.Context) ([][]byte, error)

	// PutHandover writes a hand-over whose version is one above that which is there and a
	// line of the audit log, both or none, and numbers one that is new; [ErrConflict]
	// where it changed meanwhile.
	PutHandover(ctx context.Context, h *Handover, l Line) error
	// Handover returns [ErrNoHandover] where there is none.
	Handover(ctx context.Context, id string) (*Handover, error)
	// HandoversAt returns those from or to a place before one (0 for the newest), newest
	// first.
	HandoversAt(ctx context.Context, at Place, before int64, limit int) ([]Handover, error)

	// Dosed returns what a record ties to goods, be it in force or not, or [ErrNoDose].
	Dosed(ctx context.Context, record uuid.UUID) (*Dosed, error)
	// Certified calls each for every certificate in force of a dose of a lot, by its letters
	// and digits, record by record. What each is given is reused.
	Certified(ctx context.Context, number string, each func(*Certified) error) error
}

// Certified is a certificate of a dose.
type Certified struct {
	Record   uuid.UUID // the issuer's; it names no person
	Products []thing.Product
	Day      string // YYYY-MM-DD
	At       Place
	Session  string // "": none
	Format   string
	// Scheme, KID and Mark are how it is told from others on a list.
	Scheme string
	KID    []byte
	Mark   []byte
}
