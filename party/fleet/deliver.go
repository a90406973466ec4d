// Package fleet is where what devices measure comes in: it is kept, held against the
// rules of the cold chain in the device's own time, and told to those who must know.
package fleet

import (
	"context"
	"time"

	"ampoule/device"
	"ampoule/format"
)

// Source is by whom a delivery came, as the door found out.
type Source struct {
	Device   device.ID    // that proved to be it; "": none did
	Supplier string       // the account of a supplier or a gateway; "": a device speaks for itself
	Level    device.Level // of the way it came: [device.LevelMutual] at most
	Via      string       // https, mqtt, file …
	// Organisation and Facility are where devices belong that it announces. Trusted says
	// that it is a person of the organisation, who may bring what any device of it measured.
	Organisation, Facility string
	Trusted                bool
}

// Delivery is what came in one message, of any format.
type Delivery struct {
	Source
	// Key is the same for the same message sent again, within its source; "": the
	// message has none, and what it says is compared.
	Key string
	// Raw is the message as it came, to be kept apart for a time; Media is its type.
	Raw   []byte
	Media string
	// Sent is when the sender says that it sent it; zero: it does not.
	Sent time.Time
	// Describes is what the sender says of the devices themselves.
	Describes []Description
	// Series are readings that nobody has signed, Segments those that a device has.
	Series   []Series
	Segments [][]byte
	// Notes are what devices say themselves of alarms and of what is broken.
	Notes []Note
	// Findings are the rules of its format that it breaks.
	Findings []format.Finding
}

// errApart is that two deliveries are none together.
const errApart format.Defect = "not-one-delivery"

// Join adds what came behind a delivery from the same source, in one message more: more of
// the same media type, without a key and without findings. Its messages stand one after
// the other then, as those types may in a sequence.
func (d *Delivery) Join(more *Delivery) error {
	if d.Media != more.Media || d.Key != "" || more.Key != "" || len(d.Findings)+len(more.Findings) > 0 {
		return errApart
	}
	d.Raw, d.Segments, d.Series = append(d.Raw, more.Raw...), append(d.Segments, more.Segments...), append(d.Series, more.Series...)
	d.Describes, d.Notes = append(d.Describes, more.Describes...), append(d.Notes, more.Notes...)
	return nil
}

// Series are readings of one stream, in the order of their times.
type Series struct {
	Device   device.Name
	Sensor   string // TVC, TAMB, 1 …
	Quantity device.Quantity
	Interval int64 // seconds, as stated or as they are; 0: not known
	Readings []device.Reading
}

// Note is what a device says at a time of itself or of the equipment that it is in.
type Note struct {
	Device device.Name
	At     int64  // seconds since 1970, by the device's clock
	Code   string // ALRM: an alarm; EERR: an error of the equipment's electronics; LERR: of the logger
	Text   string // as it came, in the sender's own codes
}

// Description is what a sender says of a device and of the equipment that it is in.
type Description struct {
	Device    device.Name
	Others    []device.Name // of the same device
	Maker     string
	Model     string
	PQS       string // code of the prequalified product (WHO PQS)
	Equipment Equipped
	Latitude  *float64 // degrees
	Longitude *float64
	Country   string // ISO 3166-1, two letters
}

// Equipped is the appliance as a sender describes it; all of it may be missing.
type Equipped struct{ Maker, Model, PQS, Serial string }

// Receipt is what became of a delivery.
type Receipt struct {
	Stored   int // readings that were not there before, or may not have been
	Repeated int // readings and segments that were there
	Refused  []format.Finding
}

// Ingester takes deliveries in. What a receipt says was stored is on the disk when
// Ingest returns. It must be usable concurrently.
type Ingester interface {
	Ingest(ctx context.Context, d *Delivery) (Receipt, error)
}

// Why a delivery is not taken.
const (
	// ErrFull is that it cannot be kept now; the sender keeps it and tries again.
	ErrFull format.Defect = "store-full"
	// ErrDenied is that the source may not speak for the device, or the device is
	// suspended or retired.
	ErrDenied format.Defect = "device-denied"
)
