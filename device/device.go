// Package device is the things that measure and report: who they are, how far what
// they say can be believed, and the evidence that they leave.
//
// A device has an object identifier of this service and any number of names that
// others gave it. Its sensors are streams; what a stream measured is kept in segments,
// signed batches of readings that each name the one before.
package device

import (
	"fmt"
	"strings"

	"ampoule/format"
	"ampoule/format/oid"
)

// ID is a device's object identifier: below 2.25, or below an arc of the operator's.
type ID = oid.OID

// Scheme says who gives a name, and of what form it is.
type Scheme string

// The schemes.
const (
	GIAI   Scheme = "giai"    // GS1 individual asset, AI 8004
	OID    Scheme = "oid"     // dotted
	DevEUI Scheme = "dev-eui" // LoRaWAN: EUI-64, 16 hexadecimal digits
	BLE    Scheme = "ble"     // Bluetooth address: 12 hexadecimal digits
	RFID   Scheme = "rfid"    // unique identifier of a tag, NFC too: 8 to 20 hexadecimal digits
	Serial Scheme = "serial"  // MAKER/SERIAL, as on the plate: loggers read by USB, and equipment of DS01
	Local  Scheme = "local"   // a name that a gateway gives, below its own: GATEWAY/NAME
)

// Name is one name of a device.
type Name struct {
	Scheme Scheme
	Value  string // in the form of [NewName]
}

// String is scheme:value.
func (n Name) String() string { return string(n.Scheme) + ":" + n.Value }

// ParseName reads scheme:value.
func ParseName(text string) (Name, error) {
	scheme, value, found := strings.Cut(text, ":")
	if !found {
		return Name{}, fmt.Errorf("name of a device: no scheme: %w", ErrName)
	}
	return NewName(Scheme(scheme), value)
}

// ErrName is what is no name of a device.
const ErrName format.Defect = "bad-device-name"

// Level is how far a segment can be believed. A lot's path has the least of those on
// it. What a gateway seals keeps the level at which it came.
type Level uint8

// The levels.
const (
	LevelFile     Level = iota // brought as a file
	LevelToken                 // sent with a shared secret
	LevelMutual                // sent over TLS by a device with a certificate of ours
	LevelSigned                // the device's own signature, on an unbroken chain
	LevelAttested              // and the state of the device was attested not long before
)

// Quantity is what a stream measures.
type Quantity string

// The quantities, with the units of their whole numbers.
const (
	Temperature Quantity = "temperature" // thousandths of a degree Celsius
	Humidity    Quantity = "humidity"    // thousandths of a percent, relative
	Door        Quantity = "door"        // seconds open in the interval
	Compressor  Quantity = "compressor"  // seconds on in the interval
	Supply      Quantity = "supply"      // seconds of mains or sun in the interval
	Holdover    Quantity = "holdover"    // thousandths of a day that the equipment would hold
	Battery     Quantity = "battery"     // thousandths of a day that the device would go on
	Ambient     Quantity = "ambient"     // of the surroundings, thousandths of a degree Celsius
)

// Reading is one value of a stream at one time.
type Reading struct {
	At    int64 // seconds since 1970, by the device's clock
	Value int32 // in the unit of the quantity
}
