package fleet

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/format"
)

// ID names equipment, alarms and targets: a UUID in its usual form.
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

// Actor is who asks. To an actor there is nothing but what is at its place.
type Actor struct {
	ID     string // names no person
	Within Place
}

// Kind is what a piece of equipment is.
type Kind string

// The kinds of equipment.
const (
	Fridge   Kind = "fridge"
	Freezer  Kind = "freezer"
	UltraLow Kind = "ultra-low-freezer"
	ColdRoom Kind = "cold-room"
	Shipper  Kind = "shipper"
	Other    Kind = "other"
)

// Kinds are all of them.
var Kinds = []Kind{Fridge, Freezer, UltraLow, ColdRoom, Shipper, Other}

// Equipment is a piece of cold chain equipment: what holds vaccines, and is watched.
type Equipment struct {
	ID      ID    `json:"-"`
	Place   Place `json:"-"`
	Version int64 `json:"-"`

	Name   string `json:"name"`
	Kind   Kind   `json:"kind"`
	Maker  string `json:"maker,omitempty"`
	Model  string `json:"model,omitempty"`
	PQS    string `json:"pqs,omitempty"` // code of the prequalified product
	Serial string `json:"serial,omitempty"`
	// Terms are what its streams are held against, each from a time on: what was an alarm
	// under the terms of its time stays one.
	Terms []TermsFrom `json:"terms"`
	// Silence is within how many seconds something new is to come from it, by the clock of
	// the server: see [coldchain.Silence]. Lost is after how many seconds of silence its
	// sensor is given up. 0: never.
	Silence int64 `json:"silence,omitempty"`
	Lost    int64 `json:"lost,omitempty"`

	Latitude  *float64  `json:"latitude,omitempty"` // degrees
	Longitude *float64  `json:"longitude,omitempty"`
	Made      time.Time `json:"made"`
	Retired   time.Time `json:"retired,omitzero"`
}

// TermsFrom are terms that hold from a time on.
type TermsFrom struct {
	From  int64           `json:"from"` // seconds
	Terms coldchain.Terms `json:"terms"`
	By    string          `json:"by"`
}

// TermsAt are the terms at a time: those before the first are the first.
func (e *Equipment) TermsAt(at int64) *coldchain.Terms {
	for i := len(e.Terms) - 1; i > 0; i-- {
		if at >= e.Terms[i].From {
			return &e.Terms[i].Terms
		}
	}
	return &e.Terms[0].Terms
}

// termsOf are the terms for a stream at a time: where it measures seldom, a longer time
// without a reading is no gap.
func (e *Equipment) termsOf(s *Stream, at int64) *coldchain.Terms {
	t := *e.TermsAt(at)
	if s.Interval > 0 {
		t.Gap = max(t.Gap, coldchain.GapOf(s.Interval))
	}
	return &t
}

// Stay says where a device was: in a piece of equipment, for a time. Its readings of
// that time are that equipment's, even where they are learned of later.
type Stay struct {
	Equipment ID     `json:"equipment"`
	Sensor    string `json:"sensor,omitempty"` // "": each that is not said otherwise
	From      int64  `json:"from"`             // seconds, of the device's clock
	Until     int64  `json:"until,omitempty"`  // the first after; 0: it is there
}

// Correction says how a device's clock was wrong for a time. Nothing is stamped anew:
// what the device said stays, and rules go by its time with the correction.
type Correction struct {
	From   int64     `json:"from"`   // seconds, of the device's clock
	Until  int64     `json:"until"`  // the first after; 0: still
	Offset int64     `json:"offset"` // seconds to add
	Why    string    `json:"why"`
	By     string    `json:"by"`
	Made   time.Time `json:"made"`
}

// Key is a key with which a device signs or connects.
type Key struct {
	KID         []byte    `json:"kid"`
	Public      []byte    `json:"public"`                // SubjectPublicKeyInfo, DER
	Certificate []byte    `json:"certificate,omitempty"` // LDevID, DER
	From        time.Time `json:"from"`
	Until       time.Time `json:"until,omitzero"` // the first moment at which it is the device's no more
}

// Calibration is one calibration of a device.
type Calibration struct {
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	By    string    `json:"by"`
	Note  string    `json:"note,omitempty"`
}

// Step is a change of a device's state.
type Step struct {
	State device.Life   `json:"state"`
	At    time.Time     `json:"at"`
	By    string        `json:"by"`
	Why   device.Reason `json:"why,omitempty"`
}

// Device is what is known of a device.
type Device struct {
	ID      device.ID   `json:"-"`
	Place   Place       `json:"-"`
	State   device.Life `json:"-"`
	Version int64       `json:"-"`

	Names []device.Name `json:"names"`
	Maker string        `json:"maker,omitempty"`
	Model string        `json:"model,omitempty"`
	PQS   string        `json:"pqs,omitempty"`
	// Supplier is the account that may speak for it beside itself.
	Supplier string `json:"supplier,omitempty"`
	// Claim is the hash of the code on its label; nil: none is open.
	Claim        []byte        `json:"claim,omitempty"`
	Keys         []Key         `json:"keys,omitempty"`
	Stays        []Stay        `json:"stays,omitempty"`
	Corrections  []Correction  `json:"corrections,omitempty"`
	Calibrations []Calibration `json:"calibrations,omitempty"`
	Steps        []Step        `json:"steps"`
	// Attested is until when its state is attested.
	Attested time.Time `json:"attested,omitzero"`
	// Endorsed is against what its attestations are held; nil: it makes none.
	Endorsed *Endorsement `json:"endorsed,omitempty"`
	// Described is what it or its supplier said of it last.
	Described *Description `json:"described,omitempty"`
}

// In is the equipment in which a sensor was at a time, or "". That of the freezer of an
// appliance (DS01, TFRZ) is in no refrigerator: where it is must be said of itself.
func (d *Device) In(sensor string, at int64) ID {
	found := ID("")
	for _, s := range d.Stays {
		if at < s.From || s.Until != 0 && at >= s.Until || s.Sensor != sensor && (s.Sensor != "" || sensor == freezerSensor) {
			continue
		}
		if s.Sensor != "" {
			return s.Equipment
		}
		found = s.Equipment
	}
	return found
}

const freezerSensor = "TFRZ"

// Corrected is a time of the device's clock as it is taken.
func (d *Device) Corrected(at int64) int64 {
	for _, c := range d.Corrections {
		if at >= c.From && (c.Until == 0 || at < c.Until) {
			return at + c.Offset
		}
	}
	return at
}

// Key is the key that had this identifier at a time.
func (d *Device) Key(kid []byte, at time.Time) *Key {
	for i := range d.Keys {
		k := &d.Keys[i]
		if slices.Equal(k.KID, kid) && (k.Until.IsZero() || at.Before(k.Until)) {
			return k
		}
	}
	return nil
}

// Stream is one sensor of a device.
type Stream struct {
	N        int64 // number in the store
	Device   device.ID
	Sensor   string
	Quantity device.Quantity
	Interval int64 // seconds between readings, as stated last; 0: not known
	// Sealed is the newest segment that was sealed here, Own the newest of the device's
	// own that follows on all before it.
	Sealed, Own device.Head
	// Last is the newest reading by the time of the device, and Heard when the last came
	// that was new, by the clock of the server.
	Last  device.Reading
	Heard time.Time
	// Open is how many of its readings are not sealed, and Opened since when.
	Open   int64
	Opened time.Time

	ahead bool // there may be segments of its own beyond a hole
}

// number is how segments that are sealed here, and statements, name the stream: beyond
// what devices count their own sensors with.
func (s *Stream) number() uint64 { return serviceStream + uint64(s.N) }

const serviceStream = 1 << 32

// own is how the device's own segments name it; [Stream.number] where it signs none.
func (s *Stream) own() uint64 {
	if n, err := strconv.ParseUint(s.Sensor, 10, 32); err == nil {
		return n
	}
	return s.number()
}

// The defects of a registry.
const (
	ErrNoDevice    format.Defect = "no-such-device"
	ErrNoEquipment format.Defect = "no-such-equipment"
	ErrNoAlarm     format.Defect = "no-such-alarm"
	ErrNoMessage   format.Defect = "no-such-message"
	ErrChanged     format.Defect = "changed-meanwhile"
	ErrNameTaken   format.Defect = "device-name-taken"
	ErrOrder       format.Defect = "bad-fleet-order"
	ErrPlace       format.Defect = "other-place"
	// ErrAnnounced is a device that nobody knows, of an account that has announced as many
	// as it may: somebody claims some of them, or retires them.
	ErrAnnounced format.Defect = "too-many-announced"
)

func isChanged(err error) bool { return errors.Is(err, ErrChanged) }
